//! URLs of media, which the gateway fetches for a client: they may not show it what is where.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{raw_server, write};
use crate::common::{Gateway, Start, Upstream, s1_with};

/// How long a client waits to be told of a server that gives no answer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A gateway that fetches from `ports` of this machine, but not from 127.0.0.3.
fn gateway(model: &Upstream, ports: &[u16]) -> Gateway {
    let fields = json!({"model": "gemini-2.5-flash", "apiVersion": "v1beta"});
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    Start::new()
        .manifest("x.yaml", &s1_with("gemini", "/x", model.port, &fields))
        .arg("--fetch-private-addresses")
        .flag("--media-ports", &ports.join(","))
        .flag("--refuse-media-networks", "2001:db8:1::/48,127.0.0.3")
        .run()
}

/// Status and text of the reply to a request with an image at `url`, and how long it took.
fn describe(gateway: &Gateway, url: &str) -> (u16, String, Duration) {
    let image = json!({"type": "image_url", "image_url": {"url": url}});
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [image]}]});
    let begun = Instant::now();
    let reply = gateway.post("/x/v1/chat/completions", body.to_string());
    (reply.status, reply.text(), begun.elapsed())
}

#[test]
fn urls_do_not_show_which_hosts_and_ports_are_there() {
    let model = Upstream::json("{}");
    let silent = raw_server(|_, stream: TcpStream| {
        thread::sleep(4 * REPLY_TIMEOUT);
        drop(stream);
    });
    let mail = raw_server(|_, mut stream| write(&mut stream, "220 mail.example ESMTP\r\n"));
    let image = Upstream::fixed(200, &[("content-type", "image/png")], b"\x89PNG\r\n\x1a\nimage");
    let closed = Upstream::refusing();
    let gateway = gateway(&model, &[silent, mail, image.port, closed]);
    let urls = [
        format!("http://127.0.0.1:{closed}/"),
        format!("http://127.0.0.1:{silent}/"),
        format!("http://127.0.0.1:{mail}/"),
        format!("https://127.0.0.1:{}/", image.port),
        format!("http://127.0.0.3:{}/", image.port),
        format!("http://[::ffff:127.0.0.3]:{}/", image.port),
        format!("http://[2001:db8:1::1]:{}/", image.port),
    ];
    let replies = thread::scope(|scope| {
        let asking: Vec<_> = urls.iter().map(|url| scope.spawn(|| describe(&gateway, url))).collect();
        asking.into_iter().map(|reply| reply.join().unwrap()).collect::<Vec<_>>()
    });
    for ((status, text, took), url) in replies.iter().zip(&urls) {
        assert_eq!((*status, text), (400, &replies[0].1), "{url}");
        assert!(*took >= REPLY_TIMEOUT && *took < 2 * REPLY_TIMEOUT, "{url}: {took:?}");
    }
    assert!(image.received().is_empty() && model.received().is_empty());
    // The operator is told.
    gateway.wait_for_log("the cause", |line| line.to_string().contains("127.0.0.3 is not for clients to reach"));
}

#[test]
fn urls_reach_the_ports_of_the_web_only() {
    let model = Upstream::json("{}");
    let other = Upstream::json("{}");
    let gateway = gateway(&model, &[8080, 8443]);
    let (status, text, _) = describe(&gateway, &format!("http://127.0.0.1:{}/", other.port));
    assert!(status == 400 && text.contains("its port is none of 8080, 8443"), "{text}");
    assert_eq!(other.connections(), 0);
}
