//! The sources of an answer's text: `citationMetadata` and `groundingMetadata`.

use serde::Deserialize;

use super::{hosted, wire::Int};
use crate::{
    conversation::{Citation, HostedCall, Page, Text},
    stream::json::ObjectWriter,
};

/// The sources of an answer.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct CitationMetadata<'a> {
    /// AI Studio calls them `citationSources`.
    #[serde(borrow, alias = "citationSources")]
    citations: Option<Vec<Span<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Span<'a> {
    start_index: Option<Int>,
    end_index: Option<Int>,
    uri: Option<Text<'a>>,
    title: Option<Text<'a>>,
}

/// The search results for an answer.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroundingMetadata<'a> {
    #[serde(borrow)]
    grounding_chunks: Option<Vec<Chunk<'a>>>,
    grounding_supports: Option<Vec<Support>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Chunk<'a> {
    web: Option<Found<'a>>,
    retrieved_context: Option<Found<'a>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Found<'a> {
    uri: Option<Text<'a>>,
    title: Option<Text<'a>>,
    text: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Support {
    segment: Option<Segment>,
    grounding_chunk_indices: Option<Vec<Int>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Segment {
    start_index: Option<Int>,
    end_index: Option<Int>,
}

/// Passes every source to `sink`. Google counts bytes: `place` returns the character that begins at a byte, if that is
/// known.
pub(super) fn read<'a>(
    cited: Option<CitationMetadata<'a>>,
    grounded: Option<GroundingMetadata<'a>>,
    place: &dyn Fn(u64) -> Option<u64>,
    sink: &mut dyn FnMut(Citation<'a>),
) {
    // An absent start is zero.
    let range = |start: Option<Int>, end: Option<Int>| match end.and_then(Int::count).and_then(place) {
        Some(end) => (place(start.and_then(Int::count).unwrap_or(0)), Some(end)),
        None => (None, None),
    };
    for span in cited.and_then(|cited| cited.citations).into_iter().flatten() {
        let (start, end) = range(span.start_index, span.end_index);
        sink(Citation { url: span.uri, title: span.title, quote: None, start, end });
    }
    let grounded = grounded.unwrap_or_default();
    let chunks: Vec<Citation<'a>> = grounded.grounding_chunks.into_iter().flatten().map(Chunk::citation).collect();
    let supports = grounded.grounding_supports.unwrap_or_default();
    let mut supported = false;
    for support in &supports {
        let segment = support.segment.as_ref();
        let (start, end) = range(segment.and_then(|s| s.start_index), segment.and_then(|s| s.end_index));
        for index in support.grounding_chunk_indices.iter().flatten() {
            let chunk = index.count().and_then(|index| chunks.get(usize::try_from(index).ok()?));
            if let Some(chunk) = chunk {
                supported = true;
                sink(Citation { start, end, ..chunk.clone() });
            }
        }
    }
    if !supported {
        chunks.into_iter().for_each(sink);
    }
}

impl<'a> Chunk<'a> {
    fn citation(self) -> Citation<'a> {
        match self.web.or(self.retrieved_context) {
            Some(found) => Citation { url: found.uri, title: found.title, quote: found.text, start: None, end: None },
            None => Citation::default(),
        }
    }
}

/// A source, and the bytes of the answer's text that cite it, if they are known.
pub(super) struct Cited<'c, 'a> {
    pub(super) citation: &'c Citation<'a>,
    pub(super) bytes: Option<(u64, u64)>,
}

/// Writes sources, and the searches of Google's counterparts, as `groundingMetadata`.
pub(super) fn write(cited: &[Cited<'_, '_>], hosted: &[&HostedCall<'_>], candidate: &mut ObjectWriter<'_>) {
    let (queries, pages) = hosted::searches(hosted);
    if cited.is_empty() && queries.is_empty() && pages.is_empty() {
        return;
    }
    let mut grounding = candidate.object("groundingMetadata");
    if !queries.is_empty() {
        grounding.field("webSearchQueries", &queries);
    }
    let mut chunks = grounding.array("groundingChunks");
    for Cited { citation, .. } in cited {
        let mut chunk = chunks.object();
        let mut found = chunk.object(if citation.url.is_some() { "web" } else { "retrievedContext" });
        found.maybe("uri", citation.url.as_ref());
        found.maybe("title", citation.title.as_ref());
        if citation.url.is_none() {
            found.maybe("text", citation.quote.as_ref());
        }
    }
    // The supports count the sources from the first.
    let is_cited = |page: &Page<'_>| {
        cited.iter().any(|cited| cited.citation.url.as_ref().is_some_and(|url| url.decode() == page.url.decode()))
    };
    for page in pages.into_iter().filter(|page| !is_cited(page)) {
        let mut chunk = chunks.object();
        chunk.object("web").with("uri", &page.url).with_maybe("title", page.title.as_ref());
    }
    chunks.end();
    let mut supports = grounding.array("groundingSupports");
    for (index, Cited { bytes, .. }) in cited.iter().enumerate() {
        if let Some((start, end)) = bytes {
            let mut support = supports.object();
            support.object("segment").with("startIndex", start).with("endIndex", end);
            support.field("groundingChunkIndices", &[index]);
        }
    }
}
