//! Parts that the dialects share for tools that a vendor runs.

use crate::{
    conversation::Location,
    stream::{Member, json::ObjectWriter},
};

/// Whether the value of a field has any of these words, in names or in text.
pub(super) fn mentions(field: Option<&Member<'_>>, words: &[&str]) -> bool {
    field.is_some_and(|field| words.iter().any(|word| memchr::memmem::find(field.value, word.as_bytes()).is_some()))
}

impl Location<'_> {
    /// Writes the fields into `object`.
    pub(super) fn write(&self, mut object: ObjectWriter<'_>) {
        object.maybe("city", self.city.as_ref());
        object.maybe("region", self.region.as_ref());
        object.maybe("country", self.country.as_ref());
        object.maybe("timezone", self.timezone.as_ref());
        object.end();
    }
}
