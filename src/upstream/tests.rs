//! Connections to real servers on this machine: TLS, HTTP/2, reuse.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
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
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Dialer, DialerOptions, Origin, OriginKind, Pools, SendErrorKind, ServerTls, Transport, Trust, UpstreamBody,
    resolve::Resolver,
};

/// A server with an untrusted certificate. Returns its port and the number of connections it has accepted.
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
    let trust = if verify { Trust::System } else { Trust::Anyone };
    let transport = Transport::Tls(ServerTls { trust, name: None });
    Origin { host: "localhost".into(), port, transport, kind: OriginKind::Provider }
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
        // Pools live as long as they are held: here by the test, as by a snapshot.
        let _held = pools.get(&origin).unwrap();
        for body in ["a", "b", "c"] {
            assert_eq!(post(&pools, &origin, body).await, Ok(format!("{version:?} {body}")));
            tokio::time::sleep(Duration::from_millis(20)).await;
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

#[tokio::test]
async fn requests_at_once_share_the_first_connection_over_http2() {
    let (port, accepted) = tls_server(&[b"h2"]).await;
    let (pools, origin) = (pools(), origin(port, false));
    let _held = pools.get(&origin).unwrap();
    let requests = (0..50).map(|_| post(&pools, &origin, "a"));
    for reply in futures_util::future::join_all(requests).await {
        assert_eq!(reply, Ok(format!("{:?} a", Version::HTTP_2)));
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

/// A server that replies to everything. From `surplus` requests on it sends a byte more.
async fn plain_server(surplus: usize) -> (Origin, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (accepted, replies) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let replies = Arc::clone(&replies);
            tokio::spawn(async move {
                // Requests are small, and not pipelined.
                while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {
                    let reply: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok!";
                    let more = usize::from(replies.fetch_add(1, Ordering::Relaxed) >= surplus);
                    stream.write_all(&reply[..reply.len() - 1 + more]).await.unwrap();
                }
            });
        }
    });
    (Origin { host: "127.0.0.1".into(), port, transport: Transport::Http1, kind: OriginKind::Server }, accepted)
}

#[tokio::test]
async fn connections_of_a_server_that_was_right_ten_thousand_times_do_not_rest() {
    let (origin, accepted) = plain_server(10_100).await;
    let (pools, count) = (pools(), || accepted.load(Ordering::Relaxed));
    let _held = pools.get(&origin).unwrap();
    let send = async |requests: usize| {
        let before = count();
        for _ in 0..requests {
            assert_eq!(post(&pools, &origin, "a").await.as_deref(), Ok("ok"));
        }
        count() - before
    };
    assert!(send(10_000).await > 1, "a connection rests, so the next request needs another");
    assert_eq!(send(100).await, 0);
    // Each of these ends its connection, of which up to 512 are idle.
    assert!(send(600).await > 1, "a byte too many: they rest again, or end");
}

/// An HTTP/2 server that replies to the first request with this frame, about stream 1, and closes.
async fn http2_server(frame: &'static [u8]) -> u16 {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).await.unwrap();
        stream.write_all(&SETTINGS).await.unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
            if head[3] == HEADERS {
                break;
            }
        }
        stream.write_all(frame).await.unwrap();
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    port
}

#[tokio::test]
async fn an_http2_server_says_what_it_has_not_processed() {
    // Frames of RFC 9113, sections 6.4 and 6.8: length, type, flags, stream; then codes and the last stream's number.
    let cases: [(&str, &[u8], bool); 5] = [
        ("REFUSED_STREAM", &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7], true),
        ("INTERNAL_ERROR", &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2], false),
        ("GOAWAY before the stream", &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], true),
        ("GOAWAY after the stream", &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], false),
        ("closed", &[], false),
    ];
    for (what, frame, unprocessed) in cases {
        let port = http2_server(frame).await;
        let origin = Origin { host: "127.0.0.1".into(), port, transport: Transport::Http2, kind: OriginKind::Server };
        let pool = pools().get(&origin).unwrap();
        let request = Request::post("/").body(UpstreamBody::Full(Some(Bytes::from_static(b"{}")))).unwrap();
        let error = pool.send(request, false).await.map(|_| ()).unwrap_err();
        assert_eq!(error.is_unprocessed(), unprocessed, "{what}: {error}");
    }
}

#[tokio::test]
async fn a_name_that_moves_is_followed_when_connections_are_too_old() {
    let places: [IpAddr; 2] = ["127.0.0.1", "127.0.0.2"].map(|address| address.parse().unwrap());
    let first = TcpListener::bind((places[0], 0)).await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind((places[1], port)).await.unwrap();
    for (listener, reply) in [(first, "old"), (second, "new")] {
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {
                        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{reply}");
                        stream.write_all(reply.as_bytes()).await.unwrap();
                    }
                });
            }
        });
    }
    for (max_age, last) in [(Duration::from_hours(1), "old"), (Duration::ZERO, "new")] {
        let place = Arc::new(Mutex::new(places[0]));
        let looked_up = Arc::clone(&place);
        let resolver = Resolver::with_lookup(1, move |_| Ok(vec![*looked_up.lock().unwrap()]));
        let options = DialerOptions { max_age, ..DialerOptions::default() };
        let pools = Pools::new(Dialer::new(options).with_resolver(resolver));
        let (transport, kind) = (Transport::Http1, OriginKind::Server);
        let origin = Origin { host: "moves.test".into(), port, transport, kind };
        let _held = pools.get(&origin).unwrap();
        assert_eq!(post(&pools, &origin, "a").await.as_deref(), Ok("old"));
        *place.lock().unwrap() = places[1];
        // Connections rest for some milliseconds before they are used again.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(post(&pools, &origin, "a").await.as_deref(), Ok(last), "{max_age:?}");
    }
}
