//! Operators' views on a separate port: metrics, health and the state of objects.
//!
//! | path | answers |
//! | --- | --- |
//! | `/metrics` | Prometheus' text format |
//! | `/healthz` | 200 while the process runs |
//! | `/readyz` | 200 when requests are served, else 503 and why |
//! | `/debug/snapshot` | the snapshot that is served, without secrets |
//! | `/debug/health` | the health of each target, and how attempts have ended |
//! | `/debug/objects` | the state of each object, with file and line of rejected documents |

mod serve;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;

pub use self::serve::serve;
use crate::telemetry::Metrics;

/// The source of the `/debug` views. No view may hold any part of a Secret.
pub trait DebugSource: Send + Sync {
    /// The snapshot that is served.
    fn snapshot_json(&self) -> Value;
    /// The health of each target.
    fn health_json(&self) -> Value;
    /// The reports of compile about each object, and rejected documents.
    fn reports_json(&self) -> Value;
}

/// Whether requests are served. The tasks that serve them set it.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

impl Readiness {
    const READY: u8 = 1;
    const UNBOUND: u8 = 2;
    const DRAINING: u8 = 3;

    /// A snapshot serves. Has no effect while draining.
    pub fn set_ready(&self) {
        self.set(Self::READY);
    }

    /// A snapshot has listeners, and none of their ports could be bound. Has no effect while draining.
    pub fn set_unbound(&self) {
        self.set(Self::UNBOUND);
    }

    fn set(&self, state: u8) {
        // A late first snapshot must not end a drain.
        let next = |now| (now != Self::DRAINING).then_some(state);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// The process is about to end; new requests should go elsewhere.
    pub fn set_draining(&self) {
        self.0.store(Self::DRAINING, Ordering::Relaxed);
    }

    /// `Ok` when requests are served.
    ///
    /// # Errors
    ///
    /// The reason why they are not.
    pub fn get(&self) -> Result<(), &'static str> {
        match self.0.load(Ordering::Relaxed) {
            Self::READY => Ok(()),
            Self::UNBOUND => Err("no listener could be bound: unboundPorts in /debug/objects has the reasons"),
            Self::DRAINING => Err("draining"),
            _ => Err("starting"),
        }
    }
}

/// The state of the admin port.
#[derive(Clone)]
pub struct AdminState {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Whether requests are served.
    pub ready: Arc<Readiness>,
    /// The state that `/debug` shows.
    pub debug: Arc<dyn DebugSource>,
}

/// The admin port's paths, for GET and HEAD.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/debug/snapshot", get(async |State(state): State<AdminState>| json(&state.debug.snapshot_json())))
        .route("/debug/health", get(async |State(state): State<AdminState>| json(&state.debug.health_json())))
        .route("/debug/objects", get(async |State(state): State<AdminState>| json(&state.debug.reports_json())))
        .with_state(state)
}

async fn index() -> Response {
    let text = concat!(
        "Tollgate ",
        env!("CARGO_PKG_VERSION"),
        "\n\n",
        "/metrics         metrics in Prometheus' format\n",
        "/healthz         200 while the process lives\n",
        "/readyz          200 when requests are served\n",
        "/debug/snapshot  the configuration that is served\n",
        "/debug/health    the health of each target\n",
        "/debug/objects   the conditions of each object\n",
    );
    text.into_response()
}

async fn metrics(State(state): State<AdminState>) -> Response {
    match state.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(state): State<AdminState>) -> Response {
    match state.ready.get() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}

#[cfg(test)]
mod tests;
