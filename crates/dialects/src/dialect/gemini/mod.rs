//! Gemini `generateContent` as a conversation, as Google AI Studio and Vertex AI speak it.
//!
//! Keys are read in camelCase and in `snake_case`, as proto3's JSON mapping has it; only camelCase is written.

pub(super) mod usage;
mod citations;
mod config;
mod content;
mod write_request;
mod write_content;
mod write_tools;
mod error;
mod names;
mod reply;
mod request;
mod schema;
mod signature;
mod stream;
mod tools;
mod tree;
mod wire;
mod write_reply;
mod write_stream;

use super::{Destination, Dialect, ReadEvents, ReplyHead, WriteEvents, fields};
use crate::{
    conversation::{Failure, Invalid, Reply, Request, Unsupported},
    stream::TopLevel,
};

/// Gemini `generateContent`.
pub struct Gemini;

impl Dialect for Gemini {
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
        fields::repair(std::str::from_utf8(body).ok()?, fields::ANSWER, &|json| fields::wrong::<reply::Wire<'_>>(json))?
            .mended()
    }

    fn write_reply(&self, reply: &Reply<'_>, head: &ReplyHead, out: &mut Vec<u8>) {
        write_reply::write(reply, head, out);
    }

    fn read_events(&self) -> Box<dyn ReadEvents> {
        Box::new(stream::Reader::default())
    }

    fn write_events(&self, head: ReplyHead) -> Box<dyn WriteEvents> {
        Box::new(write_stream::Writer::new(head))
    }

    fn read_error<'a>(&self, status: u16, body: &'a [u8]) -> Failure<'a> {
        error::read(status, body)
    }

    fn write_error(&self, failure: &Failure<'_>, _request_id: &str, out: &mut Vec<u8>) -> u16 {
        error::write(failure, out)
    }
}

#[cfg(test)]
mod tests;
