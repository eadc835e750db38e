//! Where requests are sent: compiled backends.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use http::{HeaderName, HeaderValue, uri::PathAndQuery};

use super::{HeaderEdits, UnavailableReason};
use crate::{
    dialect::{DialectId, Endpoint},
    provider::Provider,
    telemetry::{requests::RouteMetrics, tokens::ModelCache},
    upstream::{AwsKeys, CredentialError, Pool, Token, credentials::Handle},
};

/// How a target is authenticated to.
pub enum Credential {
    /// With the gateway's own key: a ready header, marked sensitive so that nothing prints it.
    Fixed(HeaderName, HeaderValue),
    /// With the client's key, put where the provider wants it.
    Passthrough {
        /// The header.
        header: HeaderName,
        /// What stands before the key.
        prefix: String,
    },
    /// With a token that is fetched ahead of its expiry.
    Fetched {
        /// The token.
        handle: Arc<Handle>,
        /// The header.
        header: HeaderName,
        /// What stands before the token.
        prefix: String,
    },
    /// With a signature of AWS, made for each request.
    Aws {
        /// What signs.
        keys: SigningKeys,
        /// The region of the endpoint.
        region: String,
    },
}

/// The keys of AWS that sign requests.
pub enum SigningKeys {
    /// Keys that stay as they are.
    Fixed(Arc<Token>),
    /// Keys that are fetched ahead of their expiry.
    Fetched(Arc<Handle>),
}

impl SigningKeys {
    /// Keys that stay as they are.
    pub fn fixed(keys: AwsKeys) -> Self {
        Self::Fixed(Arc::new(Token::Aws(keys)))
    }
}

impl Credential {
    /// What has to be at hand before a request can be built: at once, unless it is being fetched. `None` where nothing
    /// has to.
    ///
    /// # Errors
    /// When what is fetched can't be, at the moment.
    pub async fn token(&self) -> Result<Option<Arc<Token>>, CredentialError> {
        match self {
            Self::Fixed(..) | Self::Passthrough { .. } => Ok(None),
            Self::Aws { keys: SigningKeys::Fixed(token), .. } => Ok(Some(Arc::clone(token))),
            Self::Fetched { handle, .. } | Self::Aws { keys: SigningKeys::Fetched(handle), .. } => {
                handle.current().await.map(Some)
            }
        }
    }

    /// Why there is none at the moment, where it is fetched.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Fixed(..) | Self::Passthrough { .. } | Self::Aws { keys: SigningKeys::Fixed(_), .. } => None,
            Self::Fetched { handle, .. } | Self::Aws { keys: SigningKeys::Fetched(handle), .. } => handle.problem(),
        }
    }
}

/// One provider entry of a Backend, ready to be asked.
pub struct Target {
    /// The entry's name within its Backend.
    pub name: String,
    /// Who answers.
    pub provider: Box<dyn Provider>,
    /// Connections.
    pub pool: Arc<Pool>,
    /// Replaces the provider's path, whatever is asked.
    pub path: Option<PathAndQuery>,
    /// How to authenticate.
    pub credential: Credential,
}

/// An AI Backend.
pub struct AiBackend {
    /// `namespace/name`: a metric label.
    pub name: Arc<str>,
    /// Whose dialect the first target speaks: settles what a request leaves open.
    pub dialect: DialectId,
    /// Targets by priority; no group is empty.
    pub groups: Vec<Vec<Target>>,
    /// Refuse what can't be carried to a target's dialect, instead of leaving it out.
    pub strict: bool,
    /// What requests mean by their path's end, as the Backend lists it.
    pub routes: Vec<(String, Endpoint)>,
    cursor: AtomicUsize,
}

impl AiBackend {
    /// A backend of these groups, none of them empty.
    pub fn new(
        name: Arc<str>,
        dialect: DialectId,
        groups: Vec<Vec<Target>>,
        strict: bool,
        routes: Vec<(String, Endpoint)>,
    ) -> Self {
        Self { name, dialect, groups, strict, routes, cursor: AtomicUsize::new(0) }
    }

    /// The order in which targets are tried: group by group, each begun at the next target in turn. Gives group,
    /// index and target.
    pub fn order(&self) -> impl Iterator<Item = (usize, usize, &Target)> {
        let turn =
            if self.groups.iter().all(|g| g.len() < 2) { 0 } else { self.cursor.fetch_add(1, Ordering::Relaxed) };
        self.groups.iter().enumerate().flat_map(move |(group, targets)| {
            let start = turn.checked_rem(targets.len()).unwrap_or(0);
            let turned = targets.iter().enumerate().skip(start).chain(targets.iter().enumerate().take(start));
            turned.map(move |(index, target)| (group, index, target))
        })
    }
}

/// A Backend as one rule uses it: the shared part, and metric handles of this rule.
pub struct AiUse {
    /// The shared part.
    pub backend: Arc<AiBackend>,
    /// Token metrics by group and target.
    pub models: Vec<Vec<Arc<ModelCache>>>,
}

/// A plain HTTP backend: a Service or a `static` Backend.
pub struct HttpBackend {
    /// `namespace/name`: a metric label.
    pub name: Arc<str>,
    /// One pool an endpoint; not empty.
    pub endpoints: Vec<Arc<Pool>>,
    cursor: AtomicUsize,
}

impl HttpBackend {
    /// A backend of these endpoints.
    pub fn new(name: Arc<str>, endpoints: Vec<Arc<Pool>>) -> Self {
        Self { name, endpoints, cursor: AtomicUsize::new(0) }
    }

    /// The next endpoint in turn.
    pub fn next(&self) -> Option<&Arc<Pool>> {
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed);
        self.endpoints.get(turn.checked_rem(self.endpoints.len())?)
    }
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
    /// Where to.
    pub backend: Backend,
    /// Edits of the request's headers for this backend.
    pub request_headers: HeaderEdits,
    /// Edits of the reply's headers for this backend.
    pub response_headers: HeaderEdits,
    /// Counters of this rule and backend.
    pub metrics: Arc<RouteMetrics>,
}

/// Backends that share a rule's traffic by weight.
pub struct Split {
    backends: Vec<WeightedBackend>,
    total: u32,
    cursor: AtomicU32,
}

impl Split {
    /// A split over `backends`; those with weight 0 get nothing.
    pub fn new(backends: Vec<WeightedBackend>) -> Self {
        let total = backends.iter().fold(0u32, |sum, b| sum.saturating_add(b.weight));
        Self { backends, total, cursor: AtomicU32::new(0) }
    }

    /// The next backend, with its number. Shares are met closely over any run of requests, not only on average: the turns are spread
    /// by the golden ratio.
    pub fn choose(&self) -> Option<(usize, &WeightedBackend)> {
        if let [only] = self.backends.as_slice() {
            return (only.weight > 0).then_some((0, only));
        }
        let turn = self.cursor.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9);
        // The high half of the product maps the full range evenly onto 0..total.
        let mut point = u32::try_from((u64::from(turn) * u64::from(self.total)) >> 32).unwrap_or(0);
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
