//! Requests with a request of another dialect inside (`InvokeModel` with Claude's body): see
//! [`dialect::wrapped`](crate::dialect::wrapped).
//!
//! A target that has the client's endpoint gets the request as it is. Any other gets the inner request, encoded as if
//! the client had sent it; the reply to it is wrapped for the client as the last step of the relay.

use bytes::Bytes;
use http::{HeaderMap, Response, header};

use super::{
    ProxyError, RouteContext,
    encode::{ClientRequest, Encoded},
    relay::{self, Reply},
    translate::{self, Translation},
};
use crate::{
    conversation::Unsupported,
    dialect::{
        ApiRequest, DialectId, StreamMode, is_of_one_dialect,
        wrapped::{InnerRequest, WrappedStream},
    },
    snapshot::{Strictness, Target},
    upstream,
};

/// An inner request that is sent in place of the client's.
pub struct Wrapped {
    /// The operation.
    pub api: ApiRequest,
    /// The client's headers, as a client of the inner dialect sends them.
    pub headers: HeaderMap,
    /// What the client's headers have beside it, by the names in reports.
    fields: Vec<&'static str>,
    /// Whether the target has the outer dialect, and so gets these headers.
    at_home: bool,
}

/// The request inside `client`'s, if `target` does not get the client's as it is. Its target has to support the
/// endpoint, and the reply must not pass filters of text, which can't read it.
pub fn open(context: &RouteContext<'_>, client: &ClientRequest<'_, '_>, target: &Target) -> Option<InnerRequest> {
    let model = target.model_for(client.api_request);
    if client.is_native(target, model) && !relay::filters_text(context) {
        return None;
    }
    client.api_request.dialect.dialect().unwrap_request(client.api_request, client.top?)
}

impl Wrapped {
    /// The parts of an inner request for `target` except its body, which is returned. `client` has the client's headers.
    pub fn new(inner: InnerRequest, client: &ClientRequest<'_, '_>, target: &Target) -> (Self, Bytes) {
        let InnerRequest { api, body, headers: own } = inner;
        let (outer, headers) = (client.api_request.dialect, client.headers);
        let mut prefixes = api.dialect.dialect().header_prefixes().to_vec();
        let fields = outer.dialect().fields_in_headers(headers);
        let at_home = target.provider.info().dialect == outer;
        if at_home {
            prefixes.extend(outer.dialect().header_prefixes());
        }
        let is_inner = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let passes = |name: &header::HeaderName| !is_of_one_dialect(name) || is_inner(name.as_str());
        let kept = headers.iter().filter(|(name, _)| passes(name));
        let mut headers: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        for (name, value) in own {
            headers.insert(name, value);
        }
        (Self { api, headers, fields, at_home }, body)
    }

    /// Lets the reply to `encoded`, which is of the inner request, be wrapped.
    ///
    /// # Errors
    /// When `strict` refuses that the target does not get what the client's headers ask.
    pub fn wrap(self, encoded: &mut Encoded, strict: Strictness) -> Result<(), ProxyError> {
        let plan = &mut encoded.plan;
        if !self.at_home || plan.translation.is_some() {
            let mut lost = Unsupported::default();
            self.fields.iter().for_each(|field| lost.add(*field));
            translate::refuse_dropped(strict, &lost, "to this route's provider")?;
            plan.translation.as_mut().map_or(&mut plan.dropped, |back| &mut back.dropped).extend(&lost);
        }
        if plan.translation.is_none() {
            // Errors are read whole, because their form changes.
            let (dialect, head) = (self.api.dialect, translate::head(&self.api, "", false));
            plan.errors.get_or_insert_with(|| Box::new(Translation::of_errors(dialect, dialect, head)));
        }
        plan.wrapped = Some(Box::new(self));
        Ok(())
    }

    /// Whether the reply with this head has another form than the inner request asks for: a stream, or a whole reply.
    /// It is then read whole, and written anew or refused.
    pub fn is_unexpected(&self, head: &Response<upstream::ReplyBody>) -> bool {
        let kind = head.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes).unwrap_or_default();
        let streams = [&b"text/event-stream"[..], b"application/vnd.amazon.eventstream"];
        let streams =
            streams.iter().any(|prefix| kind.get(..prefix.len()).is_some_and(|k| k.eq_ignore_ascii_case(prefix)));
        let is_encoded = head.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
        head.status().is_success() && (is_encoded || streams != (self.api.stream != StreamMode::No))
    }

    /// Reads a reply of the inner dialect whole. `dropped` is what its request has lost.
    pub fn rewritten(&self, dropped: Unsupported) -> Translation {
        let dialect = self.api.dialect;
        let head = translate::head(&self.api, self.api.model.as_deref().unwrap_or_default(), true);
        let mut reading = Translation::of_errors(dialect, dialect, head);
        reading.dropped = dropped;
        reading
    }
}

/// The reply to an inner request of `inner`, for the client that requested `api`.
pub fn wrap(reply: Reply, inner: DialectId, api: &ApiRequest, request_id: &str) -> Reply {
    let outer = Translation::of_errors(inner, api.dialect, translate::head(api, "", false));
    match reply {
        Reply::Relayed(mut parts, mut plan) => {
            if plan.form.mode == StreamMode::Sse {
                outer.settle_headers(&mut parts.headers, None);
                plan.form.wrapped = Some(Box::new(WrappedStream::new(inner, api.dialect)));
            } else {
                outer.rename_request_id(&mut parts.headers);
            }
            Reply::Relayed(parts, plan)
        }
        Reply::Local(reply) => {
            let (mut parts, body) = reply.into_parts();
            if !parts.status.is_success() {
                outer.settle_headers(&mut parts.headers, None);
                let failure = inner.dialect().read_error(parts.status.as_u16(), &body);
                return Reply::Local(outer.failed(parts, &failure, request_id, None));
            }
            let streams = parts.headers.get(header::CONTENT_TYPE).is_some_and(is_event_stream);
            if !streams {
                outer.rename_request_id(&mut parts.headers);
                return Reply::Local(Response::from_parts(parts, body));
            }
            outer.settle_headers(&mut parts.headers, None);
            let mut stream = WrappedStream::new(inner, api.dialect);
            let wrapped = [stream.push(&body), stream.finish()].concat();
            Reply::Local(Response::from_parts(parts, wrapped.into()))
        }
    }
}

fn is_event_stream(value: &header::HeaderValue) -> bool {
    value.as_bytes().starts_with(b"text/event-stream")
}
