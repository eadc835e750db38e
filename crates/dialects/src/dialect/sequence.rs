//! Writing streams: the bookkeeping that is the same in every dialect.
//!
//! A dialect implements [`WriteBlocks`], the shapes that events have on its wire. The [`Sequencer`] calls it in a valid
//! order: the start comes first, a block opens before its deltas, every block closes before its choice finishes, and
//! nothing follows the end or an error. Where a dialect has one open block at a time, events of other blocks are held
//! back. The translator bounds how much that may be.

use std::{collections::VecDeque, mem};

use super::WriteEvents;
use crate::conversation::{
    BlockKind, BlockStart, Citation, Event, Failure, Finish, Signature, Text, TokenLogprob, TokenUsage,
};

/// How the blocks of one choice may follow each other on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Several blocks may be open at once.
    Parallel,
    /// One block is open at a time, until it is closed. Other blocks are held back meanwhile, delta by delta.
    Queue,
    /// One block is open at a time. Text and reasoning end when another block opens, and continue as a new block.
    /// Blocks that open during a call are held back, and their text is joined.
    QueueCalls,
}

/// What one dialect writes for the events of a stream. Every method appends to `out`, framed for the wire.
pub(super) trait WriteBlocks: Send + Sized {
    /// The dialect's state of a choice.
    type Choice: Default + Send;
    /// The dialect's state of an open block.
    type Block: Send;
    /// How blocks may follow each other.
    const ORDER: Order = Order::Parallel;
    /// How many choices the dialect supports; further ones are left out.
    const MAX_CHOICES: u32 = 1;
    /// Whether a call without arguments gets `{}`, because clients parse what they have collected.
    const FILLS_CALLS: bool = true;
    /// Whether the start precedes even an error.
    const STARTS_ERRORS: bool = false;

