//! Steps 8 and 9, **reply filters** and **relay**: the reply is returned to the client.
//!
//! | | |
//! | --- | --- |
//! | has happened | a target has replied; its head is here, its body follows |
//! | may read | the reply, frame by frame; a buffered reply of another dialect is read whole |
//! | may change | the reply's own bytes only where it is translated, filtered, or framed for its provider |
//! | ends the request | with an error event inside a stream, or by closing the connection |
//!
//! Filters are at `decode > filters > encode`: on decoded text, whether the reply is spliced or translated. Without any
//! filter, a reply's bytes are neither changed nor copied.
//!
//! A reply in the client's dialect is forwarded as it arrives. An observer reads usage, model and the stream's end from
//! it. A reply of another dialect is decoded and encoded, event by event in streams.

mod body;
mod filter;
mod observer;
mod pace;

use body::failure_inside;
pub use body::{Relay, RelayForm, RelayPlan, Reply};
pub use filter::filters_text;
use observer::Observer;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    ErrorKind, ProxyError, RequestRecord, RouteContext,
    encode::ReplyPlan,
    headers,
    key_mask::{KeyMask, MaskedBody, MaskedEvents},
    send::UpstreamReply,
    translate::{ReadLimits, Translated, Translation, name_dropped},
    wrapped::wrap,
};
use crate::{
    dialect::{
        ApiRequest, ReplyObserver, StreamMode, error_summary::ErrorSummary, observer::ReplyForm, rename::RenamedReply,
        text::FilterChain,
    },
    stream::InvokeFilter,
    upstream::{
        self,
        balance::{Attempt, AttemptOutcome},
    },
};

/// Prepares a target's reply for the client that requested `api`.
///
/// # Errors
/// When the reply has to be read whole, and breaks off or can't be read.
pub async fn relay(
    context: &RouteContext<'_>,
    api: &ApiRequest,
    mut answer: UpstreamReply,
    record: &mut RequestRecord,
) -> Result<Reply, ProxyError> {
    let Some(inner) = answer.plan.wrapped.take() else { return relay_one(context, api, answer, record).await };
    if answer.plan.translation.is_none() && inner.is_unexpected(&answer.reply) {
        let plan = &mut answer.plan;
        let (dropped, shown) = (std::mem::take(&mut plan.dropped), plan.shown_model.take());
        plan.translation = Some(Box::new(inner.rewritten(dropped).showing(shown)));
    }
    // Boxed: it is rare.
    let reply = Box::pin(relay_one(context, &inner.api, answer, record)).await?;
    Ok(wrap(reply, inner.api.dialect, api, record.trace_id()))
}

async fn relay_one(
    context: &RouteContext<'_>,
    api: &ApiRequest,
    answer: UpstreamReply,
    record: &mut RequestRecord,
) -> Result<Reply, ProxyError> {
    let UpstreamReply { reply, plan, attempt } = answer;
    let ReplyPlan { hide_usage, unwrap, errors, translation, mask, shown_model, dropped, wrapped: _ } = plan;
    let is_error = !reply.status().is_success();
    let chain = filter::chain(context, reply.status(), || record.findings().clone());
    if is_error && mask.is_some() && reply.headers().get(header::CONTENT_ENCODING).is_some_and(|c| c != "identity") {
        // It may repeat the key, and can't be searched for it.
        let message = "the upstream compressed its error, which was not requested";
        return Err(ProxyError::new(ErrorKind::UpstreamProtocol, message));
    }
    record.dropped(&dropped);
    match translation.or(errors.filter(|_| is_error)) {
        None => {
            let mut reply = spliced(context, api, (hide_usage, unwrap), mask, reply, attempt);
            if let Reply::Relayed(parts, plan) = &mut reply {
                name_dropped(&dropped, &mut parts.headers);
                rename(shown_model.filter(|_| !is_error), parts, &mut plan.form);
            }
            if chain.is_empty() { Ok(reply) } else { filter::apply(context, api, reply, chain, record).await }
        }
        // Boxed: most replies are not translated, and its state is large.
        Some(translation) => {
            Box::pin(translated(context, api, (*translation, mask), reply, attempt, chain, record)).await
        }
    }
}

/// Lets the reply with the head `parts` name `model`, if there is one.
fn rename(model: Option<String>, parts: &mut http::response::Parts, form: &mut RelayForm) {
    if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return;
    }
    form.renamed = model.map(|model| Box::new(RenamedReply::new(model, form.mode)));
    if form.renamed.is_some() {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
}

