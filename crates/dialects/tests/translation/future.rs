//! Features that vendors have not invented yet: unknown fields, events, blocks and values are ignored, and the known
//! ones beside them are kept.

use tollgate_dialects::{
    conversation::{Content, Event},
    dialect::DialectId,
    stream::TopLevel,
};

use super::exercise::{assemble, check_order, read_stream, reply, request};
use super::hostile::wire;

/// A request with fields, blocks and values of the future: (dialect, body, the names that are reported).
const REQUESTS: [(DialectId, &str, &[&str]); 5] = [
    (
        DialectId::Chat,
        r#"{"model":"m","quantum":{"a":1},"messages":[{"role":"user","mood":"calm","content":[{"type":"text","text":"Hi","weight":2},
        {"type":"smell","smell":{"url":"x"}}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"},"price":1},"where":"x"},
        {"type":"telepathy","telepathy":{}}],"tool_choice":{"type":"telepathy"},"temperature":0.5}"#,
        &["quantum", "mood", "weight", "smell", "price", "where", "telepathy"],
    ),
    (
        DialectId::Responses,
        r#"{"model":"m","quantum":{"a":1},"input":[{"type":"message","role":"user","mood":"calm","content":[{"type":"input_text","text":"Hi","weight":2},
        {"type":"input_smell","smell":"x"}]},{"type":"dream_call","id":"d1"}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"price":1},
        {"type":"telepathy"}],"include":["dream_call.results"],"temperature":0.5,"text":{"format":{"type":"haiku"}}}"#,
        &["quantum", "mood", "weight", "input_smell", "price", "telepathy", "dream_call.results", "response_format"],
    ),
    (
        DialectId::Messages,
        r#"{"model":"m","max_tokens":9,"quantum":{"a":1},"messages":[{"role":"user","mood":"calm","content":[{"type":"text","text":"Hi","weight":2},
        {"type":"smell","source":{"type":"nose"}}]}],"tools":[{"name":"f","input_schema":{"type":"object"},"price":1},{"type":"telepathy_20300101","name":"t"}],
        "thinking":{"type":"quantum"},"output_config":{"effort":"extreme"},"temperature":0.5}"#,
        &["quantum", "mood", "weight", "smell", "price", "t", "thinking", "reasoning"],
    ),
    (
        DialectId::Gemini,
        r#"{"quantum":{"a":1},"contents":[{"role":"user","mood":"calm","parts":[{"text":"Hi","weight":2},{"smell":{"data":"x"}}]}],
        "tools":[{"functionDeclarations":[{"name":"f","price":1}]},{"telepathy":{}}],"generationConfig":{"temperature":0.5,"flavour":"sweet",
        "thinkingConfig":{"thinkingLevel":"EXTREME","depth":3},"responseModalities":["TEXT","SMELL"]}}"#,
        &["quantum", "mood", "weight", "smell", "part", "price", "telepathy", "flavour", "depth", "responseModalities"],
    ),
    (
        DialectId::Converse,
        r#"{"quantum":{"a":1},"messages":[{"role":"user","mood":"calm","content":[{"text":"Hi"},{"smell":{"source":{"bytes":"x"}}}]}],
        "toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}},"price":1}},{"telepathy":{}}]},
        "inferenceConfig":{"temperature":0.5,"flavour":"sweet"},"additionalModelRequestFields":{"depth":3}}"#,
        &["quantum", "mood", "smell", "price", "telepathy", "flavour", "additionalModelRequestFields.depth"],
    ),
];

#[test]
fn requests_of_the_future_are_read_and_what_is_new_is_named() {
    for (dialect, body, names) in REQUESTS {
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        let read = dialect.dialect().read_request(&top).unwrap_or_else(|invalid| panic!("{dialect:?}: {invalid}"));
        let mut told: Vec<&str> = read.dropped.names().iter().map(|name| &**name).collect();
        let mut names = names.to_vec();
        let hosted: Vec<_> = read.hosted.iter().map(|tool| tool.name.decode()).collect();
        told.extend(hosted.iter().map(|name| &**name));
        told.sort_unstable();
        names.sort_unstable();
        assert_eq!(told, names, "{dialect:?}");
        assert_eq!(read.sampling.temperature, Some(0.5), "{dialect:?}");
        assert_eq!(read.tools.len(), 1, "{dialect:?}");
        let says = |content: &Content<'_>| matches!(content, Content::Text { text, .. } if text.is("Hi"));
        assert!(read.messages.iter().flat_map(|m| &m.parts).any(|part| says(&part.content)), "{dialect:?}");
        request(dialect, body.as_bytes());
    }
}

