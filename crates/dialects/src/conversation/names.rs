//! Names and ids that every provider accepts.

use std::{borrow::Cow, collections::HashMap};

use super::{Content, Request, Text, ToolChoice};

/// The tool that a model without structured output must call to give a structured answer.
const OURS: &str = "json_output";

/// Longest name of a tool: the limit of OpenAI, Anthropic and Bedrock.
const MAX_NAME: usize = 64;

/// An id that a target accepts: `fits` decides which bytes it may have, `max` how long it may be. The same id always
/// gives the same result, so that calls and results still match.
pub fn safe_id(id: &str, max: usize, fits: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if !id.is_empty() && id.len() <= max && id.bytes().all(&fits) {
        return Cow::Borrowed(id);
    }
    // A hash keeps ids apart that would become equal by losing characters.
    let hash = format!("{:016x}", fnv(id.as_bytes()));
    let hash = hash.get(..max.min(hash.len())).unwrap_or_default();
    let kept: String = id.chars().map(|c| if c.is_ascii() && fits(c as u8) { c } else { '0' }).collect();
    let kept = kept.get(..max.saturating_sub(hash.len()).min(kept.len())).unwrap_or_default();
    Cow::Owned(format!("{kept}{hash}"))
}

/// FNV-1a, which gives the same hash on every machine and in every version.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// Tool names that had to be changed for a target, with the original names.
///
/// MCP servers have names with dots and slashes, and longer ones than any provider accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    originals: HashMap<String, String>,
}

impl Names {
    /// Changes every tool name of `request` that no provider accepts, in tools, choices and history alike.
    pub fn fit(request: &mut Request<'_>) -> Self {
        let mut names = Self::default();
        for tool in &mut request.tools {
            names.change(&mut tool.name);
        }
        match &mut request.tool_choice {
            Some(ToolChoice::Named(name)) => names.change(name),
            Some(ToolChoice::Allowed { names: allowed, .. }) => allowed.iter_mut().for_each(|name| names.change(name)),
            _ => {}
        }
        for part in request.messages.iter_mut().flat_map(|message| &mut message.parts) {
            match &mut part.content {
                Content::Call(call) => names.change(&mut call.name),
                Content::Result(result) => result.name.iter_mut().for_each(|name| names.change(name)),
                _ => {}
            }
        }
        names
    }

    fn change(&mut self, name: &mut Text<'_>) {
        let fitting = {
            let written = name.decode();
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            // Gemini requires a letter in front. The tool that represents a schema belongs to the gateway.
            let begins = written.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && written != OURS;
            let fitting = if begins {
                safe_id(&written, MAX_NAME, fits)
            } else {
                let hash = fnv(written.as_bytes());
                let kept: String = written.chars().filter(char::is_ascii_alphanumeric).take(MAX_NAME - 19).collect();
                Cow::Owned(format!("f_{kept}_{hash:016x}"))
            };
            match fitting {
                Cow::Borrowed(_) => None,
                Cow::Owned(fitting) => Some((fitting, written.into_owned())),
            }
        };
        if let Some((fitting, written)) = fitting {
            *name = Text::from(fitting.clone());
            self.originals.insert(fitting, written);
        }
    }

    /// Whether no name had to be changed.
    pub fn is_empty(&self) -> bool {
        self.originals.is_empty()
    }

    /// The name that the client gave the tool.
    pub fn restore(&self, name: &mut Text<'_>) {
        if self.is_empty() {
            return;
        }
        let original = self.originals.get(&*name.decode()).cloned();
        if let Some(original) = original {
            *name = Text::from(original);
        }
    }
}
