//! How the generations of Gemini think, as Google documents it: <https://ai.google.dev/gemini-api/docs/thinking>.

/// How a model is made to think.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Thinking {
    /// It does not think.
    Never,
    /// By `thinkingBudget`, in tokens.
    Budget {
        /// Smallest budget other than 0.
        min: i64,
        /// Largest budget.
        max: i64,
        /// Whether a budget of 0 turns thinking off.
        off: bool,
    },
    /// By `thinkingLevel`.
    Level,
}

/// Models that have a budget, by the start of their name; the first that fits counts.
const BUDGETS: &[(&str, Thinking)] = &[
    ("gemini-2.5-flash-lite", Thinking::Budget { min: 512, max: 24_576, off: true }),
    ("gemini-2.5-flash", Thinking::Budget { min: 1, max: 24_576, off: true }),
    ("gemini-2.5-pro", Thinking::Budget { min: 128, max: 32_768, off: false }),
];

/// How the model of this name thinks; `None` where that is not known.
pub(super) fn thinking(model: &str) -> Option<Thinking> {
    let (_, name) = model.split_once("gemini-")?;
    let digits = name.split(|c: char| !c.is_ascii_digit()).next()?;
    let generation: u32 = digits.parse().ok()?;
    if generation >= 3 {
        return Some(Thinking::Level);
    }
    let budget = BUDGETS.iter().find(|(start, _)| model.contains(start));
    Some(budget.map_or(Thinking::Never, |(_, thinking)| *thinking))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_think_in_their_own_way() {
        let check = |model: &str, expect| assert_eq!(thinking(model), expect, "{model}");
        check("gemini-1.5-flash-latest", Some(Thinking::Never));
        check("gemini-2.0-flash", Some(Thinking::Never));
        check("gemini-2.5-flash-lite", Some(Thinking::Budget { min: 512, max: 24_576, off: true }));
        check("gemini-2.5-flash-preview-09-2025", Some(Thinking::Budget { min: 1, max: 24_576, off: true }));
        check("gemini-2.5-pro", Some(Thinking::Budget { min: 128, max: 32_768, off: false }));
        check("google/gemini-3-pro-preview", Some(Thinking::Level));
        check("gemini-flash-latest", None);
        check("gemma-3-27b-it", None);
    }
}
