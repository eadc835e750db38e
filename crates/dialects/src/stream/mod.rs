//! Incremental decoders without IO, which the request path and the relay use to examine bytes.
//!
//! Everything here is a plain function or state machine over byte slices: no sockets, no clock, no task, no recursion.
//! Observers never fail the traffic that they examine; only [`json::TopLevel::scan`], which decides whether a request
//! is accepted, returns an error.
//!
//! | module | examines | does | used for |
//! | --- | --- | --- | --- |
//! | [`json`] | a complete body | validates it, borrows the fields of the top-level object | requests, one event's data |
//! | [`splice`] | a scanned body | replaces, inserts and removes fields, byte-exact elsewhere | rewriting requests |
//! | [`tap`] | a JSON reply in frames | captures selected top-level fields as they pass | usage of buffered replies |
//! | [`aws`] | an AWS event stream in pieces | yields frames, checks them | Bedrock |
//! | [`invoke`] | an AWS event stream in pieces | unwraps Anthropic's events from it | Claude on Bedrock |
//! | [`elements`] | a JSON array in pieces | finds its objects | Gemini's streams without `alt=sse` |
//! | [`sse`] | an event stream in frames | yields events, drops those that the client did not request | usage of streams |
//!
//! Every bound, and its reason:
//!
//! | bound | value | reason |
//! | --- | --- | --- |
//! | [`json::MAX_DEPTH`] | 1024 levels | nesting is input; no schema of any provider comes near, one bit a level is all it costs |
//! | [`json::MAX_MEMBERS`] | 4096 fields | a field costs 72 bytes here and 5 in the body: a 32 MiB body must not become 480 MiB |
//! | [`tap::MAX_CAPTURE`] | 64 KiB a value | `usage` and `model` take under 2 KiB; a captured value is the only copy we make |
//! | [`sse::MAX_EVENT_BYTES`] | 16 MiB an event | images in one event reach 10 MiB; only an event split over frames is copied at all |
//! | [`aws::MAX_FRAME_BYTES`] | 24.1 MiB a frame | botocore's own limit; the length is checked before anything is kept |
//! | `sse::KEEP_CAPACITY` | 64 KiB | buffers that one large event grew are given back after it, streams live for minutes |
//!
//! [`aws`]: crate::stream::aws
//! [`aws::MAX_FRAME_BYTES`]: crate::stream::aws::MAX_FRAME_BYTES
//! [`elements`]: crate::stream::elements
//! [`invoke`]: crate::stream::invoke
//! [`json`]: crate::stream::json
//! [`splice`]: crate::stream::splice
//! [`tap`]: crate::stream::tap
//! [`sse`]: crate::stream::sse
//! [`json::TopLevel::scan`]: crate::stream::json::TopLevel::scan
//! [`json::MAX_DEPTH`]: crate::stream::json::MAX_DEPTH
//! [`json::MAX_MEMBERS`]: crate::stream::json::MAX_MEMBERS
//! [`tap::MAX_CAPTURE`]: crate::stream::tap::MAX_CAPTURE
//! [`sse::MAX_EVENT_BYTES`]: crate::stream::sse::MAX_EVENT_BYTES

pub mod aws;
pub mod elements;
pub mod invoke;
pub mod json;
pub mod splice;
pub mod sse;
pub mod tap;

mod skip;
#[cfg(test)]
mod testing;

pub use aws::{AwsDecoder, AwsFrame};
pub use invoke::InvokeFilter;
pub use json::{JsonError, JsonErrorKind, Member, TopLevel, ValueKind};
pub use splice::Splice;
pub use sse::{Event, SseDecoder, SseFilter};
pub use tap::JsonTap;
