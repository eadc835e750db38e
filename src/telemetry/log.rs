//! The log: JSON lines or text on standard output, written by a separate thread.
//!
//! ```text
//! event -> one line, formatted on the thread it happens on -> shared buffer (a copy under a lock) -> writer thread
//! ```
//!
//! A request never waits for standard output. When it is not read, lines are dropped and counted
//! (`tollgate_log_lines_dropped_total`).

mod json;
mod sink;
#[cfg(test)]
mod tests;

pub use sink::LogGuard;
use tracing::{Subscriber, subscriber::set_global_default};
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt};

use self::{json::JsonLines, sink::Sink};
use super::Metrics;

/// Modules of libraries that log on every try what `source::kube` logs once. A user's directive for
/// them takes precedence.
const KUBE: &str = "kube_runtime::watcher=off,kube_client::client=error,kube_client::client::builder=off";

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line: `ts`, `level`, `target`, `msg`, then the event's fields.
    #[default]
    Json,
    /// For people.
    Text,
}

/// The reason why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error("parse log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The log was started before.
    #[error("start log: {0}")]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// The writer thread could not be started.
    #[error("start log writer: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts the log of the process on standard output. `filter` is in the syntax of `RUST_LOG`:
/// `info,tollgate::access=off`. Pending lines are written when the guard is dropped.
///
/// # Errors
///
/// When the filter does not parse or the log was started before.
pub fn init(format: LogFormat, filter: &str, metrics: &Metrics) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::builder().parse(format!("{KUBE},{filter}"))?;
    let (sink, guard) = Sink::start(std::io::stdout(), metrics.log_lines_dropped.clone())?;
    set_global_default(subscriber(format, filter, sink))?;
    Ok(guard)
}

fn subscriber(format: LogFormat, filter: EnvFilter, sink: Sink) -> Box<dyn Subscriber + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(sink);
    match format {
        LogFormat::Json => Box::new(Registry::default().with(filter).with(layer.event_format(JsonLines))),
        LogFormat::Text => Box::new(Registry::default().with(filter).with(layer)),
    }
}
