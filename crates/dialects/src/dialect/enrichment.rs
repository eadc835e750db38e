//! Messages that a gateway adds to every conversation: before and after what the client wrote.
//!
//! The body is spliced: what the client wrote stays as it is. Where a dialect has its instructions, and how it writes a
//! turn, is its [`PromptPlaces`]. Added turns never come between a call and its result, and never behind an answer that
//! the model is to continue:
//!
//! ```text
//! prepended, client's ..., appended, client's last turns if they are the assistant's
//! ```

mod turns;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{DialectId, Endpoint};
use crate::{
    conversation::{Invalid, Role},
    stream::{
        Member, Splice, TopLevel, ValueKind,
        json::{ArrayWriter, ObjectWriter, write_string},
    },
};

/// A message that is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedMessage {
    /// Its author.
    pub role: Role,
    /// Its text, which is not blank: some providers refuse blank texts.
    pub text: String,
}

/// The messages that are added to every conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enrichment {
    /// Those before the client's messages.
    pub prepend: Vec<AddedMessage>,
    /// Those behind the client's messages.
    pub append: Vec<AddedMessage>,
}

/// Where a dialect has instructions and turns.
#[derive(Debug)]
pub struct PromptPlaces {
    /// The place of instructions.
    pub system: SystemPlace,
    /// The field with the turns.
    pub turns: &'static str,
    /// The names of the user's and of the assistant's role.
    pub roles: [&'static str; 2],
    /// Values of `type` of elements that belong to the assistant's turn beside it.
    pub assistants: &'static [&'static str],
    /// The field of a turn with its content.
    pub content: &'static str,
    /// The JSON in front of a text that is one block of content. `None` where an added message is a turn of its own,
    /// whose content is the text.
    pub block: Option<&'static str>,
    /// Whether the first turn must be the user's.
    pub begins_with_user: bool,
}

/// The place of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemPlace {
    /// They are turns, with this role.
    Turn(&'static str),
    /// A field with a text.
    Text(&'static str),
    /// A field with a list of blocks, or a text.
    Blocks(&'static str),
    /// A field with an object that has a list of blocks in this field of its own.
    Content(&'static str, &'static str),
}

impl SystemPlace {
    /// The field, unless instructions are turns.
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::Turn(_) => None,
            Self::Text(field) | Self::Blocks(field) | Self::Content(field, _) => Some(field),
        }
    }
}

impl Enrichment {
    /// Whether nothing is added.
    pub const fn is_empty(&self) -> bool {
        self.prepend.is_empty() && self.append.is_empty()
    }

    /// The body of a request to `endpoint` with the messages. Bodies without a conversation are returned as they are.
    ///
    /// # Errors
    /// When a field that is added to has another form than the dialect's; the error names it.
    pub fn apply(&self, endpoint: &Endpoint, body: &Bytes) -> Result<Bytes, Invalid> {
        match (endpoint.dialect().or(endpoint.inner_dialect()), endpoint.owner()) {
            (Some(dialect), _) => self.add(dialect, body),
            (None, Some(owner)) if endpoint.counts() => {
                owner.dialect().edit_counted(body, &mut |dialect, body| self.add(dialect, body))
            }
            _ => Ok(body.clone()),
        }
    }

    /// A request body of `dialect` with the messages.
    ///
    /// # Errors
    /// When a field that is added to has another form than the dialect's; the error names it.
    fn add(&self, dialect: DialectId, body: &Bytes) -> Result<Bytes, Invalid> {
        let places = dialect.dialect().prompt_places();
        let top = TopLevel::scan(body).map_err(|error| Invalid::new("", error.to_string()))?;
        let mut splice = Splice::new(&top);
        if let Some(name) = places.system.field() {
            let texts = |messages: &'_ [AddedMessage]| -> Vec<String> {
                messages.iter().filter(|m| m.role == Role::System).map(|m| m.text.clone()).collect()
            };
            let added = Around { before: texts(&self.prepend), after: texts(&self.append) };
            if !added.is_empty() {
                let old = top.members().iter().rev().find(|member| dialect.dialect().is_field(&member.name(), name));
                let key = old.map_or(name.into(), Member::name);
                splice.remove_variants(&[name]);
                splice.set(key, places.instructions(name, old.filter(|old| !old.is_null()), &added)?);
            }
        }
        let is_turn = |message: &&AddedMessage| places.system.field().is_none() || message.role != Role::System;
        let prepend: Vec<&AddedMessage> = self.prepend.iter().filter(is_turn).collect();
        let append: Vec<&AddedMessage> = self.append.iter().filter(is_turn).collect();
        if !(prepend.is_empty() && append.is_empty()) {
            splice.remove_variants(&[places.turns]);
            splice.set(places.turns, turns::add(places, top.get(places.turns), &prepend, &append)?);
        }
        Ok(splice.apply(body))
    }
}

