use super::*;
use crate::answer;

fn body_of(writes: &[Vec<u8>]) -> Vec<u8> {
    let all = writes.concat();
    let head = crate::wire::Head::parse(&all).expect("a head");
    let mut body = crate::wire::Body::of(&head).expect("a body").keeping();
    assert_eq!(body.feed(&all[head.bytes..]), Ok(all.len() - head.bytes));
    assert!(body.is_done());
    body.kept().to_vec()
}

#[test]
fn payloads_have_the_sizes_they_promise() {
    let chat = DialectId::Chat;
    assert_eq!(chat.request_body(Scenario::Chat).len(), 1024);
    assert_eq!(chat.request_body(Scenario::Stream).len(), 1024);
    assert_eq!(chat.request_body(Scenario::Prompt).len(), 200 * 1024);
    assert_eq!(chat.reply_length(Scenario::Chat), 1024);
    assert_eq!(chat.events().len(), 258);
    assert_eq!(chat.events()[1].len(), 209);
    assert!(String::from_utf8_lossy(&chat.events()[256]).contains(r#""prompt_tokens":181"#));
}

#[test]
fn every_dialect_says_the_same() {
    let batching = Batching { per_write: 4, per_chunk: 1 };
    for (dialect, name) in DialectId::ALL {
        for scenario in [Scenario::Chat, Scenario::Prompt, Scenario::Stream] {
            let request: serde_json::Value =
                serde_json::from_str(&dialect.request_body(scenario)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(request.to_string().contains(&question(scenario)), "{name}");
        }
        let replies = Replies::of(dialect, &batching);
        for (scenario, writes) in [(Scenario::Chat, vec![replies.buffered]), (Scenario::Stream, replies.stream)] {
            let body = body_of(&writes);
            assert_eq!(body.len(), dialect.reply_length(scenario), "{name} {scenario:?}");
            assert_eq!(answer::text(dialect, scenario, &body), Ok(super::answer(scenario)), "{name} {scenario:?}");
        }
    }
}

#[test]
fn batching_changes_the_writes_and_not_the_events() {
    for (per_write, per_chunk, writes) in [(1, 1, 258), (16, 1, 17), (258, 258, 1), (16, 4, 17)] {
        let stream = Replies::of(DialectId::Chat, &Batching { per_write, per_chunk }).stream;
        assert_eq!(stream.len(), writes);
        let body = body_of(&stream);
        assert_eq!(body.len(), DialectId::Chat.reply_length(Scenario::Stream));
        assert!(body.ends_with(STREAM_END));
    }
}

#[test]
fn invoked_streams_are_frames_around_messages() {
    let body = body_of(&Replies::invoked(&Batching { per_write: 4, per_chunk: 1 }).stream);
    let payloads = frame::payloads(&body).expect("frames");
    assert_eq!(payloads.len(), DialectId::Messages.events().len());
    let first: serde_json::Value = serde_json::from_slice(payloads[0]).expect("JSON");
    // {"type":"message_start"
    assert!(first["bytes"].as_str().expect("bytes").starts_with("eyJ0eXBlIjoibWVzc2FnZV9zdGFydCIs"));
}
