//! Signals: those that stop the process, and those that do nothing.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens from now on; signals that come meanwhile wait for [`next`](Self::next).
    ///
    /// # Errors
    /// When the system does not let this process listen.
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
        })
    }

    /// Waits for the next one; gives its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Signals that end a process unless it listens, and that other servers reload or rotate their logs by: sent by habit,
/// they must not end this one.
pub(super) struct IgnoredSignals {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl IgnoredSignals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system does not let this process listen.
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup()).context("listen for SIGHUP")?,
            user1: signal(SignalKind::user_defined1()).context("listen for SIGUSR1")?,
            user2: signal(SignalKind::user_defined2()).context("listen for SIGUSR2")?,
        })
    }

    /// Logs each that comes.
    pub(super) async fn log(mut self) {
        loop {
            let signal = tokio::select! {
                _ = self.hangup.recv() => "SIGHUP",
                _ = self.user1.recv() => "SIGUSR1",
                _ = self.user2.recv() => "SIGUSR2",
            };
            tracing::info!(signal, "signal ignored: changed manifests are read without one");
        }
    }
}
