//! Rankings of Discovery Engine, which is at a host of its own beside Vertex AI.

use axum::body::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::{check_token, failure};
use crate::rank::ranked;
use crate::received::Received;
use crate::wire::{Node, Reply, ordered};
use crate::{ApiRequest, Provider};

/// The host of rankings. Hosts that are not Google's are tests.
const HOST: &str = "discoveryengine.googleapis.com";

/// Most records of a request.
const MOST: usize = 200;

/// The fields of a request, beside the name of the configuration in the path.
const FIELDS: [&str; 6] = ["model", "topN", "query", "records", "ignoreRecordDetailsInResponse", "userLabels"];

/// The fields of a record that a request has.
const RECORD: [&str; 3] = ["id", "title", "content"];

struct Ranking;

/// Finds `projects/P/locations/L/rankingConfigs/ID:rank`.
pub(crate) fn find(received: &Received) -> Option<Box<dyn Provider>> {
    let (before, config) = received.path.rsplit_once("/rankingConfigs/")?;
    let named = before.contains("/projects/") && before.contains("/locations/") && config.ends_with(":rank");
    let at_host = received.host == HOST || !received.host.ends_with("googleapis.com");
    (named && at_host && received.method == Method::POST).then(|| Box::new(Ranking) as Box<dyn Provider>)
}

impl Provider for Ranking {
    fn authenticate(&self, received: &Received) -> Result<(), Reply> {
        check_token(received)
    }

    fn model<'a>(&'a self, body: &'a Value) -> Option<&'a str> {
        body.get("model")?.as_str()
    }

    fn refuse(&self, status: StatusCode, message: &str, retry_after: Option<u64>) -> Reply {
        failure(status, message, retry_after)
    }

    fn answer(&self, request: &ApiRequest) -> Result<Reply, Reply> {
        rank(&request.body).map_err(|message| failure(StatusCode::BAD_REQUEST, &message, None))
    }

    fn error_event(&self, _first: bool) -> Bytes {
        Bytes::new()
    }
}

fn rank(body: &Value) -> Result<Reply, String> {
    only(body, &FIELDS)?;
    let model = body.get("model").and_then(Value::as_str).unwrap_or("semantic-ranker-512@latest");
    if !model.starts_with("semantic-ranker-") {
        return Err(format!("The model `{model}` is not supported."));
    }
    let records = body.get("records").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if records.is_empty() || records.len() > MOST {
        return Err(format!("The number of records must be from 1 to {MOST}, but is {}.", records.len()));
    }
    let field = |record: &Value, name: &str| match record.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("Invalid value at 'records.{name}' (TYPE_STRING), {other}")),
    };
    let mut texts = Vec::with_capacity(records.len());
    for record in records {
        only(record, &RECORD)?;
        field(record, "id")?;
        let (title, content) = (field(record, "title")?.unwrap_or_default(), field(record, "content")?);
        let text = format!("{title} {}", content.unwrap_or_default());
        if text.trim().is_empty() {
            return Err("One of title and content must be set for each record.".to_owned());
        }
        texts.push(text);
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let top = match body.get("topN") {
        None => None,
        Some(top) => Some(top.as_i64().ok_or("Invalid value at 'top_n' (TYPE_INT32)")?),
    };
    let top = top.and_then(|top| u64::try_from(top).ok()).filter(|top| *top > 0);
    let bare = body.get("ignoreRecordDetailsInResponse").and_then(Value::as_bool) == Some(true);
    let query = body.get("query").and_then(Value::as_str).unwrap_or_default();
    let scored = ranked(query, &texts, top).into_iter().filter_map(|(index, score)| {
        let record = records.get(index)?;
        let text = |name: &str| record.get(name).and_then(Value::as_str);
        let mut out = ordered!({"id": (text("id").unwrap_or_default())});
        for name in ["title", "content"] {
            if let Some(text) = text(name).filter(|_| !bare) {
                out = out.and(name, text);
            }
        }
        // Fields that are zero are left out.
        Some(if score > 0.0 { out.and("score", Node::Float(score)) } else { out })
    });
    let scored: Vec<Node> = scored.collect();
    Ok(Reply::pretty(StatusCode::OK, &ordered!({"records": scored})))
}

fn only(object: &Value, known: &[&str]) -> Result<(), String> {
    let mut names = object.as_object().into_iter().flat_map(|fields| fields.keys());
    names.find(|name| !known.contains(&name.as_str())).map_or(Ok(()), |name| {
        Err(format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."))
    })
}
