//! Rules by path, method, headers and query parameters.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use http::{HeaderMap, HeaderName, Method};
use percent_encoding::percent_decode_str;
use regex::Regex;

use super::{Matched, Rule};

/// The parts of a request that routing matches.
#[derive(Clone, Copy)]
pub struct RequestView<'a> {
    /// Host name, lower case, without port.
    pub host: &'a str,
    /// The path as it was received, percent-encoding included.
    pub path: &'a str,
    /// The raw query, without `?`.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// How a value is compared.
#[derive(Clone, Debug)]
pub enum ValuePattern {
    /// Equal.
    Exact(String),
    /// The whole value matches.
    Regex(Regex),
}

impl ValuePattern {
    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(expected) => expected == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }

    /// A pattern that must match the whole value.
    ///
    /// # Errors
    /// When it is not a regular expression of Rust's `regex` crate (RE2-like), or too large.
    pub fn whole(pattern: &str) -> Result<Regex, regex::Error> {
        regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(1 << 20).build()
    }
}

/// How a path is compared.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Equal.
    Exact(String),
    /// The path elements begin with these.
    Prefix(String),
    /// The whole path matches.
    Regex(Regex),
}

/// Conditions beside the path.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The method.
    pub method: Option<Method>,
    /// Headers: each must match.
    pub headers: Vec<(HeaderName, ValuePattern)>,
    /// Query parameters: each must match.
    pub query: Vec<(String, ValuePattern)>,
}

impl Conditions {
    fn hold(&self, request: &RequestView<'_>) -> bool {
        self.method.as_ref().is_none_or(|m| m == request.method)
            && self.headers.iter().all(|(name, pattern)| header_matches(request.headers, name, pattern))
            && self.query.iter().all(|(name, pattern)| query_matches(request.query, name, pattern))
    }
}

/// A header sent several times is one list (RFC 9110): compared as one value joined by commas, and each alone.
fn header_matches(headers: &HeaderMap, name: &HeaderName, pattern: &ValuePattern) -> bool {
    let mut values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    let Some(first) = values.next() else { return false };
    let rest: Vec<&str> = values.collect();
    if pattern.matches(first) || rest.iter().any(|v| pattern.matches(v)) {
        return true;
    }
    !rest.is_empty() && pattern.matches(&[&[first], rest.as_slice()].concat().join(","))
}

/// Of a repeated parameter the first counts, as the Gateway API recommends.
fn query_matches(query: Option<&str>, name: &str, pattern: &ValuePattern) -> bool {
    let decode = |s| percent_decode_str(s).decode_utf8_lossy();
    query
        .into_iter()
        .flat_map(|q| q.split('&'))
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(n, _)| decode(n) == name)
        .is_some_and(|(_, value)| pattern.matches(&decode(value)))
}

/// The order of rules whose paths match equally: more conditions first, then the older route, then its name,
/// then the order of writing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    /// Seconds since 1970; routes without a time come last.
    created: i64,
    route: String,
    rule: usize,
    matching: usize,
}

impl Precedence {
    /// The precedence of match number `matching` of rule number `rule` of `route` (`namespace/name`).
    pub fn new(conditions: &Conditions, created: Option<i64>, route: String, rule: usize, matching: usize) -> Self {
        Self {
            method: Reverse(conditions.method.is_some()),
            headers: Reverse(conditions.headers.len()),
            query: Reverse(conditions.query.len()),
            created: created.unwrap_or(i64::MAX),
            route,
            rule,
            matching,
        }
    }
}

struct Entry {
    precedence: Precedence,
    conditions: Conditions,
    rule: Arc<Rule>,
}

/// Rules of one host name.
#[derive(Default)]
pub struct PathTable {
    exact: HashMap<Box<str>, Vec<Entry>>,
    /// Longest pattern first.
    regex: Vec<(Regex, Entry)>,
    /// By prefix without its trailing slash; `/` is the empty string.
    prefix: HashMap<Box<str>, Vec<Entry>>,
    /// The most path elements any prefix has: bounds the attempts of a look-up, however deep the request's path.
    depth: usize,
}

