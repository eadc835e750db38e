use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Mutex,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// How long a server may take to begin its reply.
const SHORT: Duration = Duration::from_millis(400);

/// A fetcher for servers on this machine, at `ports`, whose names all have the address `127.0.0.1`.
fn fetcher(ports: &[u16]) -> Fetcher {
    let options = FetcherOptions { private: true, ports: ports.to_vec(), ..FetcherOptions::default() };
    let mut fetcher = Fetcher::new(options);
    fetcher.resolver = Resolver::with_lookup(4, |_| Ok(vec![Ipv4Addr::LOCALHOST.into()]));
    fetcher.reply_timeout = SHORT;
    fetcher
}

async fn get(fetcher: &Fetcher, url: &str) -> Result<Fetched, NotFetched> {
    fetcher.get_all(&[url], &mut Held::default()).await.map(|mut files| files.remove(0))
}

/// A server that answers each connection with `reply`, which may be nothing: then it is silent.
async fn server(address: &str, reply: impl Into<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let (port, reply) = (listener.local_addr().unwrap().port(), reply.into());
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&reply).await;
            open.push(stream);
        }
    });
    port
}

fn image(bytes: usize) -> Vec<u8> {
    let mut body = b"\x89PNG\r\n\x1a\n".to_vec();
    body.resize(bytes, 0);
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").into_bytes(), body].concat()
}

