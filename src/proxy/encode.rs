//! Step 6, **encode**: builds the request for one target: its path, its body with the few bytes that must change, its
//! headers.
//!
//! | | |
//! | --- | --- |
//! | has happened | a target is chosen for the next attempt |
//! | may read | the client's head and body, the target |
//! | may change | nothing of the client's request: another target may need it |
//! | ends the request | never: a target that can't take the request is skipped |

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header, request::Parts, uri::PathAndQuery};
use secrecy::ExposeSecret;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    ErrorKind, ProxyError, body,
    headers::{self, ClientHeaders},
    heavy,
    key_mask::KeyMask,
    media::{self, Files, Wanted},
    translate::{self, ParsedRequest, Translation},
    wrapped::Wrapped,
};
use crate::{
    conversation::Unsupported,
    dialect::{ApiRequest, Destination, DialectId, Endpoint, StreamMode, adapt::Adapted},
    provider::{Framing, Provider, Refusal, TranslationNeeds, native_request, path_of},
    snapshot::{Credential, Strictness, Target},
    stream::{Splice, TopLevel},
    upstream::{self, Fetcher, Token},
};

/// A request as it is sent to the target.
pub struct Encoded {
    pub path: PathAndQuery,
    pub body: Bytes,
    /// Whether files that were fetched for the request are in the body.
    pub has_files: bool,
    /// Whether it ranks documents, which some targets do at another host.
    pub reranks: bool,
    /// How the reply is returned.
    pub plan: ReplyPlan,
}

impl Encoded {
    /// Drops the body, because the target has it.
    pub fn release(&mut self) {
        self.body = Bytes::new();
    }

    /// Whether the body was dropped, so that it can't be sent again.
    pub const fn is_released(&self) -> bool {
        self.has_files && self.body.is_empty()
    }

    /// Extracts the plan for the reply; the memory of the body is returned for reuse.
    pub fn into_plan(self) -> ReplyPlan {
        body::recycle(self.body);
        self.plan
    }
}

/// How a reply is returned to the client.
#[derive(Default)]
pub struct ReplyPlan {
    /// Whether the gateway has requested a usage chunk that the client did not request.
    pub hide_usage: bool,
    /// Whether the target wraps its events in frames of another kind.
    pub unwrap: bool,
    /// The translation of errors, if the provider has another form for them than for replies (Claude on Bedrock).
    pub errors: Option<Box<Translation>>,
    /// The translation of replies, if the target uses another dialect.
    pub translation: Option<Box<Translation>>,
    /// The gateway's own key for the target, which the reply must not repeat.
    pub mask: Option<KeyMask>,
    /// The model that a reply of the client's dialect is to name, where its clients compare it.
    pub shown_model: Option<String>,
    /// Settings that the target's model does not accept, in a request that was not translated.
    pub dropped: Unsupported,
    /// The request was inside the client's, and so its reply is to be wrapped.
    pub wrapped: Option<Box<Wrapped>>,
}

/// A client's request, as it was classified.
pub struct ClientRequest<'a, 'b> {
    pub api_request: &'a ApiRequest,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a Bytes,
    pub top: Option<&'a TopLevel<'b>>,
    /// Whether files that the client named by URL are in the body.
    pub inlined: bool,
    /// Whether the target has shown that it does not have the request's endpoint.
    pub endpoint_missing: bool,
}

/// The parts of a client's request that decide the headers of a target's.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub headers: ClientHeaders<'a>,
    pub query: Option<&'a str>,
}

impl<'a> Caller<'a> {
    /// The caller whose request has these parts, to which policies have `added` headers.
    pub fn new(parts: &'a Parts, added: &'a HeaderMap) -> Self {
        Self { headers: ClientHeaders { all: &parts.headers, added }, query: parts.uri.query() }
    }
}

impl ClientRequest<'_, '_> {
    /// Whether `target` accepts the request as the client wrote it, given its model there.
    pub fn is_native(&self, target: &Target, model: Option<&str>) -> bool {
        !self.is_missing(target) && target.provider.speaks(self.api_request, model)
    }

