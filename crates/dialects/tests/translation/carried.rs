//! The features of a request, how each is recognised in the canonical form, and whether a target carries it.
//!
//! A feature is carried if the target's own decoder finds it again in the body that was written for it. Otherwise it
//! must be reported as unsupported, or be one of the [adaptations](adapted), each of which is verified in its own way.
//! Anything else is lost silently.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tollgate_dialects::{
    conversation::{
        Content, Effort, Format, Media, MediaKind, Part, Reasoning, Request, Role, Signature, SignatureOrigin, Source,
        Text, Tool, ToolChoice, ToolResult, Unsupported,
    },
    dialect::{DialectId, ModelFacts, Quirks, SamplingFacts, Thinking},
};

use super::exercise::rewrite;

/// A feature of a request.
pub struct Feature {
    /// Its name in the documentation.
    pub name: &'static str,
    /// The names by which its loss may be reported.
    pub names: &'static [&'static str],
    /// How it is compared.
    pub compare: Compare,
    /// The feature's value in a request; `None` when the request does not have it.
    pub of: fn(&Request<'_>) -> Option<String>,
}

/// When a feature is the same on both sides.
#[derive(Clone, Copy)]
pub enum Compare {
    /// When it is equal.
    Equal,
    /// When every line is found again, in order, whatever else there is: encoders add instructions, turns and results.
    Within,
}

/// The result for a feature.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The decoder of the target finds it again.
    Carried,
    /// It is carried in another form, or only in part.
    Changed(String),
    /// It is left out under these names.
    Unsupported(String),
    /// The request is refused with this message.
    Refused(String),
    /// It is neither found again nor reported.
    UnsupportedInReply(String),
}

/// The dialect that is written, the server's quirks, and a model.
pub type To = (DialectId, &'static Quirks, &'static str);

const fn feature(
    name: &'static str,
    names: &'static [&'static str],
    compare: Compare,
    of: fn(&Request<'_>) -> Option<String>,
) -> Feature {
    Feature { name, names, compare, of }
}

