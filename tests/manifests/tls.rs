//! TLS listeners: certificates by server name, rotated while the program runs, and both versions of HTTP.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::{Value, json};

use super::{CHAT, condition, gateway_with, http, report, wait_for_status};
use crate::common::{Client, PATIENCE, Start, Upstream, free_port, request, s1, wait_until, yaml};

/// A certificate for a name: its DER, and a Secret `default/NAME` that holds it.
fn certificate(secret: &str, host: &str) -> (Vec<u8>, String) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let text = yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": secret, "namespace": "default"},
        "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()},
    }));
    (made.cert.der().to_vec(), text)
}

fn https(name: &str, port: u16, hostname: Option<&str>, secret: &str) -> Value {
    let mut listener =
        json!({"name": name, "protocol": "HTTPS", "port": port, "tls": {"certificateRefs": [{"name": secret}]}});
    if let Some(hostname) = hostname {
        listener["hostname"] = hostname.into();
    }
    listener
}

/// Takes any certificate whose key signs: the tests look at it themselves.
#[derive(Debug)]
struct Any(CryptoProvider);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn config(alpn: &[&str], sni: bool) -> ClientConfig {
    let provider = aws_lc_rs::default_provider();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.enable_sni = sni;
    // Every handshake shows the certificate.
    config.resumption = rustls::client::Resumption::disabled();
    config
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// A handshake; without a name no server name is sent. `None` when it is refused.
fn handshake(port: u16, name: Option<&str>, alpn: &[&str]) -> Option<Secured> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).ok()?;
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = ServerName::try_from(name.unwrap_or("no.name").to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config(alpn, name.is_some())), server).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).ok()?;
    }
    Some(stream)
}

fn shown(stream: &Secured) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// The status of a chat request over HTTP/1.1.
fn ask(stream: &mut Secured, host: &str) -> u16 {
    stream.write_all(&request("POST", "/openai", &[("host", host)], CHAT.as_bytes())).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n{}") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
        if head.len() > 12 && !head.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
    String::from_utf8_lossy(&head[9..12]).parse().unwrap()
}

#[test]
fn certificates_are_chosen_by_name_and_rotated_live() {
    let provider = Upstream::json("{}");
    let start = Start::bare();
    let port = start.port();
    let (a, a_secret) = certificate("a", "a.example");
    let (wild, wild_secret) = certificate("wild", "*.example");
    let (any, any_secret) = certificate("any", "any.other");
    let listeners = [
        https("a", port, Some("a.example"), "a"),
        https("wild", port, Some("*.example"), "wild"),
        https("any", port, None, "any"),
    ];
    let gateway = start
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("gateway.yaml", &gateway_with(&listeners))
        .manifest("cert-a.yaml", &a_secret)
        .manifest("cert-wild.yaml", &wild_secret)
        .manifest("cert-any.yaml", &any_secret)
        .run();
    for (name, expected) in [
        (Some("a.example"), &a),
        (Some("A.Example"), &a),
        (Some("b.example"), &wild),
        (Some("x.b.example"), &wild),
        (Some("example"), &any),
        (Some("other.test"), &any),
        (None, &any),
    ] {
        let mut stream = handshake(port, name, &["http/1.1"]).unwrap();
        assert!(shown(&stream) == *expected, "{name:?} gets another certificate");
        assert_eq!(ask(&mut stream, name.unwrap_or("x")), 200);
    }
    // Rotation: open connections go on, new handshakes see the new certificate.
    let mut before = handshake(port, Some("a.example"), &[]).unwrap();
    let (rotated, secret) = certificate("a", "a.example");
    gateway.write("cert-a.yaml", &secret);
    wait_until("the new certificate", PATIENCE, || {
        let stream = handshake(port, Some("a.example"), &[]).expect("no handshake is refused while it is rotated");
        let shown = shown(&stream);
        assert!(shown == a || shown == rotated);
        (shown == rotated).then_some(())
    });
    assert_eq!(ask(&mut before, "a.example"), 200);
    // A client without TLS is refused, which does not affect others.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(&request("GET", "/openai", &[], b"")).unwrap();
    let mut answer = Vec::new();
    // A reset ends it as well as an alert does.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    assert!(handshake(port, Some("b.example"), &[]).is_some());
    wait_until("the count", PATIENCE, || {
        (gateway.metrics().get("tollgate_connections_rejected_total", &[("reason", "tls")]) == Some(1.0)).then_some(())
    });
}

