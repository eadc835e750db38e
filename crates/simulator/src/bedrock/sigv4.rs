//! Signature Version 4, computed from what was received and without the code that signs for the gateway.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use crate::received::Received;

/// The secret of every access key, beside `secret-` and the key's own id.
const SECRET: &str = "simulated-secret";

/// The exception and message of a refusal.
type Refusal = (&'static str, String);

/// The content of an `Authorization` header.
struct Claim<'a> {
    key_id: &'a str,
    date: &'a str,
    region: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

/// Refuses a request whose signature is invalid. The request's own time is trusted, because the simulator has no
/// clock.
///
/// # Errors
///
/// The exception and its message.
pub(super) fn check(received: &Received) -> Result<(), Refusal> {
    let claim = claim(received.key("authorization").unwrap_or_default())?;
    let incomplete = |message: String| Err(("IncompleteSignatureException", message));
    for name in ["host", "x-amz-date"] {
        if !claim.signed.contains(&name) {
            return incomplete(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."));
        }
    }
    if received.headers.contains_key("x-amz-security-token") && !claim.signed.contains(&"x-amz-security-token") {
        return incomplete("'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization.".to_owned());
    }
    let time = received.key("x-amz-date").unwrap_or_default();
    if !is_time(time) {
        return incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{time}'."));
    }
    if !time.starts_with(claim.date) {
        let message = format!("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: {time}");
        return Err(("InvalidSignatureException", message));
    }
    let region = received.host.strip_prefix("bedrock-runtime.").and_then(|rest| rest.split('.').next());
    if region.is_some_and(|region| region != claim.region && received.host.contains(".amazonaws.com")) {
        return Err(("InvalidSignatureException", "Credential should be scoped to a valid region.".to_owned()));
    }
    if claim.key_id.to_ascii_lowercase().contains("invalid") {
        let message = "The security token included in the request is invalid.";
        return Err(("UnrecognizedClientException", message.to_owned()));
    }
    if received.key("x-amz-security-token").is_some_and(|token| token.contains("expired")) {
        return Err(("ExpiredTokenException", "The security token included in the request is expired".to_owned()));
    }
    verify(received, &claim, time)
}

fn verify(received: &Received, claim: &Claim, time: &str) -> Result<(), Refusal> {
    let canonical =
        canonical_request(received, &claim.signed).map_err(|message| ("InvalidSignatureException", message))?;
    let scope = format!("{}/{}/bedrock/aws4_request", claim.date, claim.region);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())));
    let own = format!("secret-{}", claim.key_id);
    let good = [SECRET, &own].into_iter().any(|secret| signature(secret, claim, &to_sign) == claim.signature);
    good.then_some(()).ok_or_else(|| {
        let message = format!(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for \
             this request should have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{to_sign}'\n"
        );
        ("InvalidSignatureException", message)
    })
}

fn signature(secret: &str, claim: &Claim, to_sign: &str) -> String {
    let steps = [claim.date, claim.region, "bedrock", "aws4_request"];
    let start = format!("AWS4{secret}").into_bytes();
    let key = steps.iter().fold(start, |key, step| hmac(&key, step.as_bytes()));
    hex(&hmac(&key, to_sign.as_bytes()))
}