/// All features.
pub const FEATURES: &[Feature] = &[
    feature("instructions", &[], Compare::Within, |r| lines(system(r))),
    feature("later instructions", &[], Compare::Equal, later_instructions),
    feature("turns", &[], Compare::Within, |r| lines(turns(r))),
    feature("image", &["image", "file_id"], Compare::Within, |r| media(r, MediaKind::Image)),
    feature("detail", &["detail", "image", "file_id"], Compare::Equal, |r| lines(all_media(r).filter_map(detail))),
    feature("document", &["document", "file_id"], Compare::Within, |r| media(r, MediaKind::Document)),
    feature("filename", &["filename", "document", "file_id", "image"], Compare::Equal, |r| {
        // A document that is stored elsewhere has its name there.
        let inline =
            |m: &&Media<'_>| m.kind == MediaKind::Document && matches!(m.source, Source::Data { .. } | Source::Text(_));
        lines(all_media(r).filter(inline).filter_map(|m| m.name.as_ref().map(flat)))
    }),
    feature("audio", &["audio", "file_id"], Compare::Equal, |r| media(r, MediaKind::Audio)),
    feature("video", &["video", "file_id"], Compare::Equal, |r| media(r, MediaKind::Video)),
    feature("tools", &["schema keywords"], Compare::Within, |r| lines(offered(r).map(tool))),
    feature("strict", &["strict"], Compare::Equal, |r| {
        lines(offered(r).filter(|t| t.strict == Some(true)).map(|t| flat(&t.name)))
    }),
    feature("tool_choice", &["tool_choice"], Compare::Equal, |r| Some(choice(r))),
    feature("parallel_tool_calls", &["parallel_tool_calls"], Compare::Equal, |r| {
        (r.parallel_tool_calls == Some(false) && offered(r).next().is_some()).then(|| "one at a time".into())
    }),
    feature("calls", &[], Compare::Equal, |r| lines(calls(r))),
    feature("results", &[], Compare::Within, |r| lines(results(r, |result| Some(texts(&result.parts))))),
    feature("is_error", &["is_error"], Compare::Within, |r| {
        lines(
            results(r, |result| result.failed.then(|| "failed".into()))
                .into_iter()
                .filter(|l| !l.contains("no result")),
        )
    }),
    feature("result media", &["image", "document", "audio", "video", "file_id"], Compare::Equal, |r| {
        lines(results(r, |result| {
            let found: Vec<String> = result.parts.iter().filter_map(medium).map(source).collect();
            (!found.is_empty()).then(|| found.join(" "))
        }))
    }),
    feature("json_schema", &["response_format", "schema keywords"], Compare::Equal, |r| match &r.format {
        Some(Format::Schema { schema, .. }) => Some(canon(schema.get())),
        _ => None,
    }),
    feature("json_object", &["response_format"], Compare::Equal, |r| {
        (r.format == Some(Format::Json)).then(|| "json".into())
    }),
    feature("effort", &["reasoning"], Compare::Equal, |r| on(r)?.effort.map(|effort| effort.as_str().into())),
    feature("budget", &["reasoning"], Compare::Equal, |r| {
        on(r).filter(|r| r.effort.is_none())?.budget.map(|b| b.to_string())
    }),
    feature("thinking off", &["reasoning"], Compare::Equal, |r| {
        r.reasoning.filter(Reasoning::is_off).map(|_| "off".into())
    }),
    feature("thoughts shown", &["reasoning"], Compare::Equal, |r| {
        on(r).filter(|r| r.visible == Some(true)).map(|_| "shown".into())
    }),
    feature("Claude's thoughts", &["thinking"], Compare::Equal, |r| lines(signed(r, SignatureOrigin::Anthropic))),
    feature("OpenAI's reasoning", &["thinking"], Compare::Equal, |r| lines(signed(r, SignatureOrigin::OpenAi))),
    feature("Gemini's signatures", &["thinking"], Compare::Within, |r| lines(signed(r, SignatureOrigin::Google))),
    feature("redacted thoughts", &["thinking"], Compare::Equal, |r| {
        lines(contents(r).filter_map(|c| if let Content::Redacted(s) = c { Some(proof(s)) } else { None }))
    }),
    feature("plain thoughts", &["thinking"], Compare::Equal, |r| {
        lines(contents(r).filter_map(|c| match c {
            Content::Thinking { text, signature: None } if !text.is_blank() => Some(flat(text)),
            _ => None,
        }))
    }),
    feature("refusal", &[], Compare::Equal, |r| {
        lines(contents(r).filter_map(|c| if let Content::Refusal(text) = c { Some(flat(text)) } else { None }))
    }),
    feature("begun answer", &[], Compare::Equal, |r| {
        let last = r.messages.last().filter(|m| m.role == Role::Assistant)?;
        last.parts.iter().all(|p| matches!(p.content, Content::Text { .. })).then(|| texts(&last.parts))
    }),
    feature("max_tokens", &["max_tokens"], Compare::Equal, |r| r.max_tokens.map(|n| n.to_string())),
    feature("temperature", &["temperature"], Compare::Equal, |r| number(r.sampling.temperature)),
    feature("top_p", &["top_p"], Compare::Equal, |r| number(r.sampling.top_p)),
    feature("top_k", &["top_k"], Compare::Equal, |r| number(r.sampling.top_k)),
    feature("stop", &["stop"], Compare::Equal, |r| lines(r.sampling.stop.iter().map(|s| format!("{:?}", s.decode())))),
    feature("n", &["n"], Compare::Equal, |r| r.sampling.n.filter(|n| *n > 1).map(|n| n.to_string())),
    feature("seed", &["seed"], Compare::Equal, |r| r.sampling.seed.map(|n| n.to_string())),
    feature("presence_penalty", &["presence_penalty"], Compare::Equal, |r| penalty(r.sampling.presence_penalty)),
    feature("frequency_penalty", &["frequency_penalty"], Compare::Equal, |r| penalty(r.sampling.frequency_penalty)),
    feature("logprobs", &["logprobs"], Compare::Equal, |r| {
        let top = r.sampling.top_logprobs.filter(|n| *n > 0);
        (r.sampling.logprobs == Some(true)).then(|| format!("top {}", top.unwrap_or(0)))
    }),
    feature("user", &["user"], Compare::Equal, |r| r.user.as_ref().map(flat)),
    feature("metadata", &["metadata"], Compare::Equal, |r| r.metadata.as_ref().map(|m| canon(m.get()))),
    feature("service_tier", &["service_tier"], Compare::Equal, |r| {
        let tier = r.service_tier.as_ref()?.decode();
        // The default, which is the same as an absent field.
        (tier != "auto").then(|| tier.replace("standard_only", "default"))
    }),
    feature(
        "cache_control",
        &["cache_control", "image", "document", "audio", "video", "file_id"],
        Compare::Within,
        |r| {
            let inner = |part: &Part<'_>| match &part.content {
                Content::Result(result) => result.parts.iter().filter(|p| p.cache.is_some()).count(),
                _ => 0,
            };
            let parts = r.messages.iter().flat_map(|m| &m.parts).map(|p| usize::from(p.cache.is_some()) + inner(p));
            let marks = parts.sum::<usize>() + offered(r).filter(|t| t.cache.is_some()).count();
            lines((0..marks).map(|_| "mark".to_owned()))
        },
    ),
];

