//! One reply per feature and provider dialect, and the parts of it that a client gets.

use serde_json::{Value, json};
use tollgate_dialects::{
    conversation::{
        Call, Choice, Content, Event, Finish, HostedAction, Media, Part, Reply, Role, Signature, SignatureOrigin,
        Source, Text,
    },
    dialect::{DialectId, UnsupportedInReply},
    stream::TopLevel,
};

use super::{
    carried::canon,
    exercise::{assemble, owned, read_stream, write_reply, write_stream},
};

/// A feature of a reply.
pub struct ReplyFeature {
    /// Its name.
    pub name: &'static str,
    /// The feature's value in a reply; `None` when the reply does not have it.
    pub of: fn(&Reply<'_>) -> Option<String>,
}

/// A feature that a provider's reply may have, in the form of each dialect.
pub struct ReplyFixture {
    /// The name in the documentation.
    pub title: &'static str,
    /// The feature by which it is judged.
    pub feature: &'static str,
    /// Changes to a plain reply in the order of [`DialectId::ALL`], lines of `/place JSON`; empty where the dialect
    /// can't express it.
    changes: [&'static str; 5],
}

/// The reason why a client does not get a feature that its dialect does not support. The mark is ◐ if the feature comes
/// in another form.
#[derive(Clone, Copy)]
pub struct NoPlace {
    to: &'static [DialectId],
    feature: &'static str,
    pub mark: char,
    pub why: &'static str,
    /// The name by which it is reported, if it is: `reply.NAME`.
    pub name: &'static str,
}

const fn no_place(to: &'static [DialectId], feature: &'static str, mark: char, why: &'static str) -> NoPlace {
    NoPlace { to, feature, mark, why, name: "" }
}

const fn named_as(name: &'static str, place: NoPlace) -> NoPlace {
    NoPlace { name, ..place }
}

/// The names of the fields of `reply` that clients of `to` do not get, in a buffered reply and in a stream.
pub fn lost(to: DialectId, reply: &Reply<'_>) -> [String; 2] {
    let (mut whole, mut streamed) = (UnsupportedInReply::new(to), UnsupportedInReply::new(to));
    whole.reply(reply);
    reply.replay(&mut |event| streamed.event(&event));
    [whole, streamed].map(|lost| lost.names().to_string())
}

use DialectId::{Chat, Converse, Gemini, Messages, Responses};

/// All features that are not carried. A feature that is neither here nor carried is lost silently, and the test fails.
pub const NO_PLACES: &[NoPlace] = &[
    named_as(
        "choices",
        no_place(&[Responses, Messages, Converse], "answers", '○', "the dialect has one answer: the first"),
    ),
    no_place(&[Messages, Gemini, Converse], "refusal", '◐', "as text"),
    named_as("logprobs", no_place(&[Messages, Converse], "logprobs", '○', "the dialect has none")),
    named_as("stop_sequence", no_place(&[Responses, Gemini], "stop text", '○', "the dialect does not say which")),
    no_place(&[Converse], "model", '○', "the dialect does not name it"),
    no_place(&[Converse], "id", '○', "the dialect has none: it is the request id in the headers"),
    no_place(&[Responses, Converse], "id", '◐', "under a prefix of the dialect"),
    no_place(&[Messages, Gemini], "service tier", '○', "the dialect has no such word"),
    named_as("image", no_place(&[Messages], "image", '○', "a message of the dialect has no place for media")),
    named_as(
        "web_search",
        no_place(&[Chat, Converse], "searches", '○', "the dialect has citations, and no place for the search itself"),
    ),
    named_as("web_fetch", no_place(&[Chat, Converse], "pages read", '○', "the dialect has no place for it")),
    named_as("code_execution", no_place(&[Chat, Converse], "code run", '○', "the dialect has no place for it")),
    named_as("usage.cache_write", no_place(&[Gemini], "cache writes", '○', "the dialect does not count them apart")),
    named_as(
        "usage.reasoning",
        no_place(&[Converse], "reasoning tokens", '○', "the dialect does not count them apart"),
    ),
    named_as(
        "citations.quote",
        no_place(&[Chat, Responses, Gemini], "quotes", '○', "the dialect names the place, not the quote"),
    ),
    named_as(
        "citations.place",
        no_place(&[Messages, Converse], "places", '○', "the dialect cites by quote, not by place"),
    ),
];

/// All features of replies.
pub const REPLY_FEATURES: &[ReplyFeature] = &[
    ReplyFeature { name: "text", of: |r| joined(texts(r.choices.first()?)) },
    ReplyFeature { name: "answers", of: |r| (r.choices.len() > 1).then(|| joined(r.choices.iter().flat_map(texts)))? },
    ReplyFeature {
        name: "refusal",
        of: |r| {
            lines(
                contents(r).filter_map(|c| {
                    if let Content::Refusal(text) = c { Some(text.decode().into_owned()) } else { None }
                }),
            )
        },
    },
    ReplyFeature {
        name: "thoughts",
        of: |r| {
            joined(contents(r).filter_map(|c| match c {
                Content::Thinking { text, .. } if !text.is_empty() => Some(text.decode().into_owned()),
                _ => None,
            }))
        },
    },
    ReplyFeature { name: "Claude's signatures", of: |r| signatures(r, SignatureOrigin::Anthropic) },
    ReplyFeature { name: "OpenAI's encrypted reasoning", of: |r| signatures(r, SignatureOrigin::OpenAi) },
    ReplyFeature { name: "Gemini's signatures", of: |r| signatures(r, SignatureOrigin::Google) },
    ReplyFeature {
        name: "redacted thoughts",
        of: |r| lines(contents(r).filter_map(|c| if let Content::Redacted(s) = c { Some(proof(s)) } else { None })),
    },
    ReplyFeature {
        name: "calls",
        of: |r| {
            lines(contents(r).filter_map(|c| match c {
                Content::Call(call) => {
                    Some(format!("{} {} {}", call.id.decode(), call.name.decode(), canon(&call.arguments)))
                }
                _ => None,
            }))
        },
    },
    ReplyFeature { name: "finish", of: |r| Some(format!("{:?}", r.choices.first()?.finish)) },
    ReplyFeature {
        name: "stop text",
        of: |r| r.choices.first()?.stop_sequence.as_ref().map(|t| t.decode().into_owned()),
    },
    ReplyFeature {
        name: "logprobs",
        of: |r| {
            let logprobs = &r.choices.first()?.logprobs;
            (!logprobs.is_empty()).then(|| format!("{logprobs:?}"))
        },
    },
    ReplyFeature { name: "citations", of: |r| cited(r, |c| Some(format!("{:?} {:?}", c.url.as_ref()?, c.title))) },
    ReplyFeature { name: "places", of: |r| cited(r, |c| Some(format!("{} to {}", c.start?, c.end?))) },
    ReplyFeature { name: "quotes", of: |r| cited(r, |c| c.quote.as_ref().map(|q| q.decode().into_owned())) },
    ReplyFeature { name: "tokens", of: |r| Some(format!("{} {}", r.usage.input.filter(|n| *n > 0)?, r.usage.output?)) },
    ReplyFeature { name: "cached tokens", of: |r| count(r.usage.cached) },
    ReplyFeature { name: "cache writes", of: |r| count(r.usage.cache_write) },
    ReplyFeature { name: "reasoning tokens", of: |r| count(r.usage.reasoning) },
    ReplyFeature { name: "model", of: |r| r.model.as_ref().map(|t| t.decode().into_owned()) },
    ReplyFeature { name: "id", of: |r| r.id.as_ref().map(|t| t.decode().into_owned()) },
    ReplyFeature { name: "service tier", of: |r| r.service_tier.as_ref().map(|t| t.decode().into_owned()) },
    ReplyFeature {
        name: "searches",
        of: |r| {
            hosted(r, |action| match action {
                HostedAction::Search { queries, pages } => {
                    let words = |text: &Text<'_>| text.decode().into_owned();
                    let queries: Vec<String> = queries.iter().map(words).collect();
                    let pages: Vec<String> = pages.iter().map(|page| words(&page.url)).collect();
                    Some(format!("{} > {}", queries.join("; "), pages.join(" ")))
                }
                _ => None,
            })
        },
    },
    ReplyFeature {
        name: "pages read",
        of: |r| {
            hosted(r, |action| match action {
                HostedAction::Fetch(page) => Some(page.url.decode().into_owned()),
                _ => None,
            })
        },
    },
    ReplyFeature {
        name: "code run",
        of: |r| {
            hosted(r, |action| match action {
                HostedAction::Code { code, output, errors, .. } => {
                    Some(format!("{} > {}{}", code.decode(), output.decode(), errors.decode()))
                }
                _ => None,
            })
        },
    },
    ReplyFeature {
        name: "image",
        of: |r| {
            lines(contents(r).filter_map(|c| match c {
                Content::Media(media) => match &media.source {
                    Source::Data { mime, data } => Some(format!("{mime}:{}", data.decode())),
                    _ => None,
                },
                _ => None,
            }))
        },
    },
];

/// The feature of this name.
pub fn named(name: &str) -> &'static ReplyFeature {
    REPLY_FEATURES.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no feature {name}"))
}

/// The reason why a client of `to` may not get all of `feature`.
pub fn excuse(to: DialectId, feature: &str) -> Option<&'static NoPlace> {
    NO_PLACES.iter().find(|n| n.feature == feature && n.to.contains(&to))
}

