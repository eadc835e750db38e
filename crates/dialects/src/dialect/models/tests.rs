//! Expected values are those of the vendors' documents, or of the API's own errors where they list them.

use super::*;

#[test]
fn models_are_known_however_they_are_spelled() {
    let check = |model: &str, sampling, thinking: Thinking| {
        let facts = ModelFacts::of(model);
        assert_eq!((facts.sampling, facts.thinking), (sampling, thinking), "{model}");
    };
    let budget = Thinking::Budget { min: 1024, max: 60_000, off: true };
    let adaptive = Thinking::Adaptive { off: true };
    check("claude-opus-4-7", SamplingFacts::None, adaptive);
    check("us.anthropic.claude-opus-4-7-20260101-v1:0", SamplingFacts::None, adaptive);
    check("claude-sonnet-4-6", SamplingFacts::One, adaptive);
    check("claude-sonnet-5", SamplingFacts::None, adaptive);
    check("claude-sonnet-4-5@20250929", SamplingFacts::One, budget);
    check("anthropic.claude-sonnet-4-20250514-v1:0", SamplingFacts::One, budget);
    check("claude-opus-4-5", SamplingFacts::One, budget);
    check("claude-opus-4-1", SamplingFacts::One, Thinking::Budget { min: 1024, max: 31_000, off: true });
    check("claude-3-7-sonnet-latest", SamplingFacts::One, budget);
    check("claude-3-5-haiku-20241022", SamplingFacts::All, Thinking::Never);
    check("gemini-1.5-flash-latest", SamplingFacts::All, Thinking::Never);
    check("gemini-2.5-pro", SamplingFacts::All, Thinking::Budget { min: 128, max: 32_768, off: false });
    check("gemini-2.5-flash-lite", SamplingFacts::All, Thinking::Budget { min: 512, max: 24_576, off: true });
    check("gemini-3-pro-preview", SamplingFacts::All, Thinking::Level);
    check("gemini-flash-latest", SamplingFacts::All, Thinking::Level);
    check("gpt-4o", SamplingFacts::All, Thinking::Never);
    check("gpt-5.6-mini", SamplingFacts::None, Thinking::Effort);
    check("gpt-5-chat-latest", SamplingFacts::All, Thinking::Never);
    check("o3-mini", SamplingFacts::None, Thinking::Effort);
    check("us.amazon.nova-lite-v1:0", SamplingFacts::All, Thinking::Never);
    check("us.amazon.nova-2-lite-v1:0", SamplingFacts::All, Thinking::Nova);
    check("openai.gpt-oss-120b-1:0", SamplingFacts::All, Thinking::Effort);
    check("my-deployment", SamplingFacts::All, Thinking::Never);
    check("anthropic/claude-3.7-sonnet", SamplingFacts::One, budget);
    check("azure/prod-o3-mini", SamplingFacts::None, Thinking::Effort);
    // What only looks like one of these.
    check("demo3", SamplingFacts::All, Thinking::Never);
    check("solo1-chat", SamplingFacts::All, Thinking::Never);
    check("gpt-4o-1", SamplingFacts::All, Thinking::Never);
    check("gpt-35-turbo", SamplingFacts::All, Thinking::Never);
    check("gpt-neox-20b", SamplingFacts::All, Thinking::Never);
    check("supernova-2", SamplingFacts::All, Thinking::Never);
    check("deepseek-team/llama-3", SamplingFacts::All, Thinking::Never);
    assert_eq!(ModelFacts::of("claudette"), ModelFacts::PLAIN);
    let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x9o1k2";
    check(profile, SamplingFacts::All, Thinking::Never);
    check(
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-7-v1",
        SamplingFacts::None,
        adaptive,
    );
}

#[test]
fn makers_differ_in_what_they_take_in_converse() {
    let check = |model: &str, single_calls, prompts, tools, audio| {
        let facts = ModelFacts::of(model).converse;
        let found = (facts.single_calls, facts.cached_prompts, facts.cached_tools, facts.audio);
        assert_eq!(found, (single_calls, prompts, tools, audio), "{model}");
    };
    check("us.anthropic.claude-sonnet-4-5-20250929-v1:0", true, true, true, false);
    check("us.amazon.nova-2-lite-v1:0", false, true, false, false);
    check("us.amazon.nova-2-omni-v1:0", false, true, false, true);
    check("amazon.nova-sonic-v1:0", false, true, false, true);
    check("mistral.voxtral-small-24b-2507", false, false, false, true);
}

