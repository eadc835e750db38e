//! Durations as manifests spell them: `30s`, `1m30s`, `2.5h`.

use std::{borrow::Cow, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A duration in Go's spelling, at most 292 years. Never negative.
///
/// Own parser: kube's panics on numbers that overflow and on an inner minus sign, and manifests are outside input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoDuration {
    text: String,
    value: Duration,
}

/// The reason why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not numbers with units.
    #[error("not a duration: write numbers with the units h, m, s, ms, us or ns, such as `30s` or `1m30s`")]
    Malformed,
    /// Out of range.
    #[error("duration too long: at most 292 years")]
    TooLong,
}

impl GoDuration {
    /// The duration.
    #[must_use]
    pub const fn get(&self) -> Duration {
        self.value
    }

    /// The duration as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut nanos: u64 = 0;
        let mut rest = if text == "0" { "0s" } else { text };
        if rest.is_empty() {
            return Err(DurationError::Malformed);
        }
        while !rest.is_empty() {
            let (part, after) = component(rest)?;
            nanos = nanos.checked_add(part).filter(|n| i64::try_from(*n).is_ok()).ok_or(DurationError::TooLong)?;
            rest = after;
        }
        Ok(Self { text: text.into(), value: Duration::from_nanos(nanos) })
    }
}

/// The nanoseconds of the first number with its unit, and the text after it.
fn component(text: &str) -> Result<(u64, &str), DurationError> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Malformed);
    }
    let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit: u64 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(DurationError::Malformed),
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| DurationError::TooLong)? };
    let mut nanos = whole.checked_mul(unit).ok_or(DurationError::TooLong)?;
    // Digit by digit: exact, and digits below a nanosecond fall away.
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(place * u64::from(digit - b'0')).ok_or(DurationError::TooLong)?;
    }
    Ok((nanos, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The length bounds what CEL's `duration()` may cost; the digits keep it within what CEL can hold.
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": "^(0|([0-9]{1,6}(\\.[0-9]{1,9})?(ns|us|ms|s|m|h)){1,6})$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        fn check(text: &str, expect: Result<u64, DurationError>) {
            let parsed = text.parse::<GoDuration>().map(|d| d.get());
            assert_eq!(parsed, expect.map(Duration::from_nanos), "{text:?}");
        }
        check("0", Ok(0));
        check("0s", Ok(0));
        check("30s", Ok(30_000_000_000));
        check("1m30s", Ok(90_000_000_000));
        check("25ms", Ok(25_000_000));
        check("1.5s", Ok(1_500_000_000));
        check(".5s", Ok(500_000_000));
        check("1h2m3.004005006s", Ok(3_723_004_005_006));
        check("7us", Ok(7_000));
        check("7\u{b5}s", Ok(7_000));
        check("1.9ns", Ok(1));
        check("", Err(DurationError::Malformed));
        check("30", Err(DurationError::Malformed));
        check("s", Err(DurationError::Malformed));
        check(".s", Err(DurationError::Malformed));
        check("1 s", Err(DurationError::Malformed));
        check("-1s", Err(DurationError::Malformed));
        check("5s-3s", Err(DurationError::Malformed));
        check("1e3s", Err(DurationError::Malformed));
        check("1d", Err(DurationError::Malformed));
        check("2562048h", Err(DurationError::TooLong));
        check("99999999999999999999999h", Err(DurationError::TooLong));
    }
}
