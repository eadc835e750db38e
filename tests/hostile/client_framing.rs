//! Requests of clients that another server could understand in another way.

use std::{io::Read, io::Write, net::TcpStream, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::{Value, json};

use crate::{
    CHAT, CHAT_PATH,
    common::{Client, Gateway, PATIENCE, Start, Upstream, manifests::s1, request, yaml},
    frames::{HEADERS, Peer},
    gateway,
};

/// Sends bytes on a connection of their own and reads replies until the gateway closes it.
fn replies(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> Vec<u16> {
    let mut client = Client::connect(gateway.port);
    client.send(bytes.as_ref());
    let mut statuses = Vec::new();
    while let Some(reply) = client.try_reply() {
        statuses.push(reply.status);
    }
    statuses
}

/// The gateway closes the connection after it, if it takes it for a request at all.
const NEXT: &str = "GET /plain/next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[test]
fn connect_is_refused_and_closes() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(upstream.port);
    for target in ["example.com:443", "127.0.0.1:80", "gateway.test:80", "/plain/a", "*"] {
        // What follows is the tunnel's content for whoever takes the method as meant, and no request.
        let bytes = format!("CONNECT {target} HTTP/1.1\r\nhost: example.com:443\r\n\r\n{NEXT}");
        let statuses = replies(&gateway, bytes);
        assert!(statuses.len() == 1 && (400..=599).contains(&statuses[0]), "{target}: {statuses:?}");
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn userinfo_and_odd_hosts_are_refused() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(upstream.port);
    let mut requests: Vec<(String, String)> = Vec::new();
    for host in [
        "user@gateway.test",
        "user:password@gateway.test",
        "@gateway.test",
        "gateway.test/plain",
        "gateway.test?x",
        "gateway.test#x",
        "gateway.test\\x",
        "http://gateway.test",
        "gateway test",
        "gateway.test,other.test",
        "gateway.test:80:80",
        "gateway.test:http",
        "gateway.test:99999",
        "gateway.test:-1",
        "gateway.test:+80",
        "[::1",
        "::1",
        "[::g]",
        "[::1]x",
        "gate\"way.test",
        "gate<way>.test",
        "gate\u{e4}way.test",
        "gate%zzway.test",
    ] {
        requests.push((format!("Host: {host}"), format!("GET /plain/a HTTP/1.1\r\nhost: {host}\r\n")));
    }
    for target in [
        "http://user@gateway.test/plain/a",
        "http://user:password@gateway.test/plain/a",
        "http://@gateway.test/plain/a",
        "http://gateway.test:99999/plain/a",
        "http://gate way.test/plain/a",
        "http:///plain/a",
        "http://[::1/plain/a",
    ] {
        requests.push((target.to_owned(), format!("GET {target} HTTP/1.1\r\nhost: gateway.test\r\n")));
    }
    let faults: Vec<String> = requests
        .iter()
        .map(|(what, head)| (what, replies(&gateway, format!("{head}connection: close\r\n\r\n"))))
        .filter(|(_, statuses)| *statuses != [400])
        .map(|(what, statuses)| format!("{what}: {statuses:?}"))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(upstream.received().len(), 0);
    // What is only unusual is served.
    for host in ["gateway.test:80", "GATEWAY.TEST", "127.0.0.1", "[::1]", "[::1]:80", "gate_way.test", "gateway.test."]
    {
        let statuses = replies(&gateway, format!("GET /plain/a HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        assert_eq!(statuses, [200], "{host}");
    }
}

#[test]
fn codings_that_are_not_known_are_501() {
    // RFC 9112, 6.1: a server that does not understand a transfer coding should answer 501.
    let upstream = Upstream::json("{}");
    let gateway = gateway(upstream.port);
    let body = format!("{:x}\r\n{CHAT}\r\n0\r\n\r\n", CHAT.len());
    let mut faults = Vec::new();
    for path in [CHAT_PATH, "/plain/a"] {
        for coding in ["gzip, chunked", "deflate, chunked", "br,chunked", "GZIP, Chunked", "identity, chunked"] {
            let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {coding}\r\n\r\n");
            let statuses = replies(&gateway, head + &body + NEXT);
            if statuses != [501] {
                faults.push(format!("{path}, {coding}: {statuses:?}"));
            }
        }
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n");
        let statuses = replies(&gateway, head + "transfer-encoding: chunked\r\n\r\n" + &body + NEXT);
        if statuses != [501] {
            faults.push(format!("{path}, in two lines: {statuses:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn chunks_in_http_1_0_close_the_connection() {
    // RFC 9112, 6.1: the framing is faulty, whatever else the request says.
    let upstream = Upstream::json("{}");
    let gateway = gateway(upstream.port);
    let body = format!("{:x}\r\n{CHAT}\r\n0\r\n\r\n", CHAT.len());
    for path in [CHAT_PATH, "/plain/a"] {
        let before = upstream.received().len();
        let head =
            format!("POST {path} HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n");
        let statuses = replies(&gateway, head + "\r\n" + &body + NEXT);
        assert!(statuses == [400] || statuses == [200], "{path}: {statuses:?}");
        let sent: Vec<_> = upstream.received().split_off(before).iter().map(|r| r.path().to_owned()).collect();
        assert!(sent.iter().all(|path| !path.contains("next")), "{path}: {sent:?}");
    }
}

/// Takes any certificate: these tests are about what is said inside.
#[derive(Debug)]
struct Any;

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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A connection with TLS for this server name.
fn secured(port: u16, name: &str, protocol: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    StreamOwned::new(connection, tcp)
}

/// A certificate for a name as the Secret `default/SECRET`.
fn certificate(secret: &str, host: &str) -> String {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    yaml(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": secret, "namespace": "default"},
        "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()},
    }))
}

/// A gateway with two listeners on one port, `a.test` and `b.test`, each with its own certificate.
fn two_hosts(upstream: u16) -> Gateway {
    let start = Start::bare();
    let listeners: Vec<Value> = ["a", "b"]
        .map(|name| {
            json!({"name": name, "protocol": "HTTPS", "port": start.port(), "hostname": format!("{name}.test"),
                "tls": {"certificateRefs": [{"name": name}]}})
        })
        .into();
    let owner = yaml(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "default"},
        "spec": {"gatewayClassName": "tollgate", "listeners": listeners},
    }));
    let certificates = certificate("a", "a.test") + &certificate("b", "b.test");
    start.manifest("a.yaml", &(s1("openai", "/openai", upstream) + &owner + &certificates)).run()
}

#[test]
fn a_request_for_another_host_than_the_connections_is_misdirected() {
    // RFC 9110, 7.4, and the Gateway API: the client is told to connect anew, where the other certificate is shown.
    let upstream = Upstream::json("{}");
    let gateway = two_hosts(upstream.port);
    for (name, host, expected) in
        [("a.test", "a.test", 200), ("a.test", "b.test", 421), ("b.test", "a.test", 421), ("b.test", "B.test:443", 200)]
    {
        let before = upstream.received().len();
        let mut stream = secured(gateway.port, name, "http/1.1");
        let headers = [("host", host), ("connection", "close")];
        stream.write_all(&request("POST", CHAT_PATH, &headers, CHAT.as_bytes())).unwrap();
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.starts_with(&format!("HTTP/1.1 {expected} ")), "{name}, {host}: {reply}");
        assert_eq!(upstream.received().len() - before, usize::from(expected == 200), "{name}, {host}");
    }
}

#[test]
fn misdirected_requests_over_http2_leave_the_connection_alone() {
    let upstream = Upstream::json("{}");
    let gateway = two_hosts(upstream.port);
    let mut peer = Peer::client(secured(gateway.port, "a.test", "h2"), &[]);
    let mut ask = |stream: u32, host: &str| {
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/openai/v1/models")];
        peer.send_request(stream, &fields, true);
        let head = peer.wait_for(|frame| frame.kind == HEADERS && frame.stream == stream).expect("a reply");
        // A status of 200 is one entry of the static table, and 421 is written out.
        head.payload[0] == 0x88
    };
    assert_eq!([ask(1, "a.test"), ask(3, "b.test"), ask(5, "a.test")], [true, false, true]);
    assert_eq!(upstream.received().len(), 2);
}
