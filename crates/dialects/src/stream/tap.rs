//! An observer of a JSON document that is relayed in frames.
//!
//! It keeps the raw values of a few top-level fields and discards everything else, so that the usage of a reply of any
//! size can be read without buffering it. Frames may be split anywhere.

#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use super::json::unescape;
use super::skip;

/// Longest value that is captured, in bytes.
///
/// `usage`, `model` and similar fields take less than 2 KiB in every API; larger values are content, and content is not
/// copied.
pub const MAX_CAPTURE: usize = 64 * 1024;

/// Captures selected fields of one JSON object, or of each object in a JSON array (Gemini's streams without `alt=sse`).
///
/// It does not validate: it follows valid JSON at any split, and gives up silently on anything else.
#[expect(clippy::struct_excessive_bools, reason = "facts beside the state, each set and read in one place")]
pub struct JsonTap {
    keys: &'static [&'static str],
    values: SmallVec<[Option<Vec<u8>>; 4]>,
    state: State,
    /// The document is an array: the fields of its elements count as top-level.
    array: bool,
    /// The current value is itself an element of the array, and not an object.
    element: bool,
    /// Number of open brackets inside the current value.
    depth: usize,
    /// The last frame ended after a backslash inside a string.
    escaped: bool,
    /// The part of a key that came in earlier frames, at most `longest_key`.
    key: Vec<u8>,
    /// The longest spelling of a key to capture, in bytes.
    longest_key: usize,
    key_too_long: bool,
    /// The key of the current value, if it is to be captured.
    wanted: Option<usize>,
    /// The part of a captured value that came in earlier frames, at most [`MAX_CAPTURE`].
    partial: Vec<u8>,
    elements: u64,
}

/// The position in the grammar at the next byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte.
    Start,
    /// In the document's array, not in an element.
    Array,
    /// In an object, before a key, a comma or the end.
    Object,
    /// Inside a key's quotes.
    Key,
    /// After a key.
    Colon,
    /// After a colon.
    Value,
    /// Inside a value that is a string.
    Text,
    /// Inside a value that is an object or array.
    Nested,
    /// Inside a string inside such a value.
    NestedText,
    /// Inside a value that is a number or a literal.
    Scalar,
    /// After the document's last bracket.
    Done,
    /// The document is not JSON of the expected form.
    Failed,
}

