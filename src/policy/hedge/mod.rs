//! Hedging: a second target gets the request when the first one is slow. It is a setting of a Backend.

use std::time::Duration;

use crate::{api::backend, upstream::balance::Latency};

/// When a second target gets the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedge {
    /// After this time.
    After(Duration),
    /// When the first one takes longer than 95 of 100 of its last answers.
    AfterMost,
}

impl Hedge {
    /// The hedge that is written.
    pub fn of(written: &backend::Hedge) -> Self {
        written.delay.as_ref().map_or(Self::AfterMost, |delay| Self::After(delay.get()))
    }

    /// How long a target with this latency may take; `None` where too little is known of it.
    pub fn delay(self, latency: &Latency) -> Option<Duration> {
        match self {
            Self::After(delay) => Some(delay),
            Self::AfterMost => latency.p95(),
        }
    }
}
