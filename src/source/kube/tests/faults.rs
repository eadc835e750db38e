//! Tests of the whole source against an API server with faults that are hard to provoke on a real one.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Response, StatusCode, Uri},
};
use futures_util::{StreamExt, stream};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use super::*;
use crate::telemetry::Metrics;

/// How long a test waits for an event that must come; far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One answer to a list or watch of Backends.
enum Answer {
    Json(u16, Value),
    /// Lines of a watch, which stays open after they are sent.
    Watch(Vec<Value>),
    /// Headers never come.
    Silence,
}

/// The API server's replies about Backends, in order. Other kinds are empty and never change.
type Script = Arc<Mutex<VecDeque<Answer>>>;

fn open_stream(lines: Vec<Value>) -> Body {
    let lines = lines.into_iter().map(|line| Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))));
    Body::from_stream(stream::iter(lines).chain(stream::pending()))
}

fn reply(status: u16, body: Body) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

async fn answer(State(script): State<Script>, uri: Uri) -> Response<Body> {
    let is_watch = uri.query().is_some_and(|q| q.contains("watch=true"));
    let plural = uri.path().rsplit('/').next().unwrap_or_default();
    let scripted =
        if plural == "backends" { script.lock().unwrap_or_else(PoisonError::into_inner).pop_front() } else { None };
    match scripted {
        Some(Answer::Json(status, body)) => reply(status, Body::from(body.to_string())),
        Some(Answer::Watch(lines)) => reply(200, open_stream(lines)),
        Some(Answer::Silence) => std::future::pending().await,
        None if is_watch => reply(200, open_stream(Vec::new())),
        None => reply(200, Body::from(list(plural, &[], None).to_string())),
    }
}

fn kind_of(plural: &str) -> (String, &'static str) {
    let row = KINDS.iter().find(|row| row.plural == plural).unwrap();
    (crate::source::kinds::join_version(row.group, row.versions[0]), row.kind.as_str())
}

fn item(name: &str, version: u32) -> Value {
    json!({"apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": version.to_string()},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "h", "port": 1}]}}})
}

/// A page of a list; `more` is the token of the next.
fn list(plural: &str, items: &[Value], more: Option<&str>) -> Value {
    let (version, kind) = kind_of(plural);
    json!({"apiVersion": version, "kind": format!("{kind}List"),
        "metadata": {"resourceVersion": "10", "continue": more.unwrap_or_default()}, "items": items})
}

fn backends(names: &[&str]) -> Answer {
    let items: Vec<Value> = names.iter().map(|name| item(name, 1)).collect();
    Answer::Json(200, list("backends", &items, None))
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code})
}

/// A source of an API server that answers by `script`.
struct Running {
    objects: watch::Receiver<Arc<Objects>>,
    metrics: Arc<Metrics>,
    cancel: CancellationToken,
}

impl Running {
    async fn new(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let script: Script = Arc::new(Mutex::new(script.into()));
        let router = Router::new().fallback(answer).with_state(script);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::try_from(Config::new(uri)).unwrap();
        let (tx, objects) = watch::channel(Arc::new(Objects::default()));
        let (metrics, cancel) = (Arc::new(Metrics::new().unwrap()), CancellationToken::new());
        tokio::spawn(super::super::watch(client, Arc::clone(&metrics), tx, cancel.clone()));
        Self { objects, metrics, cancel }
    }

    /// Waits until the Backends are those of `last`. Whatever is published before must be one of `allowed`.
    async fn becomes(&mut self, allowed: &[&[&str]], last: &[&str]) {
        loop {
            let changed = timeout(PATIENCE, self.objects.changed()).await;
            changed.unwrap_or_else(|_| panic!("waited for {last:?} in vain")).unwrap();
            let objects = Arc::clone(&self.objects.borrow_and_update());
            let now = names(&objects.backends);
            if now == last {
                return;
            }
            assert!(allowed.contains(&now.as_slice()), "{now:?} was published");
        }
    }

