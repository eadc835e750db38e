//! Reads the bodies of requests, and keeps the memory of large ones.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::body::Body as ClientBody;
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;

use super::{ErrorKind, ProxyError, budget::Share};

/// The memory that is reserved for a body of unknown or doubtful length before its bytes arrive: a client's claim costs
/// nothing until it is sent.
const RESERVE: usize = 256 * 1024;

/// The bytes of a body after which its task lets others run. A fast client's body is always there, and reading 30 MiB in
/// one turn takes longer than a small request.
const TURN: usize = 256 * 1024;

/// When a client may try again if there was no memory for its body.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long the body of a refused request is read and discarded.
const LINGER: Duration = Duration::from_secs(5);

/// Reads a request's whole body and takes it. A body that is too large stays in `taken`: it may be read further, so
/// that the client sees the reply.
///
/// # Errors
/// When it is over `limit`, not sent within `timeout`, or cut short, and when `memory` has no room for it.
pub async fn read(
    taken: &mut Option<ClientBody>,
    memory: &mut Share,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, ProxyError> {
    let Some(mut body) = taken.take() else { return Ok(Bytes::new()) };
    let too_large = || {
        let message = format!("the request body is larger than the limit of {limit} bytes");
        ProxyError::new(ErrorKind::BodyTooLarge, message).closing()
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        *taken = Some(body);
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(timeout, collect(&mut body, memory, limit, announced)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Unread::TooLarge)) => {
            *taken = Some(body);
            Err(too_large())
        }
        Ok(Err(Unread::NoMemory)) => {
            *taken = Some(body);
            let message = "the gateway has no memory left for this request body: try again later";
            let mut error = ProxyError::new(ErrorKind::BodiesOverBudget, message).closing();
            error.retry_after = Some(RETRY_AFTER);
            Err(error)
        }
        Ok(Err(Unread::Broken(error))) => {
            let message = "the request body ended before it was complete";
            Err(ProxyError::with_cause(ErrorKind::BodyIncomplete, message, error.to_string()).closing())
        }
        Err(_) => Err(ProxyError::new(ErrorKind::BodyTimeout, "the request body was not sent in time").closing()),
    }
}

/// Continues to read while a reply that did not need the body is sent: closing while a client still sends resets the
/// connection, and the client loses the reply. The task ends with the connection, and is short anyway.
pub fn linger(mut body: ClientBody) {
    if body.is_end_stream() {
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "it ends with the connection or after LINGER")]
    tokio::spawn(tokio::time::timeout(LINGER, async move { while let Some(Ok(_)) = body.frame().await {} }));
}

/// The reason why a body was not read.
enum Unread {
    TooLarge,
    NoMemory,
    Broken(axum::Error),
}

/// Collects the whole body. A body that comes in one frame is not copied.
async fn collect(body: &mut ClientBody, memory: &mut Share, limit: usize, announced: usize) -> Result<Bytes, Unread> {
    let mut first: Option<Bytes> = None;
    let mut whole: Option<Vec<u8>> = None;
    let mut turn = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        let have = whole.as_ref().map_or(first.as_ref().map_or(0, Bytes::len), Vec::len);
        if have + data.len() > limit {
            return Err(Unread::TooLarge);
        }
        if !memory.take(data.len()) {
            return Err(Unread::NoMemory);
        }
        turn += data.len();
        match (&mut whole, first.take()) {
            (Some(whole), _) => whole.extend_from_slice(&data),
            (None, None) => first = Some(data),
            (None, Some(start)) => {
                let mut buffer = buffer(announced.min(RESERVE).max(start.len() + data.len()));
                buffer.extend_from_slice(&start);
                buffer.extend_from_slice(&data);
                whole = Some(buffer);
            }
        }
        if turn >= TURN {
            turn = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(whole.map(Bytes::from).or(first).unwrap_or_default())
}

/// Buffers that held large request bodies, for reuse: fresh memory of this size comes from the kernel page by page,
/// which costs more than all other work on a body. Translated bodies share them with the clients': a request holds one,
/// then the other, and both only while it is translated.
static BUFFERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
/// Most buffers that are kept. Each takes one to two times [`RESERVE`] bytes.
const MAX_BUFFERS: usize = 32;
/// Smaller bodies are cheap to allocate.
const MIN_KEPT: usize = 32 * 1024;

/// An empty buffer for a body of about `capacity` bytes. [`recycle`] takes it back after the body was sent.
pub fn buffer(capacity: usize) -> Vec<u8> {
    if !(MIN_KEPT..=RESERVE).contains(&capacity) {
        return Vec::with_capacity(capacity);
    }
    let kept = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner).pop();
    kept.unwrap_or_else(|| Vec::with_capacity(RESERVE))
}

/// Takes back the memory of a body that is no longer needed.
pub fn recycle(body: Bytes) {
    if body.len() < MIN_KEPT || body.len() > RESERVE {
        return;
    }
    let Ok(buffer) = body.try_into_mut() else { return };
    let mut buffer = Vec::from(buffer);
    buffer.clear();
    if buffer.capacity() < RESERVE || buffer.capacity() > 2 * RESERVE {
        return;
    }
    let mut kept = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < MAX_BUFFERS {
        kept.push(buffer);
    }
}
