//! The quirks of Bedrock.

use tollgate_dialects::dialect::{
    DialectId,
    quirks::{BedrockEmbeddings, BedrockRerank, ConverseQuirks, MessagesQuirks, Quirks},
};

/// Amazon Bedrock.
pub const BEDROCK: &Quirks = &Quirks {
    counts_tokens: Some(DialectId::Converse),
    messages: MessagesQuirks::CLOUD,
    converse: ConverseQuirks {
        embeddings: &[("titan-embed", BedrockEmbeddings::Titan), ("cohere", BedrockEmbeddings::Cohere)],
        rerank: &[("amazon", BedrockRerank::Amazon), ("cohere", BedrockRerank::Cohere)],
    },
    ..Quirks::PLAIN
};
