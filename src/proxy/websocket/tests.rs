//! Bounds in time, with limits of fractions of a second.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

use super::{Limits, handshake::Head, session::Session};
use crate::{
    proxy::{Settings, Shared, peer::Peer, watch::Watch},
    telemetry::Metrics,
};

const EVENT: &str = r#"{"type":"response.create","input":"q"}"#;
/// Far more than any of these tests takes; only failures wait this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway without any route.
fn shared() -> Arc<Shared> {
    let metrics = Arc::new(Metrics::new().unwrap());
    Arc::new(Shared {
        snapshots: Arc::default(),
        unrouted: metrics.requests.route("", "", ""),
        metrics,
        settings: Settings::default(),
        leaving: false.into(),
        cut: CancellationToken::new(),
    })
}

/// Serves the client of the returned stream until `closing` or a limit ends the session.
async fn connected(limits: Limits, closing: CancellationToken) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let headers = HeaderMap::from_iter([(http::header::HOST, http::HeaderValue::from_static("h"))]);
    let head = Head { uri: "/v1/responses".parse().unwrap(), headers };
    let peer = Peer::new("127.0.0.1:9".parse().unwrap(), 8080);
    let session = Session::new(far, head, shared(), peer, limits).await;
    tokio::spawn(async move { session.serve(&Watch::default(), &closing).await });
    near
}

async fn client(limits: Limits) -> WebSocketStream<DuplexStream> {
    let stream = connected(limits, CancellationToken::new()).await;
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

/// How many pings come, and the message after them.
async fn next(client: &mut WebSocketStream<DuplexStream>) -> (usize, Message) {
    let mut pings = 0;
    loop {
        match timeout(PATIENCE, client.next()).await.unwrap().unwrap().unwrap() {
            Message::Ping(_) => pings += 1,
            message => return (pings, message),
        }
    }
}

fn code(message: &Message) -> u16 {
    let Message::Close(Some(frame)) = message else { panic!("{message:?}") };
    frame.code.into()
}

fn event(message: &Message) -> Value {
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

#[test]
fn the_limits_are_those_of_the_documentation() {
    let limits = Limits::default();
    let minutes = |limit: Duration| limit.as_secs() / 60;
    assert_eq!((minutes(limits.lifetime), minutes(limits.idle), limits.ping.as_secs()), (60, 10, 30));
}

#[tokio::test]
async fn a_connection_without_events_is_pinged_and_then_closed() {
    let limits = Limits { idle: Duration::from_millis(300), ping: Duration::from_millis(50), ..Limits::default() };
    let begun = Instant::now();
    let mut client = client(limits).await;
    let (pings, message) = next(&mut client).await;
    assert_eq!(code(&message), 1000);
    assert!(begun.elapsed() >= limits.idle && (1..=6).contains(&pings), "{pings} pings");
    assert!(client.next().await.is_none());
}

#[tokio::test]
async fn half_a_message_is_no_event() {
    let limits = Limits { idle: Duration::from_millis(200), close: Duration::from_millis(1), ..Limits::default() };
    let stream = connected(limits, CancellationToken::new()).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    // A message of 4096 bytes, byte by byte, does not keep the connection open.
    writer.write_all(&[0x81, 0xfe, 0x10, 0, 0, 0, 0, 0]).await.unwrap();
    let trickle = async {
        while writer.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let mut shown = Vec::new();
    let ((), read) = timeout(PATIENCE, async { tokio::join!(trickle, reader.read_to_end(&mut shown)) }).await.unwrap();
    read.unwrap();
    assert_eq!(shown.first(), Some(&0x88), "a close frame is all that comes");
}

#[tokio::test]
async fn a_connection_ends_at_its_time_limit_with_the_error_that_clients_expect() {
    let limits = Limits { lifetime: Duration::from_millis(300), idle: Duration::from_millis(200), ..Limits::default() };
    let begun = Instant::now();
    let mut client = client(limits).await;
    let last = loop {
        // Each event is answered, here by an error: there is no route.
        client.send(Message::text(EVENT)).await.unwrap();
        let event = event(&next(&mut client).await.1);
        if event["status"] != 404 {
            break event;
        }
        sleep(Duration::from_millis(20)).await;
    };
    assert!(begun.elapsed() >= limits.lifetime);
    assert_eq!((&last["type"], &last["status"]), (&json!("error"), &json!(400)));
    assert_eq!(last["error"]["code"], "websocket_connection_limit_reached");
    assert_eq!(code(&next(&mut client).await.1), 1000);
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_close_frame_is_not_waited_for() {
    let limits = Limits { close: Duration::from_millis(50), ..Limits::default() };
    let closing = CancellationToken::new();
    let mut stream = connected(limits, closing.clone()).await;
    closing.cancel();
    let mut shown = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut shown)).await.unwrap().unwrap();
    assert_eq!(shown.get(2..4), Some(&1001_u16.to_be_bytes()[..]));
}
