//! Reasoning that a call carries: that which led to the call.
//!
//! Some clients send back only the calls of an answer, with the fields of these calls that they do not read. Models
//! that sign their reasoning require it before its calls. So the field for the signature of a call has a copy of the
//! signed reasoning before the call, unless the model has signed the call itself.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Content, Signature, SignatureOrigin, Text};

/// The beginning of such a copy; base64 follows, so that the whole is valid base64, too.
const TAG: &str = "TGth";
/// Longest copy, in bytes before it becomes base64. It is far above what a model writes before one call.
const MAX: usize = 512 * 1024;

/// Collects the signed reasoning before the next call.
#[derive(Debug, Default)]
pub struct CarriedReasoning {
    /// Pairs of a text, which is `null` for redacted reasoning, and a signature.
    list: Vec<(Option<String>, String)>,
    size: usize,
}

impl CarriedReasoning {
    /// Adds reasoning with its signature. Google's models sign their calls themselves.
    pub fn add(&mut self, text: Option<&str>, signature: &Signature<'_>) {
        if signature.maker == SignatureOrigin::Google {
            return;
        }
        let signature = signature.with_tag();
        self.size = self.size.saturating_add(text.map_or(0, str::len) + signature.len());
        if self.size <= MAX {
            self.list.push((text.map(str::to_owned), signature));
        }
    }

    /// Adds a part of an answer, if it is signed reasoning.
    pub fn add_content(&mut self, content: &Content<'_>) {
        match content {
            Content::Thinking { text, signature: Some(signature) } => self.add(Some(&text.decode()), signature),
            Content::Redacted(signature) => self.add(None, signature),
            _ => {}
        }
    }

    /// The value for the signature of the next call, which begins anew. `None` without reasoning, and where there is
    /// too much of it: a part of it would be of no use.
    pub fn take(&mut self) -> Option<Signature<'static>> {
        let Self { list, size } = std::mem::take(self);
        if list.is_empty() || size > MAX {
            return None;
        }
        let value = Text::from(format!("{TAG}{}", STANDARD.encode(serde_json::to_vec(&list).ok()?)));
        // The fields for signatures of calls are Google's.
        Some(Signature { maker: SignatureOrigin::Google, value })
    }

    /// Whether the signature of a call is such a copy.
    pub fn is(signature: &str) -> bool {
        signature.starts_with(TAG)
    }

    /// The reasoning in the signature of a call; `None` if the model has signed the call.
    pub fn read(signature: &str) -> Option<Vec<Content<'static>>> {
        // Clients of Gemini decode the field and encode it again, in either alphabet.
        let written = signature.strip_prefix(TAG)?.replace('-', "+").replace('_', "/");
        let padded = format!("{}{}", written, "=".repeat(written.len().wrapping_neg() % 4));
        let json = STANDARD.decode(padded).ok()?;
        let pairs: Vec<(Option<String>, String)> = serde_json::from_slice(&json).ok()?;
        let content = |(text, signature): (Option<String>, String)| {
            let signature = Signature::untagged(signature.into(), SignatureOrigin::OpenAi);
            match text {
                Some(text) => Content::Thinking { text: text.into(), signature: Some(signature) },
                None => Content::Redacted(signature),
            }
        };
        Some(pairs.into_iter().map(content).collect())
    }
}

/// The signed reasoning of a history that has been read, so that what a call carries is not there twice.
#[derive(Debug, Default)]
pub struct SeenReasoning(HashSet<String>);

impl SeenReasoning {
    /// Notes a content, and returns whether it is new. Only signed reasoning can be seen twice.
    pub fn add(&mut self, content: &Content<'_>) -> bool {
        match content {
            Content::Thinking { signature: Some(signature), .. } | Content::Redacted(signature) => {
                self.0.insert(signature.with_tag())
            }
            _ => true,
        }
    }
}
