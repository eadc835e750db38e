//! The differences of Vertex AI from AI Studio and from Anthropic.

use tollgate_dialects::conversation::HostedKind;
use tollgate_dialects::dialect::{
    DialectId,
    params::{Field, Form::Absent, param},
    quirks::{GeminiEmbeddings, GeminiQuirks, MessagesQuirks, Quirks},
};

/// Gemini and other models of Google.
pub const VERTEX: &Quirks = &Quirks {
    hosted: &[HostedKind::WebSearch, HostedKind::UrlFetch, HostedKind::CodeExecution, HostedKind::ImageGeneration],
    counts_tokens: Some(DialectId::Gemini),
    gemini: GeminiQuirks {
        call_ids: false,
        media_names: true,
        https_uris: true,
        nested_count: false,
        embeddings: &[
            ("gemini-embedding-001", GeminiEmbeddings::Predict(1)),
            ("gemini", GeminiEmbeddings::Config),
            ("maas", GeminiEmbeddings::Config),
            ("", GeminiEmbeddings::Predict(250)),
        ],
        ranks: true,
    },
    ..Quirks::PLAIN
};

/// Claude: the model is in the URL, and media are in the request.
pub const VERTEX_CLAUDE: &Quirks = &Quirks {
    // Of Anthropic's tools Vertex AI has this one only.
    hosted: &[HostedKind::WebSearch],
    counts_tokens: Some(DialectId::Messages),
    messages: MessagesQuirks {
        params: &[param("", Field::ServiceTier, Absent)],
        body_version: Some("vertex-2023-10-16"),
        ..MessagesQuirks::CLOUD
    },
    ..Quirks::PLAIN
};
