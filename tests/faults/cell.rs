//! One request at one faulty provider, and what became of it.

use serde_json::{Value, json};

use crate::{
    common::{
        Client, Gateway, KEY, PATIENCE, Reply, Samples, Start,
        manifests::{backend, route, rule, secret, yaml},
        request, wait_until,
    },
    provider::{Mode, Provider, healthy},
    rows::Row,
};

/// The API that the client uses. The providers speak Chat Completions, or Gemini's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// That of the provider.
    Same,
    /// Anthropic's, so that requests and replies are translated.
    Translated,
}

/// The size of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    KiB,
    MiB,
    MiB20,
}

impl Size {
    const fn bytes(self) -> usize {
        match self {
            Self::KiB => 1024,
            Self::MiB => 1024 * 1024,
            Self::MiB20 => 20 * 1024 * 1024,
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub mode: Mode,
    pub api: Api,
    pub size: Size,
    /// Whether a healthy target follows.
    pub second: bool,
}

/// What became of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What the client got.
    pub reply: String,
    /// How many requests the faulty target got.
    pub requests: usize,
    /// How its attempt was counted.
    pub counted: String,
    /// What cools, with the failure and the wait.
    pub cools: String,
}

/// A request with its own Backend, whose first target has the fault.
pub struct Cell {
    pub kind: Kind,
    name: String,
    first: Provider,
    second: Option<Provider>,
}

impl Cell {
    pub fn new(row: &Row, number: usize, kind: Kind) -> Self {
        let second = kind.second.then(|| healthy(kind.mode));
        Self { kind, name: format!("c{number}"), first: (row.provider)(kind.mode), second }
    }

    /// The Backend and its route; `bounded` gives them short times.
    fn manifest(&self, bounded: bool) -> String {
        let second = self.second.as_ref().map(|second| second.entry("second"));
        let groups: Vec<Value> = [Some(self.first.entry("first")), second]
            .into_iter()
            .flatten()
            .map(|entry| json!({"providers": [entry]}))
            .collect();
        let mut rule = rule(&format!("/{}", self.name), &self.name);
        let mut policy = String::new();
        if bounded {
            // A machine that is busy with the largest bodies is slow.
            let time = if self.kind.size == Size::MiB20 { "6s" } else { "1500ms" };
            rule["timeouts"] = json!({"backendRequest": time});
            policy = yaml(&json!({
                "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "TrafficPolicy",
                "metadata": {"name": self.name, "namespace": "default"},
                "spec": {
                    "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": self.name}],
                    "timeouts": {"firstToken": time, "streamIdle": time},
                },
            }));
        }
        backend(&self.name, &json!({"priorityGroups": groups})) + &route(&self.name, &json!([rule])) + &policy
    }

    /// Path and body of the request.
    fn request(&self) -> (String, String) {
        let Kind { mode, api, size, .. } = self.kind;
        let text = "a".repeat(size.bytes());
        let (name, streams) = (&self.name, mode == Mode::Streaming);
        if api == Api::Same && self.first.is_gemini() {
            let method = if streams { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let body = json!({"contents": [{"role": "user", "parts": [{"text": text}]}]});
            return (format!("/{name}/v1beta/models/m:{method}"), body.to_string());
        }
        let path = if api == Api::Same { "chat/completions" } else { "messages" };
        let body = format!(
            r#"{{"model":"m","max_tokens":9,"stream":{streams},"messages":[{{"role":"user","content":"{text}"}}]}}"#
        );
        (format!("/{name}/v1/{path}"), body)
    }

    /// Sends the request, and looks at what it leaves behind.
    pub fn run(&self, gateway: &Gateway) -> Seen {
        let (path, body) = self.request();
        let mut client = Client::connect(gateway.port);
        client.send(&request("POST", &path, &[("content-type", "application/json")], body.as_bytes()));
        let reply = client.try_reply();
        let reply = self.describe(reply.as_ref(), gateway, path.split('?').next().unwrap());
        if let Some(second) = &self.second
            && let ([got], true) = (second.lengths().as_slice(), self.kind.api == Api::Same)
        {
            assert!(*got >= self.kind.size.bytes(), "{:?}: the second target got {got} bytes", self.kind);
        }
        let backend = format!("default/{}", self.name);
        // The attempt is over soon after the client has its reply.
        let target = wait_until("the end of the attempt", PATIENCE, || {
            let health = gateway.debug("/debug/health");
            let mut all = health["targets"].as_array().unwrap().iter();
            let own = all.find(|t| t["backend"] == backend.as_str() && t["target"] == "first").unwrap();
            (own["inFlight"] == 0).then(|| own.clone())
        });
        let counted = counted(&gateway.metrics(), &backend);
        Seen { reply, requests: self.first.requests(), counted, cools: cools(&target) }
    }

    /// What the client got, in words: of the gateway's own errors the code, of others the status.
    fn describe(&self, reply: Option<&Reply>, gateway: &Gateway, path: &str) -> String {
        let what = format!("{:?}: {reply:?}", self.kind);
        let line = gateway.access(path);
        let error = line["error"].as_str().map(|word| format!(", `{word}`")).unwrap_or_default();
        // A reply that is cut off early may end before its head is written.
        let Some(reply) = reply.filter(|reply| reply.complete) else {
            return format!("a cut{error}");
        };
        let text = reply.text();
        let status = reply.status;
        if status != 200 {
            self.assert_error_type(status, &reply.json(), &what);
            return if text.contains("from the first") {
                format!("the provider's error, {status}")
            } else {
                format!("{status}{error}")
            };
        }
        if self.is_answer(&text) {
            assert_eq!(line["error"], Value::Null, "{what}");
            return "the answer".to_owned();
        }
        let content = if text.contains("hi\"") { "content and " } else { "" };
        if self.kind.mode == Mode::Streaming && text.contains("error\"") {
            assert!(!text.contains("[DONE]") && !text.contains("message_stop"), "{what}");
            let whose = if text.contains("from the first") { "the provider's error event" } else { "an error event" };
            return format!("{content}{whose}{error}");
        }
        format!("what came{error}")
    }

    /// Whether this is all of the healthy target's answer.
    fn is_answer(&self, text: &str) -> bool {
        let json: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        match (self.kind.mode, self.kind.api) {
            (Mode::Buffered, Api::Same) if self.first.is_gemini() => {
                json["candidates"][0]["content"]["parts"][0]["text"] == "hi"
            }
            (Mode::Buffered, Api::Same) => json["choices"][0]["message"]["content"] == "hi",
            (Mode::Buffered, Api::Translated) => json["content"][0]["text"] == "hi",
            (Mode::Streaming, Api::Same) if self.first.is_gemini() => {
                text.contains("\"hi\"") && text.contains("\"finishReason\":\"STOP\"")
            }
            (Mode::Streaming, Api::Same) => text.contains("\"hi\"") && text.ends_with("data: [DONE]\n\n"),
            (Mode::Streaming, Api::Translated) => text.contains("\"hi\"") && text.contains("event: message_stop"),
        }
    }

    /// The error is of the client's API, as its reference has it.
    fn assert_error_type(&self, status: u16, error: &Value, what: &str) {
        if self.kind.api == Api::Same {
            let message = error["error"]["message"].as_str();
            assert!(message.is_some_and(|message| !message.is_empty()), "{what}");
            return;
        }
        // https://docs.anthropic.com/en/api/errors
        let expected = match status {
            401 => "authentication_error",
            402 => "billing_error",
            408 | 504 => "timeout_error",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!(expected)), "{what}");
    }
}

