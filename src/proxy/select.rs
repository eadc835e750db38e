//! Step 5, **select**: which target replies. It is the loop of attempts, with **encode** and **send** inside.
//!
//! | | |
//! | --- | --- |
//! | has happened | the request is classified, and its policies have let it pass |
//! | may read | the backend's targets, and their state in `upstream::balance` |
//! | may change | nothing of the client's request; the body is given up before the last attempt |
//! | ends the request | with the most useful error when no target answers |
//!
//! A target that turns out not to have the request's endpoint gets the request once more, translated: see `missing`.
//! Where another target follows, a reply has to begin with an answer: see `first`.
//!
//! Targets are tried in the order of their groups, and within a group as the Backend chooses. After a failure the table in
//! `upstream::failure` decides whether the next one is tried, as long as nothing was sent to the client. When none
//! succeeds, the client gets the reply with the most useful information. Every attempt holds a
//! [guard](balance::Attempt), which reports how the attempt ended, also from inside the relay.

use std::time::SystemTime;

use http::request::Parts;
use tokio::time::Instant;

use super::{
    ErrorKind, ProxyError, RequestRecord, RouteContext,
    affinity::{Affinity, answer_kind},
    classify::{ClassifiedRequest, RequestBody},
    encode::{Caller, ClientRequest, Encoded, refused},
    failures::{Failures, Next, Outcome},
    first::{Gate, Measure},
    heavy,
    hedge::Race,
    media::Files,
    missing::{Named, is_missing},
    operation, policies,
    queue::Queue,
    retry::{MAX_ATTEMPTS, Retries, failure_of, may_repeat},
    send::{Sender, UpstreamReply, too_slow},
    translate::{ReadLimits, refuse_dropped},
    wrapped::{self, Wrapped},
};
use crate::{
    dialect::Endpoint,
    policy::retry::Failure,
    provider::Refusal,
    snapshot::{AiBackend, AiUse, Listed, Order, Pick, Target},
    stream::TopLevel,
    upstream::balance::{self, AttemptOutcome, HasApi, HedgeCount, Probe, load::TargetPermit},
};

/// The result of the attempts.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, which a box would make dearer")]
pub enum Answer {
    /// A target's reply.
    Upstream(UpstreamReply),
    /// A reply that the gateway makes, from the targets' replies or by itself.
    Local(operation::LocalReply),
}

/// The prepared requests for a target.
pub(super) enum Prepared {
    /// One request.
    One(Encoded),
    /// As many requests as the operation takes.
    Operation(operation::Plan),
}

impl Prepared {
    /// Whether it is one request, without files that were fetched for it.
    const fn is_plain(&self) -> bool {
        matches!(self, Self::One(encoded) if !encoded.has_files)
    }

    /// What the request names, if its reply may show that the target does not have its endpoint.
    fn may_miss(&self, request: &ClassifiedRequest, target: &Target) -> Option<Named> {
        let is_native = matches!(self, Self::One(encoded) if encoded.plan.translation.is_none());
        (is_native && target.may_lack(&request.api.endpoint, Instant::now())).then(|| {
            let body = request.body.as_ref().and_then(RequestBody::top);
            Named::of(&request.api, body, target.model_for(&request.api))
        })
    }
}

/// A request to a target that may not have its endpoint.
struct WithoutEndpoint<'a> {
    context: &'a RouteContext<'a>,
    ai: &'a AiUse,
    parts: &'a Parts,
    target: &'a Target,
    sender: &'a Sender<'a>,
    /// Whether no other target will be tried.
    last: bool,
}

