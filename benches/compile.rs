//! What a change of configuration costs: `cargo bench --profile dist --bench compile`. Prints figures, asserts no
//! times.
//!
//! * Compile of 5,000 HTTPRoutes over 500 Backends, 20 times: what every change pays, in a thread that serves nothing.
//! * From the write of a file to the first request served by it, 20 times, in the real program with 2,000 routes, while
//!   four clients ask again and again: how soon a change is live, and that it loses no request.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement may panic and prints"
)]

use std::{
    fmt::Write as _,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tollgate::{
    compile::{Controller, Env, PodIdentity, Scope, compile},
    source::file::{self, LoadOptions},
    telemetry::Metrics,
    upstream::{Credentials, Dialer, DialerOptions, Pools},
};

const ROUNDS: usize = 20;
const CLIENTS: usize = 4;
/// How long anything may take before the measurement gives up.
const PATIENCE: Duration = Duration::from_mins(1);
const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;

fn main() {
    // `cargo test --benches` asks for a list of tests: there are none.
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    measure_compile(5_000, 500);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(measure_live(2_000, 200));
}

/// Writes one Gateway on `port`, a Secret and Backend each of `backends`, and `routes` that are spread over them.
fn write_manifests(dir: &Path, port: u16, routes: usize, backends: usize) {
    let mut text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: gw}}\nspec:\n  gatewayClassName: c\n  \
         listeners: [{{name: http, protocol: HTTP, port: {port}}}]\n"
    );
    for n in 0..backends {
        write!(
            text,
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s{n}}}\nstringData: {{Authorization: key-{n}}}\n---\n\
             apiVersion: gateway.kgateway.dev/v1alpha1\nkind: Backend\nmetadata: {{name: b{n}}}\nspec:\n  type: AI\n  \
             ai: {{llm: {{provider: {{openai: {{authToken: {{kind: SecretRef, secretRef: {{name: s{n}}}}}}}}}, \
             hostOverride: {{host: llm-{n}.example, port: 443}}}}}}\n"
        )
        .unwrap();
    }
    for n in 0..routes {
        text.push_str("---\n");
        text.push_str(&route(n, n % backends));
    }
    fs::write(dir.join("all.yaml"), text).unwrap();
}

/// Route number `n`: a hundred routes share a host name.
fn route(n: usize, backend: usize) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r{n}}}\nspec:\n  parentRefs: \
         [{{name: gw}}]\n  hostnames: [h{}.example]\n  rules:\n  - matches: [{{path: {{type: PathPrefix, value: /r{n}}}}}]\n    \
         backendRefs: [{{name: b{backend}, group: gateway.kgateway.dev, kind: Backend}}]\n",
        n / 100
    )
}

fn measure_compile(routes: usize, backends: usize) {
    let dir = TempDir::new().unwrap();
    write_manifests(dir.path(), 8080, routes, backends);
    let begun = Instant::now();
    let objects = file::load(&[dir.path().to_owned()], &|_| None, LoadOptions::default()).unwrap();
    let read = begun.elapsed();
    assert_eq!((objects.http_routes.len(), objects.rejected.len()), (routes, 0));
    let metrics = Arc::new(Metrics::new().unwrap());
    let pools = Arc::new(Pools::new(Dialer::new(DialerOptions::default())));
    let credentials = Credentials::new(Arc::clone(&pools), Arc::clone(&metrics), Arc::new(|_| None));
    let env = Env {
        metrics,
        pools,
        balance: Arc::default(),
        credentials: Arc::new(credentials),
        health: tokio::sync::watch::channel(Arc::default()).1,
        models: tokio::sync::watch::channel(tollgate::dialect::ModelTable::built_in()).1,
        scope: Scope::Files,
        controller: Controller::default(),
        identity: PodIdentity::default(),
        install: None,
        exposed: false,
    };
    let before = resident_mib();
    // As in the program, the last snapshot lives until the next one is there.
    let begun = Instant::now();
    let mut last = compile(&objects, &env, 1);
    let first = begun.elapsed();
    let one = resident_mib();
    let mut times = Vec::with_capacity(ROUNDS);
    for generation in 2.. {
        let begun = Instant::now();
        let next = compile(&objects, &env, generation);
        times.push(begun.elapsed());
        last = next;
        if times.len() == ROUNDS {
            break;
        }
    }
    assert!(last.reports.objects.iter().all(|r| r.problems().next().is_none()));
    println!("compile of {routes} routes over {backends} backends: first {first:.1?}, then {}", spread(&mut times));
    println!("  reading their YAML: {read:.1?}");
    println!(
        "  RSS: {before} MiB with the objects, {one} MiB with a snapshot, {} MiB after all rounds",
        resident_mib()
    );
}

