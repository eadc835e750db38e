//! What a target's failure means: one table for every provider.
//!
//! A failure is found in the table by status, error code and body of a reply ([`Verdict::of_reply`]), or by what became
//! of the connection. Its row states what is tried next, whether and how long the target cools, and whether its breaker
//! counts it. Selection, health and metrics read the row; no other code judges a status.

mod reply;
mod wait;

use std::time::Duration;

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// Too many requests or tokens for now.
    Rate,
    /// A quota, a spending limit or a balance is used up.
    Quota,
    /// The provider is busy. That is no statement about the key.
    Overload,
    /// The provider failed, or what it sent is no reply.
    Broken,
    /// No reply in time.
    Timeout,
    /// No connection, or one that ended before a reply.
    Network,
    /// The gateway's own key is refused.
    Credential,
    /// The gateway's own key may not do this.
    Permission,
    /// The target does not have the model.
    ModelMissing,
    /// The target does not implement the request.
    Unsupported,
    /// The request collides with another.
    Conflict,
    /// The request is at fault.
    Client,
    /// The request's content is refused.
    Content,
    /// The gateway could not send the request.
    NotSent,
}

/// What may be tried after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: any target would answer the same, or may not be asked.
    Never,
    /// The same target once more, if a retry policy allows it.
    Same,
    /// Another target.
    Other,
    /// Another target; the same one once more, if a retry policy allows it.
    SameOrOther,
}

/// What a cooldown applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One model of the target.
    Model,
    /// All requests to the target.
    Target,
}

/// How long a target cools after a failure: it is tried after all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// What cools.
    pub scope: Scope,
    /// The first time.
    pub first: Duration,
    /// The longest time, after it has repeated. It doubles on the way, unless `factor` is another.
    pub most: Duration,
    /// By how much the time grows with each repetition.
    pub factor: u32,
    /// The longest wait that is taken from the provider, in place of these times.
    pub named: Duration,
}

/// When a failure opens the target's breaker: the target gets one request at a time until one succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// After this many failures in a row.
    pub failures: u32,
    /// How long it is open the first time; it doubles.
    pub first: Duration,
    /// The longest time.
    pub most: Duration,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it means.
    pub meaning: Meaning,
    /// The word in metrics, the log and debug views.
    pub word: &'static str,
    /// How it is recognised, for the manual.
    pub shown_by: &'static str,
    /// What may be tried next.
    pub next: Next,
    /// Whether and how long the target cools.
    pub cooldown: Option<Cooldown>,
    /// Whether the breaker counts it. What it does not count is neither a failure nor a success for it.
    pub breaker: Option<Trip>,
    /// How useful the reply is for the client, if no target does better.
    usefulness: u8,
}

/// No wait that a provider names is taken as shorter: clocks and rounding differ by that much.
pub const MIN_WAIT: Duration = Duration::from_secs(1);

/// The breaker's count for failures of a server that can be reached.
const FAILING: Option<Trip> = Some(Trip { failures: 5, first: Duration::from_secs(5), most: Duration::from_mins(1) });
/// The breaker's count for servers that can't be reached, which is certain at once and may be over as soon.
const UNREACHABLE: Option<Trip> =
    Some(Trip { failures: 1, first: Duration::from_secs(1), most: Duration::from_secs(30) });

/// A cooldown that always has the same length.
const fn fixed(scope: Scope, time: Duration, named: Duration) -> Cooldown {
    Cooldown { scope, first: time, most: time, factor: 1, named }
}

/// A row without a cooldown that no breaker counts.
const fn plain(meaning: Meaning, word: &'static str, shown_by: &'static str, next: Next, usefulness: u8) -> Row {
    Row { meaning, word, shown_by, next, cooldown: None, breaker: None, usefulness }
}