/// The outcomes of the faulty target's attempts.
fn counted(metrics: &Samples, backend: &str) -> String {
    const WORDS: [&str; 16] = [
        "answered",
        "abandoned",
        "rate",
        "quota",
        "overload",
        "broken",
        "timeout",
        "network",
        "credential",
        "permission",
        "model_missing",
        "unsupported",
        "conflict",
        "client",
        "content",
        "not_sent",
    ];
    let count = |word: &&&str| {
        let labels = [("backend", backend), ("target", "first"), ("outcome", **word)];
        metrics.sum("tollgate_target_attempts_total", &labels)
    };
    let found: Vec<String> = WORDS
        .iter()
        .filter(|word| count(word) > 0.0)
        .map(|word| if count(&word) == 1.0 { format!("`{word}`") } else { format!("{} `{word}`", count(&word)) })
        .collect();
    found.join(", ")
}

/// What cools of the target in `/debug/health`.
fn cools(target: &Value) -> String {
    let words = |what: &str, cooling: &Value| {
        let (cause, seconds) = (cooling["cause"].as_str().unwrap(), cooling["seconds"].as_f64().unwrap());
        format!("{what}: {cause}, {}", nominal(seconds))
    };
    if let Some(model) = target["models"].as_array().and_then(|models| models.first()) {
        return words("model", model);
    }
    match target["breaker"]["state"].as_str().unwrap() {
        "closed" if target["cooling"].is_null() => {
            let failures = target["breaker"]["failuresInARow"].as_u64().unwrap();
            if failures == 0 { "-".to_owned() } else { format!("breaker: {failures} of 5") }
        }
        "closed" => words("target", &target["cooling"]),
        // Its wait may be over when it is looked at.
        _ => "breaker: open".to_owned(),
    }
}

/// The wait that this rest of one is of: waits vary by a tenth, and some of it has passed.
fn nominal(seconds: f64) -> String {
    const WAITS: [f64; 7] = [5.0, 12.0, 20.0, 31.0, 40.0, 60.0, 300.0];
    let found = WAITS.iter().find(|wait| seconds <= **wait * 1.101);
    found.map_or_else(|| format!("{seconds:.1} s"), |wait| format!("{wait} s"))
}

/// A gateway for these cells.
pub fn gateway(cells: &[Cell], bounded: bool) -> Gateway {
    let manifests: String = cells.iter().map(|cell| cell.manifest(bounded)).collect();
    Start::new().manifest("a.yaml", &(secret("key", KEY) + &manifests)).flag("--connect-timeout", "2").log("info").run()
}