impl PathTable {
    /// Adds a rule. Call [`PathTable::sort`] after the last.
    pub fn insert(&mut self, path: PathPattern, conditions: Conditions, precedence: Precedence, rule: Arc<Rule>) {
        let entry = Entry { precedence, conditions, rule };
        match path {
            PathPattern::Exact(path) => self.exact.entry(path.into()).or_default().push(entry),
            PathPattern::Regex(regex) => self.regex.push((regex, entry)),
            PathPattern::Prefix(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                self.depth = self.depth.max(prefix.matches('/').count());
                self.prefix.entry(prefix.into()).or_default().push(entry);
            }
        }
    }

    /// Puts rules in the order of their precedence.
    pub fn sort(&mut self) {
        for entries in self.exact.values_mut().chain(self.prefix.values_mut()) {
            entries.sort_by(|a, b| a.precedence.cmp(&b.precedence));
        }
        self.regex.sort_by(|(a, x), (b, y)| {
            b.as_str().len().cmp(&a.as_str().len()).then_with(|| x.precedence.cmp(&y.precedence))
        });
    }

    /// The first rule that `request` matches: exact paths, then regular expressions, then prefixes, longest first.
    pub fn find(&self, request: &RequestView<'_>) -> Option<Matched> {
        let pick = |entries: &[Entry], matched: usize| {
            let entry = entries.iter().find(|e| e.conditions.hold(request))?;
            Some(Matched { rule: Arc::clone(&entry.rule), matched })
        };
        let path = request.path;
        if let Some(found) = self.exact.get(path).and_then(|entries| pick(entries, path.len())) {
            return Some(found);
        }
        let by_regex = self.regex.iter().find(|(regex, e)| e.conditions.hold(request) && regex.is_match(path));
        if let Some((_, entry)) = by_regex {
            return Some(Matched { rule: Arc::clone(&entry.rule), matched: path.len() });
        }
        if self.prefix.is_empty() {
            return None;
        }
        // Ends of the path's first `depth` elements, the whole path among them.
        let ends = path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]).take(self.depth);
        let mut candidates: smallvec::SmallVec<[usize; 16]> = ends.collect();
        candidates.insert(0, 0);
        candidates.iter().rev().find_map(|end| {
            let prefix = path.get(..*end)?.trim_end_matches('/');
            self.prefix.get(prefix).and_then(|entries| pick(entries, prefix.len()))
        })
    }

    /// A readable description of each match, with its rule, in order.
    pub fn describe(&self) -> Vec<(String, Arc<Rule>)> {
        fn listed<'a>(
            kind: &'a str,
            map: &'a HashMap<Box<str>, Vec<Entry>>,
        ) -> impl Iterator<Item = (String, &'a Entry)> {
            map.iter().flat_map(move |(path, entries)| {
                let path = if path.is_empty() { "/" } else { path };
                entries.iter().map(move |entry| (format!("{kind} {path}"), entry))
            })
        }
        let regex = self.regex.iter().map(|(regex, entry)| (format!("RegularExpression {}", regex.as_str()), entry));
        let all = listed("Exact", &self.exact).chain(listed("PathPrefix", &self.prefix)).chain(regex);
        let mut described: Vec<(String, Arc<Rule>)> =
            all.map(|(path, entry)| (path + &entry.conditions.to_string(), Arc::clone(&entry.rule))).collect();
        described.sort_by(|a, b| a.0.cmp(&b.0));
        described
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(method) = &self.method {
            write!(f, " {method}")?;
        }
        // The values may be credentials: routes match on keys of clients.
        let sign = |pattern: &ValuePattern| if matches!(pattern, ValuePattern::Exact(_)) { '=' } else { '~' };
        for (name, pattern) in &self.headers {
            write!(f, " header {name}{}***", sign(pattern))?;
        }
        for (name, pattern) in &self.query {
            write!(f, " query {name}{}***", sign(pattern))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
