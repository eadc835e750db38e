//! Events as JSON lines, written piece by piece into the line without a value tree between.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    fmt::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{Timestamp, tz::Offset};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Formats an event as one JSON object with its fields at the top. Spans are not shown.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        thread_local! {
            /// The line under way. A `String` of our own takes pieces several times faster than `out`, which is a
            /// trait object.
            static LINE: RefCell<String> = const { RefCell::new(String::new()) };
        }
        #[expect(clippy::disallowed_methods, reason = "the time of the event, read as it happens")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        LINE.with(|buffer| {
            // A value whose `Debug` logs re-enters this code.
            let Ok(mut line) = buffer.try_borrow_mut() else {
                let mut line = String::new();
                write_line(&mut line, since_epoch, event)?;
                return out.write_str(&line);
            };
            line.clear();
            line.shrink_to(MAX_KEPT_BYTES);
            write_line(&mut line, since_epoch, event)?;
            out.write_str(&line)
        })
    }
}

/// The largest line buffer a thread keeps. Access lines have under 1 KiB.
const MAX_KEPT_BYTES: usize = 16 * 1024;

fn write_line(line: &mut String, since_epoch: Duration, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    line.push_str("{\"ts\":\"");
    timestamp(line, since_epoch)?;
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push_str("\",\"target\":\"");
    Escape(line).write_str(metadata.target())?;
    line.push('"');
    let mut fields = Fields { out: line, result: Ok(()) };
    event.record(&mut fields);
    fields.result?;
    line.push_str("}\n");
    Ok(())
}

/// Writes RFC 3339 in UTC with milliseconds.
fn timestamp(out: &mut impl Write, since_epoch: Duration) -> fmt::Result {
    thread_local! {
        /// The second that was last written, and its text: dates are expensive.
        static SECOND: Cell<(u64, [u8; 20])> = const { Cell::new((u64::MAX, [0; 20])) };
    }
    let (known, mut text) = SECOND.get();
    if known != since_epoch.as_secs() {
        text = second(since_epoch.as_secs());
        SECOND.set((since_epoch.as_secs(), text));
    }
    out.write_str(str::from_utf8(&text).unwrap_or_default())?;
    let millis = since_epoch.subsec_millis();
    let digit = |n: u32| char::from_digit(n % 10, 10).unwrap_or('0');
    out.write_char(digit(millis / 100))?;
    out.write_char(digit(millis / 10))?;
    out.write_char(digit(millis))?;
    out.write_char('Z')
}

/// `2026-11-22T17:04:05.`; years before 10000 only.
fn second(seconds: u64) -> [u8; 20] {
    let time = Timestamp::from_second(i64::try_from(seconds).unwrap_or_default()).unwrap_or_default();
    let text = Offset::UTC.to_datetime(time).strftime("%Y-%m-%dT%H:%M:%S.").to_string();
    text.as_bytes().try_into().unwrap_or(*b"0000-00-00T00:00:00.")
}

/// Writes fields of an object that has one already.
struct Fields<'a, W: Write> {
    out: &'a mut W,
    result: fmt::Result,
}

impl<W: Write> Fields<'_, W> {
    /// Writes the field's name, then its value by `value`, until something fails.
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut W) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.name(field.name()).and_then(|()| value(self.out));
        }
    }

    fn name(&mut self, name: &str) -> fmt::Result {
        let (name, tail) = match name.strip_prefix("r#").unwrap_or(name) {
            "message" => ("msg", "\":"),
            // Keys that are there already.
            name @ ("ts" | "level" | "target" | "msg") => (name, "_\":"),
            name => (name, "\":"),
        };
        // Names are part of the source, and contain no quotes.
        self.out.write_str(",\"")?;
        self.out.write_str(name)?;
        self.out.write_str(tail)
    }

    fn quoted(&mut self, field: &Field, value: impl FnOnce(&mut Escape<'_, W>) -> fmt::Result) {
        self.member(field, |out| {
            out.write_char('"')?;
            value(&mut Escape(out))?;
            out.write_char('"')
        });
    }

    fn integer(&mut self, field: &Field, value: impl itoa::Integer) {
        self.member(field, |out| out.write_str(itoa::Buffer::new().format(value)));
    }
}

impl<W: Write> Visit for Fields<'_, W> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.quoted(field, |out| out.write_str(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.integer(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.integer(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.integer(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.integer(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |out| out.write_str(if value { "true" } else { "false" }));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no other numbers.
        self.member(field, |out| if value.is_finite() { write!(out, "{value}") } else { out.write_str("null") });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.quoted(field, |out| {
            write!(out, "{value}")?;
            let mut source = value.source();
            while let Some(error) = source {
                write!(out, ": {error}")?;
                source = error.source();
            }
            Ok(())
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.quoted(field, |out| write!(out, "{value:?}"));
    }
}

/// Writes text as the inside of a JSON string.
struct Escape<'a, W: Write>(&'a mut W);

impl<W: Write> Write for Escape<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !has_escaped(text.as_bytes()) {
            return self.0.write_str(text);
        }
        let mut rest = text;
        // Escaped characters are ASCII, so every cut is between characters.
        while let Some(at) = rest.bytes().position(is_escaped) {
            let (plain, tail) = rest.split_at(at);
            self.0.write_str(plain)?;
            match tail.bytes().next() {
                Some(b'"') => self.0.write_str("\\\"")?,
                Some(b'\\') => self.0.write_str("\\\\")?,
                Some(b'\n') => self.0.write_str("\\n")?,
                Some(b'\r') => self.0.write_str("\\r")?,
                Some(b'\t') => self.0.write_str("\\t")?,
                byte => write!(self.0, "\\u{:04x}", byte.unwrap_or_default())?,
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

const fn is_escaped(byte: u8) -> bool {
    matches!(byte, ..0x20 | b'"' | b'\\')
}

/// Whether a byte of `text` [is escaped](is_escaped), eight bytes at a time: most values are short and have none.
fn has_escaped(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is below `least`, which is 128 at most; and maybe of bytes above such a one.
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word & HIGH;
    let any = |word: [u8; 8]| {
        let word = u64::from_le_bytes(word);
        let equals = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        (below(word, 0x20) | equals(b'"') | equals(b'\\')) != 0
    };
    let (words, rest) = text.as_chunks::<8>();
    words.iter().any(|word| any(*word))
        || text.last_chunk::<8>().map_or_else(|| rest.iter().copied().any(is_escaped), |word| any(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let check = |millis: u64, expect: &str| {
            let mut text = String::new();
            timestamp(&mut text, Duration::from_millis(millis)).unwrap();
            assert_eq!(text, expect);
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(999, "1970-01-01T00:00:00.999Z");
        check(1_000, "1970-01-01T00:00:01.000Z");
        check(1_709_210_096_007, "2024-02-29T12:34:56.007Z");
        check(1_709_210_096_120, "2024-02-29T12:34:56.120Z");
        check(0, "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn escaped_bytes_are_found_wherever_they_are() {
        for length in 0..20 {
            for (at, byte) in (0..length).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                for around in [b'a', 0x80, 0xff, b' ', b'!', b'#', b'[', b']'] {
                    let mut text = vec![around; length];
                    text[at] = byte;
                    assert_eq!(has_escaped(&text), is_escaped(byte), "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn every_character_survives() {
        let all: String = (0..0x800).filter_map(char::from_u32).chain("\u{2028}😀\"\\".chars()).collect();
        let mut text = String::from("\"");
        Escape(&mut text).write_str(&all).unwrap();
        text.push('"');
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), all);
        assert!(!text.contains('\n'));
    }
}
