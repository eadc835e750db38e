//! Which connections go through which proxy, and what stays refused.

use std::{collections::HashMap, net::Ipv4Addr, sync::Mutex};

use tokio::net::TcpListener;

use super::*;
use crate::upstream::{Dialer, DialerOptions, Origin, OriginKind, Pools, Reach, ServerTls, Transport};

fn from(variables: &[(&str, &str)]) -> Result<Proxies, String> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    Proxies::from_environment(&|name| variables.get(name).map(|value| (*value).to_owned()))
}

/// The proxy for `url`, as text.
fn proxy(proxies: &Proxies, url: &str) -> Option<String> {
    let url: Uri = url.parse().unwrap();
    let secure = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    proxies.of(secure, without_brackets(url.host().unwrap()), port).map(ToString::to_string)
}

#[test]
fn each_scheme_has_its_variable_and_all_proxy_is_for_both() {
    let (a, b) = ("http://a.example:1", "https://b.example:2");
    for (variables, http, https) in [
        (&[][..], None, None),
        (&[("HTTP_PROXY", a), ("HTTPS_PROXY", b)], Some(a), Some(b)),
        (&[("http_proxy", a), ("https_proxy", b)], Some(a), Some(b)),
        (&[("ALL_PROXY", a)], Some(a), Some(a)),
        (&[("all_proxy", a), ("HTTPS_PROXY", b)], Some(a), Some(b)),
        (&[("HTTPS_PROXY", b), ("https_proxy", a)], None, Some(b)),
        (&[("HTTPS_PROXY", " "), ("ALL_PROXY", a)], Some(a), Some(a)),
        (&[("HTTPS_PROXY", "a.example:1")], None, Some(a)),
        (&[("HTTPS_PROXY", "http://a.example:1/ignored")], None, Some(a)),
    ] {
        let proxies = from(variables).unwrap();
        assert_eq!(proxy(&proxies, "http://x.example/").as_deref(), http, "{variables:?}");
        assert_eq!(proxy(&proxies, "https://x.example/").as_deref(), https, "{variables:?}");
        let tls = proxies.tls_only();
        assert_eq!(proxy(&tls, "http://x.example/"), None, "{variables:?}");
        assert_eq!(proxy(&tls, "https://x.example/").as_deref(), https, "{variables:?}");
    }
    for (url, text) in [
        ("http://p", "http://p:80"),
        ("https://p", "https://p:443"),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
    ] {
        assert_eq!(proxy(&from(&[("HTTPS_PROXY", url)]).unwrap(), "https://x.example/").as_deref(), Some(text));
    }
}

#[test]
fn user_and_password_are_in_no_text() {
    // The example of RFC 7617, section 2.
    let proxies = from(&[("HTTPS_PROXY", "http://Aladdin:open%20sesame@p.example:3128")]).unwrap();
    let proxy = proxies.of(true, "x.example", 443).unwrap();
    assert_eq!(proxy.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let refused = proxy.refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "x.example:443").to_string();
    for text in [format!("{proxies:?}"), proxy.to_string(), refused] {
        assert!(!["Aladdin", "sesame", "QWxhZG"].iter().any(|part| text.contains(part)), "{text}");
    }
    for url in [
        "socks5://u:hush@p:1080",
        "socks5h://u:hush@p:1080",
        "ftp://u:hush@p",
        "http://u:hu sh@p",
        "http://u:hush@",
        "//hush",
        "/hush",
        "http://u:hush@p:99999",
    ] {
        let why = from(&[("HTTPS_PROXY", url)]).unwrap_err();
        assert!(why.starts_with("HTTPS_PROXY is ") && !why.contains("hu"), "{url}: {why}");
        assert!(from(&[("HTTP_PROXY", url)]).is_err() && from(&[("ALL_PROXY", url)]).is_err(), "{url}");
    }
}

