//! Where requests are sent: compiled backends.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderName, HeaderValue, Response, uri::PathAndQuery};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{Choice, UnavailableReason};
use crate::{
    dialect::{self, ApiRequest, DialectId, Endpoint as ApiEndpoint, ListedPath, ModelFacts, ModelTable},
    policy::{Policies, hedge::Hedge, timeouts::FirstToken},
    provider::{Fit, Forwarded, ModelNames, Provider, resolve_model},
    telemetry::{requests::RouteMetrics, tokens::ModelCache},
    upstream::{
        AwsKeys, CredentialError, Pool, ReplyBody, Token,
        balance::{HasApi, Probe, RetryBudget, ServerState, TargetState, Turns, Wait, load::Load},
        credentials::Handle,
        failure::Verdict,
    },
};

/// How a target is authenticated to.
pub enum Credential {
    /// With the gateway's own key: a ready header, marked sensitive so that it is never printed.
    Fixed(HeaderName, HeaderValue),
    /// With the client's key, in the header that the provider expects.
    Passthrough {
        /// The header.
        header: HeaderName,
        /// The prefix of the key.
        prefix: String,
    },
    /// With a token that is renewed before its expiry.
    Fetched {
        /// The token.
        handle: Arc<Handle>,
        /// The header.
        header: HeaderName,
        /// The prefix of the token.
        prefix: String,
    },
    /// With a signature of AWS, made for each request.
    Aws {
        /// The keys that sign.
        keys: SigningKeys,
        /// The region of the endpoint.
        region: String,
    },
}

/// The keys of AWS that sign requests.
pub enum SigningKeys {
    /// Static keys.
    Fixed(Arc<Token>),
    /// Keys that are renewed before their expiry.
    Fetched(Arc<Handle>),
}

impl SigningKeys {
    /// Static keys.
    pub fn fixed(keys: AwsKeys) -> Self {
        Self::Fixed(Arc::new(Token::Aws(keys)))
    }
}

impl Credential {
    /// The credential that a request needs before it can be built; it waits while one is being fetched. `None` where
    /// none is needed.
    ///
    /// # Errors
    /// When the credential can't be fetched at the moment.
    pub async fn token(&self) -> Result<Option<Arc<Token>>, CredentialError> {
        match self {
            Self::Fixed(..) | Self::Passthrough { .. } => Ok(None),
            Self::Aws { keys: SigningKeys::Fixed(token), .. } => Ok(Some(Arc::clone(token))),
            Self::Fetched { handle, .. } | Self::Aws { keys: SigningKeys::Fetched(handle), .. } => {
                handle.current().await.map(Some)
            }
        }
    }

    /// The credential that replaces `refused`, if it is one that is fetched: see [`Handle::replacement`].
    pub async fn replacement(&self, refused: &Arc<Token>) -> Option<Arc<Token>> {
        match self {
            Self::Fixed(..) | Self::Passthrough { .. } | Self::Aws { keys: SigningKeys::Fixed(_), .. } => None,
            Self::Fetched { handle, .. } | Self::Aws { keys: SigningKeys::Fetched(handle), .. } => {
                handle.replacement(refused).await
            }
        }
    }

    /// Whether it is the gateway's own credential, which clients do not supply.
    pub const fn is_own(&self) -> bool {
        !matches!(self, Self::Passthrough { .. })
    }

    /// Whether requests are signed with it, from their first byte to the last.
    pub const fn signs(&self) -> bool {
        matches!(self, Self::Aws { .. })
    }

    /// The reason why a fetched credential is missing at the moment.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Fixed(..) | Self::Passthrough { .. } | Self::Aws { keys: SigningKeys::Fixed(_), .. } => None,
            Self::Fetched { handle, .. } | Self::Aws { keys: SigningKeys::Fetched(handle), .. } => handle.problem(),
        }
    }
}

/// One provider entry of a Backend, ready for requests.
pub struct Target {
    /// The entry's name within its Backend.
    pub name: String,
    /// The hash of the name, with which it draws for keys.
    pub name_hash: u64,
    /// Its share of the requests of its group, relative to others; not 0.
    pub weight: u32,
    /// The provider.
    pub provider: Box<dyn Provider>,
    /// Connections.
    pub pool: Arc<Pool>,
    /// Connections to the host that ranks documents, where that is another one.
    pub rerank_pool: Option<Arc<Pool>>,
    /// The path that replaces the provider's, for every endpoint.
    pub path: Option<PathAndQuery>,
    /// How to authenticate.
    pub credential: Credential,
    /// The parts of a client's headers and query that are forwarded to it.
    pub forwarded: Forwarded,
    /// What its models accept.
    pub models: TargetModels,
    /// The models that it serves, where its Backend selects targets by the client's model.
    pub names: Option<ModelNames>,
    /// Its state from earlier attempts.
    pub state: Arc<TargetState>,
    /// What they have shown about its server.
    pub server: Arc<ServerState>,
}

