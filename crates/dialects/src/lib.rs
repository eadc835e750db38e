//! Wire formats of LLM APIs: read, written and translated, without IO.
//!
//! ```text
//! bytes ─> stream (JSON scan, SSE, AWS frames) ─> dialect (decode) ─> conversation ─> dialect (encode) ─> bytes
//! ```
//!
//! The modules are in dependency order: each uses only those above it.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read clocks and start tasks as they like"))]

#[cfg(test)]
extern crate self as tollgate_dialects;

/// Incremental decoders: JSON scan and splice, server-sent events, AWS event streams. Each is bounded.
pub mod stream;
/// The canonical form between dialects: requests, replies, stream events, and the names of unsupported fields.
pub mod conversation;
/// One folder a dialect: endpoints, request, reply, stream, errors, usage.
pub mod dialect;
