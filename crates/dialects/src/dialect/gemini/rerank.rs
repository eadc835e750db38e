//! Reranking with Google's models: `rank` of Discovery Engine, which is beside Vertex AI.

use serde::Deserialize;

use crate::{
    conversation::{Invalid, Text, Unsupported},
    dialect::operation::{Document, Ranking, RerankReply, RerankRequest, Score},
    stream::{
        TopLevel,
        json::{ObjectWriter, write_value},
    },
};

/// Most records of a request.
pub(super) const MAX_RECORDS: usize = 200;

/// The client's field for the documents.
const RECORDS: &str = "records";

/// The fields of a request that are read, and its model.
const READ: [&str; 7] =
    ["model", "query", RECORDS, "topN", "top_n", "ignoreRecordDetailsInResponse", "ignore_record_details_in_response"];

/// Fields are matched as Google's servers do, in both spellings.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Wire<'a> {
    query: Option<Text<'a>>,
    #[serde(default)]
    records: Vec<Record<'a>>,
    #[serde(alias = "top_n")]
    top_n: Option<i64>,
    #[serde(alias = "ignore_record_details_in_response")]
    ignore_record_details_in_response: Option<bool>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
struct Record<'a> {
    id: Option<Text<'a>>,
    title: Option<Text<'a>>,
    content: Option<Text<'a>>,
}

/// Reads a client's request.
pub(super) fn read<'a>(body: &TopLevel<'a>) -> Result<RerankRequest<'a>, Invalid> {
    let wire: Wire<'a> = serde_json::from_slice(body.body()).map_err(|error| Invalid::new("", error.to_string()))?;
    let ids_only = wire.ignore_record_details_in_response == Some(true);
    let documents = wire.records.into_iter().map(|Record { id, title, content }| {
        let json = |text: &Text<'_>| {
            let mut out = Vec::new();
            write_value(&mut out, text);
            String::from_utf8(out).unwrap_or_default()
        };
        let details = [("title", title.as_ref()), ("content", content.as_ref())].into_iter().filter(|_| !ids_only);
        let fields = std::iter::once(("id", id.as_ref())).chain(details);
        let returned = fields.filter_map(|(name, text)| Some((name, json(text?)))).collect();
        Document { text: content.unwrap_or_else(|| Text::from("")), title, returned }
    });
    let mut dropped = Unsupported::default();
    for member in body.members().iter().filter(|member| !READ.contains(&&*member.name())) {
        dropped.add(member.name().into_owned());
    }
    Ok(RerankRequest {
        query: (wire.query.unwrap_or_else(|| Text::from("")), "query"),
        documents: documents.collect(),
        documents_field: RECORDS,
        // Anything that is not above zero is all.
        top_n: wire.top_n.filter(|top| *top > 0).and_then(|top| usize::try_from(top).ok()),
        max_tokens: None,
        dropped,
    })
}

/// Writes a request for `documents`. Their ids are their places.
pub(super) fn write(
    request: &RerankRequest<'_>,
    documents: &[Document<'_>],
    model: &str,
    dropped: &mut Unsupported,
) -> Vec<u8> {
    dropped.add_if(request.max_tokens.is_some(), "max_tokens_per_doc");
    let mut body = Vec::new();
    let mut top = ObjectWriter::begin(&mut body).with("model", model).with("query", &request.query.0);
    let mut records = top.array(RECORDS);
    for (number, document) in documents.iter().enumerate() {
        records
            .object()
            .with("id", &number.to_string())
            .with_maybe("title", document.title.as_ref())
            .with("content", &document.text)
            .end();
    }
    records.end();
    top.maybe("topN", request.top_of(documents.len()).as_ref());
    top.field("ignoreRecordDetailsInResponse", &true);
    top.end();
    body
}

/// Reads a provider's reply.
pub(super) fn read_reply(body: &[u8]) -> Option<RerankReply> {
    #[derive(Deserialize)]
    struct Reply<'a> {
        #[serde(borrow)]
        records: Vec<Scored<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "'de: 'a"))]
    struct Scored<'a> {
        id: Text<'a>,
        // Google leaves out zeros.
        #[serde(default)]
        score: f64,
    }
    let reply: Reply<'_> = serde_json::from_slice(body).ok()?;
    let score = |Scored { id, score }: Scored<'_>| Some(Score { index: id.decode().parse().ok()?, score });
    let scores = reply.records.into_iter().map(score).collect::<Option<_>>()?;
    Some(RerankReply { scores, ..RerankReply::default() })
}

/// Writes the reply to a client.
pub(super) fn write_reply(ranking: &Ranking, out: &mut ObjectWriter<'_>) {
    let mut records = out.array(RECORDS);
    for ranked in &ranking.results {
        let mut record = records.object();
        for (name, value) in &ranked.returned {
            record.raw(name, value);
        }
        record.field("score", &ranked.score);
    }
}