impl Target {
    /// The connections for requests that rank documents, or for all others.
    pub fn pool_for(&self, reranks: bool) -> &Arc<Pool> {
        self.rerank_pool.as_ref().filter(|_| reranks).unwrap_or(&self.pool)
    }

    /// The model that `request` gets here: of an alias the provider's name, else as [`resolve_model`] has it.
    pub fn model_for<'a>(&'a self, request: &'a ApiRequest) -> Option<&'a str> {
        let alias = || self.names.as_ref()?.alias(request.model.as_deref()?);
        alias().or_else(|| resolve_model(&*self.provider, request))
    }

    /// How well a model that a client names fits the models that are listed for it.
    pub fn fit(&self, model: &str) -> Option<Fit> {
        self.names.as_ref()?.fit(model)
    }

    /// Whether its provider has models that the Backend does not name.
    pub fn is_open(&self) -> bool {
        self.provider.model().is_none() && self.names.as_ref().is_none_or(ModelNames::has_patterns)
    }

    /// Whether it is unknown that the server has this endpoint, so that a 404 or 405 may mean that it does not.
    pub fn may_lack(&self, endpoint: &dialect::Endpoint, now: Instant) -> bool {
        // With one path for every endpoint, all of them are at the same server's one endpoint.
        self.path.is_none() && self.provider.may_lack(endpoint) && self.server.has_responses(now).is_none()
    }

    /// Whether earlier replies have shown that the server does not have this endpoint.
    pub fn lacks(&self, endpoint: &dialect::Endpoint, now: Instant) -> bool {
        self.provider.may_lack(endpoint) && self.server.has_responses(now) == Some(HasApi::No)
    }
}

impl Target {
    /// What its reply means, if it is an error.
    pub fn judge(&self, reply: &Response<ReplyBody>, now: SystemTime) -> Option<Verdict> {
        let (dialect, own_key) = (self.provider.info().dialect, self.credential.is_own());
        Verdict::of_reply(reply.status(), reply.headers(), reply.body().begun(), dialect, own_key, now)
    }
}

/// What the models of one target accept.
pub struct TargetModels {
    /// The facts about all models.
    pub table: Arc<ModelTable>,
    /// The provider's name in Backends.
    pub provider: &'static str,
    /// The model whose facts hold, where the name that the provider has for it is free text.
    pub named: Option<String>,
}

impl TargetModels {
    /// The facts about `model`, as the provider names it.
    pub fn facts(&self, model: Option<&str>) -> ModelFacts {
        self.facts_of_name(self.named.as_deref().or(model).unwrap_or_default())
    }

    /// The facts about a model that a client names, whatever model it gets.
    pub fn facts_of_name(&self, model: &str) -> ModelFacts {
        self.table.facts(model, self.provider)
    }
}

/// Which unsupported fields of a request make a Backend refuse it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// None: they are left out.
    #[default]
    None,
    /// Those that are more than hints.
    Losses,
    /// All of them.
    All,
}

/// An AI Backend.
pub struct AiBackend {
    /// `namespace/name`: a metric label.
    pub name: Arc<str>,
    /// The first target's dialect, for requests whose dialect is ambiguous.
    pub dialect: DialectId,
    /// Targets by priority; no group is empty.
    pub groups: Vec<Vec<Target>>,
    /// The model that a client names selects among the targets, all of which have [`Target::names`].
    pub by_model: bool,
    /// Which requests with unsupported fields are refused, instead of dropping the fields.
    pub strict: Strictness,
    /// How long the first content of a stream may take, unless a rule has another bound.
    pub first_token: Option<FirstToken>,
    /// Kinds of requests by their path, as the Backend lists them.
    pub routes: Vec<ListedPath>,
    /// How targets are chosen inside a group.
    pub choice: Choice,
    /// The next target of each group.
    pub turns: Arc<Turns>,
    /// When a second target gets a request that is under way.
    pub hedge: Option<Hedge>,
    /// Its retries that are under way.
    pub retries: Arc<RetryBudget>,
    /// Its hedges that are under way.
    pub hedges: Arc<RetryBudget>,
    /// Its requests, and those that wait, where they are limited.
    pub load: Option<Arc<Load>>,
}

impl AiBackend {
    /// Attempts that are under way, at all targets.
    pub fn in_flight(&self) -> u32 {
        in_flight(self.groups.iter().flatten().map(|target| &*target.state))
    }

