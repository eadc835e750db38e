//! What providers and servers may do, and what a client sees of it: seen from outside.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

mod common;

#[path = "upstreams/credentials.rs"]
mod credentials;
#[path = "upstreams/drain.rs"]
mod drain;
#[path = "upstreams/failover.rs"]
mod failover;
#[path = "upstreams/failures.rs"]
mod failures;
#[path = "upstreams/gone.rs"]
mod gone;
#[path = "upstreams/http2.rs"]
mod http2;
#[path = "upstreams/kept.rs"]
mod kept;
#[path = "upstreams/plain.rs"]
mod plain;
#[path = "upstreams/replies.rs"]
mod replies;
#[path = "upstreams/streams.rs"]
mod streams;
