//! `InvokeModel` with Claude's body: Anthropic's Messages, with model and framing in the path, and with version and beta
//! features in the body instead of in headers.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::{
    conversation::TokenUsage,
    dialect::{ApiRequest, DialectId, Endpoint, Progress, StreamMode, wrapped::InnerRequest},
    stream::{Member, Splice, TopLevel, aws, json::ObjectWriter},
};

/// The name of the frames, each with one event in the model's own format.
pub(super) const CHUNK: &[u8] = b"chunk";
/// Headers of `InvokeModel` for what Converse has in its body, and Converse's names.
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("x-amzn-bedrock-guardrailidentifier", "guardrailConfig"),
    ("x-amzn-bedrock-performanceconfig-latency", "performanceConfig"),
    ("x-amzn-bedrock-request-metadata", "requestMetadata"),
    ("x-amzn-bedrock-service-tier", "serviceTier"),
];
/// The field that Bedrock requires in Claude's body, and that no other format has.
const VERSION: &str = "anthropic_version";
/// Anthropic's header for the version.
const VERSION_HEADER: HeaderName = HeaderName::from_static("anthropic-version");
/// The field with the beta features.
const BETAS: &str = "anthropic_beta";
/// Anthropic's header for them: names, separated by commas.
const BETA_HEADER: HeaderName = HeaderName::from_static("anthropic-beta");
/// The field with the counts, in the last event of any model.
const METRICS: &str = "amazon-bedrock-invocationMetrics";
/// The last event of a stream of Messages.
const STOP: &str = "message_stop";

/// Whether a body is one of Anthropic's Messages.
pub(super) fn is_messages(body: &TopLevel<'_>) -> bool {
    body.contains(VERSION) && body.contains("messages")
}

/// The request of Messages in a request to invoke Claude.
pub(super) fn unwrap(request: &ApiRequest, body: &TopLevel<'_>) -> Option<InnerRequest> {
    let Endpoint::Bedrock(verb, model) = &request.endpoint else { return None };
    if !verb.is_messages() {
        return None;
    }
    let streams = verb.streams();
    let mut splice = Splice::new(body);
    splice.remove(VERSION);
    splice.remove(BETAS);
    if streams {
        splice.set("stream", "true".as_bytes());
    } else {
        splice.remove("stream");
    }
    if let Some(model) = model {
        splice.set_str("model", model);
    }
    let api = ApiRequest {
        endpoint: Endpoint::Messages,
        dialect: DialectId::Messages,
        model: model.clone(),
        stream: if streams { StreamMode::Sse } else { StreamMode::No },
    };
    let headers = betas(body).map(|betas| (BETA_HEADER, betas)).into_iter().chain(version(body)).collect();
    Some(InnerRequest { api, body: splice.apply(&Bytes::new()), headers })
}

/// The header for the version of Messages in `body`, unless it is one of Bedrock alone.
fn version(body: &TopLevel<'_>) -> Option<(HeaderName, HeaderValue)> {
    let version = body.get(VERSION).and_then(Member::as_str).filter(|version| !version.starts_with("bedrock"))?;
    HeaderValue::try_from(&*version).ok().map(|version| (VERSION_HEADER, version))
}

/// The value of the header for the beta features of `body`.
fn betas(body: &TopLevel<'_>) -> Option<HeaderValue> {
    let names: Vec<String> = serde_json::from_slice(body.get(BETAS)?.value).ok()?;
    HeaderValue::try_from(names.join(",")).ok().filter(|value| !value.is_empty())
}

/// Appends the frame for an event of the model; `last` has the counts, if it is the last one.
pub(super) fn wrap_event(event: &[u8], last: Option<&TokenUsage>, out: &mut Vec<u8>) {
    let counted = last.and_then(|usage| with_metrics(event, usage));
    let event = counted.as_deref().unwrap_or(event);
    aws::write_event(out, "chunk", |out| {
        ObjectWriter::begin(out).with("bytes", &BASE64_STANDARD.encode(event)).end();
    });
}

fn with_metrics(event: &[u8], usage: &TokenUsage) -> Option<Bytes> {
    if usage.is_empty() {
        return None;
    }
    let event = Bytes::copy_from_slice(event);
    let top = TopLevel::scan(&event).ok()?;
    let mut metrics = Vec::new();
    ObjectWriter::begin(&mut metrics)
        .with("inputTokenCount", &usage.fresh_input())
        .with("outputTokenCount", &usage.output.unwrap_or(0))
        .with_maybe("cacheReadInputTokenCount", usage.cached.as_ref())
        .with_maybe("cacheWriteInputTokenCount", usage.cache_write.as_ref())
        .end();
    let mut splice = Splice::new(&top);
    splice.set(METRICS, metrics);
    Some(splice.apply(&event))
}