    /// The stream begins.
    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>, usage: &TokenUsage, out: &mut Vec<u8>);

    /// A choice begins. The first one begins with the stream.
    fn choice(&mut self, _number: u32, _out: &mut Vec<u8>) {}

    /// A block begins. Returns `None` if the block is complete with that.
    fn open(
        &mut self,
        choice: &mut Choice<Self::Choice>,
        start: &BlockStart<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Self::Block>;

    /// More text of an open block; never empty.
    fn delta(&mut self, choice: &mut Choice<Self::Choice>, block: &mut Self::Block, text: &Text<'_>, out: &mut Vec<u8>);

    /// The signature of an open block.
    fn signature(
        &mut self,
        choice: &mut Choice<Self::Choice>,
        block: &mut Self::Block,
        signature: &Signature<'_>,
        out: &mut Vec<u8>,
    );

    /// A citation in an open block.
    fn citation(
        &mut self,
        choice: &mut Choice<Self::Choice>,
        block: &mut Self::Block,
        citation: &Citation<'_>,
        out: &mut Vec<u8>,
    );

    /// Tokens of a choice with their log-probabilities.
    fn logprobs(&mut self, _choice: u32, _tokens: &[TokenLogprob<'_>], _out: &mut Vec<u8>) {}

    /// An open block ends.
    fn close(&mut self, choice: &mut Choice<Self::Choice>, block: Self::Block, out: &mut Vec<u8>);

    /// A choice ends; all of its blocks are closed.
    fn finish(&mut self, _choice: &Choice<Self::Choice>, _out: &mut Vec<u8>) {}

    /// The stream ends; all choices are finished, and there is at least one.
    fn end(&mut self, choices: &[Answer<Self>], usage: &TokenUsage, out: &mut Vec<u8>);

    /// The stream ends with an error.
    fn error(&mut self, failure: &Failure<'_>, usage: &TokenUsage, out: &mut Vec<u8>);
}

/// The state of one choice.
pub(super) struct Choice<S> {
    /// Its number.
    pub number: u32,
    /// The provider's reason for its end.
    pub reason: Finish,
    /// The stop text that ended it.
    pub stop_sequence: Option<Text<'static>>,
    /// Whether it has called a tool.
    pub calls: bool,
    /// Whether it has a refusal as text.
    pub refused: bool,
    /// The dialect's state.
    pub state: S,
    finished: bool,
}

impl<S> Choice<S> {
    /// The finish reason for dialects in which calls and refusals are reasons.
    pub fn strict_reason(&self) -> Finish {
        self.reason.with_calls(self.calls).with_refusal(self.refused)
    }
}

/// A choice and its open blocks.
pub(super) struct Answer<W: WriteBlocks> {
    pub choice: Choice<W::Choice>,
    /// In the order in which they opened.
    blocks: VecDeque<Open<W::Block>>,
}

/// A block that the conversation has not closed.
struct Open<B> {
    number: u32,
    kind: BlockKind,
    /// Whether some of its text has been written.
    filled: bool,
    state: State<B>,
}

enum State<B> {
    /// It is open on the wire.
    Live(B),
    /// It waits for the open block to end.
    Held(Held),
    /// It ended on the wire because another block opened.
    Ended,
}

struct Held {
    start: BlockStart<'static>,
    pieces: Vec<Piece<'static>>,
    closed: bool,
}

/// An addition to an open block.
enum Piece<'a> {
    Text(Text<'a>),
    Signature(Signature<'a>),
    Citation(Citation<'a>),
}

/// Writes one stream in the shapes of `W`.
#[derive(Default)]
pub(super) struct Sequencer<W: WriteBlocks> {
    writer: W,
    /// In the order of their numbers.
    answers: Vec<Answer<W>>,
    usage: TokenUsage,
    started: bool,
    ended: bool,
}

impl<W: WriteBlocks> Sequencer<W> {
    /// A sequencer at the beginning of a stream.
    pub fn of(writer: W) -> Self {
        Self { writer, answers: Vec::new(), usage: TokenUsage::default(), started: false, ended: false }
    }

    fn start(&mut self, id: Option<&Text<'_>>, model: Option<&Text<'_>>, out: &mut Vec<u8>) {
        if !mem::replace(&mut self.started, true) {
            self.writer.start(id, model, &self.usage, out);
            self.answer(0, out);
        }
    }

    /// The answer of this number, begun if it is new; `None` if it exceeds the dialect's choices or is finished.
    fn answer(&mut self, choice: u32, out: &mut Vec<u8>) -> Option<(&mut W, &mut Answer<W>)> {
        if choice >= W::MAX_CHOICES {
            return None;
        }
        self.start(None, None, out);
        let found = self.answers.binary_search_by_key(&choice, |answer| answer.choice.number);
        let at = found.unwrap_or_else(|at| {
            self.answers.insert(at, Answer::new(choice));
            self.writer.choice(choice, out);
            at
        });
        let answer = self.answers.get_mut(at).filter(|answer| !answer.choice.finished)?;
        Some((&mut self.writer, answer))
    }

    fn add(&mut self, choice: u32, block: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        if let Some((writer, answer)) = self.answer(choice, out) {
            answer.add(writer, block, piece, out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(None, None, out);
        for answer in self.answers.iter_mut().filter(|answer| !answer.choice.finished) {
            answer.finish(&mut self.writer, Finish::Stop, None, out);
        }
        self.writer.end(&self.answers, &self.usage, out);
    }
}

impl<W: WriteBlocks> WriteEvents for Sequencer<W> {
    fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        match event {
            Event::Delta { text, .. } if text.is_empty() => {}
            Event::Delta { choice, block, text } => self.add(*choice, *block, Piece::Text(text.reborrow()), out),
            Event::Start { id, model, usage } => {
                self.usage.update(*usage);
                self.start(id.as_ref(), model.as_ref(), out);
            }
            Event::Open { choice, block, opened } => {
                if let Some((writer, answer)) = self.answer(*choice, out) {
                    answer.open(writer, *block, opened, out);
                }
            }
            Event::Signature { choice, block, signature } => {
                self.add(*choice, *block, Piece::Signature(signature.clone()), out);
            }
            Event::Citation { choice, block, citation } => {
                self.add(*choice, *block, Piece::Citation(citation.clone()), out);
            }
            Event::Logprobs { choice, tokens } => {
                if let Some((writer, _)) = self.answer(*choice, out).filter(|_| !tokens.is_empty()) {
                    writer.logprobs(*choice, tokens, out);
                }
            }
            Event::Close { choice, block } => {
                if let Some((writer, answer)) = self.answer(*choice, out) {
                    answer.close(writer, *block, out);
                }
            }
            Event::Finish { choice, reason, stop_sequence } => {
                if let Some((writer, answer)) = self.answer(*choice, out) {
                    answer.finish(writer, *reason, stop_sequence.as_ref(), out);
                }
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Unsupported(_) | Event::Running => {}
            Event::Error(failure) => {
                self.ended = true;
                if W::STARTS_ERRORS {
                    self.start(None, None, out);
                }
                self.writer.error(failure, &self.usage, out);
            }
            Event::End => {
                self.ended = true;
                self.end(out);
            }
        }
    }
}

impl<W: WriteBlocks> Answer<W> {
    fn new(number: u32) -> Self {
        let choice = Choice {
            number,
            reason: Finish::Stop,
            stop_sequence: None,
            calls: false,
            refused: false,
            state: W::Choice::default(),
            finished: false,
        };
        Self { choice, blocks: VecDeque::new() }
    }

    fn open(&mut self, writer: &mut W, number: u32, start: &BlockStart<'_>, out: &mut Vec<u8>) {
        let kind = start.kind();
        let live = |open: &Open<W::Block>| matches!(open.state, State::Live(_));
        if W::ORDER != Order::Parallel
            && let Some(live) = self.blocks.iter_mut().find(|open| live(open))
        {
            if W::ORDER == Order::Queue || live.kind == BlockKind::Call {
                let held = Held { start: start.clone().into_owned(), pieces: Vec::new(), closed: false };
                return self.blocks.push_back(Open { number, kind, filled: false, state: State::Held(held) });
            }
            live.end(writer, &mut self.choice, out);
        }
        if let Some(block) = self.choice.open(writer, start, out) {
            self.blocks.push_back(Open { number, kind, filled: false, state: State::Live(block) });
        }
    }

    fn add(&mut self, writer: &mut W, number: u32, piece: Piece<'_>, out: &mut Vec<u8>) {
        // The latest block is nearly always the right one.
        let Some(mut at) = self.blocks.iter().rposition(|open| open.number == number) else { return };
        if W::ORDER == Order::QueueCalls
            && !matches!(piece, Piece::Signature(_))
            && let Some(start) = self.blocks.get(at).and_then(Open::continuation)
        {
            self.blocks.remove(at);
            self.open(writer, number, &start, out);
            at = self.blocks.len().saturating_sub(1);
        }
        let Some(open) = self.blocks.get_mut(at) else { return };
        match &mut open.state {
            State::Live(block) => {
                open.filled |= matches!(piece, Piece::Text(_));
                piece.write(writer, &mut self.choice, block, out);
            }
            State::Held(held) => held.add(piece, W::ORDER == Order::QueueCalls),
            State::Ended => {}
        }
    }

    fn close(&mut self, writer: &mut W, number: u32, out: &mut Vec<u8>) {
        let Some(at) = self.blocks.iter().position(|open| open.number == number) else { return };
        if let Some(Open { state: State::Held(held), .. }) = self.blocks.get_mut(at) {
            held.closed = true;
        } else if let Some(mut open) = self.blocks.remove(at)
            && open.end(writer, &mut self.choice, out)
        {
            self.release(writer, out);
        }
    }

    /// Writes blocks that were held back, up to one that stays open.
    fn release(&mut self, writer: &mut W, out: &mut Vec<u8>) {
        let held = |open: &Open<W::Block>| matches!(open.state, State::Held(_));
        while let Some(at) = self.blocks.iter().position(held) {
            let Some(mut open) = self.blocks.remove(at) else { return };
            let State::Held(Held { start, pieces, closed }) = mem::replace(&mut open.state, State::Ended) else {
                return;
            };
            let Some(mut block) = self.choice.open(writer, &start, out) else { continue };
            for piece in &pieces {
                open.filled |= matches!(piece, Piece::Text(_));
                piece.write(writer, &mut self.choice, &mut block, out);
            }
            open.state = State::Live(block);
            let holds = W::ORDER == Order::Queue || open.kind == BlockKind::Call || !self.blocks.iter().any(held);
            if closed || !holds {
                open.end(writer, &mut self.choice, out);
            }
            if !closed {
                self.blocks.insert(at, open);
                if holds {
                    return;
                }
            }
        }
    }

    fn finish(&mut self, writer: &mut W, reason: Finish, stop_sequence: Option<&Text<'_>>, out: &mut Vec<u8>) {
        self.choice.finished = true;
        self.choice.reason = reason;
        self.choice.stop_sequence = stop_sequence.map(|text| text.clone().into_owned());
        for mut open in mem::take(&mut self.blocks) {
            if let State::Held(held) = &mut open.state {
                held.closed = true;
                self.blocks.push_back(open);
            } else {
                open.end(writer, &mut self.choice, out);
            }
        }
        self.release(writer, out);
        writer.finish(&self.choice, out);
    }
}

impl<S> Choice<S> {
    fn open<W: WriteBlocks<Choice = S>>(
        &mut self,
        writer: &mut W,
        start: &BlockStart<'_>,
        out: &mut Vec<u8>,
    ) -> Option<W::Block> {
        self.calls |= start.kind() == BlockKind::Call;
        self.refused |= start.kind() == BlockKind::Refusal;
        writer.open(self, start, out)
    }
}

impl<B> Open<B> {
    /// Ends the block on the wire. Returns `false` if it was not open there.
    fn end<W>(&mut self, writer: &mut W, choice: &mut Choice<W::Choice>, out: &mut Vec<u8>) -> bool
    where
        W: WriteBlocks<Block = B>,
    {
        let State::Live(mut block) = mem::replace(&mut self.state, State::Ended) else { return false };
        if W::FILLS_CALLS && self.kind == BlockKind::Call && !self.filled {
            writer.delta(choice, &mut block, &Text::from("{}"), out);
        }
        writer.close(choice, block, out);
        true
    }

    /// The block that continues this one, if it ended early and can be continued.
    fn continuation(&self) -> Option<BlockStart<'static>> {
        match (&self.state, self.kind) {
            (State::Ended, BlockKind::Text) => Some(BlockStart::Text),
            (State::Ended, BlockKind::Refusal) => Some(BlockStart::Refusal),
            (State::Ended, BlockKind::Thinking) => Some(BlockStart::Thinking),
            _ => None,
        }
    }
}

impl Held {
    /// Keeps a piece. `join` merges all text into one piece, before the rest.
    fn add(&mut self, piece: Piece<'_>, join: bool) {
        match (self.pieces.first_mut(), piece) {
            (Some(Piece::Text(Text::Plain(before))), Piece::Text(text)) if join => {
                before.to_mut().push_str(&text.decode());
            }
            (Some(_), Piece::Text(text)) if join => self.pieces.insert(0, Piece::Text(text.into_owned())),
            (_, Piece::Text(text)) => self.pieces.push(Piece::Text(text.into_owned())),
            (_, Piece::Signature(signature)) => self.pieces.push(Piece::Signature(signature.into_owned())),
            (_, Piece::Citation(citation)) => self.pieces.push(Piece::Citation(citation.into_owned())),
        }
    }
}

impl Piece<'_> {
    fn write<W: WriteBlocks>(
        &self,
        writer: &mut W,
        choice: &mut Choice<W::Choice>,
        block: &mut W::Block,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Text(text) => writer.delta(choice, block, text, out),
            Self::Signature(signature) => writer.signature(choice, block, signature, out),
            Self::Citation(citation) => writer.citation(choice, block, citation, out),
        }
    }
}