    /// Whether the target does not have the request's endpoint.
    fn is_missing(&self, target: &Target) -> bool {
        self.endpoint_missing || target.lacks(&self.api_request.endpoint, Instant::now())
    }

    /// Path and body for `target`.
    ///
    /// # Errors
    /// When the target can't accept this without translation, or has no such endpoint, or no model is named.
    pub fn encode(&self, target: &Target) -> Result<Encoded, Refusal> {
        if self.is_missing(target) {
            return Err(Refusal::Translation);
        }
        let provider = &*target.provider;
        let model = target.model_for(self.api_request);
        // Needed even when overridden: it refuses requests that the provider can't accept.
        let path = path_of(provider, self.api_request, model, target.forwarded.query(self.query).as_deref())?;
        let path = target.path.clone().unwrap_or(path);
        let Some(top) = self.top else {
            let (body, plan) = (self.body.clone(), ReplyPlan::default());
            return Ok(Encoded { path, body, has_files: false, reranks: false, plan });
        };
        if !self.inlined
            && self.api_request.endpoint.dialect().is_some_and(|dialect| dialect.dialect().names_urls(top))
            && !fetches_urls(provider, model)
        {
            // The file at the URL must be fetched and written into the body: see `translate`.
            return Err(Refusal::Translation);
        }
        let Adapted { edits: adapted, mut dropped } = self.adapt(target, model, top)?;
        for name in provider.unsupported_headers(self.api_request, top, self.headers) {
            // A feature that the body uses nevertheless is refused by the provider.
            dropped.add_hint(name);
        }
        let mut splice = Splice::new(top);
        if provider.model_in_body(self.api_request) {
            match model {
                Some(model) if self.api_request.model.as_deref() != Some(model) => splice.set_str("model", model),
                // If the field is there twice, the last one counts here, but the provider may read the first.
                Some(model) if top.members().iter().filter(|m| m.is("model")).count() > 1 => {
                    splice.set_str("model", model);
                }
                None if self.api_request.endpoint.needs_model() => return Err(Refusal::ModelMissing),
                Some(_) | None => {}
            }
        }
        let mut own: SmallVec<[&str; 8]> = SmallVec::from_slice(&["model", "stream", "stream_options"]);
        for (name, value) in provider.body_edits(self.api_request, top, self.headers) {
            own.push(name);
            match value {
                Some(value) => splice.set(name, value),
                None => splice.remove(name),
            }
        }
        if self.inlined {
            own.push("messages");
        }
        for (name, value) in &adapted {
            own.push(name);
            match value {
                Some(value) => splice.set(name, &**value),
                None => splice.remove(name),
            }
        }
        // It is removed, not refused: servers that distinguish case ignore it, and the request is valid for them.
        splice.remove_variants(&own);
        let unwrap = provider.framing(self.api_request) == Framing::WrappedEvents;
        let mut hide_usage = false;
        if provider.asks_for_usage()
            && let Some(options) = self.api_request.dialect.dialect().usage_option(self.api_request, top)
        {
            splice.set("stream_options", options);
            hide_usage = true;
        }
        Ok(Encoded {
            path,
            body: splice.apply(self.body),
            has_files: self.inlined,
            reranks: self.api_request.endpoint.reranks(),
            plan: ReplyPlan {
                hide_usage,
                unwrap,
                errors: self.errors(target, model),
                shown_model: self.shown_model(model),
                dropped,
                ..ReplyPlan::default()
            },
        })
    }

