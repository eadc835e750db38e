//! The request path inside the process: policies of tests, and upstreams that a test controls.

mod attempts;
mod files;
mod filters;
mod health;
mod policies;

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::{
    Settings, Shared, handler,
    peer::{Arrival, Peer},
    websocket::Handover,
};
use crate::{
    compile::{self, Controller, Env, PodIdentity, Scope},
    policy::Policies,
    snapshot::{
        Action, AiUse, Backend, HostPattern, Listener, PathPattern, Precedence, RequestModel, RequestView, Routed,
        Rule, Snapshot, Split, WeightedBackend,
    },
    source::file::{self, LoadOptions},
    telemetry::Metrics,
    upstream::{
        Credentials, Dialer, DialerOptions, Pools,
        balance::{AttemptOutcome, TargetState},
    },
};

/// The port of the one listener.
const PORT: u16 = 8080;

/// A data plane with one rule at `/`, called without a socket.
struct Plane {
    router: Router,
    shared: Arc<Shared>,
    rule: Arc<Rule>,
}

/// The provider entry of an upstream with `OpenAI`'s API.
const OPENAI: &str = "openai: {authToken: {kind: Inline, inline: key}}";

/// Manifests of a Gateway with one route to a Backend with this `provider` at each address.
fn manifests(provider: &str, upstreams: &[SocketAddr]) -> String {
    let entries = upstreams.iter().enumerate().map(|(index, address)| {
        format!("{{name: t{index}, {provider}, host: {}, port: {}}}", address.ip(), address.port())
    });
    let groups: Vec<String> = entries.map(|entry| format!("{{providers: [{entry}]}}")).collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: gw}}\n\
         spec: {{gatewayClassName: tollgate, listeners: [{{name: http, port: {PORT}, protocol: HTTP}}]}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\n\
         spec: {{parentRefs: [{{name: gw}}], rules: [{{backendRefs: \
         [{{name: b, group: gateway.kgateway.dev, kind: Backend}}]}}]}}\n---\n\
         apiVersion: gateway.kgateway.dev/v1alpha1\nkind: Backend\nmetadata: {{name: b}}\n\
         spec: {{type: AI, ai: {{priorityGroups: [{}]}}}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: aws}}\n\
         stringData: {{accessKey: AKID, secretKey: secret-key}}\n",
        groups.join(", ")
    )
}

impl Plane {
    /// A plane whose rule is changed by `edit`, in front of these upstreams, which have `OpenAI`'s API.
    fn new(upstreams: &[SocketAddr], edit: impl FnOnce(&mut Rule)) -> Self {
        Self::with(OPENAI, upstreams, edit)
    }

    /// The same plane, with this provider.
    fn with(provider: &str, upstreams: &[SocketAddr], edit: impl FnOnce(&mut Rule)) -> Self {
        let settings = Settings { idle_timeout: Duration::from_millis(300), ..Settings::default() };
        Self::with_settings(provider, upstreams, settings, edit)
    }

