//! Reads and writes errors, which are those of Chat Completions: both dialects belong to OpenAI's API.

pub(super) use crate::dialect::chat::error::{code, read, write};
