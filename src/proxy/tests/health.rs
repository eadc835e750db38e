//! What an attempt finds out decides where the next request goes first.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use super::*;

/// A server whose status is changed, and which counts its requests. Its error names a wait if there is one.
#[derive(Clone, Default)]
struct Changeable {
    status: Arc<AtomicU16>,
    requests: Arc<AtomicU32>,
    retry_after: Option<&'static str>,
}

impl Changeable {
    fn new(status: u16) -> Self {
        let changeable = Self::default();
        changeable.set(status);
        changeable
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    async fn serve(&self) -> SocketAddr {
        let own = self.clone();
        upstream(move |_| {
            own.requests.fetch_add(1, Ordering::Relaxed);
            let status = StatusCode::from_u16(own.status.load(Ordering::Relaxed)).unwrap();
            if status.is_success() {
                return completion().into_response();
            }
            let mut reply = (status, r#"{"error":{"message":"no"}}"#).into_response();
            if let Some(wait) = own.retry_after {
                reply.headers_mut().insert("retry-after", wait.parse().unwrap());
            }
            reply
        })
        .await
    }

    /// Requests since the last call.
    fn requests(&self) -> u32 {
        self.requests.swap(0, Ordering::Relaxed)
    }
}

async fn chat(plane: &Plane) -> (u16, Option<String>) {
    let reply = plane.chat().await;
    let retry_after = reply.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (read(reply).await.0.as_u16(), retry_after)
}

/// Nothing listens there.
async fn nothing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_first_target_that_fails_costs_only_the_first_request() {
    for status in [429, 402, 503, 529, 401, 403] {
        let (first, second) = (Changeable::new(status), Changeable::new(200));
        let plane = Plane::new(&[first.serve().await, second.serve().await], |_| {});
        for _ in 0..5 {
            assert_eq!(chat(&plane).await.0, 200);
        }
        assert_eq!((first.requests(), second.requests()), (1, 5), "{status}");
    }
    let second = Changeable::new(200);
    let plane = Plane::new(&[nothing().await, second.serve().await], |_| {});
    for _ in 0..5 {
        assert_eq!(chat(&plane).await.0, 200);
    }
    assert_eq!(plane.ended(0), [("unreachable", 1)]);
}

#[tokio::test]
async fn a_target_that_breaks_costs_five_requests() {
    let (first, second) = (Changeable::new(500), Changeable::new(200));
    let plane = Plane::new(&[first.serve().await, second.serve().await], |_| {});
    for _ in 0..8 {
        assert_eq!(chat(&plane).await.0, 200);
    }
    assert_eq!((first.requests(), second.requests()), (5, 8));
}

#[tokio::test]
async fn the_clients_errors_cool_nothing() {
    for status in [400, 404, 409, 413, 422] {
        let (first, second) = (Changeable::new(status), Changeable::new(200));
        let plane = Plane::new(&[first.serve().await, second.serve().await], |_| {});
        for _ in 0..12 {
            assert_eq!(chat(&plane).await.0, status);
        }
        assert_eq!((first.requests(), second.requests()), (12, 0), "{status}");
        assert!(!plane.state(0).health().is_troubled(), "{status}");
    }
}

#[tokio::test]
async fn a_clients_own_key_that_is_refused_or_limited_cools_nothing() {
    let passthrough = "openai: {authToken: {kind: Passthrough}}";
    for (status, others) in [(401, 0), (403, 0), (402, 0), (429, 6)] {
        let (first, second) = (Changeable::new(status), Changeable::new(200));
        let plane = Plane::with(passthrough, &[first.serve().await, second.serve().await], |_| {});
        for _ in 0..6 {
            let body = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
            let headers = [("authorization", "Bearer of-the-client")];
            let reply = plane.send_with(Method::POST, "/v1/chat/completions", &headers, body).await;
            let expected = if others == 0 { status } else { 200 };
            assert_eq!(read(reply).await.0.as_u16(), expected, "{status}");
        }
        assert_eq!((first.requests(), second.requests()), (6, others), "{status}");
        assert!(!plane.state(0).health().is_troubled(), "{status}");
    }
}

#[tokio::test]
async fn a_limit_of_one_model_leaves_the_others() {
    let first = Changeable { retry_after: Some("60"), ..Changeable::new(429) };
    let second = Changeable::new(200);
    let plane = Plane::new(&[first.serve().await, second.serve().await], |_| {});
    assert_eq!(chat(&plane).await.0, 200);
    first.set(200);
    assert_eq!((chat(&plane).await.0, first.requests()), (200, 1));
    let other = r#"{"model":"other","messages":[{"role":"user","content":"hello"}]}"#;
    assert_eq!(read(plane.send(Method::POST, "/v1/chat/completions", other).await).await.0, 200);
    assert_eq!(first.requests(), 1, "its limit is its own");
}

#[tokio::test]
async fn when_all_targets_cool_the_client_gets_the_smallest_wait() {
    let limited = |wait| Changeable { retry_after: Some(wait), ..Changeable::new(429) };
    let (first, second) = (limited("200"), limited("20"));
    let plane = Plane::new(&[first.serve().await, second.serve().await], |_| {});
    assert_eq!(chat(&plane).await, (429, Some("20".to_owned())), "as the target wrote it");
    for _ in 0..3 {
        let (status, wait) = chat(&plane).await;
        let wait: u32 = wait.unwrap().parse().unwrap();
        assert_eq!(status, 429);
        assert!((20..=22).contains(&wait), "never earlier, up to a tenth later: {wait}");
    }
    assert_eq!((first.requests(), second.requests()), (1, 1), "no other was sent");
}

#[tokio::test]
async fn when_all_targets_have_failed_and_the_wait_is_long_the_client_gets_503() {
    let (first, second) = (Changeable::new(503), Changeable::new(429));
    let plane = Plane::new(&[first.serve().await, second.serve().await], |_| {});
    assert_eq!(chat(&plane).await.0, 429, "a cause is worth more than none");
    let (status, wait) = chat(&plane).await;
    assert!(matches!((status, wait.as_deref()), (429 | 503, Some("5" | "6"))), "{status} {wait:?}");
    assert_eq!((first.requests(), second.requests()), (1, 1));
}

#[tokio::test]
async fn when_all_targets_cool_for_a_moment_the_first_to_be_ready_is_tried() {
    let plane = Plane::new(&[nothing().await, nothing().await], |_| {});
    assert_eq!(chat(&plane).await.0, 502);
    // Each cools for a second, more or less.
    let began = std::time::Instant::now();
    let tried = |target: usize| plane.state(target).ended(AttemptOutcome::Unreachable);
    while tried(0) + tried(1) < 4 {
        chat(&plane).await;
        assert!(began.elapsed() < Duration::from_secs(20), "one of them is tried within a second");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Both cool for two seconds by then, or one for more.
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(chat(&plane).await.0);
    }
    assert!(replies.contains(&503), "the wait is longer than a second: {replies:?}");
}

#[tokio::test]
async fn one_request_finds_out_whether_a_target_has_recovered() {
    let second = Changeable::new(200);
    let dead = nothing().await;
    let plane = Plane::new(&[dead, second.serve().await], |_| {});
    assert_eq!(chat(&plane).await.0, 200);
    assert_eq!(plane.ended(0), [("unreachable", 1)]);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    // Many at once: the target gets one of them.
    let replies = futures_util::future::join_all((0..20).map(|_| chat(&plane))).await;
    assert!(replies.iter().all(|(status, _)| *status == 200));
    assert_eq!(plane.ended(0), [("unreachable", 2)]);
    assert_eq!(second.requests(), 21);
}

#[tokio::test]
async fn a_stream_that_breaks_in_the_relay_counts() {
    let chunk = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
    let first = upstream(move |_| ([("content-type", "text/event-stream")], chunk)).await;
    let second = Changeable::new(200);
    let plane = Plane::new(&[first, second.serve().await], |_| {});
    for broken in 1..=5 {
        let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
        let reply = plane.send(Method::POST, "/v1/chat/completions", body).await;
        assert!(read(reply).await.1.contains("upstream_closed"));
        assert_eq!(plane.ended(0), [("broken", broken)]);
    }
    assert_eq!((chat(&plane).await.0, second.requests()), (200, 1), "the next request goes elsewhere");
}

#[tokio::test]
async fn the_only_target_gets_every_request_until_it_cant_be_reached() {
    for status in [429, 500, 503, 401] {
        let only = Changeable { retry_after: Some("7"), ..Changeable::new(status) };
        let plane = Plane::new(&[only.serve().await], |_| {});
        for _ in 0..7 {
            assert_eq!(chat(&plane).await, (status, Some("7".to_owned())), "its own reply");
        }
        assert_eq!(only.requests(), 7, "{status}");
    }
    let plane = Plane::new(&[nothing().await], |_| {});
    for _ in 0..3 {
        assert_eq!(chat(&plane).await.0, 502);
    }
    let (status, wait) = chat(&plane).await;
    assert!(matches!((status, wait.as_deref()), (503, Some("4" | "5"))), "{status} {wait:?}");
    assert_eq!(plane.ended(0), [("unreachable", 3)]);
}

#[tokio::test]
async fn a_model_that_a_target_lacks_is_served_by_another() {
    let missing = upstream(|_| {
        let body = r#"{"error":{"message":"The model `m` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#;
        (StatusCode::NOT_FOUND, body)
    });
    let second = Changeable::new(200);
    let plane = Plane::new(&[missing.await, second.serve().await], |_| {});
    for _ in 0..3 {
        assert_eq!(chat(&plane).await.0, 200);
    }
    assert_eq!(plane.ended(0), [("refused", 1)]);
}
