// The exercises that the fuzz targets and the tests share: they read arbitrary bytes of a client or a provider as a
// dialect, write the result in every dialect, and read that again. The file is included by path, so that both run the
// same checks.

use tollgate_dialects::{
    conversation::{Content, Event, Finish, Names, Reply, Request, Unsupported},
    dialect::{Destination, Dialect, DialectId, ModelFacts, Quirks, ReplyHead, StreamMode, Translator},
    stream::{AwsDecoder, SseDecoder, TopLevel, sse::MAX_EVENT_BYTES},
};

#[path = "../src/dialect/presets.rs"]
pub mod presets;

use presets::{AI_STUDIO, ANTHROPIC, AZURE, BEDROCK, COMPATIBLE, DEEPSEEK, MISTRAL, OPENAI, VERTEX, VERTEX_CLAUDE};

/// The servers that requests are written for. Their models differ in what they accept.
pub const DESTINATIONS: [To; 17] = [
    (DialectId::Chat, OPENAI, "gpt-4.1"),
    (DialectId::Chat, OPENAI, "gpt-5.1"),
    (DialectId::Chat, AZURE, "gpt-4.1"),
    (DialectId::Chat, COMPATIBLE, "llama-3.3-70b"),
    (DialectId::Chat, MISTRAL, "mistral-large-latest"),
    (DialectId::Chat, DEEPSEEK, "deepseek-chat"),
    (DialectId::Responses, OPENAI, "gpt-4.1"),
    (DialectId::Responses, OPENAI, "gpt-5.1"),
    (DialectId::Messages, ANTHROPIC, "claude-sonnet-4-5"),
    (DialectId::Messages, ANTHROPIC, "claude-opus-4-7"),
    (DialectId::Messages, VERTEX_CLAUDE, "claude-3-5-haiku@20241022"),
    (DialectId::Gemini, AI_STUDIO, "gemini-3-pro"),
    (DialectId::Gemini, AI_STUDIO, "gemini-2.0-flash"),
    (DialectId::Gemini, VERTEX, "gemini-2.5-flash"),
    (DialectId::Converse, BEDROCK, "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    (DialectId::Converse, BEDROCK, "amazon.nova-2-lite-v1:0"),
    (DialectId::Converse, BEDROCK, "meta.llama3-3-70b-instruct-v1:0"),
];

/// A row of [`DESTINATIONS`].
pub type To = (DialectId, &'static Quirks, &'static str);

/// The destination of a row of [`DESTINATIONS`].
pub fn destination((_, quirks, model): To) -> Destination<'static> {
    Destination { model, facts: ModelFacts::of(model), quirks }
}

/// The dialect that a byte selects.
pub fn dialect(byte: u8) -> DialectId {
    DialectId::ALL[usize::from(byte) % DialectId::ALL.len()]
}

/// How streams of `dialect` are framed.
pub fn mode(dialect: DialectId) -> StreamMode {
    if dialect == DialectId::Converse { StreamMode::EventStream } else { StreamMode::Sse }
}

/// The head of the replies that are written here.
pub fn head(mode: StreamMode) -> ReplyHead {
    ReplyHead {
        id: "made1".into(),
        model: "asked-model".into(),
        created: 1_700_000_000,
        include_usage: true,
        mode,
        estimated_input: 9,
    }
}

/// Reads a request, and writes it for every destination. The written text must be JSON that its own dialect reads.
pub fn request(from: DialectId, body: &[u8]) {
    let Ok(top) = TopLevel::scan(body) else { return };
    let Ok(mut request) = from.dialect().read_request(&top) else { return };
    let _ = Names::fit(&mut request);
    for to in DESTINATIONS {
        let _ = rewrite(&request, to, |_, _, _| ());
    }
}

