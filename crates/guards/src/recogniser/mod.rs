//! Ready-made recognisers: a shape each, as a regular expression, and a check of what has that shape.
//!
//! Shapes are ASCII. They end where no letter, digit or `_` follows; a check sees the text before a match, and one byte
//! after it. None looks further ahead, because text would have to be held for that.

mod bank;
mod internet;
mod numbers;
mod phone;
mod secrets;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use regex_automata::MatchKind;
use regex_syntax::ParserBuilder;

use crate::automaton::Automaton;

/// Bytes before a match that its check may look at.
pub const CONTEXT_BYTES: usize = 64;

/// A ready-made recogniser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Builtin {
    /// US social security numbers.
    Ssn,
    /// Card numbers of known issuers, with a valid check digit.
    CreditCard,
    /// Telephone numbers.
    PhoneNumber,
    /// E-mail addresses.
    Email,
    /// Canadian social insurance numbers.
    CaSin,
    /// International bank account numbers.
    Iban,
    /// IP addresses, of both versions.
    IpAddress,
    /// Keys of well-known APIs.
    ApiKey,
    /// JSON web tokens.
    Jwt,
    /// Private keys in PEM.
    PrivateKey,
}

impl Builtin {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Ssn,
        Self::CreditCard,
        Self::PhoneNumber,
        Self::Email,
        Self::CaSin,
        Self::Iban,
        Self::IpAddress,
        Self::ApiKey,
        Self::Jwt,
        Self::PrivateKey,
    ];

    /// The name inside a mask.
    pub const fn mask_name(self) -> &'static str {
        match self {
            Self::Ssn => "SSN",
            Self::CreditCard => "CREDIT_CARD",
            Self::PhoneNumber => "PHONE_NUMBER",
            Self::Email => "EMAIL_ADDRESS",
            Self::CaSin => "CA_SIN",
            Self::Iban => "IBAN",
            Self::IpAddress => "IP_ADDRESS",
            Self::ApiKey => "API_KEY",
            Self::Jwt => "JWT",
            Self::PrivateKey => "PRIVATE_KEY",
        }
    }
}

/// A text that has a recogniser's shape, and what is around it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Up to [`CONTEXT_BYTES`] before it.
    pub before: &'a str,
    /// The text.
    pub text: &'a str,
    /// The byte after it; `None` at the end of the text.
    pub next: Option<u8>,
}

/// One recogniser.
pub struct Recogniser {
    automaton: LazyLock<Option<Automaton>>,
    accepts: fn(&Candidate<'_>) -> bool,
    is_final: bool,
}

impl Recogniser {
    const fn new(make: fn() -> Option<Automaton>, accepts: fn(&Candidate<'_>) -> bool, is_final: bool) -> Self {
        Self { automaton: LazyLock::new(make), accepts, is_final }
    }

    /// Its automaton, made at the first use.
    pub fn automaton(&self) -> Option<&Automaton> {
        self.automaton.as_ref()
    }

    /// Whether a text of the shape is what is looked for.
    pub fn accepts(&self, candidate: &Candidate<'_>) -> bool {
        (self.accepts)(candidate)
    }

    /// Whether a text that was accepted is still one however it goes on.
    pub const fn is_final(&self) -> bool {
        self.is_final
    }
}

/// A recogniser whose check chooses among all ends that a match may have: the longest that it accepts.
macro_rules! checked {
    ($shape:expr, $accepts:expr) => {
        Recogniser::new(|| compile($shape, MatchKind::All), $accepts, false)
    };
}

/// A recogniser whose check looks at the beginning only.
macro_rules! prefixed {
    ($shape:expr, $accepts:expr) => {
        Recogniser::new(|| compile($shape, MatchKind::LeftmostFirst), $accepts, true)
    };
}

/// The recogniser of `builtin`: the table.
pub fn of(builtin: Builtin) -> &'static Recogniser {
    static SSN: Recogniser = checked!(numbers::SSN, numbers::is_ssn);
    static CREDIT_CARD: Recogniser = checked!(numbers::CARD, numbers::is_card);
    static PHONE_NUMBER: Recogniser = checked!(phone::PHONE, phone::is_phone);
    static EMAIL: Recogniser = checked!(internet::EMAIL, internet::is_email);
    static CA_SIN: Recogniser = checked!(numbers::SIN, numbers::is_sin);
    static IBAN: Recogniser = checked!(bank::IBAN, bank::is_iban);
    static IP_ADDRESS: Recogniser = checked!(internet::IP, internet::is_ip);
    static API_KEY: Recogniser = prefixed!(secrets::API_KEY, secrets::is_api_key);
    static JWT: Recogniser = prefixed!(secrets::JWT, secrets::is_jwt);
    static PRIVATE_KEY: Recogniser = prefixed!(secrets::PRIVATE_KEY, |_| true);
    match builtin {
        Builtin::Ssn => &SSN,
        Builtin::CreditCard => &CREDIT_CARD,
        Builtin::PhoneNumber => &PHONE_NUMBER,
        Builtin::Email => &EMAIL,
        Builtin::CaSin => &CA_SIN,
        Builtin::Iban => &IBAN,
        Builtin::IpAddress => &IP_ADDRESS,
        Builtin::ApiKey => &API_KEY,
        Builtin::Jwt => &JWT,
        Builtin::PrivateKey => &PRIVATE_KEY,
    }
}

/// The automaton of a shape of the table.
fn compile(shape: &str, kind: MatchKind) -> Option<Automaton> {
    let hir = ParserBuilder::new().unicode(false).utf8(true).build().parse(shape).ok()?;
    Automaton::new(&hir, kind)
}

/// The digits of `text`, in their order.
fn digits(text: &str) -> impl DoubleEndedIterator<Item = u8> + Clone {
    text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0')
}

/// Whether the check digit of a number is right (ISO/IEC 7812-1, annex B).
fn luhn(text: &str) -> bool {
    let sum: u32 = digits(text)
        .rev()
        .zip([1_u32, 2].into_iter().cycle())
        .map(|(digit, times)| {
            let product = u32::from(digit) * times;
            product / 10 + product % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether the text before a number makes it a part of a longer one: `1-` before a number with dashes, `3.` before
/// decimals.
fn continues_a_number(before: &str) -> bool {
    let mut last = before.bytes().rev();
    matches!((last.next(), last.next()), (Some(b'-' | b'.' | b','), Some(b'0'..=b'9')))
}

/// Whether one of `words` is a word of the last `reach` bytes of `before`, whatever its case.
fn mentions(before: &str, reach: usize, words: &[&str]) -> bool {
    let near = before.get(before.ceil_char_boundary(before.len().saturating_sub(reach))..).unwrap_or_default();
    let near = near.to_ascii_lowercase();
    words.iter().any(|word| {
        near.match_indices(word).any(|(at, _)| {
            let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            let bytes = near.as_bytes();
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            !is_word(before) && !is_word(bytes.get(at + word.len()))
        })
    })
}
