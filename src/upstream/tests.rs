//! Connections to real servers on this machine: TLS, HTTP/2, reuse.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{Request, Response, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Dialer, DialerOptions, Origin, Pools, SendErrorKind, Transport, UpstreamBody};

/// A server with an untrusted certificate. Gives its port and the number of connections it has accepted.
async fn tls_server(alpn: &[&[u8]]) -> (u16, Arc<AtomicUsize>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request: Request<Incoming>| async move {
                    let version = request.version();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let text = format!("{version:?} {}", String::from_utf8_lossy(&body));
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(text))))
                });
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (port, accepted)
}

fn origin(port: u16, verify: bool) -> Origin {
    Origin { host: "localhost".into(), port, transport: Transport::Tls { verify }, provider: true }
}

async fn post(pools: &Pools, origin: &Origin, body: &'static str) -> Result<String, SendErrorKind> {
    let pool = pools.get(origin).unwrap();
    let request = Request::post("/x")
        .header(header::HOST, pool.host())
        .body(UpstreamBody::Full(Some(Bytes::from_static(body.as_bytes()))))
        .unwrap();
    let reply = pool.send(request, false).await.map_err(|e| e.kind)?;
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

fn pools() -> Pools {
    Pools::new(Dialer::new(DialerOptions::default()))
}

#[tokio::test]
async fn an_untrusted_certificate_is_refused() {
    let (port, _) = tls_server(&[b"h2", b"http/1.1"]).await;
    assert_eq!(post(&pools(), &origin(port, true), "a").await, Err(SendErrorKind::Tls));
}

#[tokio::test]
async fn verification_is_off_only_where_a_backend_disables_it() {
    let (port, _) = tls_server(&[b"http/1.1"]).await;
    let pools = pools();
    assert_eq!(post(&pools, &origin(port, false), "a").await, Ok(format!("{:?} a", Version::HTTP_11)));
    assert_eq!(post(&pools, &origin(port, true), "a").await, Err(SendErrorKind::Tls));
}

#[tokio::test]
async fn the_server_chooses_the_version_and_connections_are_kept_alive() {
    for (alpn, version) in [(&[b"h2".as_slice(), b"http/1.1"][..], Version::HTTP_2), (&[b"http/1.1"], Version::HTTP_11)]
    {
        let (port, accepted) = tls_server(alpn).await;
        let (pools, origin) = (pools(), origin(port, false));
        // Pools live as long as something holds them: here, what a snapshot would.
        let _held = pools.get(&origin).unwrap();
        for body in ["a", "b", "c"] {
            assert_eq!(post(&pools, &origin, body).await, Ok(format!("{version:?} {body}")));
        }
        assert_eq!(accepted.load(Ordering::Relaxed), 1, "{version:?}");
    }
}

#[tokio::test]
async fn a_peer_without_tls_is_distinguished_from_a_missing_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let speaking = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-x\r\n").await;
    });
    assert_eq!(post(&pools(), &origin(port, false), "a").await, Err(SendErrorKind::Tls));
    speaking.await.unwrap();
    assert_eq!(post(&pools(), &origin(port, false), "a").await, Err(SendErrorKind::Connect), "no server listens now");
    let nowhere = Origin { host: "does-not-exist.invalid".into(), ..origin(443, true) };
    assert_eq!(post(&pools(), &nowhere, "a").await, Err(SendErrorKind::Resolve));
}
