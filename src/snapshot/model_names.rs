//! The models that an entry of a Backend serves, by the names that clients use.

use std::collections::BTreeMap;

/// How well a name fits a list. A greater one is more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// By a pattern with so many characters beside its `*`.
    Pattern(usize),
    /// By the name itself, or by an alias.
    Exact,
}

/// A pattern with one `*`, which stands for any characters, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    start: Box<str>,
    end: Box<str>,
}

impl Pattern {
    fn fits(&self, model: &str) -> bool {
        let rest = model.strip_prefix(&*self.start);
        rest.is_some_and(|rest| rest.ends_with(&*self.end))
    }

    fn fit(&self) -> Fit {
        Fit::Pattern(self.start.len() + self.end.len())
    }
}

/// The models of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelNames {
    /// Names, with the provider's name for those that are aliases.
    names: BTreeMap<Box<str>, Option<Box<str>>>,
    patterns: Vec<Pattern>,
}

impl ModelNames {
    /// The names and patterns of `listed`; a pattern has one `*`. `aliases` are names with the provider's for each.
    pub fn new<'a>(
        listed: impl IntoIterator<Item = &'a str>,
        aliases: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut names = Self::default();
        for name in listed {
            match name.split_once('*') {
                Some((start, end)) => names.patterns.push(Pattern { start: start.into(), end: end.into() }),
                None => {
                    names.names.insert(name.into(), None);
                }
            }
        }
        let aliases = aliases.into_iter().map(|(alias, model)| (alias.into(), Some(model.into())));
        names.names.extend(aliases);
        names
    }

    /// Every model.
    pub fn every() -> Self {
        Self::new(["*"], [])
    }

    /// How well `model` fits, if it does.
    pub fn fit(&self, model: &str) -> Option<Fit> {
        if self.names.contains_key(model) {
            return Some(Fit::Exact);
        }
        self.patterns.iter().filter(|pattern| pattern.fits(model)).map(Pattern::fit).max()
    }

    /// The provider's name for `model`, if that is an alias.
    pub fn alias(&self, model: &str) -> Option<&str> {
        self.names.get(model)?.as_deref()
    }

    /// The names and aliases, without the patterns.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// Whether any name stands for another.
    pub fn has_aliases(&self) -> bool {
        self.names.values().any(Option::is_some)
    }

    /// Whether models that are not listed by their names are served.
    pub const fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_fits_best_and_then_the_longest_pattern() {
        let names = ModelNames::new(["claude-*", "claude-haiku-*", "*", "gpt-5.4", "*-mini"], [("fast", "gpt-5.4-mini")]);
        for (model, fit) in [
            ("gpt-5.4", Fit::Exact),
            ("fast", Fit::Exact),
            ("claude-opus-4-6", Fit::Pattern(7)),
            ("claude-haiku-4-5", Fit::Pattern(13)),
            ("claude-", Fit::Pattern(7)),
            ("gpt-5.4-mini", Fit::Pattern(5)),
            ("GPT-5.4", Fit::Pattern(0)),
            ("", Fit::Pattern(0)),
        ] {
            assert_eq!(names.fit(model), Some(fit), "{model}");
        }
        assert!(Fit::Exact > Fit::Pattern(usize::MAX));
        assert_eq!((names.alias("fast"), names.alias("gpt-5.4")), (Some("gpt-5.4-mini"), None));
        assert_eq!(names.listed().collect::<Vec<_>>(), ["fast", "gpt-5.4"]);
    }

    #[test]
    fn start_and_end_of_a_pattern_do_not_overlap() {
        let names = ModelNames::new(["gpt-*-mini"], []);
        for (model, fits) in [("gpt-5-mini", true), ("gpt--mini", true), ("gpt-mini", false), ("xgpt-5-mini", false)] {
            assert_eq!(names.fit(model).is_some(), fits, "{model}");
        }
        assert_eq!(ModelNames::every().fit("anything"), Some(Fit::Pattern(0)));
        assert_eq!(ModelNames::default().fit(""), None);
    }
}
