//! Plain servers behind the gateway: Services and `static` Backends, and what filters do to their requests.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use serde_json::{Value, json};

use crate::common::{
    CLIENT_KEY, DialectId, Gate, Gateway, PATIENCE, Start, Upstream, assert_error,
    manifests::{route, rule, yaml},
    request, wait_until,
};

fn static_backend(name: &str, port: u16) -> String {
    yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": [{"host": "127.0.0.1", "port": port}]}},
    }))
}

fn service(name: &str, port: u16) -> String {
    yaml(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "127.0.0.1", "ports": [{"port": port}]},
    }))
}

/// A gateway with these rules in front of the `static` Backend `plain`.
fn gateway(port: u16, rules: &Value) -> Gateway {
    Start::new().manifest("a.yaml", &(static_backend("plain", port) + &route("plain", rules))).run()
}

fn with_filters(prefix: &str, filters: Value) -> Value {
    let mut own = rule(prefix, "plain");
    own["filters"] = filters;
    own
}

#[test]
fn a_request_passes_with_its_origin() {
    let upstream = Upstream::fixed(201, &[("content-type", "text/plain"), ("set-cookie", "a=b")], b"made");
    let with_service = service("web", upstream.port)
        + &route("web", &json!([{"backendRefs": [{"name": "web", "port": upstream.port}]}]));
    let with_static = static_backend("plain", upstream.port) + &route("plain", &json!([rule("/", "plain")]));
    for (what, manifest) in [("Service", with_service), ("static", with_static)] {
        let gateway = Start::new().manifest("a.yaml", &manifest).run();
        let bearer = format!("Bearer {CLIENT_KEY}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("cookie", "c=d"),
            ("x-forwarded-for", "192.0.2.7"),
            ("accept-encoding", "gzip"),
            ("content-type", "text/plain"),
        ];
        let path = "/a%20b/%C3%A9/?x=1&key=k%20v&y#";
        let reply = gateway.connect().send(&request("PUT", path.trim_end_matches('#'), &headers, b"no JSON")).reply();
        assert_eq!(
            (reply.status, reply.text().as_str(), reply.header("set-cookie")),
            (201, "made", Some("a=b")),
            "{what}"
        );
        let sent = upstream.received().pop().unwrap();
        assert_eq!(sent.line(), "PUT /a%20b/%C3%A9/?x=1&key=k%20v&y HTTP/1.1", "{what}");
        assert_eq!(sent.text(), "no JSON");
        assert_eq!(sent.header("host").as_deref(), Some("gateway.test"), "{what}");
        assert_eq!(sent.header("authorization"), Some(bearer.clone()), "{what}");
        assert_eq!(sent.header("cookie").as_deref(), Some("c=d"), "{what}");
        assert_eq!(sent.header("accept-encoding").as_deref(), Some("gzip"), "{what}");
        assert_eq!(sent.header("x-forwarded-proto").as_deref(), Some("http"), "{what}");
        assert_eq!(sent.header("x-forwarded-host").as_deref(), Some("gateway.test"), "{what}");
        let from: Vec<String> =
            sent.headers().into_iter().filter(|(n, _)| n == "x-forwarded-for").map(|(_, v)| v).collect();
        assert_eq!(from.join(", "), "192.0.2.7, 127.0.0.1", "{what}");
    }
}

#[test]
fn every_method_passes_and_a_head_has_no_body() {
    let upstream = Upstream::new(|exchange| {
        let head = exchange.request().line().starts_with("HEAD ");
        let length = [("content-length", "5"), ("content-type", "text/plain")];
        exchange.head(200, &length).write(if head { "" } else { "hello" });
    });
    let gateway = gateway(upstream.port, &json!([rule("/", "plain")]));
    let mut client = gateway.connect();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let reply = client.send(&request(method, "/x", &[], b"")).reply();
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{method}");
        assert_eq!(upstream.received().pop().unwrap().line(), format!("{method} /x HTTP/1.1"));
    }
    let head = client.send(&request("HEAD", "/x", &[], b"")).reply_to_head();
    assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    assert_eq!(client.send(&request("GET", "/x", &[], b"")).reply().text(), "hello");
}

