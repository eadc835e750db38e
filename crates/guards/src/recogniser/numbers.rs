//! Numbers of persons and cards: US social security numbers, Canadian social insurance numbers, payment cards.

use super::{Candidate, continues_a_number, digits, luhn, mentions};

/// Three groups with one separator, or nine digits.
pub const SSN: &str = r"\b{start-half}(?:\d{3}-\d{2}-\d{4}|\d{3}\.\d{2}\.\d{4}|\d{3} \d{2} \d{4}|\d{9})\b{end-half}";

/// How far before nine bare digits their name may be.
const NAME_REACH: usize = 32;

/// The Social Security Administration never gave out area 000, 666 or 900 to 999, group 00 or serial 0000. Nine digits
/// without separators are one only where the text names them so.
pub fn is_ssn(candidate: &Candidate<'_>) -> bool {
    let mut digits = digits(candidate.text);
    let mut number = |count: usize| digits.by_ref().take(count).fold(0_u32, |n, digit| n * 10 + u32::from(digit));
    let (area, group, serial) = (number(3), number(2), number(4));
    let is_given = !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0;
    let named = candidate.text.len() > 9 || mentions(candidate.before, NAME_REACH, &["ssn", "social security"]);
    is_given && named && !is_one_digit(candidate.text) && !continues_a_number(candidate.before)
}

/// Three groups with one separator, or nine digits.
pub const SIN: &str = r"\b{start-half}(?:\d{3}-\d{3}-\d{3}|\d{3} \d{3} \d{3}|\d{9})\b{end-half}";

/// The last digit is a check digit; numbers that begin with 0 or 8 are not given out.
pub fn is_sin(candidate: &Candidate<'_>) -> bool {
    let begins = !candidate.text.starts_with(['0', '8']);
    let named = candidate.text.len() > 9 || mentions(candidate.before, NAME_REACH, &["sin", "social insurance", "nas"]);
    begins && named && luhn(candidate.text) && !continues_a_number(candidate.before)
}

fn is_one_digit(text: &str) -> bool {
    let mut digits = digits(text);
    let first = digits.next();
    digits.all(|digit| Some(digit) == first)
}

/// Twelve to nineteen digits, at a stretch or in groups as they are printed.
pub const CARD: &str = r"\b{start-half}(?:\d{12,19}|\d{4,8}(?:[ -]\d{3,8}){1,4}(?:[ -]\d{1,2})?)\b{end-half}";

/// The check digit is right, and an issuer has numbers that begin like this and have this length: one in ten random
/// numbers has a right check digit.
pub fn is_card(candidate: &Candidate<'_>) -> bool {
    let length = digits(candidate.text).count();
    let prefix = digits(candidate.text).take(4).fold(0_u32, |n, digit| n * 10 + u32::from(digit));
    let before = candidate.before.chars().next_back();
    let begins = !before.is_some_and(|c| c == '.' || c.is_alphanumeric());
    begins && has_issuer(prefix, length) && luhn(candidate.text) && !continues_a_number(candidate.before)
}

/// Whether an issuer has numbers of this length whose first four digits are `prefix`.
const fn has_issuer(prefix: u32, length: usize) -> bool {
    match prefix {
        // Visa
        4000..=4999 => matches!(length, 13 | 16 | 19),
        // Mastercard
        5100..=5599 | 2221..=2720 => length == 16,
        // American Express
        3400..=3499 | 3700..=3799 => length == 15,
        // Diners Club
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => matches!(length, 14..=19),
        // JCB
        3528..=3589 => matches!(length, 16..=19),
        // Maestro; Discover and UnionPay have a part of its numbers, from 16 digits.
        5000..=5099 | 5600..=5899 | 6000..=6999 => matches!(length, 12..=19),
        _ => false,
    }
}
