//! Telephone numbers: international ones, those of North America, and national ones that begin with 0.

use std::ops::RangeInclusive;

use super::{Candidate, continues_a_number, digits};

/// In this order: `+` and a country code; North America's; national ones with groups.
pub const PHONE: &str = concat!(
    r"(?:\+\d(?:[ ./()-]{0,3}\d){7,14}",
    r"|(?:\b{start-half}1[ .-])?(?:\(\d{3}\) ?\d{3}[ .-]?\d{4}|\b{start-half}\d{3}[ .-]\d{3}[ .-]\d{4})",
    r"|\b{start-half}0\d{1,5}(?:(?: ?/ ?|[ .-])\d{2,8}){1,4}",
    r"|\(0\d{1,5}\) ?\d{2,8}(?:[ .-]\d{2,8}){0,3})\b{end-half}"
);

/// Whether a number of this shape can be one.
pub fn is_phone(candidate: &Candidate<'_>) -> bool {
    let before = candidate.before.chars().next_back();
    if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '+')) || continues_a_number(candidate.before) {
        return false;
    }
    let number: Vec<u8> = digits(candidate.text).collect();
    match number.as_slice() {
        digits if candidate.text.starts_with('+') => is_international(digits),
        // Dates and ranges of numbers have the shape too: an own one has the same separator throughout.
        [0, 1..=9, ..] => (9..=11).contains(&number.len()) && is_regular(candidate.text),
        [1, rest @ ..] if rest.len() == 10 => is_north_american(rest),
        rest => is_north_american(rest),
    }
}

/// Area code and exchange begin with 2 to 9, and an exchange that ends in 11 is a service.
fn is_north_american(digits: &[u8]) -> bool {
    matches!(digits, [2..=9, _, _, 2..=9, second, third, _, _, _, _] if (*second, *third) != (1, 1))
}

/// Whether all separators after the first group are the same one. The first may differ: `030/123 456 78`.
fn is_regular(text: &str) -> bool {
    let mut separators = text.bytes().filter(|byte| !byte.is_ascii_digit() && !matches!(byte, b'(' | b')' | b'/'));
    let first = separators.next();
    separators.all(|separator| Some(separator) == first)
}

/// Lengths of numbers with their country code, for numbering plans of a nearly fixed length (ITU-T E.164 and its list
/// of assigned codes). Without them a number would take digits with it that follow by chance.
const LENGTHS: &[(&str, RangeInclusive<usize>)] = &[
    ("20", 10..=12), // Egypt
    ("27", 11..=11), // South Africa
    ("30", 12..=12), // Greece
    ("31", 11..=11), // Netherlands
    ("32", 10..=11), // Belgium
    ("33", 11..=11), // France
    ("34", 11..=11), // Spain
    ("41", 11..=11), // Switzerland
    ("44", 11..=12), // United Kingdom
    ("45", 10..=10), // Denmark
    ("47", 10..=10), // Norway
    ("48", 11..=11), // Poland
    ("52", 12..=13), // Mexico
    ("55", 12..=13), // Brazil
    ("61", 11..=11), // Australia
    ("65", 10..=10), // Singapore
    ("7", 11..=11),  // Russia, Kazakhstan
    ("91", 12..=12), // India
];

/// Codes that no country or service has.
const SPARE: &[&str] = &[
    "210", "214", "215", "217", "219", "259", "292", "293", "294", "295", "296", "384", "422", "424", "425", "426",
    "427", "428", "429", "801", "802", "803", "804", "805", "806", "807", "809", "83", "851", "854", "857", "858",
    "859", "871", "872", "873", "874", "875", "876", "877", "884", "885", "887", "889", "89", "969", "978", "990",
    "991", "997", "999", "0",
];

/// Whether the country code exists, and its numbers can have this length. `digits` begins with the code.
fn is_international(digits: &[u8]) -> bool {
    if let [1, rest @ ..] = digits {
        return is_north_american(rest);
    }
    let begins = |code: &str| code.bytes().zip(digits).all(|(code, digit)| code - b'0' == *digit);
    if SPARE.iter().any(|code| begins(code)) {
        return false;
    }
    let lengths = LENGTHS.iter().find(|(code, _)| begins(code)).map(|(_, lengths)| lengths);
    lengths.unwrap_or(&(8..=15)).contains(&digits.len())
}
