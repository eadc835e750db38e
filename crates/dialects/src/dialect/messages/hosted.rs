//! The blocks of tools that Anthropic runs: `server_tool_use`, and the result that follows it.
//! <https://platform.claude.com/docs/en/agents-and-tools/tool-use/server-tools>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::Block;
use crate::{
    conversation::{Content, HostedAction, HostedCall, Page, Part, Text},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// The type of a call's block.
const USE: &str = "server_tool_use";
/// What the ids of calls begin with that another vendor has run: Anthropic can't check their results.
pub(super) const FOREIGN_ID: &str = "srvtoolu_TG";
/// The index of a page that another vendor has found.
pub(super) const FOREIGN_INDEX: &str = "TG";
/// Most calls of one reply whose results have not come. Claude runs a few at a time.
const MAX_WAITING: usize = 64;
/// Longest input of a call that is collected, in bytes.
const MAX_INPUT: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Input<'a> {
    query: Option<Text<'a>>,
    url: Option<Text<'a>>,
    code: Option<Text<'a>>,
    command: Option<Text<'a>>,
}

/// The object in a result: of a page, of code, or an error.
#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Found<'a> {
    url: Option<Text<'a>>,
    title: Option<Text<'a>>,
    page_age: Option<Text<'a>>,
    content: Option<&'a RawValue>,
    stdout: Option<Text<'a>>,
    stderr: Option<Text<'a>>,
    return_code: Option<i64>,
    error_code: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Document<'a> {
    title: Option<Text<'a>>,
    source: Option<DocumentSource<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct DocumentSource<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    data: Option<Text<'a>>,
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok()
}

/// The call of the tool `name`, before its result; `None` for tools without a counterpart in other dialects.
fn begun<'a>(name: &str, input: &'a str) -> Option<HostedCall<'a>> {
    let input = parse(input).unwrap_or(Input { query: None, url: None, code: None, command: None });
    let text = |text: Option<Text<'a>>| text.unwrap_or_else(|| "".into());
    Some(HostedCall::begun(match name {
        "web_search" => HostedAction::Search { queries: input.query.into_iter().collect(), pages: Vec::new() },
        "web_fetch" => HostedAction::Fetch(Page::at(text(input.url))),
        "code_execution" | "bash_code_execution" => HostedAction::Code {
            code: text(input.code.or(input.command)),
            output: "".into(),
            errors: "".into(),
            exit: 0,
        },
        _ => return None,
    }))
}

/// Adds the content of its result to a call.
fn fill<'a>(call: &mut HostedCall<'a>, content: &'a RawValue) {
    if let HostedAction::Search { pages, .. } = &mut call.action
        && let Some(found) = parse::<Vec<Found<'a>>>(content.get())
    {
        let page = |found: Found<'a>| Some(Page { title: found.title, age: found.page_age, ..Page::at(found.url?) });
        pages.extend(found.into_iter().filter_map(page));
        call.error = None;
        return;
    }
    let Some(found) = parse::<Found<'a>>(content.get()) else { return };
    if found.error_code.is_some() {
        call.error = found.error_code;
        return;
    }
    call.error = None;
    match &mut call.action {
        HostedAction::Search { .. } => {}
        HostedAction::Fetch(page) => {
            page.url = found.url.unwrap_or_else(|| page.url.clone());
            if let Some(Document { title, source }) = found.content.and_then(|raw| parse::<Document<'a>>(raw.get())) {
                page.title = title;
                let is_text = |source: &DocumentSource<'_>| source.kind.as_ref().is_some_and(|kind| kind.is("text"));
                page.text = source.filter(is_text).and_then(|source| source.data);
            }
        }
        HostedAction::Code { output, errors, exit, .. } => {
            *output = found.stdout.unwrap_or_else(|| "".into());
            *errors = found.stderr.unwrap_or_else(|| "".into());
            *exit = found.return_code.unwrap_or(0);
        }
    }
}

/// Whether a block of this type may be the result of such a call.
fn is_result(kind: &Text<'_>) -> bool {
    kind.decode().ends_with("_tool_result")
}

/// Reads a block of a buffered reply. `calls` has the ids and the places of the calls so far. Returns `false` if it is
/// another block.
pub(super) fn read<'a>(block: &Block<'a>, calls: &mut Vec<(Text<'a>, usize)>, parts: &mut Vec<Part<'a>>) -> bool {
    let Some(kind) = &block.kind else { return false };
    if kind.is(USE) {
        let (Some(id), Some(name)) = (&block.id, &block.name) else { return false };
        let Some(call) = begun(&name.decode(), block.input.map_or("{}", RawValue::get)) else { return false };
        calls.push((id.clone(), parts.len()));
        parts.push(Content::Hosted(Box::new(call)).into());
        return true;
    }
    let Some(id) = block.tool_use_id.as_ref().filter(|_| is_result(kind)) else { return false };
    let call = calls.iter().find(|(call, _)| call.is(&id.decode())).and_then(|(_, at)| parts.get_mut(*at));
    let Some(Part { content: Content::Hosted(call), .. }) = call else { return false };
    if let Some(content) = block.content {
        fill(call, content);
    }
    true
}

/// The calls of a stream whose results have not come.
#[derive(Default)]
pub(super) struct Waiting {
    calls: Vec<Call>,
}

struct Call {
    /// The block's index.
    index: u64,
    id: String,
    name: String,
    /// The JSON of its input, so far.
    input: String,
}

