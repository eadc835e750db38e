//! Filters on the conversation: between the decoder of one dialect and the encoder of another.

use std::borrow::Cow;

use super::{
    Block, FilterChain, TextKind, cut,
    engine::{MAX_STREAM_TEXT, filter_json},
    filter::BlockChain,
};
use crate::conversation::{
    BlockStart, Citation, Content, Event, Failure, HostedAction, HostedCall, Page, Part, Reply, Text,
};

/// Filters the events of one translated stream.
///
/// Text that a filter holds back comes with a later event of its block, or in one before the event that closes it.
/// Arguments of calls come in one event, when they are complete. Log-probabilities repeat the text token by token,
/// and are left out.
pub struct EventFilter {
    chain: FilterChain,
    open: Vec<Open>,
    bytes: usize,
    over: bool,
}

struct Open {
    block: Block,
    state: State,
}

enum State {
    Text(BlockChain),
    Json(String),
}

impl EventFilter {
    /// A filter of one stream. `chain` is not empty.
    pub fn new(chain: FilterChain) -> Self {
        Self { chain, open: Vec::new(), bytes: 0, over: false }
    }

    /// Whether a filter has ended the stream: the error was sent, and nothing follows.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Takes the next event and passes the filtered event to `sink`. If a filter refuses, that is [`Event::Error`],
    /// once.
    pub fn event(&mut self, event: &Event<'_>, sink: &mut dyn FnMut(&Event<'_>)) {
        if self.over {
            return;
        }
        if let Err(failure) = self.filter(event, sink) {
            self.over = true;
            sink(&Event::Error(failure));
        }
    }

    fn filter(&mut self, event: &Event<'_>, sink: &mut dyn FnMut(&Event<'_>)) -> Result<(), Failure<'static>> {
        match event {
            Event::Open { choice, block, opened: BlockStart::Hosted(call) } => {
                let mut call = call.clone();
                filter_hosted(&self.chain, *choice, *block, &mut call)?;
                sink(&Event::Open { choice: *choice, block: *block, opened: BlockStart::Hosted(call) });
            }
            Event::Open { choice, block, opened } => {
                self.begin(*choice, *block, opened);
                sink(event);
            }
            Event::Delta { choice, block, text } => match self.delta(*choice, *block, text)? {
                None => sink(event),
                Some(released) if released.is_empty() => {}
                Some(released) => sink(&Event::Delta { choice: *choice, block: *block, text: released.into() }),
            },
            Event::Close { choice, block } => {
                let held = self.end(*choice, *block)?;
                if !held.is_empty() {
                    sink(&Event::Delta { choice: *choice, block: *block, text: held.into() });
                }
                sink(event);
            }
            Event::Citation { choice, block, citation } => {
                let mut citation = citation.clone();
                filter_citation(&self.chain, *choice, *block, &mut citation)?;
                sink(&Event::Citation { choice: *choice, block: *block, citation });
            }
            Event::Logprobs { .. } => {}
            _ => sink(event),
        }
        Ok(())
    }

    fn begin(&mut self, choice: u32, number: u32, opened: &BlockStart<'_>) {
        let kind = match opened {
            BlockStart::Text => TextKind::Answer,
            BlockStart::Refusal => TextKind::Refusal,
            BlockStart::Thinking => TextKind::Reasoning,
            BlockStart::Call { .. } => TextKind::Arguments,
            BlockStart::Redacted(_) | BlockStart::Media(_) | BlockStart::Hosted(_) => return,
        };
        let block = Block { kind, choice, block: number, part: 0 };
        let Some(filters) = self.chain.start(block) else { return };
        let state = if kind == TextKind::Arguments { State::Json(String::new()) } else { State::Text(filters) };
        self.open.push(Open { block, state });
    }

    fn position(&self, choice: u32, number: u32) -> Option<usize> {
        self.open.iter().position(|open| open.block.choice == choice && open.block.block == number)
    }

    /// Filters a piece. Returns the released text, or `None` if no filter examines its block.
    fn delta(&mut self, choice: u32, number: u32, text: &Text<'_>) -> Result<Option<String>, Failure<'static>> {
        let index = self.position(choice, number);
        let Some(open) = index.and_then(|index| self.open.get_mut(index)) else { return Ok(None) };
        let text = text.decode();
        self.bytes += text.len();
        if self.bytes > MAX_STREAM_TEXT {
            return Err(cut(format!("the upstream's stream has more than {MAX_STREAM_TEXT} bytes of text")));
        }
        let mut out = String::new();
        match &mut open.state {
            State::Text(filters) => filters.push(&text, &mut out)?,
            State::Json(held) => held.push_str(&text),
        }
        Ok(Some(out))
    }

    /// Ends a block, and returns the text that was held back.
    fn end(&mut self, choice: u32, number: u32) -> Result<String, Failure<'static>> {
        let Some(index) = self.position(choice, number) else { return Ok(String::new()) };
        let Open { block, state } = self.open.swap_remove(index);
        let mut out = String::new();
        match state {
            State::Text(mut filters) => filters.finish(&mut out)?,
            State::Json(held) => out = filter_json(&self.chain, block, &held)?.unwrap_or(held),
        }
        Ok(out)
    }
}

