//! Decoding of the content of a string's quotes.

use std::borrow::Cow;

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// The text of a JSON string, given the content of its quotes; borrowed if it has no escapes.
///
/// Lone surrogates, which JSON's grammar allows and Unicode text can't hold, become U+FFFD; so does an invalid escape.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    let Some((head, mut rest)) = raw.split_once('\\') else { return Cow::Borrowed(raw) };
    let mut text = String::with_capacity(raw.len());
    text.push_str(head);
    loop {
        let (decoded, after) = escape(rest);
        text.push(decoded);
        let Some((plain, next)) = after.split_once('\\') else {
            text.push_str(after);
            return Cow::Owned(text);
        };
        text.push_str(plain);
        rest = next;
    }
}

/// Decodes the escape that starts after a backslash; also returns the rest.
fn escape(rest: &str) -> (char, &str) {
    let mut chars = rest.chars();
    let decoded = match chars.next() {
        Some(plain @ ('"' | '\\' | '/')) => plain,
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return unicode(chars.as_str()),
        _ => REPLACEMENT,
    };
    (decoded, chars.as_str())
}

/// Decodes the digits after `\u`, together with the second half of a surrogate pair.
fn unicode(rest: &str) -> (char, &str) {
    let Some((unit, after)) = hex(rest) else { return (REPLACEMENT, rest) };
    if let 0xd800..=0xdbff = unit
        && let Some((low @ 0xdc00..=0xdfff, after)) = after.strip_prefix("\\u").and_then(hex)
    {
        let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(point).unwrap_or(REPLACEMENT), after);
    }
    (char::from_u32(unit).unwrap_or(REPLACEMENT), after)
}

fn hex(rest: &str) -> Option<(u32, &str)> {
    let (digits, after) = rest.split_at_checked(4)?;
    // `from_str_radix` would also take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((u32::from_str_radix(digits, 16).ok().filter(|_| plain)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        let check = |raw: &str, expect: &str| assert_eq!(unescape(raw), expect, "{raw}");
        check("", "");
        check("plain é", "plain é");
        check(r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t");
        check(r"mod\u0065l", "model");
        check(r"\u00e9\u20AC", "é€");
        check(r"a\ud83d\ude00b", "a😀b");
        check(r"\ud83d", "\u{fffd}");
        check(r"\ud83d\u0041", "\u{fffd}A");
        check(r"\ude00\ud83d", "\u{fffd}\u{fffd}");
        check(r"\ud83dx", "\u{fffd}x");
        check(r"\u+041", "\u{fffd}+041");
        check(r"\u00", "\u{fffd}00");
        check("\\", "\u{fffd}");
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        assert!(matches!(unescape("gpt-4o"), Cow::Borrowed("gpt-4o")));
    }
}
