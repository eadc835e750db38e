//! Parameters of Chat Completions, and what servers take of them.

use super::wire::official;
use crate::dialect::{
    Server,
    params::{
        Field,
        Form::{Capped, Compact, Count, Integer, Own, Several, Switch, Text, Texts, Unsigned, Word},
        Param, param,
    },
};

/// Classes of service that OpenAI has, and Anthropic's word for one of them.
const TIERS: &[(&str, &str)] = &[
    ("auto", "auto"),
    ("default", "default"),
    ("flex", "flex"),
    ("scale", "scale"),
    ("priority", "priority"),
    ("fast", "fast"),
    ("standard_only", "default"),
];

/// Every parameter.
pub(super) const PARAMS: &[Param] = &[
    param("temperature", Field::Temperature, Compact(0.0, 2.0)),
    param("top_p", Field::TopP, Compact(0.0, 1.0)),
    param("presence_penalty", Field::PresencePenalty, Compact(-2.0, 2.0)),
    param("frequency_penalty", Field::FrequencyPenalty, Compact(-2.0, 2.0)),
    param("top_k", Field::TopK, Compact(-1.0, 1e9)),
    param("stop", Field::Stop, Texts(usize::MAX, false)),
    param("n", Field::N, Several),
    param("seed", Field::Seed, Integer),
    param("logprobs", Field::Logprobs, Switch),
    param("top_logprobs", Field::TopLogprobs, Capped(20)),
    param("max_tokens", Field::MaxTokens, Count(0, u64::MAX)),
    param("user", Field::User, Text),
    param("service_tier", Field::ServiceTier, Word(TIERS)),
    param("parallel_tool_calls", Field::ParallelToolCalls, Own),
];

/// A parameter as `server` takes it, or `None` if it does not. `fixed` says that the model's sampling is fixed.
pub(super) fn on(server: Server, fixed: bool, param: Param) -> Option<Param> {
    let official = official(server);
    let taken = |taken: bool| taken.then_some(param);
    match (param.field, server) {
        (Field::Temperature, Server::Mistral) => Some(Param { form: Compact(0.0, 1.5), ..param }),
        (Field::Seed, Server::Mistral) => Some(Param { key: "random_seed", form: Unsigned, ..param }),
        (Field::N | Field::Seed, Server::DeepSeek) | (Field::Logprobs | Field::TopLogprobs, Server::Mistral) => None,
        (Field::TopK, _) => taken(matches!(server, Server::Compatible | Server::Mistral)),
        // OpenAI's reasoning models have no stop texts, the others up to four.
        (Field::Stop, _) if official => Some(Param { form: Texts(if fixed { 0 } else { 4 }, false), ..param }),
        (Field::MaxTokens, _) if official => Some(Param { key: "max_completion_tokens", ..param }),
        (Field::User, _) => taken(official || server == Server::Compatible),
        // Everybody's default.
        (Field::ServiceTier, _) if !official => Some(Param { form: Word(&[("auto", "")]), ..param }),
        _ => Some(param),
    }
}
