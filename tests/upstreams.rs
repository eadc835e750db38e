//! The behaviour of providers and servers, and what a client sees of it, tested from outside the process.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::float_cmp, reason = "counters are whole numbers")]

mod common;

#[path = "upstreams/authorities.rs"]
mod authorities;
#[path = "upstreams/cancellation.rs"]
mod cancellation;
#[path = "upstreams/choosing.rs"]
mod choosing;
#[path = "upstreams/credentials.rs"]
mod credentials;
#[path = "upstreams/drain.rs"]
mod drain;
#[path = "upstreams/egress.rs"]
mod egress;
#[path = "upstreams/failover.rs"]
mod failover;
#[path = "upstreams/failures.rs"]
mod failures;
#[path = "upstreams/hedging.rs"]
mod hedging;
#[path = "upstreams/health.rs"]
mod health;
#[path = "upstreams/first_content.rs"]
mod first_content;
#[path = "upstreams/http2.rs"]
mod http2;
#[path = "upstreams/keep_alive.rs"]
mod keep_alive;
#[path = "upstreams/load.rs"]
mod load;
#[path = "upstreams/plain_servers.rs"]
mod plain_servers;
#[path = "upstreams/replies.rs"]
mod replies;
#[path = "upstreams/retries.rs"]
mod retries;
#[path = "upstreams/streams.rs"]
mod streams;
