//! Images that a model makes: requested in each client's form, returned in it, and sent back with the history. Forms
//! are from Google's and OpenAI's SDKs, and for Chat Completions from OpenRouter's documentation:
//! <https://openrouter.ai/docs/guides/overview/multimodal/image-generation>.

use serde_json::{Value, json};
use tollgate_dialects::dialect::{DialectId, UnsupportedInReply};

use crate::{
    exercise::{
        To,
        presets::{AI_STUDIO, ANTHROPIC, BEDROCK, COMPATIBLE, OPENAI, OPENROUTER, VERTEX},
        read_stream, write_reply, write_stream,
    },
    order::send,
};

const TO_GEMINI: To = (DialectId::Gemini, AI_STUDIO, "gemini-3-pro-image-preview");
const TO_OPENROUTER: To = (DialectId::Chat, OPENROUTER, "google/gemini-3-pro-image-preview");
const TO_RESPONSES: To = (DialectId::Responses, OPENAI, "gpt-5.5");

/// A text, and an image with a signature, as Gemini answers.
fn gemini_reply() -> Value {
    json!({
        "candidates": [{
            "index": 0, "finishReason": "STOP",
            "content": {"role": "model", "parts": [
                {"text": "Here."},
                {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQ"}, "thoughtSignature": "c2ln"},
            ]},
        }],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
        "modelVersion": "gemini-3-pro-image-preview", "responseId": "r1",
    })
}

/// The reply for a client of `to`, and what is lost of it.
fn buffered(from: DialectId, reply: &Value, to: DialectId) -> (Value, String) {
    let body = reply.to_string();
    let reply = from.dialect().read_reply(body.as_bytes()).unwrap();
    let mut lost = UnsupportedInReply::new(to);
    lost.reply(&reply);
    (serde_json::from_slice(&write_reply(to, &reply)).unwrap(), lost.names().to_string())
}

/// The stream for a client of `to`, as text, and what is lost of it.
fn streamed(from: DialectId, stream: &str, to: DialectId) -> (String, String) {
    let events = read_stream(from, &[stream.as_bytes()]);
    let mut lost = UnsupportedInReply::new(to);
    for event in &events {
        lost.event(event);
    }
    (String::from_utf8_lossy(&write_stream(to, &events)).into_owned(), lost.names().to_string())
}

/// The data of the events of a stream.
fn data(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

const URL: &str = "data:image/jpeg;base64,/9j/4AAQ";

fn chat_image() -> Value {
    json!({
        "index": 0, "type": "image_url", "image_url": {"url": URL},
        "extra_content": {"google": {"thought_signature": "c2ln"}},
    })
}

#[test]
fn images_of_gemini_reach_clients_of_chat_completions() {
    let (reply, lost) = buffered(DialectId::Gemini, &gemini_reply(), DialectId::Chat);
    let message = &reply["choices"][0]["message"];
    assert_eq!((&message["content"], &message["images"]), (&json!("Here."), &json!([chat_image()])));
    assert_eq!((&reply["choices"][0]["finish_reason"], lost.as_str()), (&json!("stop"), ""));
    let (stream, lost) = streamed(DialectId::Gemini, &event(&gemini_reply()), DialectId::Chat);
    let images: Vec<Value> = data(&stream)
        .iter()
        .map(|chunk| chunk["choices"][0]["delta"]["images"].clone())
        .filter(|i| !i.is_null())
        .collect();
    assert_eq!((images, lost.as_str()), (vec![json!([chat_image()])], ""));
}

#[test]
fn images_of_gemini_reach_clients_of_responses() {
    let (reply, lost) = buffered(DialectId::Gemini, &gemini_reply(), DialectId::Responses);
    let output = reply["output"].as_array().unwrap();
    let kinds: Vec<&Value> = output.iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["message", "reasoning", "image_generation_call"]);
    let image = json!({
        "id": output[2]["id"], "type": "image_generation_call", "status": "completed", "result": "/9j/4AAQ",
        "output_format": "jpeg",
    });
    assert_eq!((&output[2], lost.as_str()), (&image, ""));
    assert!(image["id"].as_str().unwrap().starts_with("ig_"), "{image}");

    let (stream, lost) = streamed(DialectId::Gemini, &event(&gemini_reply()), DialectId::Responses);
    let events = data(&stream);
    let of_image: Vec<&Value> = events
        .iter()
        .filter(|event| {
            event["item"]["type"] == "image_generation_call" || event["item_id"].to_string().contains("ig_")
        })
        .collect();
    let kinds: Vec<&str> = of_image.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "response.output_item.added",
            "response.image_generation_call.in_progress",
            "response.image_generation_call.generating",
            "response.image_generation_call.completed",
            "response.output_item.done",
        ]
    );
    assert_eq!((&of_image[0]["item"]["status"], &of_image[0]["item"]["result"]), (&json!("in_progress"), &Value::Null));
    assert_eq!(of_image[4]["item"]["result"], "/9j/4AAQ");
    assert_eq!(of_image[1]["item_id"], of_image[4]["item"]["id"]);
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{numbers:?}");
    assert_eq!(events.last().unwrap()["response"]["output"][2]["result"], "/9j/4AAQ");
    assert_eq!(lost, "");
}

