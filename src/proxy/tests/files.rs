//! Files that a client names by URL, and that the gateway fetches.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::header;
use tokio::sync::Notify;

use super::*;
use crate::upstream::{Fetcher, FetcherOptions};

const GEMINI: &str = "gemini: {model: gemini-2.5-flash, apiVersion: v1beta, authToken: {kind: Inline, inline: key}}";
/// Bytes of the image that [`images`] serves.
const IMAGE: usize = 512 * 1024;

/// A server of images, and how often it was asked.
async fn images() -> (SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let address = upstream(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
        image.resize(IMAGE, 0);
        ([(header::CONTENT_TYPE, "image/png")], image)
    })
    .await;
    (address, asked)
}

/// A model that thinks until `done` about each request that has the image, and then answers with `status`.
async fn model(status: StatusCode, done: &Arc<Notify>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let done = Arc::clone(done);
    let router = Router::new().fallback(move |body: Bytes| async move {
        assert!(body.len() > IMAGE, "the image is in the body");
        done.notified().await;
        let reply = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#;
        (status, [(header::CONTENT_TYPE, "application/json")], reply)
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A plane in front of these models, and its fetcher.
fn plane(models: &[SocketAddr], images: SocketAddr) -> (Plane, Fetcher) {
    let options = FetcherOptions { private: true, ports: vec![images.port()], ..FetcherOptions::default() };
    let fetcher = Fetcher::new(options);
    let settings = Settings { fetcher: fetcher.clone(), ..Settings::default() };
    (Plane::with_settings(GEMINI, models, settings, |_| {}), fetcher)
}

async fn describe(plane: &Plane, images: SocketAddr) -> StatusCode {
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[
            {{"type":"image_url","image_url":{{"url":"http://{images}/i.png"}}}}]}}]}}"#
    );
    plane.send(Method::POST, "/v1/chat/completions", &body).await.status()
}

/// Waits until files are held, and then until none are.
async fn until_let_go(fetcher: &Fetcher) {
    for held in [true, false] {
        while (fetcher.held() > 0) != held {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn files_are_let_go_once_the_upstream_has_them() {
    let done = Arc::new(Notify::new());
    let ((images, asked), model) = (images().await, model(StatusCode::OK, &done).await);
    let (plane, fetcher) = plane(&[model], images);
    let let_go = async {
        tokio::time::timeout(Duration::from_secs(20), until_let_go(&fetcher)).await.unwrap();
        done.notify_one();
    };
    let (status, ()) = tokio::join!(describe(&plane, images), let_go);
    assert_eq!((status, asked.load(Ordering::Relaxed)), (StatusCode::OK, 1));
}

#[tokio::test]
async fn files_that_were_let_go_are_fetched_anew_for_another_target() {
    let done = Arc::new(Notify::new());
    let first = model(StatusCode::SERVICE_UNAVAILABLE, &done).await;
    let ((images, asked), second) = (images().await, model(StatusCode::OK, &done).await);
    let (plane, fetcher) = plane(&[first, second], images);
    let let_go = async {
        for _ in 0..2 {
            tokio::time::timeout(Duration::from_secs(20), until_let_go(&fetcher)).await.unwrap();
            done.notify_one();
        }
    };
    let (status, ()) = tokio::join!(describe(&plane, images), let_go);
    assert_eq!((status, asked.load(Ordering::Relaxed)), (StatusCode::OK, 2));
}
