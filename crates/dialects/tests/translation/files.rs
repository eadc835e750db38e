//! Files that clients send: their types, and the form in which each target takes them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::order::send;
use crate::exercise::presets::{ANTHROPIC, BEDROCK, DEEPSEEK};

#[test]
fn the_name_of_a_file_of_any_type_shows_its_type() {
    use tollgate_dialects::dialect::DialectId::{Chat, Converse, Gemini, Messages, Responses};
    let text = STANDARD.encode("words");
    let clients = |mime: &str, name: &str| {
        let url = format!("data:{mime};base64,{text}");
        [
            (
                Chat,
                json!({"model": "m", "messages": [{"role": "user", "content": [
                {"type": "file", "file": {"filename": name, "file_data": url}}, {"type": "text", "text": "t"}]}]}),
            ),
            (
                Responses,
                json!({"model": "m", "input": [{"role": "user", "content": [
                {"type": "input_file", "filename": name, "file_data": url}, {"type": "input_text", "text": "t"}]}]}),
            ),
            (
                Gemini,
                json!({"contents": [{"role": "user", "parts": [
                {"inlineData": {"mimeType": mime, "displayName": name, "data": text}}, {"text": "t"}]}]}),
            ),
        ]
    };
    let claude = (Messages, ANTHROPIC, "claude-sonnet-4-5");
    let nova = (Converse, BEDROCK, "amazon.nova-pro-v1:0");
    for (mime, name, to_claude, to_nova) in [
        ("application/octet-stream", "a.md", true, Some("md")),
        ("application/octet-stream", "a.PY", true, Some("txt")),
        ("application/octet-stream", "a.xml", true, Some("txt")),
        ("application/octet-stream", "a.docx", false, Some("docx")),
        ("application/octet-stream", "a.bin", false, None),
        ("application/octet-stream", "md", false, None),
        ("application/xml", "a", true, Some("txt")),
        ("application/json", "a", true, Some("txt")),
        // A type that the client states counts.
        ("application/zip", "a.md", false, None),
    ] {
        for (from, request) in clients(mime, name) {
            let (body, dropped) = send(from, &request, claude);
            let source = &body["messages"][0]["content"][0]["source"];
            assert_eq!((source["data"] == "words", dropped.contains("document")), (to_claude, !to_claude), "{body}");
            let (body, dropped) = send(from, &request, nova);
            let format = body["messages"][0]["content"][0]["document"]["format"].as_str();
            assert_eq!((format, dropped.contains("document")), (to_nova, to_nova.is_none()), "{name}: {body}");
            let (body, dropped) = send(from, &request, (Chat, DEEPSEEK, "deepseek-chat"));
            assert_eq!(
                (body.to_string().contains("words"), dropped.contains("document")),
                (to_claude, !to_claude),
                "{body}"
            );
        }
    }
}
