//! Byte-exact edits of a scanned object.
//!
//! Everything that is not edited is forwarded as it was written: white space, number spelling, order, duplicates,
//! unknown fields.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::json::{Member, TopLevel};

/// A list of edits to the fields of one scanned object.
///
/// A key may be set and removed repeatedly; the last call counts.
pub struct Splice<'a, 'body> {
    top: &'a TopLevel<'body>,
    edits: SmallVec<[Edit<'a>; 4]>,
}

struct Edit<'a> {
    key: Cow<'a, str>,
    /// `None` removes the field.
    value: Option<Cow<'a, [u8]>>,
}

impl<'a, 'body> Splice<'a, 'body> {
    /// No edits yet.
    pub fn new(top: &'a TopLevel<'body>) -> Self {
        Self { top, edits: SmallVec::new() }
    }

    /// Sets `key` to this value: in every duplicate of it, or in a new field at the object's front if there is none.
    ///
    /// `json_value` is written as it is and must be a JSON text.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, json_value: impl Into<Cow<'a, [u8]>>) {
        self.edit(key.into(), Some(json_value.into()));
    }

    /// Gives `key` a string value, quoted and escaped.
    pub fn set_str(&mut self, key: impl Into<Cow<'a, str>>, text: &str) {
        self.edit(key.into(), Some(quote(text).into_bytes().into()));
    }

    /// Removes every field of that name, each with one comma.
    pub fn remove(&mut self, key: impl Into<Cow<'a, str>>) {
        self.edit(key.into(), None);
    }

    /// Removes the fields whose names are those of `own` in another case. Servers that ignore case (Go, .NET and Java do)
    /// take the last of both, so a client's would override what is set here. Others ignore such a field.
    pub fn remove_variants(&mut self, own: &[&str]) {
        let top = self.top;
        for name in top.members().iter().map(Member::name).filter(|name| is_variant(name, own)) {
            self.remove(name);
        }
    }

    /// Whether there are no edits, so that applying them changes nothing.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The edited body. Without edits it is `body` itself, not copied.
    ///
    /// `body` must be the body that was scanned.
    pub fn apply(self, body: &Bytes) -> Bytes {
        if self.is_empty() {
            return body.clone();
        }
        let source = self.top.body();
        let added: usize = self.edits.iter().map(|edit| edit.key.len() + edit.size() + 8).sum();
        let mut out = Vec::with_capacity(source.len() + added);
        self.pieces(|piece| match piece {
            Piece::Body(range) => out.extend_from_slice(source.get(range).unwrap_or_default()),
            Piece::New(text) => out.extend_from_slice(text),
        });
        out.into()
    }

    /// The edited body in parts: unchanged parts are shared with `body`, not copied. For large bodies that are sent in
    /// frames.
    ///
    /// `body` must be the body that was scanned.
    pub fn apply_in_parts(self, body: &Bytes) -> SmallVec<[Bytes; 4]> {
        let mut parts = SmallVec::new();
        let mut kept = 0..0;
        let mut new = Vec::new();
        self.pieces(|piece| match piece {
            Piece::Body(range) if range.is_empty() => {}
            Piece::Body(range) if new.is_empty() && range.start == kept.end => kept.end = range.end,
            Piece::Body(range) => {
                push_part(&mut parts, slice(body, kept.clone()));
                push_part(&mut parts, std::mem::take(&mut new).into());
                kept = range;
            }
            Piece::New(text) => new.extend_from_slice(text),
        });
        push_part(&mut parts, slice(body, kept));
        push_part(&mut parts, new.into());
        parts
    }

    fn edit(&mut self, key: Cow<'a, str>, value: Option<Cow<'a, [u8]>>) {
        match self.edits.iter_mut().find(|edit| edit.key == key) {
            Some(edit) => edit.value = value,
            None => self.edits.push(Edit { key, value }),
        }
    }

    fn edit_of(&self, member: &Member<'_>) -> Option<&Edit<'a>> {
        self.edits.iter().find(|edit| member.is(&edit.key))
    }

    /// Walks over the new body: ranges of the old one and new text, in order.
    fn pieces(&self, mut on: impl FnMut(Piece<'_>)) {
        let (source, members) = (self.top.body(), self.top.members());
        let inside = self.top.open_brace() + 1;
        on(Piece::Body(0..inside));
        let mut comma = false;
        for edit in &self.edits {
            if let Some(value) = &edit.value
                && !self.top.contains(&edit.key)
            {
                if comma {
                    on(Piece::New(b","));
                }
                on(Piece::New(quote(&edit.key).as_bytes()));
                on(Piece::New(b":"));
                on(Piece::New(value));
                comma = true;
            }
        }
        // A field is preceded by its separator; the first one that is kept, by the white space after the brace.
        let mut separator = inside..members.first().map_or(inside, |member| member.member.start);
        let mut first = true;
        let mut end = inside;
        for member in members {
            if !first {
                separator = end..member.member.start;
            }
            end = member.member.end;
            let edit = self.edit_of(member);
            if let Some(Edit { value: None, .. }) = edit {
                continue;
            }
            if std::mem::take(&mut comma) {
                on(Piece::New(b","));
            }
            on(Piece::Body(separator.clone()));
            first = false;
            match edit.and_then(|edit| edit.value.as_ref()) {
                Some(value) => {
                    on(Piece::Body(member.member.start..member.span.start));
                    on(Piece::New(value));
                }
                None => on(Piece::Body(member.member.clone())),
            }
        }
        on(Piece::Body(end..source.len()));
    }
}

impl Edit<'_> {
    fn size(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.len())
    }
}

enum Piece<'p> {
    Body(Range<usize>),
    New(&'p [u8]),
}

/// Whether `name` is one of `own` in another case. Servers that ignore case also fold a few non-ASCII letters into ASCII.
fn is_variant(name: &str, own: &[&str]) -> bool {
    let folded = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        c => c.to_ascii_lowercase(),
    };
    let is_same = |own: &str| own.chars().map(|c| c.to_ascii_lowercase()).eq(name.chars().map(folded));
    own.iter().any(|own| *own != name && is_same(own))
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn slice(body: &Bytes, range: Range<usize>) -> Bytes {
    if range.end <= body.len() { body.slice(range) } else { Bytes::new() }
}

fn push_part(parts: &mut SmallVec<[Bytes; 4]>, part: Bytes) {
    if !part.is_empty() {
        parts.push(part);
    }
}
