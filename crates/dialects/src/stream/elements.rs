//! The objects of a JSON array that comes in pieces, as Gemini streams them without `alt=sse`.

/// Largest object that is collected, in bytes: the same as for an event.
pub const MAX_ELEMENT_BYTES: usize = super::sse::MAX_EVENT_BYTES;

/// A part of the array; together the parts are the array, byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayPart<'a> {
    /// One whole object.
    Object(&'a [u8]),
    /// The bracket that ends the array.
    Close,
    /// Bytes between objects.
    Other(&'a [u8]),
}

/// An object is larger than [`MAX_ELEMENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Finds the objects.
#[derive(Debug, Default)]
pub struct ArrayDecoder {
    /// The unfinished object.
    carry: Vec<u8>,
    /// Number of open brackets of the current object.
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl ArrayDecoder {
    /// Takes the next piece and passes on the parts that end in it.
    ///
    /// # Errors
    /// When an object is too large; nothing after it is passed on.
    pub fn push(&mut self, piece: &[u8], sink: &mut impl FnMut(ArrayPart<'_>)) -> Result<(), TooLarge> {
        // Everything before this position has been passed on.
        let mut from = 0;
        for (at, byte) in piece.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' if self.depth > 0 => self.depth += 1,
                b'{' => {
                    lend(piece, from, at, sink);
                    from = at;
                    self.depth = 1;
                }
                b']' if self.depth == 0 => {
                    lend(piece, from, at, sink);
                    sink(ArrayPart::Close);
                    from = at + 1;
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let now = piece.get(from..=at).unwrap_or_default();
                        if self.carry.is_empty() {
                            sink(ArrayPart::Object(now));
                        } else {
                            self.carry.extend_from_slice(now);
                            sink(ArrayPart::Object(&self.carry));
                            self.carry = Vec::new();
                        }
                        from = at + 1;
                    }
                }
                _ => {}
            }
        }
        if self.depth == 0 {
            lend(piece, from, piece.len(), sink);
            return Ok(());
        }
        let rest = piece.get(from..).unwrap_or_default();
        if self.carry.len() + rest.len() > MAX_ELEMENT_BYTES {
            self.carry = Vec::new();
            return Err(TooLarge);
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    /// The stream has ended: passes on the beginning of an object that was cut.
    pub fn finish(&mut self) -> Vec<u8> {
        self.depth = 0;
        std::mem::take(&mut self.carry)
    }
}

fn lend(piece: &[u8], from: usize, to: usize, sink: &mut impl FnMut(ArrayPart<'_>)) {
    if from < to {
        sink(ArrayPart::Other(piece.get(from..to).unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_do_not_depend_on_the_split() {
        let array = br#"[{"a":"}]\""},
{"b":[{}]}
, "x{", 3 ] "#;
        let parts = |pieces: &[&[u8]]| {
            let (mut decoder, mut objects, mut all) = (ArrayDecoder::default(), Vec::new(), Vec::new());
            for piece in pieces {
                let mut sink = |part: ArrayPart<'_>| match part {
                    ArrayPart::Object(object) => {
                        objects.push(object.to_vec());
                        all.extend_from_slice(object);
                    }
                    ArrayPart::Close => all.push(b']'),
                    ArrayPart::Other(other) => all.extend_from_slice(other),
                };
                assert_eq!(decoder.push(piece, &mut sink), Ok(()));
            }
            (objects, all)
        };
        let expect = vec![br#"{"a":"}]\""}"#.to_vec(), br#"{"b":[{}]}"#.to_vec()];
        for at in 0..=array.len() {
            assert_eq!(parts(&[&array[..at], &array[at..]]), (expect.clone(), array.to_vec()), "cut at {at}");
        }
    }
}