/// Writes `request` for `to` and reads it again. Passes the written request, the one read from it and the unsupported
/// fields to `look`. Returns `None` when the target can't carry this request.
pub fn rewrite<T>(
    request: &Request<'_>,
    to: To,
    look: impl FnOnce(&str, &Request<'_>, &Unsupported) -> T,
) -> Option<T> {
    let (mut out, mut dropped) = (Vec::new(), Unsupported::default());
    to.0.dialect().write_request(request, &destination(to), &mut dropped, &mut out).ok()?;
    let body = spelled(to.1, out);
    let top = TopLevel::scan(body.as_bytes()).unwrap_or_else(|error| panic!("{to:?}: {error:?}: {body}"));
    let read = to.0.dialect().read_request(&top).unwrap_or_else(|invalid| panic!("{to:?}: {invalid}: {body}"));
    Some(look(&body, &read, &dropped))
}

/// Mistral spells some fields in its own way, which no client does. Replaces them by the clients' spelling.
fn spelled(quirks: &Quirks, body: Vec<u8>) -> String {
    fn walk(value: &mut serde_json::Value) {
        if let Some(object) = value.as_object_mut() {
            if let Some(url) = object.remove("document_url") {
                let name = object.remove("document_name");
                object.insert("type".into(), "file".into());
                object.insert("file".into(), serde_json::json!({ "file_data": url, "filename": name }));
            }
            if let Some(data @ serde_json::Value::String(_)) = object.get("input_audio").cloned() {
                object.insert("input_audio".into(), serde_json::json!({ "data": data, "format": "wav" }));
            }
            object.values_mut().for_each(walk);
        } else if let Some(list) = value.as_array_mut() {
            list.iter_mut().for_each(walk);
        }
    }
    let body = String::from_utf8(body).expect("a written body is UTF-8");
    if quirks != MISTRAL {
        return body;
    }
    // A body that is nested deeper than a tree may be has none of Mistral's spellings.
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(&body) else { return body };
    if let Some(list) = value.get_mut("messages") {
        walk(list);
    }
    if let Some(object) = value.as_object_mut()
        && let Some(seed) = object.remove("random_seed")
    {
        object.insert("seed".into(), seed);
    }
    value.to_string()
}

/// Reads a reply and an error, and writes both for every client, as a buffered reply and as a stream. The written text
/// must be readable without an error.
pub fn reply(from: DialectId, body: &[u8]) {
    for status in [400, 429, 500] {
        let failure = from.dialect().read_error(status, body);
        for to in DialectId::ALL {
            let mut out = Vec::new();
            let status = to.dialect().write_error(&failure, Some("req-1"), &mut out);
            assert!((400..600).contains(&status), "{to:?}: an error of status {status}");
            assert!(TopLevel::scan(&out).is_ok(), "{to:?}: {}", String::from_utf8_lossy(&out));
        }
    }
    let Ok(reply) = from.dialect().read_reply(body) else { return };
    for to in DialectId::ALL {
        let written = write_reply(to, &reply);
        // Responses has failures of its own, with a status of 200. Gemini's reply is empty when there is no answer,
        // and when the arguments of a call are not an object.
        let failed = reply.choices.is_empty()
            || reply
                .choices
                .iter()
                .any(|choice| Finish::Failed == choice.finish || Finish::Failed == choice.strict_finish());
        if let Err(failure) = to.dialect().read_reply(&written)
            && !failed
        {
            panic!("{from:?} to {to:?}: {failure:?}: {}", String::from_utf8_lossy(&written));
        }
        let mut writer = to.dialect().write_events(head(mode(to)));
        let mut bytes = Vec::new();
        reply.replay(&mut |event| writer.event(&event, &mut bytes));
        let told = read_stream(to, &[&bytes]);
        assert!(failed || matches!(told.last(), Some(Event::End)), "{from:?} to {to:?}: ends with {:?}", told.last());
    }
}

/// The reply as `to` writes it.
pub fn write_reply(to: DialectId, reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    to.dialect().write_reply(reply, &head(StreamMode::No), &mut out);
    out
}

/// Reads a stream, whole and in chunks of `length` bytes. Both must give the same events, in a legal order. Writes them
/// for every client.
pub fn events(from: DialectId, length: usize, wire: &[u8]) {
    let whole = read_stream(from, &[wire]);
    let pieces: Vec<&[u8]> = wire.chunks(length.max(1)).collect();
    assert_eq!(read_stream(from, &pieces), whole, "{from:?}: in pieces of {length}");
    check_order(from, &whole);
    let to = DialectId::Messages;
    assert_eq!(
        translate(from, to, &pieces),
        translate(from, to, &[wire]),
        "{from:?}: translated in pieces of {length}"
    );
    for to in DialectId::ALL {
        let bytes = write_stream(to, &whole);
        let again = read_stream(to, &[&bytes]);
        check_order(to, &again);
        let ends = |events: &[Event<'_>]| matches!(events.last(), Some(Event::End | Event::Error(_)));
        // A dialect without a mark for the end is complete when all its answers are finished.
        let finished = whole.iter().any(|event| matches!(event, Event::Finish { .. }));
        let right = if ends(&whole) { ends(&again) } else { finished || !ends(&again) };
        assert!(right, "{from:?} to {to:?}: {whole:#?} became {}", String::from_utf8_lossy(&bytes));
    }
}

/// The text that a client of `to` gets of a stream that comes in these chunks, to its end or until its framing is
/// broken.
pub fn translate(from: DialectId, to: DialectId, pieces: &[&[u8]]) -> Vec<u8> {
    let mut translator = Translator::new(from, mode(from), to, head(mode(to)), std::sync::Arc::default());
    let mut out = Vec::new();
    for piece in pieces {
        match translator.frame(piece) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(_) => break,
        }
    }
    out.extend_from_slice(&translator.finish());
    out
}

/// The stream that `to` writes for `events`.
pub fn write_stream(to: DialectId, events: &[Event<'_>]) -> Vec<u8> {
    let mut writer = to.dialect().write_events(head(mode(to)));
    let mut out = Vec::new();
    for event in events {
        writer.event(event, &mut out);
    }
    out
}

/// The events of a stream in these chunks.
pub fn read_stream(from: DialectId, pieces: &[&[u8]]) -> Vec<Event<'static>> {
    let codec: &dyn Dialect = from.dialect();
    let mut reader = codec.read_events();
    let mut told = Vec::new();
    let mut sink = |event: Event<'_>| told.push(owned(event));
    if mode(from) == StreamMode::EventStream {
        let mut frames = AwsDecoder::default();
        for piece in pieces {
            // Broken framing ends the stream.
            if frames.push(piece, &mut |frame| reader.event(Some(frame.name), frame.payload, &mut sink)).is_err() {
                return told;
            }
        }
    } else {
        let mut frames = SseDecoder::new(MAX_EVENT_BYTES);
        for piece in pieces {
            frames.push(piece, &mut |event| reader.event(event.name, event.data, &mut sink));
        }
        frames.finish(&mut |event| reader.event(event.name, event.data, &mut sink));
    }
    reader.finish(&mut sink);
    told
}

/// An owned copy, which borrows nothing.
pub fn owned(event: Event<'_>) -> Event<'static> {
    use tollgate_dialects::conversation::{Citation, Signature, Text, TokenLogprob};
    let proof = |s: Signature<'_>| Signature { maker: s.maker, value: s.value.into_owned() };
    match event {
        Event::Start { id, model, usage } => {
            Event::Start { id: id.map(Text::into_owned), model: model.map(Text::into_owned), usage }
        }
        Event::Open { choice, block, opened } => Event::Open { choice, block, opened: opened.into_owned() },
        Event::Delta { choice, block, text } => Event::Delta { choice, block, text: text.into_owned() },
        Event::Signature { choice, block, signature } => {
            Event::Signature { choice, block, signature: proof(signature) }
        }
        Event::Citation { choice, block, citation } => {
            let Citation { url, title, quote, start, end } = citation;
            let [url, title, quote] = [url, title, quote].map(|text| text.map(Text::into_owned));
            Event::Citation { choice, block, citation: Citation { url, title, quote, start, end } }
        }
        Event::Logprobs { choice, tokens } => {
            let own = |one: TokenLogprob<'_>| TokenLogprob {
                token: one.token.into_owned(),
                logprob: one.logprob,
                top: one.top.into_iter().map(|(text, logprob)| (text.into_owned(), logprob)).collect(),
            };
            Event::Logprobs { choice, tokens: tokens.into_iter().map(own).collect() }
        }
        Event::Close { choice, block } => Event::Close { choice, block },
        Event::Finish { choice, reason, stop_sequence } => {
            Event::Finish { choice, reason, stop_sequence: stop_sequence.map(Text::into_owned) }
        }
        Event::Running => Event::Running,
        Event::Unsupported(name) => Event::Unsupported(name.into_owned().into()),
        Event::Usage(usage) => Event::Usage(usage),
        Event::Error(failure) => Event::Error(failure.into_owned()),
        Event::End => Event::End,
    }
}

/// Checks what the conversation guarantees for every stream: each opened block is closed once, before its answer
/// finishes, and nothing follows the end.
pub fn check_order(of: DialectId, events: &[Event<'_>]) {
    let mut open = std::collections::BTreeSet::new();
    let mut finished = std::collections::BTreeSet::new();
    let last = events.len().saturating_sub(1);
    for (at, event) in events.iter().enumerate() {
        let legal = match event {
            Event::Start { .. } => at == 0,
            Event::Open { choice, block, .. } => !finished.contains(choice) && open.insert((*choice, *block)),
            Event::Delta { choice, block, .. }
            | Event::Signature { choice, block, .. }
            | Event::Citation { choice, block, .. } => open.contains(&(*choice, *block)),
            Event::Close { choice, block } => open.remove(&(*choice, *block)),
            Event::Finish { choice, .. } => finished.insert(*choice) && !open.iter().any(|(of, _)| of == choice),
            Event::End => at == last && open.is_empty() && !finished.is_empty(),
            Event::Error(_) => at == last,
            Event::Logprobs { .. } | Event::Running | Event::Unsupported(_) | Event::Usage(_) => true,
        };
        assert!(legal, "{of:?}: {event:?} at {at} of {events:#?}");
    }
}

/// The reply that the events of a stream add up to.
pub fn assemble(events: &[Event<'_>]) -> Reply<'static> {
    use tollgate_dialects::conversation::{BlockStart, Call, Choice, Part, Text};
    let mut reply = Reply::default();
    // The block of each part.
    let mut places: Vec<(u32, u32, usize)> = Vec::new();
    for event in events.iter().cloned().map(owned) {
        if let Event::Open { choice, .. } | Event::Logprobs { choice, .. } | Event::Finish { choice, .. } = &event {
            while reply.choices.len() <= *choice as usize {
                let (parts, logprobs) = (Vec::new(), Vec::new());
                reply.choices.push(Choice { parts, finish: Finish::Stop, stop_sequence: None, logprobs });
            }
        }
        let place = |choice: u32, block: u32| places.iter().find(|p| (p.0, p.1) == (choice, block)).map(|p| p.2);
        match event {
            Event::Start { id, model, usage } => {
                (reply.id, reply.model) = (id, model);
                reply.usage.update(usage);
            }
            Event::Open { choice, block, opened } => {
                let parts = &mut reply.choices[choice as usize].parts;
                places.push((choice, block, parts.len()));
                let empty = || Text::from("");
                parts.push(Part::from(match opened {
                    BlockStart::Text => Content::text(empty()),
                    BlockStart::Refusal => Content::Refusal(empty()),
                    BlockStart::Thinking => Content::Thinking { text: empty(), signature: None },
                    BlockStart::Redacted(signature) => Content::Redacted(signature),
                    BlockStart::Hosted(call) => Content::Hosted(call),
                    BlockStart::Media(media) => Content::Media(*media),
                    BlockStart::Call { id, name, signature } => {
                        Content::Call(Call { id, name, arguments: "".into(), signature })
                    }
                }));
            }
            Event::Delta { choice, block, text: more } => {
                let Some(at) = place(choice, block) else { continue };
                match &mut reply.choices[choice as usize].parts[at].content {
                    Content::Text { text, .. } | Content::Refusal(text) | Content::Thinking { text, .. } => {
                        *text = format!("{}{}", text.decode(), more.decode()).into();
                    }
                    Content::Call(call) => call.arguments.to_mut().push_str(&more.decode()),
                    other => panic!("a delta of {other:?}"),
                }
            }
            Event::Signature { choice, block, signature: proof } => {
                let Some(at) = place(choice, block) else { continue };
                match &mut reply.choices[choice as usize].parts[at].content {
                    Content::Text { signature, .. } | Content::Thinking { signature, .. } => *signature = Some(proof),
                    Content::Call(call) => call.signature = Some(proof),
                    other => panic!("a signature of {other:?}"),
                }
            }
            Event::Citation { choice, block, citation } => {
                let Some(at) = place(choice, block) else { continue };
                if let Content::Text { citations, .. } = &mut reply.choices[choice as usize].parts[at].content {
                    citations.push(citation);
                }
            }
            Event::Logprobs { choice, tokens } => reply.choices[choice as usize].logprobs.extend(tokens),
            Event::Finish { choice, reason, stop_sequence } => {
                let answer = &mut reply.choices[choice as usize];
                (answer.finish, answer.stop_sequence) = (reason, stop_sequence);
            }
            Event::Unsupported(name) => reply.lost.add(name),
            Event::Usage(usage) => reply.usage.update(usage),
            Event::Close { .. } | Event::Running | Event::Error(_) | Event::End => {}
        }
    }
    for part in reply.choices.iter_mut().flat_map(|choice| &mut choice.parts) {
        if let Content::Call(call) = &mut part.content
            && call.arguments.trim().is_empty()
        {
            call.arguments = "{}".into();
        }
    }
    reply
}

/// The first byte selects the dialect of the request that follows it.
pub fn fuzz_requests(input: &[u8]) {
    if let Some((first, body)) = input.split_first() {
        request(dialect(*first), body);
    }
}

/// The first byte selects the dialect of the reply or the error that follows it.
pub fn fuzz_replies(input: &[u8]) {
    if let Some((first, body)) = input.split_first() {
        reply(dialect(*first), body);
    }
}

/// The first byte selects the dialect, the second how the stream is split.
pub fn fuzz_events(input: &[u8]) {
    if let [first, length, wire @ ..] = input {
        events(dialect(*first), usize::from(*length), wire);
    }
}

/// Frames do not depend on the split, and broken ones are refused with the same error at every split.
pub fn fuzz_aws_frames(input: &[u8]) {
    let Some((length, wire)) = input.split_first() else { return };
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut frames) = (AwsDecoder::default(), Vec::new());
        for piece in pieces {
            let pushed = decoder.push(piece, &mut |frame| {
                frames.push((frame.name.to_vec(), frame.payload.to_vec(), frame.is_failure()));
            });
            if let Err(error) = pushed {
                return (frames, Some(error.to_string()));
            }
        }
        (frames, None)
    };
    let whole = read(&mut std::iter::once(wire));
    assert_eq!(read(&mut wire.chunks(usize::from(*length).max(1))), whole);
    events(DialectId::Converse, usize::from(*length), wire);
}