impl WithoutEndpoint<'_> {
    /// The outcome of the request, given that of sending it as the client wrote it. When the reply shows that the
    /// endpoint is missing, which no server does work for, the request is translated and sent once more.
    ///
    /// # Errors
    /// Those of the attempts, and when the request can't be translated.
    async fn after(
        &self,
        outcome: Result<Answer, ProxyError>,
        named: &Named,
        request: &mut ClassifiedRequest,
        files: &mut Files,
        record: &mut RequestRecord,
    ) -> Result<Answer, ProxyError> {
        let Self { context, ai, parts, target, sender, last } = *self;
        let is_conversation = request.api.endpoint == Endpoint::Responses;
        let mut first = match outcome {
            Ok(Answer::Upstream(first)) => first,
            outcome => return outcome,
        };
        if !named.misses_endpoint(&first.reply) {
            if is_conversation && first.reply.status().is_success() {
                target.server.shown(HasApi::Yes, Instant::now());
            }
            return Ok(Answer::Upstream(first));
        }
        first.attempt.ended(AttemptOutcome::Answered);
        let permit = first.attempt.take_permit();
        drop(first);
        let prepare = prepare(context, ai, request, parts, files, target, true);
        let prepared = match before(context.deadline, prepare).await?? {
            Prepared::Operation(plan) if plan.needs_no_request() => return plan.local().map(Answer::Local),
            prepared => prepared,
        };
        if last {
            request.release();
        }
        record.resent(1);
        let guard = guard(target, record.model(), None, permit);
        let outcome = attempt(context, parts, prepared, files, guard, sender, record).await;
        if let Ok(Answer::Upstream(second)) = &outcome
            && is_conversation
            // Where the other endpoint is missing too, the address may be wrong, or the model.
            && !is_missing(second.reply.status())
            && target.server.shown(HasApi::No, Instant::now())
        {
            tracing::info!(
                target = target.name,
                backend = &*ai.backend.name,
                "the server has no Responses API: its requests are translated to Chat Completions"
            );
        }
        outcome
    }
}

/// Tries targets in their order until one gives a reply after which another target would not do better.
///
/// # Errors
/// When no target gives a reply.
pub async fn select(
    context: &RouteContext<'_>,
    ai: &AiUse,
    request: &mut ClassifiedRequest,
    parts: &Parts,
    record: &mut RequestRecord,
) -> Result<Answer, ProxyError> {
    // Taken, so that the body can be given up while they are borrowed.
    let added = std::mem::take(&mut request.added);
    let caller = Caller::new(parts, &added);
    let (mut failures, mut files, mut tried, mut hedged) = (Failures::default(), Files::default(), 0, false);
    let mut retries = Retries::new(context, may_repeat(request, &parts.method));
    let selecting = selecting_model(&ai.backend, request)?;
    let mut order = ai.backend.order(selecting.as_deref(), &Affinity { request, parts, record });
    let mut queue = Queue::new(context, &parts.headers);
    let mut current = queue.next(&mut order, record, |target| target.model_for(&request.api)).await;
    while let Some(Pick { group, index, target, probe, permit }) = current {
        let prepare = prepare(context, ai, request, parts, &mut files, target, false);
        let prepared = match before(context.deadline, prepare).await? {
            Ok(Prepared::Operation(plan)) if plan.needs_no_request() => return plan.local().map(Answer::Local),
            Ok(prepared) => prepared,
            Err(error) => {
                failures.error.get_or_insert(error);
                drop(permit);
                current = queue.next(&mut order, record, |target| target.model_for(&request.api)).await;
                retries.at_next_target();
                continue;
            }
        };
        tried += 1;
        record.attempt(group, index, target.model_for(&request.api));
        let guard = guard(target, target.model_for(&request.api).unwrap_or_default(), probe, permit);
        let is_over = tried == MAX_ATTEMPTS;
        let next_target = !order.is_last() && !is_over;
        let last = !next_target && (is_over || !retries.may_follow());
        let named = prepared.may_miss(request, target);
        if last && named.is_none() {
            request.release();
        }
        let gate = if next_target { Gate::new(context, ai, request) } else { None };
        let sender = Sender::new(caller, target, context.attempt_timeout, context.deadline)
            .with_first_token(gate.as_ref().and_then(Gate::first_token));
        let measure = Measure::begin(ai, request, target);
        // Once for a request, at another target, and not where the same one may have to get it translated.
        let may_hedge = next_target && !hedged && named.is_none();
        let hedge_at = hedge_at(context, ai, request, target, &prepared).filter(|_| may_hedge);
        let (outcome, is_final) = match (hedge_at, gate) {
            (Some(at), Some(gate)) => {
                hedged = true;
                let race = Race::default();
                let (gate, guard) = (gate.until_content(), guard.racing(&race.first));
                let sending = attempt(context, parts, prepared, &mut files, guard, &sender, record);
                let first = async {
                    let outcome = Outcome::of(sending.await, measure);
                    Raced { group, index, target, outcome: outcome.pass(Some(&gate), target, record.model()).await }
                };
                let second = Second { context, ai, request, parts, caller, race: &race, record }
                    .attempt(&mut order, tried + 1 == MAX_ATTEMPTS);
                // Boxed: it is rare, and holds two attempts.
                let (first, second) = Box::pin(race.run(first, at, second, |raced| raced.outcome.wins())).await;
                tried += u32::from(race.second_began());
                let has_won = second.as_ref().is_some_and(|second| second.outcome.wins());
                let (other, raced) = if has_won { (first, second) } else { (second, first) };
                if let Some(other) = other {
                    failures.add(other.outcome, other.target, has_won.then_some(Next::Other), record);
                }
                let Some(raced) = raced else { break };
                if has_won {
                    record.attempt(raced.group, raced.index, raced.target.model_for(&request.api));
                } else if race.second_began() {
                    record.hedged();
                }
                (raced.outcome, has_won)
            }
            (_, gate) => {
                let mut result = attempt(context, parts, prepared, &mut files, guard, &sender, record).await;
                if let Some(named) = named {
                    let step = WithoutEndpoint { context, ai, parts, target, sender: &sender, last };
                    // Boxed: it is rare.
                    result = Box::pin(step.after(result, &named, request, &mut files, record)).await;
                }
                (Outcome::of(result, measure).pass(gate.as_ref(), target, record.model()).await, false)
            }
        };
        record.resent(sender.resent());
        let next_target = !order.is_last() && tried < MAX_ATTEMPTS;
        let again = if last || is_final { None } else { retries.after(&outcome.result, &ai.backend) };
        if again.is_none() && outcome.wins() {
            record.holds(order.into_permit());
            return outcome.result;
        }
        let after = if again.is_some() { Some(Next::Same) } else { next_target.then_some(Next::Other) };
        failures.add(outcome, target, after, record);
        current = match again {
            Some(at) => {
                tokio::time::sleep_until(at).await;
                let permit = queue.again(&mut order, target, record).await;
                permit.map(|permit| Pick { group, index, target, probe: None, permit })
            }
            None if !next_target => break,
            None => {
                retries.at_next_target();
                queue.next(&mut order, record, |target| target.model_for(&request.api)).await
            }
        };
    }
    let cooling = order.refused();
    record.holds(order.into_permit());
    failures.into_result(queue.refused(), cooling)
}