/// The feature of this name.
pub fn named(name: &str) -> &'static Feature {
    FEATURES.iter().find(|feature| feature.name == name).unwrap_or_else(|| panic!("no feature {name}"))
}

/// The result for `feature`, which `asked` has, at a target.
pub fn judge(feature: &Feature, asked: &Request<'_>, to: To) -> Verdict {
    let wanted = (feature.of)(asked).unwrap_or_else(|| panic!("the request has no {}: {asked:#?}", feature.name));
    let mut inlined = asked.clone();
    let fetched = !to.1.fetches.any() && inline(&mut inlined);
    let judged = rewrite(&inlined, to, |body, got, dropped| {
        let found = (feature.of)(got);
        if found.as_ref().is_some_and(|found| same(feature.compare, &wanted, found)) {
            // It is written unchanged, and means something else there.
            if feature.name == "begun answer" && dropped.names().iter().any(|name| name == "prefill") {
                return Verdict::Changed("as a finished turn, named `prefill`".into());
            }
            return Verdict::Carried;
        }
        let names = told(feature, dropped);
        let sent = (feature.of)(&inlined).unwrap_or_default();
        if fetched && found.as_ref().is_some_and(|found| same(feature.compare, &sent, found)) {
            return Verdict::Changed("the gateway fetches it and sends it along".into());
        }
        match (adapted(feature, &inlined, got, to), names) {
            (Some(note), None) => Verdict::Changed(note.into()),
            (Some(note), Some(names)) => Verdict::Changed(format!("{note}, named `{names}`")),
            (None, Some(names)) if found.is_some() => Verdict::Changed(format!("as near as it gets, named `{names}`")),
            (None, Some(names)) => Verdict::Unsupported(names),
            (None, None) => {
                Verdict::UnsupportedInReply(format!("wanted {wanted:?}, found {found:?}, named {dropped}: {body}"))
            }
        }
    });
    judged.unwrap_or_else(|| {
        let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
        let codec = to.0.dialect();
        let refused = codec.write_request(&inlined, &super::exercise::destination(to), &mut dropped, &mut out);
        Verdict::Refused(refused.expect_err("refused before").to_string())
    })
}

/// The names under which a feature that is carried is reported all the same, where it is all that a request has.
pub fn named_though_carried(feature: &Feature, asked: &Request<'_>, to: To) -> Option<String> {
    rewrite(asked, to, |_, _, dropped| told(feature, dropped))?
}

/// The names of `dropped` that may mean `feature`.
fn told(feature: &Feature, dropped: &Unsupported) -> Option<String> {
    let names: Vec<&str> = dropped.names().iter().map(|n| &**n).filter(|n| feature.names.contains(n)).collect();
    (!names.is_empty()).then(|| names.join("`, `"))
}

fn same(compare: Compare, wanted: &str, found: &str) -> bool {
    match compare {
        Compare::Equal => wanted == found,
        Compare::Within => {
            let mut rest = found;
            wanted.lines().all(|line| match rest.find(line) {
                Some(at) => {
                    rest = &rest[at + line.len()..];
                    true
                }
                None => false,
            })
        }
    }
}

