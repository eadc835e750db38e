//! One small request per feature and client dialect.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tollgate_dialects::dialect::DialectId;

/// A feature that a client may request, in the form of each dialect.
pub struct Fixture {
    /// The name in the documentation.
    pub title: &'static str,
    /// The feature by which it is judged.
    pub feature: &'static str,
    /// Fields of the request in the order of [`DialectId::ALL`]; empty where the dialect can't express it.
    bodies: [&'static str; 5],
}

impl Fixture {
    /// The request in `dialect`; `None` where the dialect can't express it.
    pub fn request(&self, dialect: DialectId) -> Option<String> {
        let at = DialectId::ALL.iter().position(|own| *own == dialect)?;
        let members = Some(self.bodies[at]).filter(|members| !members.is_empty())?;
        Some(complete(dialect, members))
    }
}

/// A whole request with these fields.
pub fn complete(dialect: DialectId, members: &str) -> String {
    let (base, tools) = match dialect {
        DialectId::Chat => (
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#,
            r#"[{"type":"function","function":{"name":"f","description":"Does f","parameters":SCHEMA}},{"type":"function","function":{"name":"g"}}]"#,
        ),
        DialectId::Responses => (
            r#"{"model":"m","input":"Hi"}"#,
            r#"[{"type":"function","name":"f","description":"Does f","parameters":SCHEMA,"strict":false},{"type":"function","name":"g","strict":false}]"#,
        ),
        DialectId::Messages => (
            r#"{"model":"m","max_tokens":100,"messages":[{"role":"user","content":"Hi"}]}"#,
            r#"[{"name":"f","description":"Does f","input_schema":SCHEMA},{"name":"g","input_schema":{"type":"object","properties":{}}}]"#,
        ),
        DialectId::Gemini => (
            r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#,
            r#"[{"functionDeclarations":[{"name":"f","description":"Does f","parametersJsonSchema":SCHEMA},{"name":"g"}]}]"#,
        ),
        DialectId::Converse => (
            r#"{"messages":[{"role":"user","content":[{"text":"Hi"}]}]}"#,
            r#"[{"toolSpec":{"name":"f","description":"Does f","inputSchema":{"json":SCHEMA}}},{"toolSpec":{"name":"g","inputSchema":{"json":{"type":"object","properties":{}}}}}]"#,
        ),
    };
    let wrap = |text: &str| STANDARD.encode(text);
    let members = members
        .replace("TOOLS", tools)
        .replace("SCHEMA", SCHEMA)
        .replace("REFS", REFS)
        .replace("PNG", "iVBORw0KGgo=")
        .replace("PDF", "JVBERi0=")
        .replace("WAV", "UklGRgAAAABXQVZF")
        .replace("MP4", "AAAAGGZ0eXA=")
        .replace("NOTES", &wrap("Some notes"))
        // The form of foreign signatures in Gemini's field of bytes.
        .replace("WRAP_CLAUDE", &wrap("TGanc2lnbg=="))
        .replace("WRAP_OPENAI", &wrap("TGoac2lnbg=="))
        .replace("WRAP_REDACTED", &wrap("TGrdTGanc2lnbg=="));
    let mut whole: Value = serde_json::from_str(base).unwrap();
    let members: Value = serde_json::from_str(&members).unwrap_or_else(|error| panic!("{error}: {members}"));
    whole.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    whole.to_string()
}

const SCHEMA: &str =
    r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
const REFS: &str = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"oneOf":[{"type":"string"},{"type":"integer","minimum":1}]}}}"##;

