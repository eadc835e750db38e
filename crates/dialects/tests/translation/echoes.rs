//! Fields of earlier answers that clients send back without a meaning: a tool loop must not fail because of them where
//! a Backend is strict.

use tollgate_dialects::{
    conversation::{Content, ToolChoice},
    dialect::DialectId,
    stream::TopLevel,
};

/// Fields that the official clients send back, and fields with default values, for which nothing is reported; then
/// fields in the same places that have a meaning, with their names in the report.
const REQUESTS: &[(DialectId, &str, &str)] = &[
    (
        DialectId::Chat,
        r#"{"model":"m","store":false,"stop":null,"stream_options":{"include_usage":true,"include_obfuscation":false},"messages":[
        {"role":"user","content":[{"type":"text","text":"a","index":0,"id":"p"}]},
        {"role":"assistant","id":"msg","content":"b","refusal":null,"audio":null,"function_call":null,"parsed":{"x":1},
         "annotations":[{"type":"url_citation","url_citation":{"url":"u"}}],"content_filter_results":{"hate":{}},
         "tool_calls":[{"id":"c","type":"function","index":0,"function":{"name":"f","arguments":"{\"seen\":1}","parsed_arguments":{"seen":1}}}],"seen":null},
        {"role":"tool","tool_call_id":"c","content":"r"}]}"#,
        "",
    ),
    (
        DialectId::Chat,
        r#"{"model":"m","store":true,"web_search_options":{},"stream_options":{"continuous_usage_stats":true},"messages":[
        {"role":"assistant","content":"b","prefix":true,"thinking_blocks":[{"type":"dream"}],
         "tool_calls":[{"id":"c","type":"function","extra_content":{"other":1},"function":{"name":"f","arguments":"{}"}}]},
        {"role":"assistant","content":"b","thinking_blocks":7}]}"#,
        "store;hint, continuous_usage_stats;hint, prefix, dream, extra_content, thinking_blocks",
    ),
    (
        DialectId::Responses,
        r#"{"model":"m","store":false,"text":{"verbosity":"medium"},"reasoning":{"mode":"standard","context":"auto"},
        "tools":[{"type":"function","name":"f","allowed_callers":["direct"]}],"input":[
        {"type":"message","id":"m","status":"completed","role":"assistant","phase":"commentary","created_by":"x","content":[
         {"type":"output_text","text":"b","annotations":[{"type":"url_citation","url":"u"}],"logprobs":[{"token":"b"}],"parsed":{"x":1}}]},
        {"type":"function_call","id":"fc","status":"completed","call_id":"c","name":"f","arguments":"{}","parsed_arguments":{},"caller":{"type":"direct"},"namespace":null},
        {"type":"function_call_output","call_id":"c","output":"r","status":"completed"}]}"#,
        "",
    ),
    (
        DialectId::Responses,
        r#"{"model":"m","store":true,"text":{"verbosity":"low"},"reasoning":{"context":"all"},
        "tools":[{"type":"function","name":"f","allowed_callers":["code"]}],"input":[
        {"role":"user","content":[{"type":"input_file","file_data":"data:application/pdf;base64,eA==","detail":"low"}]},
        {"type":"function_call","call_id":"c","name":"f","arguments":"{}","namespace":"n"}]}"#,
        "store;hint, verbosity;hint, reasoning, allowed_callers, detail;hint",
    ),
    (
        DialectId::Messages,
        r#"{"model":"m","max_tokens":9,"betas":[],"tools":[{"name":"f","input_schema":{"type":"object"},"allowed_callers":["direct"],"eager_input_streaming":true}],
        "messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","scope":"global"}}]},
        {"role":"assistant","content":[{"type":"text","text":"b","citations":[{"type":"char_location","cited_text":"q"}],"parsed_output":{"x":1}},
         {"type":"tool_use","id":"c","name":"f","input":{"toolset_name":"t"},"caller":{"type":"direct"},"toolset_name":null}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"r"},
         {"type":"document","source":{"type":"text","media_type":"text/plain","data":"d"},"citations":{"enabled":false}}]}]}"#,
        "",
    ),
    (
        DialectId::Messages,
        r#"{"model":"m","max_tokens":9,"betas":["b"],"tools":[{"name":"f","input_schema":{"type":"object"},"allowed_callers":["code_execution_20250825"]}],
        "messages":[{"role":"user","content":[
         {"type":"search_result","source":"u","title":"t","citations":{"enabled":true},"content":[{"type":"text","text":"x"}]},
         {"type":"document","title":"T","source":{"type":"content","content":[{"type":"text","text":"x"}]}}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":{},"toolset_name":"t"}]}]}"#,
        "betas, allowed_callers, citations, title, toolset_name",
    ),
    (
        DialectId::Gemini,
        r#"{"safetySettings":[],"contents":[{"role":"user","parts":[{"text":"a","partMetadata":{"k":1}}]},
        {"role":"model","parts":[{"functionCall":{"id":"c","name":"f","args":{},"willContinue":false,"partialArgs":null}}]},
        {"role":"user","parts":[{"functionResponse":{"id":"c","name":"f","response":{"output":"r"},"scheduling":"WHEN_IDLE"}}]}],
        "tools":[{"functionDeclarations":[{"name":"f","behavior":"BLOCKING"}]}],"generationConfig":{"audioTimestamp":false}}"#,
        "",
    ),
    (
        DialectId::Gemini,
        r#"{"safetySettings":[{"category":"c"}],"contents":[{"role":"user","parts":[{"text":"a","speechMetadata":{"k":1}}]},
        {"role":"model","parts":[{"inlineData":{"mimeType":"image/png","data":"eA=="},"thoughtSignature":"c2ln"}]}],
        "tools":[{"functionDeclarations":[{"name":"f","behavior":"NON_BLOCKING"}]}],"generationConfig":{"audioTimestamp":true}}"#,
        "safetySettings, speechMetadata, behavior, audioTimestamp",
    ),
    (
        DialectId::Converse,
        r#"{"messages":[{"role":"assistant","content":[
        {"citationsContent":{"content":[{"text":"b"}],"citations":[{"title":"t","location":{"web":{"url":"u","domain":"d"}}}]}},
        {"toolUse":{"toolUseId":"c","name":"f","input":{},"type":null}}]},
        {"role":"user","content":[{"toolResult":{"toolUseId":"c","status":"success","content":[{"text":"r"}]}},
        {"searchResult":{"source":"https://e.com","title":"T","content":[{"text":"x"}],"citations":{"enabled":false}}},{"cachePoint":{"type":"default"}}]}],
        "additionalModelRequestFields":{"tool_choice":{"type":"none"}},"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{}}}}]}}"#,
        "",
    ),
    (
        DialectId::Converse,
        r#"{"messages":[{"role":"user","content":[{"searchResult":{"source":"s","title":"T","content":[{"text":"x"}],"citations":{"enabled":true}}},
        {"image":{"format":"png","source":{},"error":{"message":"failed"}}},{"image":{"format":"png","error":{"message":"failed"}}},{"text":"a"}]}],
        "inferenceConfig":{"topK":5},"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{}}}}],"toolChoice":{"none":{}}},
        "additionalModelRequestFields":{"output_config":{"format":{"type":"grammar"}},"tool_choice":{"type":"any"}}}"#,
        "citations, image, topK, none, output_config, additionalModelRequestFields.tool_choice",
    ),
];

