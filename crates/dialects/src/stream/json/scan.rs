//! The scanner: RFC 8259's grammar as a loop.

use std::ops::Range;

use super::{JsonError, JsonErrorKind, MAX_DEPTH, MAX_MEMBERS, Member, TopLevel, ValueKind};
use crate::stream::skip;

/// Validates a body and collects the fields of its object.
pub(super) fn top_level(body: &[u8]) -> Result<TopLevel<'_>, JsonError> {
    let Ok(text) = simdutf8::basic::from_utf8(body) else { return Err(not_utf8(body)) };
    let mut scanner = Scanner { bytes: body, at: 0, values: 0, stack: Stack::default() };
    scanner.skip_space();
    let open = scanner.at;
    match scanner.peek() {
        b'{' => scanner.at += 1,
        _ => return Err(scanner.not_an_object()),
    }
    // Most requests have no more fields.
    let mut members = Vec::with_capacity(8);
    scanner.skip_space();
    if scanner.peek() != b'}' {
        loop {
            let member = scanner.member(text)?;
            if members.len() == MAX_MEMBERS {
                return Err(JsonError { kind: JsonErrorKind::TooManyMembers, offset: member.member.start });
            }
            members.push(member);
            scanner.skip_space();
            match scanner.peek() {
                b',' => scanner.at += 1,
                b'}' => break,
                _ => return Err(scanner.expected("',' or '}'")),
            }
            scanner.skip_space();
        }
    }
    let close = scanner.at;
    scanner.at += 1;
    scanner.skip_space();
    if scanner.at == body.len() {
        let values = scanner.values + members.len();
        Ok(TopLevel { body, members, open, close, values })
    } else {
        Err(scanner.error(JsonErrorKind::TrailingData))
    }
}

/// The fast check does not give the position, so a second pass searches for it.
#[cold]
fn not_utf8(body: &[u8]) -> JsonError {
    let offset = simdutf8::compat::from_utf8(body).err().map_or(0, |error| error.valid_up_to());
    JsonError { kind: JsonErrorKind::NotUtf8, offset }
}

/// The range of a string between its quotes, and whether it has escapes.
struct Text {
    inner: Range<usize>,
    escaped: bool,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Number of values inside the fields' values, so far.
    values: usize,
    stack: Stack,
}

impl<'a> Scanner<'a> {
    /// The next byte; zero, which no grammar rule accepts outside of strings, at the end.
    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn skip_space(&mut self) {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.peek() {
            self.at += 1;
        }
    }

