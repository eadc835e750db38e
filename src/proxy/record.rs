//! Step 11, **record**: the record of one request, from which the access log and the metrics are made.
//!
//! Everything happens in the drop, so that cancelled and failed requests count too. Earlier steps store their results
//! here; only [`finish`](super::finish) and the drop read them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, request::Parts};

use super::{ErrorKind, Shared, trace::RequestIds};
use crate::{
    conversation::Unsupported,
    dialect::{ApiRequest, StreamMode, error_summary::ErrorSummary, observer::Totals},
    policy::{Finding, Findings, ReplyPolicy, identity::Identity},
    snapshot::{Action, Backend, Rule, Target, WeightedBackend},
    telemetry::{
        AccessLog,
        requests::InFlight,
        tokens::{ModelCache, TokenMetrics},
    },
    upstream::balance::load::RequestPermit,
};

/// Approximate bytes of JSON per token, for providers that count nothing.
pub const BYTES_PER_TOKEN: u64 = 4;

/// The record of one request.
pub struct RequestRecord {
    shared: Arc<Shared>,
    start: Instant,
    ids: RequestIds,
    client: Arc<str>,
    method: Method,
    path: String,
    generation: u64,
    in_flight: Option<InFlight>,
    /// Its place at the backend, where these are limited.
    permit: Option<RequestPermit>,
    /// How long it has waited for such a place, and since when it does so.
    queued: Option<Duration>,
    queued_since: Option<Instant>,
    rule: Option<Arc<Rule>>,
    /// The client that was authenticated.
    identity: Option<Arc<Identity>>,
    /// Index of the rule's backend, and of its group and target.
    chosen: Option<usize>,
    target: Option<(usize, usize)>,
    ask: Option<ApiRequest>,
    model: Option<String>,
    reply: Reply,
    request_bytes: u64,
    attempts: u32,
    /// Unsupported fields, of the request and of the reply.
    dropped: Unsupported,
    /// The summary of the target's error.
    refusal: Option<Box<ErrorSummary>>,
    /// What policies of content have found, if the request has passed any.
    findings: Option<Findings>,
}

/// The result of the request.
#[derive(Default)]
struct Reply {
    status: u16,
    error: Option<ErrorKind>,
    bytes: u64,
    first: Option<Duration>,
    totals: Totals,
    /// The reply has been handed over to its end, or the gateway itself replied.
    complete: bool,
}

