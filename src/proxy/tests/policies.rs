//! The effects of policies: they change the request, refuse it, or change every reply. Also the effect of a policy's
//! error.

use futures_util::future::{self, FutureExt};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::*;
use crate::{
    dialect::ErrorClass,
    policy::{PolicyFuture, PolicyRequest, Refusal, RefusalForm, ReplyPolicy, RequestPolicy},
};

/// A request policy made of a function.
struct Step<F>(F);

impl<F> RequestPolicy for Step<F>
where
    F: Fn(&mut PolicyRequest<'_>) -> Result<(), Refusal> + Send + Sync,
{
    fn apply<'a>(&'a self, request: &'a mut PolicyRequest<'_>) -> PolicyFuture<'a> {
        future::ready((self.0)(request)).boxed()
    }
}

/// Marks every reply.
struct Mark;

impl ReplyPolicy for Mark {
    fn head(&self, headers: &mut HeaderMap) {
        headers.append("x-mark", HeaderValue::from_static("here"));
    }
}

#[tokio::test]
async fn every_reply_passes_the_reply_policies() {
    let mark = |rule: &mut Rule| rule.policies.reply.push(Box::new(Mark));
    let good = upstream(|_| completion()).await;
    let nothing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxied = Plane::new(&[good], mark);
    let failing = Plane::new(&[nothing], mark);
    let redirecting = Plane::new(&[good], |rule| {
        rule.action = Action::Redirect(crate::snapshot::Redirect {
            status: StatusCode::FOUND,
            scheme: None,
            host: Some("elsewhere".into()),
            port: None,
            listener_port: 80,
            path: None,
        });
        mark(rule);
    });
    let unavailable = Plane::new(&[good], |rule| {
        rule.action = Action::default();
        mark(rule);
    });
    let messages = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}"#;
    for (what, reply, status) in [
        ("proxied", proxied.chat().await, 200),
        ("translated", proxied.send(Method::POST, "/v1/messages", messages).await, 200),
        ("refused by the step that classifies", proxied.send(Method::POST, "/v1/chat/completions", "{").await, 400),
        ("no answer", failing.chat().await, 502),
        ("redirect", redirecting.chat().await, 302),
        ("unavailable", unavailable.chat().await, 500),
    ] {
        assert_eq!(reply.status().as_u16(), status, "{what}");
        assert_eq!(reply.headers().get_all("x-mark").iter().count(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_policy_changes_what_the_target_is_sent() {
    let echo = upstream(|request: Request<Bytes>| {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["messages"][0]["content"], "changed");
        assert_eq!(request.headers()["x-step"], "1");
        completion()
    });
    let plane = Plane::new(&[echo.await], |rule| {
        rule.policies.request.push(Box::new(Step(|request: &mut PolicyRequest<'_>| {
            let body = request.body.as_ref().expect("a chat has a body");
            request.body = Some(Bytes::from(std::str::from_utf8(body).unwrap().replace("hello", "changed")));
            for headers in [&mut *request.headers, &mut *request.added] {
                headers.insert("x-step", HeaderValue::from_static("1"));
            }
            Ok(())
        })));
    });
    assert_eq!(read(plane.chat().await).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_refusal_is_an_error_of_the_clients_dialect() {
    let refusal = |_: &mut PolicyRequest<'_>| {
        Err(Refusal {
            status: 429,
            class: ErrorClass::RateLimit,
            message: "slower, please".into(),
            cause: "the bucket of key 7 is empty".into(),
            form: RefusalForm::Error,
        })
    };
    let unused = "127.0.0.1:9".parse().unwrap();
    let plane = Plane::new(&[unused], |rule| rule.policies.request.push(Box::new(Step(refusal))));
    let (status, text) = read(plane.chat().await).await;
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status.as_u16(), &error["error"]["message"]), (429, &"slower, please".into()), "{text}");
    let messages = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}"#;
    let (status, text) = read(plane.send(Method::POST, "/v1/messages", messages).await).await;
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status.as_u16(), &error["error"]["type"]), (429, &"rate_limit_error".into()), "{text}");
}

#[tokio::test]
async fn a_panic_ends_one_request_and_is_recorded() {
    let plane = Plane::new(&[upstream(|_| completion()).await], |rule| {
        rule.policies.request.push(Box::new(Step(|request: &mut PolicyRequest<'_>| {
            let asks_for_it = request.body.as_ref().is_some_and(|body| body.windows(5).any(|word| word == b"panic"));
            assert!(!asks_for_it, "a mistake in a policy");
            Ok(())
        })));
    });
    let body = r#"{"model":"m","messages":[{"role":"user","content":"panic"}]}"#;
    let (status, text) = read(plane.send(Method::POST, "/v1/chat/completions", body).await).await;
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status.as_u16(), &error["error"]["code"]), (500, &"panic".into()), "{text}");
    assert_eq!(read(plane.chat().await).await.0, StatusCode::OK, "the next request is served");
    let metrics = plane.shared.metrics.encode().unwrap();
    assert!(metrics.contains(r#"error="panic""#), "{metrics}");
}
