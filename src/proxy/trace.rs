//! Ids that identify a request: that of its trace, and its own.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderName};

/// 32 lower-case hexadecimal digits, as the W3C's Trace Context defines them.
#[derive(Clone, Copy)]
pub struct TraceId([u8; 32]);

static SEED: LazyLock<(RandomState, RandomState)> = LazyLock::new(|| (RandomState::new(), RandomState::new()));
static COUNTER: AtomicU64 = AtomicU64::new(0);

const HEX: &[u8; 16] = b"0123456789abcdef";

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The client's own id of the request.
const CLIENT_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest client's id that is logged.
const MAX_CLIENT_ID: usize = 128;

/// The ids of one request.
pub struct RequestIds {
    /// The client's trace, from `traceparent`, or else the request's own id.
    pub trace: TraceId,
    /// The request's own id, which the client can't choose.
    pub request: TraceId,
    /// The client's `x-request-id`.
    pub client: Option<String>,
}

impl RequestIds {
    /// The ids from the request's headers, and a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let request = TraceId::new();
        let trace = headers.get(TRACEPARENT).and_then(|value| TraceId::parse(value.as_bytes())).unwrap_or(request);
        let client = headers.get(CLIENT_ID).and_then(|value| value.to_str().ok());
        Self { trace, request, client: client.map(|id| id.chars().take(MAX_CLIENT_ID).collect()) }
    }
}

impl TraceId {
    /// `00-TRACEID-PARENTID-FLAGS`.
    fn parse(traceparent: &[u8]) -> Option<Self> {
        let mut parts = traceparent.split(|b| *b == b'-');
        let id: [u8; 32] = parts.nth(1)?.try_into().ok()?;
        let valid = id.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) && id.iter().any(|b| *b != b'0');
        valid.then_some(Self(id))
    }

    /// Unique and unpredictable enough to find a log line by: a keyed hash of a counter.
    fn new() -> Self {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let (a, b) = &*SEED;
        let bytes = (u128::from(a.hash_one(count)) << 64 | u128::from(b.hash_one(count))).to_be_bytes();
        let mut id = [0; 32];
        for (pair, byte) in id.chunks_exact_mut(2).zip(bytes) {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            if let [high, low] = pair {
                (*high, *low) = (digit(byte >> 4), digit(byte & 15));
            }
        }
        Self(id)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_id_is_kept() {
        let id = |text: &str| TraceId::parse(text.as_bytes()).map(|id| id.as_str().to_owned());
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(id(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        assert_eq!(id("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(id("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), None);
        assert_eq!(id("nonsense"), None);
    }

    #[test]
    fn new_ids_differ() {
        let (a, b) = (TraceId::new(), TraceId::new());
        assert_ne!(a.as_str(), b.as_str());
        assert_eq!(a.as_str().len(), 32);
    }
}
