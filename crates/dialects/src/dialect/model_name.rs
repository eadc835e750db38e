//! The name of a model, part by part, however a provider or an operator spells it.
//!
//! What is known about a model hangs on its name, and names contain each other by chance: `demo3` is no `o3`, and
//! `supernova` no Nova. So whole parts are compared, and of a path only its end:
//!
//! | spelling | the name in it |
//! | --- | --- |
//! | `openai/o3-mini`, `models/gemini-2.5-pro`, `publishers/google/models/...` | the last segment |
//! | `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-sonnet-4-5@20250929` | all of it |
//! | `arn:aws:bedrock:us-east-1:1:custom-model/anthropic.claude-3-haiku/abc` | the resource, without its kind |
//! | `team-o3-mini`, `gpt5-eu` (deployments of Azure) | all of it |

use smallvec::SmallVec;

/// The longest name that has no more parts than are kept beside it: a Bedrock model with its region.
const USUAL_PARTS: usize = 12;

/// The parts of a model's name: runs of letters and digits, in lower case.
#[derive(Clone, Debug)]
pub struct ModelName(SmallVec<[String; USUAL_PARTS]>);

/// The end of a match in a name.
#[derive(Clone, Copy)]
struct Matched<'a> {
    /// What follows in the last part that matched: `3` in `claude3`.
    rest: &'a str,
    /// The number of the next part.
    next: usize,
}

impl ModelName {
    /// The name in `model`.
    pub fn of(model: &str) -> Self {
        let model = model.trim_matches('/');
        let name = match model.strip_prefix("arn:") {
            Some(arn) => arn.split_once('/').map_or("", |(_, resource)| resource),
            None => model.rsplit('/').next().unwrap_or_default(),
        };
        Self(parts(name).map(str::to_ascii_lowercase).collect())
    }

    /// Whether the name has the parts of each of `patterns`, such as `gemini-2.5` and `flash`, in this order. A number
    /// may follow a part without anything between: `claude3` has `claude`.
    pub fn has(&self, patterns: &[impl AsRef<str>]) -> bool {
        let mut from = 0;
        patterns.iter().all(|pattern| {
            let found = self.find(pattern.as_ref(), from);
            from = found.map_or(from, |found| found.next);
            found.is_some()
        })
    }

    /// Whether a part of the name begins so.
    pub fn has_part_beginning(&self, with: &str) -> bool {
        self.0.iter().any(|part| part.starts_with(with))
    }

    /// The first version behind `pattern`: `-opus-4-7-20260101` is 4.7, `-4-20250514` is 4.0, and `-35-turbo`, as Azure
    /// writes it, is 3.5. Sizes such as `20b` are no versions.
    pub fn version_after(&self, pattern: &str) -> Option<(u32, u32)> {
        let Matched { rest, next } = self.find(pattern, 0)?;
        let behind = self.0.get(next..).unwrap_or_default();
        let mut numbers = std::iter::once(rest).chain(behind.iter().map(String::as_str)).map(number);
        let major = numbers.by_ref().find_map(|number| number)?;
        // No family has come as far as its twentieth version.
        Some(if major >= 20 { (major / 10, major % 10) } else { (major, numbers.next().flatten().unwrap_or(0)) })
    }

    /// Where the parts of `pattern` are, side by side, from this part on.
    fn find(&self, pattern: &str, from: usize) -> Option<Matched<'_>> {
        let wanted: SmallVec<[&str; 4]> = parts(pattern).collect();
        let Some((last, first)) = wanted.split_last() else { return Some(Matched { rest: "", next: from }) };
        (from..self.0.len()).find_map(|at| {
            let here = self.0.get(at..at + wanted.len())?;
            let (end, begin) = here.split_last()?;
            let rest = end.strip_prefix(last)?;
            let is_number = rest.starts_with(|c: char| c.is_ascii_digit()) && last.ends_with(char::is_alphabetic);
            (begin.iter().eq(first) && (rest.is_empty() || is_number))
                .then_some(Matched { rest, next: at + wanted.len() })
        })
    }
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty())
}

/// A part that is a version's number: one or two digits, as in `4`, `v2` and `4o`.
fn number(part: &str) -> Option<u32> {
    let digits = part.strip_prefix('v').unwrap_or(part);
    let digits = digits.strip_suffix('o').unwrap_or(digits);
    let fits = (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_parts_are_compared() {
        for (model, patterns, has) in [
            ("o3", &["o3"][..], true),
            ("o3-mini", &["o3"], true),
            ("openai/o3", &["o3"], true),
            ("team_o3_eu", &["o3"], true),
            ("demo3", &["o3"], false),
            ("demo3-large", &["o3"], false),
            ("o31", &["o3"], false),
            ("gpt-4o-3", &["o3"], false),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x9o3k2", &["o3"], false),
            ("supernova-1", &["nova"], false),
            ("nova/llama-3", &["nova"], false),
            ("us.amazon.nova-lite-v1:0", &["nova"], true),
            ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-lite-v1:0", &["nova"], true),
            ("arn:aws:bedrock:us-east-1:1:custom-model/anthropic.claude-3-haiku-20240307-v1:0/abc", &["claude"], true),
            ("projects/claude/locations/l/publishers/google/models/gemini-2.5-pro", &["claude"], false),
            ("models/gemini-2.5-flash-lite", &["gemini-2.5", "flash-lite"], true),
            ("gemini-2.5-pro", &["gemini-2.5", "flash"], false),
            ("flash-gemini-2.5", &["gemini-2.5", "flash"], false),
            ("Claude3-Opus", &["claude", "opus"], true),
            ("claudette", &["claude"], false),
            ("anything", &[""], true),
            ("", &["o3"], false),
        ] {
            assert_eq!(ModelName::of(model).has(patterns), has, "{model} {patterns:?}");
        }
        assert!(ModelName::of("models/text-embedding-004").has_part_beginning("embed"));
        assert!(!ModelName::of("unembedded").has_part_beginning("embed"));
    }

    #[test]
    fn versions_are_behind_their_family() {
        for (model, family, version) in [
            ("claude-opus-4-7-20260101", "claude", Some((4, 7))),
            ("claude-sonnet-4-20250514", "claude", Some((4, 0))),
            ("anthropic/claude-sonnet-4.5", "claude", Some((4, 5))),
            ("anthropic.claude-v2:1", "claude", Some((2, 1))),
            ("claude3-opus", "claude", Some((3, 0))),
            ("us-east-1.claude-opus", "claude", None),
            ("gpt-4o-mini", "gpt", Some((4, 0))),
            ("gpt-35-turbo", "gpt", Some((3, 5))),
            ("gpt5-mini", "gpt", Some((5, 0))),
            ("gpt-5.2-2025-12-11", "gpt", Some((5, 2))),
            ("gpt-j-6b", "gpt", None),
            ("gpt-neox-20b", "gpt", None),
            ("gemini-exp-1206", "gemini", None),
        ] {
            assert_eq!(ModelName::of(model).version_after(family), version, "{model}");
        }
    }
}
