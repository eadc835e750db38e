//! The numbers of one embedding.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::value::RawValue;

use crate::{
    conversation::{Failure, Text},
    stream::json::write_value,
};

/// The numbers of one text.
#[derive(Debug)]
pub enum Vector<'a> {
    /// A list, as the provider wrote it.
    List(&'a str),
    /// Base64 of little-endian 32-bit floats.
    Base64(Text<'a>),
}

impl<'a> Vector<'a> {
    /// Reads a list or base64.
    pub(super) fn of(raw: &'a RawValue) -> Option<Self> {
        match raw.get().as_bytes().first() {
            Some(b'[') => Some(Self::List(raw.get())),
            Some(b'"') => serde_json::from_str(raw.get()).ok().map(Self::Base64),
            _ => None,
        }
    }

    /// Approximate bytes that it takes in a reply.
    pub fn size(&self) -> usize {
        match self {
            Self::List(text) => text.len(),
            Self::Base64(text) => text.size(),
        }
    }

    /// Appends the numbers, as base64 or as a list.
    ///
    /// # Errors
    /// When the provider's are not numbers.
    pub fn write(&self, base64: bool, out: &mut Vec<u8>) -> Result<(), Failure<'static>> {
        let bad = || Failure::bad_gateway("the upstream's embeddings are no numbers");
        match (self, base64) {
            (Self::List(text), false) => out.extend_from_slice(text.as_bytes()),
            (Self::List(text), true) => {
                let numbers: Vec<f32> = serde_json::from_str(text).map_err(|_| bad())?;
                let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
                write_value(out, &BASE64_STANDARD.encode(bytes));
            }
            (Self::Base64(text), true) => text.write(out),
            (Self::Base64(text), false) => {
                let bytes = BASE64_STANDARD.decode(&*text.decode()).map_err(|_| bad())?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(bad());
                }
                let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                write_value(out, &numbers);
            }
        }
        Ok(())
    }
}
