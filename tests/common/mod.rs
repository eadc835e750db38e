//! The running program for black-box tests: a gateway of its own for each test, made-up providers and a client that
//! sends and reads plain bytes.
//!
//! ```ignore
//! let provider = Upstream::json(r#"{"ok":true}"#);
//! let gateway = Start::new().manifest("a.yaml", &s1("openai", "/openai", provider.port)).run();
//! let reply = gateway.post("/openai/v1/chat/completions", r#"{"model":"m","messages":[]}"#);
//! assert_eq!(reply.status, 200);
//! gateway.wait_for_log("access", |line| line["target"] == "tollgate::access" && line["status"] == 200);
//! ```
//!
//! Nothing here sleeps to give something time: what is waited for is polled, or read, until [`PATIENCE`] is over.
//! When a [`Gateway`] is dropped, its log, metrics and debug views must hold none of [`SECRETS`].

#![allow(dead_code, unused_imports, reason = "each file of tests uses a part of this")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

pub mod client;
pub mod errors;
pub mod manifests;
pub mod metrics;
pub mod tls;
pub mod upstream;
pub mod websocket;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::{Ipv6Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

pub use client::{Client, Reply, request};
pub use errors::{DialectId, assert_error, assert_shape};
pub use manifests::{
    CLIENT_KEY, KEY, SECRETS, backend, gateway_yaml, llm, route, rule, s1, s1_of, s1_with, secret, yaml,
};
pub use metrics::Samples;
pub use upstream::{Exchange, Gate, Received, Upstream};
pub use websocket::WebSocket;

/// How long anything is waited for. Far more than anything takes on a busy machine; only failures wait this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A time after which a connection to an upstream has surely rested, so that it is used again.
pub const RESTED: Duration = Duration::from_millis(25);

/// Calls `ready` until it gives something; fails with `what` when that takes too long.
pub fn wait_until<T>(what: &str, patience: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < end, "waited {patience:?} for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ports that this process has used: the system may offer one again before it is bound.
static PORTS: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Calls `bind` until it gives a port that [`free_port`] has not promised to anybody.
pub fn unpromised<T>(bind: impl Fn() -> (T, u16)) -> (T, u16) {
    let mut ports = PORTS.lock().unwrap();
    loop {
        let (bound, port) = bind();
        if ports.insert(port) {
            return (bound, port);
        }
    }
}

/// A port without a listener, never the same twice.
pub fn free_port() -> u16 {
    let bind = || {
        // Both families, as the gateway binds them; machines without IPv6 have IPv4 only.
        let socket = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    };
    unpromised(bind).1
}

/// A gateway to be started.
pub struct Start {
    port: u16,
    files: Vec<(String, String)>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    log: String,
    wait_ready: bool,
    read_log: bool,
    has_manifests: bool,
}

impl Start {
    /// With one Gateway, `default/gw`, that has an HTTP listener on a free port ([`Start::port`]).
    pub fn new() -> Self {
        let mut start = Self::bare();
        start.files.push(("gateway.yaml".into(), gateway_yaml(start.port)));
        start
    }

    /// Without any manifest. The port is picked all the same, for a Gateway of the test's own.
    pub fn bare() -> Self {
        Self {
            port: free_port(),
            files: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            log: "info,tollgate=debug".into(),
            wait_ready: true,
            read_log: true,
            has_manifests: true,
        }
    }

    /// With the Gateway's listener on this port.
    pub fn on_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// The port of the Gateway's listener.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Adds a file to the directory of manifests.
    pub fn manifest(mut self, file: &str, text: &str) -> Self {
        self.files.push((file.into(), text.into()));
        self
    }

    /// Adds a flag with its value, such as `--body-timeout` and `1`.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.into(), value.into()]);
        self
    }

    /// Adds any argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable. The gateway inherits only `PATH`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What is logged; `info,tollgate=debug` unless said otherwise.
    pub fn log(mut self, filter: &str) -> Self {
        self.log = filter.into();
        self
    }

    /// Without `--manifests`: from the environment.
    pub fn from_environment() -> Self {
        let start = Self::bare();
        let port = start.port.to_string();
        Self { has_manifests: false, ..start }.flag("--listen-port", &port)
    }

    /// Does not wait for readiness, for gateways that are not going to be ready.
    pub fn not_ready(mut self) -> Self {
        self.wait_ready = false;
        self
    }

    /// Leaves what it writes to standard output unread.
    pub fn unread_log(mut self) -> Self {
        self.read_log = false;
        self
    }

    /// Starts it, and waits until `/readyz` says 200.
    pub fn run(self) -> Gateway {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in &self.files {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let admin = free_port();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .arg("run")
            .args(self.has_manifests.then_some("--manifests"))
            .args(self.has_manifests.then_some(dir.path()))
            .args(["--admin-listen", &format!("127.0.0.1:{admin}"), "--log", &self.log, "--worker-threads", "2"])
            .args(&self.args)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, errors) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        if self.read_log {
            collect(child.stdout.take().unwrap(), &log);
        }
        collect(child.stderr.take().unwrap(), &errors);
        let gateway = Gateway { port: self.port, admin, dir, child: Mutex::new(child), log, errors };
        if self.wait_ready {
            wait_until("readiness", PATIENCE, || {
                assert!(gateway.exited().is_none(), "the gateway ended: {}", gateway.stderr());
                (gateway.admin_status("/readyz") == Some(200)).then_some(())
            });
        }
        gateway
    }
}

/// Gathers the lines of `from` until its end.
fn collect(from: impl std::io::Read + Send + 'static, into: &Arc<Mutex<Vec<String>>>) {
    let into = Arc::clone(into);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
}

/// A running gateway. It is killed when dropped.
pub struct Gateway {
    /// The port of the Gateway's listener.
    pub port: u16,
    /// The port of metrics, health and debug views.
    pub admin: u16,
    dir: tempfile::TempDir,
    child: Mutex<Child>,
    log: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    /// The directory of its manifests.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes or replaces a manifest, at once: a reader never sees a half of it.
    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.dir().join(file);
        // A name that is no manifest's: what is written is not read before it is whole.
        let beside = self.dir().join(format!(".{file}.new"));
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, &path).unwrap();
        path
    }

    /// Removes a manifest.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.dir().join(file)).unwrap();
    }

    /// Makes a change and waits until a snapshot made after it is served.
    pub fn change(&self, change: impl FnOnce()) {
        let before = self.generation();
        change();
        wait_until("a new snapshot", PATIENCE, || (self.generation() > before).then_some(()));
    }

    /// The number of the snapshot that is served.
    pub fn generation(&self) -> u64 {
        self.debug("/debug/snapshot")["generation"].as_u64().unwrap()
    }

    /// A debug view: `/debug/snapshot` or `/debug/objects`.
    pub fn debug(&self, path: &str) -> Value {
        Client::connect(self.admin).send(&request("GET", path, &[], b"")).reply().json()
    }

    /// The status of a path on the admin port; `None` when it can't be reached.
    pub fn admin_status(&self, path: &str) -> Option<u16> {
        let mut client = Client::try_connect(self.admin)?;
        client.send(&request("GET", path, &[], b"")).try_reply().map(|reply| reply.status)
    }

    /// The metrics of this moment.
    pub fn metrics(&self) -> Samples {
        Samples::parse(&Client::connect(self.admin).send(&request("GET", "/metrics", &[], b"")).reply().text())
    }

    /// A new connection to the Gateway's listener.
    pub fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    /// Posts JSON on a connection of its own and reads the reply.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.post_with(path, &[], body)
    }

    /// The same, with more headers.
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.connect().send(&request("POST", path, &all, body.as_ref())).reply()
    }

    /// Sends a request without a body on a connection of its own and reads the reply.
    pub fn get(&self, path: &str) -> Reply {
        self.connect().send(&request("GET", path, &[], b"")).reply()
    }

    /// The log so far, line by line.
    pub fn log(&self) -> Vec<Value> {
        let lines = self.log.lock().unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// The first log line that `is` accepts, waited for.
    pub fn wait_for_log(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("log: {what}"), PATIENCE, || self.log().into_iter().find(|line| is(line)))
    }

    /// The access log's line of the request with this path, waited for.
    pub fn access(&self, path: &str) -> Value {
        self.wait_for_log(path, |line| line["target"] == "tollgate::access" && line["path"] == path)
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> String {
        self.errors.lock().unwrap().join("\n")
    }

    /// Sends the process a signal: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let id = self.child.lock().unwrap().id();
        assert!(Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status().unwrap().success());
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits for its end.
    pub fn wait_for_exit(&self) -> ExitStatus {
        wait_until("the gateway's end", PATIENCE, || self.exited())
    }

    /// Fails when any of [`SECRETS`] is in the log or in a view.
    fn assert_no_secret_is_shown(&self) {
        let mut shown = self.log.lock().unwrap().join("\n") + &self.stderr();
        for path in ["/metrics", "/debug/snapshot", "/debug/health", "/debug/objects"] {
            let mut client = Client::try_connect(self.admin);
            let reply = client.as_mut().and_then(|c| c.send(&request("GET", path, &[], b"")).try_reply());
            shown += &reply.map(|r| r.text()).unwrap_or_default();
        }
        for secret in SECRETS {
            let line = shown.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "a secret is shown: {}", line.unwrap_or_default());
        }
        assert!(!shown.contains("panicked"), "a task panicked:\n{shown}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let failed = thread::panicking();
        let clean = failed || std::panic::catch_unwind(|| self.assert_no_secret_is_shown()).is_ok();
        {
            let mut child = self.child.lock().unwrap();
            let _ = child.kill();
            let _ = child.wait();
        }
        if failed {
            let log = self.log.lock().unwrap();
            let last = log.len().saturating_sub(30);
            eprintln!("--- end of the gateway's log\n{}\n{}", log[last..].join("\n"), self.stderr());
        }
        assert!(clean, "see above");
    }
}
