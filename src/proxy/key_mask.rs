//! Masks the target's own key in replies: providers repeat keys in errors ("Incorrect API key provided: ...").

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::HeaderValue;
use smallvec::SmallVec;

use crate::{snapshot::Credential, upstream::Token};
use secrecy::ExposeSecret;

/// The replacement of a key.
const MASK: &[u8] = b"***";
/// Shorter keys are not masked: they are words such as `none`, for servers that require no key, and masking would
/// corrupt texts.
const SHORTEST: usize = 8;

/// The key that a request was sent with. Cheap to clone; has no `Debug`.
#[derive(Clone)]
pub enum KeyMask {
    /// A whole header.
    Header(HeaderValue),
    /// A fetched token, or keys of AWS.
    Token(Arc<Token>),
}

type Keys<'a> = SmallVec<[&'a [u8]; 3]>;

impl KeyMask {
    /// The gateway's own key for a target; `None` if the client's key is sent.
    pub fn of(credential: &Credential, token: Option<&Arc<Token>>) -> Option<Self> {
        match (credential, token) {
            (Credential::Fixed(_, value), _) => Some(Self::Header(value.clone())),
            (_, Some(token)) => Some(Self::Token(Arc::clone(token))),
            _ => None,
        }
    }

    fn keys(&self) -> Keys<'_> {
        let mut keys = Keys::new();
        match self {
            Self::Header(value) => {
                // The scheme is removed, unless the rest is not a key.
                let bytes = value.as_bytes();
                let behind = bytes.iter().position(|b| *b == b' ').and_then(|at| bytes.get(at + 1..));
                keys.push(behind.filter(|key| key.len() >= SHORTEST).unwrap_or(bytes));
            }
            Self::Token(token) => match &**token {
                Token::Bearer(token) => keys.push(token.expose_secret().as_bytes()),
                Token::Aws(aws) => keys.extend(aws.secrets().map(str::as_bytes)),
            },
        }
        keys.retain(|key| key.len() >= SHORTEST);
        keys
    }

    /// Whether a key is in `text`, as it is or in the escapes of JSON.
    pub fn is_in(&self, text: &[u8]) -> bool {
        let keys = self.keys();
        // Escapes only make it longer. Nearly every header of a reply is shorter than a key, and is not searched.
        let Some(last) = keys.iter().map(|key| key.len()).min().and_then(|key| text.len().checked_sub(key)) else {
            return false;
        };
        let beginnings = text.get(..=last).unwrap_or_default();
        keys.iter().filter_map(|key| key.first()).any(|first| {
            // Any character of a key may be escaped, its first too.
            memchr::memchr2_iter(*first, b'\\', beginnings).any(|at| matches!(find(text, at, &keys), Found::Whole(_)))
        })
    }

    /// `body` without the key. A body that has none is not copied.
    pub fn mask(&self, body: Bytes) -> Bytes {
        if !self.is_in(&body) {
            return body;
        }
        let mut masked = MaskedBody::new(self.clone());
        let mut out = masked.push(&body);
        out.extend(masked.finish());
        out.into()
    }
}

/// Masks a body that comes in pieces. It holds back only text that may be the beginning of a key.
pub struct MaskedBody {
    mask: KeyMask,
    held: Vec<u8>,
}

impl MaskedBody {
    /// Masks `mask`'s keys.
    pub const fn new(mask: KeyMask) -> Self {
        Self { mask, held: Vec::new() }
    }

    /// Takes the next piece, and returns the bytes that can be released.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let keys = self.mask.keys();
        let text: Cow<'_, [u8]> =
            if self.held.is_empty() { piece.into() } else { [self.held.as_slice(), piece].concat().into() };
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            match find(&text, at, &keys) {
                Found::Whole(length) => {
                    out.extend_from_slice(MASK);
                    at += length;
                }
                Found::Beginning => break,
                Found::No => {
                    out.push(*byte);
                    at += 1;
                }
            }
        }
        self.held = text.get(at..).unwrap_or_default().to_vec();
        out
    }

    /// Ends the body. A long beginning of a key is masked, too, since it is nearly as useful as the key.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        if held.len() >= SHORTEST { MASK.to_vec() } else { held }
    }
}

/// Masks keys in the errors of a stream: from the first mention of an error on, wherever the network cuts it.
pub struct MaskedEvents {
    body: MaskedBody,
    /// The last bytes before any mention.
    tail: Vec<u8>,
    begun: bool,
}

/// What every dialect's error events contain, whatever its case.
const MENTION: &[u8] = b"rror";

impl MaskedEvents {
    /// Masks `mask`'s keys.
    pub const fn new(mask: KeyMask) -> Self {
        Self { body: MaskedBody::new(mask), tail: Vec::new(), begun: false }
    }

    /// Takes the next bytes, and returns those that can be released: the same ones before any mention of an error.
    pub fn push(&mut self, data: Bytes) -> Bytes {
        if !self.begun {
            let room = MENTION.len() - 1;
            self.tail.extend_from_slice(data.get(..room).unwrap_or(&data));
            let mentions = |text: &[u8]| memchr::memmem::find(text, MENTION).is_some();
            self.begun = mentions(&self.tail) || mentions(&data);
            if data.len() >= room {
                self.tail.clear();
                self.tail.extend_from_slice(data.get(data.len() - room..).unwrap_or_default());
            } else {
                self.tail.drain(..self.tail.len().saturating_sub(room));
            }
        }
        if self.begun { self.body.push(&data).into() } else { data }
    }