/// Puts data in the place of media at URLs, as the gateway does for servers that fetch nothing. Returns whether there
/// were any.
fn inline(request: &mut Request<'_>) -> bool {
    fn walk(part: &mut Part<'_>) -> bool {
        match &mut part.content {
            Content::Media(media) => {
                let Source::Url { url, .. } = &media.source else { return false };
                if !url.decode().starts_with("http") || media.kind == MediaKind::Video {
                    return false;
                }
                let mime = if media.kind == MediaKind::Image { "image/png" } else { "application/pdf" };
                media.source = Source::Data { mime: mime.into(), data: "ZmV0Y2hlZCE=".into() };
                true
            }
            Content::Result(result) => result.parts.iter_mut().fold(false, |any, part| walk(part) | any),
            _ => false,
        }
    }
    request.messages.iter_mut().flat_map(|m| &mut m.parts).fold(false, |any, part| walk(part) | any)
}

/// Other forms in which a feature reaches a target, each verified.
#[expect(clippy::too_many_lines, reason = "a table")]
fn adapted(
    feature: &Feature,
    asked: &Request<'_>,
    got: &Request<'_>,
    (dialect, quirks, model): To,
) -> Option<&'static str> {
    let facts = ModelFacts::of(model);
    let all = |of: &Feature| (of.of)(got).unwrap_or_default();
    let wanted = (feature.of)(asked)?;
    let everything = || format!("{}\n{}", all(named("turns")), all(named("instructions")));
    let answered_by_tool = |schema: &str| {
        got.tools.iter().any(|t| t.schema.as_ref().is_some_and(|s| canon(s.get()) == schema))
            && matches!(got.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)))
    };
    match feature.name {
        "later instructions" => {
            same(Compare::Within, &wanted, &all(named("instructions"))).then_some("moved to the front")
        }
        "document" => {
            let found = all(feature);
            let there = |line: &str| {
                found.contains(line) || line.strip_prefix("text:").is_some_and(|text| everything().contains(text))
            };
            wanted.lines().all(there).then_some("as text")
        }
        "filename" => {
            let words = |c: char| !c.is_ascii_alphanumeric();
            let found = all(feature);
            let kept =
                wanted.split(words).filter(|w| !w.is_empty()).all(|w| found.contains(w) || everything().contains(w));
            kept.then_some("in the letters that the API takes, or in the text")
        }
        "tools" => {
            let found = all(feature);
            let heads = wanted.lines().map(|line| line.split(" {").next().unwrap_or_default());
            (!facts.json_schema && heads.into_iter().all(|head| found.contains(head))).then_some(OPENAPI)
        }
        // Google has stored the type with the upload, and does not need it.
        "image" | "audio" | "video" => {
            let there = format!("{}\n{}", all(feature), all(named("document")));
            wanted.lines().all(|line| there.contains(line)).then_some("as a file")
        }
        "tool_choice" => {
            let by_tool = matches!(asked.format, Some(Format::Schema { .. })) && !facts.structured;
            by_tool.then_some("a tool must be called, be it the one that takes the answer")
        }
        // Models refuse these beside reasoning, or beside each other.
        "temperature" | "top_p"
            if wanted == "1" && (facts.sampling != SamplingFacts::All || got.reasoning.is_some()) =>
        {
            Some("by saying nothing: it is the default")
        }
        "is_error" => wanted.contains('?').then_some("as text"),
        "result media" => {
            let beside = format!("{}\n{}", all(named("image")), all(named("document")));
            let moved = |line: &str| line.split_whitespace().skip(1).all(|m| beside.contains(m));
            wanted.lines().all(moved).then_some("behind the result, in the user's turn")
        }
        "results" => {
            let said =
                wanted.lines().all(|line| everything().contains(line.split_once(' ').map_or("", |(_, text)| text)));
            said.then_some("as text")
        }
        "json_schema" if !facts.json_schema && got.format.is_some() => Some(OPENAPI),
        "json_schema" if answered_by_tool(&wanted) => Some("as a tool that must be called"),
        "json_schema" if !quirks.chat.json_schema => system(got)
            .iter()
            .any(|s| s.contains("JSON Schema"))
            .then_some("`json_object`, with the schema as an instruction"),
        "json_object" => system(got).iter().any(|s| s.contains("JSON")).then_some("as an instruction"),
        "effort" => match (on(got), asked.reasoning?.effort?) {
            (Some(Reasoning { budget: Some(_), effort: None, .. }), _) => Some("as a budget of tokens"),
            // Efforts that some models do not support.
            (Some(Reasoning { effort: Some(got), .. }), asked) => {
                let near = |a: Effort, b: Effort| {
                    a == b || (a <= Effort::Low && b <= Effort::Low) || (a >= Effort::High && b >= Effort::High)
                };
                near(asked, got).then_some("as the nearest word")
            }
            _ => None,
        },
        "budget" => {
            let near = asked.reasoning?.budget.map(Effort::of_budget);
            match on(got)? {
                Reasoning { effort, .. } if effort.is_some() && dialect == DialectId::Converse => Some("as an effort"),
                Reasoning { effort, .. } if effort == near => Some("as an effort"),
                Reasoning { effort: Some(Effort::High), .. } if near >= Some(Effort::High) => Some("as an effort"),
                Reasoning { effort: None, budget: Some(_), .. } if asked.max_tokens.is_some() => {
                    Some("within the limit of tokens")
                }
                _ => None,
            }
        }
        "thinking off" => {
            let silent = matches!(facts.thinking, Thinking::Never | Thinking::Nova)
                || (dialect == DialectId::Converse && got.reasoning.is_none())
                || (matches!(facts.thinking, Thinking::Budget { .. }) && dialect == DialectId::Messages);
            (silent && got.reasoning.is_none()).then_some("by saying nothing: the model does not think unasked")
        }
        "thoughts shown" => match dialect {
            DialectId::Chat if facts.thinking != Thinking::Never => {
                Some("the API has no switch: they are shown when the server sends them")
            }
            DialectId::Converse if on(got).is_some() => Some("always shown by this model"),
            _ => None,
        },
        // Models require their own signatures. Reasoning without a signature is left out for models that would read it
        // as text, and no model needs it.
        "plain thoughts" => all(feature).is_empty().then_some("left out: the model needs none back"),
        "refusal" => wanted.lines().all(|line| everything().contains(line)).then_some("as text"),
        "begun answer" => {
            let last = got.messages.last().filter(|m| m.role == Role::User)?;
            (texts(&last.parts) == "(continue)" && everything().contains(&wanted))
                .then_some("as a finished turn, with a request to go on")
        }
        "max_tokens" => {
            let (wanted, got) = (asked.max_tokens?, got.max_tokens?);
            let thoughts = on(asked).is_some() && got > wanted;
            thoughts.then_some("with room for the thoughts")
        }
        "user" => all(named("metadata")).contains(&format!("{wanted:?}")).then_some("in `requestMetadata`"),
        "metadata" => {
            let found = all(feature);
            let with_user = serde_json::from_str::<Value>(&found).ok().is_some_and(|mut value| {
                value.as_object_mut().is_some_and(|object| object.remove("user").is_some())
                    && canon(&value.to_string()) == wanted
            });
            with_user.then_some("beside the user")
        }
        "service_tier" => {
            (dialect == DialectId::Converse && wanted == "default").then_some("by saying nothing: it is the default")
        }
        "cache_control" => {
            let inner = |m: &tollgate_dialects::conversation::Message<'_>| {
                m.parts
                    .iter()
                    .any(|p| matches!(&p.content, Content::Result(r) if r.parts.iter().any(|p| p.cache.is_some())))
            };
            (dialect == DialectId::Converse && asked.messages.iter().any(inner)).then_some("behind the result")
        }
        _ => None,
    }
}

