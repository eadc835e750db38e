//! Every attempt reports how it ended, wherever the request ends.

use futures_util::stream;

use super::*;

/// A stream with the chat chunks `parts`, which then ends as `end` states.
fn events(
    parts: Vec<&'static str>,
    end: impl Future<Output = Option<std::io::Error>> + Send + 'static,
) -> impl IntoResponse {
    let mut parts = parts.into_iter();
    let mut end = Some(Box::pin(end));
    let frames = stream::unfold((), move |()| {
        let part = parts.next();
        let end = if part.is_none() { end.take() } else { None };
        async move {
            if let Some(part) = part {
                return Some((Ok(part), ()));
            }
            Some((Err(end?.await?), ()))
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(frames))
}

const CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

async fn ask_for_stream(plane: &Plane) -> Response {
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    plane.send(Method::POST, "/v1/chat/completions", body).await
}

#[tokio::test]
async fn an_answer_is_reported_when_its_body_was_handed_over() {
    let plane = Plane::new(&[upstream(|_| completion()).await], |_| {});
    let reply = plane.chat().await;
    assert_eq!(plane.state(0).in_flight(), 1, "the attempt lasts as long as the reply");
    assert_eq!(read(reply).await.0, StatusCode::OK);
    assert_eq!(plane.state(0).in_flight(), 0);
    assert_eq!(plane.ended(0), [("answered", 1)]);
}

#[tokio::test]
async fn the_attempt_that_failed_and_the_last_one_are_both_reported() {
    let overloaded = upstream(|_| (StatusCode::SERVICE_UNAVAILABLE, "{}")).await;
    let nothing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plane = Plane::new(&[overloaded, nothing, upstream(|_| completion()).await], |_| {});
    assert_eq!(read(plane.chat().await).await.0, StatusCode::OK);
    assert_eq!(plane.ended(0), [("refused", 1)]);
    assert_eq!(plane.ended(1), [("unreachable", 1)]);
    assert_eq!(plane.ended(2), [("answered", 1)]);
}

#[tokio::test]
async fn a_stream_that_breaks_is_reported_from_inside_the_relay() {
    for (parts, expected) in [
        (vec![CHUNK, LAST], "answered"),
        // It ends without an error, but in the middle.
        (vec![CHUNK], "broken"),
    ] {
        let shown = parts.clone();
        let plane = Plane::new(&[upstream(move |_| events(parts.clone(), async { None })).await], |_| {});
        let (status, text) = read(ask_for_stream(&plane).await).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(text.contains("upstream_closed"), expected == "broken", "{text}");
        assert_eq!(plane.ended(0), [(expected, 1)], "{shown:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_stream_is_reported() {
    let broken = || async {
        // By then the head has been sent.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some(std::io::Error::other("gone"))
    };
    let plane = Plane::new(&[upstream(move |_| events(vec![CHUNK], broken())).await], |_| {});
    let (_, text) = read(ask_for_stream(&plane).await).await;
    assert!(text.contains("upstream_closed"), "{text}");
    assert_eq!(plane.ended(0), [("broken", 1)]);
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_reported() {
    let plane = Plane::new(&[upstream(|_| events(vec![CHUNK], std::future::pending())).await], |_| {});
    let (_, text) = read(ask_for_stream(&plane).await).await;
    assert!(text.contains("upstream_timeout"), "{text}");
    assert_eq!(plane.ended(0), [("timedOut", 1)]);
}

#[tokio::test]
async fn a_client_that_goes_away_is_no_outcome_of_the_target() {
    let plane = Plane::new(&[upstream(|_| events(vec![CHUNK], std::future::pending())).await], |_| {});
    drop(ask_for_stream(&plane).await);
    assert_eq!(plane.ended(0), [("abandoned", 1)]);
}

#[tokio::test]
async fn a_target_that_is_too_slow_is_reported_as_slow_also_when_the_rules_time_is_over() {
    for bound in ["attempt", "request"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = listener.local_addr().unwrap();
        let plane = Plane::new(&[silent], |rule| {
            let limit = Some(Duration::from_millis(200));
            *(if bound == "attempt" { &mut rule.timeouts.backend } else { &mut rule.timeouts.request }) = limit;
        });
        assert_eq!(read(plane.chat().await).await.0, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(plane.ended(0), [("timedOut", 1)], "{bound}");
    }
}

#[tokio::test]
async fn requests_of_other_operations_are_attempts_too() {
    // A Gemini request for embeddings is sent in OpenAI's form.
    let embeddings = upstream(|request: Request<Bytes>| {
        assert_eq!(request.uri().path(), "/v1/embeddings");
        let body = r#"{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":[0.5]}],
            "usage":{"prompt_tokens":1,"total_tokens":1}}"#;
        ([("content-type", "application/json")], body)
    });
    let plane = Plane::new(&[embeddings.await], |_| {});
    let body = r#"{"content":{"parts":[{"text":"hello"}]}}"#;
    let (status, text) = read(plane.send(Method::POST, "/v1beta/models/m:embedContent", body).await).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.contains("0.5"), "{text}");
    assert_eq!(plane.ended(0), [("answered", 1)]);
}