#[test]
fn what_is_sent_back_is_no_loss_and_what_means_something_is() {
    for (dialect, body, names) in REQUESTS {
        let top = TopLevel::scan(body.as_bytes()).unwrap();
        let read = dialect.dialect().read_request(&top).unwrap_or_else(|invalid| panic!("{dialect:?}: {invalid}"));
        let sorted = |names: &str| {
            let mut names: Vec<&str> = names.split(", ").collect();
            names.sort_unstable();
            names.join(", ")
        };
        assert_eq!(sorted(&read.dropped.to_string()), sorted(names), "{dialect:?}: {body}");
    }
}

#[test]
fn what_one_dialect_says_in_an_odd_place_is_carried() {
    let read = |dialect: DialectId, body: &'static str| {
        let top = Box::leak(Box::new(TopLevel::scan(body.as_bytes()).unwrap()));
        dialect.dialect().read_request(top).unwrap()
    };
    let none = r#"{"messages":[],"additionalModelRequestFields":{"tool_choice":{"type":"none"}},"toolConfig":{"toolChoice":{"auto":{}}}}"#;
    assert_eq!(read(DialectId::Converse, none).tool_choice, Some(ToolChoice::None));
    let signed = r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"},
        "extra_content":{"vertex":{"thought_signature":"c2ln"}}}]}]}"#;
    let signed = read(DialectId::Chat, signed);
    assert!(matches!(&signed.messages[0].parts[0].content, Content::Call(call) if call.signature.is_some()));
    let marked =
        r#"{"messages":[{"role":"tool","tool_call_id":"c","content":"r","cache_control":{"type":"ephemeral"}}]}"#;
    assert!(read(DialectId::Chat, marked).messages[0].parts[0].cache.is_some());
    let named = r#"{"input":[{"type":"function_call_output","call_id":"c","name":"f","output":"r"}]}"#;
    let named = read(DialectId::Responses, named);
    assert!(matches!(&named.messages[0].parts[0].content, Content::Result(result) if result.name.is_some()));
}
