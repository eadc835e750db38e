//! Reads streams: every event is a partial reply, and the end of the stream is the end of the answer.

use super::{
    content, error,
    hosted::{self, Step},
    names,
    reply::{Candidate, DRAFT, Wire, arguments},
    signature,
    usage::candidate_index,
    wire,
};
use crate::{
    conversation::{BlockKind, BlockStart, Event, Finish, HostedCall, Media, Signature, Text, TokenUsage},
    dialect::{
        blocks::{Blocks, Progress, ReadShapes, Sink},
        fields::{Place, find_type_error},
    },
};

/// Most answers at once; Google allows eight.
const MAX_CHOICES: usize = 64;
/// Most sources of an answer that are kept to detect repetitions, because chunks repeat sources.
const MAX_CITED: usize = 256;

/// Reads one stream.
#[derive(Default)]
pub(super) struct Reader {
    progress: Progress,
    blocked: bool,
    id: Option<String>,
    /// Number of calls so far, of all answers.
    calls: u64,
    usage: TokenUsage,
    choices: Vec<Answer>,
}

/// The state of one answer.
#[derive(Default)]
struct Answer {
    /// Google's number of the answer.
    index: u32,
    blocks: Blocks<BlockKind>,
    called: bool,
    /// Whether it has any content other than reasoning.
    said: bool,
    /// Whether its text has characters of several bytes: positions in bytes are not positions in characters any more.
    wide: bool,
    /// The code that is run, until its result comes.
    running: Option<HostedCall<'static>>,
    /// What the metadata of all chunks say about searches and pages.
    searched: Vec<HostedCall<'static>>,
    /// The sources so far.
    cited: Vec<(Option<String>, Option<u64>, Option<u64>)>,
    /// Why it ended, if it has. Older models send a reason in every chunk, so it counts only at the end of the stream.
    reason: Option<String>,
    /// Google's message about its end.
    message: Option<String>,
}

impl ReadShapes for Reader {
    const STARTS_ERRORS: bool = true;

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn read(&mut self, _: Option<&[u8]>, data: &[u8], sink: Sink<'_>) -> bool {
        let chunk = match Wire::parse(data) {
            Some(chunk) if chunk.error.is_none() => chunk,
            _ => {
                let Some(failure) = error::find(data) else { return false };
                self.start(None, None, sink);
                self.progress.fail(failure, sink);
                return true;
            }
        };
        self.blocked |= chunk.is_blocked();
        self.start(chunk.response_id, chunk.model_version, sink);
        for (position, candidate) in chunk.candidates.into_iter().flatten().enumerate() {
            let index = candidate_index(candidate.index, position);
            self.candidate(index, candidate, sink);
        }
        if let Some(usage) = chunk.usage_metadata.map(|usage| usage.read())
            && usage != self.usage
        {
            self.usage = usage;
            sink(Event::Usage(usage));
        }
        true
    }

    fn wrong(_: Option<&[u8]>, json: &str) -> Option<Place> {
        find_type_error::<Wire<'_>>(json)
    }

    fn cut(&mut self, sink: Sink<'_>) {
        if self.blocked && self.choices.is_empty() {
            sink(Event::Finish { choice: 0, reason: Finish::Filtered, stop_sequence: None });
        } else if self.choices.is_empty() || self.choices.iter().any(|answer| answer.reason.is_none()) {
            return;
        } else if self.choices.iter().all(|answer| !answer.said && answer.end() == Finish::Failed)
            && let Some(answer) = self.choices.first_mut()
        {
            let (reason, message) = (answer.reason.take(), answer.message.take());
            let failure = error::nothing_said(reason.map(Text::from), message.map(Text::from));
            return self.progress.fail(failure, sink);
        }
        for answer in &mut self.choices {
            answer.finish(sink);
        }
        self.progress.end(sink);
    }
}

impl Reader {
    fn start(&mut self, id: Option<Text<'_>>, model: Option<Text<'_>>, sink: Sink<'_>) {
        if !self.progress.started {
            self.id = id.as_ref().map(|id| id.decode().into_owned());
            self.progress.start(id, model, TokenUsage::default(), sink);
        }
    }