/// Smallest, middle and largest.
fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |n: usize| times.get(n).copied().unwrap_or_default();
    format!("min {:.1?}, median {:.1?}, max {:.1?} of {}", at(0), at(times.len() / 2), at(times.len() - 1), times.len())
}

fn resident_mib() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok().and_then(|t| t.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096 / (1 << 20)
}

/// The program, ended with the measurement.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

async fn measure_live(routes: usize, backends: usize) {
    let dir = TempDir::new().unwrap();
    let (port, admin) = (free_port(), free_port());
    write_manifests(dir.path(), port, routes, backends);
    let program = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "--simulate-providers", "--log", "off", "--admin-listen", &format!("127.0.0.1:{admin}")])
        .arg("--manifests")
        .arg(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _program = Program(program);
    let begun = Instant::now();
    while !is_ready(admin).await {
        assert!(begun.elapsed() < PATIENCE, "the program does not get ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{routes} routes over {backends} backends, ready after {:.1?}", begun.elapsed());

    let (stop, served, failed) = (Arc::default(), Arc::default(), Arc::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(ask_on(port, Arc::clone(&stop), Arc::clone(&served), Arc::clone(&failed))))
        .collect();
    let mut times = Vec::with_capacity(ROUNDS);
    let mut probe = connect(port).await.unwrap();
    for n in routes..routes + ROUNDS {
        fs::write(dir.path().join(".more"), route(n, 0)).unwrap();
        let begun = Instant::now();
        fs::rename(dir.path().join(".more"), dir.path().join("more.yaml")).unwrap();
        while ask(&mut probe, n).await != Some(StatusCode::OK) {
            assert!(begun.elapsed() < PATIENCE, "a change does not get live");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(begun.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (served, failed) = (served.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    println!("  a change is live after {}; meanwhile {served} requests served, {failed} failed", spread(&mut times));
}

async fn connect(port: u16) -> Option<SendRequest<Full<Bytes>>> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

async fn is_ready(admin: u16) -> bool {
    let Some(mut sender) = connect(admin).await else { return false };
    let request = Request::get("/readyz").header("host", "admin").body(Full::default()).unwrap();
    sender.send_request(request).await.is_ok_and(|reply| reply.status() == StatusCode::OK)
}

/// Asks route number `n`; `None` when no whole reply came.
async fn ask(sender: &mut SendRequest<Full<Bytes>>, n: usize) -> Option<StatusCode> {
    let request = Request::post(format!("/r{n}/v1/chat/completions"))
        .header("host", format!("h{}.example", n / 100))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(CHAT.as_bytes())))
        .unwrap();
    sender.ready().await.ok()?;
    let reply = sender.send_request(request).await.ok()?;
    let status = reply.status();
    reply.into_body().collect().await.ok()?;
    Some(status)
}

async fn ask_on(port: u16, stop: Arc<AtomicBool>, served: Arc<AtomicUsize>, failed: Arc<AtomicUsize>) {
    let mut sender = connect(port).await.unwrap();
    for n in (0..1_000).cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if ask(&mut sender, n).await == Some(StatusCode::OK) {
            served.fetch_add(1, Ordering::Relaxed);
        } else {
            failed.fetch_add(1, Ordering::Relaxed);
            sender = connect(port).await.unwrap();
        }
    }
}