#[test]
fn clients_without_images_get_their_loss_by_name() {
    let (reply, lost) = buffered(DialectId::Gemini, &gemini_reply(), DialectId::Messages);
    assert_eq!((reply["content"].as_array().unwrap().len(), lost.as_str()), (1, "reply.image"));
    let (stream, lost) = streamed(DialectId::Gemini, &event(&gemini_reply()), DialectId::Messages);
    assert_eq!((stream.contains("/9j/"), lost.as_str()), (false, "reply.image"));
    // A buffered answer of Converse may have one.
    let (reply, lost) = buffered(DialectId::Gemini, &gemini_reply(), DialectId::Converse);
    assert_eq!(reply["output"]["message"]["content"][1]["image"]["source"]["bytes"], "/9j/4AAQ");
    assert_eq!(lost, "");
    let (stream, lost) = streamed(DialectId::Gemini, &event(&gemini_reply()), DialectId::Converse);
    assert_eq!((stream.contains("/9j/"), lost.as_str()), (false, "reply.image"));
    // Sketches of a model that reasons in images are no answer.
    let mut sketch = gemini_reply();
    sketch["candidates"][0]["content"]["parts"][1]["thought"] = json!(true);
    let (reply, lost) = buffered(DialectId::Gemini, &sketch, DialectId::Chat);
    assert_eq!((reply["choices"][0]["message"].get("images"), lost.as_str()), (None, "reply.thinking.image"));
}