    /// The number of failed watches of Backends, by reason.
    fn errors(&self) -> BTreeMap<String, u64> {
        let text = self.metrics.encode().unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("tollgate_watch_errors_total{error=\""));
        let backends = lines.filter(|line| line.contains("kind=\"Backend\""));
        let pairs = backends.map(|line| {
            let (word, rest) = line.split_once('"').unwrap();
            (word.to_owned(), rest.rsplit(' ').next().unwrap().parse().unwrap())
        });
        pairs.collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[tokio::test]
async fn an_expired_history_is_listed_again_and_keeps_objects() {
    for expired in [
        // As an event of a watch that has begun, and as the answer to one that begins.
        Answer::Watch(vec![json!({"type": "ERROR", "object": failure(410, "Expired")})]),
        Answer::Json(410, failure(410, "Expired")),
    ] {
        let mut source = Running::new(vec![backends(&["a", "b"]), expired, backends(&["b", "c"])]).await;
        source.becomes(&[], &["a", "b"]).await;
        source.becomes(&[&["a", "b"]], &["b", "c"]).await;
        assert_eq!(source.errors(), [("lost".to_owned(), 1)].into());
    }
}

#[tokio::test]
async fn a_list_that_fails_in_the_middle_is_not_half_taken() {
    let page = || Answer::Json(200, list("backends", &[item("a", 1)], Some("more")));
    let script = vec![page(), Answer::Json(500, failure(500, "InternalError")), backends(&["a", "b"])];
    let mut source = Running::new(script).await;
    source.becomes(&[], &["a", "b"]).await;
    assert_eq!(source.errors(), [("refused".to_owned(), 1)].into());
    // A page's token that has expired means the same to the API server.
    let script = vec![page(), Answer::Json(410, failure(410, "Expired")), page(), backends(&["b"])];
    let mut source = Running::new(script).await;
    source.becomes(&[], &["a", "b"]).await;
    assert_eq!(source.errors(), [("lost".to_owned(), 1)].into());
}

#[tokio::test]
async fn watch_lines_other_than_events_lose_no_object() {
    let added = json!({"type": "ADDED", "object": item("b", 11)});
    let script = vec![
        backends(&["a"]),
        Answer::Watch(vec![json!({"type": "NONSENSE", "object": {}}), added.clone()]),
        backends(&["a"]),
        Answer::Watch(vec![added]),
    ];
    let mut source = Running::new(script).await;
    source.becomes(&[], &["a"]).await;
    source.becomes(&[&["a"]], &["a", "b"]).await;
}

#[tokio::test]
async fn a_watch_that_is_never_answered_holds_up_no_other_kind() {
    // The list is answered, the watch is not: the listed objects are served.
    let mut source = Running::new(vec![backends(&["a"]), Answer::Silence]).await;
    source.becomes(&[], &["a"]).await;
    let metrics = source.metrics.encode().unwrap();
    assert!(metrics.contains("tollgate_watch_events_total{kind=\"Backend\"} 1"), "{metrics}");
    for row in served() {
        let line = format!("tollgate_watch_last_event_timestamp_seconds{{kind=\"{}\"}}", row.kind);
        assert!(metrics.contains(&line), "a complete list is a sign of life: {line}");
    }
}

#[tokio::test]
async fn a_server_that_answers_later_is_waited_for() {
    // 429 and 503, as an API server sends them that has too much to do.
    let busy = |code, reason| Answer::Json(code, failure(code, reason));
    let script = vec![busy(429, "TooManyRequests"), busy(503, "ServiceUnavailable"), backends(&["a"])];
    let mut source = Running::new(script).await;
    source.becomes(&[], &["a"]).await;
    assert_eq!(source.errors(), BTreeMap::new(), "the client itself asks again");
}

/// A client's connection on which every request of one path panics, and all others wait.
#[derive(Clone)]
struct Panics(&'static str);

impl tower_service::Service<http::Request<::kube::client::Body>> for Panics {
    type Response = http::Response<::kube::client::Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<::kube::client::Body>) -> Self::Future {
        let panics = request.uri().path().ends_with(self.0);
        // The task that waits for the answer polls this.
        Box::pin(async move {
            assert!(!panics, "as a test wants it");
            std::future::pending().await
        })
    }
}

#[tokio::test]
async fn a_watch_that_ends_ends_the_source() {
    for path in ["/secrets", "/httproutes", "/grpcroutes"] {
        let (tx, _objects) = watch::channel(Arc::new(Objects::default()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let client = Client::new(Panics(path), "default");
        let ended = super::super::watch(client, metrics, tx, CancellationToken::new()).await;
        let Err(SourceError::Ended(Some(error))) = ended else { panic!("{path}: {ended:?}") };
        assert!(error.is_panic(), "{path}");
    }
}