/// A reply in the client's dialect.
fn spliced(
    context: &RouteContext<'_>,
    api: &ApiRequest,
    (hide_usage, unwrap): (bool, bool),
    key_mask: Option<KeyMask>,
    reply: Response<upstream::ReplyBody>,
    attempt: Attempt,
) -> Reply {
    let (mut parts, body) = reply.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let mode = match api.stream {
        StreamMode::JsonArray if parts.status.is_success() => StreamMode::JsonArray,
        _ if content_type.get(..17).is_some_and(|s| s.eq_ignore_ascii_case(b"text/event-stream")) => StreamMode::Sse,
        _ if content_type.starts_with(b"application/vnd.amazon.eventstream") => StreamMode::EventStream,
        _ => StreamMode::No,
    };
    let unwrap = (unwrap && mode == StreamMode::EventStream).then(InvokeFilter::default);
    let (mode, content_type): (_, &[u8]) =
        if unwrap.is_some() { (StreamMode::Sse, b"text/event-stream") } else { (mode, content_type) };
    let encoded = parts.headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity");
    let known_end = api.endpoint.has_known_end();
    let form = ReplyForm { dialect: api.dialect, content_type, encoded, hide_usage, known_end };
    let observer = ReplyObserver::new(form);
    headers::from_provider(&mut parts.headers, key_mask.as_ref());
    // The frames of an AWS event stream have checksums, so they are not changed.
    let event_mask = key_mask.clone().filter(|_| matches!(mode, StreamMode::Sse | StreamMode::JsonArray));
    let event_mask = event_mask.map(MaskedEvents::new);
    let mask = key_mask.filter(|_| !parts.status.is_success()).map(MaskedBody::new);
    if unwrap.is_some() {
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    }
    if mode != StreamMode::No || mask.is_some() {
        // An error may have to be added at the end, and a masked key changes the length.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    // A compressed stream can't be read, so no event can be added.
    let mode = if encoded { StreamMode::No } else { mode };
    let form = RelayForm {
        dialect: api.dialect,
        mode,
        unwrap,
        mask,
        event_mask,
        error_body: (!parts.status.is_success()).then(Vec::new),
        answers: parts.status == StatusCode::OK,
        filter: None,
        renamed: None,
        wrapped: None,
        idle: context.idle_timeout,
        deadline: context.deadline,
    };
    Reply::Relayed(parts, Box::new(RelayPlan { body, observer: Some(Observer::Watch(observer)), form, attempt }))
}

/// The reply of a target that uses another dialect than the client.
async fn translated(
    context: &RouteContext<'_>,
    api: &ApiRequest,
    (translation, mask): (Translation, Option<KeyMask>),
    reply: Response<upstream::ReplyBody>,
    mut attempt: Attempt,
    chain: FilterChain,
    record: &mut RequestRecord,
) -> Result<Reply, ProxyError> {
    record.dropped(&translation.dropped);
    // The frames of an AWS event stream have checksums, so they are not changed.
    let content_type = reply.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let has_checksums = content_type.starts_with(b"application/vnd.amazon.eventstream");
    if !reply.status().is_success() {
        // Summarises the provider's own error. Errors that are not translated are read when they are relayed.
        let begun = Bytes::copy_from_slice(reply.body().begun());
        record.refused(ErrorSummary::read(&mask.as_ref().map_or(begun.clone(), |mask| mask.mask(begun))));
    }
    let limits =
        ReadLimits { idle: context.idle_timeout, deadline: context.deadline, request_id: record.trace_id().to_owned() };
    match translation.reply(reply, mask.as_ref(), &limits, chain).await {
        Err(error) => {
            attempt.ended(match error.kind.attempt_outcome() {
                _ if error.kind.is_refusal() => AttemptOutcome::Answered,
                AttemptOutcome::TimedOut => AttemptOutcome::TimedOut,
                _ => AttemptOutcome::Broken,
            });
            Err(error)
        }
        Ok(Translated::Whole(reply, totals)) => {
            attempt.ended(AttemptOutcome::Answered);
            record.counted(totals);
            Ok(Reply::Local(reply))
        }
        Ok(Translated::Failed(reply, class)) => {
            attempt.failed_inside(class, record.model());
            let (kind, cause) = failure_inside(class);
            record.failed(kind, cause);
            attempt.ended(AttemptOutcome::Answered);
            Ok(Reply::Local(reply))
        }
        Ok(Translated::Stream(reply, translator, mode)) => {
            let (parts, body) = reply.into_parts();
            let form = RelayForm {
                dialect: api.dialect,
                mode,
                unwrap: None,
                mask: None,
                event_mask: mask.filter(|_| !has_checksums).map(MaskedEvents::new),
                error_body: None,
                answers: false,
                filter: None,
                renamed: None,
                wrapped: None,
                idle: context.idle_timeout,
                deadline: context.deadline,
            };
            let observer = Some(Observer::Translate(translator));
            Ok(Reply::Relayed(parts, Box::new(RelayPlan { body, observer, form, attempt })))
        }
    }
}
