//! Writing JSON in one pass: fields appear in the order in which they are written, and nothing is buffered.

use serde::Serialize;

/// An object that is being written. It is closed when it is dropped: at the end of a statement or of a scope, or by
/// [`end`](Self::end).
pub struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    begun: bool,
}

/// An array that is being written. It is closed when it is dropped, as an [`ObjectWriter`] is.
pub struct ArrayWriter<'o> {
    out: &'o mut Vec<u8>,
    begun: bool,
}

/// Appends `value` as JSON.
///
/// A value that can't be written (a map whose keys are not strings) becomes `null`; the gateway has no such types.
pub fn write_value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Appends `text` as a JSON string, quoted and escaped.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    write_value(out, text);
}

#[expect(clippy::return_self_not_must_use, reason = "a writer that is not used any more has written its object")]
impl<'o> ObjectWriter<'o> {
    /// Begins an object.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, begun: false }
    }

    /// Writes a key, which must not need escapes; the caller then writes exactly one value.
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if std::mem::replace(&mut self.begun, true) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes a key of any text; the caller then writes exactly one value.
    pub fn any_key(&mut self, key: &str) -> &mut Vec<u8> {
        if std::mem::replace(&mut self.begun, true) {
            self.out.push(b',');
        }
        write_string(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// Writes a field.
    pub fn field(&mut self, key: &str, value: &(impl Serialize + ?Sized)) {
        write_value(self.key(key), value);
    }

    /// Writes a field unless it is absent.
    pub fn maybe(&mut self, key: &str, value: Option<&(impl Serialize + ?Sized)>) {
        if let Some(value) = value {
            self.field(key, value);
        }
    }

    /// Writes a field whose value is JSON already.
    pub fn raw(&mut self, key: &str, json: &str) {
        self.key(key).extend_from_slice(json.as_bytes());
    }

    /// The object with a further member.
    pub fn with(mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.field(key, value);
        self
    }

    /// The object with a further member unless that is absent.
    pub fn with_maybe(mut self, key: &str, value: Option<&(impl Serialize + ?Sized)>) -> Self {
        self.maybe(key, value);
        self
    }

    /// The object with a further member whose value is JSON already.
    pub fn with_raw(mut self, key: &str, json: &str) -> Self {
        self.raw(key, json);
        self
    }

    /// Begins a member that is an object.
    pub fn object(&mut self, key: &str) -> ObjectWriter<'_> {
        ObjectWriter::begin(self.key(key))
    }

    /// Begins a field that is an array.
    pub fn array(&mut self, key: &str) -> ArrayWriter<'_> {
        ArrayWriter::begin(self.key(key))
    }

    /// Ends the object before its scope does.
    pub fn end(self) {}
}

impl Drop for ObjectWriter<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

impl<'o> ArrayWriter<'o> {
    /// Begins an array.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, begun: false }
    }

    /// The elements that `write` writes, without the array's brackets.
    pub fn elements(write: impl FnOnce(&mut ArrayWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut ArrayWriter { out: &mut out, begun: false });
        out.pop();
        out
    }

    /// Begins an element; the caller then writes exactly one value.
    pub fn element(&mut self) -> &mut Vec<u8> {
        if std::mem::replace(&mut self.begun, true) {
            self.out.push(b',');
        }
        self.out
    }

    /// Writes an element.
    pub fn push(&mut self, value: &(impl Serialize + ?Sized)) {
        write_value(self.element(), value);
    }

    /// Begins an element that is an object.
    pub fn object(&mut self) -> ObjectWriter<'_> {
        ObjectWriter::begin(self.element())
    }

    /// Writes an element that is an object, unless `write` decides that there is none: then nothing of it is left.
    ///
    /// # Errors
    /// The error of `write`; the text is then useless.
    pub fn object_if<E>(&mut self, write: impl FnOnce(&mut ObjectWriter<'_>) -> Result<bool, E>) -> Result<(), E> {
        let (length, begun) = (self.out.len(), self.begun);
        if !write(&mut self.object())? {
            self.out.truncate(length);
            self.begun = begun;
        }
        Ok(())
    }

    /// Whether nothing has been written yet.
    pub const fn is_empty(&self) -> bool {
        !self.begun
    }

    /// Ends the array before its scope does.
    pub fn end(self) {}
}

impl Drop for ArrayWriter<'_> {
    fn drop(&mut self) {
        self.out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let mut out = Vec::new();
        let mut top = ObjectWriter::begin(&mut out);
        top.field("a", "x\"\n");
        top.maybe("absent", None::<&str>);
        top.maybe("b", Some(&0.7));
        top.raw("c", "[1, 2]");
        let mut list = top.array("d");
        list.push(&1);
        list.object().end();
        for keep in [false, true] {
            let written: Result<(), ()> = list.object_if(|object| {
                object.field("keep", &keep);
                Ok(keep)
            });
            written.unwrap();
        }
        list.end();
        top.object("e").with("f", &1).with_maybe("absent", None::<&str>).with_raw("g", "[]");
        top.end();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":"x\"\n","b":0.7,"c":[1, 2],"d":[1,{},{"keep":true}],"e":{"f":1,"g":[]}}"#
        );
    }
}