impl RequestRecord {
    /// Begins the record of a request.
    pub fn begin(shared: Arc<Shared>, client: Arc<str>, parts: &Parts) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the time of the request, read as it begins")]
        let start = Instant::now();
        Self {
            shared,
            start,
            ids: RequestIds::of(&parts.headers),
            client,
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            generation: 0,
            in_flight: None,
            permit: None,
            queued: None,
            queued_since: None,
            rule: None,
            identity: None,
            chosen: None,
            target: None,
            ask: None,
            model: None,
            reply: Reply::default(),
            request_bytes: 0,
            attempts: 0,
            dropped: Unsupported::default(),
            refusal: None,
            findings: None,
        }
    }

    /// The request's trace id.
    pub fn trace_id(&self) -> &str {
        self.ids.trace.as_str()
    }

    /// The request's own id, which goes to the client.
    pub fn request_id(&self) -> &str {
        self.ids.request.as_str()
    }

    /// The client's address and port.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The request uses this generation of the snapshot.
    pub fn reads(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// The request matched this rule.
    pub fn routed(&mut self, rule: &Arc<Rule>) {
        self.rule = Some(Arc::clone(rule));
    }

    /// The request is of this client.
    pub fn identified(&mut self, identity: &Arc<Identity>) {
        self.identity = Some(Arc::clone(identity));
    }

    /// The rule's backend with this number was chosen.
    pub fn chose(&mut self, backend: usize) {
        self.chosen = Some(backend);
        self.in_flight = self.backend().map(|b| b.metrics.begin());
    }

    /// The request waits for room at its backend.
    pub fn queue_begins(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "the time of the request, as for its begin")]
        let now = Instant::now();
        self.queued_since = Some(now);
    }

    /// It waits no longer.
    pub fn queue_ends(&mut self) {
        if let Some(since) = self.queued_since.take() {
            *self.queued.get_or_insert_default() += since.elapsed();
        }
    }

    /// The request has this place at its backend until its reply has ended.
    pub fn holds(&mut self, permit: Option<RequestPermit>) {
        self.permit = permit;
    }

    /// The operation of the request, and the body's length.
    pub fn classified(&mut self, ask: &ApiRequest, body: usize) {
        self.ask = Some(ask.clone());
        self.request_bytes = body as u64;
    }

    /// An attempt at this target begins, with this model.
    pub fn attempt(&mut self, group: usize, index: usize, model: Option<&str>) {
        self.attempts += 1;
        self.target = Some((group, index));
        if self.model.as_deref() != model {
            self.model = model.map(str::to_owned);
        }
    }

    /// An attempt at another target has begun besides this one, and lost.
    pub const fn hedged(&mut self) {
        self.attempts += 1;
    }

    /// The model of the last attempt; empty if the request names none.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or_default()
    }

    /// The name of the last attempt's target and the number of attempts, if replies are to show them.
    pub fn shown_target(&self) -> Option<(&str, u32)> {
        let (target, _) = self.target().filter(|_| self.shared.settings.reply_target_headers)?;
        Some((&target.name, self.attempts))
    }

    /// The last attempt had to send `times` more requests on fresh connections.
    pub const fn resent(&mut self, times: u32) {
        self.attempts += times;
    }

    /// An attempt at a plain server begins.
    pub fn attempt_plain(&mut self) {
        self.attempts += 1;
    }

    /// The status that the client gets.
    pub fn status(&mut self, status: u16) {
        self.reply.status = status;
    }

    /// The gateway replies with an error of its own, or ends a stream with one.
    pub fn failed(&mut self, kind: ErrorKind, cause: &str) {
        if self.reply.status == 0 {
            self.reply.status = kind.status();
        }
        self.reply.error = Some(kind);
        self.reply.complete = true;
        let rule = self.rule.as_ref().map(|r| r.labels.to_string());
        let backend = self.backend().map(|b| Arc::clone(&b.name));
        let backend = backend.as_deref();
        if kind.status() >= 500 {
            tracing::warn!(
                error = kind.word(),
                cause,
                trace_id = self.ids.trace.as_str(),
                rule,
                backend,
                "request failed"
            );
        } else {
            tracing::debug!(
                error = kind.word(),
                cause,
                trace_id = self.ids.trace.as_str(),
                rule,
                backend,
                "request refused"
            );
        }
    }

    /// `bytes` of the reply were relayed; the time of the first ones is kept.
    pub fn passed(&mut self, bytes: usize) {
        self.reply.bytes += bytes as u64;
        if self.reply.first.is_none() && bytes > 0 {
            self.reply.first = Some(self.start.elapsed());
        }
    }

    /// The provider's token counts and model.
    pub fn counted(&mut self, totals: Totals) {
        self.dropped.extend(&totals.lost);
        self.reply.totals = totals;
    }

    /// The unsupported fields of the request.
    pub fn dropped(&mut self, dropped: &Unsupported) {
        self.dropped = dropped.clone();
    }

    /// The target has replied with an error that the client gets.
    pub fn refused(&mut self, summary: ErrorSummary) {
        self.refusal = Some(Box::new(summary));
    }

    /// Where policies of content record what they find.
    pub fn findings(&mut self) -> &Findings {
        self.findings.get_or_insert_default()
    }

    /// Counts the findings, and returns them as text for the log.
    fn found(&mut self) -> Option<String> {
        let findings = self.findings.take()?.take();
        for Finding { direction, rule, action, kind, count } in &findings {
            self.shared.metrics.guards.matched(direction.as_str(), rule, action, kind.as_str(), *count);
        }
        let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    /// The reply has been handed over to its end.
    pub fn complete(&mut self) {
        self.reply.complete = true;
    }

    /// Estimates the counts that the provider did not send: prompt and completion tokens, from their length. The
    /// provider's own counts are not changed.
    fn estimate(&mut self) -> [Option<u64>; 2] {
        if self.ask.as_ref().is_none_or(|ask| ask.endpoint.dialect().is_none()) {
            // Other operations were estimated where their reply was made, if at all.
            let Totals { usage, estimated, .. } = &self.reply.totals;
            return [usage.prompt.filter(|_| *estimated), None];
        }
        let Totals { usage, estimated, text, .. } = &mut self.reply.totals;
        let prompt = usage.prompt.is_none().then(|| self.request_bytes.div_ceil(BYTES_PER_TOKEN));
        let completion = if *estimated {
            usage.completion
        } else {
            // The text of a buffered reply was not measured, so its whole length is used.
            let length = text.unwrap_or(self.reply.bytes).div_ceil(BYTES_PER_TOKEN);
            usage.completion.is_none().then_some(length)
        };
        usage.prompt = usage.prompt.or(prompt);
        usage.completion = usage.completion.or(completion);
        *estimated = prompt.is_some() || completion.is_some();
        [prompt, completion]
    }

    /// The reply policies of the rule and the backend, as far as they have been chosen.
    pub fn reply_policies(&self) -> impl Iterator<Item = &dyn ReplyPolicy> {
        let rule = self.rule.iter().flat_map(|rule| &rule.policies.reply);
        let backend = self.backend().into_iter().flat_map(|backend| &backend.policies.reply);
        rule.chain(backend).map(|policy| &**policy)
    }

    fn backend(&self) -> Option<&WeightedBackend> {
        match &self.rule.as_ref()?.action {
            Action::Forward(split) => split.backends().get(self.chosen?),
            Action::Redirect(_) | Action::Unavailable(_) => None,
        }
    }

    /// The chosen target, and its token counters.
    fn target(&self) -> Option<(&Target, &ModelCache)> {
        let Backend::Ai(ai) = &self.backend()?.backend else { return None };
        let (group, index) = self.target?;
        let target = ai.backend.groups.get(group)?.get(index)?;
        Some((target, ai.models.get(group)?.get(index)?))
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if !self.reply.complete {
            let why = if std::thread::panicking() {
                ErrorKind::Panic
            } else if self.shared.cut.is_cancelled() {
                ErrorKind::Shutdown
            } else {
                ErrorKind::ClientClosed
            };
            self.reply.error = Some(why);
            if self.reply.status == 0 {
                self.reply.status = why.status();
            }
        }
        self.queue_ends();
        // The next request need not wait for the log.
        drop(self.permit.take());
        let duration = self.start.elapsed();
        // A refused request used no tokens, and its model may not exist.
        let answered_well = (200..300).contains(&self.reply.status);
        let estimate = if answered_well { self.estimate() } else { [None; 2] };
        let found = self.found();
        let error = self.reply.error.map_or("", ErrorKind::word);
        let labels = self.rule.as_ref().map(|r| &r.labels);
        if let Some(backend) = self.backend() {
            backend.metrics.record(self.reply.status, error, duration);
        } else {
            let own = self.rule.as_ref().and_then(|r| r.metrics.as_ref());
            own.unwrap_or(&self.shared.unrouted).record(self.reply.status, error, duration);
        }
        let streams = self.ask.as_ref().is_some_and(|a| a.stream != StreamMode::No);
        let ttft = self.reply.first.filter(|_| streams);
        let target = self.target();
        if let (true, Some((_, models)), Some(ask)) = (answered_well, target, &self.ask) {
            let usage = self.reply.totals.usage;
            let estimated = estimate.iter().flatten().sum();
            let per_token = ttft.zip(usage.completion.filter(|n| *n > 1)).map(|(first, n)| {
                duration.saturating_sub(first).div_f64(f64::from(u32::try_from(n - 1).unwrap_or(u32::MAX)))
            });
            let asked = self.model.as_deref().unwrap_or_default();
            let answered = self.reply.totals.model.as_deref().unwrap_or_default();
            let metrics = models.get(ask.endpoint.operation(), asked, answered);
            TokenMetrics::record(&metrics, usage.prompt, usage.completion, duration, ttft, per_token);
            if let Some(units) = usage.search_units {
                TokenMetrics::searched(&metrics, units);
            }
            if estimated > 0 {
                TokenMetrics::estimated(&metrics, estimated);
            }
        }
        let usage = self.reply.totals.usage;
        let reranks = self.ask.as_ref().is_some_and(|ask| ask.endpoint.reranks());
        let dropped = (!self.dropped.is_empty()).then(|| self.dropped.to_string());
        AccessLog {
            trace_id: self.ids.trace.as_str(),
            request_id: self.ids.request.as_str(),
            client_request_id: self.ids.client.as_deref(),
            method: self.method.as_str(),
            path: &self.path,
            status: self.reply.status,
            error: self.reply.error.map(ErrorKind::word),
            upstream_error_type: self.refusal.as_ref().and_then(|refusal| refusal.kind.as_deref()),
            upstream_error_code: self.refusal.as_ref().and_then(|refusal| refusal.code.as_deref()),
            upstream_error_message: self.refusal.as_ref().and_then(|refusal| refusal.message.as_deref()),
            duration_us: micros(duration),
            queued_us: self.queued.map(micros),
            ttft_us: ttft.map(micros),
            gateway: labels.map(|l| &*l.gateway),
            route: labels.map(|l| &*l.route),
            rule: labels.map(|l| l.rule.as_str()),
            backend: self.backend().map(|b| &*b.name),
            target: target.map(|(target, _)| &*target.name),
            upstream_address: target.map(|(target, _)| target.pool_for(reranks).address()),
            provider: target.map(|(target, _)| target.provider.info().name),
            request_model: self.model.as_deref(),
            response_model: self.reply.totals.model.as_deref(),
            operation: self.ask.as_ref().map(|a| a.endpoint.operation()),
            dialect: self.ask.as_ref().map(|a| a.dialect.dialect().api()),
            stream: streams,
            prompt_tokens: usage.prompt,
            completion_tokens: usage.completion,
            search_units: usage.search_units,
            tokens_estimated: self.reply.totals.estimated,
            dropped: dropped.as_deref(),
            guarded: found.as_deref(),
            request_bytes: self.request_bytes,
            response_bytes: self.reply.bytes,
            upstream_attempts: self.attempts,
            client_addr: Some(&self.client),
            client_id: self.identity.as_ref().map(|identity| &*identity.name),
            generation: self.generation,
        }
        .emit();
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