#[test]
fn a_request_body_passes_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let gate = Gate::default();
    let seen = gate.clone();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        for end in ["first half", "second half"] {
            while !got.windows(end.len()).any(|w| w == end.as_bytes()) {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0);
                got.extend_from_slice(&buffer[..read]);
            }
            seen.open();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
    });
    let gateway = gateway(port, &json!([rule("/", "plain")]));
    let mut client = gateway.connect();
    client.send(&request("POST", "/upload", &[("transfer-encoding", "chunked")], b"a\r\nfirst half\r\n"));
    // The server has it although the client has not sent the rest.
    gate.wait();
    client.send(b"b\r\nsecond half\r\n0\r\n\r\n");
    gate.wait();
    assert_eq!(client.reply().text(), "ok");
    server.join().unwrap();
}

#[test]
fn a_server_may_answer_while_it_still_reads() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut got) = (vec![0; 64 * 1024], Vec::new());
        while !got.windows(4).any(|w| w == b"\r\n\r\n") {
            let read = stream.read(&mut buffer).unwrap();
            got.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
        while !got.windows(4).any(|w| w == b"done") {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the rest of the request never came");
            got.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
    });
    let gateway = gateway(port, &json!([rule("/", "plain")]));
    let mut client = gateway.connect();
    client.send(&request("POST", "/echo", &[("content-length", "1000004")], &[b'a'; 1000]));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.piece().unwrap().as_deref(), Some(&b"first"[..]));
    client.send(&vec![b'a'; 999_000]).send(b"done");
    assert_eq!(client.piece().unwrap().as_deref(), Some(&b"last"[..]));
    assert_eq!(client.piece().unwrap(), None);
    server.join().unwrap();
}

