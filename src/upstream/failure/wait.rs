//! The wait that a provider names: how long to leave it alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, header};

/// Waits in milliseconds, in the order in which they are read: OpenAI's and Azure's.
const MILLISECONDS: [HeaderName; 2] =
    [HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-ms-retry-after-ms")];

/// A bare number below it is seconds from now, and any other is seconds since 1970. Servers with `x-ratelimit-reset`
/// send either.
const EPOCH_FROM: f64 = 30.0 * 86_400.0;

/// The longest wait that is read, so that sums of times can't overflow. Every row of the table has a lower ceiling.
const MAX: Duration = Duration::from_hours(24);

/// The wait that these headers name; `None` where they name none, or none that makes sense. The most exact one is read:
/// milliseconds, then `Retry-After` as seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = MILLISECONDS.iter().find_map(|name| number(text(name)?).and_then(|millis| bounded(millis / 1000.0)));
    millis.or_else(|| {
        let text = text(&header::RETRY_AFTER)?;
        number(text).map_or_else(|| until(http_date(text)?, now), bounded)
    })
}

/// The wait until the limit that was reached is reset: that of a limit of which nothing remains, or else the longest,
/// since the reply does not state which limit it was. `None` without such headers.
pub(super) fn reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let mut found: Option<(bool, Duration)> = None;
    for (name, value) in headers {
        let Some(remaining) = remaining_of(name.as_str()) else { continue };
        let Some(wait) = value.to_str().ok().and_then(|value| reset_value(value.trim(), now)) else { continue };
        let left = headers.get(remaining).and_then(|left| number(left.to_str().ok()?.trim()));
        found = found.max(Some((left == Some(0.0), wait)));
    }
    found.map(|(_, wait)| wait)
}

/// The header with what remains of the limit whose reset is in the header `name`, if it is one.
fn remaining_of(name: &str) -> Option<String> {
    if let Some(limit) = name.strip_prefix("x-ratelimit-reset") {
        return Some(format!("x-ratelimit-remaining{limit}"));
    }
    let limit = name.strip_prefix("anthropic-ratelimit-")?.strip_suffix("-reset")?;
    Some(format!("anthropic-ratelimit-{limit}-remaining"))
}

/// A reset: a duration as Go writes it (`6m0s`, `120ms`), a bare number, or a time of RFC 3339.
fn reset_value(text: &str, now: SystemTime) -> Option<Duration> {
    match number(text) {
        Some(number) if number < EPOCH_FROM => bounded(number),
        Some(epoch) => until(UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(epoch).ok()?)?, now),
        None => go_duration(text).or_else(|| until(text.parse::<jiff::Timestamp>().ok()?.into(), now)),
    }
}

/// The sum of the parts of Go's form: each a number and a unit.
fn go_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (count, behind) = rest.split_at_checked(unit_at)?;
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at_checked(unit_end)?;
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "\u{b5}s" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number(count)? * unit;
        rest = next;
    }
    (!text.is_empty()).then(|| bounded(seconds)).flatten()
}

/// A number of digits, with a fraction or without. Not a sign, an exponent or a name of an infinite number.
fn number(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|_| is_plain)
}

fn bounded(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.min(MAX.as_secs_f64())).ok()
}

/// The time from `now` until `at`; `None` if it has passed.
fn until(at: SystemTime, now: SystemTime) -> Option<Duration> {
    at.duration_since(now).ok().filter(|wait| !wait.is_zero()).map(|wait| wait.min(MAX))
}