#[test]
fn http1_and_http2_are_served_over_tls() {
    let provider = Upstream::json("{}");
    let start = Start::bare();
    let port = start.port();
    let (_, secret) = certificate("cert", "a.example");
    let gateway = start
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("gateway.yaml", &gateway_with(&[https("https", port, None, "cert")]))
        .manifest("cert.yaml", &secret)
        .run();
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let mut stream = handshake(port, Some("a.example"), offered).unwrap();
        let chosen = stream.conn.alpn_protocol().map(|p| String::from_utf8(p.to_vec()).unwrap());
        assert_eq!(chosen.as_deref(), agreed, "{offered:?}");
        if agreed != Some("h2") {
            assert_eq!(ask(&mut stream, "a.example"), 200);
        }
    }
    assert_eq!(http2(port, 3), [200, 200, 200]);
    assert_eq!(gateway.access("/openai")["status"], 200);
}

/// Statuses of chat requests that run side by side on one HTTP/2 connection.
fn http2(port: u16, count: usize) -> Vec<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config(&["h2"], true)));
        let stream = connector.connect("a.example".try_into().unwrap(), tcp).await.unwrap();
        let executor = hyper_util::rt::TokioExecutor::new();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let asks = (0..count).map(|_| {
            let mut sender = sender.clone();
            let body = http_body_util::Full::new(bytes::Bytes::from_static(CHAT.as_bytes()));
            let request = http::Request::post("https://a.example/openai").body(body).unwrap();
            async move { sender.send_request(request).await.unwrap().status().as_u16() }
        });
        futures_util::future::join_all(asks).await
    })
}

#[test]
fn a_broken_certificate_closes_only_its_listener() {
    let provider = Upstream::json("{}");
    let start = Start::bare();
    let (plain, good, bad) = (start.port(), free_port(), free_port());
    let (_, good_secret) = certificate("good", "a.example");
    let (expected, repaired) = certificate("bad", "a.example");
    let broken = yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bad", "namespace": "default"},
        "stringData": {"tls.crt": "no certificate", "tls.key": crate::common::KEY},
    }));
    let listeners = [http("plain", plain), https("good", good, None, "good"), https("bad", bad, None, "bad")];
    let gateway = start
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("gateway.yaml", &gateway_with(&listeners))
        .manifest("good.yaml", &good_secret)
        .manifest("bad.yaml", &broken)
        .run();
    assert!(Client::try_connect(bad).is_none(), "no port is bound without a certificate");
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    assert!(handshake(good, Some("a.example"), &[]).is_some());
    let listener = report(&gateway, "Gateway", "gw")["listeners"][2].clone();
    let resolved = condition(&listener["conditions"], "ResolvedRefs");
    assert_eq!((&resolved["status"], &resolved["reason"]), (&false.into(), &"InvalidCertificateRef".into()));
    assert!(resolved["message"].as_str().unwrap().contains("tls.crt holds no certificate"), "{resolved}");
    gateway.write("bad.yaml", &repaired);
    let stream = wait_until("the listener", PATIENCE, || handshake(bad, Some("a.example"), &[]));
    assert!(shown(&stream) == expected);
    // And once it serves, a certificate that is broken later closes it again: the old one may be withdrawn.
    gateway.write("bad.yaml", &broken);
    wait_until("the port to close", PATIENCE, || Client::try_connect(bad).is_none().then_some(()));
    assert!(handshake(good, Some("a.example"), &[]).is_some());
}

#[test]
fn a_port_changes_its_protocol_live() {
    let provider = Upstream::json("{}");
    let start = Start::bare();
    let port = start.port();
    let (expected, secret) = certificate("cert", "a.example");
    let gateway = start
        .manifest("a.yaml", &s1("openai", "/openai", provider.port))
        .manifest("gateway.yaml", &gateway_with(&[http("l", port)]))
        .manifest("cert.yaml", &secret)
        .run();
    assert_eq!(gateway.post("/openai", CHAT).status, 200);
    gateway.write("gateway.yaml", &gateway_with(&[https("l", port, None, "cert")]));
    let stream = wait_until("TLS", PATIENCE, || handshake(port, Some("a.example"), &[]));
    assert!(shown(&stream) == expected);
    gateway.change(|| {
        gateway.write("gateway.yaml", &gateway_with(&[http("l", port)]));
    });
    wait_for_status(&gateway, "/openai", 200);
}
