//! The WebSocket mode of Responses: events of clients as requests, and streams of replies as frames.
//!
//! A client sends `response.create` events, which have the fields of `POST /responses`. It gets each event of the reply
//! as one text frame. On one connection responses follow each other: the next event names the last response
//! (`previous_response_id`) and has only what is new. A provider that is asked over HTTP does not have that response,
//! so [`Histories`] keeps the items of the conversation, and [`read`] puts them before the new ones.
//!
//! | module | holds |
//! | --- | --- |
//! | `create` | reads events of clients: each is a request or is refused |
//! | `history` | the conversation of the latest response in each lane |
//! | `frames` | server-sent events of a reply to frames |
//! | `write` | frames that are not of a reply: errors, and replies to warm-ups |
//!
//! Sources: `ResponsesClientEvent`, `ResponsesServerEvent` and `ResponseWsError` of OpenAI's SDKs, and OpenAI's guide
//! to the WebSocket mode.

mod create;
mod frames;
mod history;
#[cfg(test)]
mod tests;
mod write;

pub use create::{Turn, read};
pub use frames::Frames;
pub use history::Histories;
pub use write::{Shown, error_frame, reply_error_frame, warm_up_frames};

use crate::conversation::{ErrorClass, Failure};

/// Most lanes (`stream_id`) of one connection: OpenAI's limit.
pub const MAX_LANES: usize = 32;

/// The value of `OpenAI-Beta` by which clients request this transport. It means nothing to a provider that is asked
/// over HTTP.
pub const BETA: &str = "responses_websockets";

/// The error for a connection that has reached its longest time. Clients connect anew when they see its code.
pub fn connection_too_old() -> Failure<'static> {
    let message = "this WebSocket connection has reached its time limit: create a new one to continue";
    Failure::of_gateway(400, ErrorClass::InvalidRequest, "websocket_connection_limit_reached", message)
}

/// The error for an event that comes while too many others wait.
pub fn too_many_events() -> Failure<'static> {
    let message = "too many events wait on this connection: responses are made one after another";
    Failure::of_gateway(429, ErrorClass::RateLimit, "websocket_queue_full", message)
}
