//! The table of models: rows are read from TOML, checked, and applied to a model's name.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use super::{Efforts, ModelFacts, OpenAiApi, SamplingFacts, Thinking};
use crate::{
    conversation::Effort,
    dialect::{ModelName, converse::models::ConverseFacts},
};

/// The rows that Tollgate comes with.
const BUILT_IN: &str = include_str!("models.toml");
/// Most rows of an operator's file, each of which is compared with the model of every translated request.
const MAX_ROWS: usize = 500;

/// Which facts hold for which models.
#[derive(Clone, Debug, Default)]
pub struct ModelTable {
    pub(super) rows: Vec<Row>,
}

/// Why a table can't be used.
#[derive(Debug, PartialEq, Eq)]
pub struct TableError(String);

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TableError {}

/// One row: the models that it is about, and the facts that it states.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    name: Names,
    from: Option<Version>,
    until: Option<Version>,
    #[serde(default)]
    on: Vec<String>,
    /// When the row was compared with its source.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation lists it"))]
    pub(super) checked: Option<toml::value::Datetime>,
    /// Where the facts are from.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation lists it"))]
    pub(super) source: Option<String>,

    sampling: Option<SamplingFacts>,
    thinking: Option<Kind>,
    budget: Option<(u64, u64)>,
    thinking_off: Option<bool>,
    efforts: Option<Vec<Word>>,
    efforts_in_responses: Option<Vec<Word>>,
    default_output: Option<u64>,
    max_output: Option<u64>,
    structured_output: Option<bool>,
    json_with_tools: Option<bool>,
    verbosity: Option<bool>,
    fast_mode: Option<bool>,
    effort_and_budget: Option<bool>,
    prefill: Option<bool>,
    later_instructions: Option<bool>,
    forced_tools: Option<bool>,
    json_schema: Option<bool>,
    signs_calls: Option<bool>,
    api: Option<OpenAiApi>,
    tools_api: Option<OpenAiApi>,
    converse: Option<ConverseForm>,
}

/// Alternatives, each with the parts of a name.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "OneOrMany")]
struct Names(Vec<Vec<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<OneOrMany> for Names {
    type Error = &'static str;

    fn try_from(names: OneOrMany) -> Result<Self, Self::Error> {
        let names = match names {
            OneOrMany::One(name) => vec![name],
            OneOrMany::Many(names) => names,
        };
        let names: Vec<Vec<String>> = names
            .iter()
            .map(|name| name.to_ascii_lowercase().split_whitespace().map(str::to_owned).collect())
            .collect();
        let has_letters =
            |name: &Vec<String>| name.iter().any(|part| part.contains(|c: char| c.is_ascii_alphanumeric()));
        if names.is_empty() || !names.iter().all(has_letters) {
            return Err("a name has no part with letters or digits");
        }
        Ok(Self(names))
    }
}

/// A version such as `4.5` or `3`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
struct Version(u32, u32);

impl TryFrom<String> for Version {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (major, minor) = text.split_once('.').unwrap_or((&text, "0"));
        let number = |digits: &str| digits.parse().map_err(|_| "a version is a number such as 4 or 4.5, in quotes");
        Ok(Self(number(major)?, number(minor)?))
    }
}

/// How reasoning is controlled, without its bounds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Never,
    Effort,
    Budget,
    Adaptive,
    Level,
    Nova,
}

/// An effort by its name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Word(Effort);

impl TryFrom<String> for Word {
    type Error = String;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        Effort::parse(&word).map(Self).ok_or_else(|| format!("`{word}` is not an effort"))
    }
}

/// Whose form of Converse a model has.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ConverseForm {
    Plain,
    Claude,
    Nova,
    NovaAudio,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    model: Vec<Row>,
}

impl ModelTable {
    /// The rows that Tollgate comes with.
    pub fn built_in() -> Arc<Self> {
        static TABLE: LazyLock<Arc<ModelTable>> = LazyLock::new(|| {
            // A test reads the same file, so it can't be wrong here.
            Arc::new(ModelTable::default().with(BUILT_IN).unwrap_or_default())
        });
        Arc::clone(&TABLE)
    }

    /// This table, with the rows of a TOML document behind its own.
    ///
    /// # Errors
    /// When the document is not of this form, or a row contradicts itself: with the line, or the row's name.
    pub fn with(&self, document: &str) -> Result<Self, TableError> {
        let Document { model } = toml::from_str(document).map_err(|error| TableError(error.to_string()))?;
        if model.len() > MAX_ROWS {
            return Err(TableError(format!("more than {MAX_ROWS} rows")));
        }
        for row in &model {
            row.check().map_err(|problem| TableError(format!("[[model]] {}: {problem}", row.name())))?;
        }
        Ok(Self { rows: self.rows.iter().cloned().chain(model).collect() })
    }

