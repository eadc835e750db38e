//! How relevant documents are to a query: by the words that they share. The same texts always get the same scores.

use std::collections::HashSet;

/// The places of the most relevant `texts`, at most `top`, with their scores from 0 to 1. The best one comes first.
pub(super) fn ranked(query: &str, texts: &[&str], top: Option<u64>) -> Vec<(usize, f64)> {
    let wanted = words(query);
    let mut scores: Vec<(usize, f64)> = texts.iter().map(|text| relevance(&wanted, text)).enumerate().collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores.truncate(top.and_then(|top| usize::try_from(top).ok()).unwrap_or(usize::MAX));
    scores
}

/// The part of the words of either text that both have.
fn relevance(wanted: &HashSet<String>, text: &str) -> f64 {
    let words = words(text);
    let (shared, all) = (wanted.intersection(&words).count(), wanted.union(&words).count());
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    if all == 0 { 0.0 } else { count(shared) / count(all) }
}

fn words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// What a ranking is billed by: a query with up to a hundred documents.
pub(super) fn search_units(documents: usize) -> u64 {
    documents.div_ceil(100) as u64
}
