//! Every dialect to every other: what is carried, what is named as lost, and that nothing breaks on what nobody
//! expected.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

/// What a request or a reply holds, feature by feature.
#[path = "translation/carried.rs"]
mod carried;
/// Writes `docs/compatibility.md`.
#[path = "translation/compatibility.rs"]
mod compatibility;
/// What clients send back of earlier answers.
#[path = "translation/echoes.rs"]
mod echoes;
#[path = "../fuzz/exercise.rs"]
mod exercise;
#[path = "../fuzz/filters.rs"]
mod filters;
/// One request a feature and client dialect.
#[path = "translation/fixtures.rs"]
mod fixtures;
/// Random inputs, for as long as one likes.
#[path = "translation/fuzz.rs"]
mod fuzz;
/// What vendors have not invented yet.
#[path = "translation/future.rs"]
mod future;
/// Members gone or of a wrong type, and very large requests.
#[path = "translation/hostile.rs"]
mod hostile;
/// Arbitrary requests, replies and streams.
#[path = "translation/properties.rs"]
mod properties;
/// One reply a feature and provider dialect.
#[path = "translation/replies.rs"]
mod replies;
