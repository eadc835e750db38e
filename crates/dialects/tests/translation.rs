//! Translations from every dialect to every other: which features are carried, which are reported as unsupported, and
//! that no input causes a failure, however unexpected it is.

#![allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

/// The features of requests and replies.
#[path = "translation/carried.rs"]
mod carried;
/// Tools that the client runs.
#[path = "translation/client_tools.rs"]
mod client_tools;
/// Writes `docs/compatibility.md`.
#[path = "translation/compatibility.rs"]
mod compatibility;
/// Fields of earlier answers that clients send back.
#[path = "translation/echoes.rs"]
mod echoes;
#[path = "../fuzz/exercise.rs"]
mod exercise;
#[path = "../fuzz/filters.rs"]
mod filters;
/// Files, by their types and names.
#[path = "translation/files.rs"]
mod files;
/// One request per feature and client dialect.
#[path = "translation/fixtures.rs"]
mod fixtures;
/// Random inputs, for any length of time.
#[path = "translation/fuzz.rs"]
mod fuzz;
/// Another vendor's answers in a history.
#[path = "translation/foreign.rs"]
mod foreign;
/// Features that vendors have not invented yet.
#[path = "translation/future.rs"]
mod future;
/// Tools that a vendor runs.
#[path = "translation/hosted.rs"]
mod hosted;
/// Fields that are missing or of a wrong type, and very large requests.
#[path = "translation/hostile.rs"]
mod hostile;
/// Images that a model makes.
#[path = "translation/images.rs"]
mod images;
/// What is reported, and what is not.
#[path = "translation/losses.rs"]
mod losses;
/// The order of reasoning, texts and calls, and loops of tools.
#[path = "translation/order.rs"]
mod order;
/// Arbitrary requests, replies and streams.
#[path = "translation/properties.rs"]
mod properties;
/// Requests whose model the Backend replaces.
#[path = "translation/replaced.rs"]
mod replaced;
/// One reply per feature and provider dialect.
#[path = "translation/replies.rs"]
mod replies;
/// Schemas as each target accepts them.
#[path = "translation/schemas.rs"]
mod schemas;
