//! The few small requests that fetching a credential takes.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;

use super::{FetchError, Pools};
use crate::upstream::{Origin, OriginKind, SendError, ServerTls, Transport, UpstreamBody};

/// Most bytes of a reply, and of a file with a token. Real ones have less than 16 KiB.
const MAX_ANSWER: usize = 64 * 1024;

/// The characters that are not escaped in forms and paths.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A header of a request.
pub(super) type Field<'a> = (&'static str, &'a str);

/// Sends requests to token endpoints, over the pools' connections. Never to the simulator.
pub(super) struct Http {
    pools: Arc<Pools>,
    /// The pools of Backends, which do not reach addresses that only the pod may reach.
    restricted: Arc<Pools>,
}

/// A reply.
pub(super) struct Answer {
    /// The host that replied, for messages.
    pub host: String,
    pub status: StatusCode,
    pub body: Bytes,
}

impl Http {
    pub fn new(pools: Arc<Pools>) -> Self {
        Self { restricted: Arc::clone(&pools), pools }
    }

    /// The same, except that the pod's own identity is fetched over `pools`.
    pub fn with_pod_pools(&self, pools: Arc<Pools>) -> Self {
        Self { pools, restricted: Arc::clone(&self.restricted) }
    }

    /// For endpoints that a Secret names: these may reach only the addresses that Backends may reach.
    pub fn restricted(&self) -> Self {
        Self::new(Arc::clone(&self.restricted))
    }

    pub async fn get(&self, url: &str, fields: &[Field<'_>]) -> Result<Answer, FetchError> {
        self.call(Method::GET, url, fields, Bytes::new()).await
    }

    pub async fn put(&self, url: &str, fields: &[Field<'_>]) -> Result<Answer, FetchError> {
        self.call(Method::PUT, url, fields, Bytes::new()).await
    }

    /// Sends `form` as `application/x-www-form-urlencoded`.
    pub async fn post(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer, FetchError> {
        let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let fields = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
        self.call(Method::POST, url, &fields, pairs.join("&").into()).await
    }

    async fn call(&self, method: Method, url: &str, fields: &[Field<'_>], body: Bytes) -> Result<Answer, FetchError> {
        let (origin, path) = origin(url).map_err(FetchError::new)?;
        let host = origin.host.clone();
        let pool = self.pools.get(&origin).map_err(FetchError::new)?;
        let build = || -> Result<Request<UpstreamBody>, FetchError> {
            let mut request = Request::new(UpstreamBody::Full(Some(body.clone())));
            *request.method_mut() = method.clone();
            *request.uri_mut() = path.clone();
            let headers = request.headers_mut();
            headers.insert(header::HOST, pool.host().clone());
            for (name, value) in fields {
                let mut value = HeaderValue::try_from(*value)
                    .map_err(|_| FetchError::new(format!("the value for the header {name} can't be sent")))?;
                value.set_sensitive(true);
                headers.insert(HeaderName::from_static(name), value);
            }
            Ok(request)
        };
        let failed = |e: &SendError| FetchError::with_detail(format!("{host}: {}", e.kind), e.to_string());
        let reply = match pool.send(build()?, false).await {
            Err(error) if error.is_unprocessed() => pool.send(build()?, true).await,
            reply => reply,
        };
        let reply = reply.map_err(|e| failed(&e))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), MAX_ANSWER).collect().await.map_err(|e| {
            FetchError::with_detail(format!("{host}: the answer broke off or is over 64 KiB"), e.to_string())
        })?;
        Ok(Answer { host, status, body: body.to_bytes() })
    }
}

impl Answer {
    /// The reply as JSON. It is never logged, because it may be a secret.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, FetchError> {
        serde_json::from_slice(&self.body).map_err(|e| {
            FetchError::new(format!(
                "{}: the answer is not what was expected (status {}, line {}, column {})",
                self.host,
                self.status.as_u16(),
                e.line(),
                e.column()
            ))
        })
    }

    /// The error for a reply without success; `code` is the endpoint's error code, if it has one.
    pub fn refused(&self, code: Option<&str>, detail: Option<&str>) -> FetchError {
        let code = code.map(printable).filter(|c| !c.is_empty()).map(|c| format!(": {c}")).unwrap_or_default();
        FetchError::with_detail(
            format!("{} answered {}{code}", self.host, self.status.as_u16()),
            detail.map(printable).unwrap_or_default(),
        )
    }
}

/// A server's text as it may be logged: short, and without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// `text` as a value of a form or a segment of a path.
pub(super) fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// The origin of `url`, and its path with its query.
fn origin(url: &str) -> Result<(Origin, Uri), String> {
    let wrong = || "the address of the token endpoint is no URL with http or https".to_owned();
    let url: Uri = url.parse().map_err(|_| wrong())?;
    let (transport, default) = match url.scheme_str() {
        Some("https") => (Transport::Tls(ServerTls::default()), 443),
        Some("http") => (Transport::Http1, 80),
        _ => return Err(wrong()),
    };
    let host = url.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).to_owned();
    let path = url.path_and_query().map_or("/", |p| p.as_str());
    let path = path.parse().map_err(|_| wrong())?;
    Ok((Origin { host, port: url.port_u16().unwrap_or(default), transport, kind: OriginKind::Server }, path))
}

/// Whether `url` may be sent secrets: with TLS, or to this machine.
pub(super) fn is_safe(url: &str) -> bool {
    origin(url).is_ok_and(|(origin, _)| {
        matches!(origin.transport, Transport::Tls(_))
            || origin.host == "localhost"
            || origin.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The text of a file. It is read for each fetch, since tokens in files are rotated.
pub(super) async fn read(path: &Path) -> Result<String, FetchError> {
    let failed = |e: std::io::Error| FetchError::new(format!("can't read {}: {e}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_ANSWER as u64 + 1).read_to_string(&mut text).await.map_err(failed)?;
    if text.len() > MAX_ANSWER {
        return Err(FetchError::new(format!("{} is over 64 KiB", path.display())));
    }
    if text.trim().is_empty() {
        return Err(FetchError::new(format!("{} is empty", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_somewhere_or_are_refused() {
        for (url, expected) in [
            ("https://sts.eu-west-1.amazonaws.com", Some("https://sts.eu-west-1.amazonaws.com:443 /")),
            ("http://169.254.170.23/v1/credentials?a=b", Some("http://169.254.170.23:80 /v1/credentials?a=b")),
            ("http://[fd00:ec2::254]:8080/x", Some("http://fd00:ec2::254:8080 /x")),
            ("ftp://h/", None),
            ("/latest", None),
            ("", None),
        ] {
            let made = origin(url).ok().map(|(origin, path)| format!("{origin} {path}"));
            assert_eq!(made.as_deref(), expected, "{url}");
            assert!(
                origin(url).is_ok_and(|(o, _)| o.kind == OriginKind::Server) || expected.is_none(),
                "no simulator for {url}"
            );
        }
    }

    #[test]
    fn secrets_travel_with_tls_or_stay_here() {
        for (url, safe) in [
            ("https://oauth2.googleapis.com/token", true),
            ("http://127.0.0.1:8080/token", true),
            ("http://[::1]/token", true),
            ("http://localhost/token", true),
            ("http://oauth2.googleapis.com/token", false),
            ("http://localhost.example.com/token", false),
            ("token", false),
        ] {
            assert_eq!(is_safe(url), safe, "{url}");
        }
    }

    #[test]
    fn forms_are_escaped() {
        assert_eq!(escape("a b+c/d=é&_-.~"), "a%20b%2Bc%2Fd%3D%C3%A9%26_-.~");
    }
}