/// The table, in the order of [`Meaning`].
pub const TABLE: [Row; 14] = [
    Row {
        cooldown: Some(Cooldown {
            scope: Scope::Model,
            first: Duration::from_secs(5),
            most: Duration::from_mins(1),
            factor: 2,
            named: Duration::from_mins(5),
        }),
        ..plain(Meaning::Rate, "rate", "429; Bedrock's `ThrottlingException`, `ModelNotReadyException`", Next::Other, 2)
    },
    Row {
        cooldown: Some(Cooldown {
            scope: Scope::Model,
            first: Duration::from_mins(5),
            most: Duration::from_mins(15),
            factor: 3,
            named: Duration::from_hours(1),
        }),
        ..plain(
            Meaning::Quota,
            "quota",
            "402; 429 with `insufficient_quota`, a spending limit, or Gemini's `PerDay`; Bedrock's \
             `ServiceQuotaExceededException`",
            Next::Other,
            2,
        )
    },
    Row {
        cooldown: Some(fixed(Scope::Target, Duration::from_secs(5), Duration::from_mins(5))),
        ..plain(Meaning::Overload, "overload", "503, 529", Next::SameOrOther, 1)
    },
    Row {
        breaker: FAILING,
        ..plain(
            Meaning::Broken,
            "broken",
            "424, 500, 502 and other 5xx; an error or garbage in place of the answer; a stream that breaks off",
            Next::SameOrOther,
            1,
        )
    },
    Row {
        breaker: FAILING,
        ..plain(Meaning::Timeout, "timeout", "408, 504; no reply in time, or a silent stream", Next::Other, 1)
    },
    Row {
        breaker: UNREACHABLE,
        ..plain(
            Meaning::Network,
            "network",
            "no address, connection refused or too slow, TLS refused, closed before the reply",
            Next::Other,
            1,
        )
    },
    Row {
        cooldown: Some(fixed(Scope::Target, Duration::from_mins(1), Duration::ZERO)),
        ..plain(
            Meaning::Credential,
            "credential",
            "401, or 400 and 403 about the key itself, of the gateway's own key",
            Next::Other,
            1,
        )
    },
    Row {
        cooldown: Some(fixed(Scope::Model, Duration::from_mins(1), Duration::ZERO)),
        ..plain(Meaning::Permission, "permission", "403, of the gateway's own key", Next::Other, 1)
    },
    Row {
        cooldown: Some(fixed(Scope::Model, Duration::from_mins(1), Duration::ZERO)),
        ..plain(
            Meaning::ModelMissing,
            "model_missing",
            "404 about the model: `model_not_found`, `DeploymentNotFound`, or a message that names it",
            Next::Other,
            2,
        )
    },
    plain(Meaning::Unsupported, "unsupported", "501", Next::Other, 1),
    plain(Meaning::Conflict, "conflict", "409", Next::Same, 2),
    plain(Meaning::Client, "client", "any other 4xx; 401, 402 and 403 of a client's own key", Next::Never, 2),
    plain(Meaning::Content, "content", "400 with `content_filter`", Next::Never, 2),
    plain(
        Meaning::NotSent,
        "not_sent",
        "the request can't be built for the target, or its credential can't be fetched",
        Next::Other,
        0,
    ),
];

impl Meaning {
    /// Its row.
    #[expect(
        clippy::indexing_slicing,
        reason = "the table has a row for each meaning, in their order: a test holds it"
    )]
    pub const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl Row {
    /// Whether another target may be tried.
    pub const fn tries_other(&self) -> bool {
        matches!(self.next, Next::Other | Next::SameOrOther)
    }
}

/// What one failure of a target means, and the wait that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it means.
    pub meaning: Meaning,
    /// The wait that the provider names, within the bounds of the row.
    pub wait: Option<Duration>,
    /// Whether the failure is about a client's own key, so that the target does not cool for others.
    pub of_clients_key: bool,
}

impl Verdict {
    /// A failure with this meaning that names no wait.
    pub const fn new(meaning: Meaning) -> Self {
        Self { meaning, wait: None, of_clients_key: false }
    }

    /// How useful the reply is for the client, compared with those of other targets: a wait is worth most, then what is
    /// wrong with the request.
    pub fn usefulness(&self) -> u8 {
        let row = self.meaning.row();
        let is_passing = matches!(self.meaning, Meaning::Rate | Meaning::Quota | Meaning::Overload);
        if is_passing && self.wait.is_some() { 3 } else { row.usefulness }
    }
}

#[cfg(test)]
mod tests;