    /// Path and body for a target of another dialect. `files` are those that were fetched for this request.
    ///
    /// # Errors
    /// When there is no such translation, or the target can't accept this.
    pub async fn translate(
        &self,
        files: &mut Files,
        target: &Target,
        strict: Strictness,
        fetcher: &Fetcher,
    ) -> Result<Encoded, ProxyError> {
        let provider = &*target.provider;
        let refused = |refusal| refused(refusal, self.api_request, provider.info().name);
        let model = target.model_for(self.api_request);
        let (Some(dialect), Some(top)) = (self.api_request.endpoint.dialect(), self.top) else {
            return Err(refused(Refusal::Translation));
        };
        let facts = target.models.facts(model);
        let (tools, hosted) = (dialect.dialect().offers_tools(top), dialect.dialect().offers_hosted(top));
        let needs = TranslationNeeds { model, facts, tools, hosted };
        let (to, quirks) = provider.translation(&needs).ok_or_else(|| refused(Refusal::Translation))?;
        let may_lack = target.may_lack(&self.api_request.endpoint, Instant::now());
        let native = self.is_native(target, model) && !may_lack && !self.needs_responses(dialect, to, &needs);
        if to == dialect || native {
            return self.inline(dialect, top, files, target, fetcher).await;
        }
        let model = model.ok_or_else(|| refused(Refusal::ModelMissing))?;
        let native = native_request(to, self.api_request.stream != StreamMode::No, model);
        let path = provider.path(&native, Some(model), None).map_err(refused)?;
        let read = || ParsedRequest::read(dialect, self.api_request, top);
        let mut parsed = heavy::run(self.body.len(), read).await?;
        parsed.inline(quirks, files, fetcher).await?;
        let head = translate::head(self.api_request, model, dialect.dialect().requests_usage(top));
        // This also drops `parsed`, which takes as long as writing it.
        let (size, has_files) = (parsed.size(), parsed.has_files());
        let shown = self.shown_model(Some(model));
        let write = move || -> Result<_, ProxyError> {
            let extra = provider.extra_body_fields(&native);
            let destination = Destination { model, facts, quirks };
            let (body, dropped) = parsed.write(to, &destination, extra, strict)?;
            Ok((body, parsed.back(to, native.stream, dropped, head).showing(shown)))
        };
        let (body, back) = heavy::run(size, write).await?;
        let plan = ReplyPlan { translation: Some(Box::new(back)), ..ReplyPlan::default() };
        Ok(Encoded { path: target.path.clone().unwrap_or(path), body, has_files, reranks: false, plan })
    }

    /// Path and body for a target that uses the client's dialect and fetches nothing: files that the client names by
    /// URL are written into the body, which is otherwise unchanged.
    async fn inline(
        &self,
        dialect: DialectId,
        top: &TopLevel<'_>,
        files: &mut Files,
        target: &Target,
        fetcher: &Fetcher,
    ) -> Result<Encoded, ProxyError> {
        let links = dialect.dialect().links(top);
        let wanted: Vec<Wanted> =
            links.iter().map(|link| Wanted { place: link.place.clone(), url: link.url.clone() }).collect();
        let mut size = self.body.len();
        files.fetch(&wanted, &mut size, fetcher).await?;
        let file = |url: &str| files.get(url).map(|file| (&*file.mime, &*file.base64));
        let write = || {
            let written = dialect
                .dialect()
                .write_linked(top, &links, &file)
                .map_err(|link| media::bad(&link.place, "its type is none that the provider takes"))?;
            let mut splice = Splice::new(top);
            if let Some((field, value)) = written {
                splice.set(field, value);
            }
            let body = splice.apply(self.body);
            let top = TopLevel::scan(&body).map_err(|error| ProxyError::new(ErrorKind::BadBody, error.to_string()))?;
            let request = ClientRequest { body: &body, top: Some(&top), inlined: true, ..*self };
            let encoded = request.encode(target);
            encoded.map_err(|refusal| refused(refusal, self.api_request, target.provider.info().name))
        };
        heavy::run(size, write).await
    }
}

