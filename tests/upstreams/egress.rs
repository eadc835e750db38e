//! Proxies of the environment: what goes through them, what does not, and what they may see.

use serde_json::{Value, json};

use crate::common::{
    Gateway, KEY, PATIENCE, RESTED, Start, Upstream, backend, llm, route, rule, s1_of, s1_with, secret,
    tls::{Answer, Authority, Proxy, tls_front},
    wait_until, yaml,
};

const PATH: &str = "/openai/v1/chat/completions";
const CHAT: &str = r#"{"model":"m","messages":[]}"#;
/// A provider's name. It has no address, so only a proxy can reach it.
const NAME: &str = "provider.test";
/// User and password as a URL has them, and as a header does: the example of RFC 7617, section 2.
const USER: &str = "Aladdin:open%20sesame";
const BASIC: &str = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";

/// A provider at port 8443 of [`NAME`], with TLS where an authority is given.
fn openai(authority: Option<&Authority>) -> String {
    let mut entry = llm("openai", "key", 1, &json!({}));
    entry["hostOverride"] = json!({"host": NAME, "port": 8443});
    let mut manifest = secret("key", KEY);
    if let Some(authority) = authority {
        entry["hostOverride"]["tls"] = json!({"caCertificateRefs": [{"name": "ca"}]});
        manifest += &yaml(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca", "namespace": "default"},
            "data": {"ca.crt": authority.pem},
        }));
    }
    manifest + &s1_of("openai", "/openai", &entry)
}

/// Fails when the log has a part of the proxy's password.
fn assert_no_password(gateway: &Gateway) {
    let log = format!("{:?} {}", gateway.log(), gateway.stderr());
    assert!(!["sesame", "QWxhZGRpbjpvc"].iter().any(|part| log.contains(part)), "{log}");
}

/// The values of a header in a head.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn providers_with_tls_are_reached_through_a_tunnel_that_shows_no_key() {
    let authority = Authority::new();
    let upstream = Upstream::json("{}");
    let (port, names) = tls_front(&authority, NAME, upstream.port);
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let proxy = Proxy::new(Answer::Tunnel(port));
        let gateway = Start::new()
            .manifest("a.yaml", &openai(Some(&authority)))
            .env(variable, &format!("http://{USER}@127.0.0.1:{}", proxy.port))
            .run();
        let before = upstream.received().len();
        for _ in 0..2 {
            let reply = gateway.post(PATH, CHAT);
            assert_eq!(reply.status, 200, "{}", reply.text());
            std::thread::sleep(RESTED);
        }
        let heads = proxy.heads();
        assert_eq!(heads.len(), 1, "the tunnel is kept: {heads:?}");
        assert!(heads[0].starts_with("CONNECT provider.test:8443 HTTP/1.1\r\nhost: provider.test:8443\r\n"));
        assert_eq!(values(&heads[0], "proxy-authorization"), [BASIC]);
        assert!(!heads[0].contains(KEY) && !proxy.tunneled().contains(KEY));
        for received in &upstream.received()[before..] {
            assert_eq!(received.header("proxy-authorization"), None);
            assert_eq!(received.header("authorization").as_deref(), Some(&*format!("Bearer {KEY}")));
            assert_eq!(received.line(), "POST /v1/chat/completions HTTP/1.1");
        }
        assert_no_password(&gateway);
    }
    assert!(names.lock().unwrap().iter().all(|name| name == NAME));
}

#[test]
fn the_certificate_is_verified_at_the_other_end_of_the_tunnel() {
    let (authority, other) = (Authority::new(), Authority::new());
    let upstream = Upstream::json("{}");
    // A proxy that reads along.
    let (port, _) = tls_front(&other, NAME, upstream.port);
    let proxy = Proxy::new(Answer::Tunnel(port));
    let gateway = Start::new()
        .manifest("a.yaml", &openai(Some(&authority)))
        .env("HTTPS_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
        .run();
    assert_eq!(gateway.post(PATH, CHAT).json()["error"]["code"], "upstream_tls");
    assert!(upstream.received().is_empty() && proxy.heads().len() == 1);
}

#[test]
fn a_proxy_may_be_reached_over_tls() {
    let authority = Authority::new();
    let upstream = Upstream::json("{}");
    let (port, _) = tls_front(&authority, NAME, upstream.port);
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), &authority.pem).unwrap();
    let proxy = Proxy::with_tls(Answer::Tunnel(port), &authority);
    let start = |host: &str| {
        Start::new()
            .manifest("a.yaml", &openai(Some(&authority)))
            .env("HTTPS_PROXY", &format!("https://{USER}@{host}:{}", proxy.port))
            .env("SSL_CERT_FILE", roots.path().to_str().unwrap())
            .run()
    };
    let gateway = start("localhost");
    assert_eq!(gateway.post(PATH, CHAT).status, 200);
    assert_eq!(values(&proxy.heads()[0], "proxy-authorization"), [BASIC]);
    // Its certificate is for `localhost`.
    let gateway = start("127.0.0.1");
    assert_eq!(gateway.post(PATH, CHAT).json()["error"]["code"], "egress_proxy");
    assert_eq!(proxy.heads().len(), 1);
    assert_no_password(&gateway);
}

