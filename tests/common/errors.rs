//! The shape of errors that the gateway makes, in each dialect.

use serde_json::json;

use super::Reply;

/// The dialect a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialectId {
    OpenAi,
    Anthropic,
    Gemini,
}

/// Fails unless `reply` is an error of this status in this dialect, whole, with the trace id that the log has.
pub fn assert_error(reply: &Reply, dialect: DialectId, status: u16, what: &str) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    assert!(reply.complete, "{what}");
    assert_eq!(reply.header("content-type"), Some("application/json"), "{what}");
    let id = reply.header("x-request-id");
    assert_eq!(id.map(str::len), Some(32), "{what}");
    if dialect == DialectId::Anthropic {
        // Where Anthropic's own clients look for it.
        assert_eq!((reply.header("request-id"), reply.json()["request_id"].as_str()), (id, id), "{what}");
    }
    assert_shape(&reply.json(), dialect, status, what);
}

/// The same for an error's JSON alone.
pub fn assert_shape(error: &serde_json::Value, dialect: DialectId, status: u16, what: &str) {
    let inner = &error["error"];
    assert!(inner["message"].as_str().is_some_and(|m| m.len() > 5), "{what}: {error}");
    let word = |name: &str| assert!(inner[name].as_str().is_some_and(|w| !w.is_empty()), "{what}: {name}: {error}");
    let keys: Vec<&String> = inner.as_object().unwrap().keys().collect();
    match dialect {
        DialectId::OpenAi => {
            assert_eq!(keys, ["code", "message", "param", "type"], "{what}: {error}");
            ["type", "code"].into_iter().for_each(word);
        }
        DialectId::Anthropic => {
            assert_eq!((&error["type"], keys.len()), (&json!("error"), 2), "{what}: {error}");
            word("type");
        }
        DialectId::Gemini => {
            assert_eq!((&inner["code"], keys.len()), (&json!(status), 3), "{what}: {error}");
            word("status");
        }
    }
}
