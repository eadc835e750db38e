//! What Google's own tools did: parts with code and its result, and what a candidate's metadata have of searches and
//! pages.
//! <https://ai.google.dev/api/generate-content#Candidate>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{reply::Candidate, wire::Part};
use crate::{
    conversation::{HostedAction, HostedCall, Page, Text},
    stream::json::{ArrayWriter, ObjectWriter},
};

/// The status of a page that was read.
const READ: &str = "URL_RETRIEVAL_STATUS_SUCCESS";

#[derive(Deserialize)]
struct ExecutableCode<'a> {
    #[serde(borrow)]
    code: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct CodeExecutionResult<'a> {
    outcome: Option<Text<'a>>,
    output: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Grounding<'a> {
    web_search_queries: Option<Vec<Text<'a>>>,
    grounding_chunks: Option<Vec<Chunk<'a>>>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    web: Option<Web<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Web<'a> {
    uri: Option<Text<'a>>,
    title: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct UrlContext<'a> {
    url_metadata: Option<Vec<UrlMetadata<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct UrlMetadata<'a> {
    retrieved_url: Option<Text<'a>>,
    url_retrieval_status: Option<Text<'a>>,
}

fn parse<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A step of code that Google runs, in one part.
pub(super) enum Step<'a> {
    /// It is run: a call without its result.
    Code(HostedCall<'a>),
    /// The result of the code before.
    Result(CodeResult<'a>),
}

/// The result of code.
pub(super) struct CodeResult<'a> {
    output: Text<'a>,
    failed: bool,
}

impl<'a> Part<'a> {
    /// The step of code in the part, if it has one.
    pub(super) fn step(&self) -> Option<Step<'a>> {
        let empty = || Text::from("");
        if let Some(ExecutableCode { code }) = parse(self.executable_code) {
            let (code, output, errors) = (code.unwrap_or_else(empty), empty(), empty());
            return Some(Step::Code(HostedCall::begun(HostedAction::Code { code, output, errors, exit: 0 })));
        }
        let CodeExecutionResult { outcome, output } = parse(self.code_execution_result)?;
        let failed = outcome.is_some_and(|outcome| !outcome.is("OUTCOME_OK"));
        Some(Step::Result(CodeResult { output: output.unwrap_or_else(empty), failed }))
    }
}

impl<'a> CodeResult<'a> {
    /// Adds the result to its call.
    pub(super) fn complete(self, call: &mut HostedCall<'a>) {
        if let HostedAction::Code { output, errors, exit, .. } = &mut call.action {
            if self.failed {
                (*errors, *exit) = (self.output, 1);
            } else {
                *output = self.output;
            }
            call.error = None;
        }
    }
}

impl<'a> Candidate<'a> {
    /// The searches that its metadata name, and the pages that were read.
    pub(super) fn hosted(&self) -> Vec<HostedCall<'a>> {
        let mut calls = Vec::new();
        if let Some(Grounding { web_search_queries: Some(queries), grounding_chunks }) = parse(self.grounding_metadata)
            && !queries.is_empty()
        {
            let page = |chunk: Chunk<'a>| {
                let Web { uri, title } = chunk.web?;
                Some(Page { title, ..Page::at(uri?) })
            };
            let pages = grounding_chunks.into_iter().flatten().filter_map(page).collect();
            calls.push(HostedCall::done(HostedAction::Search { queries, pages }));
        }
        let context: Option<UrlContext<'a>> = parse(self.url_context_metadata);
        for found in context.and_then(|context| context.url_metadata).into_iter().flatten() {
            let Some(url) = found.retrieved_url else { continue };
            let action = HostedAction::Fetch(Page::at(url));
            let read = found.url_retrieval_status.is_none_or(|status| status.is(READ));
            calls.push(if read { HostedCall::done(action) } else { HostedCall::begun(action) });
        }
        calls
    }
}

/// Most queries, and most pages, of one answer.
const MAX_FOUND: usize = 256;

/// Adds a search or a page of one chunk to those of the chunks before, which may repeat it.
pub(super) fn merge(new: HostedCall<'_>, into: &mut Vec<HostedCall<'static>>) {
    let same = |a: &Text<'_>, b: &Text<'_>| a.decode() == b.decode();
    match new.into_owned() {
        HostedCall { action: HostedAction::Search { queries, pages }, error } => {
            let known = into.iter_mut().find_map(|call| match &mut call.action {
                HostedAction::Search { queries, pages } => Some((queries, pages)),
                _ => None,
            });
            let Some((all_queries, all_pages)) = known else {
                return into.push(HostedCall { action: HostedAction::Search { queries, pages }, error });
            };
            for query in queries {
                if all_queries.len() < MAX_FOUND && !all_queries.iter().any(|known| same(known, &query)) {
                    all_queries.push(query);
                }
            }
            for page in pages {
                if all_pages.len() < MAX_FOUND && !all_pages.iter().any(|known| same(&known.url, &page.url)) {
                    all_pages.push(page);
                }
            }
        }
        call => {
            let url = |call: &HostedCall<'_>| match &call.action {
                HostedAction::Fetch(page) => Some(page.url.decode().into_owned()),
                _ => None,
            };
            if into.len() < MAX_FOUND && !into.iter().any(|known| url(known) == url(&call)) {
                into.push(call);
            }
        }
    }
}

/// Writes the parts of code that was run; other calls are in the candidate's metadata.
pub(super) fn write_parts(call: &HostedCall<'_>, parts: &mut ArrayWriter<'_>) {
    let HostedAction::Code { code, output, errors, exit } = &call.action else { return };
    parts.object().object("executableCode").with("language", "PYTHON").with("code", code);
    let failed = *exit != 0 || call.error.is_some();
    let printed: Vec<_> = [output, errors].into_iter().filter(|text| !text.is_empty()).map(Text::decode).collect();
    let mut part = parts.object();
    let outcome = if failed { "OUTCOME_FAILED" } else { "OUTCOME_OK" };
    part.object("codeExecutionResult").with("outcome", outcome).with("output", &printed.join("\n"));
}

/// What was searched for in these calls, and what was found.
pub(super) fn searches<'c, 'a>(calls: &[&'c HostedCall<'a>]) -> (Vec<&'c Text<'a>>, Vec<&'c Page<'a>>) {
    let (mut all_queries, mut all_pages) = (Vec::new(), Vec::new());
    for call in calls {
        if let HostedAction::Search { queries, pages } = &call.action {
            all_queries.extend(queries);
            all_pages.extend(pages);
        }
    }
    (all_queries, all_pages)
}

/// Writes the pages that were read in these calls.
pub(super) fn write_fetched(calls: &[&HostedCall<'_>], candidate: &mut ObjectWriter<'_>) {
    let fetched = |call: &&HostedCall<'_>| matches!(call.action, HostedAction::Fetch(_));
    if !calls.iter().any(fetched) {
        return;
    }
    let mut context = candidate.object("urlContextMetadata");
    let mut list = context.array("urlMetadata");
    for call in calls {
        if let HostedAction::Fetch(page) = &call.action {
            let status = if call.error.is_some() { "URL_RETRIEVAL_STATUS_ERROR" } else { READ };
            list.object().with("retrievedUrl", &page.url).with("urlRetrievalStatus", status);
        }
    }
}