/// The parts of replies and streams of the future that a client does not get, by the provider's dialect.
const LOST: [(DialectId, &str, &str); 5] = [
    (DialectId::Chat, "", ""),
    (DialectId::Responses, "dream, output_smell", "delta, dream"),
    (DialectId::Messages, "dream", "dream"),
    (DialectId::Gemini, "part", "part"),
    (DialectId::Converse, "smell", "contentBlock"),
];

fn lost(dialect: DialectId) -> (&'static str, &'static str) {
    LOST.iter().find(|(of, ..)| *of == dialect).map(|(_, whole, streamed)| (*whole, *streamed)).unwrap()
}

/// Replies with fields, blocks and reasons of the future. All have the text `Hello` and count 10 and 5 tokens.
const REPLIES: [(DialectId, &str); 5] = [
    (
        DialectId::Chat,
        r#"{"id":"1","object":"chat.completion.v9","created":1,"model":"m","quantum":{"a":1},"choices":[{"index":0,"mood":"calm","message":{"role":"assistant",
        "content":"Hello","smell":{"data":"x"},"annotations":[{"type":"memory","memory":{}}],"tool_calls":[]},"finish_reason":"enlightened","logprobs":null}],
        "usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"karma":7,"prompt_tokens_details":{"dreamt_tokens":1}},"service_tier":"astral"}"#,
    ),
    (
        DialectId::Responses,
        r#"{"id":"resp_1","object":"response","created_at":1,"model":"m","status":"enlightened","quantum":{"a":1},"output":[{"type":"dream","id":"d","images":[1]},
        {"type":"message","id":"msg_1","role":"assistant","status":"completed","mood":"calm","content":[{"type":"output_smell","smell":"x"},
        {"type":"output_text","text":"Hello","annotations":[{"type":"memory"}],"weight":2}]}],
        "usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15,"karma":7},"incomplete_details":{"reason":"bored"}}"#,
    ),
    (
        DialectId::Messages,
        r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","quantum":{"a":1},"content":[{"type":"dream","dream":{"x":1}},
        {"type":"text","text":"Hello","weight":2,"citations":[{"type":"memory_location","memory":1}]}],"stop_reason":"enlightened",
        "usage":{"input_tokens":10,"output_tokens":5,"karma":7,"service_tier":"astral"}}"#,
    ),
    (
        DialectId::Gemini,
        r#"{"quantum":{"a":1},"candidates":[{"index":0,"mood":"calm","content":{"role":"model","parts":[{"smell":{"data":"x"}},{"text":"Hello","weight":2}]},
        "finishReason":"ENLIGHTENED","memoryMetadata":{}}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"karmaTokenCount":7},"modelVersion":"m"}"#,
    ),
    (
        DialectId::Converse,
        r#"{"quantum":{"a":1},"output":{"message":{"role":"assistant","mood":"calm","content":[{"smell":{"data":"x"}},{"text":"Hello"}]},"dream":{}},
        "stopReason":"enlightened","usage":{"inputTokens":10,"outputTokens":5,"totalTokens":15,"karmaTokens":7},"metrics":{"latencyMs":1,"auraMs":2},
        "serviceTier":{"type":"astral"}}"#,
    ),
];

#[test]
fn replies_of_the_future_are_read_and_keep_what_is_known() {
    for (dialect, body) in REPLIES {
        let read = dialect.dialect().read_reply(body.as_bytes()).unwrap_or_else(|f| panic!("{dialect:?}: {f:?}"));
        let says = |content: &Content<'_>| matches!(content, Content::Text { text, .. } if text.is("Hello"));
        assert!(read.choices[0].parts.iter().any(|part| says(&part.content)), "{dialect:?}: {read:#?}");
        assert_eq!((read.usage.input, read.usage.output), (Some(10), Some(5)), "{dialect:?}");
        assert_eq!(read.lost.to_string(), lost(dialect).0, "{dialect:?}");
        reply(dialect, body.as_bytes());
    }
}