/// The model by which `request` selects among the targets, if it does: a copy, so that the body can be given up.
///
/// # Errors
/// When no target of `backend` can be selected by it.
fn selecting_model(backend: &AiBackend, request: &ClassifiedRequest) -> Result<Option<String>, ProxyError> {
    match backend.selecting_model(&request.api) {
        Some(model) if backend.serves(model) => Ok(Some(model.to_owned())),
        Some(model) => Err(ProxyError::unknown_model(model)),
        None if backend.by_model && request.api.endpoint.generates() => Err(ProxyError::new(
            ErrorKind::NoModel,
            "name a model: the models of this route are those of several providers",
        )),
        None => Ok(None),
    }
}

impl Retries<'_> {
    /// When the request is to be sent to its target again, if it is.
    fn after(&mut self, outcome: &Result<Answer, ProxyError>, backend: &AiBackend) -> Option<Instant> {
        let (failure, headers) = match outcome {
            Ok(Answer::Upstream(reply)) => (Some(Failure::Status(reply.reply.status())), Some(reply.reply.headers())),
            Ok(Answer::Local(_)) => (None, None),
            Err(error) => (failure_of(error), None),
        };
        self.next(failure, headers, &backend.retries, || backend.in_flight())
    }
}

/// When a second target is to get the request, if the first one has not answered then. `None` where that can't be, or
/// is not configured. Files that were fetched for a request are held once, and an operation is several requests.
fn hedge_at(
    context: &RouteContext<'_>,
    ai: &AiUse,
    request: &ClassifiedRequest,
    target: &Target,
    prepared: &Prepared,
) -> Option<Instant> {
    let hedge = ai.backend.hedge?;
    if !prepared.is_plain() {
        return None;
    }
    let at = Instant::now().checked_add(hedge.delay(target.state.latencies().of(answer_kind(request)))?)?;
    context.deadline.is_none_or(|deadline| at < deadline).then_some(at)
}

