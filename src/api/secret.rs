//! A Secret's values, held so that they can't be printed.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretSlice};

/// The values of one Secret. Zeroed on drop; has no `Debug`.
#[derive(Clone, Default)]
pub struct SecretData {
    values: BTreeMap<String, Result<SecretSlice<u8>, String>>,
    unreadable: Option<String>,
}

impl SecretData {
    /// A Secret that may exist but can't be read, and why. A look-up of any key returns that problem.
    pub fn unreadable(why: impl Into<String>) -> Self {
        Self { unreadable: Some(why.into()), ..Self::default() }
    }

    /// Sets `key` to `value`.
    pub fn insert(&mut self, key: impl Into<String>, value: Vec<u8>) {
        self.values.insert(key.into(), Ok(value.into()));
    }

    /// Records that `key` is there but has no usable value, and why (an unset environment variable, bad base64).
    /// The reason is shown to users; it must not hold any part of the value.
    pub fn insert_problem(&mut self, key: impl Into<String>, why: impl Into<String>) {
        self.values.insert(key.into(), Err(why.into()));
    }

    /// The bytes at `key`: `None` when the Secret has no such key, `Some(Err)` with the reason when it is unusable.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Result<&[u8], &str>> {
        if let Some(why) = &self.unreadable {
            return Some(Err(why));
        }
        self.values.get(key).map(|v| v.as_ref().map(ExposeSecret::expose_secret).map_err(String::as_str))
    }

    /// The names of the keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }
}

/// Two Secrets are equal when their keys and bytes are; live reload compares them.
impl PartialEq for SecretData {
    fn eq(&self, other: &Self) -> bool {
        self.unreadable == other.unreadable
            && self.values.len() == other.values.len()
            && self.values.keys().all(|key| self.get(key) == other.get(key))
    }
}