    /// The facts about the model of this name at `provider`, however the provider spells it
    /// (`us.anthropic.claude-...-v1:0`, `claude-...@20250929`).
    pub fn facts(&self, model: &str, provider: &str) -> ModelFacts {
        let name = ModelName::of(model);
        let mut found = Found::default();
        for row in self.rows.iter().filter(|row| row.is_about(&name, provider)) {
            found.apply(row);
        }
        found.facts()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Row {
    /// The names that it is about.
    pub(super) fn name(&self) -> String {
        self.name.0.iter().map(|parts| parts.join(" ")).collect::<Vec<_>>().join(", ")
    }

    fn is_about(&self, model: &ModelName, provider: &str) -> bool {
        let names = |parts: &Vec<String>| {
            // Claude 3 has its version in front of its kind, later ones behind it: the first number counts.
            let version = || parts.first().and_then(|family| model.version_after(family)).map(|(a, b)| Version(a, b));
            model.has(parts)
                && self.from.is_none_or(|least| version().is_some_and(|version| version >= least))
                && self.until.is_none_or(|end| version().is_some_and(|version| version < end))
        };
        (self.on.is_empty() || self.on.iter().any(|one| one.eq_ignore_ascii_case(provider)))
            && self.name.0.iter().any(names)
    }

    fn check(&self) -> Result<(), &'static str> {
        let zero = [self.default_output, self.max_output].contains(&Some(0));
        let reversed = |pair: (Option<u64>, Option<u64>)| matches!(pair, (Some(least), Some(most)) if least > most);
        let empty = |efforts: &Option<Vec<Word>>| efforts.as_ref().is_some_and(Vec::is_empty);
        match self {
            _ if zero => Err("a limit of tokens is 0"),
            _ if reversed((self.default_output, self.max_output)) => Err("default_output is above max_output"),
            Self { budget: Some((min, max)), .. } if min > max || *max == 0 => Err("budget is [least, most]"),
            Self { thinking: Some(Kind::Budget), budget: None, .. } => Err("thinking by a budget needs `budget`"),
            Self { thinking: Some(Kind::Level | Kind::Nova), thinking_off: Some(true), .. } => {
                Err("thinking by a level can't be turned off")
            }
            _ if empty(&self.efforts) || empty(&self.efforts_in_responses) => Err("efforts has no effort"),
            _ if matches!((self.from, self.until), (Some(from), Some(until)) if from >= until) => {
                Err("`until` is not above `from`")
            }
            _ => Ok(()),
        }
    }
}

/// The facts of the rows so far.
struct Found {
    facts: ModelFacts,
    thinking: Kind,
    budget: (u64, u64),
    off: bool,
    in_responses: Option<Efforts>,
}

impl Default for Found {
    fn default() -> Self {
        Self { facts: ModelFacts::PLAIN, thinking: Kind::Never, budget: (1, u64::MAX), off: true, in_responses: None }
    }
}

impl Found {
    fn apply(&mut self, row: &Row) {
        fn set<T: Copy>(fact: &mut T, stated: Option<T>) {
            *fact = stated.unwrap_or(*fact);
        }
        let efforts = |words: &Option<Vec<Word>>| words.as_ref().map(|w| Efforts::of(w.iter().map(|word| word.0)));
        let facts = &mut self.facts;
        set(&mut facts.sampling, row.sampling);
        set(&mut facts.efforts, efforts(&row.efforts));
        set(&mut facts.default_output, row.default_output);
        set(&mut facts.max_output, row.max_output);
        set(&mut facts.structured, row.structured_output);
        set(&mut facts.json_with_tools, row.json_with_tools);
        set(&mut facts.verbosity, row.verbosity);
        set(&mut facts.fast_mode, row.fast_mode);
        set(&mut facts.effort_and_budget, row.effort_and_budget);
        set(&mut facts.prefill, row.prefill);
        set(&mut facts.later_instructions, row.later_instructions);
        set(&mut facts.forced_tools, row.forced_tools);
        set(&mut facts.json_schema, row.json_schema);
        set(&mut facts.signs_calls, row.signs_calls);
        set(&mut facts.api, row.api);
        set(&mut facts.tools_api, row.tools_api);
        set(&mut self.thinking, row.thinking);
        set(&mut self.budget, row.budget);
        set(&mut self.off, row.thinking_off);
        self.in_responses = efforts(&row.efforts_in_responses).or(self.in_responses);
        set(&mut facts.converse, row.converse.map(ConverseForm::facts));
    }

    /// Rows may contradict each other only in ways that are settled here: a default above the limit is the limit.
    fn facts(self) -> ModelFacts {
        let ((min, max), off) = (self.budget, self.off);
        let thinking = match self.thinking {
            Kind::Never => Thinking::Never,
            Kind::Effort => Thinking::Effort,
            Kind::Budget => Thinking::Budget { min, max, off },
            Kind::Adaptive => Thinking::Adaptive { off },
            Kind::Level => Thinking::Level,
            Kind::Nova => Thinking::Nova,
        };
        ModelFacts {
            thinking,
            efforts_in_responses: self.in_responses.unwrap_or(self.facts.efforts),
            default_output: self.facts.default_output.min(self.facts.max_output),
            ..self.facts
        }
    }
}

impl ConverseForm {
    const fn facts(self) -> &'static ConverseFacts {
        match self {
            Self::Plain => &ConverseFacts::PLAIN,
            Self::Claude => &ConverseFacts::CLAUDE,
            Self::Nova => &ConverseFacts::NOVA,
            Self::NovaAudio => &ConverseFacts::NOVA_AUDIO,
        }
    }
}
