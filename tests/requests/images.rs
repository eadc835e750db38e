//! Images that a model makes, through the gateway: at `OpenRouter` untouched, from Gemini in each client's form.

use serde_json::{Value, json};

use crate::common::{
    Gateway, KEY, Start, Upstream,
    manifests::{s1_of, s1_with},
};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const MODEL: &str = "gemini-3-pro-image-preview";
/// Base64 of an image as large as models make them.
const LARGE: usize = 3 * 1024 * 1024;

fn chunk(parts: &Value, ends: bool) -> String {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    if ends {
        candidate["finishReason"] = json!("STOP");
    }
    json!({"candidates": [candidate], "modelVersion": MODEL, "responseId": "r1",
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1290, "totalTokenCount": 1291}})
    .to_string()
}

fn image() -> Value {
    json!([{"inlineData": {"mimeType": "image/png", "data": "A".repeat(LARGE)}, "thoughtSignature": "c2ln"}])
}

/// Answers as Gemini does, with a text and a large image.
fn gemini() -> Upstream {
    Upstream::new(|exchange| {
        if exchange.request().path().contains(":streamGenerateContent") {
            let events = [chunk(&json!([{"text": "Here."}]), false), chunk(&image(), true)];
            let body = events.map(|event| format!("data: {event}\r\n\r\n")).concat();
            exchange.reply(200, &[("content-type", "text/event-stream")], body.as_bytes());
        } else {
            exchange.reply(200, JSON, chunk(&image(), true).as_bytes());
        }
    })
}

fn start(upstream: &Upstream) -> Gateway {
    Start::new().manifest("x.yaml", &s1_with("gemini", "/x", upstream.port, &json!({"model": MODEL}))).run()
}

fn chat(stream: bool) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "draw"}], "modalities": ["image", "text"],
        "stream": stream})
}

#[test]
fn openrouter_gets_and_gives_images_untouched() {
    let given = concat!(
        r#"{"id":"g","choices":[{"index":0,"message":{"role":"assistant","content":"","#,
        r#""images":[ {"type":"image_url","image_url":{"url":"data:image/png;base64,aaaa"}} ]}}]}"#,
    );
    let upstream = Upstream::json(given);
    let token = json!({"kind": "Inline", "inline": KEY});
    let entry =
        json!({"host": "127.0.0.1", "port": upstream.port, "openai": {"preset": "openrouter", "authToken": token}});
    let gateway = Start::new().manifest("x.yaml", &s1_of("x", "/x", &entry)).run();
    let sent = concat!(
        r#"{ "model":"google/gemini-3-pro-image-preview","modalities":[ "image","text"],"#,
        r#""image_config":{"aspect_ratio":"16:9"},"messages":[{"role":"user","content":"draw"},"#,
        r#"{"role":"assistant","content":"","images":[{"type":"image_url","#,
        r#""image_url":{"url":"data:image/png;base64,aaaa"},"index":0}]},{"role":"user","content":"bigger"}]}"#,
    );
    let reply = gateway.post("/x/v1/chat/completions", sent);
    assert_eq!((reply.status, &*reply.text()), (200, given));
    assert_eq!(upstream.only().text(), sent);
    assert_eq!(reply.header("x-tollgate-dropped"), None);
}

#[test]
fn images_of_gemini_come_whole_and_streaming() {
    let upstream = gemini();
    let gateway = start(&upstream);
    let reply = gateway.post("/x/v1/chat/completions", chat(false).to_string());
    assert_eq!((reply.status, reply.header("x-tollgate-dropped")), (200, None));
    let url = reply.json()["choices"][0]["message"]["images"][0]["image_url"]["url"].as_str().unwrap().to_owned();
    assert_eq!(url.len(), "data:image/png;base64,".len() + LARGE);
    let sent = upstream.received().pop().unwrap().json();
    assert_eq!(sent["generationConfig"]["responseModalities"], json!(["TEXT", "IMAGE"]), "{sent}");

    let reply = gateway.post("/x/v1/chat/completions", chat(true).to_string());
    let text = reply.text();
    let deltas: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .map(|chunk| chunk["choices"][0]["delta"].clone())
        .collect();
    let urls: Vec<usize> =
        deltas.iter().filter_map(|delta| Some(delta["images"][0]["image_url"]["url"].as_str()?.len())).collect();
    assert_eq!((urls, text.trim_end().ends_with("data: [DONE]")), (vec![url.len()], true));

    let tool = json!({"model": "m", "input": "draw", "stream": true, "tools": [{"type": "image_generation"}]});
    let reply = gateway.post("/x/v1/responses", tool.to_string());
    let text = reply.text();
    assert!(text.contains("event: response.image_generation_call.completed\n"), "no image");
    assert!(text.contains("event: response.completed\n"), "no end");
    let sent = upstream.received().pop().unwrap().json();
    assert_eq!((sent["generationConfig"]["responseModalities"].is_array(), sent.get("tools")), (true, None), "{sent}");
}

#[test]
fn clients_without_images_are_told() {
    let upstream = gemini();
    let gateway = start(&upstream);
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "draw"}]});
    let headers = [("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
    let reply = gateway.post_with("/x/v1/messages", &headers, body.to_string());
    assert_eq!((reply.status, reply.header("x-tollgate-dropped")), (200, Some("reply.image")));
    let mut stream = body;
    stream["stream"] = json!(true);
    let reply = gateway.post_with("/x/v1/messages", &headers, stream.to_string());
    assert!(reply.text().contains("message_stop"), "{}", reply.text());
    assert_eq!(gateway.access("/x/v1/messages")["dropped"], "reply.image");
}