/// Reads `AWS4-HMAC-SHA256 Credential=ID/DATE/REGION/bedrock/aws4_request, SignedHeaders=a;b, Signature=HEX`.
fn claim(header: &str) -> Result<Claim<'_>, Refusal> {
    let incomplete = |message: String| ("IncompleteSignatureException", message);
    let fields = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| {
        incomplete("Authorization header requires the algorithm AWS4-HMAC-SHA256, or a bearer token.".to_owned())
    })?;
    let field = |name: &str| {
        let found = fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| incomplete(format!("Authorization header requires '{name}' parameter.")))
    };
    let credential = field("Credential")?;
    let signed: Vec<&str> = field("SignedHeaders")?.split(';').collect();
    let signature = field("Signature")?;
    let parts: Vec<&str> = credential.rsplitn(5, '/').collect();
    let [end, service, region, date, key_id] = parts.as_slice() else {
        return Err(incomplete(format!("Credential must have exactly 5 slash-delimited elements: '{credential}'.")));
    };
    if *service != "bedrock" {
        let message = "Credential should be scoped to correct service: 'bedrock'.";
        return Err(("InvalidSignatureException", message.to_owned()));
    }
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if *end != "aws4_request" || key_id.is_empty() || region.is_empty() || !digits(date, 8) {
        return Err(incomplete(format!("Credential is not ID/DATE/REGION/bedrock/aws4_request: '{credential}'.")));
    }
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if signature.len() != 64 || !signature.bytes().all(is_hex) {
        return Err(incomplete("Signature must be 64 hexadecimal digits.".to_owned()));
    }
    if !signed.is_sorted() || signed.iter().any(|name| name.is_empty() || *name != name.to_ascii_lowercase()) {
        return Err(incomplete("SignedHeaders must be lower case and sorted.".to_owned()));
    }
    Ok(Claim { key_id, date, region, signed, signature })
}

/// `20260102T030405Z`.
fn is_time(text: &str) -> bool {
    text.len() == 16
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

fn canonical_request(received: &Received, signed: &[&str]) -> Result<String, String> {
    let (path, query) = &received.raw;
    // The path is encoded once more than it was sent, segment by segment.
    let path: Vec<String> = path.split('/').map(encode).collect();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encode(&decode(name)), encode(&decode(value)))
        })
        .collect();
    pairs.sort();
    let query: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut headers = String::new();
    for name in signed {
        let values = received.headers.get_all(*name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let values: Vec<String> = values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let value = if values.is_empty() && *name == "host" { received.host.clone() } else { values.join(",") };
        // Writing to a string never fails.
        let _ = writeln!(headers, "{name}:{value}");
    }
    let own = hex(&sha256(&received.body));
    let payload = match received.key("x-amz-content-sha256") {
        Some(given) if given != own && given != "UNSIGNED-PAYLOAD" => {
            return Err("The provided 'x-amz-content-sha256' header does not match what was computed.".to_owned());
        }
        Some(given) => given.to_owned(),
        None => own,
    };
    Ok(format!(
        "{}\n{}\n{}\n{headers}\n{}\n{payload}",
        received.method,
        path.join("/"),
        query.join("&"),
        signed.join(";")
    ))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // A key may have any length, so no key is refused.
    let mac = Hmac::<Sha256>::new_from_slice(key);
    mac.map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;

    /// The example of botocore, signed with the secret of AWS's documentation.
    #[test]
    fn the_signature_of_botocore_is_computed() {
        let uri = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse".parse::<Uri>().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("host", "bedrock-runtime.us-east-1.amazonaws.com".parse().unwrap());
        headers.insert("x-amz-date", "20260102T030405Z".parse().unwrap());
        let received = Received::new(Method::POST, &uri, headers, r#"{"messages":[]}"#.into());
        let signed = ["content-type", "host", "x-amz-date"];
        let canonical = canonical_request(&received, &signed).unwrap();
        assert!(canonical.contains("v1%253A0/converse\n"), "{canonical}");
        let hash = hex(&sha256(canonical.as_bytes()));
        assert_eq!(hash, "bfa29cdbc226925bf089e2453e574751dc87629e8926918d37eb347cf2053df4");
        let header = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/bedrock/aws4_request, \
                      SignedHeaders=content-type;host;x-amz-date, \
                      Signature=87e114dcbbaf782b0b033c88905b9bf9956d44b2a0f41c3174eac2780fb31277";
        let claim = claim(header).unwrap();
        let to_sign = format!("AWS4-HMAC-SHA256\n20260102T030405Z\n20260102/us-east-1/bedrock/aws4_request\n{hash}");
        assert_eq!(signature("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &claim, &to_sign), claim.signature);
    }

    #[test]
    fn long_keys_are_hashed_first() {
        let long = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", "RFC 4231, case 6");
    }
}