impl JsonTap {
    /// A tap that captures the fields of these names.
    pub fn new(keys: &'static [&'static str]) -> Self {
        // The longest spelling of a byte is `\u00xx`.
        let longest_key = keys.iter().map(|key| key.len() * 6).max().unwrap_or(0);
        Self {
            keys,
            values: keys.iter().map(|_| None).collect(),
            state: State::Start,
            array: false,
            element: false,
            depth: 0,
            escaped: false,
            key: Vec::new(),
            longest_key,
            key_too_long: false,
            wanted: None,
            partial: Vec::new(),
            elements: 0,
        }
    }

    /// Looks at the next frame of the document.
    pub fn push(&mut self, frame: &[u8]) {
        let mut at = 0;
        while at < frame.len() {
            at = match self.state {
                State::Start | State::Array | State::Object | State::Colon | State::Value => self.between(frame, at),
                State::Key => self.in_key(frame, at),
                State::Text | State::Nested | State::NestedText | State::Scalar => self.in_value(frame, at, at),
                State::Done | State::Failed => return,
            };
        }
    }

    /// The last complete value of the key at this index in the list given to [`new`](Self::new), as it was written.
    ///
    /// Values longer than [`MAX_CAPTURE`] are not captured. In an array, a later element's value replaces an earlier
    /// one's.
    pub fn value(&self, key: usize) -> Option<&[u8]> {
        self.values.get(key)?.as_deref()
    }

    /// Whether the document's final bracket has been seen. Bytes after it are ignored.
    pub fn complete(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the document had an unexpected form, so that nothing more is captured.
    pub fn failed(&self) -> bool {
        self.state == State::Failed
    }

    /// How many elements of the document's array have ended; zero if the document is an object.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// Takes one of the few bytes between keys and values; returns the position to continue at.
    #[inline]
    fn between(&mut self, frame: &[u8], at: usize) -> usize {
        let Some(&byte) = frame.get(at) else { return at };
        self.state = match (self.state, byte) {
            // Commas are not checked, nor is a byte order mark at the start.
            (state, b' ' | b'\n' | b'\r' | b'\t')
            | (state @ (State::Array | State::Object), b',')
            | (state @ State::Start, 0xef | 0xbb | 0xbf) => state,
            (State::Start | State::Array, b'{') => State::Object,
            (State::Start, b'[') => {
                self.array = true;
                State::Array
            }
            (State::Object, b'"') => State::Key,
            (State::Object, b'}') if self.array => {
                self.elements += 1;
                State::Array
            }
            (State::Object, b'}') | (State::Array, b']') => State::Done,
            (State::Colon, b':') => State::Value,
            (State::Value | State::Array, b'"') => {
                self.start_value(State::Text);
                return self.in_value(frame, at, at + 1);
            }
            (State::Value | State::Array, b'{' | b'[') => {
                self.start_value(State::Nested);
                self.depth = 1;
                return self.in_value(frame, at, at + 1);
            }
            (State::Value | State::Array, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.start_value(State::Scalar);
                return self.in_value(frame, at, at + 1);
            }
            _ => State::Failed,
        };
        at + 1
    }

    /// A value starts. An element of the array that is not an object is skipped; it is counted when it ends.
    #[inline]
    fn start_value(&mut self, state: State) {
        self.element = self.state == State::Array;
        if self.element {
            self.wanted = None;
        }
        self.state = state;
    }

    /// Takes a key's bytes; returns the position to continue at.
    #[inline]
    fn in_key(&mut self, frame: &[u8], start: usize) -> usize {
        let end = self.skip_text(frame, start);
        let part = frame.get(start..end.map_or(frame.len(), |end| end - 1)).unwrap_or_default();
        let whole = end.is_some() && self.key.is_empty() && !self.key_too_long;
        if whole {
            self.wanted = self.find(part);
        } else if self.key.len() + part.len() > self.longest_key {
            self.key_too_long = true;
        } else {
            self.key.extend_from_slice(part);
        }
        let Some(end) = end else { return frame.len() };
        if !whole {
            self.wanted = if self.key_too_long { None } else { self.find(&self.key) };
            self.key.clear();
            self.key_too_long = false;
        }
        self.state = State::Colon;
        end
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        if key.contains(&b'\\') {
            let text = unescape(std::str::from_utf8(key).ok()?);
            self.keys.iter().position(|wanted| *wanted == text)
        } else {
            self.keys.iter().position(|wanted| wanted.as_bytes() == key)
        }
    }

    /// Takes the bytes of a value, which starts at `start`; `at` is the next byte to examine. Returns the position to
    /// continue at.
    #[inline]
    fn in_value(&mut self, frame: &[u8], start: usize, at: usize) -> usize {
        let end = self.skip_value(frame, at);
        if let Some(wanted) = self.wanted {
            let part = frame.get(start..end.unwrap_or(frame.len())).unwrap_or_default();
            self.capture(wanted, part, end.is_some());
        }
        let Some(end) = end else { return frame.len() };
        if self.element {
            self.elements += 1;
            self.state = State::Array;
        } else {
            self.state = State::Object;
        }
        end
    }

    fn capture(&mut self, wanted: usize, part: &[u8], last: bool) {
        if self.partial.len() + part.len() > MAX_CAPTURE {
            self.partial = Vec::new();
            self.wanted = None;
        } else if !last {
            self.partial.extend_from_slice(part);
        } else if let Some(slot) = self.values.get_mut(wanted) {
            let value = slot.get_or_insert_default();
            value.clear();
            value.append(&mut self.partial);
            value.extend_from_slice(part);
        }
    }

    /// The end of the value, if it ends in this frame.
    #[inline]
    fn skip_value(&mut self, frame: &[u8], mut at: usize) -> Option<usize> {
        loop {
            match self.state {
                State::Text => return self.skip_text(frame, at),
                State::NestedText => {
                    at = self.skip_text(frame, at)?;
                    self.state = State::Nested;
                }
                State::Nested => {
                    at = skip::structure(frame, at);
                    match frame.get(at)? {
                        b'"' => self.state = State::NestedText,
                        b'{' | b'[' => self.depth += 1,
                        _ => self.depth -= 1,
                    }
                    at += 1;
                    if self.depth == 0 {
                        return Some(at);
                    }
                }
                _ => {
                    let rest = frame.get(at..)?;
                    let end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                    return rest.iter().position(end).map(|length| at + length);
                }
            }
        }
    }

    /// The position after the closing quote of the string that `at` is in, if it closes in this frame.
    #[inline]
    fn skip_text(&mut self, frame: &[u8], mut at: usize) -> Option<usize> {
        if self.escaped {
            frame.get(at)?;
            self.escaped = false;
            at += 1;
        }
        loop {
            at = skip::string_end(frame, at);
            if *frame.get(at)? == b'"' {
                return Some(at + 1);
            }
            // A backslash: the next byte does not end the string.
            if at + 1 == frame.len() {
                self.escaped = true;
                return None;
            }
            at += 2;
        }
    }
}