/// Sends all text of a translated reply that is not streamed through `chain`.
///
/// # Errors
/// The failure with which a filter refuses.
pub fn filter_reply(reply: &mut Reply<'_>, chain: &FilterChain) -> Result<(), Failure<'static>> {
    if chain.is_empty() {
        return Ok(());
    }
    for (choice, answer) in (0..).zip(&mut reply.choices) {
        answer.logprobs.clear();
        for (number, part) in (0..).zip(&mut answer.parts) {
            filter_part(chain, choice, number, part)?;
        }
    }
    Ok(())
}

fn filter_part(chain: &FilterChain, choice: u32, number: u32, part: &mut Part<'_>) -> Result<(), Failure<'static>> {
    let block = |kind| Block { kind, choice, block: number, part: 0 };
    match &mut part.content {
        Content::Text { text, citations, .. } => {
            replace(chain, block(TextKind::Answer), text)?;
            for citation in citations {
                filter_citation(chain, choice, number, citation)?;
            }
        }
        Content::Refusal(text) => replace(chain, block(TextKind::Refusal), text)?,
        Content::Thinking { text, .. } => replace(chain, block(TextKind::Reasoning), text)?,
        Content::Call(call) => {
            if let Some(new) = filter_json(chain, block(TextKind::Arguments), &call.arguments)? {
                call.arguments = Cow::Owned(new);
            }
        }
        Content::Hosted(call) => filter_hosted(chain, choice, number, call)?,
        Content::Media(_) | Content::Redacted(_) | Content::Result(_) => {}
    }
    Ok(())
}

fn filter_citation(
    chain: &FilterChain,
    choice: u32,
    number: u32,
    citation: &mut Citation<'_>,
) -> Result<(), Failure<'static>> {
    for (part, text) in (0..).zip([&mut citation.title, &mut citation.quote]) {
        if let Some(text) = text {
            replace(chain, Block { kind: TextKind::Citation, choice, block: number, part }, text)?;
        }
    }
    Ok(())
}

/// Filters what a tool that the provider has run was asked, and what it found.
fn filter_hosted(
    chain: &FilterChain,
    choice: u32,
    number: u32,
    call: &mut HostedCall<'_>,
) -> Result<(), Failure<'static>> {
    let texts: Vec<(TextKind, &mut Text<'_>)> = match &mut call.action {
        HostedAction::Search { queries, pages } => {
            let queries = queries.iter_mut().map(|query| (TextKind::Arguments, query));
            queries.chain(pages.iter_mut().flat_map(page_texts)).collect()
        }
        HostedAction::Fetch(page) => page_texts(page).collect(),
        HostedAction::Code { code, output, errors, .. } => {
            vec![(TextKind::Arguments, code), (TextKind::ToolResult, output), (TextKind::ToolResult, errors)]
        }
    };
    for (part, (kind, text)) in (0..).zip(texts) {
        replace(chain, Block { kind, choice, block: number, part }, text)?;
    }
    Ok(())
}

fn page_texts<'p, 'a>(page: &'p mut Page<'a>) -> impl Iterator<Item = (TextKind, &'p mut Text<'a>)> {
    let title = page.title.iter_mut().map(|title| (TextKind::Citation, title));
    title.chain(page.text.iter_mut().map(|text| (TextKind::ToolResult, text)))
}

fn replace(chain: &FilterChain, block: Block, text: &mut Text<'_>) -> Result<(), Failure<'static>> {
    if let Some(new) = chain.whole(block, &text.decode())? {
        *text = new.into();
    }
    Ok(())
}