    /// The model by which `request` selects among the targets, if it does.
    pub fn selecting_model<'a>(&self, request: &'a ApiRequest) -> Option<&'a str> {
        let named = match &request.endpoint {
            ApiEndpoint::Models(one) => one.as_deref(),
            _ => request.model.as_deref(),
        };
        named.filter(|_| self.by_model)
    }

    /// Whether any target serves `model`.
    pub fn serves(&self, model: &str) -> bool {
        self.groups.iter().flatten().any(|target| target.fit(model).is_some())
    }
}

/// A Backend as one rule uses it: the shared part, and metric handles of this rule.
pub struct AiUse {
    /// The shared part.
    pub backend: Arc<AiBackend>,
    /// Token metrics by group and target.
    pub models: Vec<Vec<Arc<ModelCache>>>,
}

/// One address of a plain HTTP backend.
pub struct Endpoint {
    /// Connections.
    pub pool: Arc<Pool>,
    /// Its state from earlier attempts.
    pub state: Arc<TargetState>,
}

impl Endpoint {
    /// Whether a request may be sent to it before others, perhaps as a probe.
    fn admit(&self) -> Result<Option<Probe>, Wait> {
        if self.state.health().is_troubled() { self.state.admit("", false, Instant::now()) } else { Ok(None) }
    }
}

/// A plain HTTP backend: a Service or a `static` Backend.
pub struct HttpBackend {
    /// `namespace/name`: a metric label.
    pub name: Arc<str>,
    /// Its endpoints; not empty.
    pub endpoints: Vec<Endpoint>,
    /// The next endpoint.
    pub turns: Arc<Turns>,
    /// Its retries that are under way.
    pub retries: Arc<RetryBudget>,
    /// Its requests, and those that wait, where they are limited.
    pub load: Option<Arc<Load>>,
}

impl HttpBackend {
    /// Attempts that are under way, at all endpoints.
    pub fn in_flight(&self) -> u32 {
        in_flight(self.endpoints.iter().map(|endpoint| &*endpoint.state))
    }

    /// The order in which endpoints are tried, begun at the next one in turn. Those to which no connection could be
    /// made lately come last, and of them first the one that is left alone for the shortest time.
    pub fn order(&self) -> impl Iterator<Item = (&Endpoint, Option<Probe>)> {
        let start = self.turns.next_of(self.endpoints.len()).unwrap_or(0);
        let mut turned = self.endpoints.iter().cycle().skip(start).take(self.endpoints.len());
        let mut last: SmallVec<[(Instant, &Endpoint); 4]> = SmallVec::new();
        std::iter::from_fn(move || {
            for endpoint in turned.by_ref() {
                match endpoint.admit() {
                    Ok(probe) => return Some((endpoint, probe)),
                    Err(wait) => last.push((wait.until, endpoint)),
                }
            }
            let soonest = last.iter().enumerate().min_by_key(|(_, (until, _))| *until).map(|(at, _)| at)?;
            Some((last.swap_remove(soonest).1, None))
        })
    }
}

fn in_flight<'a>(states: impl Iterator<Item = &'a TargetState>) -> u32 {
    states.fold(0, |sum, state| sum.saturating_add(state.in_flight()))
}

/// Where a request may be sent.
pub enum Backend {
    /// To an LLM provider.
    Ai(AiUse),
    /// To a plain HTTP server.
    Http(Arc<HttpBackend>),
    /// Nowhere, for this reason.
    Unavailable(UnavailableReason),
}

/// A backend with its share of the traffic.
pub struct WeightedBackend {
    /// `namespace/name`: a metric label.
    pub name: Arc<str>,
    /// Its share, out of the sum of all.
    pub weight: u32,
    /// The destination.
    pub backend: Backend,
    /// Policies of requests that reach it by this reference.
    pub policies: Policies,
    /// Counters of this rule and backend.
    pub metrics: Arc<RouteMetrics>,
}

/// Backends that share a rule's traffic by weight.
pub struct Split {
    backends: Vec<WeightedBackend>,
    total: u32,
    turns: Arc<Turns>,
}

impl Split {
    /// A split over `backends`; those with weight 0 get no requests. `turns` chooses the next.
    pub fn new(backends: Vec<WeightedBackend>, turns: Arc<Turns>) -> Self {
        let total = backends.iter().fold(0u32, |sum, b| sum.saturating_add(b.weight));
        Self { backends, total, turns }
    }

    /// The next backend, with its number.
    pub fn choose(&self) -> Option<(usize, &WeightedBackend)> {
        if let [only] = self.backends.as_slice() {
            return (only.weight > 0).then_some((0, only));
        }
        let mut point = self.turns.next_point(self.total);
        for (number, backend) in self.backends.iter().enumerate() {
            if point < backend.weight {
                return Some((number, backend));
            }
            point -= backend.weight;
        }
        None
    }

    /// All backends.
    pub fn backends(&self) -> &[WeightedBackend] {
        &self.backends
    }
}
