//! Heads of requests and replies on the wire.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};

use super::Framing;

/// Most headers of a reply.
pub const MAX_HEADERS: usize = 128;
/// Longest head of a reply.
pub const MAX_HEAD: usize = 64 * 1024;

/// The framing of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// No body.
    Nothing,
    /// With its length.
    Length(u64),
    /// In chunks, without a known length.
    Chunked,
}

/// Writes the head of `request`; the framing headers are set here.
pub fn write<B>(request: &Request<B>, sending: Sending, out: &mut BytesMut) {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    out.reserve(256 + path.len() + request.headers().len() * 48);
    out.put_slice(request.method().as_str().as_bytes());
    out.put_u8(b' ');
    // A proxy needs the absolute form.
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
        out.put_slice(scheme.as_bytes());
        out.put_slice(b"://");
        out.put_slice(authority.as_str().as_bytes());
    }
    out.put_slice(path.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        if matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION) {
            continue;
        }
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    match sending {
        Sending::Nothing => {}
        Sending::Length(length) => {
            out.put_slice(b"content-length: ");
            out.put_slice(itoa::Buffer::new().format(length).as_bytes());
            out.put_slice(b"\r\n");
        }
        Sending::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.put_slice(b"\r\n");
}

/// A reply's head, and the framing of its body.
#[derive(Debug)]
pub struct Head {
    /// Status and headers.
    pub response: Response<()>,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may be used again after the body.
    pub keep_alive: bool,
}

/// The problem with a reply's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.
    #[error("reply is not HTTP/1: {0}")]
    Syntax(#[from] httparse::Error),
    /// Beyond the bound.
    #[error("the reply's head is longer than {MAX_HEAD} bytes")]
    TooLong,
    /// Its length is ambiguous.
    #[error("the reply's framing is ambiguous")]
    Framing,
    /// It switches protocols.
    #[error("the reply switches protocols, which was not requested")]
    Upgrade,
}

/// Takes the whole head of a reply to `method` from `buffer`; `None` when more bytes are needed.
///
/// # Errors
/// When it is not a head of HTTP/1, or too long, or two lengths contradict each other.
pub fn read(buffer: &mut BytesMut, method: &Method) -> Result<Option<Head>, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(buffer)? {
        // The same bound as for a head that arrives in parts.
        httparse::Status::Complete(length) if length > MAX_HEAD => return Err(HeadError::TooLong),
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if buffer.len() > MAX_HEAD => return Err(HeadError::TooLong),
        httparse::Status::Partial => return Ok(None),
    };
    let status = parsed.code.and_then(|c| StatusCode::from_u16(c).ok()).ok_or(httparse::Error::Status)?;
    let http11 = parsed.version == Some(1);
    // Values stay slices of the head: their positions are noted before it is split off.
    let base = buffer.as_ptr().addr();
    let spans: smallvec::SmallVec<[(HeaderName, usize, usize); 32]> = parsed
        .headers
        .iter()
        .map(|h| {
            let name = HeaderName::from_bytes(h.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
            Ok((name, h.value.as_ptr().addr() - base, h.value.len()))
        })
        .collect::<Result<_, httparse::Error>>()?;
    let head: Bytes = buffer.split_to(length).freeze();
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = if http11 { Version::HTTP_11 } else { Version::HTTP_10 };
    let map = response.headers_mut();
    // With room for what is added on the way to the client.
    map.reserve(spans.len() + 4);
    for (name, start, length) in spans {
        let value = if length == 0 { Bytes::new() } else { head.slice(start..start + length) };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| httparse::Error::HeaderValue)?;
        map.append(name, value);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(HeadError::Upgrade);
    }
    let keep_alive = keeps_alive(&response, http11);
    let framing = framing(&mut response, method)?;
    let keep_alive = keep_alive && framing != Framing::Close;
    Ok(Some(Head { response, framing, keep_alive }))
}

/// How the body ends (RFC 9112, section 6.3).
fn framing(response: &mut Response<()>, method: &Method) -> Result<Framing, HeadError> {
    let (status, version) = (response.status(), response.version());
    if *method == Method::HEAD || status.is_informational() || never_has_body(status) {
        return Ok(Framing::Length(0));
    }
    let headers = response.headers_mut();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_some_and(|v| v.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
        // HTTP/1.0 has no chunks: some servers and proxies on the way may not have read them (RFC 9112, section 6.1).
        if !chunked || codings.next().is_some() || version == Version::HTTP_10 {
            return Err(HeadError::Framing);
        }
        // A reply with both headers can be used for request smuggling; the chunks decide.
        headers.remove(header::CONTENT_LENGTH);
        return Ok(Framing::Chunked(super::chunked::ChunkedDecoder::default()));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(Framing::Close) };
    let length = first.to_str().ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok());
    let length = length.ok_or(HeadError::Framing)?;
    if lengths.any(|other| other != first) {
        return Err(HeadError::Framing);
    }
    Ok(Framing::Length(length))
}

