//! Messages in strict alternation, which Anthropic, Gemini and Bedrock require of a history and OpenAI does not.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{
    Call, Content, Invalid, Message, Part, Role, SignatureOrigin,
    pairing::{as_text, is_blank, no_result},
};

/// The text of a user's turn that a target requires and the client has not sent.
pub const PLACEHOLDER: &str = "(continue)";

/// What a target requires of the order of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnRules {
    /// Whether the last turn may be the assistant's, to be continued by the model.
    pub prefill: bool,
}

/// All consecutive messages of one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn<'r, 'a> {
    /// [`Role::User`] or [`Role::Assistant`].
    pub role: Role,
    /// The turn's parts; never empty.
    pub parts: Vec<Cow<'r, Part<'a>>>,
}

/// Splits `messages` into instructions, wherever they are, and turns that alternate and begin with the user's.
///
/// Results of tools are first in the turn after their calls, in the calls' order. A call without a result gets a
/// placeholder; a result without a call becomes text; blank texts, which providers refuse, are left out.
///
/// # Errors
/// When there is no turn to answer, or one message has the same call id twice.
pub fn turns<'r, 'a>(
    messages: &'r [Message<'a>],
    rules: TurnRules,
) -> Result<(Vec<&'r Part<'a>>, Vec<Turn<'r, 'a>>), Invalid> {
    let (system, others): (Vec<_>, Vec<_>) = messages.iter().partition(|m| m.role == Role::System);
    let system: Vec<_> = system.into_iter().flat_map(|m| &m.parts).filter(|part| !is_blank(part)).collect();
    let mut turns: Vec<Turn<'r, 'a>> = Vec::new();
    for message in others {
        let parts = message.parts.iter().filter(|part| !is_blank(part)).map(Cow::Borrowed);
        match turns.last_mut() {
            Some(last) if last.role == message.role => last.parts.extend(parts),
            _ => turns.push(Turn { role: message.role, parts: parts.collect() }),
        }
    }
    turns.retain(|turn| !turn.parts.is_empty());
    merge(&mut turns);
    if turns.is_empty() {
        // Instructions alone are a request in dialects where they are messages like any other.
        if Vec::is_empty(&system) {
            return Err(Invalid::new("messages", "there is no message with anything in it"));
        }
        turns.push(placeholder());
    }
    pair(&mut turns)?;
    if turns.first().is_some_and(|first| first.role == Role::Assistant) {
        turns.insert(0, placeholder());
    }
    if !rules.prefill && turns.last().is_some_and(|last| last.role == Role::Assistant) {
        turns.push(placeholder());
    }
    Ok((system, turns))
}