#[test]
fn efforts_are_those_that_the_vendor_lists() {
    use Effort as E;
    let (up_to_high, all_but_minimal) = ([E::Low, E::Medium, E::High], [E::None, E::Low, E::Medium, E::High]);
    let claude = [E::Low, E::Medium, E::High, E::XHigh, E::Max];
    for (model, efforts) in [
        ("gpt-5", &[E::Minimal, E::Low, E::Medium, E::High][..]),
        ("gpt-5-mini-2025-08-07", &[E::Minimal, E::Low, E::Medium, E::High]),
        // "Supported values are: 'none', 'low', 'medium', and 'high'."
        ("gpt-5.1", &all_but_minimal),
        ("gpt-5.2", &[E::None, E::Low, E::Medium, E::High, E::XHigh]),
        // "Supported values are: 'none', 'low', 'medium', 'high', and 'xhigh'."
        ("gpt-5.6-terra", &[E::None, E::Low, E::Medium, E::High, E::XHigh]),
        ("gpt-6-astra", &[E::Low, E::Medium, E::High, E::XHigh]),
        ("gpt-5-pro", &[E::High]),
        ("gpt-5.5-pro", &[E::Medium, E::High, E::XHigh]),
        ("gpt-5-codex", &up_to_high),
        ("o3-mini", &up_to_high),
        ("openai.gpt-oss-20b-1:0", &up_to_high),
        ("claude-opus-4-6", &[E::Low, E::Medium, E::High, E::Max]),
        ("us.anthropic.claude-opus-4-7", &claude),
        ("claude-fable-5-1", &claude),
        ("gemini-3-pro-preview", &[E::Low, E::High]),
        ("gemini-3.1-pro-preview", &up_to_high),
        ("gemini-3-flash-preview", &[E::Minimal, E::Low, E::Medium, E::High]),
        ("gemini-3.1-flash-lite", &[E::Minimal, E::Low, E::Medium, E::High]),
        ("gemini-3.1-flash-image", &[E::Minimal, E::High]),
        // "Allowed values are: medium, low, high."
        ("gemini-3.7-flash", &up_to_high),
        ("gemini-pro-latest", &up_to_high),
    ] {
        assert_eq!(ModelFacts::of(model).efforts.iter().collect::<Vec<_>>(), efforts, "{model}");
    }
    let in_responses = |model: &str| ModelFacts::of(model).efforts_in_responses;
    assert!(in_responses("gpt-5.6-sol").contains(E::Max) && in_responses("gpt-6-astra").contains(E::Max));
    assert!(!in_responses("gpt-5.5").contains(E::Max));
}

#[test]
fn the_nearest_effort_is_never_off_by_itself() {
    use Effort as E;
    for (efforts, wanted, nearest) in [
        (&[E::None, E::Low, E::Medium, E::High][..], E::Minimal, E::Low),
        (&[E::None, E::Low, E::Medium, E::High], E::None, E::None),
        (&[E::None, E::Low, E::Medium, E::High], E::Max, E::High),
        (&[E::Minimal, E::High], E::Low, E::Minimal),
        (&[E::Low, E::High], E::Medium, E::High),
        (&[E::Low, E::Medium, E::High, E::Max], E::XHigh, E::High),
        (&[E::High], E::None, E::High),
        (&[], E::Low, E::Low),
    ] {
        assert_eq!(Efforts::of(efforts.iter().copied()).nearest(wanted), nearest, "{efforts:?} {wanted:?}");
    }
}

#[test]
fn limits_of_answers_are_the_models() {
    for (model, limit) in [
        ("gpt-4o", 16_384),
        ("gpt-4o-mini-2024-07-18", 16_384),
        ("gpt-4.1", 32_768),
        ("gpt-4-turbo", 4096),
        ("gpt-3.5-turbo", 4096),
        ("gpt-5.4", 128_000),
        ("gpt-5-chat-latest", 16_384),
        ("o1", 100_000),
        ("o1-mini", 65_536),
        ("claude-3-opus-20240229", 4096),
        ("claude-3-5-sonnet-20241022", 8192),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1", 32_000),
        // "max_tokens: 128001 > 64000".
        ("claude-sonnet-4-5", 64_000),
        ("claude-haiku-4-5-20251001", 64_000),
        ("claude-opus-4-7", 128_000),
        ("us.amazon.nova-pro-v1:0", 10_000),
        ("us.amazon.nova-2-lite-v1:0", 64_000),
        ("gemini-2.0-flash", 8192),
        ("gemini-2.5-pro", 65_536),
        ("deepseek-chat", 8192),
        ("my-deployment", u64::MAX),
    ] {
        assert_eq!(ModelFacts::of(model).max_output, limit, "{model}");
    }
    let at = |provider: &str| ModelTable::built_in().facts("claude-sonnet-4-6", provider).max_output;
    assert_eq!((at("bedrock"), at("anthropic")), (64_000, 128_000));
}

#[test]
fn what_claude_refuses_depends_on_its_generation() {
    let always = Thinking::Adaptive { off: false };
    for (model, thinking, forced) in [
        ("claude-opus-5", Thinking::Adaptive { off: true }, true),
        ("claude-haiku-5-5", Thinking::Adaptive { off: true }, true),
        ("claude-opus-5-5", always, false),
        ("claude-sonnet-5-5", always, false),
        ("claude-fable-5", always, true),
        ("anthropic.claude-fable-5-1", always, false),
        ("claude-mythos-preview", always, true),
        ("claude-mythos-5-1", always, false),
    ] {
        let facts = ModelFacts::of(model);
        assert_eq!((facts.thinking, facts.forced_tools), (thinking, forced), "{model}");
    }
}