    /// A field of the top-level object, from its key on.
    fn member(&mut self, text: &'a str) -> Result<Member<'a>, JsonError> {
        let key_quote = self.at;
        let key = self.key()?;
        let start = self.at;
        let kind = match self.peek() {
            b'{' => self.container(ValueKind::Object)?,
            b'[' => self.container(ValueKind::Array)?,
            _ => self.scalar()?,
        };
        let span = start..self.at;
        Ok(Member {
            key: text.get(key.inner).unwrap_or_default(),
            key_escaped: key.escaped,
            value: self.bytes.get(span.clone()).unwrap_or_default(),
            member: key_quote..span.end,
            span,
            kind,
        })
    }

    /// A container with all that it holds, from its opening bracket on.
    fn container(&mut self, kind: ValueKind) -> Result<ValueKind, JsonError> {
        loop {
            // A value starts here.
            self.values += 1;
            match self.peek() {
                b'{' => {
                    self.open(true)?;
                    if self.peek() != b'}' {
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.open(false)?;
                    if self.peek() != b']' {
                        continue;
                    }
                }
                _ => {
                    self.scalar()?;
                }
            }
            // A value has ended, or its container is empty: close the containers that end here, or continue after a
            // comma.
            loop {
                self.skip_space();
                let object = self.stack.in_object();
                match (self.peek(), object) {
                    (b',', true) => {
                        self.at += 1;
                        self.skip_space();
                        self.key()?;
                        break;
                    }
                    (b',', false) => {
                        self.at += 1;
                        self.skip_space();
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        if self.stack.pop() == 0 {
                            return Ok(kind);
                        }
                    }
                    (_, true) => return Err(self.expected("',' or '}'")),
                    (_, false) => return Err(self.expected("',' or ']'")),
                }
            }
        }
    }

    /// Steps over an opening bracket and the white space after it.
    #[inline]
    fn open(&mut self, object: bool) -> Result<(), JsonError> {
        if !self.stack.push(object) {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// A key, its colon, and the white space up to the value.
    #[inline]
    fn key(&mut self) -> Result<Text, JsonError> {
        if self.peek() != b'"' {
            return Err(self.expected("a key in double quotes"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != b':' {
            return Err(self.expected("':'"));
        }
        self.at += 1;
        self.skip_space();
        Ok(key)
    }

    #[inline]
    fn scalar(&mut self) -> Result<ValueKind, JsonError> {
        match self.peek() {
            b'"' => self.string().map(|_| ValueKind::String),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true", ValueKind::True),
            b'f' => self.literal(b"false", ValueKind::False),
            b'n' => self.literal(b"null", ValueKind::Null),
            _ => Err(self.expected("a value")),
        }
    }

    /// A string, from its opening quote on.
    #[inline]
    fn string(&mut self) -> Result<Text, JsonError> {
        let start = self.at + 1;
        let mut escaped = false;
        self.at = start;
        loop {
            self.at = skip::string_stop(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let inner = start..self.at;
                    self.at += 1;
                    return Ok(Text { inner, escaped });
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = true;
                }
                Some(_) => return Err(self.expected("an escape instead of a control character in a string")),
                None => return Err(self.expected("'\"' at the end of a string")),
            }
        }
    }

    /// An escape, from its backslash on.
    #[inline]
    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Ok(())
            }
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_ascii_hexdigit() {
                        return Err(self.expected("four hexadecimal digits after '\\u'"));
                    }
                    self.at += 1;
                }
                Ok(())
            }
            _ => Err(self.expected("an escape's letter after '\\'")),
        }
    }

    fn number(&mut self) -> Result<ValueKind, JsonError> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            // Zero has no further digits; a digit after it is reported where a comma is expected.
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if let b'e' | b'E' = self.peek() {
            self.at += 1;
            if let b'+' | b'-' = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(ValueKind::Number)
    }

    #[inline]
    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    #[inline]
    fn literal(&mut self, word: &[u8], kind: ValueKind) -> Result<ValueKind, JsonError> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(kind)
        } else {
            Err(self.expected("a value"))
        }
    }

    #[cold]
    fn not_an_object(&mut self) -> JsonError {
        let offset = self.at;
        let kind = match self.peek() {
            _ if offset == self.bytes.len() => JsonErrorKind::Empty,
            b'[' => JsonErrorKind::NotAnObject(ValueKind::Array),
            // Whether the literal or number is valid matters only for the message.
            _ => match self.scalar() {
                Ok(kind) => JsonErrorKind::NotAnObject(kind),
                Err(_) => JsonErrorKind::Syntax("a JSON object"),
            },
        };
        JsonError { kind, offset }
    }

    #[cold]
    fn expected(&self, what: &'static str) -> JsonError {
        self.error(JsonErrorKind::Syntax(what))
    }

    #[cold]
    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, offset: self.at }
    }
}

const WORD_BITS: usize = u64::BITS as usize;

/// Which of the open containers are objects, a bit each; the top-level object is not counted.
#[derive(Default)]
struct Stack {
    words: [u64; MAX_DEPTH / WORD_BITS],
    depth: usize,
}

impl Stack {
    /// Returns `false` if that is one level too many.
    #[inline]
    fn push(&mut self, object: bool) -> bool {
        // The top-level object is a level too.
        if self.depth + 1 == MAX_DEPTH {
            return false;
        }
        let bit = 1 << (self.depth % WORD_BITS);
        if let Some(word) = self.words.get_mut(self.depth / WORD_BITS) {
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        true
    }

    /// Closes the innermost container; returns how many are left.
    #[inline]
    fn pop(&mut self) -> usize {
        self.depth = self.depth.saturating_sub(1);
        self.depth
    }

    /// Whether the innermost open container is an object.
    #[inline]
    fn in_object(&self) -> bool {
        let Some(index) = self.depth.checked_sub(1) else { return true };
        self.words.get(index / WORD_BITS).is_some_and(|word| word >> (index % WORD_BITS) & 1 == 1)
    }
}