#[test]
fn a_large_body_of_any_kind_passes_whole() {
    let upstream = Upstream::json("{}");
    let gateway = gateway(upstream.port, &json!([rule("/", "plain")]));
    // The body is larger than the bound for LLM providers, which does not apply here.
    let body: Vec<u8> = (0..40 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let reply = gateway.connect().send(&request("POST", "/upload", &[], &body)).reply();
    assert_eq!(reply.status, 200);
    assert!(upstream.only().body == body);
}

#[test]
fn a_stream_of_any_kind_passes_as_it_comes() {
    let gate = Gate::default();
    let step = gate.clone();
    let upstream = Upstream::new(move |exchange| {
        exchange.stream("text/event-stream").chunk("data: 1\n\n");
        step.wait();
        exchange.chunk("data: 2\n\n").end();
    });
    let gateway = gateway(upstream.port, &json!([rule("/", "plain")]));
    let mut client = gateway.connect();
    client.send(&request("GET", "/events", &[], b"")).head();
    assert_eq!(client.event().as_deref(), Some("data: 1\n\n"));
    gate.open();
    assert_eq!(client.event().as_deref(), Some("data: 2\n\n"));
    // Its end is its own business.
    assert_eq!(client.event(), None);
}

#[test]
fn hop_by_hop_headers_are_not_forwarded() {
    let answer = [("connection", "x-hop-back"), ("x-hop-back", "1"), ("keep-alive", "timeout=1"), ("x-kept", "1")];
    let upstream = Upstream::fixed(200, &answer, b"");
    let gateway = gateway(upstream.port, &json!([rule("/", "plain")]));
    let headers = [
        ("connection", "keep-alive, x-hop, X-Hop-Two"),
        ("x-hop", "1"),
        ("x-hop-two", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
        ("trailer", "x"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("x-kept", "1"),
    ];
    let reply = gateway.connect().send(&request("GET", "/", &headers, b"")).reply();
    let sent = upstream.only();
    for (name, _) in headers {
        assert_eq!(sent.header(name).is_some(), name == "x-kept", "{name}: {}", sent.head);
    }
    for (name, _) in answer {
        assert_eq!(reply.header(name).is_some(), name == "x-kept", "{name}");
    }
}

#[test]
fn paths_and_hosts_are_rewritten() {
    let prefix = |to: &str| json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": to}});
    let full = json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/one"}, "hostname": "inner.test"});
    let filter = |rewrite: Value| json!([{"type": "URLRewrite", "urlRewrite": rewrite}]);
    let upstream = Upstream::json("{}");
    let rules = json!([
        with_filters("/short", filter(prefix("/"))),
        with_filters("/long", filter(prefix("/much/longer"))),
        with_filters("/full", filter(full)),
        with_filters("/host", filter(json!({"hostname": "inner.test"}))),
    ]);
    let gateway = gateway(upstream.port, &rules);
    for (asked, path, host) in [
        ("/short/a/b?q=1", "/a/b?q=1", "gateway.test"),
        ("/short", "/", "gateway.test"),
        ("/long/a%20b", "/much/longer/a%20b", "gateway.test"),
        ("/full/a?q=1", "/one?q=1", "inner.test"),
        ("/host/a", "/host/a", "inner.test"),
    ] {
        assert_eq!(gateway.get(asked).status, 200, "{asked}");
        let sent = upstream.received().pop().unwrap();
        assert_eq!((sent.path(), sent.header("host").as_deref()), (path, Some(host)), "{asked}");
        assert_eq!(sent.header("x-forwarded-host").as_deref(), Some("gateway.test"), "{asked}");
    }
}

#[test]
fn redirects_are_answered_without_a_backend() {
    let upstream = Upstream::json("{}");
    let to = |prefix: &str, redirect: Value| {
        json!({
            "matches": [{"path": {"type": "PathPrefix", "value": prefix}}],
            "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}],
        })
    };
    let path = json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"});
    let rules = json!([
        to("/secure", json!({"scheme": "https", "statusCode": 301})),
        to("/moved", json!({"path": path})),
        to("/away", json!({"scheme": "https", "hostname": "other.test", "port": 8443})),
    ]);
    let gateway = gateway(upstream.port, &rules);
    let port = gateway.port;
    for (asked, host, status, location) in [
        ("/secure/a?q=1", "gateway.test", 301, "https://gateway.test/secure/a?q=1".to_owned()),
        ("/moved/a", "gateway.test", 302, format!("http://gateway.test:{port}/new/a")),
        ("/away/a", "gateway.test", 302, "https://other.test:8443/away/a".into()),
        ("/moved/a", "[::1]:99", 302, format!("http://[::1]:{port}/new/a")),
    ] {
        let reply = gateway.connect().send(&request("GET", asked, &[("host", host)], b"")).reply();
        assert_eq!((reply.status, reply.header("location")), (status, Some(location.as_str())), "{asked}");
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(gateway.access("/secure/a")["status"], 301);
}

#[test]
fn headers_are_set_added_and_removed_in_both_directions() {
    let edits = |by: &str| {
        json!({
            "set": [{"name": "X-Set", "value": by}], "add": [{"name": "x-added", "value": by}],
            "remove": [format!("x-gone-{by}")],
        })
    };
    let filters = |by: &str| {
        json!([
            {"type": "RequestHeaderModifier", "requestHeaderModifier": edits(by)},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": edits(by)},
        ])
    };
    let there = [("x-set", "old"), ("x-added", "old"), ("x-gone-rule", "1"), ("x-gone-ref", "1"), ("x-stays", "1")];
    let upstream = Upstream::fixed(200, &there, b"");
    let on_rule = with_filters("/rule", filters("rule"));
    let mut on_ref = rule("/ref", "plain");
    on_ref["backendRefs"][0]["filters"] = filters("ref");
    let gateway = gateway(upstream.port, &json!([on_rule, on_ref]));
    for by in ["rule", "ref"] {
        let reply = gateway.connect().send(&request("GET", &format!("/{by}"), &there, b"")).reply();
        let sent = upstream.received().pop().unwrap().headers();
        for (way, headers) in [("request", sent), ("response", reply.headers)] {
            let values = |name: &str| {
                let own = headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
                own.collect::<Vec<_>>().join(", ")
            };
            assert_eq!(values("x-set"), by, "{way}");
            assert_eq!(values("x-added"), format!("old, {by}"), "{way}");
            assert_eq!(values("x-gone-rule"), if by == "rule" { "" } else { "1" }, "{way}");
            assert_eq!(values("x-gone-ref"), if by == "ref" { "" } else { "1" }, "{way}");
            assert_eq!(values("x-stays"), "1", "{way}");
        }
    }
}

#[test]
fn requests_are_split_by_weight() {
    let servers = [Upstream::json("{}"), Upstream::json("{}"), Upstream::json("{}")];
    let backends: String = servers.iter().enumerate().map(|(n, s)| static_backend(&format!("s{n}"), s.port)).collect();
    let reference = |n: usize, weight: u32| {
        json!({
            "name": format!("s{n}"), "group": "gateway.kgateway.dev", "kind": "Backend", "weight": weight,
        })
    };
    let rules = json!([{"backendRefs": [reference(0, 80), reference(1, 20), reference(2, 0)]}]);
    let gateway = Start::new().manifest("a.yaml", &(backends + &route("split", &rules))).run();
    let mut client = gateway.connect();
    for _ in 0..100 {
        assert_eq!(client.send(&request("GET", "/", &[], b"")).reply().status, 200);
    }
    let [most, some, none] = servers.map(|s| s.received().len());
    assert!((78..=82).contains(&most) && most + some == 100 && none == 0, "{most} {some} {none}");
}

#[test]
fn a_missing_backend_fails_only_its_share_of_requests() {
    let upstream = Upstream::json("{}");
    let slices = yaml(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "none-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "none"}},
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": false}}], "ports": [{"port": upstream.port}],
    }));
    let at = |prefix: &str, references: Value| {
        json!({
            "matches": [{"path": {"type": "PathPrefix", "value": prefix}}], "backendRefs": references,
        })
    };
    let plain = rule("/", "plain")["backendRefs"][0].clone();
    let rules = json!([
        at("/missing", json!([{"name": "missing", "port": 80}])),
        at("/half", json!([{"name": "missing", "port": 80}, plain])),
        at("/none", json!([{"name": "none", "port": upstream.port}])),
        at("/refused", json!([{"name": "refused", "port": Upstream::refusing()}])),
        at("/nothing", json!([])),
        rule("/good", "plain"),
    ]);
    let refused_port = rules[3]["backendRefs"][0]["port"].as_u64().unwrap();
    let manifest = static_backend("plain", upstream.port)
        + &service("none", upstream.port)
        + &slices
        + &service("refused", u16::try_from(refused_port).unwrap())
        + &route("plain", &rules);
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    for (path, status) in [("/missing", 500), ("/none", 503), ("/refused", 502), ("/nothing", 500)] {
        assert_error(&gateway.get(path), DialectId::OpenAi, status, path);
    }
    let mut statuses: Vec<u16> = (0..10).map(|_| gateway.get("/half").status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 5], [500; 5]].concat());
    assert_eq!(gateway.get("/good").status, 200);
}

