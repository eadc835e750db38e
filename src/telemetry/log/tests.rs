//! Events through the whole log.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use prometheus::IntCounter;
use serde_json::{Value, json};
use tracing::{error, info, subscriber::with_default};

use super::*;
use crate::telemetry::AccessLog;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: LogFormat, filter: &str, events: impl FnOnce()) -> String {
    let output = Output::default();
    let (sink, guard) = Sink::start(output.clone(), IntCounter::new("d", "d").unwrap()).unwrap();
    with_default(subscriber(format, EnvFilter::new(filter), sink), events);
    drop(guard);
    let bytes = output.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// The one line of `events`, without its time, which must be there.
fn line(events: impl FnOnce()) -> Value {
    let text = logged(LogFormat::Json, "trace", events);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let ts = value.as_object_mut().unwrap().remove("ts").unwrap();
    assert!(ts.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{ts}");
    value
}

#[derive(Debug, thiserror::Error)]
#[error("outer \"x\"")]
struct Outer(#[source] io::Error);

#[test]
fn fields_are_flat_and_typed() {
    let outer = Outer(io::Error::other("inner"));
    let got = line(|| {
        info!(
            target: "t\"",
            a = 1_u64, b = -2_i64, c = true, d = 1.5, e = f64::NAN, f = "x\n\"", g = ?Some(1), h = %"y", i = u128::MAX,
            none = Option::<u64>::None, some = Some(3), empty = tracing::field::Empty, r#type = "k", level = "mine",
            dotted.name = 1, error = &outer as &dyn std::error::Error, "hello {}", "w\\"
        );
    });
    let expect = json!({
        "level": "INFO", "target": "t\"", "msg": "hello w\\", "a": 1, "b": -2, "c": true, "d": 1.5, "e": null,
        "f": "x\n\"", "g": "Some(1)", "h": "y", "some": 3, "type": "k", "level_": "mine", "dotted.name": 1,
        "error": "outer \"x\": inner", "i": serde_json::from_str::<Value>(&u128::MAX.to_string()).unwrap(),
    });
    assert_eq!(got, expect);
}

#[test]
fn filters_and_text_work() {
    let text = logged(LogFormat::Json, "warn", || {
        info!("no");
        error!("yes");
    });
    assert!(text.contains("yes") && !text.contains("no\""), "{text}");
    let text = logged(LogFormat::Text, "info", || info!(a = 1, "hello"));
    assert!(text.contains("hello a=1") && !text.contains('\u{1b}'), "{text}");
    assert!(matches!(init(LogFormat::Json, "a=b=c", &Metrics::new().unwrap()), Err(LogError::Filter(_))));
}

#[test]
fn access_lines_leave_out_what_is_not_known() {
    let log = AccessLog { method: "POST", path: "/v1?key=secret", status: 404, generation: 7, ..AccessLog::default() };
    let expect = json!({
        "level": "INFO", "target": "tollgate::access", "msg": "request", "trace_id": "",
        "request_id": "", "method": "POST",
        "path": "/v1", "status": 404, "duration_us": 0, "stream": false, "request_bytes": 0, "response_bytes": 0,
        "upstream_attempts": 0, "generation": 7,
    });
    assert_eq!(line(|| log.emit()), expect);
}

fn full() -> AccessLog<'static> {
    AccessLog {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        request_id: "0af7651916cd43dd8448eb211c80319c",
        client_request_id: Some("the-clients-own"),
        method: "POST",
        path: "/openai/v1/chat/completions",
        status: 200,
        error: Some("client_gone"),
        upstream_error_type: Some("overloaded_error"),
        upstream_error_code: Some("529"),
        upstream_error_message: Some("Overloaded"),
        duration_us: 123_456,
        queued_us: Some(1_234),
        ttft_us: Some(12_345),
        gateway: Some("default/ai-gateway"),
        route: Some("default/openai"),
        rule: Some("0"),
        backend: Some("default/openai"),
        target: Some("openai_0"),
        upstream_address: Some("https://api.openai.com:443"),
        provider: Some("openai"),
        request_model: Some("gpt-4o"),
        response_model: Some("gpt-4o-2024-08-06"),
        dialect: Some("openai_chat"),
        operation: Some("chat"),
        stream: true,
        prompt_tokens: Some(11),
        completion_tokens: Some(42),
        search_units: Some(2),
        tokens_estimated: true,
        dropped: Some("seed, n"),
        guarded: Some("request SSN mask user 2"),
        request_bytes: 1_024,
        response_bytes: 2_048,
        upstream_attempts: 1,
        client_addr: Some("10.0.0.1:43210"),
        client_id: Some("default/keys/alice"),
        generation: 3,
    }
}

#[test]
fn access_lines_have_every_field() {
    let got = line(|| full().emit());
    let names: Vec<_> = "level target msg trace_id request_id client_request_id method path status error \
        upstream_error_type upstream_error_code upstream_error_message duration_us queued_us ttft_us gateway \
        route rule backend upstream upstream_address provider request_model response_model dialect \
        operation stream prompt_tokens completion_tokens search_units tokens_estimated dropped guarded request_bytes \
        response_bytes upstream_attempts client_addr client_id generation"
        .split_whitespace()
        .collect();
    assert_eq!(got.as_object().unwrap().len(), names.len());
    assert!(names.iter().all(|name| got.get(name).is_some()), "{got}");
    assert_eq!(got["client_addr"], "10.0.0.1:43210");
}
