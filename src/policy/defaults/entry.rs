//! One value, and the field that it is for.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{
    api::traffic_policy::FieldDefault,
    stream::{
        Member, Splice, TopLevel,
        json::{ArrayWriter, ObjectWriter},
    },
};

/// Most names in a pointer: settings of no API are nested so deep.
const MAX_STEPS: usize = 16;

/// A value for a field.
pub(super) struct Entry {
    /// The names on the way to the field; not empty.
    path: Vec<String>,
    /// The value, which is JSON.
    value: Bytes,
    /// Whether it replaces the client's.
    pub(super) overrides: bool,
}

/// Whether the name of a member is another spelling of a field.
type IsField<'f> = &'f dyn Fn(&str, &str) -> bool;

impl Entry {
    /// An entry of a manifest.
    ///
    /// # Errors
    /// Why it can't be used.
    pub(super) fn new(written: &FieldDefault) -> Result<Self, String> {
        let path = match written.field.strip_prefix('/') {
            None => vec![written.field.clone()],
            Some(pointer) => steps(pointer).ok_or_else(|| format!("'{}' is not a JSON pointer", written.field))?,
        };
        if path.first().is_none_or(String::is_empty) {
            return Err("the field has no name".into());
        }
        if path.len() > MAX_STEPS {
            return Err(format!("the pointer has more than {MAX_STEPS} steps"));
        }
        let text = written.value.trim();
        let value = match serde_json::from_str::<&RawValue>(text) {
            Ok(json) => json.get().to_owned(),
            Err(_) if text.starts_with(['{', '[']) => {
                return Err(format!("field {} contains invalid JSON string: {}", written.field, written.value));
            }
            Err(_) => serde_json::Value::from(written.value.as_str()).to_string(),
        };
        Ok(Self { path, value: value.into(), overrides: written.overrides })
    }

    /// The field at the body's top level.
    pub(super) fn field(&self) -> &str {
        self.path.first().map(String::as_str).unwrap_or_default()
    }

    /// The value for a top-level field, if it is a text with anything in it.
    pub(super) fn text(&self) -> Option<String> {
        let text: String = serde_json::from_slice(&self.value).ok()?;
        (self.path.len() == 1 && !text.trim().is_empty()).then_some(text)
    }

    /// The new value of the top-level field, whose value is `old`. `None` when it stays as it is.
    pub(super) fn set(&self, old: Option<&[u8]>, is_field: IsField<'_>) -> Option<Bytes> {
        self.set_at(self.path.get(1..).unwrap_or_default(), old, is_field)
    }

    fn set_at(&self, path: &[String], old: Option<&[u8]>, is_field: IsField<'_>) -> Option<Bytes> {
        let Some((step, rest)) = path.split_first() else {
            return (self.overrides || old.is_none()).then(|| self.value.clone());
        };
        let old = Bytes::copy_from_slice(old.filter(|old| *old != b"null").unwrap_or(b""));
        match old.first() {
            // What is missing on the way is made; an element of a list that does not exist is not.
            None if step == "-" || step.parse::<usize>().is_ok() => None,
            None => {
                let inside = self.set_at(rest, None, is_field)?;
                let mut out = Vec::new();
                ObjectWriter::begin(&mut out).any_key(step).extend_from_slice(&inside);
                Some(out.into())
            }
            Some(b'{') => {
                let top = TopLevel::scan(&old).ok()?;
                let member = top.members().iter().rev().find(|member| is_field(&member.name(), step));
                let value = self.set_at(rest, member.map(|member| member.value), is_field)?;
                let mut splice = Splice::new(&top);
                splice.set(member.map_or(step.as_str().into(), Member::name), value.to_vec());
                Some(splice.apply(&old))
            }
            Some(b'[') => self.set_in_list(step, rest, &old, is_field),
            // Nothing is inside a number or a text: the provider refuses a body with one here.
            Some(_) => None,
        }
    }

    fn set_in_list(&self, step: &str, rest: &[String], old: &[u8], is_field: IsField<'_>) -> Option<Bytes> {
        let elements: Vec<&RawValue> = serde_json::from_slice(old).ok()?;
        let index = if step == "-" { elements.len() } else { step.parse().ok()? };
        let new = match elements.get(index) {
            Some(element) => self.set_at(rest, Some(element.get().as_bytes()), is_field)?,
            None if step == "-" => self.set_at(rest, None, is_field)?,
            None => return None,
        };
        let mut out = Vec::with_capacity(old.len() + new.len());
        let mut list = ArrayWriter::begin(&mut out);
        for (at, element) in elements.iter().enumerate() {
            list.element().extend_from_slice(if at == index { &new } else { element.get().as_bytes() });
        }
        if index == elements.len() {
            list.element().extend_from_slice(&new);
        }
        list.end();
        Some(out.into())
    }
}

/// The steps of a JSON pointer (RFC 6901) behind its first slash. `None` when an escape is wrong.
fn steps(pointer: &str) -> Option<Vec<String>> {
    let step = |step: &str| {
        let escapes_are_right = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        escapes_are_right.then(|| step.replace("~1", "/").replace("~0", "~"))
    };
    pointer.split('/').map(step).collect()
}
