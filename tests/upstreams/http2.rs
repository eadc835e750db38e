//! Servers that speak HTTP/2 without TLS.

use std::{convert::Infallible, net::TcpListener};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use crate::common::{
    Gate, Gateway, Start,
    manifests::{route, rule, yaml},
    request,
};

/// Opens its gate when it is dropped.
struct Told(Gate);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Answers with the request that it got; `/silent` gets no reply. `asked` is opened by each request, `gone` when a
/// request that was not answered ends.
fn server(asked: Gate, gone: Gate) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let answer = move |request: Request<Incoming>| {
        asked.open();
        let told = Told(gone.clone());
        async move {
            if request.uri().path() == "/silent" {
                std::future::pending::<()>().await;
            }
            std::mem::forget(told);
            let of_connection = ["connection", "keep-alive", "x-hop", "host", "transfer-encoding"];
            let mut seen = json!({
                "version": format!("{:?}", request.version()), "uri": request.uri().to_string(),
                "method": request.method().as_str(), "x-kept": request.headers().contains_key("x-kept"),
                "of_connection": of_connection.iter().any(|name| request.headers().contains_key(*name)),
            });
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen["length"] = json!(body.len());
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(seen.to_string()))))
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(answer.clone())));
            }
        });
    });
    port
}

fn gateways(port: u16) -> [(&'static str, Gateway); 2] {
    let backend = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": port}], "appProtocol": "http2"}},
    })) + &route("plain", &json!([rule("/", "plain")]));
    let service = yaml(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "127.0.0.1", "ports": [{"port": port, "appProtocol": "kubernetes.io/h2c"}]},
    })) + &route("web", &json!([{"backendRefs": [{"name": "web", "port": port}]}]));
    [("static", backend), ("Service", service)].map(|(what, text)| (what, Start::new().manifest("a.yaml", &text).run()))
}

#[test]
fn requests_and_bodies_pass_to_http2_servers() {
    let port = server(Gate::default(), Gate::default());
    for (what, gateway) in gateways(port) {
        let mut client = gateway.connect();
        let headers = [("connection", "x-hop"), ("x-hop", "1"), ("x-kept", "1")];
        // Larger than HTTP/2's first window.
        for length in [0, 1, 300_000] {
            let bytes = request("POST", "/a?b=c%20d", &headers, &vec![b'x'; length]);
            let reply = client.send(&bytes).reply();
            let expected = json!({
                "version": "HTTP/2.0", "uri": "http://gateway.test/a?b=c%20d", "method": "POST", "x-kept": true,
                "of_connection": false, "length": length,
            });
            assert_eq!((reply.status, reply.json()), (200, expected), "{what}");
        }
    }
}

#[test]
fn a_client_disconnect_resets_the_http2_stream() {
    let (asked, gone) = (Gate::default(), Gate::default());
    let port = server(asked.clone(), gone.clone());
    for (what, gateway) in gateways(port) {
        let mut client = gateway.connect();
        client.send(&request("GET", "/silent", &[], b""));
        asked.wait();
        drop(client);
        gone.wait();
        assert_eq!(gateway.access("/silent")["error"], "client_closed", "{what}");
        // Only its stream has ended.
        assert_eq!(gateway.get("/next").status, 200, "{what}");
        asked.wait();
    }
}
