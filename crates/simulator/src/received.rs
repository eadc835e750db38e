//! The received request.

use axum::body::Bytes;
use axum::extract::Request;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// Longest request body that is read, in bytes: above the limits of the providers (32 MB) and of most gateways.
const BODY_LIMIT: usize = 64 << 20;

/// Headers whose value is a secret.
const SECRET_HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-amz-security-token",
    "cookie",
];

/// A request, read to its end.
pub(super) struct Received {
    pub(super) method: Method,
    /// Path with percent-encoding resolved and without a slash at its end.
    pub(super) path: String,
    /// Path and query as they were sent, for the check of a signature.
    pub(super) raw: (String, String),
    /// The host that the client addressed, in lower case and without its port.
    pub(super) host: String,
    /// Query parameters in their order, decoded.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Received {
    /// Reads a request to its end.
    ///
    /// # Errors
    ///
    /// The status to answer, when the body is too long or was cut short.
    pub(super) async fn read(request: Request) -> Result<Self, StatusCode> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        Ok(Self::new(parts.method, &parts.uri, parts.headers, body))
    }

    pub(super) fn new(method: Method, uri: &http::Uri, headers: HeaderMap, body: Bytes) -> Self {
        let path = decode(uri.path().trim_end_matches('/'));
        let query = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
            })
            .collect();
        let raw = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
        let named = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let host = named.or(uri.authority().map(http::uri::Authority::as_str)).unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        Self { method, path, raw, host, query, headers, body }
    }

    /// A header's first value, when it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A query parameter's first value.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The token of `Authorization: Bearer`; `None` when it is missing or empty.
    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
    }

    /// A header's value; `None` when it is missing or empty.
    pub(super) fn key(&self, name: &str) -> Option<&str> {
        self.header(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Whether the path has this segment.
    pub(super) fn has_segment(&self, segment: &str) -> bool {
        self.path.split('/').any(|one| one == segment)
    }

    /// The body as JSON; `Null` when there is none.
    ///
    /// # Errors
    ///
    /// The position and kind of a syntax error.
    pub(super) fn json(&self) -> Result<Value, serde_json::Error> {
        if self.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&self.body) }
    }

    /// The FNV-1a hash of method, path and body: the same for the same request, in every process and on every machine.
    /// Headers and query are left out, so that keys and what a gateway adds do not change a reply.
    pub(super) fn hash(&self) -> u64 {
        let parts = [self.method.as_str().as_bytes(), self.path.as_bytes(), &self.body];
        fnv(parts.into_iter().flatten().copied())
    }

    /// The request as a JSON string, with secrets reduced to four characters and a length.
    pub(super) fn echo(&self) -> String {
        let headers: Vec<Value> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let text = String::from_utf8_lossy(value.as_bytes());
                let shown = if SECRET_HEADERS.contains(&name.as_str()) { mask(&text) } else { text.into_owned() };
                json!([name.as_str(), shown])
            })
            .collect();
        let query: Vec<Value> = self
            .query
            .iter()
            .map(|(name, value)| json!([name, if name == "key" { mask(value) } else { value.clone() }]))
            .collect();
        let body = String::from_utf8_lossy(&self.body);
        json!({ "method": self.method.as_str(), "path": self.path, "query": query, "headers": headers, "body": body })
            .to_string()
    }
}

/// FNV-1a, 64 bits.
pub(super) fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `Bearer sk-1234567` becomes `Bearer sk-1...(10)`: enough to tell keys apart in a test, too little to use one.
fn mask(secret: &str) -> String {
    let (scheme, token) = match secret.split_once(' ') {
        Some((scheme, token)) => (format!("{scheme} "), token),
        None => (String::new(), secret),
    };
    let head: String = token.chars().take(4).collect();
    format!("{scheme}{head}...({})", token.len())
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
