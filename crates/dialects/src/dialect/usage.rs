//! Token counts of one exchange, and the progress that a stream's events state.

use smallvec::SmallVec;

use super::Dialect;
use crate::conversation::{ErrorClass, Event, TokenUsage};

/// Token counts as the provider states them. `None` where it states nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt: Option<u64>,
    /// Tokens of the answer, reasoning included.
    pub completion: Option<u64>,
    /// What rankings are billed by: a query with up to a hundred documents.
    pub search_units: Option<u64>,
}

impl From<TokenUsage> for Usage {
    fn from(usage: TokenUsage) -> Self {
        Self { prompt: usage.input, completion: usage.output, search_units: None }
    }
}

impl Usage {
    /// Counts are cumulative in every dialect: counts that `later` states replace earlier ones, the others stay.
    pub fn update(&mut self, later: Self) {
        self.prompt = later.prompt.or(self.prompt);
        self.completion = later.completion.or(self.completion);
        self.search_units = later.search_units.or(self.search_units);
    }
}

/// The state of a stream at a point at which it may be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnding {
    /// It has ended regularly.
    Complete,
    /// An event reports that the answer has failed, with an error of this class.
    Failed(ErrorClass),
    /// It was cut: more events must follow.
    Cut,
    /// Its form is unknown, so that it can't be judged.
    Unknown,
}

impl StreamEnding {
    /// Whether a stream that is closed here was not cut.
    pub fn may_end(self) -> bool {
        self != Self::Cut
    }
}

/// The progress of a stream, as one of its events states it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the stream may end after this event, whatever came before it.
    pub ends: bool,
    /// In dialects whose streams end when all of their choices have: the choices that the event is about, by their
    /// numbers, and whether each of them has ended.
    pub choices: SmallVec<[(i64, bool); 1]>,
    /// Whether the answer has failed.
    pub failed: bool,
    /// The usage that it states.
    pub usage: Option<TokenUsage>,
    /// Whether it holds usage and nothing else: clients that did not request usage do not expect such an event.
    pub usage_only: bool,
    /// The model that it names.
    pub model: Option<String>,
}

impl Progress {
    /// The progress that an event states. One with the name `error` is a failure, whatever is in it: servers in front
    /// of a model put texts of their own there.
    pub fn of(dialect: &dyn Dialect, name: Option<&[u8]>, data: &[u8]) -> Option<Self> {
        let failed = name == Some(b"error");
        dialect.read_progress(name, data).or_else(|| failed.then(|| Self { ends: true, failed, ..Self::default() }))
    }

    /// The class of the error in an event that reports a failure. The reader of the dialect's streams decides.
    pub fn class_of_failure(dialect: &dyn Dialect, name: Option<&[u8]>, data: &[u8]) -> ErrorClass {
        let mut class = ErrorClass::Internal;
        // Readers take UTF-8.
        let text = String::from_utf8_lossy(data);
        dialect.read_events().event(name, text.as_bytes(), &mut |event| {
            if let Event::Error(failure) = event {
                class = failure.class;
            }
        });
        class
    }
}
