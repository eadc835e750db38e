//! The items of tools that OpenAI runs: `web_search_call` and `code_interpreter_call`.
//! <https://developers.openai.com/api/docs/guides/tools>

use serde::Deserialize;

use super::wire::{Item, lenient};
use crate::{
    conversation::{HostedAction, HostedCall, Page, Text, Unsupported},
    stream::json::ObjectWriter,
};

const SEARCH: &str = "web_search_call";
const CODE: &str = "code_interpreter_call";
/// The parts of such items that a response has only on request.
pub(super) const INCLUDE_SOURCES: &str = "web_search_call.action.sources";
pub(super) const INCLUDE_OUTPUTS: &str = "code_interpreter_call.outputs";

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Action<'a> {
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
    query: Option<Text<'a>>,
    queries: Option<Vec<Text<'a>>>,
    url: Option<Text<'a>>,
    sources: Option<Vec<Source<'a>>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Source<'a> {
    url: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Output<'a> {
    logs: Option<Text<'a>>,
}

/// Whether an item of this type is such a call.
pub(super) fn is(kind: &str) -> bool {
    matches!(kind, SEARCH | CODE)
}

/// Reads an item; `None` for items of other types, and for those that can't be read.
pub(super) fn read<'a>(item: &Item<'a>, lost: &mut Unsupported) -> Option<HostedCall<'a>> {
    let action = match &*item.kind.as_ref()?.decode() {
        SEARCH => {
            let action: Action<'a> = serde_json::from_str(item.action?.get()).ok()?;
            let opens = action.kind.as_ref().is_some_and(|kind| !kind.is("search"));
            match action.url {
                Some(url) => HostedAction::Fetch(Page::at(url)),
                // A page that OpenAI does not name.
                None if opens => HostedAction::Fetch(Page::at("".into())),
                None => HostedAction::Search {
                    queries: action.queries.unwrap_or_else(|| action.query.into_iter().collect()),
                    pages: action.sources.into_iter().flatten().filter_map(|s| s.url).map(Page::at).collect(),
                },
            }
        }
        CODE => {
            let outputs: Option<Vec<Output<'a>>> = item.outputs.and_then(|raw| serde_json::from_str(raw.get()).ok());
            let is_image = |output: &Output<'_>| output.logs.is_none();
            lost.add_if(outputs.iter().flatten().any(is_image), "code_interpreter_call.outputs");
            HostedAction::Code {
                code: lenient(item.code).unwrap_or_else(|| "".into()),
                output: Text::join(outputs.into_iter().flatten().filter_map(|output| output.logs), "\n"),
                errors: "".into(),
                exit: 0,
            }
        }
        _ => return None,
    };
    let failed = lenient(item.status).is_some_and(|status| status.is("failed") || status.is("incomplete"));
    Some(if failed { HostedCall::begun(action) } else { HostedCall::done(action) })
}

/// The prefix of the ids of such items that another vendor has run.
pub(super) const fn prefix(call: &HostedCall<'_>) -> &'static str {
    match call.action {
        HostedAction::Search { .. } | HostedAction::Fetch(_) => "ws_TG",
        HostedAction::Code { .. } => "ci_TG",
    }
}

/// Whether another vendor has run the item with this id.
pub(super) fn is_foreign(id: &str) -> bool {
    id.starts_with("ws_TG") || id.starts_with("ci_TG")
}

/// The names of the events that follow the announcement of such an item, in order.
pub(super) const fn events(call: &HostedCall<'_>) -> &'static [&'static str] {
    match call.action {
        HostedAction::Search { .. } | HostedAction::Fetch(_) => &[
            "response.web_search_call.in_progress",
            "response.web_search_call.searching",
            "response.web_search_call.completed",
        ],
        HostedAction::Code { .. } => &[
            "response.code_interpreter_call.in_progress",
            "response.code_interpreter_call_code.delta",
            "response.code_interpreter_call_code.done",
            "response.code_interpreter_call.interpreting",
            "response.code_interpreter_call.completed",
        ],
    }
}

/// Writes the code into the events that have it.
pub(super) fn write_code(call: &HostedCall<'_>, name: &str, event: &mut ObjectWriter<'_>) {
    let HostedAction::Code { code, .. } = &call.action else { return };
    match name.rsplit_once('.') {
        Some((_, "delta")) => event.field("delta", code),
        Some(("response.code_interpreter_call_code", "done")) => event.field("code", code),
        _ => {}
    }
}

/// Writes the fields of an item after its id: whole, or as it is announced.
pub(super) fn write(call: &HostedCall<'_>, done: bool, item: &mut ObjectWriter<'_>) {
    let status = match (done, call.error.is_some()) {
        (false, _) => "in_progress",
        (true, false) => "completed",
        (true, true) => "failed",
    };
    match &call.action {
        HostedAction::Search { queries, pages } => {
            item.field("type", SEARCH);
            item.field("status", status);
            let mut action = item.object("action").with("type", "search");
            let empty = Text::from("");
            action.field("query", queries.first().filter(|_| done).unwrap_or(&empty));
            if done {
                action.field("queries", queries);
                let mut sources = action.array("sources");
                for page in pages {
                    sources.object().with("type", "url").with("url", &page.url);
                }
            }
        }
        HostedAction::Fetch(page) => {
            item.field("type", SEARCH);
            item.field("status", status);
            item.object("action").with("type", "open_page").with("url", &page.url);
        }
        HostedAction::Code { code, output, errors, .. } => {
            item.field("type", CODE);
            item.field("status", status);
            let empty = Text::from("");
            item.field("code", if done { code } else { &empty });
            // The container is another vendor's, and nothing can be done in it.
            item.field("container_id", "");
            let logs: Vec<_> = [output, errors].into_iter().filter(|text| done && !text.is_empty()).collect();
            if logs.is_empty() {
                return item.raw("outputs", "null");
            }
            let mut outputs = item.array("outputs");
            for text in logs {
                outputs.object().with("type", "logs").with("logs", text);
            }
        }
    }
}