/// One of two attempts at a request.
struct Raced<'a> {
    group: usize,
    index: usize,
    target: &'a Target,
    outcome: Outcome,
}

/// The second attempt at a request whose first one is under way.
struct Second<'a> {
    context: &'a RouteContext<'a>,
    ai: &'a AiUse,
    request: &'a ClassifiedRequest,
    parts: &'a Parts,
    caller: Caller<'a>,
    race: &'a Race,
    record: &'a RequestRecord,
}

impl Second<'_> {
    /// Makes the attempt at the next target that does not cool and has room. `None` where there is none, where it can't take the
    /// request, or where as many second attempts as allowed are under way.
    async fn attempt<'t>(self, order: &mut Order<'t, Listed<'t>>, is_over: bool) -> Option<Raced<'t>> {
        let Self { context, ai, request, parts, caller, race, record } = self;
        let backend = &ai.backend;
        let _permit = backend.hedges.permit(backend.in_flight())?;
        let Pick { group, index, target, probe, permit } = order.next_ready(|target| target.model_for(&request.api))?;
        let mut files = Files::default();
        let prepare = prepare(context, ai, request, parts, &mut files, target, false);
        let prepared = before(context.deadline, prepare).await.ok()?.ok()?;
        let gate = Gate::new(context, ai, request)?.until_content();
        let gate = if is_over || order.is_last() { gate.unbounded() } else { gate };
        let model = target.model_for(&request.api).unwrap_or_default();
        let guard = guard(target, model, probe, permit).racing(&race.second);
        let sender =
            Sender::new(caller, target, context.attempt_timeout, context.deadline).with_first_token(gate.first_token());
        race.second_begins();
        let count = HedgeCount::begin(&target.state);
        tracing::debug!(target = target.name, trace_id = record.trace_id(), "a second target gets the request");
        let measure = Measure::begin(ai, request, target);
        let result = attempt(context, parts, prepared, &mut files, guard, &sender, record).await;
        let outcome = Outcome::of(result, measure).pass(Some(&gate), target, model).await;
        count.ended(outcome.wins());
        Some(Raced { group, index, target, outcome })
    }
}

/// Begins an attempt at `target` for `model`, perhaps as a probe, with its place there.
fn guard(target: &Target, model: &str, probe: Option<Probe>, permit: Option<TargetPermit>) -> balance::Attempt {
    balance::Attempt::watched(&target.state, model, target.credential.is_own(), probe).holding(permit)
}

/// One attempt: sends to the sender's target, under `attempt`, which reports how it ended.
pub(super) async fn attempt(
    context: &RouteContext<'_>,
    parts: &Parts,
    prepared: Prepared,
    files: &mut Files,
    mut attempt: balance::Attempt,
    sender: &Sender<'_>,
    record: &RequestRecord,
) -> Result<Answer, ProxyError> {
    let answer = match prepared {
        // Boxed: it is rare.
        Prepared::One(encoded) if encoded.has_files => Box::pin(sender.send_files(&parts.method, encoded, files)).await,
        Prepared::One(encoded) => sender.send(&parts.method, encoded).await,
        Prepared::Operation(plan) => {
            let limits = ReadLimits {
                idle: context.idle_timeout,
                deadline: context.deadline,
                request_id: record.trace_id().to_owned(),
            };
            // Boxed: it is rare, and holds several replies.
            match Box::pin(plan.run(sender, &limits)).await {
                Ok(operation::Outcome::Local(reply)) => {
                    attempt.ended(AttemptOutcome::Answered);
                    return Ok(Answer::Local(reply));
                }
                Ok(operation::Outcome::Reply(reply, plan)) => Ok((*reply, plan)),
                Err(error) => Err(error),
            }
        }
    };
    match answer {
        Ok((reply, plan)) => {
            #[expect(clippy::disallowed_methods, reason = "the time of the reply, for waits that it names as dates")]
            match sender.target().judge(&reply, SystemTime::now()) {
                Some(verdict) => attempt.judged(verdict, record.model()),
                None => attempt.replied(),
            }
            Ok(Answer::Upstream(UpstreamReply { reply, plan, attempt }))
        }
        Err(error) => {
            attempt.ended(error.kind.attempt_outcome());
            Err(error)
        }
    }
}