#[test]
fn what_no_proxy_names_and_this_machine_are_reached_directly() {
    let authority = Authority::new();
    let upstream = Upstream::json("{}");
    let (port, _) = tls_front(&authority, NAME, upstream.port);
    let proxy = Proxy::new(Answer::Tunnel(port));
    for no_proxy in ["provider.test", ".test", "*", "provider.test:8443"] {
        let gateway = Start::new()
            .manifest("a.yaml", &openai(Some(&authority)))
            .env("HTTPS_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
            .env("NO_PROXY", no_proxy)
            .run();
        // Directly there is no such name.
        assert_eq!(gateway.post(PATH, CHAT).json()["error"]["code"], "upstream_unreachable", "{no_proxy}");
    }
    let gateway = Start::new()
        .manifest("a.yaml", &s1_with("openai", "/openai", upstream.port, &json!({})))
        .env("ALL_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
        .run();
    assert_eq!(gateway.post(PATH, CHAT).status, 200);
    assert!(proxy.heads().is_empty(), "{:?}", proxy.heads());
}

/// Why the request failed, as operators find it in the log.
fn failure(gateway: &Gateway) -> String {
    gateway.wait_for_log("the failure", |line| line["msg"] == "request failed")["cause"].to_string()
}

#[test]
fn a_proxy_that_gives_no_tunnel_is_reported_with_its_reason() {
    let authority = Authority::new();
    for (answer, cause) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n",
            "answered 407 Proxy Authentication Required for provider.test:8443; it does not accept the user and \
             password",
        ),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", "answered 403 Forbidden for provider.test:8443"),
        ("HTTP/1.1 301 Moved\r\nlocation: http://evil.example/\r\n\r\n", "answered 301 Moved Permanently"),
        ("", "the connection broke before a reply"),
        ("SSH-2.0-x\r\n\r\n", "the reply to CONNECT is not HTTP"),
    ] {
        let proxy = Proxy::new(Answer::Bytes(answer));
        let gateway = Start::new()
            .manifest("a.yaml", &openai(Some(&authority)))
            .env("HTTPS_PROXY", &format!("http://{USER}@127.0.0.1:{}", proxy.port))
            .run();
        let reply = gateway.post(PATH, CHAT);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["code"]), (502, &json!("egress_proxy")), "{answer:?}");
        assert!(!reply.text().contains("127.0.0.1") && !reply.text().contains(NAME), "{}", reply.text());
        let line = failure(&gateway);
        assert!(line.contains(cause) && line.contains(&format!("http://127.0.0.1:{}", proxy.port)), "{line}");
        assert_no_password(&gateway);
    }
    let closed = Upstream::refusing();
    let gateway = Start::new()
        .manifest("a.yaml", &openai(Some(&authority)))
        .env("HTTPS_PROXY", &format!("http://127.0.0.1:{closed}"))
        .run();
    assert_eq!(gateway.post(PATH, CHAT).json()["error"]["code"], "egress_proxy");
}

#[test]
fn a_silent_proxy_takes_no_longer_than_any_connection() {
    let proxy = Proxy::new(Answer::Silence);
    let gateway = Start::new()
        .manifest("a.yaml", &openai(Some(&Authority::new())))
        .env("HTTPS_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
        .flag("--connect-timeout", "1")
        .run();
    let reply = gateway.post(PATH, CHAT);
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (504, &json!("upstream_timeout")));
    let line = failure(&gateway);
    assert!(line.contains(&format!("through http://127.0.0.1:{}", proxy.port)), "{line}");
}