impl Caller<'_> {
    /// Headers for `target`, with its credential; `token` is the result of [`Credential::token`]. Requests that need a
    /// signature are not signed yet: see [`sign`].
    ///
    /// # Errors
    /// When the route passes the client's key on and the client sent none, or a token can't be a header.
    pub fn headers(&self, target: &Target, encoded: &Encoded, token: Option<&Token>) -> Result<HeaderMap, ProxyError> {
        let translated = encoded.plan.translation.is_some();
        let inner =
            encoded.plan.wrapped.as_ref().map(|wrapped| ClientHeaders { all: &wrapped.headers, ..self.headers });
        let mut out = inner.unwrap_or(self.headers).to_provider(&target.forwarded, translated);
        if translated {
            out.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        out.insert(header::HOST, target.pool_for(encoded.reranks).host().clone());
        // Replies are read as they are relayed; without this header any coding would be allowed.
        out.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        match &target.credential {
            Credential::Fixed(name, value) => {
                out.insert(name.clone(), value.clone());
            }
            Credential::Passthrough { header: name, prefix } => {
                let missing = || {
                    let message =
                        "no API key: send yours in the Authorization, x-api-key, api-key or x-goog-api-key header";
                    ProxyError::new(ErrorKind::NoCredential, message)
                };
                let key = headers::client_credential(self.headers.all, self.query).ok_or_else(missing)?;
                let mut value = HeaderValue::try_from(format!("{prefix}{key}")).map_err(|_| missing())?;
                value.set_sensitive(true);
                out.insert(name.clone(), value);
            }
            Credential::Fetched { header: name, prefix, .. } => {
                // Fails closed: without its token a request must not be sent.
                let Some(Token::Bearer(token)) = token else { return Err(unusable("it is not a bearer token")) };
                let mut value = HeaderValue::try_from(format!("{prefix}{}", token.expose_secret()))
                    .map_err(|_| unusable("it can't be a header"))?;
                value.set_sensitive(true);
                out.insert(name.clone(), value);
            }
            Credential::Aws { .. } => {}
        }
        if !encoded.body.is_empty() {
            out.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        target.provider.complete_headers(&mut out);
        Ok(out)
    }
}

fn fetches_urls(provider: &dyn Provider, model: Option<&str>) -> bool {
    provider.translation(&TranslationNeeds::plain(model)).is_none_or(|(_, quirks)| quirks.fetches.any())
}

/// Signs a request whose path, headers and body are final, if `target` requires a signature.
///
/// # Errors
/// When there are no keys to sign with, or a header can't be signed.
#[expect(clippy::disallowed_methods, reason = "a signature holds the time of its making")]
pub fn sign(
    target: &Target,
    method: &Method,
    path: &PathAndQuery,
    body: &[u8],
    token: Option<&Token>,
    headers: &mut HeaderMap,
) -> Result<(), ProxyError> {
    let Credential::Aws { region, .. } = &target.credential else { return Ok(()) };
    let Some(Token::Aws(keys)) = token else { return Err(unusable("it is no key of AWS")) };
    let request = upstream::Unsigned { method, path, body, region };
    upstream::sign(request, headers, keys, SystemTime::now()).map_err(|why| unusable(&why))
}

/// The error for a credential that was fetched, but can't be sent.
fn unusable(why: &str) -> ProxyError {
    let message = "the gateway has no valid credential for the upstream at the moment";
    ProxyError::with_cause(ErrorKind::CredentialUnavailable, message, format!("the credential can't be used: {why}"))
}

/// The error for a target that can't accept a request.
pub fn refused(refusal: Refusal, api_request: &ApiRequest, provider: &str) -> ProxyError {
    match refusal {
        Refusal::Translation if matches!(api_request.endpoint, Endpoint::ResponseResource(_)) => ProxyError::new(
            ErrorKind::BadRequest,
            "stored responses are kept by OpenAI and Azure OpenAI only; this route's provider keeps none",
        ),
        Refusal::Translation if api_request.endpoint == Endpoint::CompactResponse => ProxyError::new(
            ErrorKind::BadRequest,
            "this route's provider can't compact a conversation: shorten it, or request a summary of it from the model",
        ),
        Refusal::Translation => ProxyError::with_cause(
            ErrorKind::NotImplemented,
            "this route's provider has no such endpoint, and none that replaces it",
            format!(
                "{provider} has nothing for {} of the {} API",
                api_request.endpoint.operation(),
                api_request.dialect.dialect().api()
            ),
        ),
        Refusal::Endpoint(message) => ProxyError::new(ErrorKind::NoEndpoint, message),
        Refusal::ModelMissing => {
            ProxyError::new(ErrorKind::NoModel, "no model: name one in the request, or in the Backend")
        }
        Refusal::ModelInvalid => ProxyError::new(ErrorKind::BadRequest, "the model's name can't be part of a URL"),
    }
}
