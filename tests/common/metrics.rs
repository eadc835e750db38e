//! Prometheus' text format, read.

use std::collections::BTreeMap;

/// The samples of one scrape.
pub struct Samples(Vec<(String, BTreeMap<String, String>, f64)>);

impl Samples {
    /// Reads the text format. Label values of these tests hold no `,` and no escapes.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect())
    }

    /// All samples of this name that have these labels, with whatever labels besides.
    fn all<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = f64> + 'a {
        let has = |own: &BTreeMap<String, String>| labels.iter().all(|(n, v)| own.get(*n).is_some_and(|o| o == v));
        self.0.iter().filter(move |(n, own, _)| n == name && has(own)).map(|(_, _, value)| *value)
    }

    /// The value of the one sample of this name that has these labels, with whatever labels besides; `None` when
    /// there is none.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<f64> = self.all(name, labels).collect();
        assert!(found.len() < 2, "{} samples of {name} have {labels:?}", found.len());
        found.first().copied()
    }

    /// The sum of the samples of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).sum()
    }
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}')?.split(',').filter(|pair| !pair.is_empty());
    let labels = labels.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    });
    Some((name.to_owned(), labels.collect::<Option<_>>()?, value.parse().ok()?))
}