#[test]
fn the_next_target_answers_when_a_proxy_refuses() {
    let upstream = Upstream::json("{}");
    let proxy = Proxy::new(Answer::Bytes("HTTP/1.1 403 Forbidden\r\n\r\n"));
    let mut first = llm("openai", "key", 1, &json!({}));
    first["hostOverride"] = json!({"host": NAME, "port": 443});
    let groups = json!({"priorityGroups": [
        {"providers": [first]}, {"providers": [llm("openai", "key", upstream.port, &json!({}))]},
    ]});
    let manifest = secret("key", KEY) + &backend("x", &groups) + &route("x", &json!([rule("/openai", "x")]));
    let gateway = Start::new()
        .manifest("a.yaml", &manifest)
        .env("HTTPS_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
        .run();
    assert_eq!(gateway.post(PATH, CHAT).status, 200);
    assert_eq!((proxy.heads().len(), upstream.received().len()), (1, 1));
}

#[test]
fn requests_without_tls_are_forwarded_by_the_proxy() {
    let proxy = Upstream::json("{}");
    let gateway = Start::new()
        .manifest("a.yaml", &openai(None))
        .env("HTTP_PROXY", &format!("http://{USER}@127.0.0.1:{}", proxy.port))
        .run();
    assert_eq!(gateway.post(PATH, CHAT).status, 200);
    let received = proxy.only();
    // The absolute form of RFC 9112, section 3.2.2.
    assert_eq!(received.line(), "POST http://provider.test:8443/v1/chat/completions HTTP/1.1");
    assert_eq!(received.header("host").as_deref(), Some("provider.test:8443"));
    assert_eq!(received.header("proxy-authorization").as_deref(), Some(BASIC));
    assert_eq!(received.text(), CHAT);
    assert_no_password(&gateway);
    let proxy = Upstream::fixed(407, &[("proxy-authenticate", "Basic")], b"");
    let gateway = Start::new()
        .manifest("a.yaml", &openai(None))
        .env("HTTP_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
        .run();
    assert_eq!(gateway.post(PATH, CHAT).json()["error"]["code"], "egress_proxy");
    assert!(failure(&gateway).contains("407"), "{}", failure(&gateway));
}

#[test]
fn a_proxy_that_can_not_be_used_ends_the_process() {
    for (url, why) in [("socks5://u:hush@p.example:1080", "not supported"), ("http://u:hu sh@p.example", "is no URL")] {
        let gateway = Start::new().env("HTTPS_PROXY", url).not_ready().run();
        assert!(!gateway.wait_for_exit().success());
        let text = gateway.stderr();
        assert!(text.contains("HTTPS_PROXY") && text.contains(why) && !text.contains("hu"), "{text}");
    }
}

#[test]
fn credentials_are_fetched_through_the_proxy_and_from_this_machine_directly() {
    let proxy = Proxy::new(Answer::Bytes("HTTP/1.1 403 Forbidden\r\n\r\n"));
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "a-token").unwrap();
    let entry = json!({"bedrock": {"model": "m", "region": "eu-west-1"}});
    let gateway = Start::new()
        .manifest("a.yaml", &s1_of("bedrock", "/bedrock", &entry))
        .env("ALL_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap())
        .run();
    gateway.post("/bedrock/v1/chat/completions", CHAT);
    wait_until("the token service to be reached through the proxy", PATIENCE, || {
        let heads = proxy.heads();
        heads.iter().any(|head| head.starts_with("CONNECT sts.eu-west-1.amazonaws.com:443 ")).then_some(())
    });
    // A container's agent, without TLS, is on the node.
    let (agent, before) = (Upstream::json("{}"), proxy.heads().len());
    let gateway = Start::new()
        .manifest("a.yaml", &s1_of("bedrock", "/bedrock", &entry))
        .env("ALL_PROXY", &format!("http://127.0.0.1:{}", proxy.port))
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://127.0.0.1:{}/x", agent.port))
        .run();
    gateway.post("/bedrock/v1/chat/completions", CHAT);
    agent.wait_for_received(1);
    assert_eq!(proxy.heads().len(), before);
}

/// The reply to a request with an image at `url`, of a provider that does not fetch it itself.
fn with_image(gateway: &Gateway, url: &str) -> (u16, Value) {
    let image = json!({"type": "image_url", "image_url": {"url": url}});
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [image]}]});
    let reply = gateway.post("/x/v1/chat/completions", body.to_string());
    (reply.status, reply.json())
}

#[test]
fn a_proxy_is_asked_for_media_by_addresses_that_were_checked() {
    let model = Upstream::json(r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#);
    let image = Upstream::fixed(200, &[("content-type", "image/png")], b"\x89PNG\r\n\x1a\nimage");
    let proxy = Proxy::new(Answer::Tunnel(image.port));
    let fields = json!({"model": "gemini-2.5-flash", "apiVersion": "v1beta"});
    let gateway = Start::new()
        .manifest("x.yaml", &s1_with("gemini", "/x", model.port, &fields))
        .env("HTTP_PROXY", &format!("http://{USER}@127.0.0.1:{}", proxy.port))
        .run();
    // A public address, to which only the proxy connects.
    let (status, reply) = with_image(&gateway, "http://1.2.3.4/a.png");
    assert_eq!(status, 200, "{reply}");
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("CONNECT 1.2.3.4:80 HTTP/1.1\r\n"), "{heads:?}");
    let received = image.only();
    assert_eq!((received.line(), received.header("host").as_deref()), ("GET /a.png HTTP/1.1", Some("1.2.3.4")));
    assert_eq!(received.header("proxy-authorization"), None);
    for url in ["http://10.0.0.1/", "http://192.168.1.1/", "http://100.100.100.200/", "http://[fd00::1]/"] {
        assert_eq!(with_image(&gateway, url).0, 400, "{url}");
    }
    assert_eq!(proxy.heads().len(), 1, "{:?}", proxy.heads());
}
