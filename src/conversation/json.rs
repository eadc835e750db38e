//! A JSON value that travels as it stands.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

/// A JSON value: a slice of the document it came in, or one made here. Numbers, order and white space stay.
#[derive(Clone, Debug)]
pub struct Json<'a>(Cow<'a, RawValue>);

impl<'a> Json<'a> {
    /// The value as it is written.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// A value made here.
    pub fn of(value: &Value) -> Self {
        // A `Value` always has a text.
        let raw = serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self(Cow::Owned(raw))
    }

    /// The value of this text.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(|raw| Self(Cow::Borrowed(raw)))
    }

    /// The value as a tree.
    ///
    /// # Errors
    /// When it is nested deeper than 128 levels.
    pub fn value(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_str(self.get())
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.get().starts_with('{')
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }

    /// The same for a shorter time, without a copy.
    pub fn reborrow(&self) -> Json<'_> {
        Json(Cow::Borrowed(&self.0))
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self(Cow::Borrowed(raw))
    }
}

impl From<Box<RawValue>> for Json<'_> {
    fn from(raw: Box<RawValue>) -> Self {
        Self(Cow::Owned(raw))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a RawValue>::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl PartialEq for Json<'_> {
    /// Whether both mean the same, however they are written.
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get() || matches!((self.value(), other.value()), (Ok(a), Ok(b)) if a == b)
    }
}
