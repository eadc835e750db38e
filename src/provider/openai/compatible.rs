//! The quirks of servers that have OpenAI's API and models of their own. Those of Mistral and `DeepSeek`, which differ
//! most, are in `quirks`.
//!
//! A field that a server refuses, or takes and ignores by its own documentation, is left out and reported.

use tollgate_dialects::dialect::{
    params::{
        Field,
        Form::{Absent, Texts},
        Param, param,
    },
    quirks::{ChatQuirks, Fetches, Quirks, ReasoningContent, ReasoningParam},
};

/// Rows of the table that several servers share.
const NO_TOP_K: Param = param("", Field::TopK, Absent);
const NO_N: Param = param("", Field::N, Absent);
const NO_LOGPROBS: Param = param("", Field::Logprobs, Absent);
const NO_TOP_LOGPROBS: Param = param("", Field::TopLogprobs, Absent);
const NO_USER: Param = param("", Field::User, Absent);
const NO_PRESENCE_PENALTY: Param = param("", Field::PresencePenalty, Absent);
const NO_FREQUENCY_PENALTY: Param = param("", Field::FrequencyPenalty, Absent);
const FOUR_STOPS: Param = param("stop", Field::Stop, Texts(4, false));

/// Servers that fetch images from `https:` URLs.
const FETCHING: Quirks = Quirks { fetches: Fetches::Https, ..Quirks::PLAIN };
/// Servers whose messages have no fields beside OpenAI's: any other is answered with 400.
const STRICT_MESSAGES: ChatQuirks =
    ChatQuirks { reasoning_content: ReasoningContent::Never, google_signatures: false, ..Quirks::PLAIN.chat };

/// Groq. It answers 400 to `logprobs`, `top_logprobs` and an `n` above 1, and to fields that it does not know, in
/// messages too. No model has the penalties. "json mode cannot be combined with tool/function calling".
pub const GROQ: &Quirks = &Quirks {
    json_with_tools: false,
    chat: ChatQuirks {
        params: &[NO_TOP_K, NO_N, NO_LOGPROBS, NO_TOP_LOGPROBS, NO_PRESENCE_PENALTY, NO_FREQUENCY_PENALTY, FOUR_STOPS],
        ..STRICT_MESSAGES
    },
    ..FETCHING
};

/// xAI. Its models reason, and those that do answer the penalties and `stop` with an error.
pub const XAI: &Quirks = &Quirks {
    chat: ChatQuirks {
        params: &[NO_TOP_K, NO_PRESENCE_PENALTY, NO_FREQUENCY_PENALTY, param("", Field::Stop, Absent)],
        google_signatures: false,
        ..Quirks::PLAIN.chat
    },
    ..FETCHING
};

/// Together AI. Its `logprobs` is a number, and it has no field for a user or for parallel calls.
pub const TOGETHER: &Quirks = &Quirks {
    chat: ChatQuirks {
        params: &[NO_LOGPROBS, NO_TOP_LOGPROBS, NO_USER],
        parallel_tool_calls: false,
        google_signatures: false,
        ..Quirks::PLAIN.chat
    },
    ..FETCHING
};

/// Fireworks AI.
pub const FIREWORKS: &Quirks =
    &Quirks { chat: ChatQuirks { google_signatures: false, ..Quirks::PLAIN.chat }, ..FETCHING };

/// Cerebras. It answers 400 to fields that it does not know, in messages too.
pub const CEREBRAS: &Quirks =
    &Quirks { chat: ChatQuirks { params: &[NO_TOP_K, FOUR_STOPS], ..STRICT_MESSAGES }, ..Quirks::PLAIN };

/// Hugging Face. Its router passes requests on to many vendors, Groq and Cerebras among them.
pub const HUGGING_FACE: &Quirks =
    &Quirks { chat: ChatQuirks { params: &[NO_TOP_K, NO_N, NO_USER], ..STRICT_MESSAGES }, ..Quirks::PLAIN };

/// Cohere's compatibility API.
pub const COHERE: &Quirks = &Quirks {
    chat: ChatQuirks {
        params: &[NO_TOP_K, NO_N, NO_LOGPROBS, NO_TOP_LOGPROBS, NO_USER],
        stream_options: false,
        parallel_tool_calls: false,
        reasoning: ReasoningParam::NoneOrHigh,
        ..STRICT_MESSAGES
    },
    ..Quirks::PLAIN
};

/// Ollama. It ignores fields that it does not know.
pub const OLLAMA: &Quirks = &Quirks {
    chat: ChatQuirks {
        params: &[NO_TOP_K, NO_N, NO_USER],
        parallel_tool_calls: false,
        google_signatures: false,
        ..Quirks::PLAIN.chat
    },
    ..Quirks::PLAIN
};