#[tokio::test]
async fn private_hosts_and_other_schemes_are_refused() {
    let resolver = Resolver::with_lookup(4, |_| Ok(vec![Ipv4Addr::LOCALHOST.into()]));
    let fetcher = Fetcher { reply_timeout: SHORT, resolver, ..Fetcher::default() };
    for (url, why) in [
        ("http://127.0.0.1/a.png", "public internet"),
        ("http://[::1]/a.png", "public internet"),
        ("http://169.254.169.254/latest/meta-data", "public internet"),
        ("http://168.63.129.16/machine", "public internet"),
        ("http://localhost/a.png", "public internet"),
        ("http://2130706433/", "public internet"),
        ("http://example.com:22/", "port"),
        ("https://example.com:6443/", "port"),
        ("file:///etc/passwd", "URL"),
        ("ftp://example.com/a", "http"),
        ("nothing", "URL"),
        ("", "URL"),
    ] {
        let refused = get(&fetcher, url).await.unwrap_err();
        assert!(refused.message.contains(why), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn closed_and_silent_and_refused_are_one() {
    let silent = server("127.0.0.1", "").await;
    let no_http = server("127.0.0.1", "220 mail.example ESMTP\r\n").await;
    let closed = server("127.0.0.2", "").await;
    let mut fetcher = fetcher(&[silent, no_http, closed]);
    Arc::make_mut(&mut fetcher.options).refused = vec!["127.0.0.3".parse().unwrap()];
    fetcher.resolver = Resolver::with_lookup(4, |host| match host {
        "none.example" => Err(io::Error::other("no such name")),
        _ => Ok(vec![IpAddr::from([127, 0, 0, 3])]),
    });
    let mut causes = Vec::new();
    for url in [
        format!("http://127.0.0.1:{silent}/"),
        format!("http://127.0.0.1:{no_http}/"),
        format!("https://127.0.0.1:{no_http}/"),
        format!("http://127.0.0.1:{closed}/"),
        format!("http://127.0.0.3:{silent}/"),
        format!("http://internal.example:{silent}/"),
        format!("http://none.example:{silent}/"),
    ] {
        let begun = Instant::now();
        let failed = get(&fetcher, &url).await.unwrap_err();
        assert_eq!((failed.message.as_str(), failed.busy), (UNREACHABLE, false), "{url}");
        assert!((SHORT..2 * SHORT).contains(&begun.elapsed()), "{url}: {:?}", begun.elapsed());
        causes.push(failed.cause);
    }
    assert!(causes[4].contains("127.0.0.3 is not for clients"), "the log says it all: {causes:?}");
}

#[tokio::test]
async fn redirects_are_checked_as_the_first_url_is() {
    let inside = server("127.0.0.3", image(100)).await;
    let redirect = |to: String| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    let address = server("127.0.0.1", redirect(format!("http://127.0.0.3:{inside}/"))).await;
    let name = server("127.0.0.1", redirect(format!("http://internal.example:{inside}/"))).await;
    let port = server("127.0.0.1", redirect("http://127.0.0.1:22/".to_owned())).await;
    let mut fetcher = fetcher(&[inside, address, name, port]);
    fetcher.resolver = Resolver::with_lookup(4, |_| Ok(vec![IpAddr::from([127, 0, 0, 3])]));
    assert!(get(&fetcher, &format!("http://127.0.0.1:{address}/")).await.is_ok());
    Arc::make_mut(&mut fetcher.options).refused = vec!["127.0.0.3".parse().unwrap()];
    for redirecting in [address, name] {
        let failed = get(&fetcher, &format!("http://127.0.0.1:{redirecting}/")).await.unwrap_err();
        assert_eq!(failed.message, UNREACHABLE);
    }
    assert!(get(&fetcher, &format!("http://127.0.0.1:{port}/")).await.unwrap_err().message.contains("port"));
}

/// A name server of an attacker, which gives another address the second time.
#[tokio::test]
async fn what_was_checked_is_what_is_dialled() {
    let port = server("127.0.0.1", image(100)).await;
    let mut fetcher = fetcher(&[port]);
    Arc::make_mut(&mut fetcher.options).refused = vec!["127.0.0.3".parse().unwrap()];
    let answers = Arc::new(Mutex::new(vec![[127, 0, 0, 3], [127, 0, 0, 1]]));
    let rest = Arc::clone(&answers);
    fetcher.resolver = Resolver::with_lookup(4, move |_| Ok(vec![rest.lock().unwrap().pop().unwrap().into()]));
    assert!(get(&fetcher, &format!("http://rebinding.example:{port}/")).await.is_ok());
    assert_eq!(answers.lock().unwrap().len(), 1, "one lookup for one connection");
    fetcher.resolver = Resolver::with_lookup(4, |_| Ok(vec![Ipv4Addr::LOCALHOST.into(), IpAddr::from([127, 0, 0, 3])]));
    assert_eq!(get(&fetcher, &format!("http://both.example:{port}/")).await.unwrap_err().message, UNREACHABLE);
}

#[tokio::test]
async fn requests_take_their_room_at_once_and_give_back_what_they_do_not_need() {
    let port = server("127.0.0.1", image(held::UNIT)).await;
    let endless = server("127.0.0.1", b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n".to_vec()).await;
    let mut fetcher = fetcher(&[port, endless]);
    // Room for three files, and two requests with two each: one each and a wait for the second would never end.
    fetcher.room = Arc::new(Semaphore::new(3));
    let url = format!("http://127.0.0.1:{port}/");
    let request = async || {
        let mut held = Held::default();
        let files = fetcher.get_all(&[&url, &url], &mut held).await.unwrap();
        assert!(fetcher.room.available_permits() <= 1, "both files are held");
        // As long as it holds some it does not wait for more.
        let more = fetcher.get_all(&[&url, &url], &mut held).await.unwrap_err();
        assert!(more.busy, "{more:?}");
        files.len()
    };
    let all =
        tokio::time::timeout(Duration::from_secs(10), try_join_all((0..8).map(async |_| Ok::<_, ()>(request().await))));
    assert_eq!(all.await.unwrap().unwrap(), [2; 8]);
    assert_eq!(fetcher.room.available_permits(), 3);
    // A file of unknown length takes the largest, and gives back the rest.
    fetcher.room = Arc::new(Semaphore::new(room(MAX_MEDIA_BYTES) as usize + 1));
    let mut held = Held::default();
    let unknown = format!("http://127.0.0.1:{endless}/");
    {
        let urls = [unknown.as_str()];
        let reading = fetcher.get_all(&urls, &mut held);
        assert!(tokio::time::timeout(Duration::from_millis(200), reading).await.is_err());
    }
    assert_eq!(fetcher.room.available_permits(), 1);
    drop(held);
    let mut held = Held::default();
    fetcher.get_all(&[&url], &mut held).await.unwrap();
    assert_eq!(fetcher.room.available_permits(), room(MAX_MEDIA_BYTES) as usize, "one step is held");
}

#[test]
fn redirects_stay_secure() {
    let from: Uri = "https://a.example/x?y".parse().unwrap();
    assert_eq!(redirected(&from, "/z").ok().unwrap(), "https://a.example/z");
    assert_eq!(redirected(&from, "https://b.example/").ok().unwrap(), "https://b.example/");
    assert!(redirected(&from, "http://b.example/").is_err());
}