/// Whether the last turn is the assistant's and ends in text: the beginning of an answer that the model is to continue.
pub fn ends_in_prefill(messages: &[Message<'_>]) -> bool {
    let said = messages.iter().rev().filter(|m| m.role != Role::System && !m.parts.iter().all(is_blank));
    let mut has_words = false;
    for part in said.take_while(|m| m.role == Role::Assistant).flat_map(|m| &m.parts) {
        match part.content {
            Content::Call(_) => return false,
            Content::Text { .. } | Content::Refusal(_) => has_words = true,
            _ => {}
        }
    }
    has_words
}

/// Whether the conversation ends in a series of calls and results without reasoning that models of `maker` have signed.
/// Some models then refuse to reason: their reasoning must precede the calls to which it led. It is at the beginning of
/// the series, or before each call.
///
/// Whatever else the user's turn contains behind the results, the series goes on.
pub fn is_loop_without_reasoning(messages: &[Message<'_>], maker: SignatureOrigin) -> bool {
    let spoken = |message: &&Message<'_>| message.role != Role::System && !message.parts.iter().all(is_blank);
    let spoken: Vec<&Message<'_>> = messages.iter().filter(spoken).collect();
    let mut in_series = false;
    for turn in spoken.chunk_by(|a, b| a.role == b.role).rev() {
        let has = |test: fn(&Content<'_>) -> bool| {
            turn.iter().flat_map(|message| &message.parts).any(|part| test(&part.content))
        };
        if turn.first().is_some_and(|first| first.role == Role::User) {
            if has(|content| matches!(content, Content::Result(_))) {
                continue;
            }
            break;
        }
        if !has(|content| matches!(content, Content::Call(_))) {
            break;
        }
        in_series = true;
        let signed = turn.iter().flat_map(|message| &message.parts).any(|part| match &part.content {
            Content::Thinking { signature: Some(signature), .. } | Content::Redacted(signature) => {
                signature.maker == maker
            }
            _ => false,
        });
        if signed {
            return false;
        }
    }
    in_series
}

/// Names of the tools that `parts` call, each once.
pub fn called_tools<'r, 'a: 'r>(parts: impl Iterator<Item = &'r Part<'a>>) -> Vec<Cow<'r, str>> {
    let mut seen = HashSet::new();
    let names = parts.filter_map(|part| match &part.content {
        Content::Call(call) => Some(call.name.decode()),
        _ => None,
    });
    names.filter(|name| seen.insert(name.clone())).collect()
}

fn placeholder<'r, 'a>() -> Turn<'r, 'a> {
    Turn { role: Role::User, parts: vec![Cow::Owned(Content::text(PLACEHOLDER).into())] }
}

/// Joins neighbours of one role: leaving out empty turns can create them.
fn merge(turns: &mut Vec<Turn<'_, '_>>) {
    let mut merged: Vec<Turn<'_, '_>> = Vec::with_capacity(turns.len());
    for turn in turns.drain(..) {
        match merged.last_mut() {
            Some(last) if last.role == turn.role => last.parts.extend(turn.parts),
            _ => merged.push(turn),
        }
    }
    *turns = merged;
}

/// Moves each call's result into the turn after it.
fn pair(turns: &mut Vec<Turn<'_, '_>>) -> Result<(), Invalid> {
    let mut index = 0;
    // Results before any call have no call.
    let mut calls: Vec<(String, Cow<'_, str>)> = Vec::new();
    while index < turns.len() {
        let Some(turn) = turns.get_mut(index) else { break };
        if turn.role == Role::User {
            order(&mut turn.parts, &calls);
            calls.clear();
        } else {
            calls = calls_of(&turn.parts)?;
            if !calls.is_empty() && index + 1 == turns.len() {
                turns.push(Turn { role: Role::User, parts: Vec::new() });
            }
        }
        index += 1;
    }
    Ok(())
}

fn calls_of(parts: &[Cow<'_, Part<'_>>]) -> Result<Vec<(String, Cow<'static, str>)>, Invalid> {
    let (mut calls, mut seen) = (Vec::new(), HashSet::new());
    for part in parts {
        if let Content::Call(Call { id, name, .. }) = &part.content {
            let id = id.decode().into_owned();
            if !seen.insert(id.clone()) {
                return Err(Invalid::new("messages", format!("two calls of one message have the id '{id}'")));
            }
            calls.push((id, Cow::Owned(name.decode().into_owned())));
        }
    }
    Ok(calls)
}

/// Results first, in the order of `calls`; then the rest.
fn order<'a>(parts: &mut Vec<Cow<'_, Part<'a>>>, calls: &[(String, Cow<'_, str>)]) {
    // By index: a history may have as many calls as fit into a body.
    let places: HashMap<&str, usize> = calls.iter().enumerate().map(|(at, (id, _))| (id.as_str(), at)).collect();
    let mut results: Vec<Option<Cow<'_, Part<'a>>>> = calls.iter().map(|_| None).collect();
    let mut rest = Vec::new();
    for part in parts.drain(..) {
        let Content::Result(result) = &part.content else {
            rest.push(part);
            continue;
        };
        let place = places.get(&*result.id.decode()).and_then(|at| results.get_mut(*at));
        match place {
            Some(place @ None) => *place = Some(part),
            // Its call has a result already, or does not exist.
            _ => rest.extend(as_text(result).into_iter().map(Cow::Owned)),
        }
    }
    let missing = |(id, name): &(String, Cow<'_, str>)| -> Part<'a> {
        no_result(id, name.clone().into_owned().into(), true).into()
    };
    let results =
        results.into_iter().zip(calls).map(|(found, call)| found.unwrap_or_else(|| Cow::Owned(missing(call))));
    *parts = results.chain(rest).collect();
}
