//! Tollgate: an AI gateway for Kubernetes in one pod.
//!
//! ```text
//! cluster ─ source::kube ─┐                                         ┌─ Reports ─> publish ─> status, log, /debug
//!                         ├─> Objects ─> compile (pure, no IO) ─────┤
//! files ─── source::file ─┘                                         └─ Snapshot ─> ArcSwap
//!                                                                                   │ one load per request
//! client ─> proxy: accept ─> route ─> classify ─> request policies ─> select ─> encode ─> send ─┐
//! client <─ proxy: record <─ finish <─ relay <─ reply filters <─────────────────────────────────┘
//! ```
//!
//! The modules are in dependency order: each uses only those above it (`tests/tidy` holds this).

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like"))]

/// Wire formats of LLM APIs, without IO: a package of its own, below everything here.
pub use tollgate_dialects::{conversation, dialect, stream};

/// Providers, one folder each: fields in Backends, host, paths, credentials and quirks.
pub mod provider;
/// The API of users: custom resources, Gateway API types, conditions and reasons.
pub mod api;
/// Metric families and the log.
pub mod telemetry;
/// IO to providers: connections, TLS, pools.
pub mod upstream;
/// Policies of rules and backends, one folder each.
pub mod policy;
/// The configuration that requests read: the route table and compiled backends.
pub mod snapshot;
/// Objects to snapshot and reports.
pub mod compile;
/// Where objects come from.
pub mod source;
/// Writes to the cluster: conditions, Services, Events, by the one replica that holds the Lease.
pub mod publish;
/// The request path, in its order.
pub mod proxy;
/// Operators' views, on their own port.
pub mod admin;
/// The command line.
pub mod args;
/// Wiring and shutdown order.
pub mod app;
