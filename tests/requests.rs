//! The requests that a client may send, and what arrives upstream, tested from outside the process.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

mod common;

#[path = "requests/apis.rs"]
mod apis;
#[path = "requests/bodies.rs"]
mod bodies;
#[path = "requests/client_keys.rs"]
mod client_keys;
#[path = "requests/connections.rs"]
mod connections;
#[path = "requests/credentials.rs"]
mod credentials;
#[path = "requests/forwarding.rs"]
mod forwarding;
#[path = "requests/framing.rs"]
mod framing;
#[path = "requests/guards.rs"]
mod guards;
#[path = "requests/images.rs"]
mod images;
#[path = "requests/invoke.rs"]
mod invoke;
#[path = "requests/keys_in_replies.rs"]
mod keys_in_replies;
#[path = "requests/lookups.rs"]
mod lookups;
#[path = "requests/models.rs"]
mod models;
#[path = "requests/other_model.rs"]
mod other_model;
#[path = "requests/passthrough.rs"]
mod passthrough;
#[path = "requests/paths.rs"]
mod paths;
#[cfg(feature = "simulator")]
#[path = "requests/presets.rs"]
mod presets;
#[path = "requests/rerank.rs"]
mod rerank;
#[path = "requests/targets.rs"]
mod targets;
#[path = "requests/translation.rs"]
mod translation;
#[path = "requests/unusual_replies.rs"]
mod unusual_replies;
#[path = "requests/websocket.rs"]
mod websocket;
