//! Reads streams: every event is a part of a reply, and the end of the stream is the end of the answer.

use super::{
    content, error, names,
    reply::{Candidate, Wire, arguments},
    signature, wire,
};
use crate::{
    conversation::{BlockStart, Event, Finish, Signature, Text, TokenUsage},
    dialect::{
        ReadEvents,
        events::{repaired, tell_lost},
        fields::{ANSWER, find_type_error},
    },
};

/// Most answers at once; Google allows eight.
const MAX_CHOICES: usize = 64;
/// Most sources of an answer that are told apart: chunks repeat them.
const MAX_CITED: usize = 256;

type Sink<'s> = &'s mut dyn FnMut(Event<'_>);

/// Reads one stream.
#[derive(Default)]
pub(super) struct Reader {
    started: bool,
    ended: bool,
    blocked: bool,
    id: Option<String>,
    /// Calls so far, of all answers.
    calls: u64,
    usage: TokenUsage,
    choices: Vec<Answer>,
}

/// One answer, as far as it has come.
#[derive(Default)]
struct Answer {
    /// Google's number of it.
    index: u32,
    /// Ours.
    choice: u32,
    blocks: u32,
    /// The open block, and whether it holds thoughts.
    open: Option<(u32, bool)>,
    called: bool,
    /// Something other than thoughts has come.
    said: bool,
    /// A character that takes several bytes has come: places in bytes are no places in characters any more.
    wide: bool,
    /// Sources that have been named.
    cited: Vec<(Option<String>, Option<u64>, Option<u64>)>,
    /// Why it ended, if it has: older models say so in every chunk, so only the end of the stream makes it true.
    reason: Option<String>,
    /// What Google says of it.
    message: Option<String>,
}

impl ReadEvents for Reader {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
        if self.ended {
            return;
        }
        let chunk = match Wire::parse(data) {
            Some(chunk) if chunk.error.is_none() => chunk,
            _ => {
                let again = || repaired(name, data, ANSWER, &|json| find_type_error::<Wire<'_>>(json));
                match error::find(data).map(Err).or_else(again) {
                    Some(Ok((text, names))) => {
                        self.event(name, text.as_bytes(), sink);
                        if self.started && !self.ended {
                            tell_lost(&names, sink);
                        }
                    }
                    Some(Err(failure)) => {
                        self.start(None, None, sink);
                        self.ended = true;
                        sink(Event::Error(failure));
                    }
                    None => {}
                }
                return;
            }
        };
        self.blocked |= chunk.is_blocked();
        self.start(chunk.response_id, chunk.model_version, sink);
        for (position, candidate) in chunk.candidates.into_iter().flatten().enumerate() {
            let index = candidate.index.unwrap_or_else(|| u32::try_from(position).unwrap_or(u32::MAX));
            self.candidate(index, candidate, sink);
        }
        if let Some(usage) = chunk.usage_metadata.map(|usage| usage.read())
            && usage != self.usage
        {
            self.usage = usage;
            sink(Event::Usage(usage));
        }
    }

    fn finish(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.ended || !self.started {
            return;
        }
        self.ended = true;
        if self.blocked && self.choices.is_empty() {
            sink(Event::Finish { choice: 0, reason: Finish::Filtered, stop_sequence: None });
            sink(Event::End);
        } else if !self.choices.is_empty() && self.choices.iter().all(|answer| answer.reason.is_some()) {
            if self.choices.iter().all(|answer| !answer.said && answer.end() == Finish::Failed)
                && let Some(answer) = self.choices.first_mut()
            {
                let (reason, message) = (answer.reason.take(), answer.message.take());
                sink(Event::Error(error::nothing_said(reason.map(Text::from), message.map(Text::from)).into_owned()));
                return;
            }
            for answer in &mut self.choices {
                answer.close(sink);
                let reason = answer.end();
                sink(Event::Finish { choice: answer.choice, reason, stop_sequence: None });
            }
            sink(Event::End);
        }
    }
}

impl Reader {
    fn start(&mut self, id: Option<Text<'_>>, model: Option<Text<'_>>, sink: Sink<'_>) {
        if !std::mem::replace(&mut self.started, true) {
            self.id = id.as_ref().map(|id| id.decode().into_owned());
            sink(Event::Start { id, model, usage: TokenUsage::default() });
        }
    }

    fn candidate(&mut self, index: u32, mut candidate: Candidate<'_>, sink: Sink<'_>) {
        let place = match self.choices.iter().position(|answer| answer.index == index) {
            Some(place) => place,
            None if self.choices.len() < MAX_CHOICES => {
                let choice = u32::try_from(self.choices.len()).unwrap_or(u32::MAX);
                self.choices.push(Answer { index, choice, ..Answer::default() });
                self.choices.len() - 1
            }
            None => return,
        };
        let Some(answer) = self.choices.get_mut(place) else { return };
        let parts = candidate.content.take().and_then(|content| content.parts);
        for part in parts.into_iter().flat_map(|parts| parts.0) {
            match part.function_call {
                Some(call) => {
                    let proof = part.thought_signature.filter(|text| !text.is_empty());
                    answer.call(call, proof.map(|text| signature::read(text).0), self.id.as_deref(), self.calls, sink);
                    self.calls += 1;
                }
                None => answer.text(part, sink),
            }
        }
        answer.cite(&candidate, sink);
        let tokens = candidate.logprobs();
        if !tokens.is_empty() {
            sink(Event::Logprobs { choice: answer.choice, tokens });
        }
        if let Some(message) = candidate.finish_message {
            answer.message = Some(message.decode().into_owned());
        }
        if let Some(reason) = candidate.finish_reason {
            answer.reason = Some(reason.decode().into_owned());
        }
    }
}

impl Answer {
    /// Why it ended.
    fn end(&self) -> Finish {
        let reason = self.reason.as_deref().map(Text::from);
        names::finish(reason.as_ref(), self.called, self.blocks > 0)
    }

    /// The block that text or thoughts go into, opened if another kind is open.
    fn block(&mut self, thought: bool, sink: Sink<'_>) -> u32 {
        if let Some((block, kind)) = self.open
            && kind == thought
        {
            return block;
        }
        self.close(sink);
        let block = self.next();
        self.open = Some((block, thought));
        let opened = if thought { BlockStart::Thinking } else { BlockStart::Text };
        sink(Event::Open { choice: self.choice, block, opened });
        block
    }

    fn next(&mut self) -> u32 {
        self.blocks += 1;
        self.blocks - 1
    }

    fn close(&mut self, sink: Sink<'_>) {
        if let Some((block, _)) = self.open.take() {
            sink(Event::Close { choice: self.choice, block });
        }
    }

    fn text(&mut self, part: wire::Part<'_>, sink: Sink<'_>) {
        let thought = part.thought == Some(true);
        let file = part.file_data.is_some().then_some("fileData");
        let says = part.text.is_some() || part.thought_signature.is_some() || part.inline_data.is_some();
        if let Some(name) = part.of_googles_tools().or(file).or((!says).then_some("part")) {
            sink(Event::Unsupported(name.into()));
        }
        if let Some(media) = part.inline_data.and_then(content::blob) {
            // Streams have no word for media.
            sink(Event::Unsupported(media.kind.as_str().into()));
        }
        if let Some(text) = part.text.filter(|text| !text.is_empty()) {
            self.wide |= !thought && !is_ascii(&text);
            self.said |= !thought;
            let block = self.block(thought, sink);
            sink(Event::Delta { choice: self.choice, block, text });
        }
        if let Some(text) = part.thought_signature.filter(|text| !text.is_empty()) {
            // Of nothing that was said: it would begin an empty text.
            if !thought && self.open.is_none_or(|(_, thought)| thought) {
                return sink(Event::Unsupported("signature".into()));
            }
            let block = self.block(thought, sink);
            sink(Event::Signature { choice: self.choice, block, signature: signature::read(text).0 });
        }
    }

    fn call(
        &mut self,
        call: wire::FunctionCall<'_>,
        signature: Option<Signature<'_>>,
        reply: Option<&str>,
        index: u64,
        sink: Sink<'_>,
    ) {
        let Some(name) = call.name else { return };
        self.close(sink);
        (self.called, self.said) = (true, true);
        let (choice, block) = (self.choice, self.next());
        let arguments = arguments(call.args);
        let id = call
            .id
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| names::call_id(reply.map(Text::from).as_ref(), index, &name.decode(), arguments).into());
        sink(Event::Open { choice, block, opened: BlockStart::Call { id, name, signature } });
        sink(Event::Delta { choice, block, text: arguments.into() });
        sink(Event::Close { choice, block });
    }

    fn cite(&mut self, candidate: &Candidate<'_>, sink: Sink<'_>) {
        if !candidate.is_cited() {
            return;
        }
        let wide = self.wide;
        let place = |byte: u64| if wide { None } else { Some(byte) };
        candidate.citations(&place, &mut |citation| {
            let key = (citation.url.as_ref().map(|url| url.decode().into_owned()), citation.start, citation.end);
            if self.cited.len() < MAX_CITED && !self.cited.contains(&key) {
                self.cited.push(key);
                let block = self.block(false, sink);
                sink(Event::Citation { choice: self.choice, block, citation });
            }
        });
    }
}

/// Whether each character of `text` is one byte.
pub(super) fn is_ascii(text: &Text<'_>) -> bool {
    match text {
        Text::Json(raw) => raw.get().is_ascii() && memchr::memmem::find(raw.get().as_bytes(), b"\\u").is_none(),
        Text::Plain(text) => text.is_ascii(),
    }
}
