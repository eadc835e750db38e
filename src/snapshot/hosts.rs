//! An index of values by host name, the most specific first.

use std::collections::HashMap;

/// A host name in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name alone.
    Exact(String),
    /// `*.suffix`: any name with at least one label before the suffix. Holds the suffix without `*.`.
    Wildcard(String),
    /// Every name.
    Any,
}

impl HostPattern {
    /// Reads a manifest's host name; `None` or an empty string is every name.
    pub fn parse(text: Option<&str>) -> Self {
        match text.map(str::trim).filter(|t| !t.is_empty()) {
            None => Self::Any,
            Some(text) => {
                let text = text.to_ascii_lowercase();
                match text.strip_prefix("*.") {
                    Some(suffix) => Self::Wildcard(suffix.to_owned()),
                    None => Self::Exact(text),
                }
            }
        }
    }

    /// Reads a host name as the Gateway API allows it: labels of letters, digits and `-`, perhaps after `*.`.
    ///
    /// # Errors
    /// The problem of `text`, and how to fix it.
    pub fn valid(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let letter = |b: u8| b.is_ascii_alphanumeric();
        let label = |l: &str| {
            let bytes = l.as_bytes();
            let ends = bytes.first().is_some_and(|b| letter(*b)) && bytes.last().is_some_and(|b| letter(*b));
            ends && bytes.len() <= 63 && bytes.iter().all(|b| letter(*b) || *b == b'-')
        };
        if text.len() <= 253 && name.split('.').all(label) {
            Ok(Self::parse(Some(text)))
        } else {
            Err(format!("hostname '{text}' is not a DNS name; leave it out to serve every name"))
        }
    }

    /// The intersection of both: the more specific of the two, when one contains the other.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let inside = |suffix: &str, name: &str| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
        match (self, other) {
            (Self::Any, x) | (x, Self::Any) => Some(x.clone()),
            (Self::Exact(a), Self::Exact(b)) => (a == b).then(|| self.clone()),
            (Self::Exact(name), Self::Wildcard(suffix)) | (Self::Wildcard(suffix), Self::Exact(name)) => {
                inside(suffix, name).then(|| Self::Exact(name.clone()))
            }
            (Self::Wildcard(a), Self::Wildcard(b)) => {
                if a == b || inside(b, a) {
                    Some(self.clone())
                } else {
                    inside(a, b).then(|| other.clone())
                }
            }
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// Values by host name.
pub struct HostIndex<T> {
    exact: HashMap<Box<str>, T>,
    wildcard: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl<T> Default for HostIndex<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: HashMap::new(), any: None }
    }
}

impl<T> HostIndex<T> {
    /// Values whose pattern matches `host` (lower case, without port), the most specific first.
    pub fn matching<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a T> + 'a {
        let exact = (!self.exact.is_empty()).then(|| self.exact.get(host)).flatten();
        let suffixes = (!self.wildcard.is_empty())
            .then(|| host.match_indices('.').filter_map(|(dot, _)| self.wildcard.get(host.get(dot + 1..)?)));
        exact.into_iter().chain(suffixes.into_iter().flatten()).chain(&self.any)
    }

    /// The value at `pattern`.
    pub fn get(&self, pattern: &HostPattern) -> Option<&T> {
        match pattern {
            HostPattern::Exact(name) => self.exact.get(name.as_str()),
            HostPattern::Wildcard(suffix) => self.wildcard.get(suffix.as_str()),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// All values with their patterns, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (HostPattern, &T)> {
        let exact = self.exact.iter().map(|(name, value)| (HostPattern::Exact(name.to_string()), value));
        let wildcard = self.wildcard.iter().map(|(suffix, value)| (HostPattern::Wildcard(suffix.to_string()), value));
        exact.chain(wildcard).chain(self.any.iter().map(|value| (HostPattern::Any, value)))
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.wildcard.values_mut()).chain(&mut self.any)
    }
}

impl<T: Default> HostIndex<T> {
    /// The value at `pattern`, made if it is not there.
    pub fn entry(&mut self, pattern: &HostPattern) -> &mut T {
        match pattern {
            HostPattern::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            HostPattern::Wildcard(suffix) => self.wildcard.entry(suffix.as_str().into()).or_default(),
            HostPattern::Any => self.any.get_or_insert_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_name_comes_first() {
        let mut index: HostIndex<&str> = HostIndex::default();
        for pattern in ["a.b.c", "*.b.c", "*.c", ""] {
            *index.entry(&HostPattern::parse(Some(pattern))) = pattern;
        }
        let order = |host: &'static str| index.matching(host).copied().collect::<Vec<_>>();
        assert_eq!(order("a.b.c"), ["a.b.c", "*.b.c", "*.c", ""]);
        assert_eq!(order("x.y.b.c"), ["*.b.c", "*.c", ""]);
        assert_eq!(order("b.c"), ["*.c", ""], "a wildcard needs a label of its own");
        assert_eq!(order("c"), [""]);
        assert_eq!(order(""), [""]);
    }

    #[test]
    fn host_names_are_dns_names() {
        for good in ["a", "a.b", "A-1.b", "*.b", "1.2.3.4", "xn--bcher-kva.example"] {
            assert_eq!(HostPattern::valid(good).unwrap(), HostPattern::parse(Some(good)));
        }
        let long = "a".repeat(64);
        for bad in
            ["", " ", "*", "*.", "*a.b", "a.*.b", ".a", "a.", "a..b", "a b", "-a", "a-", "a_b", "a:80", "ä.b", &long]
        {
            assert!(HostPattern::valid(bad).unwrap_err().contains("is not a DNS name"), "{bad}");
        }
    }

    #[test]
    fn intersections() {
        let both = |a: &str, b: &str| {
            HostPattern::parse(Some(a)).intersect(&HostPattern::parse(Some(b))).map(|p| p.to_string())
        };
        for (a, b, expected) in [
            ("a.b", "a.b", Some("a.b")),
            ("A.b", "a.B", Some("a.b")),
            ("a.b", "*.b", Some("a.b")),
            ("b", "*.b", None),
            ("ab", "*.b", None),
            ("*.b", "*.a.b", Some("*.a.b")),
            ("*.a", "*.b", None),
            ("", "*.b", Some("*.b")),
            ("", "", Some("*")),
        ] {
            assert_eq!(both(a, b).as_deref(), expected, "{a} and {b}");
            assert_eq!(both(b, a).as_deref(), expected, "{b} and {a}");
        }
    }
}
