//! Turns that are added to those of the client.

use serde_json::value::RawValue;

use super::{AddedMessage, Around, PromptPlaces, SystemPlace, list};
use crate::{
    conversation::{Invalid, PLACEHOLDER, Role},
    stream::{
        Member, Splice, TopLevel,
        json::{ArrayWriter, ObjectWriter, write_string},
    },
};

/// One element of the list.
enum Turn<'a> {
    /// Added texts of one author.
    Added(Role, Vec<String>),
    /// A turn of the client, with texts that are added to it.
    Client(&'a RawValue, Around),
}

/// The new value of the field with the turns.
pub(super) fn add(
    places: &PromptPlaces,
    old: Option<&Member<'_>>,
    prepend: &[&AddedMessage],
    append: &[&AddedMessage],
) -> Result<Vec<u8>, Invalid> {
    let invalid = || Invalid::new(places.turns, "must be a list of messages");
    let old = old.filter(|old| !old.is_null()).map(Member::as_json);
    let text = old.filter(|old| old.starts_with('"'));
    let clients = match (old, text) {
        (None, _) | (_, Some(_)) => Vec::new(),
        (Some(old), None) => list(old).ok_or_else(invalid)?,
    };
    if text.is_some() && places.block.is_some() {
        return Err(invalid());
    }
    // A text alone is the user's only turn.
    let alone = text.map(|text| user(places, text)).transpose().map_err(|_| invalid())?;
    let clients: Vec<&RawValue> = clients.into_iter().chain(alone.as_deref()).collect();
    let answer = clients.iter().rev().take_while(|turn| places.author(turn) == Some(Role::Assistant)).count();
    let (before, answer) = clients.split_at(clients.len() - answer);

    let mut spine = Spine { places, turns: Vec::with_capacity(clients.len() + prepend.len() + append.len()) };
    // Some servers require that all instructions come first.
    let ours = prepend.iter().take_while(|message| message.role == Role::System).count();
    let theirs = before.iter().take_while(|turn| places.is_instruction(turn)).count();
    let (first, rest) = prepend.split_at(ours);
    let (instructions, before) = before.split_at(theirs);
    spine.push(first, instructions);
    spine.push(rest, before);
    spine.push(append, answer);
    if places.begins_with_user && matches!(spine.turns.first(), Some(Turn::Added(Role::Assistant, _))) {
        spine.turns.insert(0, Turn::Added(Role::User, vec![PLACEHOLDER.to_owned()]));
    }

    let mut out = Vec::with_capacity(old.map_or(0, str::len) + 256);
    let mut written = ArrayWriter::begin(&mut out);
    for turn in &spine.turns {
        match turn {
            Turn::Added(role, texts) => places.write_turn(*role, texts, written.element()),
            Turn::Client(raw, added) if added.is_empty() => written.element().extend_from_slice(raw.get().as_bytes()),
            Turn::Client(raw, added) => {
                let turn = places.with_texts(raw, added).ok_or_else(invalid)?;
                written.element().extend_from_slice(&turn);
            }
        }
    }
    written.end();
    Ok(out)
}

/// The user's turn with this text, which is JSON.
fn user(places: &PromptPlaces, text: &str) -> serde_json::Result<Box<RawValue>> {
    let [user, _] = places.roles;
    let mut out = Vec::new();
    ObjectWriter::begin(&mut out).with("role", user).with_raw(places.content, text).end();
    serde_json::from_slice(&out)
}

/// The list that is being made. Where a dialect has blocks of content, an added text is one more block of a neighbour
/// of the same author: some servers require that authors alternate.
struct Spine<'p, 'a> {
    places: &'p PromptPlaces,
    turns: Vec<Turn<'a>>,
}

impl<'a> Spine<'_, 'a> {
    /// Adds messages, and turns of the client behind them.
    fn push(&mut self, added: &[&AddedMessage], clients: &[&'a RawValue]) {
        for message in added {
            self.push_added(message);
        }
        for turn in clients {
            self.push_client(turn);
        }
    }

    fn push_added(&mut self, message: &AddedMessage) {
        let text = || message.text.clone();
        if self.places.block.is_some() {
            match self.turns.last_mut() {
                Some(Turn::Added(role, texts)) if *role == message.role => return texts.push(text()),
                Some(Turn::Client(turn, added)) if self.places.author(turn) == Some(message.role) => {
                    return added.after.push(text());
                }
                _ => {}
            }
        }
        self.turns.push(Turn::Added(message.role, vec![text()]));
    }

    fn push_client(&mut self, turn: &'a RawValue) {
        let mut added = Around::default();
        if self.places.block.is_some()
            && let Some(Turn::Added(role, texts)) = self.turns.last_mut()
            && self.places.author(turn) == Some(*role)
        {
            added.before = std::mem::take(texts);
            self.turns.pop();
        }
        self.turns.push(Turn::Client(turn, added));
    }
}

impl PromptPlaces {
    /// The author of a client's turn. `None` for results of tools with a role of their own, for instructions, and for
    /// what is no turn.
    fn author(&self, turn: &RawValue) -> Option<Role> {
        let top = TopLevel::scan(turn.get().as_bytes()).ok()?;
        let [user, assistant] = self.roles;
        let Some(role) = top.get("role").and_then(Member::as_str) else {
            let kind = top.get("type").and_then(Member::as_str);
            if kind.is_some_and(|kind| self.assistants.contains(&&*kind)) {
                return Some(Role::Assistant);
            }
            // Gemini's turns are the user's unless they have a role.
            return (matches!(self.system, SystemPlace::Content(..)) && !top.contains("role")).then_some(Role::User);
        };
        match &*role {
            role if role == user => Some(Role::User),
            role if role == assistant => Some(Role::Assistant),
            _ => None,
        }
    }

    /// Whether a client's turn has instructions.
    fn is_instruction(&self, turn: &RawValue) -> bool {
        let is_one = |role: &str| matches!(role, "system" | "developer");
        self.system.field().is_none()
            && TopLevel::scan(turn.get().as_bytes())
                .is_ok_and(|top| top.get("role").and_then(Member::as_str).is_some_and(|role| is_one(&role)))
    }

    fn write_turn(&self, role: Role, texts: &[String], out: &mut Vec<u8>) {
        let [user, assistant] = self.roles;
        let name = match (role, self.system) {
            (Role::Assistant, _) => assistant,
            (Role::System, SystemPlace::Turn(system)) => system,
            (Role::System | Role::User, _) => user,
        };
        let mut turn = ObjectWriter::begin(out).with("role", name);
        if self.block.is_some() {
            let mut blocks = turn.array(self.content);
            for text in texts {
                self.write_block(text, blocks.element());
            }
        } else {
            write_string(turn.key(self.content), &texts.concat());
        }
    }

    /// A client's turn with further texts. `None` when its content is neither a text nor a list.
    fn with_texts(&self, turn: &RawValue, added: &Around) -> Option<Vec<u8>> {
        let turn = bytes::Bytes::copy_from_slice(turn.get().as_bytes());
        let top = TopLevel::scan(&turn).ok()?;
        let content = top.get(self.content).filter(|content| !content.is_null()).map(Member::as_json);
        let mut out = Vec::new();
        self.blocks(content, added, &mut out)?;
        let mut splice = Splice::new(&top);
        splice.set(self.content, out);
        Some(splice.apply(&turn).into())
    }
}
