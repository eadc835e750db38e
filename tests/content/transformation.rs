//! `transformation`: headers of requests and replies.

use serde_json::json;

use super::{CHAT, start};
use crate::common::Upstream;

#[test]
fn headers_are_set_added_and_removed_in_both_directions() {
    let upstream = Upstream::fixed(200, &[("content-type", "application/json"), ("x-up", "1"), ("x-gone", "1")], b"{}");
    let pair = |name: &str, value: &str| json!({"name": name, "value": value});
    let spec = json!({"transformation": {
        "request": {"set": [pair("x-set", "ours")], "add": [pair("x-add", "ours")], "remove": ["x-gone"]},
        "response": {"set": [pair("x-up", "2"), pair("x-own", "4"), pair("x-template", "{{ header('x-up') }}")],
            "add": [pair("x-up", "3")], "remove": ["x-gone"]},
    }});
    let gateway = start("openai", &upstream, &json!({}), &spec);
    let headers = [("x-set", "client"), ("x-gone", "client")];
    let reply = gateway.post_with(CHAT, &headers, r#"{"model":"m","messages":[]}"#);
    let sent = upstream.only();
    assert_eq!(sent.header("x-set").as_deref(), Some("ours"));
    assert_eq!((sent.header("x-add").as_deref(), sent.header("x-gone")), (Some("ours"), None));
    let values: Vec<&str> = reply.headers.iter().filter(|(name, _)| name == "x-up").map(|(_, v)| v.as_str()).collect();
    assert_eq!(values, ["2", "3"]);
    assert_eq!((reply.header("x-gone"), reply.header("x-template")), (None, None));
    // Also what the gateway replies itself.
    let refused = gateway.post(CHAT, "{");
    assert_eq!((refused.status, refused.header("x-own")), (400, Some("4")));
}
