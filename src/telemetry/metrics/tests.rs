//! The registry against `docs/metrics.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::*;
use crate::{
    api::Kind,
    telemetry::{
        load::LoadGauge,
        operator::{ObjectStates, WriteOutcome},
        targets::TargetGauge,
    },
};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// A target that cools.
struct Cool;

impl TargetGauge for Cool {
    fn cooling(&self) -> Option<Duration> {
        Some(Duration::from_secs(3))
    }
}

/// A Backend at which requests wait.
struct Waiting;

impl LoadGauge for Waiting {
    fn waiting(&self) -> usize {
        4
    }
}

thread_local! {
    /// They live as long as the test, so that their series are not removed.
    static COOL: Arc<Cool> = Arc::new(Cool);
    static WAITING: Arc<Waiting> = Arc::new(Waiting);
}

/// Metrics with a sample in every family.
fn filled() -> Metrics {
    let metrics = Metrics::new().unwrap();
    let route = metrics.requests.route("default/g", "default/r", "default/b");
    route.record(200, "", Duration::from_millis(3));
    drop(route.begin());
    metrics.requests.connections("default/g/http").inc();
    metrics.requests.connections_rejected("limit").inc();
    let series = metrics.targets.target("default/b", "t", COOL.with(|cool| Arc::downgrade(cool) as _));
    series.answered();
    series.ended("rate");
    series.failed_over("rate");
    series.hedged("won");
    metrics.targets.refresh();
    let series = metrics.load.backend("default/b", &WAITING.with(|waiting| Arc::downgrade(waiting) as _));
    series.waited("batch", Duration::from_millis(3));
    series.refused("queue_full");
    metrics.load.refresh();
    let models = metrics.tokens.models("openai", "openai", "default/g", "default/r");
    TokenMetrics::searched(&models.get("rerank", "r", "r"), 2);
    TokenMetrics::record(&models.get("chat", "m", "m"), Some(1), Some(1), Duration::ZERO, None, None);
    let now = UNIX_EPOCH + Duration::from_secs(1_000);
    metrics.config.published(3, [(Kind::Gateway, 2)], [Some(Kind::Secret), None], Duration::from_millis(2), now);
    metrics.credentials.fetched("aws_instance", true);
    metrics.credentials.expires("aws_instance", 0, Some(now));
    metrics.guards.matched("request", "SSN", "mask", "user", 2);
    metrics.operator.set_leader(true);
    metrics.operator.set_refused(true);
    metrics.operator.record_write("HTTPRoute", WriteOutcome::Conflict);
    metrics.operator.objects([(Kind::Backend, ObjectStates { ok: 2, problem: 1, rejected: 0 })]);
    metrics.operator.published(Duration::from_millis(2));
    metrics.watches.record_event(Kind::Backend, true, now);
    metrics.watches.record_event(Kind::Backend, false, now + Duration::from_secs(1));
    metrics.watches.failed(Kind::Backend, "lost");
    metrics
}

type Shape = BTreeMap<String, (String, BTreeSet<String>)>;

fn exposed(metrics: &Metrics) -> Shape {
    metrics
        .registry
        .gather()
        .iter()
        .map(|family| {
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let labels = family.get_metric()[0].get_label().iter().map(|label| label.name().to_owned()).collect();
            (family.name().to_owned(), (kind, labels))
        })
        .collect()
}

/// The rows of the document's tables: name, type, unit, labels, meaning.
fn documented() -> Shape {
    DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, unit, labels, meaning] = cells.as_slice() else { panic!("not five cells: {line}") };
            assert!(!unit.is_empty() && !meaning.is_empty(), "{line}");
            let labels = labels.split(',').map(|l| l.trim().trim_matches('`')).filter(|l| !l.is_empty());
            (name.trim_matches('`').to_owned(), ((*kind).to_owned(), labels.map(str::to_owned).collect()))
        })
        .collect()
}

#[test]
fn the_document_lists_what_is_exposed() {
    assert_eq!(documented(), exposed(&filled()));
}

#[test]
fn help_ends_with_a_full_stop() {
    for family in filled().registry.gather().iter().filter(|f| !f.name().starts_with("process_")) {
        assert!(family.help().ends_with('.'), "{}: {}", family.name(), family.help());
    }
}

#[test]
fn the_text_has_values() {
    let text = filled().encode().unwrap();
    for line in [
        "tollgate_requests_total{backend=\"default/b\",error=\"\",gateway=\"default/g\",route=\"default/r\",\
            status=\"200\"} 1",
        "tollgate_requests_in_flight{gateway=\"default/g\"} 0",
        "tollgate_target_attempts_total{backend=\"default/b\",outcome=\"answered\",target=\"t\"} 1",
        "tollgate_target_failovers_total{backend=\"default/b\",cause=\"rate\",target=\"t\"} 1",
        "tollgate_target_healthy{backend=\"default/b\",target=\"t\"} 0",
        "tollgate_target_cooldown_seconds{backend=\"default/b\",target=\"t\"} 3",
        "tollgate_config_generation 3",
        "tollgate_config_objects{kind=\"Gateway\"} 2",
        "tollgate_config_rejected_objects{kind=\"Secret\"} 1",
        "tollgate_config_rejected_objects{kind=\"unknown\"} 1",
        "tollgate_config_last_change_timestamp_seconds 1000",
        "tollgate_credential_fetches_total{outcome=\"fetched\",source=\"aws_instance\"} 1",
        "tollgate_credential_expiry_timestamp_seconds{source=\"aws_instance\"} 1000",
        "tollgate_backend_queue_length{backend=\"default/b\"} 4",
        "tollgate_leader 1",
        "tollgate_another_installation 1",
        "tollgate_status_writes_total{kind=\"HTTPRoute\",outcome=\"conflict\"} 1",
        "tollgate_objects{kind=\"Backend\",state=\"problem\"} 1",
        "tollgate_publish_seconds_count 1",
        "tollgate_watch_events_total{kind=\"Backend\"} 1",
        "tollgate_watch_errors_total{error=\"lost\",kind=\"Backend\"} 1",
        "tollgate_watch_last_event_timestamp_seconds{kind=\"Backend\"} 1001",
        "ai_prompt_tokens_total{llm=\"openai\",model=\"m\"} 1",
        "tollgate_search_units_total{llm=\"openai\",model=\"r\"} 2",
        concat!("tollgate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.contains("gen_ai_client_token_usage_bucket") && text.contains("le=\"67108864\""), "{text}");
    assert!(text.contains("le=\"81.92\""));
}

#[test]
fn rejected_objects_that_are_mended_leave() {
    let metrics = filled();
    metrics.config.published(4, [], [], Duration::ZERO, SystemTime::UNIX_EPOCH);
    assert!(!metrics.encode().unwrap().contains("tollgate_config_rejected_objects{"));
}

#[test]
fn the_first_expiry_of_a_source_is_exported() {
    let metrics = Metrics::new().unwrap();
    let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    let expiries = || {
        let text = metrics.encode().unwrap();
        let value = |line: &str| {
            line.strip_prefix("tollgate_credential_expiry_timestamp_seconds{source=\"s\"} ").map(str::to_owned)
        };
        text.lines().find_map(value)
    };
    for (number, expiry, expected) in [
        (0, at(500), Some("500")),
        (1, at(400), Some("400")),
        (1, at(600), Some("500")),
        (0, None, Some("600")),
        (1, None, None),
    ] {
        metrics.credentials.expires("other", 9, at(1));
        metrics.credentials.expires("s", number, expiry);
        assert_eq!(expiries().as_deref(), expected, "{number} {expiry:?}");
    }
}
