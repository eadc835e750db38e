//! The models that an entry of a Backend serves, by the names that clients use.

use std::{borrow::Cow, collections::BTreeMap};

/// How well a name fits a list. A greater one is more specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// By a pattern with so many characters beside its `*`.
    Pattern(usize),
    /// By the name itself, or by an alias.
    Exact,
}

/// A pattern with one `*`, which matches any characters, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    start: Box<str>,
    end: Box<str>,
    /// The provider's name is the part that `*` matches.
    strips: bool,
}

impl Pattern {
    fn new((start, end): (&str, &str), strips: bool) -> Self {
        Self { start: start.into(), end: end.into(), strips }
    }

    /// The part of `model` that `*` matches, if it fits.
    fn inside<'a>(&self, model: &'a str) -> Option<&'a str> {
        model.strip_prefix(&*self.start)?.strip_suffix(&*self.end)
    }

    fn fits(&self, model: &str) -> bool {
        self.inside(model).is_some()
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
    /// The names and patterns of `listed`; a pattern has one `*`. `aliases` are names with the provider's for each, and
    /// patterns: of these the provider's name is the part that their `*` matches.
    pub fn new<'a>(
        listed: impl IntoIterator<Item = &'a str>,
        aliases: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut names = Self::default();
        for name in listed {
            match name.split_once('*') {
                Some(parts) => names.patterns.push(Pattern::new(parts, false)),
                None => {
                    names.names.insert(name.into(), None);
                }
            }
        }
        for (alias, model) in aliases {
            match alias.split_once('*') {
                Some(parts) => names.patterns.push(Pattern::new(parts, true)),
                None => {
                    names.names.insert(alias.into(), Some(model.into()));
                }
            }
        }
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
    pub fn alias<'a>(&'a self, model: &'a str) -> Option<&'a str> {
        if let Some(named) = self.names.get(model) {
            return named.as_deref();
        }
        let fitting = self.patterns.iter().filter(|pattern| pattern.fits(model));
        fitting.max_by_key(|pattern| pattern.fit()).filter(|pattern| pattern.strips)?.inside(model)
    }

    /// The name by which clients get the provider's model `id`, if they can.
    pub fn name_of<'a>(&self, id: &'a str) -> Option<Cow<'a, str>> {
        if self.fit(id).is_some() && self.alias(id).is_none() {
            return Some(id.into());
        }
        let strips = self.patterns.iter().filter(|pattern| pattern.strips);
        let mut names = strips.map(|pattern| format!("{}{id}{}", pattern.start, pattern.end));
        names.find(|name| self.alias(name) == Some(id)).map(Cow::Owned)
    }

    /// The names and aliases, without the patterns.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// Whether any name is an alias.
    pub fn has_aliases(&self) -> bool {
        self.names.values().any(Option::is_some) || self.patterns.iter().any(|pattern| pattern.strips)
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
        let names =
            ModelNames::new(["claude-*", "claude-haiku-*", "*", "gpt-5.4", "*-mini"], [("fast", "gpt-5.4-mini")]);
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
    fn a_pattern_among_aliases_stands_for_a_part_of_the_name() {
        let names = ModelNames::new(["gpt-*"], [("openai/*", "*"), ("openai/old", "gpt-3.5-turbo")]);
        for (model, alias) in [
            ("openai/whisper-1", Some("whisper-1")),
            ("openai/gpt-5.4", Some("gpt-5.4")),
            ("openai/old", Some("gpt-3.5-turbo")),
            ("gpt-5.4", None),
        ] {
            assert_eq!(names.alias(model), alias, "{model}");
        }
        assert_eq!(names.name_of("gpt-5.4").as_deref(), Some("gpt-5.4"));
        assert_eq!(names.name_of("whisper-1").as_deref(), Some("openai/whisper-1"));
        assert_eq!(ModelNames::new(["gpt-*"], []).name_of("whisper-1"), None);
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
