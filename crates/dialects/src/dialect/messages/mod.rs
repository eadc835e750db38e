//! Anthropic Messages as a conversation.
//!
//! | file | does |
//! | --- | --- |
//! | `wire` | what requests, replies and streams have in common on the wire |
//! | `request`, `blocks` | reads requests: the body, and what messages hold |
//! | `write`, `turns`, `tools`, `thinking`, `schema` | writes requests |
//! | `reply` | reads and writes replies in one piece |
//! | `stream`, `write_stream` | reads and writes streams |
//! | `error` | reads and writes errors |

pub mod usage;
mod content;
mod error;
pub mod linked;
mod reply;
mod request;
mod schema;
mod stream;
#[cfg(test)]
mod tests;
mod thinking;
mod write_tools;
mod write_content;
mod wire;
mod write_request;
mod write_stream;

use super::{Destination, Dialect, ReadEvents, ReplyHead, WriteEvents, fields};
use crate::{
    conversation::{Failure, Invalid, Reply, Request, SignatureOrigin, Unsupported},
    stream::TopLevel,
};

/// Whose signatures stand untagged in this dialect.
const HOME: SignatureOrigin = SignatureOrigin::Anthropic;

/// The tool that a model without structured outputs is made to call, so that its arguments are the answer. Whoever reads the
/// reply turns the call back into text.
const JSON_TOOL: &str = "json_output";

/// Anthropic Messages.
pub struct Messages;

impl Dialect for Messages {
    fn read_request<'a>(&self, body: &'a TopLevel<'_>) -> Result<Request<'a>, Invalid> {
        request::read(body)
    }

    fn write_request(
        &self,
        request: &Request<'_>,
        to: &Destination<'_>,
        dropped: &mut Unsupported,
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        write_request::write(request, to, dropped, out)
    }

    fn read_reply<'a>(&self, body: &'a [u8]) -> Result<Reply<'a>, Failure<'a>> {
        reply::read(body)
    }

    fn failure_of(&self, reply: &Reply<'_>) -> Option<Failure<'static>> {
        reply::failure_of(reply)
    }

    fn repair_reply(&self, body: &[u8]) -> Option<(String, Unsupported)> {
        fields::repair(std::str::from_utf8(body).ok()?, fields::ANSWER, &|json| {
            fields::wrong::<reply::WireReply<'_>>(json)
        })?
        .mended()
    }

    fn write_reply(&self, reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>) {
        reply::write(reply, head, out);
    }

    fn read_events(&self) -> Box<dyn ReadEvents> {
        Box::<stream::Reader>::default()
    }

    fn write_events(&self, head: ReplyHead) -> Box<dyn WriteEvents> {
        Box::new(write_stream::Writer::new(head))
    }

    fn read_error<'a>(&self, status: u16, body: &'a [u8]) -> Failure<'a> {
        error::read(status, body)
    }

    fn write_error(&self, failure: &Failure<'_>, request_id: &str, out: &mut Vec<u8>) -> u16 {
        error::write(failure, request_id, out)
    }
}