/// Prepares the requests for `target`. `endpoint_missing` states that it does not have the endpoint of the client's.
async fn prepare(
    context: &RouteContext<'_>,
    ai: &AiUse,
    request: &ClassifiedRequest,
    parts: &Parts,
    files: &mut Files,
    target: &Target,
    endpoint_missing: bool,
) -> Result<Prepared, ProxyError> {
    let Some(body) = &request.body else {
        return Err(ProxyError::new(ErrorKind::Misconfigured, "the body was given up before the last attempt"));
    };
    let counted;
    let mut client = ClientRequest {
        api_request: &request.api,
        query: parts.uri.query(),
        headers: &parts.headers,
        body: body.bytes(),
        top: body.top(),
        inlined: false,
        endpoint_missing,
    };
    if request.api.endpoint.counts() && policies::edits(context) {
        // What is counted is what would be sent, and an estimate is made of the client's body.
        counted = RequestBody::edited(policies::edit(context, &request.api.endpoint, client.body).await?)?;
        (client.body, client.top) = (counted.bytes(), counted.top());
    }
    let plan = || operation::plan(&client, parts.uri.path(), target, context.rule, &ai.backend);
    if let Some(plan) = heavy::run(client.body.len(), plan).await {
        return plan.map(Prepared::Operation);
    }
    let inner = match client.api_request.endpoint.inner_dialect() {
        None => None,
        Some(_) => heavy::run(client.body.len(), || wrapped::open(context, &client, target)).await,
    };
    match inner {
        None => encode(context, ai, &client, files, target).await.map(Prepared::One),
        Some(inner) => {
            let (wrapped, body) = Wrapped::new(inner, &client, target);
            let scanned = heavy::run(body.len(), || TopLevel::scan(&body)).await;
            let top = scanned.map_err(|e| ProxyError::new(ErrorKind::BadBody, e.to_string()))?;
            let (api_request, headers) = (&wrapped.api, &wrapped.headers);
            let inner = ClientRequest { api_request, headers, body: &body, top: Some(&top), query: None, ..client };
            // Boxed: it is rare.
            let mut encoded = Box::pin(encode(context, ai, &inner, files, target)).await?;
            wrapped.wrap(&mut encoded, ai.backend.strict)?;
            Ok(Prepared::One(encoded))
        }
    }
}

/// Encodes a request for `target`, translated if it has to be.
async fn encode(
    context: &RouteContext<'_>,
    ai: &AiUse,
    client: &ClientRequest<'_, '_>,
    files: &mut Files,
    target: &Target,
) -> Result<Encoded, ProxyError> {
    let mut encoded = match heavy::run(client.body.len(), || client.encode(target)).await {
        Err(Refusal::Translation) => {
            // Boxed: most requests are not translated, and its state is large.
            Box::pin(client.translate(files, target, ai.backend.strict, &context.settings.fetcher)).await
        }
        encoded => encoded.map_err(|refusal| refused(refusal, client.api_request, target.provider.info().name)),
    }?;
    refuse_dropped(ai.backend.strict, &encoded.plan.dropped, "to this route's model")?;
    if policies::edits(context) && !client.api_request.endpoint.counts() {
        let back = encoded.plan.translation.as_ref();
        let endpoint = back.map(|back| back.from.dialect().conversation_endpoint("", false).0);
        let endpoint = endpoint.as_ref().unwrap_or(&client.api_request.endpoint);
        encoded.body = policies::edit(context, endpoint, &encoded.body).await?;
    }
    Ok(encoded)
}

/// The result of `work`, unless `deadline` passes before.
async fn before<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, ProxyError> {
    match deadline {
        Some(at) => tokio::time::timeout_at(at, work).await.map_err(|_| too_slow()),
        None => Ok(work.await),
    }
}
