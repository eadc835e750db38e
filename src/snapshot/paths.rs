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
    /// The model that it names.
    pub model: RequestModel<'a>,
}

/// What is known of the model that a request names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestModel<'a> {
    /// It was not read yet.
    #[default]
    Unread,
    /// The model, if the request names one.
    Read(Option<&'a str>),
}

/// Which rule matches depends on the request's model, which was not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsModel;

/// How a value is compared.
#[derive(Clone, Debug)]
pub enum ValuePattern {
    /// Equal.
    Exact(String),
    /// The whole value matches.
    Regex(Regex),
}

impl ValuePattern {
    /// Whether `value` matches.
    pub fn matches(&self, value: &str) -> bool {
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

/// Headers that stand for the model which the request's body or path names: that of the Gateway API's Inference
/// Extension, and that of Envoy AI Gateway.
pub const MODEL_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("x-gateway-model-name"), HeaderName::from_static("x-ai-eg-model")];

/// Conditions beside the path.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The method.
    pub method: Option<Method>,
    /// Headers: each must match.
    pub headers: Vec<(HeaderName, ValuePattern)>,
    /// Query parameters: each must match.
    pub query: Vec<(String, ValuePattern)>,
    /// The model that the request names, by the header of which manifests write it: each must match.
    pub model: Vec<(HeaderName, ValuePattern)>,
}

impl Conditions {
    /// Whether those on the model hold. Without one its value makes no difference.
    fn hold_for_model(&self, request: &RequestView<'_>) -> Result<bool, NeedsModel> {
        match request.model {
            _ if self.model.is_empty() => Ok(true),
            RequestModel::Unread => Err(NeedsModel),
            RequestModel::Read(model) => Ok(model.is_some_and(|model| self.allow(model))),
        }
    }

    /// Whether all others hold.
    fn hold_beside_model(&self, request: &RequestView<'_>) -> bool {
        self.method.as_ref().is_none_or(|m| m == request.method)
            && self.headers.iter().all(|(name, pattern)| header_matches(request.headers, name, pattern))
            && self.query.iter().all(|(name, pattern)| query_matches(request.query, name, pattern))
    }

    /// Whether requests for `model` match, as far as that depends on the model.
    pub fn allow(&self, model: &str) -> bool {
        self.model.iter().all(|(_, pattern)| pattern.matches(model))
    }

    /// The models that they name.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.model.iter().filter_map(|(_, pattern)| match pattern {
            ValuePattern::Exact(model) => Some(model.as_str()),
            ValuePattern::Regex(_) => None,
        })
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
            headers: Reverse(conditions.headers.len() + conditions.model.len()),
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
    ///
    /// # Errors
    /// When that depends on the model, which the view does not have.
    pub fn find(&self, request: &RequestView<'_>) -> Result<Option<Matched>, NeedsModel> {
        let mut found = None;
        self.visit(request.path, |entry, matched, is_at_path| {
            let conditions = &entry.conditions;
            if !conditions.hold_beside_model(request) || !is_at_path() || !conditions.hold_for_model(request)? {
                return Ok(false);
            }
            found = Some(Matched { rule: Arc::clone(&entry.rule), matched });
            Ok(true)
        })?;
        Ok(found)
    }

    /// The rules that `request` would match with one model or another, in their order, up to the first that does not
    /// depend on it. Each is with its conditions.
    pub fn by_model(&self, request: &RequestView<'_>) -> Vec<(&Conditions, Matched)> {
        let mut found = Vec::new();
        let visited = self.visit(request.path, |entry, matched, is_at_path| -> Result<bool, NeedsModel> {
            if !entry.conditions.hold_beside_model(request) || !is_at_path() {
                return Ok(false);
            }
            found.push((&entry.conditions, Matched { rule: Arc::clone(&entry.rule), matched }));
            Ok(entry.conditions.model.is_empty())
        });
        debug_assert!(visited.is_ok(), "nothing here needs the model");
        found
    }

    /// Calls `visit` with the entries that `path` may match, in the order of precedence, until it returns `true` or an
    /// error: with the entry, the length of what matches, and a check of the path, which is only expensive for regular
    /// expressions.
    fn visit<'t>(
        &'t self,
        path: &str,
        mut visit: impl FnMut(&'t Entry, usize, &dyn Fn() -> bool) -> Result<bool, NeedsModel>,
    ) -> Result<(), NeedsModel> {
        for entry in self.exact.get(path).into_iter().flatten() {
            if visit(entry, path.len(), &|| true)? {
                return Ok(());
            }
        }
        for (regex, entry) in &self.regex {
            if visit(entry, path.len(), &|| regex.is_match(path))? {
                return Ok(());
            }
        }
        if self.prefix.is_empty() {
            return Ok(());
        }
        // Ends of the path's first `depth` elements, the whole path among them.
        let ends = path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]).take(self.depth);
        let mut candidates: smallvec::SmallVec<[usize; 16]> = ends.collect();
        candidates.insert(0, 0);
        for end in candidates.iter().rev() {
            let prefix = path.get(..*end).unwrap_or_default().trim_end_matches('/');
            for entry in self.prefix.get(prefix).into_iter().flatten() {
                if visit(entry, prefix.len(), &|| true)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The rule of each match, in no order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let listed = self.exact.values().chain(self.prefix.values()).flatten();
        listed.chain(self.regex.iter().map(|(_, entry)| entry)).map(|entry| &*entry.rule)
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
        for (name, pattern) in self.headers.iter().chain(&self.model) {
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