/// Streams with events, deltas and reasons of the future, with the same text.
const STREAMS: [(DialectId, &str); 5] = [
    (
        DialectId::Chat,
        concat!(
            "event: heartbeat\ndata: {\"beat\":1}\n\n",
            "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"aura\":\"blue\"}}]}\n\n",
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"smell\":\"x\"}}]}\n\n",
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"mood\":1}]}\n\n",
            "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"enlightened\"}]}\n\n",
            "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"karma\":1}}\n\ndata: [DONE]",
        ),
    ),
    (
        DialectId::Responses,
        concat!(
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\",\"status\":\"dreaming\",\"output\":[]}}\n\n",
            "event: response.dream.delta\ndata: {\"type\":\"response.dream.delta\",\"output_index\":0,\"delta\":{\"x\":1}}\n\n",
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"dream\",\"id\":\"d\"}}\n\n",
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[]}}\n\n",
            "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"output_index\":1,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\"}}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":1,\"content_index\":0,\"delta\":\"Hello\",\"aura\":1}\n\n",
            "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello\"}]}}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\",\"status\":\"completed\",\"usage\":{\"input_tokens\":10,\"output_tokens\":5,\"karma\":1}}}",
        ),
    ),
    (
        DialectId::Messages,
        concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
            "event: aura\ndata: {\"type\":\"aura\",\"colour\":\"blue\"}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"dream\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"dream_delta\",\"dream\":\"x\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\",\"weight\":1}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"smell_delta\",\"smell\":\"x\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"enlightened\"},\"usage\":{\"output_tokens\":5,\"karma\":1}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\",\"aura\":1}",
        ),
    ),
    (
        DialectId::Gemini,
        concat!(
            "data: {\"aura\":{\"colour\":\"blue\"}}\n\n",
            "data: {\"candidates\":[{\"index\":0,\"content\":{\"role\":\"model\",\"parts\":[{\"smell\":{\"x\":1}},{\"text\":\"Hello\",\"weight\":1}]}}],\"modelVersion\":\"m\"}\n\n",
            "data: {\"candidates\":[{\"index\":0,\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"ENLIGHTENED\"}],\"usageMetadata\":{\"promptTokenCount\":10,\"candidatesTokenCount\":5,\"karma\":1}}",
        ),
    ),
    (
        DialectId::Converse,
        concat!(
            "messageStart {\"role\":\"assistant\",\"aura\":\"blue\"}\n",
            "dreamStart {\"x\":1}\n",
            "contentBlockStart {\"contentBlockIndex\":0,\"start\":{\"dream\":{}}}\n",
            "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"dream\":{\"x\":1}}}\n",
            "contentBlockStop {\"contentBlockIndex\":0}\n",
            "contentBlockDelta {\"contentBlockIndex\":1,\"delta\":{\"text\":\"Hello\"},\"p\":\"abc\"}\n",
            "contentBlockStop {\"contentBlockIndex\":1}\n",
            "messageStop {\"stopReason\":\"enlightened\"}\n",
            "metadata {\"usage\":{\"inputTokens\":10,\"outputTokens\":5,\"totalTokens\":15,\"karma\":1},\"metrics\":{\"latencyMs\":1}}",
        ),
    ),
];

#[test]
fn streams_of_the_future_are_read_and_keep_what_is_known() {
    for (dialect, text) in STREAMS {
        let wire = wire(dialect, text);
        let told = read_stream(dialect, &[&wire]);
        check_order(dialect, &told);
        assert!(matches!(told.last(), Some(Event::End)), "{dialect:?}: {told:#?}");
        let read = assemble(&told);
        let says = |content: &Content<'_>| matches!(content, Content::Text { text, .. } if text.is("Hello"));
        assert!(read.choices[0].parts.iter().any(|part| says(&part.content)), "{dialect:?}: {told:#?}");
        assert_eq!((read.usage.input, read.usage.output), (Some(10), Some(5)), "{dialect:?}");
        assert_eq!(read.lost.to_string(), lost(dialect).1, "{dialect:?}");
        super::exercise::events(dialect, 1, &wire);
    }
}