#[test]
fn instructions_between_turns_are_for_the_newest_claudes() {
    for (model, takes) in [
        ("claude-sonnet-4-5", false),
        ("us.anthropic.claude-opus-4-7-v1:0", false),
        ("claude-opus-4-8", true),
        ("claude-sonnet-4-8", false),
        ("claude-haiku-5@20260901", true),
        ("claude-mythos-5-1", true),
    ] {
        assert_eq!(ModelFacts::of(model).later_instructions, takes, "{model}");
    }
}

#[test]
fn some_models_are_served_by_responses() {
    use OpenAiApi::{Chat, Responses};
    for (model, api, with_tools) in [
        ("gpt-4o", Chat, Chat),
        ("gpt-5.2", Chat, Chat),
        ("gpt-5.4-mini", Chat, Responses),
        ("gpt-6-sol", Chat, Responses),
        ("gpt-5.3-codex", Responses, Chat),
        ("gpt-5-pro", Responses, Chat),
        ("o3-pro", Responses, Chat),
        ("o4-mini-deep-research", Responses, Chat),
        ("gpt-5.3-chat-latest", Chat, Chat),
    ] {
        let facts = ModelFacts::of(model);
        assert_eq!((facts.api, facts.tools_api), (api, with_tools), "{model}");
    }
}

#[test]
fn gemini_takes_json_schema_from_2_5_on() {
    for (model, json_schema) in [
        ("gemini-1.5-flash-latest", false),
        ("gemini-2.0-flash", false),
        ("gemini-2.5-flash", true),
        ("gemini-2.5-computer-use", true),
        ("gemini-3.1-flash-lite", true),
        ("gemini-flash-latest", true),
    ] {
        assert_eq!(ModelFacts::of(model).json_schema, json_schema, "{model}");
    }
}

#[test]
fn every_row_has_its_date_and_source() {
    let table = ModelTable::built_in();
    for row in &table.rows {
        assert!(row.source.as_ref().is_some_and(|source| source.starts_with("https://")), "{}", row.name());
        assert!(row.checked.is_some_and(|checked| checked.date.is_some()), "{}", row.name());
    }
    assert!(table.len() > 50);
}

#[test]
fn rows_of_an_operator_replace_what_they_state() {
    let table = ModelTable::built_in()
        .with(
            r#"
            [[model]]
            name = "prod-chat"
            thinking = "budget"
            budget = [1, 9]
            [[model]]
            name = ["prod-chat eu", "gpt-4o"]
            on = ["AzureOpenAI"]
            max_output = 100
            "#,
        )
        .unwrap();
    let facts = |model: &str, provider: &str| table.facts(model, provider);
    assert_eq!(facts("prod-chat-eu", "azureopenai").max_output, 100);
    assert_eq!(facts("prod-chat-eu", "azureopenai").default_output, 100, "not above the limit");
    assert_eq!(facts("prod-chat-eu", "openai").max_output, u64::MAX);
    assert_eq!(facts("prod-chat-us", "openai").thinking, Thinking::Budget { min: 1, max: 9, off: true });
    assert_eq!((facts("gpt-4o", "azureopenai").max_output, facts("gpt-4o", "openai").max_output), (100, 16_384));
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    for (row, why) in [
        ("name = \"m\"\nmax_output = 0", "[[model]] m: a limit of tokens is 0"),
        ("name = \"m\"\nmax_output = 5\ndefault_output = 6", "[[model]] m: default_output is above max_output"),
        ("name = \"m\"\nbudget = [9, 8]", "[[model]] m: budget is [least, most]"),
        ("name = \"m\"\nthinking = \"budget\"", "[[model]] m: thinking by a budget needs `budget`"),
        (
            "name = \"m\"\nthinking = \"level\"\nthinking_off = true",
            "[[model]] m: thinking by a level can't be turned off",
        ),
        ("name = \"m\"\nefforts = []", "[[model]] m: efforts has no effort"),
        ("name = \"m\"\nfrom = \"5\"\nuntil = \"4.9\"", "[[model]] m: `until` is not above `from`"),
        ("name = \"m\"\nefforts = [\"much\"]", "`much` is not an effort"),
        ("name = \"m\"\nfrom = \"new\"", "a version is a number such as 4 or 4.5, in quotes"),
        ("name = \"m\"\nmax_tokens = 5", "unknown field `max_tokens`"),
        ("name = \" - \"", "a name has no part with letters or digits"),
        ("name = []", "a name has no part with letters or digits"),
        ("max_output = 5", "missing field `name`"),
    ] {
        let refused = ModelTable::default().with(&format!("[[model]]\n{row}\n")).unwrap_err().to_string();
        assert!(refused.contains(why), "{row}: {refused}");
    }
    let many = "[[model]]\nname = \"m\"\n".repeat(501);
    assert_eq!(ModelTable::default().with(&many).unwrap_err().to_string(), "more than 500 rows");
}
