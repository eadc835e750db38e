//! Faults that a request selects: by the header `x-simulator-fault`, or by the name of its model.

use std::time::Duration;

use axum::body::Bytes;
use http::StatusCode;

use super::wire::{Content, FRAMES, JSON, Reply, frame};
use super::{Provider, gzip};

/// All faults with a description, for the index page and for the error about an unknown fault.
pub(super) const FAULTS: &[(&str, &str)] = &[
    ("status=503", "this status; from 400 up with an error in the provider's shape"),
    ("retry-after=2", "this `Retry-After` (and Gemini's RetryInfo) beside a status"),
    ("delay=250ms", "waits before the reply's headers"),
    ("first-token-delay=1s", "waits between the headers and the first byte of the body"),
    ("event-delay=20ms", "waits between the events of a stream"),
    ("events=258", "a reply of this many words, each its own event in a stream"),
    ("big-event=1048576", "a reply that is one word of this many bytes, in one event"),
    ("cut=3", "breaks the connection after this many events; a buffered reply after half of it"),
    ("error-after=3", "after this many events, the provider's own error event, then the end"),
    ("no-done", "a stream that ends in order but without its last event"),
    ("reset=before", "a TCP reset instead of a reply; `headers`: after the headers; `mid`: within the body"),
    ("garbage", "200 and no JSON"),
    ("unknown-shape", "200 and JSON of an unknown shape"),
    ("html", "500 (or the selected status) and an HTML page"),
    ("empty", "200 and nothing"),
    ("gzip", "a gzip reply, accepted or not"),
    ("split=1", "the body in chunks of this many bytes"),
];

/// Longest delay, so that a typing error does not hold a connection for ever.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// Most events, and most bytes in one event: one request must not take all memory.
const MOST_EVENTS: usize = 1_000_000;
const MOST_BYTES: usize = 64 << 20;

/// The faults of one request; the default is none.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Faults {
    pub(super) status: Option<StatusCode>,
    pub(super) retry_after: Option<String>,
    pub(super) delay: Option<Duration>,
    pub(super) first_token_delay: Option<Duration>,
    pub(super) event_delay: Option<Duration>,
    pub(super) events: Option<usize>,
    pub(super) big_event: Option<usize>,
    pub(super) cut: Option<usize>,
    pub(super) error_after: Option<usize>,
    pub(super) reset: Option<Reset>,
    pub(super) shape: Option<Shape>,
    pub(super) split: Option<usize>,
    pub(super) no_done: bool,
    pub(super) gzip: bool,
}

/// The moment of a connection's reset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reset {
    Before,
    Headers,
    Mid,
}

/// The body that replaces the reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Garbage,
    Unknown,
    Html,
    Empty,
}