#[test]
fn images_of_openai_and_openrouter_reach_clients_of_gemini() {
    let item = json!({"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "iVBORw0K"});
    let said = json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Here.", "annotations": []}]});
    let response = json!({"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5.5",
        "output": [item, said], "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}});
    let image = |mime: &str, data: &str| json!({"inlineData": {"mimeType": mime, "data": data}});
    let expected = json!([image("image/png", "iVBORw0K"), {"text": "Here."}]);
    let (reply, lost) = buffered(DialectId::Responses, &response, DialectId::Gemini);
    assert_eq!((&reply["candidates"][0]["content"]["parts"], lost.as_str()), (&expected, ""));
    let pending = json!({"type": "image_generation_call", "id": "ig_1", "status": "in_progress", "result": null});
    let named = |kind: &str, mut fields: Value| {
        fields["type"] = json!(kind);
        format!("event: {kind}\n{}", event(&fields))
    };
    let stream = [
        named("response.created", json!({"response": {"id": "resp_1", "model": "gpt-5.5", "status": "in_progress"}})),
        named("response.output_item.added", json!({"output_index": 0, "item": pending})),
        named("response.image_generation_call.generating", json!({"output_index": 0, "item_id": "ig_1"})),
        named(
            "response.image_generation_call.partial_image",
            json!({"output_index": 0, "item_id": "ig_1",
            "partial_image_b64": "aaaa", "partial_image_index": 0}),
        ),
        named("response.output_item.done", json!({"output_index": 0, "item": item})),
        named("response.completed", json!({"response": response})),
    ]
    .concat();
    let (stream, lost) = streamed(DialectId::Responses, &stream, DialectId::Gemini);
    let parts: Vec<Value> =
        data(&stream).iter().map(|chunk| chunk["candidates"][0]["content"]["parts"][0].clone()).collect();
    assert_eq!((&parts[0], lost.as_str()), (&image("image/png", "iVBORw0K"), ""), "{stream}");
    assert!(!stream.contains("aaaa"), "a preview is no image");

    let message = json!({"role": "assistant", "content": "Here.",
        "images": [{"type": "image_url", "image_url": {"url": URL}, "index": 0}]});
    let openrouter = |key: &str, message: &Value| {
        let choice = json!({"index": 0, key: message, "finish_reason": "stop"});
        json!({"id": "gen-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
    };
    let (reply, lost) = buffered(DialectId::Chat, &openrouter("message", &message), DialectId::Gemini);
    let expected = json!([{"text": "Here."}, image("image/jpeg", "/9j/4AAQ")]);
    assert_eq!((&reply["candidates"][0]["content"]["parts"], lost.as_str()), (&expected, ""));
    let stream = event(&openrouter("delta", &message)) + "data: [DONE]\n\n";
    for (to, found) in [(DialectId::Gemini, "inlineData"), (DialectId::Responses, "\"result\":\"/9j/4AAQ\"")] {
        let (stream, lost) = streamed(DialectId::Chat, &stream, to);
        assert_eq!((stream.contains(found), lost.as_str()), (true, ""), "{to:?}: {stream}");
    }
}

#[test]
fn images_that_clients_send_back_reach_gemini_with_their_signature() {
    let made = json!({"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQ"}, "thoughtSignature": "c2ln"});
    for client in [DialectId::Chat, DialectId::Responses, DialectId::Gemini] {
        let (reply, _) = buffered(DialectId::Gemini, &gemini_reply(), client);
        let history = match client {
            DialectId::Chat => json!({"model": "m", "messages": [
                {"role": "user", "content": "draw"}, reply["choices"][0]["message"],
                {"role": "user", "content": "bigger"}]}),
            DialectId::Responses => {
                let user = |text: &str| json!({"role": "user", "content": text});
                let items = std::iter::once(user("draw")).chain(reply["output"].as_array().unwrap().clone());
                json!({"model": "m", "input": items.chain([user("bigger")]).collect::<Vec<_>>()})
            }
            _ => json!({"contents": [
                {"role": "user", "parts": [{"text": "draw"}]}, reply["candidates"][0]["content"],
                {"role": "user", "parts": [{"text": "bigger"}]}]}),
        };
        let (body, dropped) = send(client, &history, TO_GEMINI);
        assert_eq!(body["contents"][1], json!({"role": "model", "parts": [{"text": "Here."}, made]}), "{client:?}");
        assert_eq!(dropped, "", "{client:?}");
        // Other models still see it, as the user's.
        for to in [
            (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5"),
            (DialectId::Converse, BEDROCK, "anthropic.claude-sonnet-4-5-v1:0"),
            (DialectId::Responses, OPENAI, "gpt-5.5"),
            (DialectId::Chat, COMPATIBLE, "m"),
        ] {
            let (body, dropped) = send(client, &history, to);
            let key = if to.0 == DialectId::Responses { "input" } else { "messages" };
            let user = body[key].as_array().unwrap().last().unwrap();
            assert_eq!(
                (&user["role"], user.to_string().contains("/9j/4AAQ")),
                (&json!("user"), true),
                "{to:?}: {body}"
            );
            assert!(user.to_string().contains("bigger"), "{to:?}: {user}");
            assert_eq!(dropped, "", "{client:?} to {to:?}");
        }
    }
}

#[test]
fn results_come_before_the_images_of_the_answer_that_called() {
    let history = json!({"model": "m", "max_tokens": 9, "tools": [{"type": "function", "function": {"name": "f"}}],
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "images": [chat_image()],
             "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "done"}]});
    let (body, _) = send(DialectId::Chat, &history, (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5"));
    let kinds: Vec<&Value> =
        body["messages"][2]["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["tool_result", "image"], "{body}");
    let alone = json!({"model": "m", "messages": [
        {"role": "user", "content": "go"}, {"role": "assistant", "content": "", "images": [chat_image()]},
        {"role": "user", "content": "on"}]});
    let (body, _) = send(DialectId::Chat, &alone, (DialectId::Chat, COMPATIBLE, "m"));
    let roles: Vec<&Value> = body["messages"].as_array().unwrap().iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "user"], "{body}");
}

#[test]
fn images_are_requested_in_each_providers_form() {
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "draw"}],
        "modalities": ["image", "text"], "image_config": {"aspect_ratio": "2:3", "image_size": "2K"}});
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "draw"}]}], "generationConfig": {
        "responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "2:3", "imageSize": "2K"}}});
    let responses =
        json!({"model": "m", "input": "draw", "tools": [{"type": "image_generation", "size": "1024x1536"}]});
    for (from, request, size) in
        [(DialectId::Chat, chat, true), (DialectId::Gemini, gemini, true), (DialectId::Responses, responses, false)]
    {
        let mut form = json!({"aspectRatio": "2:3"});
        let mut openrouter = json!({"aspect_ratio": "2:3"});
        if size {
            (form["imageSize"], openrouter["image_size"]) = (json!("2K"), json!("2K"));
        }
        let (body, dropped) = send(from, &request, TO_GEMINI);
        let config = &body["generationConfig"];
        assert_eq!((&config["responseModalities"], &config["imageConfig"]), (&json!(["TEXT", "IMAGE"]), &form));
        assert_eq!((body.get("tools"), dropped.as_str()), (None, ""), "{from:?}");
        let (body, _) = send(from, &request, (DialectId::Gemini, VERTEX, "gemini-2.5-flash-image"));
        assert_eq!(body["generationConfig"]["responseModalities"], json!(["TEXT", "IMAGE"]), "{from:?}");
        if from != DialectId::Chat {
            let (body, dropped) = send(from, &request, TO_OPENROUTER);
            assert_eq!((&body["modalities"], &body["image_config"]), (&json!(["image", "text"]), &openrouter));
            assert_eq!(dropped, "", "{from:?}");
        }
        if from != DialectId::Responses {
            let (body, dropped) = send(from, &request, TO_RESPONSES);
            assert_eq!(body["tools"], json!([{"type": "image_generation", "size": "1024x1536"}]), "{from:?}");
            assert_eq!(dropped, "image_size", "{from:?}");
        }
        // A model that makes none refuses the modality, so that the request is named.
        let name = ["modalities", "responseModalities", "image_generation"];
        for to in [
            (DialectId::Gemini, AI_STUDIO, "gemini-2.5-flash"),
            (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5"),
            (DialectId::Converse, BEDROCK, "amazon.nova-pro-v1:0"),
        ] {
            let (body, dropped) = send(from, &request, to);
            assert!(name.contains(&dropped.as_str()), "{from:?} to {to:?}: {dropped}");
            assert!(!body.to_string().to_lowercase().contains("modalities"), "{body}");
        }
    }
    let wide = json!({"model": "m", "messages": [{"role": "user", "content": "draw"}],
        "modalities": ["image", "audio"], "image_config": {"aspect_ratio": "16:9"}});
    let (body, dropped) = send(DialectId::Chat, &wide, TO_RESPONSES);
    assert_eq!(body["tools"], json!([{"type": "image_generation", "size": "1536x1024"}]));
    assert_eq!(dropped, "modalities, aspect_ratio", "the nearest size, and audio is none");
}