#[test]
fn no_proxy_has_the_usual_forms() {
    for (no_proxy, direct, through) in [
        ("*", &["https://a.example", "https://192.0.2.1", "https://[2001:db8::1]"][..], &[][..]),
        ("a.example", &["https://a.example", "https://A.Example.", "https://b.a.example"], &["https://aa.example"]),
        (".a.example", &["https://a.example", "https://b.a.example"], &["https://aa.example", "https://example"]),
        ("*.a.example", &["https://b.a.example"], &["https://ba.example"]),
        ("A.EXAMPLE.", &["https://a.example"], &["https://example"]),
        ("192.0.2.1", &["https://192.0.2.1"], &["https://192.0.2.2", "https://a.192.0.2.1.example"]),
        ("192.0.2.0/24", &["https://192.0.2.7", "https://[::ffff:192.0.2.7]"], &["https://192.0.3.7"]),
        ("2001:db8::/32", &["https://[2001:db8::7]"], &["https://[2001:db9::7]"]),
        ("[2001:db8::1]:8443", &["https://[2001:db8::1]:8443"], &["https://[2001:db8::1]"]),
        ("a.example:8443", &["https://a.example:8443"], &["https://a.example", "https://a.example:8444"]),
        ("192.0.2.1:80", &["http://192.0.2.1"], &["https://192.0.2.1"]),
        (" b.example , a.example,,", &["https://a.example", "https://b.example"], &["https://c.example"]),
        ("b.example a.example", &["https://a.example", "https://b.example"], &["https://c.example"]),
    ] {
        let proxies = from(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", no_proxy)]).unwrap();
        for url in direct {
            assert_eq!(proxy(&proxies, url), None, "{no_proxy:?}: {url}");
        }
        // Without a dot a name is of the cluster.
        for url in through.iter().filter(|url| url.contains('.') || url.contains('[')) {
            assert!(proxy(&proxies, url).is_some(), "{no_proxy:?}: {url}");
        }
    }
}

#[test]
fn this_machine_and_the_cluster_are_reached_directly() {
    let proxies = from(&[("ALL_PROXY", "http://p:1")]).unwrap();
    for url in [
        "http://localhost:8080",
        "http://a.localhost",
        "http://127.0.0.1",
        "http://127.8.8.8",
        "http://[::1]",
        "http://[::ffff:127.0.0.1]",
        "http://0.0.0.0",
        "http://169.254.169.254",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://ollama:11434",
        "http://vllm.models.svc",
        "http://vllm.models.svc.cluster.local.",
    ] {
        assert_eq!(proxy(&proxies, url), None, "{url}");
    }
    for url in ["http://10.0.0.1", "http://api.example.com", "http://localhost.example.com", "http://mysvc.example"] {
        assert!(proxy(&proxies, url).is_some(), "{url}");
    }
}

#[test]
fn an_api_server_in_no_proxy_is_reached_directly() {
    let variables = [("HTTPS_PROXY", "http://u:p@proxy.example:3128"), ("NO_PROXY", "api.example")];
    let proxies = from(&variables).unwrap();
    let excepts = |proxy: &str, server: &str| proxies.excepts(&proxy.parse().unwrap(), &server.parse().unwrap());
    let ours = "http://u:p@proxy.example:3128";
    assert!(excepts(ours, "https://api.example:6443") && excepts(ours, "https://127.0.0.1:6443"));
    assert!(!excepts(ours, "https://other.example:6443"));
    assert!(!excepts("http://of-the-kubeconfig.example:3128", "https://api.example:6443"));
}

/// A proxy that records the target of each request, and refuses it.
async fn refusing() -> (Proxies, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let targets = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            targets.lock().unwrap().push(head.split(' ').nth(1).unwrap_or_default().to_owned());
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
        }
    });
    (from(&[("ALL_PROXY", &url)]).unwrap(), asked)
}

#[tokio::test]
async fn addresses_are_checked_before_a_proxy_is_asked_for_them() {
    let (proxies, asked) = refusing().await;
    let reach = Reach { no_local: true, admin: Some("0.0.0.0:9092".parse().unwrap()), ..Reach::default() };
    let pools = Pools::new(Dialer::new(DialerOptions { reach, proxies, ..DialerOptions::default() }));
    let dial = async |host: &str, port, transport| {
        let origin = Origin { host: host.to_owned(), port, transport, kind: OriginKind::Provider };
        let made = pools.get(&origin).unwrap().connection(true).await;
        made.map(|_| ()).map_err(|error| error.kind)
    };
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "169.254.169.254",
        "2852039166",
        "168.63.129.16",
        "100.100.100.200",
        "::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "localhost",
    ] {
        for transport in [Transport::Tls(ServerTls::default()), Transport::Http1, Transport::Http2] {
            let dialed = dial(host, 80, transport.clone()).await;
            assert_eq!(dialed, Err(SendErrorKind::Connect), "{host} {transport:?}");
        }
    }
    assert!(asked.lock().unwrap().is_empty(), "{asked:?}");
    let tls = || Transport::Tls(ServerTls::default());
    for (host, target) in [
        ("api.example.com", "api.example.com:443"),
        ("192.0.2.1", "192.0.2.1:443"),
        ("2001:db8::1", "[2001:db8::1]:443"),
    ] {
        assert_eq!(dial(host, 443, tls()).await, Err(SendErrorKind::Proxy), "{host}");
        assert_eq!(asked.lock().unwrap().pop().as_deref(), Some(target));
    }
}

#[tokio::test]
async fn services_of_the_cluster_are_never_reached_through_a_proxy() {
    let (proxies, asked) = refusing().await;
    let dialer =
        Dialer::new(DialerOptions { proxies, connect_timeout: Duration::from_millis(200), ..DialerOptions::default() });
    let (pools, mut kinds) = (Pools::new(dialer), Vec::new());
    for kind in [OriginKind::Service, OriginKind::Server, OriginKind::Provider] {
        // An address of RFC 5737, which no host has.
        let origin = Origin { host: "192.0.2.1".into(), port: 80, transport: Transport::Http2, kind };
        let made = pools.get(&origin).unwrap().connection(true).await;
        kinds.push(made.map(|_| ()).unwrap_err().kind == SendErrorKind::Proxy);
    }
    assert_eq!((kinds, asked.lock().unwrap().len()), (vec![false, true, true], 2));
}
