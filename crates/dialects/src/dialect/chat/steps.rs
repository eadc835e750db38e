//! The place of reasoning among texts and calls.
//!
//! A message of this dialect has its reasoning, its text and its calls in separate fields. Models that reason between
//! their calls require that order back. So the signature of a later block of reasoning begins with what came since the
//! block before: texts, by their length, and calls. Clients send signatures back as they are.

use std::{borrow::Cow, mem};

use crate::conversation::{Content, Part, Text};

/// The beginning of such a list; it has letters and digits only, as base64 has.
const TAG: &str = "TGat";
/// The end of the list.
const END: char = 'z';

/// What comes between two blocks of reasoning, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Bytes of text.
    Text(usize),
    /// Calls.
    Calls(usize),
}

impl Steps {
    /// Text comes next.
    pub fn text(&mut self, text: &Text<'_>) {
        let bytes = text.decode().len();
        match self.0.last_mut() {
            Some(Step::Text(before)) => *before = before.saturating_add(bytes),
            _ if bytes > 0 => self.0.push(Step::Text(bytes)),
            _ => {}
        }
    }

    /// A call comes next.
    pub fn call(&mut self) {
        match self.0.last_mut() {
            Some(Step::Calls(before)) => *before = before.saturating_add(1),
            _ => self.0.push(Step::Calls(1)),
        }
    }

    /// A part of an answer comes next.
    pub fn part(&mut self, content: &Content<'_>) {
        match content {
            Content::Text { text, .. } => self.text(text),
            Content::Call(_) => self.call(),
            _ => {}
        }
    }

    /// Whether reasoning stands where the message has it: before everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A signature with the steps before it. The next steps begin after it.
    pub fn sign<'s>(&mut self, signature: Text<'s>) -> Text<'s> {
        if self.is_empty() {
            return signature;
        }
        let steps = std::mem::take(&mut self.0).into_iter().map(|step| match step {
            Step::Text(bytes) => format!("t{bytes}"),
            Step::Calls(calls) => format!("c{calls}"),
        });
        Text::from(format!("{TAG}{}{END}{}", steps.collect::<String>(), signature.decode()))
    }

    /// The steps in a signature, and the signature itself.
    pub fn split(signature: Text<'_>) -> (Self, Text<'_>) {
        let found = {
            let decoded = signature.decode();
            let list = decoded.strip_prefix(TAG).and_then(|rest| rest.split_once(END));
            list.and_then(|(list, rest)| Some((Self::parse(list)?, rest.to_owned())))
        };
        match found {
            Some((steps, rest)) => (steps, rest.into()),
            None => (Self::default(), signature),
        }
    }

    fn parse(mut list: &str) -> Option<Self> {
        let mut steps = Vec::new();
        while let Some(kind) = list.chars().next() {
            let rest = list.get(1..)?;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let count = rest.get(..digits)?.parse().ok()?;
            steps.push(match kind {
                't' => Step::Text(count),
                'c' => Step::Calls(count),
                _ => return None,
            });
            list = rest.get(digits..)?;
        }
        (!steps.is_empty()).then_some(Self(steps))
    }
}

/// Reasoning, and what precedes it.
pub(super) struct Thought<'a> {
    pub steps: Steps,
    pub content: Content<'a>,
}

/// The parts of a message in the order in which the model wrote them. Where no step requires another one, reasoning is
/// first and calls are last; each has the reasoning that it carries before it. Steps beyond what the message has mean
/// nothing: a client may have changed it.
pub(super) fn arrange<'a>(
    thoughts: Vec<Thought<'a>>,
    said: Vec<Part<'a>>,
    mut calls: Vec<Vec<Part<'a>>>,
) -> Vec<Part<'a>> {
    let mut parts = Vec::with_capacity(thoughts.len() + said.len());
    // Reasoning comes before the text that it led to, too.
    if thoughts.is_empty()
        && let Some(first) = calls.first_mut()
    {
        let call = first.pop();
        parts.append(first);
        first.extend(call);
    }
    let (mut said, mut calls) = (said.into_iter(), calls.into_iter());
    let mut rest: Option<Rest<'a>> = None;
    for Thought { steps, content } in thoughts {
        for step in steps.0 {
            match step {
                Step::Calls(count) => parts.extend(calls.by_ref().take(count).flatten()),
                Step::Text(mut bytes) => {
                    while bytes > 0 {
                        let Some(mut from) = rest.take().or_else(|| said.next().map(Rest::of)) else { break };
                        parts.push(from.take(&mut bytes));
                        rest = (!from.is_empty()).then_some(from);
                    }
                }
            }
        }
        parts.push(content.into());
    }
    let mut all = usize::MAX;
    parts.extend(rest.map(|mut rest| rest.take(&mut all)));
    parts.extend(said);
    parts.extend(calls.flatten());
    parts
}

/// A part of which a step may take a piece.
struct Rest<'a> {
    part: Part<'a>,
    /// Its text, and how many bytes of it are taken.
    text: Option<(Cow<'a, str>, usize)>,
}

impl<'a> Rest<'a> {
    fn of(mut part: Part<'a>) -> Self {
        let text = match &mut part.content {
            Content::Text { text, .. } => Some((mem::replace(text, Text::from("")).into_decoded(), 0)),
            _ => None,
        };
        Self { part, text }
    }

    fn is_empty(&self) -> bool {
        self.text.as_ref().is_none_or(|(text, taken)| text.len() <= *taken)
    }

    /// The next piece: up to so many `bytes` of a text, less which they become. Citations stay with a text's beginning.
    fn take(&mut self, bytes: &mut usize) -> Part<'a> {
        let mut piece = self.part.clone();
        if let (Some((text, taken)), Content::Text { text: of_piece, .. }) = (&mut self.text, &mut piece.content) {
            let end = text.ceil_char_boundary(taken.saturating_add(*bytes).min(text.len()));
            let found = text.get(*taken..end).unwrap_or_default();
            *bytes = bytes.saturating_sub(found.len());
            *of_piece = Text::from(found.to_owned());
            *taken = end;
        }
        if let Content::Text { citations, .. } = &mut self.part.content {
            citations.clear();
        }
        piece
    }
}
