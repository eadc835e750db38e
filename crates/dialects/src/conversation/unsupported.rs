//! The report of fields that were not carried.

use std::{borrow::Cow, fmt};

/// Fields that change what an answer costs, how fast it comes, how it is filed or how it is styled, but not what the
/// model reads, may do, or has to answer: by their names in reports.
const HINTS: &[&str] = &[
    // Marks and keys of prompt caches.
    "cache_control",
    "cachePoint",
    "prompt_cache_breakpoint",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    // Whom and what a request belongs to, and whether the vendor keeps it.
    "metadata",
    "requestMetadata",
    "client_metadata",
    "labels",
    "user",
    "safety_identifier",
    "store",
    // Price and speed.
    "service_tier",
    "serviceTier",
    "performanceConfig",
    "prediction",
    "speed",
    // What streams have beside the answer.
    "stream_options",
    "include_obfuscation",
    "continuous_usage_stats",
    // Length of the answer, and the resolution at which the model looks at media.
    "verbosity",
    "detail",
    "media_resolution",
    "mediaResolution",
    // What a vendor may leave out of a long conversation.
    "context_management",
    "truncation",
    // The text of a tool's result, which is carried, describes the failure.
    "is_error",
];

/// Names of unsupported fields, each once, in the order in which they were found.
///
/// A field is a loss, or no more than a hint: without a hint the answer means the same.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Unsupported {
    names: Vec<Cow<'static, str>>,
    /// Which of the names are hints, a bit for each.
    hints: u32,
    /// How many more names there were.
    more: usize,
}

impl Unsupported {
    /// Most names that are kept, since they go into one header. A request with more has invented most of them.
    pub const MAX: usize = 32;
    /// Longest name that is kept whole, in bytes: the client chooses the names of unknown fields.
    pub const MAX_NAME: usize = 64;

    /// Adds `name` unless it is there; cut if it is too long, and only counted if there are too many.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>) {
        let name = name.into();
        let hint = is_hint(&name);
        self.insert(name, hint);
    }

    /// Adds the name of a field whose value was changed without a change of meaning: it is a hint, unless something of
    /// the same name is lost.
    pub fn add_hint(&mut self, name: impl Into<Cow<'static, str>>) {
        self.insert(name.into(), true);
    }

    fn insert(&mut self, mut name: Cow<'static, str>, hint: bool) {
        if name.len() > Self::MAX_NAME {
            let kept = name.get(..name.floor_char_boundary(Self::MAX_NAME)).unwrap_or_default();
            name = Cow::Owned(format!("{kept}..."));
        }
        let at = self.names.iter().position(|known| *known == name).unwrap_or(self.names.len());
        if at == self.names.len() {
            if at >= Self::MAX {
                self.more += 1;
                return;
            }
            self.names.push(name);
            self.hints |= 1 << at;
        }
        if !hint {
            self.hints &= !(1 << at);
        }
    }

    /// Adds `name` when `met`.
    pub fn add_if(&mut self, met: bool, name: &'static str) {
        if met {
            self.add(name);
        }
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: &Self) {
        for (name, hint) in others.entries() {
            self.insert(name.clone(), hint);
        }
        self.more += others.more;
    }

    /// Whether everything was carried.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names.
    pub fn names(&self) -> &[Cow<'static, str>] {
        &self.names
    }

    /// The same report without its hints.
    #[must_use]
    pub fn losses(&self) -> Self {
        let names = self.entries().filter(|(_, hint)| !hint).map(|(name, _)| name.clone()).collect();
        Self { names, hints: 0, more: self.more }
    }

    /// The names, each with whether it is a hint.
    fn entries(&self) -> impl Iterator<Item = (&Cow<'static, str>, bool)> {
        (0..).zip(&self.names).map(|(at, name): (u32, _)| (name, self.hints & (1 << at) != 0))
    }
}

fn is_hint(name: &str) -> bool {
    match name.strip_prefix("reply.") {
        // Counts that are parts of other counts.
        Some(name) => name.starts_with("usage.") || HINTS.contains(&name),
        None => HINTS.contains(&name),
    }
}

#[expect(clippy::missing_fields_in_debug, reason = "hints follow from the names")]
impl fmt::Debug for Unsupported {
    /// Whether a name is a hint follows from the name in nearly all cases, and [`Display`](fmt::Display) shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsupported").field("names", &self.names).field("more", &self.more).finish()
    }
}

impl fmt::Display for Unsupported {
    /// The names, separated by `, `, and how many more there were. Losses come first; a hint is followed by `;hint`, as
    /// lists in headers have parameters (RFC 9651). Characters that no header may contain are written as `?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for hints in [false, true] {
            for (name, _) in self.entries().filter(|(_, hint)| *hint == hints) {
                f.write_str(if std::mem::replace(&mut first, false) { "" } else { ", " })?;
                f.write_str(&name.replace(|c: char| !c.is_ascii_graphic() && c != ' ', "?"))?;
                f.write_str(if hints { ";hint" } else { "" })?;
            }
        }
        if self.more > 0 { write!(f, ", and {} more", self.more) } else { Ok(()) }
    }
}
