//! The configuration that requests read: one immutable snapshot, compiled ahead, shared by all requests of its
//! generation.

mod backend;
mod choice;
mod debug;
mod hosts;
mod order;
mod paths;
mod rule;
mod tls;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
pub use backend::{
    AiBackend, AiUse, Backend, Credential, Endpoint, HttpBackend, SigningKeys, Split, Strictness, Target, TargetModels,
    WeightedBackend,
};
pub use choice::{Choice, HashPolicy, KeySource, Listed};
pub use debug::to_json;
pub use hosts::{HostIndex, HostPattern};
pub use order::{Order, Pick};
pub use paths::{
    Conditions, MODEL_HEADERS, NeedsModel, PathPattern, PathTable, Precedence, RequestModel, RequestView, ValuePattern,
};
pub use rule::{Action, PathRewrite, Redirect, Rewrite, Rule, RuleLabels, UnavailableReason};
use rustls::ServerConfig;
pub use tls::TlsTable;

/// The place that holds the current snapshot.
pub type Snapshots = ArcSwap<Snapshot>;

/// The whole configuration of one moment.
#[derive(Default)]
pub struct Snapshot {
    /// Incremented with each compile; 0 is the empty snapshot before the first.
    pub generation: u64,
    /// The listeners, by the port that is bound.
    pub ports: BTreeMap<u16, Port>,
}

/// One bound port.
#[derive(Default)]
pub struct Port {
    /// TLS, with certificates by server name; `None` is plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// Listeners by host name. A request belongs to the most specific listener alone.
    pub listeners: HostIndex<Listener>,
}

/// One listener of a Gateway.
pub struct Listener {
    /// The Gateway, as `namespace/name`: a metric label.
    pub gateway: Arc<str>,
    /// The listener's name.
    pub name: String,
    /// Rules by host name.
    pub routes: HostIndex<PathTable>,
}

impl Default for Listener {
    fn default() -> Self {
        Self { gateway: Arc::from(""), name: String::new(), routes: HostIndex::default() }
    }
}

/// A rule that a request matches.
#[derive(Clone)]
pub struct Matched {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Length in bytes of the part of the path that a prefix match covers; the whole path for other matches.
    pub matched: usize,
}

/// Where routing ended.
pub enum Routed<'a> {
    /// At a rule.
    Rule(Matched),
    /// The listener has no rule for this request.
    NoRule(&'a Listener),
    /// No listener on this port has this host.
    NoListener,
    /// The model decides, which the view does not have.
    NeedsModel,
}

impl Snapshot {
    /// Whether a request for `host` came over a connection for another listener of `port`, whose name was
    /// `server_name` (RFC 9110, section 7.4).
    pub fn is_misdirected(&self, port: u16, server_name: &str, host: &str) -> bool {
        let Some(port) = self.ports.get(&port) else { return false };
        let listener = |name: &str| port.listeners.matching(name).next().map(std::ptr::from_ref::<Listener>);
        match (listener(server_name), listener(host)) {
            (Some(of_connection), Some(of_request)) => of_connection != of_request,
            _ => false,
        }
    }

    /// The rule for `request` on `port`.
    ///
    /// Among rules, the host name that matches most specifically has precedence, then the path, then method, headers
    /// and query parameters, then the older route: the Gateway API's precedence.
    pub fn route<'a>(&'a self, port: u16, request: &RequestView<'a>) -> Routed<'a> {
        let Some(listener) = self.ports.get(&port).and_then(|p| p.listeners.matching(request.host).next()) else {
            return Routed::NoListener;
        };
        for table in listener.routes.matching(request.host) {
            match table.find(request) {
                Ok(Some(matched)) => return Routed::Rule(matched),
                Ok(None) => {}
                Err(NeedsModel) => return Routed::NeedsModel,
            }
        }
        Routed::NoRule(listener)
    }

    /// The rules that `request` would match with one model or another, in the order of precedence, up to the first that
    /// does not depend on it.
    pub fn by_model<'a>(&'a self, port: u16, request: &RequestView<'a>) -> Vec<(&'a Conditions, Matched)> {
        let listener = self.ports.get(&port).and_then(|p| p.listeners.matching(request.host).next());
        let mut rules: Vec<(&Conditions, Matched)> = Vec::new();
        for table in listener.into_iter().flat_map(|listener| listener.routes.matching(request.host)) {
            rules.extend(table.by_model(request));
            if rules.last().is_some_and(|(conditions, _)| conditions.model.is_empty()) {
                break;
            }
        }
        rules
    }
}
