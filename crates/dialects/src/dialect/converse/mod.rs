//! Bedrock Converse as a conversation.
//!
//! | file | does |
//! | --- | --- |
//! | `request` | reads requests |
//! | `write`, `write_content`, `tools`, `thinking` | write requests |
//! | `reply` | reads and writes replies in one piece |
//! | `stream`, `write_stream` | read and write streams |
//! | `error` | reads and writes errors |
//! | `wire`, `content`, `formats`, `schema` | what they share |

pub(super) mod usage;
mod content;
mod error;
mod formats;
mod reply;
mod request;
mod schema;
mod stream;
#[cfg(test)]
mod tests;
mod thinking;
mod write_tools;
mod wire;
mod write_request;
mod write_content;
mod write_stream;

use super::{Destination, Dialect, ReadEvents, ReplyHead, WriteEvents, fields};
use crate::{
    conversation::{Failure, Invalid, Reply, Request, SignatureOrigin, Unsupported},
    stream::TopLevel,
};

/// Whose signatures stand in this dialect as they are: Claude is the one who signs on Bedrock.
const HOME: SignatureOrigin = SignatureOrigin::Anthropic;

/// Name of the tool that a model without structured output is made to call: its input is the answer.
const ANSWER_TOOL: &str = "json_output";

/// Bedrock Converse.
///
/// The model and whether the answer comes as a stream stand in the URL: neither is read nor written here.
pub struct Converse;

impl Dialect for Converse {
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

    fn repair_reply(&self, body: &[u8]) -> Option<(String, Unsupported)> {
        fields::repair(std::str::from_utf8(body).ok()?, fields::ANSWER, &|json| {
            fields::wrong::<reply::WireReply<'_>>(json)
        })?
        .mended()
    }

    fn write_reply(&self, reply: &Reply<'_>, _: &ReplyHead, out: &mut Vec<u8>) {
        reply::write(reply, out);
    }

    fn read_events(&self) -> Box<dyn ReadEvents> {
        Box::new(stream::Reader::default())
    }

    fn write_events(&self, _: ReplyHead) -> Box<dyn WriteEvents> {
        Box::new(write_stream::Writer::default())
    }

    fn read_error<'a>(&self, status: u16, body: &'a [u8]) -> Failure<'a> {
        error::read(status, body)
    }

    fn write_error(&self, failure: &Failure<'_>, _: &str, out: &mut Vec<u8>) -> u16 {
        error::write(failure, out)
    }
}