/// Reads the counts and the end from the payload of a frame.
pub(super) fn read_progress(data: &[u8]) -> Progress {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(clippy::struct_field_names, reason = "as the wire has them")]
    struct Metrics {
        input_token_count: Option<u64>,
        output_token_count: Option<u64>,
        cache_read_input_token_count: Option<u64>,
        cache_write_input_token_count: Option<u64>,
    }
    let event = TopLevel::scan(data).ok().and_then(|top| {
        let bytes = top.get("bytes").and_then(Member::as_str)?;
        BASE64_STANDARD.decode(bytes.as_bytes()).ok()
    });
    let Some(event) = event else { return Progress::default() };
    let has = |name: &str| memchr::memmem::find(&event, name.as_bytes()).is_some();
    // Most events are neither, and need not be read.
    if !has(METRICS) && !has(STOP) {
        return Progress::default();
    }
    let Ok(top) = TopLevel::scan(&event) else { return Progress::default() };
    let metrics = top.get(METRICS).and_then(|member| serde_json::from_slice::<Metrics>(member.value).ok());
    let usage = metrics.map(|metrics| {
        let (read, written) = (metrics.cache_read_input_token_count, metrics.cache_write_input_token_count);
        let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        TokenUsage {
            input: metrics.input_token_count.map(|n| n.saturating_add(cached)),
            cached: read,
            cache_write: written,
            output: metrics.output_token_count,
            reasoning: None,
        }
    });
    let ends = top.get("type").and_then(Member::as_str).is_some_and(|kind| kind == STOP);
    Progress { ends, usage, ..Progress::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialect::{BedrockVerb, wrapped::WrappedStream},
        stream::{AwsDecoder, InvokeFilter, sse::MAX_EVENT_BYTES},
    };

    fn request(verb: BedrockVerb, body: &str) -> Option<InnerRequest> {
        let endpoint = Endpoint::Bedrock(verb, Some("us.anthropic.claude".into()));
        let api = ApiRequest { endpoint, dialect: DialectId::Converse, model: None, stream: StreamMode::EventStream };
        let body = Bytes::copy_from_slice(body.as_bytes());
        unwrap(&api, &TopLevel::scan(&body).unwrap())
    }

    #[test]
    fn a_request_moves_from_path_and_body_to_body_and_headers() {
        let body = r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a-1","b-2"],"max_tokens":5,"stream":false,"messages":[],"future":{"x":1}}"#;
        let inner = request(BedrockVerb::InvokeClaudeStream, body).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&inner.body).unwrap();
        let expected = serde_json::json!({
            "model": "us.anthropic.claude", "stream": true, "max_tokens": 5, "messages": [], "future": {"x": 1},
        });
        assert_eq!(read, expected);
        assert_eq!(inner.api.stream, StreamMode::Sse);
        assert_eq!(inner.headers, [(BETA_HEADER, HeaderValue::from_static("a-1,b-2"))]);
        let newest = r#"{"anthropic_version":"2026-10-21","messages":[]}"#;
        let inner = request(BedrockVerb::InvokeClaude, newest).unwrap();
        let version = (VERSION_HEADER, HeaderValue::from_static("2026-10-21"));
        assert_eq!((inner.api.stream, inner.headers), (StreamMode::No, vec![version]));
        assert!(request(BedrockVerb::Invoke, body).is_none(), "another model's format has no inner request");
    }

    const STREAM: &str = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":",
        "{\"input_tokens\":3,\"cache_read_input_tokens\":4,\"output_tokens\":1}}}\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"message_stop\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":9}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );

    /// What is in the frames of `stream`: names, and payloads as events.
    fn frames(stream: &[u8]) -> Vec<(String, String)> {
        let mut decoder = AwsDecoder::default();
        let mut found = Vec::new();
        decoder
            .push(stream, &mut |frame| {
                let name = String::from_utf8(frame.name.to_vec()).unwrap();
                let payload: serde_json::Value = serde_json::from_slice(frame.payload).unwrap();
                let event = match payload.get("bytes") {
                    Some(bytes) => BASE64_STANDARD.decode(bytes.as_str().unwrap()).unwrap(),
                    None => frame.payload.to_vec(),
                };
                found.push((name, String::from_utf8(event).unwrap()));
            })
            .unwrap();
        assert!(decoder.at_boundary());
        found
    }

    #[test]
    fn a_stream_is_wrapped_event_by_event_wherever_it_is_cut() {
        let wrapped = |size: usize| {
            let mut stream = WrappedStream::new(DialectId::Messages, DialectId::Converse);
            let mut out: Vec<u8> = STREAM.as_bytes().chunks(size).flat_map(|piece| stream.push(piece)).collect();
            out.extend(stream.finish());
            out
        };
        let whole = wrapped(STREAM.len());
        let seen = frames(&whole);
        let kinds: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(kinds, ["chunk"; 5]);
        let last: serde_json::Value = serde_json::from_str(&seen.last().unwrap().1).unwrap();
        let metrics = serde_json::json!({"inputTokenCount": 3, "outputTokenCount": 9, "cacheReadInputTokenCount": 4});
        assert_eq!(last, serde_json::json!({"type": "message_stop", METRICS: metrics}));
        for size in [1, 7, 64] {
            assert_eq!(wrapped(size), whole, "cut into pieces of {size}");
        }
        // What a client of Anthropic's SDK for Bedrock reads is the provider's own stream.
        let mut opened = Vec::new();
        InvokeFilter::default().push(&whole, &mut opened);
        let data = |text: &str| text.lines().filter(|l| l.starts_with("data:")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(data(&String::from_utf8(opened).unwrap()), data(STREAM));
    }

    #[test]
    fn an_error_in_the_stream_is_an_exception_and_its_end() {
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
        let mut stream = WrappedStream::new(DialectId::Messages, DialectId::Converse);
        let out = stream.push(format!("{error}{STREAM}").as_bytes());
        assert_eq!(frames(&out), [("serviceUnavailableException".to_owned(), r#"{"message":"busy"}"#.to_owned())]);
    }

    #[test]
    fn a_stream_that_loses_an_event_or_its_end_fails_once() {
        let large =
            format!("data: {{\"type\":\"content_block_delta\",\"delta\":\"{}\"}}\n\n", "a".repeat(MAX_EVENT_BYTES));
        let (begun, end) = STREAM.split_at(STREAM.find("event: message_delta").unwrap());
        let (pieces, cut) = large.split_at(large.len() - 3);
        for (stream, is_cut) in [
            (vec![format!("{begun}{large}{end}")], false),
            (vec![begun.to_owned(), format!("{begun}{pieces}"), format!("{cut}{end}")], false),
            (vec![begun.to_owned()], true),
            (vec![format!("{begun}event: message_stop\ndata: {{}}\n\n")], true),
        ] {
            let mut wrapped = WrappedStream::new(DialectId::Messages, DialectId::Converse);
            let mut out: Vec<u8> = stream.iter().flat_map(|piece| wrapped.push(piece.as_bytes())).collect();
            out.extend(wrapped.finish());
            let seen = frames(&out);
            let exceptions = seen.iter().filter(|(name, _)| name == "modelStreamErrorException").count();
            assert_eq!((exceptions, seen.last().unwrap().0.as_str()), (1, "modelStreamErrorException"));
            let why = wrapped.take_failure().unwrap();
            assert_eq!(why.contains("without an end"), is_cut, "{why}");
            assert_eq!(wrapped.take_failure(), None);
        }
    }

    #[test]
    fn counts_and_end_are_read_from_frames() {
        let frame = |event: &str| format!(r#"{{"bytes":"{}","p":"abc"}}"#, BASE64_STANDARD.encode(event));
        let text = r#"{"type":"content_block_delta","delta":{"text":"message_stop"}}"#;
        assert_eq!(read_progress(frame(text).as_bytes()), Progress::default());
        let stop = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":9,"cacheReadInputTokenCount":4}}"#;
        let read = read_progress(frame(stop).as_bytes());
        assert!(read.ends);
        assert_eq!(read.usage.map(|usage| (usage.input, usage.output)), Some((Some(7), Some(9))));
        let llama =
            r#"{"generation":"","amazon-bedrock-invocationMetrics":{"inputTokenCount":1,"outputTokenCount":2}}"#;
        let read = read_progress(frame(llama).as_bytes());
        assert_eq!((read.ends, read.usage.and_then(|usage| usage.output)), (false, Some(2)));
        assert_eq!(read_progress(b"not json"), Progress::default());
    }
}