impl Faults {
    /// Reads the header's value (`name=value; name`) and the model's name (`fault-name-value+name-value`, also after a
    /// name and a `+`).
    ///
    /// # Errors
    ///
    /// An unknown fault or value, with a list of the known ones.
    pub(super) fn parse(header: &str, model: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for part in header.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            faults.set(name.trim(), value.trim()).map_err(|problem| fault_error(part, &problem))?;
        }
        for part in model_faults(model) {
            let (name, value) = FAULTS
                .iter()
                .find_map(|(example, _)| {
                    let name = example.split('=').next()?;
                    let rest = part.strip_prefix(name)?;
                    if rest.is_empty() { Some((name, "")) } else { Some((name, rest.strip_prefix(['-', '='])?)) }
                })
                .unwrap_or((part, ""));
            faults.set(name, value).map_err(|problem| fault_error(part, &problem))?;
        }
        Ok(faults)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "status" => self.status = Some(status(value)?),
            "retry-after" => self.retry_after = Some(value.to_owned()),
            "delay" => self.delay = Some(duration(value)?),
            "first-token-delay" => self.first_token_delay = Some(duration(value)?),
            "event-delay" => self.event_delay = Some(duration(value)?),
            "events" => self.events = Some(number(value, MOST_EVENTS)?),
            "big-event" => self.big_event = Some(number(value, MOST_BYTES)?),
            "cut" => self.cut = Some(number(value, MOST_EVENTS)?),
            "error-after" => self.error_after = Some(number(value, MOST_EVENTS)?),
            "split" => self.split = Some(number(value, MOST_BYTES)?.max(1)),
            "no-done" => self.no_done = true,
            "gzip" => self.gzip = true,
            "garbage" => self.shape = Some(Shape::Garbage),
            "unknown-shape" => self.shape = Some(Shape::Unknown),
            "html" => self.shape = Some(Shape::Html),
            "empty" => self.shape = Some(Shape::Empty),
            "reset" => {
                self.reset = Some(match value {
                    "before" | "" => Reset::Before,
                    "headers" => Reset::Headers,
                    "mid" => Reset::Mid,
                    _ => return Err("it is one of before, headers, mid".to_owned()),
                });
            }
            _ => return Err("there is no such fault".to_owned()),
        }
        Ok(())
    }

    /// The error status that was selected, unless another body was selected too.
    pub(super) fn error_status(&self) -> Option<StatusCode> {
        self.status.filter(|status| status.as_u16() >= 400 && self.shape.is_none())
    }

    /// `Retry-After` as a number of seconds, for providers that repeat it in the body.
    pub(super) fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.as_deref()?.parse().ok()
    }

    /// Applies the faults that change the content of a reply. `respond` applies the others.
    pub(super) fn apply(&self, reply: Reply, provider: &dyn Provider) -> Reply {
        let mut reply = match self.shape {
            Some(shape) => replace_body(reply, shape),
            None => reply,
        };
        if let Some(status) = self.status {
            reply.status = status;
        }
        if let Content::Events { events, .. } = &mut reply.content {
            if self.no_done {
                events.pop();
            }
            if let Some(count) = self.error_after {
                events.truncate(count);
                events.push(provider.error_event(events.is_empty()));
            }
        }
        if self.gzip {
            reply.content = match reply.content {
                Content::Buffered { media_type, bytes } => {
                    Content::Buffered { media_type, bytes: gzip::encode(vec![bytes]).concat().into() }
                }
                Content::Events { media_type, events } => Content::Events { media_type, events: gzip::encode(events) },
            };
            reply = reply.header("content-encoding", "gzip");
        }
        match &self.retry_after {
            Some(value) => reply.header("retry-after", value),
            None => reply,
        }
    }
}

/// Replaces the body. A stream stays a stream where the shape allows it.
fn replace_body(reply: Reply, shape: Shape) -> Reply {
    const GARBAGE: &str = "{\"id\": 12, \"choi\u{0}ces\": [[[ %%%";
    const UNKNOWN: &str = r#"{"kind":"oracle","wisdom":{"answer":42},"parts":null}"#;
    match (shape, reply.content) {
        (Shape::Empty, _) => Reply::buffered(reply.status, JSON, ""),
        (Shape::Html, _) => Reply::buffered(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/html",
            "<html>\n<head><title>500 Internal Server Error</title></head>\n<body>nginx</body>\n</html>\n",
        ),
        (Shape::Garbage, Content::Buffered { .. }) => Reply::buffered(reply.status, JSON, GARBAGE),
        (Shape::Unknown, Content::Buffered { .. }) => Reply::buffered(reply.status, JSON, UNKNOWN),
        (_, Content::Events { media_type: media_type @ FRAMES, .. }) => {
            let frame = if shape == Shape::Garbage { Bytes::from(GARBAGE) } else { frame("oracle", UNKNOWN) };
            Reply::events(media_type, vec![frame; 3])
        }
        (_, Content::Events { media_type, .. }) => {
            let text = if shape == Shape::Garbage { GARBAGE } else { UNKNOWN };
            let event = Bytes::from(format!("data: {text}\n\n"));
            Reply::events(media_type, vec![event; 3])
        }
    }
}