/// A `static` Backend `plain` with these ports of this machine, and its route below `/plain`.
fn plain_of(ports: &[u16]) -> String {
    let hosts: Vec<Value> = ports.iter().map(|port| json!({"host": "127.0.0.1", "port": port})).collect();
    let backend = yaml(&json!({
        "apiVersion": "gateway.kgateway.dev/v1alpha1", "kind": "Backend",
        "metadata": {"name": "plain", "namespace": "default"},
        "spec": {"type": "Static", "static": {"hosts": hosts}},
    }));
    backend + &route("plain", &json!([rule("/plain", "plain")]))
}

#[test]
fn an_endpoint_that_refuses_connections_is_left_alone_until_it_is_back() {
    const COUNT: usize = 40;
    let upstream = Upstream::json("{}");
    let refusing = Upstream::refusing();
    let gateway = Start::new().manifest("a.yaml", &plain_of(&[refusing, upstream.port])).run();
    for number in 0..COUNT {
        assert_eq!(gateway.post("/plain", "").status, 200, "request {number}");
    }
    let is_access = |line: &Value| line["target"] == "tollgate::access";
    let attempts = wait_until("the access log", PATIENCE, || {
        let log = gateway.log();
        let lines: Vec<&Value> = log.iter().filter(|line| is_access(line)).collect();
        let attempts = || lines.iter().map(|line| line["upstream_attempts"].as_u64().unwrap()).sum::<u64>();
        (lines.len() == COUNT).then(attempts)
    });
    // Each second request would try it first; after a failure it is tried once when a second is over, then two, then
    // four.
    let extra = usize::try_from(attempts).unwrap() - COUNT;
    assert!((1..COUNT / 4).contains(&extra), "{extra} attempts at the endpoint that is gone");
    // It comes back.
    let listener = TcpListener::bind(("127.0.0.1", refusing)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut clients = Vec::new();
    wait_until("a request for the endpoint that is back", PATIENCE, || {
        let mut client = gateway.connect();
        client.send(&request("GET", "/plain", &[], b""));
        clients.push(client);
        listener.accept().ok()
    });
}

#[test]
fn endpoints_without_a_listener_are_passed_over() {
    let upstream = Upstream::json("{}");
    let manifest = plain_of(&[Upstream::refusing(), upstream.port, Upstream::refusing()]);
    let gateway = Start::new().manifest("a.yaml", &manifest).run();
    for number in 0..9 {
        let reply = gateway.post("/plain", "a body that can be sent once");
        assert_eq!(reply.status, 200, "request {number}: {}", reply.text());
    }
    assert_eq!(upstream.received().len(), 9);
    assert!(upstream.received().iter().all(|sent| sent.text() == "a body that can be sent once"));
}