/// The reply that a client of `to` gets for `reply`, buffered and as a stream.
pub fn both_ways(to: DialectId, reply: &Reply<'_>) -> [Reply<'static>; 2] {
    let written = write_reply(to, reply);
    let whole = to.dialect().read_reply(&written).unwrap_or_else(|failure| panic!("{to:?}: {failure:?}"));
    let mut events = Vec::new();
    whole.replay(&mut |event| events.push(owned(event)));
    let mut told: Vec<Event<'_>> = Vec::new();
    reply.replay(&mut |event| told.push(owned(event)));
    let bytes = write_stream(to, &told);
    // The buffered reply is converted to events, so that it borrows nothing; fields that events can't carry are added.
    let mut piece = assemble(&events);
    piece.service_tier = whole.service_tier.as_ref().map(|t| t.clone().into_owned());
    [piece, lent_back(assemble(&read_stream(to, &[&bytes])))]
}

/// A client's next request, with the reply as it was written for its dialect.
pub fn next_request(to: DialectId, reply: &Reply<'_>) -> Value {
    let written: Value = serde_json::from_slice(&write_reply(to, reply)).unwrap();
    match to {
        DialectId::Chat => json!({"messages": [{"role": "user", "content": "Go"}, written["choices"][0]["message"]]}),
        DialectId::Responses => {
            let mut input = vec![json!({"role": "user", "content": "Go"})];
            input.extend(written["output"].as_array().unwrap().iter().cloned());
            json!({ "input": input })
        }
        DialectId::Messages => json!({"max_tokens": 9, "messages": [
            {"role": "user", "content": "Go"}, {"role": "assistant", "content": written["content"]}]}),
        DialectId::Gemini => {
            json!({"contents": [{"role": "user", "parts": [{"text": "Go"}]}, written["candidates"][0]["content"]]})
        }
        DialectId::Converse => {
            json!({"messages": [{"role": "user", "content": [{"text": "Go"}]}, written["output"]["message"]]})
        }
    }
}

