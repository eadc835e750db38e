use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, StatusCode};

use super::*;
use crate::dialect::{DialectId, ErrorClass};

/// Wed, 21 Oct 2026 07:28:00 GMT.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_mins(29_876_128)
}

fn read(dialect: DialectId, status: u16, headers: &[(&str, &str)], body: &str, own_key: bool) -> Option<Verdict> {
    let pairs = headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
    let headers: HeaderMap = pairs.collect();
    Verdict::of_reply(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), dialect, own_key, now())
}

#[test]
fn each_meaning_has_its_row_and_a_word_of_its_own() {
    for (index, row) in TABLE.iter().enumerate() {
        assert_eq!(row.meaning as usize, index);
        assert_eq!(row.meaning.row(), row);
        assert_eq!(TABLE.iter().filter(|other| other.word == row.word).count(), 1, "{}", row.word);
        assert!(row.cooldown.is_none() || row.breaker.is_none(), "{}: one of them has to decide", row.word);
        assert!(row.next != Next::Never || row.cooldown.is_none() && row.breaker.is_none(), "{}", row.word);
    }
}

/// The errors that each vendor documents, or that were seen of it: dialect, status, meaning and body.
#[test]
fn every_vendors_error_has_its_meaning() {
    let cases = include_str!("cases.txt").lines().filter(|line| !line.starts_with('#'));
    let mut seen = 0;
    for line in cases {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (dialect, status, meaning, body) = (word(), word().parse().unwrap(), word(), word());
        let dialect = DialectId::ALL.into_iter().find(|id| format!("{id:?}") == dialect).unwrap();
        let verdict = read(dialect, status, &[], body, true).unwrap();
        assert_eq!(format!("{:?}", verdict.meaning), meaning, "{line}");
        seen += 1;
    }
    assert!(seen > 40, "the cases were not found");
    for status in [200, 204, 304] {
        assert_eq!(read(DialectId::Chat, status, &[], r#"{"error":{"message":"no"}}"#, true), None, "{status}");
    }
}

#[test]
fn bedrocks_header_names_the_error() {
    for (name, meaning) in [
        ("ThrottlingException", Meaning::Rate),
        ("ServiceQuotaExceededException:http://internal.amazon.com/", Meaning::Quota),
    ] {
        let status = if meaning == Meaning::Rate { 429 } else { 400 };
        let headers = [("x-amzn-errortype", name)];
        let verdict = read(DialectId::Converse, status, &headers, r#"{"message":"no"}"#, true).unwrap();
        assert_eq!(verdict.meaning, meaning, "{name}");
    }
}

#[test]
fn a_clients_own_key_is_the_clients_matter() {
    for (status, body, meaning) in [
        (401, "{}", Meaning::Client),
        (402, "{}", Meaning::Client),
        (403, "{}", Meaning::Client),
        // Another target may have room for the same client.
        (429, "{}", Meaning::Rate),
        (429, r#"{"error":{"message":"no","code":"insufficient_quota"}}"#, Meaning::Quota),
        (503, "{}", Meaning::Overload),
    ] {
        let verdict = read(DialectId::Chat, status, &[], body, false).unwrap();
        assert_eq!((verdict.meaning, verdict.of_clients_key), (meaning, true), "{status} {body}");
    }
}

#[test]
fn the_wait_that_a_provider_names_is_bounded_by_its_row() {
    let info = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
        {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"22s"}]}}"#;
    let quota = r#"{"error":{"message":"no","code":"insufficient_quota"}}"#;
    for (dialect, status, header, body, seconds) in [
        (DialectId::Chat, 429, ("retry-after", "7"), "{}", Some(7)),
        (DialectId::Chat, 429, ("retry-after", "0"), "{}", Some(1)),
        (DialectId::Chat, 429, ("retry-after-ms", "20"), "{}", Some(1)),
        (DialectId::Chat, 429, ("retry-after", "1000000000"), "{}", Some(300)),
        (DialectId::Chat, 429, ("retry-after", "-1"), "{}", None),
        (DialectId::Chat, 429, ("retry-after", "1000"), quota, Some(1000)),
        (DialectId::Chat, 429, ("retry-after", "86400"), quota, Some(3600)),
        (DialectId::Chat, 429, ("x-ratelimit-reset-requests", "20s"), "{}", Some(20)),
        (DialectId::Messages, 529, ("retry-after", "30"), "{}", Some(30)),
        (DialectId::Gemini, 429, ("x-other", "1"), info, Some(22)),
        (DialectId::Gemini, 429, ("retry-after", "3"), info, Some(3)),
        // The limits of a key have no part in other failures.
        (DialectId::Chat, 503, ("x-ratelimit-reset-requests", "20s"), "{}", None),
        (DialectId::Chat, 500, ("retry-after", "20"), "{}", None),
        (DialectId::Chat, 401, ("retry-after", "20"), "{}", None),
        (DialectId::Chat, 400, ("retry-after", "20"), "{}", None),
    ] {
        let verdict = read(dialect, status, &[header], body, true).unwrap();
        assert_eq!(verdict.wait, seconds.map(Duration::from_secs), "{status} {header:?} {body}");
    }
}

#[test]
fn a_wait_is_worth_most_to_the_client_then_a_cause() {
    let worth =
        |status: u16, header: (&str, &str)| read(DialectId::Chat, status, &[header], "{}", true).unwrap().usefulness();
    let (wait, none) = (("retry-after", "7"), ("x-other", "1"));
    assert_eq!([429, 503, 529].map(|status| worth(status, wait)), [3; 3]);
    assert_eq!([422, 404, 429].map(|status| worth(status, none)), [2; 3]);
    assert_eq!([500, 503, 408, 401, 403].map(|status| worth(status, none)), [1; 5]);
    assert_eq!([500, 408].map(|status| worth(status, wait)), [1; 2], "no wait is known for them");
}

#[test]
fn an_error_inside_a_reply_means_what_its_class_means() {
    let meaning = |class, own_key| Verdict::of_error_inside(class, own_key).meaning;
    for (class, expected) in [
        (ErrorClass::RateLimit, Meaning::Rate),
        (ErrorClass::Quota, Meaning::Quota),
        (ErrorClass::Unavailable, Meaning::Overload),
        (ErrorClass::Internal, Meaning::Broken),
        (ErrorClass::InvalidRequest, Meaning::Client),
    ] {
        assert_eq!([meaning(class, true), meaning(class, false)], [expected; 2]);
    }
    assert_eq!(meaning(ErrorClass::Authentication, true), Meaning::Credential);
    assert_eq!(meaning(ErrorClass::Authentication, false), Meaning::Client, "the key is the client's own");
}
