//! Metrics and the log. `docs/metrics.md` describes every metric, which a test compares.

pub mod access;
pub mod config;
pub mod credentials;
pub mod guards;
pub mod load;
pub mod log;
pub mod metrics;
pub mod operator;
pub mod panics;
mod register;
pub mod requests;
pub mod targets;
pub mod tokens;
pub mod watches;

pub use access::AccessLog;
pub use log::{LogFormat, LogGuard};
pub use metrics::Metrics;
