//! Names and ids that every provider accepts.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{Content, Request, Text, ToolChoice, ToolName};

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

/// A tool name that every provider accepts.
fn fitting(written: &str) -> Cow<'_, str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    // Gemini requires a letter in front. The tool that represents a schema belongs to the gateway.
    if written.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && written != OURS {
        return safe_id(written, MAX_NAME, fits);
    }
    let hash = fnv(written.as_bytes());
    let kept: String = written.chars().filter(char::is_ascii_alphanumeric).take(MAX_NAME - 19).collect();
    Cow::Owned(format!("f_{kept}_{hash:016x}"))
}

/// Tool names that had to be changed for a target, with the tools that have them.
///
/// MCP servers have names with dots and slashes, and longer ones than any provider accepts. Tools of other forms than
/// functions, and those in namespaces, become plain functions under a name of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    originals: HashMap<String, ToolName<'static>>,
}

impl Names {
    /// Makes every tool of `request` a plain function under a name that every provider accepts, in tools, choices and
    /// history alike. The result depends on the request alone, so that it is the same in the next turn.
    pub fn fit(request: &mut Request<'_>) -> Self {
        resolve_choice(request);
        let (mut taken, mut special) = (HashSet::new(), false);
        each(request, &mut |name| special |= !name.is_plain());
        if special {
            // Plain functions keep their names, and the others take what is left.
            each(request, &mut |name| {
                if name.is_plain() {
                    taken.insert(fitting(&name.decode()).into_owned());
                }
            });
        }
        let (mut names, mut carried) = (Self::default(), HashMap::new());
        each(request, &mut |name| {
            let fitted = if name.is_plain() {
                fitted_plain(name)
            } else {
                Some(carried.entry(name.key()).or_insert_with_key(|key| fitted_special(name, key, &mut taken)).clone())
            };
            if let Some(fitted) = fitted {
                let original = std::mem::replace(name, ToolName::from(fitted.clone()));
                names.originals.entry(fitted).or_insert_with(|| original.into_owned());
            }
        });
        names
    }

    /// Whether no name had to be changed.
    pub fn is_empty(&self) -> bool {
        self.originals.is_empty()
    }

    /// The tool as the client has declared it.
    pub fn restore(&self, name: &mut ToolName<'_>) {
        if self.is_empty() {
            return;
        }
        let original = self.originals.get(&*name.decode()).cloned();
        if let Some(original) = original {
            *name = original;
        }
    }
}

/// The name of a plain function, if it has to be changed.
fn fitted_plain(name: &Text<'_>) -> Option<String> {
    match fitting(&name.decode()) {
        Cow::Borrowed(_) => None,
        Cow::Owned(fitting) => Some(fitting),
    }
}

/// The name under which a tool of another form, or in a namespace, is carried: its own with the namespace in front, or
/// if that is `taken`, with a hash of the tool's `key` behind it.
fn fitted_special(name: &ToolName<'_>, key: &str, taken: &mut HashSet<String>) -> String {
    let flat = name.flat();
    let mut wire = fitting(&flat).into_owned();
    let mut attempt = 0_u32;
    while !taken.insert(wire.clone()) {
        let hash = fnv(format!("{key}\0{attempt}").as_bytes());
        let kept = fitting(&flat);
        let kept = kept.get(..kept.len().min(MAX_NAME - 17)).unwrap_or_default();
        wire = format!("{kept}_{hash:016x}");
        attempt += 1;
    }
    wire
}

/// Passes every name of a tool in `request` to `visit`: of tools, choices, calls and results.
fn each<'a>(request: &mut Request<'a>, visit: &mut dyn FnMut(&mut ToolName<'a>)) {
    for tool in &mut request.tools {
        visit(&mut tool.name);
    }
    match &mut request.tool_choice {
        Some(ToolChoice::Named(name)) => visit(name),
        Some(ToolChoice::Allowed { names, .. }) => names.iter_mut().for_each(&mut *visit),
        _ => {}
    }
    for part in request.messages.iter_mut().flat_map(|message| &mut message.parts) {
        match &mut part.content {
            Content::Call(call) => visit(&mut call.name),
            Content::Result(result) => result.name.iter_mut().for_each(&mut *visit),
            _ => {}
        }
    }
}

/// Choices may name a tool by its bare name: finds the declared tool that has it, if there is only one.
fn resolve_choice(request: &mut Request<'_>) {
    let Request { tools, tool_choice, .. } = request;
    let chosen: &mut [ToolName<'_>] = match tool_choice {
        Some(ToolChoice::Named(name)) => std::slice::from_mut(name),
        Some(ToolChoice::Allowed { names, .. }) => names,
        _ => return,
    };
    if tools.iter().all(|tool| tool.name.is_plain()) {
        return;
    }
    let mut declared: HashMap<String, Vec<&ToolName<'_>>> = HashMap::new();
    for tool in tools.iter() {
        declared.entry(tool.name.decode().into_owned()).or_default().push(&tool.name);
    }
    for name in chosen {
        let found = declared.get(&*name.decode());
        if let Some([only]) = found.map(Vec::as_slice)
            && *only != name
        {
            *name = (*only).clone();
        }
    }
}