/// The content of a client's next request when it sends back the reply: signatures must come from there.
pub fn echoed(to: DialectId, reply: &Reply<'_>) -> Reply<'static> {
    let next = next_request(to, reply).to_string();
    let top = TopLevel::scan(next.as_bytes()).unwrap();
    let request = to.dialect().read_request(&top).unwrap_or_else(|invalid| panic!("{to:?}: {invalid}: {next}"));
    let parts = request.messages.into_iter().filter(|m| m.role == Role::Assistant).flat_map(|m| m.parts).collect();
    let (finish, stop_sequence, logprobs) = (Finish::Stop, None, Vec::new());
    let choices = vec![Choice { parts, finish, stop_sequence, logprobs }];
    let mut events = Vec::new();
    Reply { choices, ..Reply::default() }.replay(&mut |event| events.push(owned(event)));
    assemble(&events)
}

/// Moves signatures that a stream attaches to reasoning, for lack of a field of their own, back to the parts that they
/// sign: the dialects' request decoders do the same with the parts that a client sends back.
pub fn lent_back(mut reply: Reply<'static>) -> Reply<'static> {
    for choice in &mut reply.choices {
        let mut waiting = None;
        let mut parts: Vec<Part<'static>> = Vec::new();
        for mut part in choice.parts.drain(..) {
            let lent = match &part.content {
                Content::Redacted(signature) => Some(signature.clone()),
                Content::Thinking { text, signature: Some(signature) } if text.is_empty() => Some(signature.clone()),
                _ => None,
            };
            let tagged = lent.as_ref().map(|s| s.value.decode().into_owned()).unwrap_or_default();
            let untagged = |mark| {
                tagged.strip_prefix(mark).map(|s| Signature::untagged(s.to_owned().into(), SignatureOrigin::OpenAi))
            };
            match (lent, &mut part.content) {
                (Some(_), _) if untagged("TGca").is_some() => waiting = untagged("TGca"),
                (Some(_), _) if untagged("TGre").is_some() => {
                    parts.push(Content::Redacted(untagged("TGre").unwrap()).into());
                }
                (Some(lent), _) if lent.maker == SignatureOrigin::Google => waiting = Some(lent),
                (Some(lent), _) if lent.maker == SignatureOrigin::Anthropic => {
                    parts.push(Content::Redacted(lent).into());
                }
                (
                    _,
                    Content::Call(Call { signature: signature @ None, .. })
                    | Content::Media(Media { signature: signature @ None, .. })
                    | Content::Text { signature: signature @ None, .. },
                ) => {
                    *signature = waiting.take();
                    parts.push(part);
                }
                _ => parts.push(part),
            }
        }
        choice.parts = parts;
    }
    reply
}

fn contents<'r, 'a>(reply: &'r Reply<'a>) -> impl Iterator<Item = &'r Content<'a>> {
    reply.choices.iter().take(1).flat_map(|choice| &choice.parts).map(|part| &part.content)
}

fn texts(choice: &Choice<'_>) -> Vec<String> {
    let texts = choice.parts.iter().filter_map(|part| match &part.content {
        Content::Text { text, .. } => Some(text.decode().into_owned()),
        _ => None,
    });
    texts.collect()
}

/// Joins texts: dialects with only one text join blocks.
fn joined(texts: impl IntoIterator<Item = String>) -> Option<String> {
    let all: String = texts.into_iter().collect();
    (!all.is_empty()).then_some(all)
}

fn lines(lines: impl Iterator<Item = String>) -> Option<String> {
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn proof(signature: &Signature<'_>) -> String {
    format!("{:?} {}", signature.maker, signature.value.decode())
}

fn signatures(reply: &Reply<'_>, maker: SignatureOrigin) -> Option<String> {
    let found = contents(reply).filter_map(|content| {
        let (what, signature) = match content {
            Content::Thinking { signature, .. } => ("thoughts", signature),
            Content::Text { signature, .. } => ("text", signature),
            Content::Call(call) => ("call", &call.signature),
            _ => return None,
        };
        let signature = signature.as_ref().filter(|s| s.maker == maker)?;
        Some(format!("{what} {}", proof(signature)))
    });
    lines(found)
}

fn cited(
    reply: &Reply<'_>,
    of: impl Fn(&tollgate_dialects::conversation::Citation<'_>) -> Option<String>,
) -> Option<String> {
    let citations = contents(reply).filter_map(|c| match c {
        Content::Text { citations, .. } => Some(citations),
        _ => None,
    });
    lines(citations.flatten().filter_map(of))
}

/// Calls that the provider has run, all of which have results.
fn hosted(reply: &Reply<'_>, of: impl Fn(&HostedAction<'_>) -> Option<String>) -> Option<String> {
    lines(contents(reply).filter_map(|content| match content {
        Content::Hosted(call) if call.error.is_none() => of(&call.action),
        _ => None,
    }))
}

fn count(count: Option<u64>) -> Option<String> {
    count.filter(|n| *n > 0).map(|n| n.to_string())
}

impl ReplyFixture {
    /// The reply in `dialect`; `None` where a provider of it can't express it.
    pub fn reply(&self, dialect: DialectId) -> Option<String> {
        let at = DialectId::ALL.iter().position(|own| *own == dialect)?;
        let changes = Some(self.changes[at]).filter(|changes| !changes.is_empty())?;
        let mut reply: Value = serde_json::from_str(PLAIN[at]).unwrap();
        for change in changes.lines().filter(|line| *line != "=") {
            let (place, json) = change.trim().split_once(' ').unwrap_or_else(|| panic!("no change: {change}"));
            set(&mut reply, place, serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}")));
        }
        Some(reply.to_string())
    }
}

/// Puts `value` at a JSON pointer, and creates the objects on the path.
fn set(whole: &mut Value, place: &str, value: Value) {
    let mut at = whole;
    for key in place.trim_start_matches('/').split('/') {
        at = match at {
            Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
            other => {
                if !other.is_object() {
                    *other = Value::Object(serde_json::Map::new());
                }
                other.as_object_mut().unwrap().entry(key).or_insert(Value::Null)
            }
        };
    }
    *at = value;
}

/// A plain reply of each dialect. `=` means no change.
pub const PLAIN: [&str; 5] = [
    r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4.1-2025","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#,
    r#"{"id":"resp_1","object":"response","created_at":1700000000,"model":"gpt-4.1-2025","status":"completed","output":[{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello","annotations":[]}]}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}"#,
    r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":5}}"#,
    r#"{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hello"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"gemini-3-pro","responseId":"r1"}"#,
    r#"{"output":{"message":{"role":"assistant","content":[{"text":"Hello"}]}},"stopReason":"end_turn","usage":{"inputTokens":10,"outputTokens":5,"totalTokens":15},"metrics":{"latencyMs":1}}"#,
];

/// All of them, in the order of the documentation.
pub const REPLY_FIXTURES: &[ReplyFixture] = &[
    ReplyFixture { title: "text", feature: "text", changes: ["=", "=", "=", "=", "="] },
    ReplyFixture {
        title: "two answers",
        feature: "answers",
        changes: [
            r#"/choices [{"index":0,"message":{"role":"assistant","content":"Heads"},"finish_reason":"stop"},{"index":1,"message":{"role":"assistant","content":"Tails"},"finish_reason":"length"}]"#,
            "",
            "",
            r#"/candidates [{"index":0,"content":{"role":"model","parts":[{"text":"Heads"}]},"finishReason":"STOP"},{"index":1,"content":{"role":"model","parts":[{"text":"Tails"}]},"finishReason":"STOP"}]"#,
            "",
        ],
    },
    ReplyFixture {
        title: "refusal in words",
        feature: "refusal",
        changes: [
            "/choices/0/message/content null\n/choices/0/message/refusal \"I won't\"",
            r#"/output/0/content/0 {"type":"refusal","refusal":"I won't"}"#,
            "",
            "",
            "",
        ],
    },
    ReplyFixture {
        title: "thoughts",
        feature: "thoughts",
        changes: [
            r#"/choices/0/message/reasoning_content "Hm""#,
            r#"/output [{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]}]"#,
            r#"/content [{"type":"thinking","thinking":"Hm","signature":"c2ln"},{"type":"text","text":"Hello"}]"#,
            r#"/candidates/0/content/parts [{"text":"Hm","thought":true},{"text":"Hello"}]"#,
            r#"/output/message/content [{"reasoningContent":{"reasoningText":{"text":"Hm"}}},{"text":"Hello"}]"#,
        ],
    },
    ReplyFixture {
        title: "thoughts: Claude's signature",
        feature: "Claude's signatures",
        changes: [
            "",
            "",
            r#"/content [{"type":"thinking","thinking":"Hm","signature":"c2ln"},{"type":"text","text":"Hello"}]"#,
            "",
            r#"/output/message/content [{"reasoningContent":{"reasoningText":{"text":"Hm","signature":"c2ln"}}},{"text":"Hello"}]"#,
        ],
    },
    ReplyFixture {
        title: "thoughts: redacted",
        feature: "redacted thoughts",
        changes: [
            "",
            "",
            r#"/content [{"type":"redacted_thinking","data":"c2ln"},{"type":"text","text":"Hello"}]"#,
            "",
            r#"/output/message/content [{"reasoningContent":{"redactedContent":"c2ln"}},{"text":"Hello"}]"#,
        ],
    },
    ReplyFixture {
        title: "thoughts: OpenAI's encrypted content",
        feature: "OpenAI's encrypted reasoning",
        changes: [
            "",
            r#"/output [{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Hm"}],"encrypted_content":"c2ln"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]}]"#,
            "",
            "",
            "",
        ],
    },
    ReplyFixture {
        title: "Gemini's signature of a call",
        feature: "Gemini's signatures",
        changes: [
            r#"/choices/0/message/tool_calls [{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"c2ln"}}}]"#,
            "",
            "",
            r#"/candidates/0/content/parts [{"functionCall":{"id":"c1","name":"f","args":{}},"thoughtSignature":"c2ln"}]"#,
            "",
        ],
    },
    ReplyFixture {
        title: "parallel calls",
        feature: "calls",
        changes: [
            "/choices/0/message/content null\n/choices/0/finish_reason \"tool_calls\"\n/choices/0/message/tool_calls [{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1.50}\"}},{\"id\":\"c2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]",
            r#"/output [{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{\"a\":1.50}"},{"type":"function_call","id":"fc_2","call_id":"c2","name":"g","arguments":"{}"}]"#,
            "/stop_reason \"tool_use\"\n/content [{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{\"a\":1.50}},{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"g\",\"input\":{}}]",
            r#"/candidates/0/content/parts [{"functionCall":{"id":"c1","name":"f","args":{"a":1.50}}},{"functionCall":{"id":"c2","name":"g","args":{}}}]"#,
            "/stopReason \"tool_use\"\n/output/message/content [{\"toolUse\":{\"toolUseId\":\"c1\",\"name\":\"f\",\"input\":{\"a\":1.50}}},{\"toolUse\":{\"toolUseId\":\"c2\",\"name\":\"g\",\"input\":{}}}]",
        ],
    },
    ReplyFixture { title: "end: done", feature: "finish", changes: ["=", "=", "=", "=", "="] },
    ReplyFixture {
        title: "end: limit of tokens",
        feature: "finish",
        changes: [
            r#"/choices/0/finish_reason "length""#,
            "/status \"incomplete\"\n/incomplete_details {\"reason\":\"max_output_tokens\"}",
            r#"/stop_reason "max_tokens""#,
            r#"/candidates/0/finishReason "MAX_TOKENS""#,
            r#"/stopReason "max_tokens""#,
        ],
    },
    ReplyFixture {
        title: "end: filtered",
        feature: "finish",
        changes: [
            r#"/choices/0/finish_reason "content_filter""#,
            "/status \"incomplete\"\n/incomplete_details {\"reason\":\"content_filter\"}",
            r#"/stop_reason "refusal""#,
            r#"/candidates/0/finishReason "SAFETY""#,
            r#"/stopReason "content_filtered""#,
        ],
    },
    ReplyFixture {
        title: "end: a stop text, which one",
        feature: "stop text",
        changes: [
            r#"/choices/0/stop_reason "END""#,
            "",
            "/stop_reason \"stop_sequence\"\n/stop_sequence \"END\"",
            "",
            "/stopReason \"stop_sequence\"\n/additionalModelResponseFields {\"stop_sequence\":\"END\"}",
        ],
    },
    ReplyFixture {
        title: "log-probabilities",
        feature: "logprobs",
        changes: [
            r#"/choices/0/logprobs {"content":[{"token":"Hello","logprob":-0.5,"bytes":null,"top_logprobs":[{"token":"Hello","logprob":-0.5},{"token":"Hi","logprob":-1.5}]}]}"#,
            r#"/output/0/content/0/logprobs [{"token":"Hello","logprob":-0.5,"top_logprobs":[{"token":"Hello","logprob":-0.5},{"token":"Hi","logprob":-1.5}]}]"#,
            "",
            r#"/candidates/0/logprobsResult {"chosenCandidates":[{"token":"Hello","logProbability":-0.5}],"topCandidates":[{"candidates":[{"token":"Hello","logProbability":-0.5},{"token":"Hi","logProbability":-1.5}]}]}"#,
            "",
        ],
    },
    ReplyFixture { title: "citations: URL and title", feature: "citations", changes: CITED },
    ReplyFixture {
        title: "citations: place in the text",
        feature: "places",
        changes: [CITED[0], CITED[1], "", CITED[3], ""],
    },
    ReplyFixture { title: "citations: quote", feature: "quotes", changes: ["", "", CITED[2], "", CITED[4]] },
    ReplyFixture {
        title: "an image",
        feature: "image",
        changes: [
            r#"/choices/0/message {"role":"assistant","content":"See","images":[{"type":"image_url","index":0,"image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}"#,
            r#"/output [{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"See","annotations":[]}]},{"type":"image_generation_call","id":"ig_1","status":"completed","result":"iVBORw0KGgo="}]"#,
            "",
            r#"/candidates/0/content/parts [{"text":"See"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]"#,
            r#"/output/message/content [{"text":"See"},{"image":{"format":"png","source":{"bytes":"iVBORw0KGgo="}}}]"#,
        ],
    },
    ReplyFixture { title: "a search of the provider's", feature: "searches", changes: SEARCHED },
    ReplyFixture {
        title: "a page that the provider has read",
        feature: "pages read",
        changes: [
            "",
            r#"/output [{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"open_page","url":"https://e.com"}},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]}]"#,
            r#"/content [{"type":"server_tool_use","id":"srvtoolu_1","name":"web_fetch","input":{"url":"https://e.com"}},{"type":"web_fetch_tool_result","tool_use_id":"srvtoolu_1","content":{"type":"web_fetch_result","url":"https://e.com","content":{"type":"document","source":{"type":"text","media_type":"text/plain","data":"Body"},"title":"E"},"retrieved_at":null}},{"type":"text","text":"Hello"}]"#,
            r#"/candidates/0/urlContextMetadata {"urlMetadata":[{"retrievedUrl":"https://e.com","urlRetrievalStatus":"URL_RETRIEVAL_STATUS_SUCCESS"}]}"#,
            "",
        ],
    },
    ReplyFixture {
        title: "code that the provider has run",
        feature: "code run",
        changes: [
            "",
            r#"/output [{"type":"code_interpreter_call","id":"ci_1","status":"completed","code":"print(42)","container_id":"cntr_1","outputs":[{"type":"logs","logs":"42"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]}]"#,
            r#"/content [{"type":"server_tool_use","id":"srvtoolu_1","name":"bash_code_execution","input":{"command":"print(42)"}},{"type":"bash_code_execution_tool_result","tool_use_id":"srvtoolu_1","content":{"type":"bash_code_execution_result","stdout":"42","stderr":"","return_code":0,"content":[]}},{"type":"text","text":"Hello"}]"#,
            r#"/candidates/0/content/parts [{"executableCode":{"language":"PYTHON","code":"print(42)"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"42"}},{"text":"Hello"}]"#,
            "",
        ],
    },
    ReplyFixture { title: "tokens", feature: "tokens", changes: ["=", "=", "=", "=", "="] },
    ReplyFixture {
        title: "tokens: from the cache",
        feature: "cached tokens",
        changes: [
            "/usage/prompt_tokens_details {\"cached_tokens\":4}",
            "/usage/input_tokens_details {\"cached_tokens\":4}",
            "/usage/cache_read_input_tokens 4",
            "/usageMetadata/cachedContentTokenCount 4",
            "/usage/cacheReadInputTokens 4",
        ],
    },
    ReplyFixture {
        title: "tokens: to the cache",
        feature: "cache writes",
        changes: [
            "/usage/prompt_tokens_details {\"cache_write_tokens\":3}",
            "/usage/input_tokens_details {\"cache_write_tokens\":3}",
            "/usage/cache_creation_input_tokens 3",
            "",
            "/usage/cacheWriteInputTokens 3",
        ],
    },
    ReplyFixture {
        title: "tokens: reasoning",
        feature: "reasoning tokens",
        changes: [
            "/usage/completion_tokens_details {\"reasoning_tokens\":2}",
            "/usage/output_tokens_details {\"reasoning_tokens\":2}",
            "/usage/output_tokens_details {\"thinking_tokens\":2}",
            "/usageMetadata/thoughtsTokenCount 2",
            "",
        ],
    },
    ReplyFixture { title: "model that answered", feature: "model", changes: ["=", "=", "=", "=", ""] },
    ReplyFixture { title: "id", feature: "id", changes: ["=", "=", "=", "=", ""] },
    ReplyFixture {
        title: "class of service",
        feature: "service tier",
        changes: [
            r#"/service_tier "priority""#,
            r#"/service_tier "priority""#,
            r#"/usage/service_tier "priority""#,
            "",
            r#"/serviceTier {"type":"priority"}"#,
        ],
    },
];

const SEARCHED: [&str; 5] = [
    "",
    r#"/output [{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"cats","queries":["cats"],"sources":[{"type":"url","url":"https://e.com"}]}},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]}]"#,
    r#"/content [{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"cats"}},{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://e.com","title":"E","encrypted_content":"b3BhcXVl","page_age":null}]},{"type":"text","text":"Hello"}]"#,
    r#"/candidates/0/groundingMetadata {"webSearchQueries":["cats"],"groundingChunks":[{"web":{"uri":"https://e.com","title":"E"}}]}"#,
    "",
];

const CITED: [&str; 5] = [
    r#"/choices/0/message/annotations [{"type":"url_citation","url_citation":{"url":"https://e.com","title":"E","start_index":0,"end_index":5}}]"#,
    r#"/output/0/content/0/annotations [{"type":"url_citation","url":"https://e.com","title":"E","start_index":0,"end_index":5}]"#,
    r#"/content/0/citations [{"type":"web_search_result_location","url":"https://e.com","title":"E","cited_text":"Hello there","encrypted_index":"x"}]"#,
    r#"/candidates/0/groundingMetadata {"groundingChunks":[{"web":{"uri":"https://e.com","title":"E"}}],"groundingSupports":[{"segment":{"startIndex":0,"endIndex":5},"groundingChunkIndices":[0]}]}"#,
    r#"/output/message/content [{"citationsContent":{"content":[{"text":"Hello"}],"citations":[{"title":"E","sourceContent":[{"text":"Hello there"}],"location":{"web":{"url":"https://e.com"}}}]}}]"#,
];
