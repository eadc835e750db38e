//! Metrics of tokens and of the times of LLM calls, under kgateway's names and under OpenTelemetry's (GenAI semantic
//! conventions).
//!
//! Model names come from clients and from providers, so they are bounded: a [`ModelCache`] holds at most
//! [`MAX_MODELS_PER_ROUTE`] pairs, and lives as long as the process, so that a new snapshot does not lift the bound.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, exponential_buckets,
};

use super::register::register;

/// Most pairs of requested and answering model that get series of their own, for one route and provider. Real routes
/// have a few; with more the client invents names.
pub const MAX_MODELS_PER_ROUTE: usize = 100;

/// Longest model name in a label, in bytes. Names in use have under 70.
pub const MAX_MODEL_BYTES: usize = 128;

/// The operation that is billed by search units.
const RERANK: &str = "rerank";

/// The label of every model beyond [`MAX_MODELS_PER_ROUTE`].
pub const OTHER_MODEL: &str = "other";

/// OpenTelemetry's advice for time to first token, in seconds.
const FIRST_TOKEN_SECONDS: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// OpenTelemetry's advice for time per output token, in seconds.
const OUTPUT_TOKEN_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];

/// Labels of the OpenTelemetry metrics.
const LABELS: [&str; 6] =
    ["gen_ai_operation_name", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model", "gateway", "route"];

/// Tokens and the times of LLM calls.
pub struct TokenMetrics {
    series: Arc<Series>,
    /// Caches by labels: the bound holds across snapshots.
    caches: Mutex<HashMap<[String; 4], Arc<ModelCache>>>,
}

struct Series {
    prompt: IntCounterVec,
    completion: IntCounterVec,
    estimated: IntCounterVec,
    search_units: IntCounterVec,
    usage: HistogramVec,
    duration: HistogramVec,
    first_token: HistogramVec,
    per_output_token: HistogramVec,
}

impl Series {
    /// Removes what has these [`LABELS`].
    fn remove(&self, labels: &[&str; 6]) {
        for histogram in [&self.duration, &self.first_token, &self.per_output_token] {
            let _ = histogram.remove_label_values(labels);
        }
        for token_type in ["input", "output"] {
            let labels: Vec<_> = std::iter::once(token_type).chain(*labels).collect();
            let _ = self.usage.remove_label_values(&labels);
        }
    }

    /// Removes the counters of a provider and model.
    fn remove_model(&self, labels: &[&str; 2]) {
        for counter in [&self.prompt, &self.completion, &self.estimated, &self.search_units] {
            let _ = counter.remove_label_values(labels);
        }
    }
}

impl TokenMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, help| register(registry, IntCounterVec::new(Opts::new(name, help), &["llm", "model"]));
        let histogram = |name, help, buckets: Vec<f64>, labels: &[&str]| {
            register(registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
        };
        let usage_labels: Vec<_> = std::iter::once("gen_ai_token_type").chain(LABELS).collect();
        let series = Series {
            prompt: counter("ai_prompt_tokens_total", "Tokens of prompts, as providers count them.")?,
            completion: counter("ai_completion_tokens_total", "Tokens of replies, as providers count them.")?,
            estimated: counter(
                "tollgate_estimated_tokens_total",
                "Tokens of prompts and replies that no provider counted: estimates, part of the other counters.",
            )?,
            search_units: counter("tollgate_search_units_total", "Search units of rankings, as providers bill them.")?,
            usage: histogram(
                "gen_ai_client_token_usage",
                "Tokens of one request, by type: input or output.",
                exponential_buckets(1.0, 4.0, 14)?,
                &usage_labels,
            )?,
            duration: histogram(
                "gen_ai_server_request_duration",
                "Seconds of one request, to the end of its reply.",
                exponential_buckets(0.01, 2.0, 14)?,
                &LABELS,
            )?,
            first_token: histogram(
                "gen_ai_server_time_to_first_token",
                "Seconds to the first token of a stream.",
                FIRST_TOKEN_SECONDS.to_vec(),
                &LABELS,
            )?,
            per_output_token: histogram(
                "gen_ai_server_time_per_output_token",
                "Seconds per token of a stream after the first.",
                OUTPUT_TOKEN_SECONDS.to_vec(),
                &LABELS,
            )?,
        };
        Ok(Self { series: Arc::new(series), caches: Mutex::default() })
    }

    /// The models of one route and provider: `llm` is kgateway's name for the provider (`azure_openai`), `system`
    /// OpenTelemetry's (`azure.ai.openai`). The same names give the same cache. Takes a lock: for compile, not for
    /// requests.
    pub fn models(&self, llm: &str, system: &str, gateway: &str, route: &str) -> Arc<ModelCache> {
        let names = [llm, system, gateway, route].map(str::to_owned);
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(caches.entry(names).or_insert_with_key(|names| {
            Arc::new(ModelCache { series: Arc::clone(&self.series), names: names.clone(), entries: ArcSwap::default() })
        }))
    }

    /// Removes the series of routes whose caches are no longer held, as [`RequestMetrics`](super::requests) does.
    pub(super) fn prune(&self) {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        // Series without `llm` belong to all providers of the route with one name in OpenTelemetry.
        let held = caches.iter().filter(|(_, cache)| Arc::strong_count(cache) > 1);
        let held: HashSet<[String; 3]> = held.map(|([_, rest @ ..], _)| rest.clone()).collect();
        let gone: Vec<_> = caches.extract_if(|[_, rest @ ..], _| !held.contains(rest)).collect();
        if gone.is_empty() {
            return;
        }
        let kept: Vec<_> = caches.iter().map(|([llm, ..], cache)| (llm, cache.entries.load_full())).collect();
        let kept: HashSet<(&str, &str)> = kept
            .iter()
            .flat_map(|(llm, entries)| entries.iter().map(|entry| (llm.as_str(), &*entry.request)))
            .collect();
        for ([llm, system, gateway, route], cache) in &gone {
            for entry in cache.entries.load().iter() {
                let (request, response) = (printable(&entry.request), printable(&entry.response));
                let labels = [entry.operation, system, &request, &response, gateway, route];
                self.series.remove(&labels);
                if !kept.contains(&(llm.as_str(), &*entry.request)) {
                    self.series.remove_model(&[llm, &request]);
                }
            }
        }
    }

    /// Records tokens, already recorded, that are an estimate because the provider counted none.
    pub fn estimated(model: &ModelMetrics, tokens: u64) {
        model.estimated.inc_by(tokens);
    }

    /// Records what a ranking is billed by.
    pub fn searched(model: &ModelMetrics, units: u64) {
        if let Some(counter) = &model.search_units {
            counter.inc_by(units);
        }
    }

    /// Records a call that has ended. Tokens are `None` if the provider did not report them; the times of tokens are
    /// `None` if there was no stream.
    pub fn record(
        model: &ModelMetrics,
        prompt: Option<u64>,
        completion: Option<u64>,
        duration: Duration,
        first_token: Option<Duration>,
        per_output_token: Option<Duration>,
    ) {
        if let Some(tokens) = prompt {
            model.prompt.inc_by(tokens);
            model.input.observe(as_f64(tokens));
        }
        if let Some(tokens) = completion {
            model.completion.inc_by(tokens);
            model.output.observe(as_f64(tokens));
        }
        model.duration.observe(duration.as_secs_f64());
        if let Some(time) = first_token {
            model.first_token.observe(time.as_secs_f64());
        }
        if let Some(time) = per_output_token {
            model.per_output_token.observe(time.as_secs_f64());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of tokens beyond 2^53 is no count")]
fn as_f64(tokens: u64) -> f64 {
    tokens as f64
}

/// Resolved metrics of one operation and pair of models.
pub struct ModelMetrics {
    prompt: IntCounter,
    completion: IntCounter,
    estimated: IntCounter,
    /// For rankings only.
    search_units: Option<IntCounter>,
    input: Histogram,
    output: Histogram,
    duration: Histogram,
    first_token: Histogram,
    per_output_token: Histogram,
}

/// Resolved metrics by operation and models, for one route and provider. Read without a lock.
pub struct ModelCache {
    series: Arc<Series>,
    /// llm, system, gateway, route.
    names: [String; 4],
    /// Sorted by key, and replaced as a whole when a new key is seen.
    entries: ArcSwap<Vec<Entry>>,
}

#[derive(Clone)]
struct Entry {
    operation: &'static str,
    request: Arc<str>,
    response: Arc<str>,
    metrics: Arc<ModelMetrics>,
}

impl Entry {
    fn key(&self) -> (&'static str, &str, &str) {
        (self.operation, &self.request, &self.response)
    }
}

impl ModelCache {
    /// The metrics of `operation` (OpenTelemetry's name, such as `chat`) on the requested model, answered by
    /// the model that the provider reports; empty where there is none.
    pub fn get(&self, operation: &'static str, request_model: &str, response_model: &str) -> Arc<ModelMetrics> {
        let key = (operation, cut(request_model), cut(response_model));
        let entries = self.entries.load();
        find(&entries, key).unwrap_or_else(|| self.resolve(&entries, key))
    }

    fn resolve(
        &self,
        entries: &[Entry],
        (operation, request, response): (&'static str, &str, &str),
    ) -> Arc<ModelMetrics> {
        if is_full(entries) {
            let key = (operation, OTHER_MODEL, OTHER_MODEL);
            return find(entries, key).unwrap_or_else(|| self.insert(key));
        }
        self.insert((operation, request, response))
    }

    fn insert(&self, key: (&'static str, &str, &str)) -> Arc<ModelMetrics> {
        let (operation, request, response) = key;
        let other = (operation, OTHER_MODEL, OTHER_MODEL);
        let mut made: Option<Entry> = None;
        let mut got = None;
        self.entries.rcu(|entries| {
            got = find(entries, key);
            if got.is_some() {
                return Arc::clone(entries);
            }
            // Other threads may have filled it meanwhile.
            if key != other && is_full(entries) {
                return Arc::clone(entries);
            }
            let entry = made.get_or_insert_with(|| Entry {
                operation,
                request: request.into(),
                response: response.into(),
                metrics: Arc::new(self.metrics(operation, request, response)),
            });
            let mut entries = Vec::clone(entries);
            let at = entries.partition_point(|entry| entry.key() < key);
            entries.insert(at, entry.clone());
            got = Some(Arc::clone(&entry.metrics));
            Arc::new(entries)
        });
        // `other` always has room, so this ends after one turn.
        got.unwrap_or_else(|| self.insert(other))
    }

    fn metrics(&self, operation: &'static str, request: &str, response: &str) -> ModelMetrics {
        let [llm, system, gateway, route] = &self.names;
        let (request, response) = (printable(request), printable(response));
        let labels = [operation, system, &request, &response, gateway, route];
        let [operation, system, request_label, response_label, gateway, route] = labels;
        let usage = |token_type| {
            self.series.usage.with_label_values(&[
                token_type,
                operation,
                system,
                request_label,
                response_label,
                gateway,
                route,
            ])
        };
        ModelMetrics {
            prompt: self.series.prompt.with_label_values(&[llm, &request]),
            completion: self.series.completion.with_label_values(&[llm, &request]),
            estimated: self.series.estimated.with_label_values(&[llm, &request]),
            search_units: (operation == RERANK).then(|| self.series.search_units.with_label_values(&[llm, &request])),
            input: usage("input"),
            output: usage("output"),
            duration: self.series.duration.with_label_values(&labels),
            first_token: self.series.first_token.with_label_values(&labels),
            per_output_token: self.series.per_output_token.with_label_values(&labels),
        }
    }
}

fn find(entries: &[Entry], key: (&str, &str, &str)) -> Option<Arc<ModelMetrics>> {
    let at = entries.binary_search_by(|entry| entry.key().cmp(&key)).ok()?;
    entries.get(at).map(|entry| Arc::clone(&entry.metrics))
}

/// Whether no further model gets series of its own. The entries for other models, one an operation, don't count.
fn is_full(entries: &[Entry]) -> bool {
    entries.iter().filter(|entry| (&*entry.request, &*entry.response) != (OTHER_MODEL, OTHER_MODEL)).count()
        >= MAX_MODELS_PER_ROUTE
}

/// At most [`MAX_MODEL_BYTES`] of `model`, whole characters.
fn cut(model: &str) -> &str {
    model.get(..model.floor_char_boundary(MAX_MODEL_BYTES)).unwrap_or(model)
}

/// `model` with everything but printable ASCII replaced by `?`.
fn printable(model: &str) -> String {
    model.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> (Registry, TokenMetrics) {
        let registry = Registry::new();
        let tokens = TokenMetrics::register(&registry).unwrap();
        (registry, tokens)
    }

    fn record(cache: &ModelCache, model: &str, prompt: u64) {
        TokenMetrics::record(&cache.get("chat", model, model), Some(prompt), Some(1), Duration::ZERO, None, None);
    }

    fn models(tokens: &TokenMetrics) -> Vec<String> {
        use prometheus::core::Collector;
        let mut models: Vec<_> = tokens.series.prompt.collect()[0]
            .get_metric()
            .iter()
            .map(|m| m.get_label().iter().find(|l| l.name() == "model").unwrap().value().to_owned())
            .collect();
        models.sort();
        models
    }

    #[test]
    fn a_call_is_recorded_under_both_names() {
        let (_, tokens) = tokens();
        let cache = tokens.models("azure_openai", "azure.ai.openai", "g", "r");
        let ms = Duration::from_millis;
        let model = cache.get("chat", "gpt", "gpt-2025");
        TokenMetrics::record(&model, Some(10), Some(5), ms(900), Some(ms(30)), Some(ms(20)));
        TokenMetrics::record(&model, None, None, ms(100), None, None);
        assert_eq!(tokens.series.prompt.with_label_values(&["azure_openai", "gpt"]).get(), 10);
        assert_eq!(tokens.series.completion.with_label_values(&["azure_openai", "gpt"]).get(), 5);
        let labels = ["chat", "azure.ai.openai", "gpt", "gpt-2025", "g", "r"];
        let check = |histogram: Histogram, count, sum: f64| {
            assert_eq!(histogram.get_sample_count(), count);
            assert!((histogram.get_sample_sum() - sum).abs() < 1e-9, "{}", histogram.get_sample_sum());
        };
        let usage = |kind| {
            let labels: Vec<_> = std::iter::once(kind).chain(labels).collect();
            tokens.series.usage.with_label_values(&labels)
        };
        check(usage("input"), 1, 10.0);
        check(usage("output"), 1, 5.0);
        check(tokens.series.duration.with_label_values(&labels), 2, 1.0);
        check(tokens.series.first_token.with_label_values(&labels), 1, 0.03);
        check(tokens.series.per_output_token.with_label_values(&labels), 1, 0.02);
    }

    #[test]
    fn models_are_bounded_across_snapshots() {
        let (_, tokens) = tokens();
        for i in 0..3 * MAX_MODELS_PER_ROUTE {
            record(&tokens.models("openai", "openai", "g", "r"), &format!("m{i:03}"), 1);
        }
        let models = models(&tokens);
        assert_eq!(models.len(), MAX_MODELS_PER_ROUTE + 1);
        assert_eq!((models[0].as_str(), models[100].as_str()), ("m000", "other"));
        let other = tokens.series.prompt.with_label_values(&["openai", "other"]).get();
        assert_eq!(other, 2 * MAX_MODELS_PER_ROUTE as u64);
        // Cached models stay, and another operation has its own `other`.
        let cache = tokens.models("openai", "openai", "g", "r");
        record(&cache, "m007", 1);
        assert_eq!(tokens.series.prompt.with_label_values(&["openai", "m007"]).get(), 2);
        let _ = cache.get("embeddings", "new", "new");
        assert_eq!(cache.entries.load().len(), MAX_MODELS_PER_ROUTE + 2);
    }

    #[test]
    fn threads_fill_it_no_further() {
        let (_, tokens) = tokens();
        let cache = tokens.models("openai", "openai", "g", "r");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || (0..200).for_each(|i| record(cache, &format!("m{thread}-{}", i % 60), 1)));
            }
        });
        assert!(cache.entries.load().len() <= MAX_MODELS_PER_ROUTE + 1);
        assert!(cache.entries.load().is_sorted_by(|a, b| a.key() < b.key()));
        let total: u64 =
            models(&tokens).iter().map(|m| tokens.series.prompt.with_label_values(&["openai", m.as_str()]).get()).sum();
        assert_eq!(total, 800);
    }

    #[test]
    fn model_names_are_cut_and_printable() {
        let (_, tokens) = tokens();
        let cache = tokens.models("openai", "openai", "g", "r");
        let long = "é".repeat(100_000);
        record(&cache, &long, 1);
        record(&cache, &"é".repeat(64), 1);
        record(&cache, "a\n\"\u{7f}b c", 1);
        assert_eq!(models(&tokens), ["?".repeat(64), "a?\"?b c".to_owned()]);
        assert_eq!(cache.entries.load().len(), 2);
    }

    #[test]
    fn series_end_with_the_last_who_counts_in_them() {
        let (registry, tokens) = tokens();
        let of = |label: &str| {
            let families = registry.gather();
            let series = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
            series.filter(|series| series.get_label().iter().any(|pair| pair.value() == label)).count()
        };
        let (one, two) = (tokens.models("openai", "openai", "g", "one"), tokens.models("openai", "openai", "g", "two"));
        record(&one, "a", 1);
        record(&one, "shared", 1);
        record(&two, "shared", 1);
        let request = one.get("chat", "a", "a");
        drop(one);
        tokens.prune();
        assert_eq!((of("one"), of("a")), (0, 0));
        // What a request counts that ends now is not exposed.
        TokenMetrics::record(&request, Some(1), None, Duration::ZERO, None, None);
        assert_eq!(of("a"), 0);
        assert_eq!((of("two"), of("shared")), (5, 8), "the other route counts on");
        assert_eq!(tokens.series.prompt.with_label_values(&["openai", "shared"]).get(), 2);
        drop(two);
        tokens.prune();
        assert_eq!((of("openai"), tokens.caches.lock().unwrap().len()), (0, 0));
    }
}