impl Waiting {
    /// Takes the start of a block. Returns `false` if it is another block. A call is passed to `sink` with its result;
    /// `None` when it begins.
    pub(super) fn open(&mut self, index: u64, block: &Block<'_>, sink: impl FnOnce(Option<HostedCall<'_>>)) -> bool {
        let Some(kind) = &block.kind else { return false };
        if kind.is(USE) {
            let (Some(id), Some(name)) = (&block.id, &block.name) else { return false };
            let (id, name) = (id.decode().into_owned(), name.decode().into_owned());
            if begun(&name, "{}").is_none() || self.calls.len() >= MAX_WAITING {
                return false;
            }
            // Anthropic sends `{}` here, and the input in deltas.
            let input = block.input.map(RawValue::get).filter(|input| input.len() > 2 && input.len() <= MAX_INPUT);
            self.calls.push(Call { index, id, name, input: input.unwrap_or_default().to_owned() });
            sink(None);
            return true;
        }
        let Some(id) = block.tool_use_id.as_ref().filter(|_| is_result(kind)) else { return false };
        let Some(at) = self.calls.iter().position(|call| id.is(&call.id)) else { return false };
        let Call { name, input, .. } = self.calls.remove(at);
        let Some(mut call) = begun(&name, &input) else { return false };
        if let Some(content) = block.content {
            fill(&mut call, content);
        }
        sink(Some(call));
        true
    }

    /// Takes more of the input of the call at `index`.
    pub(super) fn delta(&mut self, index: u64, json: &Text<'_>) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.index == index)
            && call.input.len() + json.size() <= MAX_INPUT
        {
            call.input.push_str(&json.decode());
        }
    }

    /// Passes the calls that got no result to `sink`.
    pub(super) fn finish(&mut self, mut sink: impl FnMut(HostedCall<'_>)) {
        for Call { name, input, .. } in self.calls.drain(..) {
            if let Some(call) = begun(&name, &input) {
                sink(call);
            }
        }
    }
}

/// How often tools of the vendor were used.
#[derive(Clone, Copy, Default)]
pub(super) struct Uses {
    searches: u64,
    fetches: u64,
}

impl Uses {
    /// Counts a call.
    pub(super) fn add(&mut self, call: &HostedCall<'_>) {
        match call.action {
            HostedAction::Search { .. } => self.searches += 1,
            HostedAction::Fetch(_) => self.fetches += 1,
            HostedAction::Code { .. } => {}
        }
    }

    /// Writes the counts, if there are any.
    pub(super) fn write(self, usage: &mut ObjectWriter<'_>) {
        if self.searches + self.fetches > 0 {
            let mut object = usage.object("server_tool_use").with("web_search_requests", &self.searches);
            object.field("web_fetch_requests", &self.fetches);
        }
    }
}

/// The id of the `number`th block of the reply `reply`, as a call of another vendor.
pub(super) fn id(reply: &str, number: impl std::fmt::Display) -> String {
    let reply: String = reply.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{FOREIGN_ID}{reply}_{number}")
}

/// The tool's name, and the type of its result.
const fn names(action: &HostedAction<'_>) -> (&'static str, &'static str) {
    match action {
        HostedAction::Search { .. } => ("web_search", "web_search_tool_result"),
        HostedAction::Fetch(_) => ("web_fetch", "web_fetch_tool_result"),
        HostedAction::Code { .. } => ("code_execution", "code_execution_tool_result"),
    }
}

/// Appends the input of a call, as JSON.
pub(super) fn write_input(call: &HostedCall<'_>, out: &mut Vec<u8>) {
    let mut input = ObjectWriter::begin(out);
    match &call.action {
        HostedAction::Search { queries, .. } => {
            // Anthropic's tool has one query a call, Google's has several.
            let queries: Vec<_> = queries.iter().map(Text::decode).collect();
            input.field("query", &queries.join("; "));
        }
        HostedAction::Fetch(page) => input.field("url", &page.url),
        HostedAction::Code { code, .. } => input.field("code", code),
    }
}

/// Writes the block of a call, with its input or, as streams begin it, without.
pub(super) fn write_use(call: &HostedCall<'_>, id: &str, whole: bool, mut block: ObjectWriter<'_>) {
    block.field("type", USE);
    block.field("id", id);
    block.field("name", names(&call.action).0);
    let input = block.key("input");
    if whole { write_input(call, input) } else { input.extend_from_slice(b"{}") }
}

/// Writes the block of a call's result.
pub(super) fn write_result(call: &HostedCall<'_>, id: &str, mut block: ObjectWriter<'_>) {
    let kind = names(&call.action).1;
    block.field("type", kind);
    block.field("tool_use_id", id);
    if let Some(code) = &call.error {
        block.object("content").with("type", &format_args!("{kind}_error")).with("error_code", code);
        return;
    }
    match &call.action {
        HostedAction::Search { pages, .. } => {
            let mut list = block.array("content");
            for page in pages {
                write_page(page, &mut list);
            }
        }
        HostedAction::Fetch(page) => {
            let mut content = block.object("content").with("type", "web_fetch_result").with("url", &page.url);
            let mut document = content.object("content").with("type", "document");
            document.maybe("title", page.title.as_ref());
            let mut source = document.object("source").with("type", "text").with("media_type", "text/plain");
            source.field("data", page.text.as_ref().unwrap_or(&"".into()));
            source.end();
            document.end();
            content.raw("retrieved_at", "null");
        }
        HostedAction::Code { output, errors, exit, .. } => {
            let mut content = block.object("content").with("type", "code_execution_result");
            content.field("stdout", output);
            content.field("stderr", errors);
            content.field("return_code", exit);
            content.raw("content", "[]");
        }
    }
}

fn write_page(page: &Page<'_>, list: &mut ArrayWriter<'_>) {
    let mut result = list.object().with("type", "web_search_result").with("url", &page.url);
    result.field("title", page.title.as_ref().unwrap_or(&page.url));
    // Only Anthropic can fill it. Its SDKs expect a string.
    result.field("encrypted_content", "");
    result.field("page_age", &page.age);
}