fn never_has_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether the headers of a request or a reply belong to a mechanism that authenticates the connection (RFC 4559):
/// later requests on it would be in that user's name.
pub fn authenticates_connection(headers: &HeaderMap) -> bool {
    let is_credential = |name: &HeaderName| {
        use header::{AUTHORIZATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
        matches!(*name, AUTHORIZATION | PROXY_AUTHORIZATION | WWW_AUTHENTICATE | PROXY_AUTHENTICATE)
    };
    let is_scheme = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"negotiate") || scheme.eq_ignore_ascii_case(b"ntlm")
    };
    headers.iter().any(|(name, value)| is_credential(name) && is_scheme(value))
}

/// Whether the connection can be used again, as far as the reply's head decides. Where servers and proxies disagree on
/// the end of a reply, the rest of one could be taken for the next one.
fn keeps_alive(response: &Response<()>, http11: bool) -> bool {
    let headers = response.headers();
    let (length, chunked) =
        (headers.contains_key(header::CONTENT_LENGTH), headers.contains_key(header::TRANSFER_ENCODING));
    if (length && chunked) || (never_has_body(response.status()) && (length || chunked)) {
        return false;
    }
    if authenticates_connection(headers) {
        return false;
    }
    let says = |word: &str| {
        let values = response.headers().get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    !says("close") && (http11 || says("keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(wire: &str, method: &Method) -> Result<Option<Head>, HeadError> {
        read(&mut BytesMut::from(wire), method)
    }

    #[test]
    fn framing_and_reuse_follow_the_rules() {
        let length = |n| Framing::Length(n);
        let chunked = || Framing::Chunked(super::super::chunked::ChunkedDecoder::default());
        let (get, head) = (&Method::GET, &Method::HEAD);
        let cases = [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", get, length(5), true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n", get, length(5), false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", get, chunked(), true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n", get, chunked(), false),
            ("HTTP/1.1 200 OK\r\n\r\n", get, Framing::Close, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", get, length(0), true),
            ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", get, length(0), false),
            ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", get, length(0), false),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", get, length(0), false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", head, length(0), true),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", get, length(1), false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n", get, length(1), true),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive, close\r\n\r\n", get, length(1), false),
            ("HTTP/1.1 401 No\r\nwww-authenticate: NTLM\r\ncontent-length: 1\r\n\r\n", get, length(1), false),
            ("HTTP/1.1 200 OK\r\nwww-authenticate: Negotiate oYH\r\ncontent-length: 1\r\n\r\n", get, length(1), false),
            ("HTTP/1.1 401 No\r\nwww-authenticate: Bearer\r\ncontent-length: 1\r\n\r\n", get, length(1), true),
        ];
        for (wire, method, framing, keep_alive) in cases {
            let head = parse(wire, method).unwrap().unwrap();
            assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{wire}");
        }
    }

    #[test]
    fn ambiguous_and_broken_heads_are_refused() {
        for wire in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "<html>",
        ] {
            assert!(parse(wire, &Method::GET).is_err(), "{wire}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(MAX_HEAD));
        assert_eq!(parse(&endless, &Method::GET).unwrap_err(), HeadError::TooLong);
        let whole = format!("{endless}\r\n\r\n");
        assert_eq!(parse(&whole, &Method::GET).unwrap_err(), HeadError::TooLong);
    }

    #[test]
    fn values_are_slices_and_the_rest_stays_in_the_buffer() {
        let mut buffer =
            BytesMut::from("HTTP/1.1 200 OK\r\nX-Empty:\r\nx-two: a\r\nx-two: b\r\ncontent-length: 2\r\n\r\nhi");
        let head = read(&mut buffer, &Method::GET).unwrap().unwrap();
        assert_eq!(head.response.headers()["x-empty"], "");
        assert_eq!(head.response.headers().get_all("x-two").iter().count(), 2);
        assert_eq!(buffer, "hi");
        assert!(parse("HTTP/1.1 200 OK\r\nx: ", &Method::GET).unwrap().is_none(), "a head in parts waits for its rest");
    }

    #[test]
    fn requests_carry_our_framing_alone() {
        let request = Request::post("/a?b=c")
            .header("host", "h")
            .header("content-length", "9")
            .header("x", "1")
            .body(())
            .unwrap();
        let mut out = BytesMut::new();
        write(&request, Sending::Length(3), &mut out);
        assert_eq!(out, "POST /a?b=c HTTP/1.1\r\nhost: h\r\nx: 1\r\ncontent-length: 3\r\n\r\n");
    }
}