/// The faults in the name of a model.
fn model_faults(model: &str) -> impl Iterator<Item = &str> {
    let start = if model.starts_with("fault-") { Some(0) } else { model.find("+fault-").map(|at| at + 1) };
    let parts = start.and_then(|at| model.get(at..)).unwrap_or_default();
    parts.split('+').map(|part| part.strip_prefix("fault-").unwrap_or(part)).filter(|part| !part.is_empty())
}

fn fault_error(part: &str, problem: &str) -> String {
    let known: Vec<&str> = FAULTS.iter().map(|(example, _)| *example).collect();
    format!("unknown fault '{part}': {problem}; the simulator has {}", known.join(", "))
}

fn status(value: &str) -> Result<StatusCode, String> {
    let status = value.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
    status.filter(|status| (200..600).contains(&status.as_u16())).ok_or_else(|| "it is from 200 to 599".to_owned())
}

fn number(value: &str, most: usize) -> Result<usize, String> {
    value.parse().ok().filter(|number| *number <= most).ok_or_else(|| format!("it is a number up to {most}"))
}

/// Reads `250ms`, `1.5s`, `2m`.
fn duration(value: &str) -> Result<Duration, String> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match value.get(digits.len()..) {
        Some("ms") => 0.001,
        Some("s") => 1.0,
        Some("m") => 60.0,
        Some("h") => 3600.0,
        _ => return Err("it is a time such as 250ms, 1.5s or 2m".to_owned()),
    };
    let seconds = digits.parse::<f64>().map_err(|_| "it is a time such as 250ms, 1.5s or 2m".to_owned())? * unit;
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| "it is not negative".to_owned())?;
    if time > LONGEST_WAIT { Err("it is at most an hour".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, model: &str, expect: Faults) {
        assert_eq!(Faults::parse(header, model), Ok(expect), "{header:?} {model:?}");
    }

    #[test]
    fn faults_are_read_from_header_and_model() {
        check("", "gpt-4o", Faults::default());
        check("", "my-fault-model", Faults::default());
        let overloaded = || Faults {
            status: Some(StatusCode::SERVICE_UNAVAILABLE),
            retry_after: Some("2".to_owned()),
            ..Faults::default()
        };
        check("status=503; retry-after=2", "gpt-4o", overloaded());
        check("", "fault-status-503+retry-after-2", overloaded());
        check("", "gpt-4o+fault-status=503+fault-retry-after-2", overloaded());
        check("status=503", "fault-retry-after-2", overloaded());
        let slow = Faults { event_delay: Some(Duration::from_millis(20)), events: Some(258), ..Faults::default() };
        check("", "echo+fault-event-delay-20ms+events-258", slow);
        let delay = |time| Faults { delay: Some(time), ..Faults::default() };
        check(" delay = 1.5s ;", "", delay(Duration::from_millis(1500)));
        check("delay=2m", "", delay(Duration::from_mins(2)));
        check("reset=mid", "", Faults { reset: Some(Reset::Mid), ..Faults::default() });
        check("no-done;gzip", "", Faults { no_done: true, gzip: true, ..Faults::default() });
    }

    #[test]
    fn every_fault_that_is_listed_exists() {
        for (example, _) in FAULTS {
            assert_ne!(Faults::parse(example, ""), Ok(Faults::default()), "{example}");
            assert_eq!(Faults::parse(example, ""), Faults::parse("", &format!("fault-{example}")), "{example}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for bad in ["nonsense", "status=99", "status=x", "delay=5", "delay=2h", "reset=later", "events=9999999"] {
            let message = Faults::parse(bad, "").unwrap_err();
            assert!(message.contains(&format!("'{bad}'")), "{message}");
        }
        assert!(Faults::parse("", "fault-nonsense").unwrap_err().contains("first-token-delay=1s"));
    }
}