const fn fixture(title: &'static str, feature: &'static str, bodies: [&'static str; 5]) -> Fixture {
    Fixture { title, feature, bodies }
}

/// All of them, in the order of the documentation.
pub const FIXTURES: &[Fixture] = &[
    fixture(
        "system instructions",
        "instructions",
        [
            r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]}"#,
            r#"{"instructions":"Be brief."}"#,
            r#"{"system":"Be brief."}"#,
            r#"{"systemInstruction":{"parts":[{"text":"Be brief."}]}}"#,
            r#"{"system":[{"text":"Be brief."}]}"#,
        ],
    ),
    fixture(
        "instructions amid the conversation",
        "later instructions",
        [
            r#"{"messages":[{"role":"user","content":"Hi"},{"role":"developer","content":"Be brief."},{"role":"user","content":"Go on"}]}"#,
            r#"{"input":[{"role":"user","content":"Hi"},{"role":"developer","content":"Be brief."},{"role":"user","content":"Go on"}]}"#,
            r#"{"messages":[{"role":"user","content":"Hi"},{"role":"system","content":"Be brief."},{"role":"user","content":"Go on"}]}"#,
            "",
            "",
        ],
    ),
    fixture(
        "several turns",
        "turns",
        [
            r#"{"messages":[{"role":"user","content":"one"},{"role":"assistant","content":"two"},{"role":"user","content":[{"type":"text","text":"three"},{"type":"text","text":"four"}]}]}"#,
            r#"{"input":[{"role":"user","content":"one"},{"role":"assistant","content":"two"},{"role":"user","content":[{"type":"input_text","text":"three"},{"type":"input_text","text":"four"}]}]}"#,
            r#"{"messages":[{"role":"user","content":"one"},{"role":"assistant","content":"two"},{"role":"user","content":[{"type":"text","text":"three"},{"type":"text","text":"four"}]}]}"#,
            r#"{"contents":[{"role":"user","parts":[{"text":"one"}]},{"role":"model","parts":[{"text":"two"}]},{"role":"user","parts":[{"text":"three"},{"text":"four"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"one"}]},{"role":"assistant","content":[{"text":"two"}]},{"role":"user","content":[{"text":"three"},{"text":"four"}]}]}"#,
        ],
    ),
    fixture(
        "an answer to be continued",
        "begun answer",
        [
            r#"{"messages":[{"role":"user","content":"Count"},{"role":"assistant","content":"One,"}]}"#,
            r#"{"input":[{"role":"user","content":"Count"},{"role":"assistant","content":"One,"}]}"#,
            r#"{"messages":[{"role":"user","content":"Count"},{"role":"assistant","content":"One,"}]}"#,
            r#"{"contents":[{"role":"user","parts":[{"text":"Count"}]},{"role":"model","parts":[{"text":"One,"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"Count"}]},{"role":"assistant","content":[{"text":"One,"}]}]}"#,
        ],
    ),
    fixture(
        "a refusal in the history",
        "refusal",
        [
            r#"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"refusal":"I won't"},{"role":"user","content":"Why?"}]}"#,
            r#"{"input":[{"role":"user","content":"Hi"},{"type":"message","role":"assistant","content":[{"type":"refusal","refusal":"I won't"}]},{"role":"user","content":"Why?"}]}"#,
            "",
            "",
            "",
        ],
    ),
    fixture(
        "image, inline",
        "image",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"image_url","image_url":{"url":"data:image/png;base64,PNG"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"See"},{"type":"input_image","image_url":"data:image/png;base64,PNG"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"PNG"}}]}]}"#,
            r#"{"contents":[{"parts":[{"text":"See"},{"inlineData":{"mimeType":"image/png","data":"PNG"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"See"},{"image":{"format":"png","source":{"bytes":"PNG"}}}]}]}"#,
        ],
    ),
    fixture(
        "image, URL",
        "image",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"image_url","image_url":{"url":"https://e.com/a.png"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"See"},{"type":"input_image","image_url":"https://e.com/a.png"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"image","source":{"type":"url","url":"https://e.com/a.png"}}]}]}"#,
            r#"{"contents":[{"parts":[{"text":"See"},{"fileData":{"mimeType":"image/png","fileUri":"https://e.com/a.png"}}]}]}"#,
            "",
        ],
    ),
    fixture(
        "image, level of detail",
        "detail",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,PNG","detail":"high"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,PNG","detail":"high"}]}]}"#,
            "",
            "",
            "",
        ],
    ),
    fixture(
        "image, uploaded before",
        "image",
        [
            "",
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"See"},{"type":"input_image","file_id":"file-abc"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"image","source":{"type":"file","file_id":"file_abc"}}]}]}"#,
            "",
            "",
        ],
    ),
    fixture(
        "PDF, inline",
        "document",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,PDF"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"See"},{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,PDF"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"PDF"}}]}]}"#,
            r#"{"contents":[{"parts":[{"text":"See"},{"inlineData":{"mimeType":"application/pdf","data":"PDF"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"See"},{"document":{"format":"pdf","name":"a","source":{"bytes":"PDF"}}}]}]}"#,
        ],
    ),
    fixture(
        "PDF, URL",
        "document",
        [
            "",
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"See"},{"type":"input_file","file_url":"https://e.com/a.pdf"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"document","source":{"type":"url","url":"https://e.com/a.pdf"}}]}]}"#,
            r#"{"contents":[{"parts":[{"text":"See"},{"fileData":{"mimeType":"application/pdf","fileUri":"https://e.com/a.pdf"}}]}]}"#,
            "",
        ],
    ),
    fixture(
        "PDF, uploaded before",
        "document",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"file","file":{"file_id":"file-abc"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"See"},{"type":"input_file","file_id":"file-abc"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"document","source":{"type":"file","file_id":"file_abc"}}]}]}"#,
            r#"{"contents":[{"parts":[{"text":"See"},{"fileData":{"mimeType":"application/pdf","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/abc"}}]}]}"#,
            "",
        ],
    ),
    fixture(
        "PDF in a bucket",
        "document",
        [
            "",
            "",
            "",
            r#"{"contents":[{"parts":[{"text":"See"},{"fileData":{"mimeType":"application/pdf","fileUri":"gs://bucket/a.pdf"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"See"},{"document":{"format":"pdf","name":"a","source":{"s3Location":{"uri":"s3://bucket/a.pdf"}}}}]}]}"#,
        ],
    ),
    fixture(
        "document of plain text",
        "document",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,NOTES"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"See"},{"type":"input_file","filename":"a.txt","file_data":"data:text/plain;base64,NOTES"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"Some notes"}}]}]}"#,
            r#"{"contents":[{"parts":[{"text":"See"},{"inlineData":{"mimeType":"text/plain","data":"NOTES"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"See"},{"document":{"format":"txt","name":"a","source":{"bytes":"NOTES"}}}]}]}"#,
        ],
    ),
    fixture(
        "name of a document",
        "filename",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,PDF"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"See"},{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,PDF"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"See"},{"type":"document","title":"a.pdf","source":{"type":"base64","media_type":"application/pdf","data":"PDF"}}]}]}"#,
            r#"{"contents":[{"parts":[{"text":"See"},{"inlineData":{"mimeType":"application/pdf","data":"PDF","displayName":"a.pdf"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"See"},{"document":{"format":"pdf","name":"a","source":{"bytes":"PDF"}}}]}]}"#,
        ],
    ),
    fixture(
        "audio",
        "audio",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Hear"},{"type":"input_audio","input_audio":{"data":"WAV","format":"wav"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"Hear"},{"type":"input_audio","input_audio":{"data":"WAV","format":"wav"}}]}]}"#,
            "",
            r#"{"contents":[{"parts":[{"text":"Hear"},{"inlineData":{"mimeType":"audio/wav","data":"WAV"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"Hear"},{"audio":{"format":"wav","source":{"bytes":"WAV"}}}]}]}"#,
        ],
    ),
    fixture(
        "video",
        "video",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Watch"},{"type":"video_url","video_url":{"url":"data:video/mp4;base64,MP4"}}]}]}"#,
            "",
            "",
            r#"{"contents":[{"parts":[{"text":"Watch"},{"inlineData":{"mimeType":"video/mp4","data":"MP4"}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"Watch"},{"video":{"format":"mp4","source":{"bytes":"MP4"}}}]}]}"#,
        ],
    ),
    fixture(
        "tools",
        "tools",
        [
            r#"{"tools":TOOLS}"#,
            r#"{"tools":TOOLS}"#,
            r#"{"tools":TOOLS}"#,
            r#"{"tools":TOOLS}"#,
            r#"{"toolConfig":{"tools":TOOLS}}"#,
        ],
    ),
    fixture(
        "tools: schemas with `$ref` and `oneOf`",
        "tools",
        [
            r#"{"tools":[{"type":"function","function":{"name":"f","parameters":REFS}}]}"#,
            r#"{"tools":[{"type":"function","name":"f","parameters":REFS,"strict":false}]}"#,
            r#"{"tools":[{"name":"f","input_schema":REFS}]}"#,
            r#"{"tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":REFS}]}]}"#,
            r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":REFS}}}]}}"#,
        ],
    ),
    fixture(
        "tools: names such as `server.read/file`",
        "tools",
        [
            r#"{"tools":[{"type":"function","function":{"name":"server.read/file"}}]}"#,
            r#"{"tools":[{"type":"function","name":"server.read/file","strict":false}]}"#,
            r#"{"tools":[{"name":"server.read/file","input_schema":{"type":"object","properties":{}}}]}"#,
            r#"{"tools":[{"functionDeclarations":[{"name":"server.read/file"}]}]}"#,
            r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"server.read/file","inputSchema":{"json":{"type":"object","properties":{}}}}}]}}"#,
        ],
    ),
    fixture(
        "tools: strict arguments",
        "strict",
        [
            r#"{"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":SCHEMA}}]}"#,
            r#"{"tools":[{"type":"function","name":"f","strict":true,"parameters":SCHEMA}]}"#,
            r#"{"tools":[{"name":"f","strict":true,"input_schema":SCHEMA}]}"#,
            "",
            r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"f","strict":true,"inputSchema":{"json":SCHEMA}}}]}}"#,
        ],
    ),
    fixture(
        "tool choice: auto",
        "tool_choice",
        [
            r#"{"tools":TOOLS,"tool_choice":"auto"}"#,
            r#"{"tools":TOOLS,"tool_choice":"auto"}"#,
            r#"{"tools":TOOLS,"tool_choice":{"type":"auto"}}"#,
            r#"{"tools":TOOLS,"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}}"#,
            r#"{"toolConfig":{"tools":TOOLS,"toolChoice":{"auto":{}}}}"#,
        ],
    ),
    fixture(
        "tool choice: none",
        "tool_choice",
        [
            r#"{"tools":TOOLS,"tool_choice":"none"}"#,
            r#"{"tools":TOOLS,"tool_choice":"none"}"#,
            r#"{"tools":TOOLS,"tool_choice":{"type":"none"}}"#,
            r#"{"tools":TOOLS,"toolConfig":{"functionCallingConfig":{"mode":"NONE"}}}"#,
            "",
        ],
    ),
    fixture(
        "tool choice: any, but one",
        "tool_choice",
        [
            r#"{"tools":TOOLS,"tool_choice":"required"}"#,
            r#"{"tools":TOOLS,"tool_choice":"required"}"#,
            r#"{"tools":TOOLS,"tool_choice":{"type":"any"}}"#,
            r#"{"tools":TOOLS,"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}}"#,
            r#"{"toolConfig":{"tools":TOOLS,"toolChoice":{"any":{}}}}"#,
        ],
    ),
    fixture(
        "tool choice: this one",
        "tool_choice",
        [
            r#"{"tools":TOOLS,"tool_choice":{"type":"function","function":{"name":"f"}}}"#,
            r#"{"tools":TOOLS,"tool_choice":{"type":"function","name":"f"}}"#,
            r#"{"tools":TOOLS,"tool_choice":{"type":"tool","name":"f"}}"#,
            r#"{"tools":TOOLS,"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}}}"#,
            r#"{"toolConfig":{"tools":TOOLS,"toolChoice":{"tool":{"name":"f"}}}}"#,
        ],
    ),
    fixture(
        "tool choice: some of them",
        "tool_choice",
        [
            r#"{"tools":TOOLS,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}}]}}}"#,
            r#"{"tools":TOOLS,"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}}"#,
            "",
            r#"{"tools":TOOLS,"toolConfig":{"functionCallingConfig":{"mode":"VALIDATED","allowedFunctionNames":["f"]}}}"#,
            "",
        ],
    ),
    fixture(
        "one call at a time",
        "parallel_tool_calls",
        [
            r#"{"tools":TOOLS,"parallel_tool_calls":false}"#,
            r#"{"tools":TOOLS,"parallel_tool_calls":false}"#,
            r#"{"tools":TOOLS,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}"#,
            "",
            r#"{"toolConfig":{"tools":TOOLS},"additionalModelRequestFields":{"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}}"#,
        ],
    ),
    fixture("parallel calls in the history", "calls", LOOP),
    fixture("their results", "results", LOOP),
    fixture(
        "a failed result",
        "is_error",
        [
            "",
            "",
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":"x"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"no such file","is_error":true}]}]}"#,
            r#"{"tools":TOOLS,"contents":[{"role":"user","parts":[{"text":"Go"}]},{"role":"model","parts":[{"functionCall":{"id":"1","name":"f","args":{"a":"x"}}}]},{"role":"user","parts":[{"functionResponse":{"id":"1","name":"f","response":{"error":"no such file"}}}]}]}"#,
            r#"{"toolConfig":{"tools":TOOLS},"messages":[{"role":"user","content":[{"text":"Go"}]},{"role":"assistant","content":[{"toolUse":{"toolUseId":"t1","name":"f","input":{"a":"x"}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t1","status":"error","content":[{"text":"no such file"}]}}]}]}"#,
        ],
    ),
    fixture(
        "an image in a result",
        "result media",
        [
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"g","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,PNG"}}]}]}"#,
            r#"{"tools":TOOLS,"input":[{"role":"user","content":"Go"},{"type":"function_call","call_id":"call_1","name":"g","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"data:image/png;base64,PNG"}]}]}"#,
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"g","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"PNG"}}]}]}]}"#,
            r#"{"tools":TOOLS,"contents":[{"role":"user","parts":[{"text":"Go"}]},{"role":"model","parts":[{"functionCall":{"id":"1","name":"g","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"id":"1","name":"g","response":{"output":"see"},"parts":[{"inlineData":{"mimeType":"image/png","data":"PNG"}}]}}]}]}"#,
            r#"{"toolConfig":{"tools":TOOLS},"messages":[{"role":"user","content":[{"text":"Go"}]},{"role":"assistant","content":[{"toolUse":{"toolUseId":"t1","name":"g","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"text":"see"},{"image":{"format":"png","source":{"bytes":"PNG"}}}]}}]}]}"#,
        ],
    ),
    fixture(
        "answer in JSON of a schema",
        "json_schema",
        [
            r#"{"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":SCHEMA}}}"#,
            r#"{"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":SCHEMA}}}"#,
            r#"{"output_config":{"format":{"type":"json_schema","schema":SCHEMA}}}"#,
            r#"{"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":SCHEMA}}"#,
            r#"{"outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"name":"n","schema":"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"],\"additionalProperties\":false}"}}}}}"#,
        ],
    ),
    fixture(
        "answer in any JSON",
        "json_object",
        [
            r#"{"response_format":{"type":"json_object"}}"#,
            r#"{"text":{"format":{"type":"json_object"}}}"#,
            "",
            r#"{"generationConfig":{"responseMimeType":"application/json"}}"#,
            "",
        ],
    ),
    fixture(
        "reasoning: effort",
        "effort",
        [
            r#"{"reasoning_effort":"high"}"#,
            r#"{"reasoning":{"effort":"high"}}"#,
            r#"{"thinking":{"type":"adaptive"},"output_config":{"effort":"high"}}"#,
            r#"{"generationConfig":{"thinkingConfig":{"thinkingLevel":"HIGH"}}}"#,
            r#"{"additionalModelRequestFields":{"thinking":{"type":"adaptive"},"output_config":{"effort":"high"}}}"#,
        ],
    ),
    fixture(
        "reasoning: budget of tokens",
        "budget",
        [
            r#"{"thinking":{"type":"enabled","budget_tokens":2048}}"#,
            "",
            r#"{"max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":2048}}"#,
            r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":2048}}}"#,
            r#"{"inferenceConfig":{"maxTokens":4096},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":2048}}}"#,
        ],
    ),
    fixture(
        "reasoning: off",
        "thinking off",
        [
            r#"{"reasoning_effort":"none"}"#,
            r#"{"reasoning":{"effort":"none"}}"#,
            r#"{"thinking":{"type":"disabled"}}"#,
            r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":0}}}"#,
            r#"{"additionalModelRequestFields":{"thinking":{"type":"disabled"}}}"#,
        ],
    ),
    fixture(
        "reasoning: shown",
        "thoughts shown",
        [
            r#"{"reasoning":{"effort":"high","exclude":false}}"#,
            r#"{"reasoning":{"effort":"high","summary":"auto"}}"#,
            r#"{"thinking":{"type":"adaptive","display":"summarized"}}"#,
            r#"{"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}"#,
            r#"{"additionalModelRequestFields":{"thinking":{"type":"adaptive","display":"summarized"}}}"#,
        ],
    ),
    fixture(
        "history: Claude's signed thoughts",
        "Claude's thoughts",
        [
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":null,"thinking_blocks":[{"type":"thinking","thinking":"Hm","signature":"TGanc2lnbg=="}],"tool_calls":[{"id":"call_1","type":"function","function":{"name":"g","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"ok"}]}"#,
            r#"{"tools":TOOLS,"input":[{"role":"user","content":"Go"},{"type":"reasoning","summary":[{"type":"summary_text","text":"Hm"}],"encrypted_content":"TGanc2lnbg=="},{"type":"function_call","call_id":"call_1","name":"g","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":"ok"}]}"#,
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":[{"type":"thinking","thinking":"Hm","signature":"c2lnbg=="},{"type":"tool_use","id":"toolu_1","name":"g","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"ok"}]}]}"#,
            r#"{"tools":TOOLS,"contents":[{"role":"user","parts":[{"text":"Go"}]},{"role":"model","parts":[{"text":"Hm","thought":true,"thoughtSignature":"WRAP_CLAUDE"},{"functionCall":{"id":"1","name":"g","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"id":"1","name":"g","response":{"output":"ok"}}}]}]}"#,
            r#"{"toolConfig":{"tools":TOOLS},"messages":[{"role":"user","content":[{"text":"Go"}]},{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Hm","signature":"c2lnbg=="}}},{"toolUse":{"toolUseId":"t1","name":"g","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"text":"ok"}]}}]}]}"#,
        ],
    ),
    fixture(
        "history: Claude's redacted thoughts",
        "redacted thoughts",
        [
            r#"{"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":"So","thinking_blocks":[{"type":"redacted_thinking","data":"TGanc2lnbg=="}]},{"role":"user","content":"On"}]}"#,
            r#"{"input":[{"role":"user","content":"Go"},{"type":"reasoning","summary":[],"encrypted_content":"TGreTGanc2lnbg=="},{"role":"assistant","content":"So"},{"role":"user","content":"On"}]}"#,
            r#"{"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":[{"type":"redacted_thinking","data":"c2lnbg=="},{"type":"text","text":"So"}]},{"role":"user","content":"On"}]}"#,
            r#"{"contents":[{"role":"user","parts":[{"text":"Go"}]},{"role":"model","parts":[{"text":"","thought":true,"thoughtSignature":"WRAP_REDACTED"},{"text":"So"}]},{"role":"user","parts":[{"text":"On"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"Go"}]},{"role":"assistant","content":[{"reasoningContent":{"redactedContent":"c2lnbg=="}},{"text":"So"}]},{"role":"user","content":[{"text":"On"}]}]}"#,
        ],
    ),
    fixture(
        "history: Gemini's signature of a call",
        "Gemini's signatures",
        [
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"g","arguments":"{}"},"extra_content":{"google":{"thought_signature":"c2lnbg=="}}}]},{"role":"tool","tool_call_id":"call_1","content":"ok"}]}"#,
            r#"{"tools":TOOLS,"input":[{"role":"user","content":"Go"},{"type":"reasoning","summary":[],"encrypted_content":"TGcaTGgoc2lnbg=="},{"type":"function_call","call_id":"call_1","name":"g","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":"ok"}]}"#,
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":[{"type":"redacted_thinking","data":"TGgoc2lnbg=="},{"type":"tool_use","id":"toolu_1","name":"g","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"ok"}]}]}"#,
            r#"{"tools":TOOLS,"contents":[{"role":"user","parts":[{"text":"Go"}]},{"role":"model","parts":[{"functionCall":{"id":"1","name":"g","args":{}},"thoughtSignature":"c2lnbg=="}]},{"role":"user","parts":[{"functionResponse":{"id":"1","name":"g","response":{"output":"ok"}}}]}]}"#,
            r#"{"toolConfig":{"tools":TOOLS},"messages":[{"role":"user","content":[{"text":"Go"}]},{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"","signature":"TGgoc2lnbg=="}}},{"toolUse":{"toolUseId":"t1","name":"g","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"text":"ok"}]}}]}]}"#,
        ],
    ),
    fixture(
        "history: OpenAI's encrypted reasoning",
        "OpenAI's reasoning",
        [
            r#"{"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":"So","thinking_blocks":[{"type":"thinking","thinking":"Hm","signature":"c2lnbg=="}]},{"role":"user","content":"On"}]}"#,
            r#"{"input":[{"role":"user","content":"Go"},{"type":"reasoning","summary":[{"type":"summary_text","text":"Hm"}],"encrypted_content":"c2lnbg=="},{"role":"assistant","content":"So"},{"role":"user","content":"On"}]}"#,
            r#"{"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":[{"type":"thinking","thinking":"Hm","signature":"TGoac2lnbg=="},{"type":"text","text":"So"}]},{"role":"user","content":"On"}]}"#,
            r#"{"contents":[{"role":"user","parts":[{"text":"Go"}]},{"role":"model","parts":[{"text":"Hm","thought":true,"thoughtSignature":"WRAP_OPENAI"},{"text":"So"}]},{"role":"user","parts":[{"text":"On"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"Go"}]},{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Hm","signature":"TGoac2lnbg=="}}},{"text":"So"}]},{"role":"user","content":[{"text":"On"}]}]}"#,
        ],
    ),
    fixture(
        "history: thoughts without a signature",
        "plain thoughts",
        [
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":null,"reasoning_content":"Hm","tool_calls":[{"id":"call_1","type":"function","function":{"name":"g","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"ok"}]}"#,
            r#"{"tools":TOOLS,"input":[{"role":"user","content":"Go"},{"type":"reasoning","summary":[{"type":"summary_text","text":"Hm"}]},{"type":"function_call","call_id":"call_1","name":"g","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":"ok"}]}"#,
            r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":[{"type":"thinking","thinking":"Hm","signature":""},{"type":"tool_use","id":"toolu_1","name":"g","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"ok"}]}]}"#,
            r#"{"tools":TOOLS,"contents":[{"role":"user","parts":[{"text":"Go"}]},{"role":"model","parts":[{"text":"Hm","thought":true},{"functionCall":{"id":"1","name":"g","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"id":"1","name":"g","response":{"output":"ok"}}}]}]}"#,
            r#"{"toolConfig":{"tools":TOOLS},"messages":[{"role":"user","content":[{"text":"Go"}]},{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Hm"}}},{"toolUse":{"toolUseId":"t1","name":"g","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"text":"ok"}]}}]}]}"#,
        ],
    ),
    fixture(
        "limit of tokens",
        "max_tokens",
        [
            r#"{"max_completion_tokens":100}"#,
            r#"{"max_output_tokens":100}"#,
            r#"{"max_tokens":100}"#,
            r#"{"generationConfig":{"maxOutputTokens":100}}"#,
            r#"{"inferenceConfig":{"maxTokens":100}}"#,
        ],
    ),
    fixture(
        "temperature",
        "temperature",
        [
            r#"{"temperature":0.5}"#,
            r#"{"temperature":0.5}"#,
            r#"{"temperature":0.5}"#,
            r#"{"generationConfig":{"temperature":0.5}}"#,
            r#"{"inferenceConfig":{"temperature":0.5}}"#,
        ],
    ),
    fixture(
        "temperature above 1",
        "temperature",
        [r#"{"temperature":1.7}"#, r#"{"temperature":1.7}"#, "", r#"{"generationConfig":{"temperature":1.7}}"#, ""],
    ),
    fixture(
        "top_p",
        "top_p",
        [
            r#"{"top_p":0.9}"#,
            r#"{"top_p":0.9}"#,
            r#"{"top_p":0.9}"#,
            r#"{"generationConfig":{"topP":0.9}}"#,
            r#"{"inferenceConfig":{"topP":0.9}}"#,
        ],
    ),
    fixture(
        "top_k",
        "top_k",
        [
            r#"{"top_k":40}"#,
            "",
            r#"{"top_k":40}"#,
            r#"{"generationConfig":{"topK":40}}"#,
            r#"{"additionalModelRequestFields":{"top_k":40}}"#,
        ],
    ),
    fixture(
        "stop texts",
        "stop",
        [
            r#"{"stop":["END","STOP"]}"#,
            "",
            r#"{"stop_sequences":["END","STOP"]}"#,
            r#"{"generationConfig":{"stopSequences":["END","STOP"]}}"#,
            r#"{"inferenceConfig":{"stopSequences":["END","STOP"]}}"#,
        ],
    ),
    fixture("several answers", "n", [r#"{"n":2}"#, "", "", r#"{"generationConfig":{"candidateCount":2}}"#, ""]),
    fixture("seed", "seed", [r#"{"seed":7}"#, "", "", r#"{"generationConfig":{"seed":7}}"#, ""]),
    fixture(
        "presence penalty",
        "presence_penalty",
        [r#"{"presence_penalty":0.5}"#, "", "", r#"{"generationConfig":{"presencePenalty":0.5}}"#, ""],
    ),
    fixture(
        "frequency penalty",
        "frequency_penalty",
        [r#"{"frequency_penalty":0.5}"#, "", "", r#"{"generationConfig":{"frequencyPenalty":0.5}}"#, ""],
    ),
    fixture(
        "log-probabilities",
        "logprobs",
        [
            r#"{"logprobs":true,"top_logprobs":3}"#,
            r#"{"include":["message.output_text.logprobs"],"top_logprobs":3}"#,
            "",
            r#"{"generationConfig":{"responseLogprobs":true,"logprobs":3}}"#,
            "",
        ],
    ),
    fixture(
        "end user",
        "user",
        [r#"{"user":"u-1"}"#, r#"{"safety_identifier":"u-1"}"#, r#"{"metadata":{"user_id":"u-1"}}"#, "", ""],
    ),
    fixture(
        "metadata",
        "metadata",
        [r#"{"metadata":{"k":"v"}}"#, r#"{"metadata":{"k":"v"}}"#, "", "", r#"{"requestMetadata":{"k":"v"}}"#],
    ),
    fixture(
        "class of service",
        "service_tier",
        [
            r#"{"service_tier":"flex"}"#,
            r#"{"service_tier":"flex"}"#,
            r#"{"service_tier":"standard_only"}"#,
            r#"{"serviceTier":"flex"}"#,
            r#"{"serviceTier":{"type":"flex"}}"#,
        ],
    ),
    fixture(
        "cache marks",
        "cache_control",
        [
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}]}"#,
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"Hi","prompt_cache_breakpoint":{}}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}]}"#,
            "",
            r#"{"messages":[{"role":"user","content":[{"text":"Hi"},{"cachePoint":{"type":"default"}}]}]}"#,
        ],
    ),
    fixture(
        "a member that nobody knows",
        "unknown",
        [
            r#"{"new_setting":true}"#,
            r#"{"new_setting":true}"#,
            r#"{"new_setting":true}"#,
            r#"{"new_setting":true}"#,
            r#"{"new_setting":true}"#,
        ],
    ),
];

/// Two calls at once and their results.
const LOOP: [&str; 5] = [
    r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":\"x\"}"}},{"id":"call_2","type":"function","function":{"name":"g","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_2","content":"second"},{"role":"tool","tool_call_id":"call_1","content":"{\"first\":1}"}]}"#,
    r#"{"tools":TOOLS,"input":[{"role":"user","content":"Go"},{"type":"function_call","call_id":"call_1","name":"f","arguments":"{\"a\":\"x\"}"},{"type":"function_call","call_id":"call_2","name":"g","arguments":"{}"},{"type":"function_call_output","call_id":"call_2","output":"second"},{"type":"function_call_output","call_id":"call_1","output":"{\"first\":1}"}]}"#,
    r#"{"tools":TOOLS,"messages":[{"role":"user","content":"Go"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":"x"}},{"type":"tool_use","id":"toolu_2","name":"g","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_2","content":"second"},{"type":"tool_result","tool_use_id":"toolu_1","content":"{\"first\":1}"}]}]}"#,
    r#"{"tools":TOOLS,"contents":[{"role":"user","parts":[{"text":"Go"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":"x"}}},{"functionCall":{"name":"g","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"g","response":{"output":"second"}}},{"functionResponse":{"name":"f","response":{"first":1}}}]}]}"#,
    r#"{"toolConfig":{"tools":TOOLS},"messages":[{"role":"user","content":[{"text":"Go"}]},{"role":"assistant","content":[{"toolUse":{"toolUseId":"t1","name":"f","input":{"a":"x"}}},{"toolUse":{"toolUseId":"t2","name":"g","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t2","content":[{"text":"second"}]}},{"toolResult":{"toolUseId":"t1","content":[{"json":{"first":1}}]}}]}]}"#,
];