/// How older Gemini models have schemas.
const OPENAPI: &str = "in the schema language of OpenAPI, as far as it goes";

/// Lines, unless there is none.
fn lines(lines: impl IntoIterator<Item = String>) -> Option<String> {
    let lines: Vec<String> = lines.into_iter().collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Text without regard to white space, which encoders add where they join.
fn flat(text: &Text<'_>) -> String {
    text.decode().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// JSON whatever its order and white space.
pub fn canon(json: &str) -> String {
    fn sorted(value: &Value) -> String {
        match value {
            Value::Object(object) => {
                let mut members: Vec<String> =
                    object.iter().map(|(key, value)| format!("{key:?}:{}", sorted(value))).collect();
                members.sort();
                format!("{{{}}}", members.join(","))
            }
            Value::Array(list) => format!("[{}]", list.iter().map(sorted).collect::<Vec<_>>().join(",")),
            other => other.to_string(),
        }
    }
    serde_json::from_str(json).map_or_else(|_| json.to_owned(), |value| sorted(&value))
}

fn number(value: Option<f64>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// Zero means that there is none.
fn penalty(value: Option<f64>) -> Option<String> {
    number(value.filter(|value| *value != 0.0))
}

/// The settings of reasoning, if it is turned on.
fn on(request: &Request<'_>) -> Option<Reasoning> {
    request.reasoning.filter(|reasoning| !reasoning.is_off())
}

fn contents<'r, 'a>(request: &'r Request<'a>) -> impl Iterator<Item = &'r Content<'a>> {
    request.messages.iter().flat_map(|message| &message.parts).map(|part| &part.content)
}

/// The texts of `parts` as one.
fn texts(parts: &[Part<'_>]) -> String {
    let texts = parts.iter().filter_map(|part| match &part.content {
        Content::Text { text, .. } if !text.is_blank() => Some(flat(text)),
        Content::Media(media @ Media { source: Source::Text(_), .. }) => Some(source(media)),
        _ => None,
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn system(request: &Request<'_>) -> Vec<String> {
    let messages = request.messages.iter().filter(|message| message.role == Role::System);
    messages.map(|message| texts(&message.parts)).filter(|text| !text.is_empty()).collect()
}

fn later_instructions(request: &Request<'_>) -> Option<String> {
    let first = request.messages.iter().position(|message| message.role != Role::System)?;
    let later = request.messages[first..].iter().filter(|message| message.role == Role::System);
    lines(later.map(|message| texts(&message.parts)).filter(|text| !text.is_empty()))
}

/// The text of the messages, a line for each text.
fn turns(request: &Request<'_>) -> Vec<String> {
    let messages = request.messages.iter().filter(|message| message.role != Role::System);
    let said = messages.flat_map(|message| &message.parts).map(|part| texts(std::slice::from_ref(part)));
    said.filter(|text| !text.is_empty()).collect()
}

/// The tools that the model may call.
fn offered<'r, 'a>(request: &'r Request<'a>) -> impl Iterator<Item = &'r Tool<'a>> {
    request.tools.iter().filter(|tool| match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => names.contains(&tool.name),
        Some(ToolChoice::None) => false,
        _ => true,
    })
}

fn medium<'r, 'a>(part: &'r Part<'a>) -> Option<&'r Media<'a>> {
    if let Content::Media(media) = &part.content { Some(media) } else { None }
}

/// The media in the user's messages, except those in results.
fn all_media<'r, 'a: 'r>(request: &'r Request<'a>) -> impl Iterator<Item = &'r Media<'a>> {
    let messages = request.messages.iter().filter(|message| message.role == Role::User);
    messages.flat_map(|message| &message.parts).filter_map(medium)
}

fn media(request: &Request<'_>, kind: MediaKind) -> Option<String> {
    lines(all_media(request).filter(|media| media.kind == kind).map(source))
}

fn detail(media: &Media<'_>) -> Option<String> {
    media.detail.as_ref().filter(|detail| !detail.is("auto")).map(flat)
}

/// The sources of media.
fn source(media: &Media<'_>) -> String {
    match &media.source {
        Source::Data { mime, data } if mime.starts_with("text/") => {
            let bytes = STANDARD.decode(&*data.decode()).unwrap_or_default();
            format!("text:{}", flat(&String::from_utf8_lossy(&bytes).into_owned().into()))
        }
        // In Mistral's form, which has URLs of documents.
        Source::Data { data, .. } if data.decode().starts_with("https:") => data.decode().into_owned(),
        Source::Data { mime, data } => format!("{}:{}", mime.replace("audio/mpeg", "audio/mp3"), data.decode()),
        Source::Url { url, .. } => url.decode().into_owned(),
        Source::File(id) => format!("file:{}", id.decode()),
        Source::Text(text) => format!("text:{}", flat(text)),
    }
}

fn tool(tool: &Tool<'_>) -> String {
    // For a function without arguments some write an empty schema, others none.
    let schema = tool.schema.as_ref().map_or("none".to_owned(), |schema| canon(schema.get()));
    let schema = schema.replace(r#"{"properties":{},"type":"object"}"#, "none");
    // An empty list requires nothing. The schema of a strict function without arguments is closed.
    let schema = schema.replace(r#""required":[],"#, "");
    let closed = r#"{"additionalProperties":false,"properties":{},"type":"object"}"#;
    let schema = if schema == closed { "none".to_owned() } else { schema };
    format!("{} ({}) {schema}", flat(&tool.name), tool.description.as_ref().map(flat).unwrap_or_default())
}

/// Which tools may be called, and whether one must.
fn choice(request: &Request<'_>) -> String {
    let offered = || request.tools.iter().map(|tool| flat(&tool.name)).collect::<Vec<_>>();
    let (mode, mut names) = match &request.tool_choice {
        _ if request.tools.is_empty() => return "none".into(),
        Some(ToolChoice::None) => return "none".into(),
        None | Some(ToolChoice::Auto | ToolChoice::Hosted(_)) => ("any", offered()),
        Some(ToolChoice::Required) => ("one", offered()),
        Some(ToolChoice::Named(name)) => ("one", vec![flat(name)]),
        Some(ToolChoice::Allowed { names, required }) => {
            (if *required { "one" } else { "any" }, names.iter().map(|name| flat(name)).collect())
        }
    };
    names.sort();
    format!("{mode} of {}", names.join(" "))
}

/// Calls with their number, tool and arguments.
fn calls(request: &Request<'_>) -> Vec<String> {
    let calls = contents(request).filter_map(|c| if let Content::Call(call) = c { Some(call) } else { None });
    calls.enumerate().map(|(at, call)| format!("{at} {} {}", flat(&call.name), canon(&call.arguments))).collect()
}

/// The value of `of` for each result, with the number of its call, in the order of calls: ids are changed for targets
/// that don't accept them, but calls and results must still match.
fn results(request: &Request<'_>, of: impl Fn(&ToolResult<'_>) -> Option<String>) -> Vec<String> {
    let (mut numbers, mut found) = (HashMap::new(), Vec::new());
    for content in contents(request) {
        match content {
            Content::Call(call) => {
                let next = numbers.len();
                numbers.insert(call.id.decode().into_owned(), next);
            }
            Content::Result(result) => {
                let number = numbers.get(&*result.id.decode()).copied();
                if let Some(said) = of(result) {
                    found.push((number.unwrap_or(usize::MAX), said));
                }
            }
            _ => {}
        }
    }
    found.sort_by_key(|(number, _)| *number);
    let name = |number: usize| if number == usize::MAX { "?".to_owned() } else { number.to_string() };
    found.into_iter().map(|(number, said)| format!("{} {said}", name(number))).collect()
}

fn proof(signature: &Signature<'_>) -> String {
    format!("{:?} {}", signature.maker, signature.value.decode())
}

/// Signatures of one origin with the content that they sign.
fn signed(request: &Request<'_>, maker: SignatureOrigin) -> Vec<String> {
    let found = contents(request).filter_map(|content| {
        let (what, signature) = match content {
            Content::Thinking { text, signature: Some(signature) } => (format!("thoughts {}", flat(text)), signature),
            Content::Text { text, signature: Some(signature), .. } => (format!("text {}", flat(text)), signature),
            Content::Call(call) => (format!("call {}", flat(&call.name)), call.signature.as_ref()?),
            _ => return None,
        };
        (signature.maker == maker).then(|| format!("{what} {}", proof(signature)))
    });
    found.collect()
}