/// Texts in front of something and behind it.
#[derive(Default)]
struct Around {
    before: Vec<String>,
    after: Vec<String>,
}

impl Around {
    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

impl PromptPlaces {
    /// The new value of the field `name`, which has the instructions.
    fn instructions(&self, name: &str, old: Option<&Member<'_>>, added: &Around) -> Result<Vec<u8>, Invalid> {
        let invalid = |wanted: &str| Invalid::new(name, format!("must be {wanted}"));
        let mut out = Vec::new();
        match self.system {
            SystemPlace::Turn(_) | SystemPlace::Text(_) => {
                let old = match old {
                    None => None,
                    Some(old) => Some(old.as_str().ok_or_else(|| invalid("a string"))?.into_owned()),
                };
                let texts = added.before.iter().chain(old.iter().filter(|old| !old.is_empty())).chain(&added.after);
                write_string(&mut out, &texts.map(String::as_str).collect::<Vec<_>>().join("\n\n"));
            }
            SystemPlace::Blocks(_) => {
                let old = old.map(Member::as_json);
                self.blocks(old, added, &mut out).ok_or_else(|| invalid("a string or a list of blocks"))?;
            }
            SystemPlace::Content(_, parts) => match old {
                Some(old) if old.kind == ValueKind::Object => {
                    let object = Bytes::copy_from_slice(old.value);
                    let top = TopLevel::scan(&object).map_err(|_| invalid("an object"))?;
                    let inside = top.get(parts).filter(|inside| !inside.is_null()).map(Member::as_json);
                    self.blocks(inside, added, &mut out).ok_or_else(|| invalid("an object with a list of parts"))?;
                    let mut splice = Splice::new(&top);
                    splice.set(parts, out);
                    return Ok(splice.apply(&object).into());
                }
                // A text alone is accepted in place of the object.
                old if old.is_none_or(|old| old.kind == ValueKind::String) => {
                    let mut object = ObjectWriter::begin(&mut out);
                    let blocks = self.blocks(old.map(Member::as_json), added, object.key(parts));
                    blocks.ok_or_else(|| invalid("an object"))?;
                }
                _ => return Err(invalid("an object")),
            },
        }
        Ok(out)
    }

    /// Appends the blocks `old`, or the text in their place, between those that are added. `None` when it is
    /// neither.
    fn blocks(&self, old: Option<&str>, added: &Around, out: &mut Vec<u8>) -> Option<()> {
        let inside = match old.map(|old| (old, elements(old))) {
            None => String::new(),
            Some((text, None)) if text.starts_with('"') => {
                if text.len() > 2 {
                    format!("{}{text}}}", self.block?)
                } else {
                    String::new()
                }
            }
            // Google's servers accept a block without the list.
            Some((object, None)) if object.starts_with('{') && matches!(self.system, SystemPlace::Content(..)) => {
                object.to_owned()
            }
            Some((_, list)) => list?.to_owned(),
        };
        let mut list = ArrayWriter::begin(out);
        for text in &added.before {
            self.write_block(text, list.element());
        }
        if !inside.trim().is_empty() {
            list.element().extend_from_slice(inside.as_bytes());
        }
        for text in &added.after {
            self.write_block(text, list.element());
        }
        Some(())
    }

    fn write_block(&self, text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(self.block.unwrap_or_default().as_bytes());
        write_string(out, text);
        out.push(b'}');
    }
}

/// What is between the brackets of a list. `None` for other values.
fn elements(value: &str) -> Option<&str> {
    value.strip_prefix('[')?.strip_suffix(']')
}

/// The elements of a list, or the only one without brackets, which Google's servers accept in place of it.
fn list(value: &str) -> Option<Vec<&RawValue>> {
    if value.starts_with('{') {
        serde_json::from_str(value).ok().map(|one| vec![one])
    } else {
        serde_json::from_str(value).ok()
    }
}
