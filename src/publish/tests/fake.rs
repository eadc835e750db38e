//! A fake API server in memory: versions, merge patches and operations on lists, server-side apply (as replacement),
//! faults.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Future, pending, ready},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use ::kube::{Client, client::Body};
use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower_service::Service;

/// The API server, shared by its clients.
#[derive(Clone, Default)]
pub(super) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// `METHOD PATH CODE`, with the request's body.
    log: Vec<(String, Value)>,
    /// Requests of this method whose path contains this are answered with this code; 0 is no answer.
    faults: Vec<(Method, String, u16)>,
    /// A request of this path panics: no other part of the program may go on as if nothing had happened.
    panics: Option<String>,
}

impl FakeApi {
    pub(super) fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// Puts an object at `path`, in a new version.
    pub(super) fn put(&self, path: &str, object: Value) {
        self.with(|state| state.store(path, object));
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.with(|state| state.objects.get(path).cloned())
    }

    /// From now on these requests fail with `code`, or hang with 0.
    pub(super) fn fail(&self, method: Method, path: &str, code: u16) {
        self.with(|state| state.faults.push((method, path.to_owned(), code)));
    }

    /// From now on the task that writes to this path or below panics.
    pub(super) fn panic_at(&self, path: &str) {
        self.with(|state| state.panics = Some(path.to_owned()));
    }

    pub(super) fn heal(&self) {
        self.with(|state| state.faults.clear());
    }

    /// The bodies of all requests whose line `METHOD PATH CODE` has all of `parts`.
    pub(super) fn sent(&self, parts: &[&str]) -> Vec<Value> {
        self.with(|state| {
            let hits = state.log.iter().filter(|(line, _)| parts.iter().all(|part| line.contains(part)));
            hits.map(|(_, body)| body.clone()).collect()
        })
    }

    /// All objects below `path`.
    pub(super) fn list(&self, part: &str) -> Vec<Value> {
        self.with(|state| {
            state.objects.iter().filter(|(path, _)| path.contains(part)).map(|(_, object)| object.clone()).collect()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    /// The list of a resource in all namespaces, by one label.
    fn selected(&self, path: &str, query: &str) -> Value {
        let query = query.replace("%2F", "/").replace("%3D", "=");
        let (root, plural) = path.rsplit_once('/').unwrap();
        let has = |object: &Value| {
            let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
            labels.into_iter().any(|(label, value)| query.ends_with(&format!("={label}={}", value.as_str().unwrap())))
        };
        let all = self
            .objects
            .iter()
            .filter(|(place, object)| place.starts_with(root) && place.contains(&format!("/{plural}/")) && has(object));
        json!({"items": all.map(|(_, object)| object.clone()).collect::<Vec<_>>(), "metadata": {}})
    }

    fn answer(&mut self, method: &Method, path: &str, query: &str, content: &str, body: &Value) -> (u16, Value) {
        let place = path.strip_suffix("/status").unwrap_or(path);
        let present = self.objects.get(place).cloned();
        let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        match (method.as_str(), present) {
            ("POST", _) => {
                let place = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&place) { failure(409) } else { (201, self.store(&place, body.clone())) }
            }
            ("PATCH", present) if content.contains("apply") => {
                let uid = present.map_or(json!("new"), |p| p["metadata"]["uid"].clone());
                let mut body = body.clone();
                body["metadata"]["uid"] = uid;
                (200, self.store(place, body))
            }
            ("GET", None) if query.contains("labelSelector=") => (200, self.selected(path, query)),
            (_, None) => failure(404),
            ("GET", Some(present)) => (200, present),
            ("DELETE", Some(_)) => {
                self.objects.remove(place);
                (200, json!({}))
            }
            ("PUT", Some(present)) => {
                if version(body) != version(&present) {
                    return failure(409);
                }
                (200, self.store(place, body.clone()))
            }
            ("PATCH", Some(present)) => {
                let mut new = present.clone();
                if content.contains("merge") {
                    merge(&mut new, body);
                } else if !body.as_array().unwrap().iter().all(|operation| operate(&mut new, operation)) {
                    return failure(422);
                }
                if version(&new) != version(&present) {
                    return failure(409);
                }
                (200, self.store(place, new))
            }
            _ => failure(405),
        }
    }
}

fn failure(code: u16) -> (u16, Value) {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("no: {code}"),
    });
    (code, status)
}

fn merge(value: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (name, new) in patch {
        if new.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut value[name], new);
        }
    }
}

/// One operation of JSON Patch; false when there is no such place.
fn operate(value: &mut Value, operation: &Value) -> bool {
    let (parent, last) = operation["path"].as_str().unwrap().rsplit_once('/').unwrap();
    let new = operation["value"].clone();
    let op = operation["op"].as_str().unwrap();
    match value.pointer_mut(parent) {
        Some(Value::Array(items)) => match (op, last.parse::<usize>()) {
            ("add", Err(_)) if last == "-" => items.push(new),
            ("replace", Ok(index)) if index < items.len() => items[index] = new,
            ("remove", Ok(index)) if index < items.len() => drop(items.remove(index)),
            _ => return false,
        },
        Some(Value::Object(map)) if op == "add" || op == "replace" && map.contains_key(last) => {
            map.insert(last.to_owned(), new);
        }
        _ => return false,
    }
    true
}

impl Service<Request<Body>> for FakeApi {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let content = head.headers.get(CONTENT_TYPE).map_or("", |c| c.to_str().unwrap()).to_owned();
            let path = head.uri.path().to_owned();
            let query = head.uri.query().unwrap_or_default().to_owned();
            let panics = api.with(|state| state.panics.as_ref().is_some_and(|part| path.starts_with(part.as_str())));
            assert!(!panics, "as a test wants it");
            let fault = api.with(|state| {
                let hit = state.faults.iter().find(|(m, part, _)| *m == head.method && path.contains(part));
                hit.map(|(_, _, code)| *code)
            });
            let (code, answer) = match fault {
                Some(0) => {
                    api.with(|state| state.log.push((format!("{} {path} hangs", head.method), body)));
                    return pending().await;
                }
                Some(code) => failure(code),
                None => api.with(|state| state.answer(&head.method, &path, &query, &content, &body)),
            };
            let line = format!("{} {path} {code} {content} {query}", head.method);
            api.with(|state| state.log.push((line, body)));
            let answer = Full::new(Bytes::from(answer.to_string()));
            ready(Ok(Response::builder().status(code).body(answer).unwrap())).await
        })
    }
}
