//! OpenAI Responses.

use super::{COMPLETION_TOKENS, PIECES, PROMPT_TOKENS, SYSTEM, Scenario, named_event};

const MODEL: &str = "gpt-4o-mini";
const ITEM: &str = "msg_benchmark00000000000000000000000000000000001";

pub fn request(scenario: Scenario, question: &str) -> String {
    let stream = if scenario == Scenario::Stream { r#""stream":true,"# } else { "" };
    format!(
        r#"{{"model":"{MODEL}",{stream}"temperature":0.7,"max_output_tokens":512,"instructions":"{SYSTEM}","input":[{{"role":"user","content":"{question}"}}]}}"#
    )
}

pub fn reply(text: &str) -> String {
    response("completed", &message("completed", &part(text)), &usage())
}

fn usage() -> String {
    format!(
        r#"{{"input_tokens":{PROMPT_TOKENS},"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{COMPLETION_TOKENS},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{}}}"#,
        PROMPT_TOKENS + COMPLETION_TOKENS
    )
}

fn part(text: &str) -> String {
    format!(r#"{{"type":"output_text","annotations":[],"logprobs":[],"text":"{text}"}}"#)
}

fn message(status: &str, content: &str) -> String {
    format!(r#"{{"id":"{ITEM}","type":"message","status":"{status}","content":[{content}],"role":"assistant"}}"#)
}

fn response(status: &str, output: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"resp_benchmark0000000000000000000000000000000001","object":"response","created_at":1735689600,"status":"{status}","background":false,"error":null,"incomplete_details":null,"instructions":"{SYSTEM}","max_output_tokens":512,"model":"{MODEL}-2024-07-18","output":[{output}],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{{"effort":null,"summary":null}},"store":true,"temperature":0.7,"text":{{"format":{{"type":"text"}}}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}}}"#
    )
}

/// Server-sent events, with the text whole three times at the end, as OpenAI has it.
pub fn events(piece: &str) -> Vec<Vec<u8>> {
    let text = piece.repeat(PIECES);
    let at = format!(r#""item_id":"{ITEM}","output_index":0,"content_index":0"#);
    let item = |status, content: &str| format!(r#""output_index":0,"item":{}"#, message(status, content));
    let delta = format!(r#"{at},"delta":"{piece}","logprobs":[]"#);
    let mut events = vec![
        ("response.created", format!(r#""response":{}"#, response("in_progress", "", "null"))),
        ("response.in_progress", format!(r#""response":{}"#, response("in_progress", "", "null"))),
        ("response.output_item.added", item("in_progress", "")),
        ("response.content_part.added", format!(r#"{at},"part":{}"#, part(""))),
    ];
    events.resize(4 + PIECES, ("response.output_text.delta", delta));
    let completed = message("completed", &part(&text));
    events.extend([
        ("response.output_text.done", format!(r#"{at},"text":"{text}","logprobs":[]"#)),
        ("response.content_part.done", format!(r#"{at},"part":{}"#, part(&text))),
        ("response.output_item.done", item("completed", &part(&text))),
        ("response.completed", format!(r#""response":{}"#, response("completed", &completed, &usage()))),
    ]);
    let numbered = events.iter().enumerate();
    numbered
        .map(|(number, (name, rest))| {
            named_event(name, &format!(r#"{{"type":"{name}","sequence_number":{number},{rest}}}"#))
        })
        .collect()
}
