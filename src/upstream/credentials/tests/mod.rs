//! Tests of fetching from fakes of the clouds' token endpoints, and of renewing.

mod chains;
mod handles;
mod sources;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ::http::{HeaderMap, Method, Uri};
use axum::{Router, body::Bytes, http::StatusCode, response::IntoResponse};

use super::*;
use crate::upstream::{Dialer, DialerOptions};

/// A request that a fake received.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    /// The value of a field of the form, unescaped.
    fn form(&self, name: &str) -> Option<String> {
        let pair = self.body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        Some(percent_encoding::percent_decode_str(pair).decode_utf8().unwrap().into_owned())
    }

    fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A server that answers with its function's reply, and records its requests.
struct StandIn {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl StandIn {
    async fn new(answer: impl Fn(&Seen) -> (u16, String) + Clone + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let serve = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let seen = Seen { method, path: uri.to_string(), headers, body: String::from_utf8_lossy(&body).into() };
            let (status, body) = answer(&seen);
            log.lock().unwrap().push(seen);
            async move { (StatusCode::from_u16(status).unwrap(), body).into_response() }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(serve)).await });
        Self { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn http() -> Http {
    // A simulator's address without a server: a request to it instead of the fake fails.
    let simulator = Some("127.0.0.1:1".parse().unwrap());
    Http::new(Arc::new(Pools::new(Dialer::new(DialerOptions { simulator, ..DialerOptions::default() }))))
}

fn credentials() -> Credentials {
    let metrics = Arc::new(Metrics::new().unwrap());
    Credentials::new(Arc::new(Pools::new(Dialer::new(DialerOptions::default()))), metrics, Arc::new(|_| None))
}

/// An environment of these variables.
fn environment(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    move |name| variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
}

/// The token in one line: `bearer TOKEN` or `aws ID SECRET SESSION`.
fn describe(token: &Token) -> String {
    match token {
        Token::Bearer(text) => format!("bearer {}", secrecy::ExposeSecret::expose_secret(text)),
        Token::Aws(keys) => {
            let (id, secret, session) = keys.parts();
            format!("aws {id} {secret} {}", session.unwrap_or("-"))
        }
    }
}