    fn candidate(&mut self, index: u32, mut candidate: Candidate<'_>, sink: Sink<'_>) {
        let place = match self.choices.iter().position(|answer| answer.index == index) {
            Some(place) => place,
            None if self.choices.len() < MAX_CHOICES => {
                let choice = u32::try_from(self.choices.len()).unwrap_or(u32::MAX);
                self.choices.push(Answer { index, blocks: Blocks::of(choice), ..Answer::default() });
                self.choices.len() - 1
            }
            None => return,
        };
        let Some(answer) = self.choices.get_mut(place) else { return };
        let parts = candidate.content.take().and_then(|content| content.parts);
        for part in parts.into_iter().flat_map(|parts| parts.0) {
            if let Some(step) = part.step() {
                answer.step(step, sink);
                continue;
            }
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
        for call in candidate.hosted() {
            hosted::merge(call, &mut answer.searched);
        }
        let tokens = candidate.logprobs();
        if !tokens.is_empty() {
            sink(Event::Logprobs { choice: answer.blocks.choice, tokens });
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
    /// The finish reason.
    fn end(&self) -> Finish {
        let reason = self.reason.as_deref().map(Text::from);
        names::finish(reason.as_ref(), self.called, !self.blocks.is_empty())
    }

    /// Takes a step of code that Google runs.
    fn step(&mut self, step: Step<'_>, sink: Sink<'_>) {
        self.said = true;
        match step {
            Step::Code(call) => {
                if let Some(before) = self.running.replace(call.into_owned()) {
                    self.hosted(before, sink);
                }
                sink(Event::Running);
            }
            Step::Result(result) => match self.running.take() {
                Some(call) => {
                    let mut call: HostedCall<'_> = call;
                    result.complete(&mut call);
                    self.hosted(call, sink);
                }
                None => sink(Event::Unsupported("codeExecutionResult".into())),
            },
        }
    }

    fn hosted(&mut self, call: HostedCall<'_>, sink: Sink<'_>) {
        self.blocks.close_all(sink);
        self.blocks.whole(BlockStart::Hosted(Box::new(call)), sink);
    }

    /// The answer ends.
    fn finish(&mut self, sink: Sink<'_>) {
        let reason = self.end();
        for call in self.running.take().into_iter().chain(std::mem::take(&mut self.searched)) {
            self.hosted(call, sink);
        }
        self.blocks.finish(reason, None, sink);
    }

    /// The block that text or reasoning goes into.
    fn block(&mut self, thought: bool, sink: Sink<'_>) -> u32 {
        self.blocks.turn_to(if thought { BlockStart::Thinking } else { BlockStart::Text }, sink)
    }

    fn text(&mut self, part: wire::Part<'_>, sink: Sink<'_>) {
        let thought = part.thought == Some(true);
        let file = part.file_data.is_some().then_some("fileData");
        let says = part.text.is_some() || part.thought_signature.is_some() || part.inline_data.is_some();
        if let Some(name) = part.of_googles_tools().map(|(name, _)| name).or(file).or((!says).then_some("part")) {
            sink(Event::Unsupported(name.into()));
        }
        if let Some(blob) = part.inline_data {
            return match content::blob(blob) {
                Some(_) if thought => sink(Event::Unsupported(DRAFT.into())),
                Some(media) => self.media(media, part.thought_signature, sink),
                None => {}
            };
        }
        if let Some(text) = part.text.filter(|text| !text.is_empty()) {
            self.wide |= !thought && !is_ascii(&text);
            self.said |= !thought;
            let block = self.block(thought, sink);
            sink(Event::Delta { choice: self.blocks.choice, block, text });
        }
        if let Some(text) = part.thought_signature.filter(|text| !text.is_empty()) {
            // It does not sign any text so far, and would begin an empty one.
            if !thought && self.blocks.find(BlockKind::Text).is_none() {
                return sink(Event::Unsupported("signature".into()));
            }
            let block = self.block(thought, sink);
            sink(Event::Signature { choice: self.blocks.choice, block, signature: signature::read(text).0 });
        }
    }

    fn media(&mut self, media: Media<'_>, signature: Option<Text<'_>>, sink: Sink<'_>) {
        self.blocks.close_all(sink);
        self.said = true;
        let signature = signature.filter(|text| !text.is_empty()).map(|text| signature::read(text).0);
        let start = BlockStart::Media(Box::new(Media { signature, ..media }));
        let block = self.blocks.unlisted(start, sink);
        sink(Event::Close { choice: self.blocks.choice, block });
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
        self.blocks.close_all(sink);
        (self.called, self.said) = (true, true);
        let arguments = arguments(call.args);
        let id = call
            .id
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| names::call_id(reply.map(Text::from).as_ref(), index, &name.decode(), arguments).into());
        let block = self.blocks.unlisted(BlockStart::Call { id, name: name.into(), signature }, sink);
        let choice = self.blocks.choice;
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
                sink(Event::Citation { choice: self.blocks.choice, block, citation });
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