    /// Ends the stream: see [`MaskedBody::finish`].
    pub fn finish(&mut self) -> Vec<u8> {
        self.body.finish()
    }
}

/// The result of a search at one position.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// A key of this many bytes.
    Whole(usize),
    /// The text ends within what may be a key.
    Beginning,
    /// Something else.
    No,
}

/// Searches at `at` of `text`: a whole key is preferred to the beginning of another.
fn find(text: &[u8], at: usize, keys: &[&[u8]]) -> Found {
    keys.iter().fold(Found::No, |best, key| match (best, match_key(text, at, key)) {
        (Found::Whole(length), _) | (_, Found::Whole(length)) => Found::Whole(length),
        (Found::Beginning, _) | (_, Found::Beginning) => Found::Beginning,
        _ => Found::No,
    })
}

/// Compares with one key, whose characters may be escaped as JSON allows: `\/`, `\u002b`.
fn match_key(text: &[u8], start: usize, key: &[u8]) -> Found {
    let mut at = start;
    for expected in key {
        match (text.get(at), text.get(at + 1)) {
            (None, _) | (Some(b'\\'), None) => return Found::Beginning,
            (Some(b'\\'), Some(b'u')) => {
                let digits = text.get(at + 2..(at + 6).min(text.len())).unwrap_or_default();
                let value = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
                if digits.len() < 4 {
                    return if value.is_some() || digits.is_empty() { Found::Beginning } else { Found::No };
                }
                if value != Some(u32::from(*expected)) {
                    return Found::No;
                }
                at += 6;
            }
            (Some(b'\\'), Some(next)) if next == expected => at += 2,
            (Some(byte), _) if byte == expected => at += 1,
            _ => return Found::No,
        }
    }
    Found::Whole(at - start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::AwsKeys;

    const KEY: &str = "sk-a/b+c=0123456789";

    fn header() -> KeyMask {
        KeyMask::Header(HeaderValue::from_static("Bearer sk-a/b+c=0123456789"))
    }

    #[test]
    fn keys_are_masked_at_every_split_and_in_every_spelling() {
        for (text, expected) in [
            (format!("bad key: {KEY}."), "bad key: ***."),
            (format!("{KEY}{KEY}"), "******"),
            (format!("Bearer {KEY}"), "Bearer ***"),
            ("\"sk-a\\/b\\u002Bc=0123456789\"".to_owned(), "\"***\""),
            ("sk-a/b+c=012345678".to_owned(), "***"),
            ("sk-a/b+c=01234567x".to_owned(), "sk-a/b+c=01234567x"),
            ("ends with sk-a".to_owned(), "ends with sk-a"),
            ("sk-a\\u00zz and \\".to_owned(), "sk-a\\u00zz and \\"),
            (format!("ssk-{KEY}"), "ssk-***"),
            (String::new(), ""),
        ] {
            for cut in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(cut);
                let mut body = MaskedBody::new(header());
                let mut out = body.push(head);
                out.extend(body.push(tail));
                out.extend(body.finish());
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{text} at {cut}");
            }
        }
    }

    #[test]
    fn a_key_in_an_error_event_is_masked_wherever_the_stream_is_cut() {
        let stream = format!("data: {{\"a\":1}}\n\nevent: error\ndata: {{\"message\":\"bad key {KEY}!\"}}\n\n");
        for size in 1..stream.len() {
            let mut events = MaskedEvents::new(header());
            let pieces = stream.as_bytes().chunks(size).map(Bytes::copy_from_slice);
            let mut out: Vec<u8> = pieces.flat_map(|piece| events.push(piece)).collect();
            out.extend(events.finish());
            assert_eq!(String::from_utf8(out).unwrap(), stream.replace(KEY, "***"), "in pieces of {size}");
        }
        let text = Bytes::from(format!("data: {KEY}\n\n"));
        let mut events = MaskedEvents::new(header());
        assert_eq!(events.push(text.clone()).as_ptr(), text.as_ptr(), "what is no error is not copied");
    }

    #[test]
    fn what_has_no_key_is_not_copied() {
        let body = Bytes::from_static(b"{\"error\":\"slower\"}");
        assert_eq!(header().mask(body.clone()).as_ptr(), body.as_ptr());
        assert_eq!(header().mask(Bytes::from(format!("a{KEY}b"))), "a***b");
    }

    #[test]
    fn keys_of_aws_are_masked_and_words_are_not() {
        let keys = AwsKeys::new("AKIDEXAMPLE", "secret/key+0123", Some("session/0123".to_owned()));
        let mask = KeyMask::Token(Arc::new(Token::Aws(keys)));
        let text = Bytes::from_static(b"a secret\\/key+0123 b session/0123 c");
        assert_eq!(mask.mask(text), "a *** b *** c");
        let word = KeyMask::Header(HeaderValue::from_static("none"));
        assert_eq!(word.mask(Bytes::from_static(b"none of them")), "none of them");
    }
}
