//! Signatures of AWS requests (Signature Version 4).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings},
    sign::v4,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

/// The name of Bedrock's runtime in signatures.
const SERVICE: &str = "bedrock";

/// Headers of a signature. Those of a client are for its own key and its own host.
const OF_SIGNATURES: [HeaderName; 5] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-amz-content-sha256"),
    HeaderName::from_static("x-amz-region-set"),
];

/// An access key of AWS: its id, its secret, and the session it belongs to. Zeroed on drop; has no `Debug`.
#[derive(Clone)]
pub struct AwsKeys(Credentials);

impl AwsKeys {
    /// A key. `session` belongs to keys that expire.
    pub fn new(id: impl Into<String>, secret: impl Into<String>, session: Option<String>) -> Self {
        Self(Credentials::new(id, secret, session, None, "tollgate"))
    }

    /// The id of the key, which is not a secret.
    pub fn id(&self) -> &str {
        self.0.access_key_id()
    }

    /// The secret parts of the keys.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        [Some(self.0.secret_access_key()), self.0.session_token()].into_iter().flatten()
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (&str, &str, Option<&str>) {
        (self.0.access_key_id(), self.0.secret_access_key(), self.0.session_token())
    }
}

/// A request to Bedrock that is to be signed.
#[derive(Clone, Copy)]
pub struct Unsigned<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path as it is sent, percent-encoded once.
    pub path: &'a PathAndQuery,
    /// Its body, to the last byte.
    pub body: &'a [u8],
    /// The region of the endpoint.
    pub region: &'a str,
}

/// Signs `request` with `keys` as of `now`: sets the headers of the signature. `headers` must hold `Host` as it is
/// sent, and everything else but the signature. The signature covers host, type and all `x-amz-` headers; others may
/// change in transit.
///
/// # Errors
/// When a header that must be signed is not text, or the session token can't be a header.
pub fn sign(request: Unsigned<'_>, headers: &mut HeaderMap, keys: &AwsKeys, now: SystemTime) -> Result<(), String> {
    for name in OF_SIGNATURES {
        headers.remove(name);
    }
    let identity = keys.0.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(SERVICE)
        .time(now)
        // The path is encoded once more for the signature, as every service but S3 requires.
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| e.to_string())?
        .into();
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).ok_or("the request has no host")?;
    let url = format!("https://{host}{}", request.path);
    let mut signed = Vec::new();
    for (name, value) in headers.iter() {
        if matches!(*name, header::HOST | header::CONTENT_TYPE) || name.as_str().starts_with("x-amz") {
            let text = value.to_str().map_err(|_| format!("the header {name} is no text"))?;
            signed.push((name.as_str(), text));
        }
    }
    let signable =
        SignableRequest::new(request.method.as_str(), url, signed.into_iter(), SignableBody::Bytes(request.body))
            .map_err(|e| e.to_string())?;
    let (made, _) = aws_sigv4::http_request::sign(signable, &params).map_err(|e| e.to_string())?.into_parts();
    for (name, value) in made.headers() {
        let name = HeaderName::try_from(name).map_err(|e| e.to_string())?;
        let mut value = HeaderValue::try_from(value).map_err(|e| e.to_string())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// 2026-01-02T03:04:05Z.
    fn then() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_323_045)
    }

    fn signed(keys: &AwsKeys, path: &str, extra: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("bedrock-runtime.us-east-1.amazonaws.com"));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        for (name, value) in extra {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let path = PathAndQuery::try_from(path).unwrap();
        let request = Unsigned { method: &Method::POST, path: &path, body: br#"{"messages":[]}"#, region: "us-east-1" };
        sign(request, &mut headers, keys, then()).unwrap();
        headers
    }

    fn example(session: Option<&str>) -> AwsKeys {
        AwsKeys::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", session.map(str::to_owned))
    }

    const PATH: &str = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse";

    #[test]
    fn the_signature_is_botocores() {
        // Made with botocore 1.44.5 for the same request.
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/bedrock/aws4_request, \
                             SignedHeaders=content-type;host;x-amz-date, \
                             Signature=87e114dcbbaf782b0b033c88905b9bf9956d44b2a0f41c3174eac2780fb31277";
        // A client's user agent may change in transit, and its signature is for another key.
        let from_client =
            [("authorization", "AWS4-HMAC-SHA256 x"), ("x-amz-date", "19990101T000000Z"), ("user-agent", "u")];
        for extra in [&[][..], &from_client] {
            let headers = signed(&example(None), PATH, extra);
            assert_eq!(headers["authorization"], authorization);
            assert_eq!(headers["x-amz-date"], "20260102T030405Z");
            assert!(headers["authorization"].is_sensitive());
            assert!(!headers.contains_key("x-amz-security-token"));
        }
    }

    #[test]
    fn sessions_and_amz_headers_are_signed() {
        let extra = [("x-amz-security-token", "of-the-client"), ("x-amzn-bedrock-trace", "ENABLED")];
        let headers = signed(&example(Some("session")), PATH, &extra);
        assert_eq!(headers["x-amz-security-token"], "session");
        assert!(headers["x-amz-security-token"].is_sensitive());
        let authorization = headers["authorization"].to_str().unwrap();
        let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amzn-bedrock-trace,";
        assert!(authorization.contains(names), "{authorization}");
    }

    #[test]
    fn path_and_body_are_part_of_it() {
        let one = signed(&example(None), PATH, &[]);
        let other = signed(&example(None), "/model/x/converse", &[]);
        assert_ne!(one["authorization"], other["authorization"]);
    }
}