    /// The same, with these settings.
    fn with_settings(
        provider: &str,
        upstreams: &[SocketAddr],
        settings: Settings,
        edit: impl FnOnce(&mut Rule),
    ) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let pools = Arc::new(Pools::new(Dialer::new(DialerOptions::default())));
        let credentials =
            Arc::new(Credentials::new(Arc::clone(&pools), Arc::clone(&metrics), Arc::new(|_: &str| None)));
        let env = Env {
            metrics: Arc::clone(&metrics),
            pools,
            balance: Arc::default(),
            credentials,
            health: tokio::sync::watch::channel(Arc::default()).1,
            models: tokio::sync::watch::channel(crate::dialect::ModelTable::built_in()).1,
            scope: Scope::Files,
            controller: Controller::default(),
            identity: PodIdentity::default(),
            install: None,
            exposed: false,
        };
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("all.yaml"), manifests(provider, upstreams)).unwrap();
        let objects = file::load(&[dir.path().to_owned()], &|_| None, LoadOptions::default()).unwrap();
        assert!(objects.rejected.is_empty(), "{:?}", objects.rejected);
        let compiled = compile::compile(&objects, &env, 1);
        let mut rule = changeable(&compiled.snapshot);
        edit(&mut rule);
        let rule = Arc::new(rule);
        let shared = Arc::new(Shared {
            snapshots: Arc::new(arc_swap::ArcSwap::from_pointee(with_rule(&rule))),
            unrouted: metrics.requests.route("", "", ""),
            metrics,
            settings,
            leaving: false.into(),
            cut: CancellationToken::new(),
        });
        Self { router: handler::router(Arc::clone(&shared)), shared, rule }
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> Response {
        self.send_with(method, path, &[], body).await
    }

    /// The same, with more headers.
    async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: &str,
    ) -> Response {
        let mut request = Request::new(Body::from(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(path).unwrap();
        request.headers_mut().insert("host", "h".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, http::HeaderValue::from_static(value));
        }
        let peer = Peer::new("127.0.0.1:9".parse().unwrap(), PORT);
        request.extensions_mut().insert(ConnectInfo(Arrival {
            peer,
            progress: Arc::default(),
            handover: Handover::default(),
        }));
        self.router.clone().call(request).await.unwrap()
    }

    /// A chat completion that does not stream.
    async fn chat(&self) -> Response {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
        self.send(Method::POST, "/v1/chat/completions", body).await
    }

    /// How attempts at the target with this number have ended.
    fn ended(&self, target: usize) -> Vec<(&'static str, u64)> {
        let state = self.state(target);
        let counts = AttemptOutcome::ALL.iter().map(|outcome| (outcome.as_str(), state.ended(*outcome)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    fn state(&self, target: usize) -> &TargetState {
        let Backend::Ai(ai) = &split(&self.rule).backends()[0].backend else { panic!("no AI backend") };
        &ai.backend.groups.iter().flatten().nth(target).unwrap().state
    }
}

fn split(rule: &Rule) -> &Split {
    let Action::Forward(split) = &rule.action else { panic!("the rule does not forward") };
    split
}

/// The rule of a snapshot, unshared so that a test may change it.
fn changeable(snapshot: &Snapshot) -> Rule {
    let headers = http::HeaderMap::new();
    let (method, model) = (&Method::POST, RequestModel::Unread);
    let view = RequestView { host: "h", path: "/", query: None, method, headers: &headers, model };
    let Routed::Rule(matched) = snapshot.route(PORT, &view) else { panic!("the route is not served") };
    let compiled = &matched.rule;
    let backends = split(compiled).backends().iter().map(|weighted| {
        let Backend::Ai(ai) = &weighted.backend else { panic!("the Backend can't be served") };
        WeightedBackend {
            name: Arc::clone(&weighted.name),
            weight: weighted.weight,
            backend: Backend::Ai(AiUse { backend: Arc::clone(&ai.backend), models: ai.models.clone() }),
            policies: Policies::default(),
            metrics: Arc::clone(&weighted.metrics),
        }
    });
    let action = Action::Forward(Split::new(backends.collect(), Arc::default()));
    Rule { labels: compiled.labels.clone(), action, ..Rule::default() }
}

/// A snapshot that serves `rule` for everything.
fn with_rule(rule: &Arc<Rule>) -> Snapshot {
    let mut snapshot = Snapshot { generation: 1, ..Snapshot::default() };
    let listener: &mut Listener = snapshot.ports.entry(PORT).or_default().listeners.entry(&HostPattern::Any);
    let table = listener.routes.entry(&HostPattern::Any);
    let conditions = crate::snapshot::Conditions::default();
    let precedence = Precedence::new(&conditions, None, "r".into(), 0, 0);
    table.insert(PathPattern::Prefix("/".into()), conditions, precedence, Arc::clone(rule));
    table.sort();
    snapshot
}

/// A server that replies to every request with the result of `reply`.
async fn upstream<R: IntoResponse>(reply: impl Fn(Request<Bytes>) -> R + Clone + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(move |request: Request<Body>| {
        let reply = reply.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            reply(Request::from_parts(parts, body)).into_response()
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A chat completion.
fn completion() -> impl IntoResponse {
    let body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",
        "message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    ([("content-type", "application/json")], body)
}

/// Status and body of a reply.
async fn read(reply: Response) -> (StatusCode, String) {
    let status = reply.status();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