/// A date of HTTP in the form that all servers have to write.
fn http_date(text: &str) -> Option<SystemTime> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wed, 21 Oct 2026 07:28:00 GMT.
    const NOW: u64 = 1_792_567_680;

    fn headers(lines: &[&str]) -> HeaderMap {
        let pairs = lines.iter().map(|line| line.split_once(": ").unwrap());
        pairs.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    #[test]
    fn every_spelling_of_a_wait_is_read() {
        for (lines, millis) in [
            (&["retry-after: 7"][..], Some(7_000)),
            (&["retry-after: 1.5"], Some(1_500)),
            (&["retry-after: 0"], Some(0)),
            (&["retry-after: Wed, 21 Oct 2026 07:28:30 GMT"], Some(30_000)),
            (&["retry-after-ms: 1250"], Some(1_250)),
            (&["x-ms-retry-after-ms: 90"], Some(90)),
            // The more exact one, whatever the order.
            (&["retry-after: 2", "retry-after-ms: 1250"], Some(1_250)),
            (&["retry-after: 2", "retry-after-ms: soon"], Some(2_000)),
            // No wait, or none that makes sense.
            (&[], None),
            (&["retry-after: -1"], None),
            (&["retry-after: 120s"], None),
            (&["retry-after: 1e9"], None),
            (&["retry-after: inf"], None),
            (&["retry-after: NaN"], None),
            (&["retry-after: "], None),
            (&["retry-after: Wed, 21 Oct 2026 07:27:59 GMT"], None),
            (&["retry-after: Fri, 31 Dec 1999 23:59:59 GMT"], None),
            (&["retry-after-ms: -5"], None),
            // More than a day is a day.
            (&["retry-after: 1000000000"], Some(86_400_000)),
            (&["retry-after: 99999999999999999999999999999999999999"], Some(86_400_000)),
            (&["retry-after: Sun, 21 Oct 2126 07:28:30 GMT"], None),
            (&["retry-after: Mon, 21 Oct 2126 07:28:30 GMT"], Some(86_400_000)),
        ] {
            let read = retry_after(&headers(lines), now());
            assert_eq!(read, millis.map(Duration::from_millis), "{lines:?}");
        }
    }

    #[test]
    fn the_reset_of_what_is_used_up_is_read() {
        for (lines, millis) in [
            // OpenAI and Azure: Go's durations.
            (&["x-ratelimit-reset-requests: 1s"][..], Some(1_000)),
            (&["x-ratelimit-reset-tokens: 6m0s"], Some(360_000)),
            (&["x-ratelimit-reset-tokens: 120ms"], Some(120)),
            (&["x-ratelimit-reset-tokens: 1h2m3.5s"], Some(3_723_500)),
            (
                &[
                    "x-ratelimit-remaining-requests: 0",
                    "x-ratelimit-reset-requests: 20s",
                    "x-ratelimit-remaining-tokens: 149000",
                    "x-ratelimit-reset-tokens: 6m0s",
                ],
                Some(20_000),
            ),
            (
                &[
                    "x-ratelimit-remaining-requests: 12",
                    "x-ratelimit-reset-requests: 20s",
                    "x-ratelimit-remaining-tokens: 3",
                    "x-ratelimit-reset-tokens: 6m0s",
                ],
                Some(360_000),
            ),
            // Anthropic: times of RFC 3339.
            (
                &[
                    "anthropic-ratelimit-requests-remaining: 10",
                    "anthropic-ratelimit-requests-reset: 2026-10-21T07:29:00Z",
                    "anthropic-ratelimit-input-tokens-remaining: 0",
                    "anthropic-ratelimit-input-tokens-reset: 2026-10-21T07:28:05Z",
                ],
                Some(5_000),
            ),
            (&["anthropic-ratelimit-tokens-reset: 2026-10-21T07:27:00Z"], None),
            // Cerebras and Groq: bare seconds.
            (
                &[
                    "x-ratelimit-remaining-requests-day: 14399",
                    "x-ratelimit-reset-requests-day: 33011.38",
                    "x-ratelimit-remaining-tokens-minute: 0",
                    "x-ratelimit-reset-tokens-minute: 11.38",
                ],
                Some(11_380),
            ),
            // As GitHub writes it: seconds, or seconds since 1970.
            (&["x-ratelimit-reset: 42"], Some(42_000)),
            (&["x-ratelimit-reset: 1792567690"], Some(10_000)),
            (&["x-ratelimit-reset: 1792567000"], None),
            (&["x-ratelimit-reset-tokens: soon", "x-ratelimit-remaining-tokens: 0"], None),
            (&["x-ratelimit-reset-tokens: "], None),
            (&["x-ratelimit-reset-tokens: -3s"], None),
            (&["x-ratelimit-limit-tokens: 5"], None),
        ] {
            assert_eq!(reset(&headers(lines), now()), millis.map(Duration::from_millis), "{lines:?}");
        }
    }
}
