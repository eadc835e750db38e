//! The bare upstream: reads a request as far as it must and answers prebuilt bytes.

use std::{io, net::SocketAddr, rc::Rc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    payload::{self, Batching},
    wire::Head,
};

/// Where a request says that it wants a stream: early, because the load generator puts it there.
const STREAM_FLAG_WITHIN: usize = 512;

struct Replies {
    chat: Vec<u8>,
    stream: Vec<Vec<u8>>,
}

/// Answers until the process is killed.
pub async fn serve(listen: SocketAddr, batching: &Batching) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let replies = Rc::new(Replies { chat: payload::reply(), stream: payload::stream(batching) });
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let replies = Rc::clone(&replies);
                // A peer that goes away ends its own connection only.
                tokio::task::spawn_local(async move { drop(connection(stream, &replies).await) });
            }
        })
        .await
}

/// Serves one connection until the peer closes it.
async fn connection(mut stream: TcpStream, replies: &Replies) -> io::Result<()> {
    let mut input = Vec::with_capacity(256 * 1024);
    loop {
        while !is_complete(&input) {
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
        if wants_stream(&input) {
            for write in &replies.stream {
                stream.write_all(write).await?;
                // Other connections write in between, as other requests do at a provider. Without this, how many
                // writes the proxy finds together depends on how busy the machine is.
                tokio::task::yield_now().await;
            }
        } else {
            stream.write_all(&replies.chat).await?;
        }
        input.clear();
    }
}

/// Whether a whole request has arrived. Nobody here pipelines, so nothing can follow it.
fn is_complete(input: &[u8]) -> bool {
    Head::parse(input).is_some_and(|head| {
        if head.chunked {
            input.ends_with(b"\r\n0\r\n\r\n")
        } else {
            input.len() >= head.bytes + head.content_length.unwrap_or(0)
        }
    })
}

fn wants_stream(input: &[u8]) -> bool {
    let body = Head::parse(input).map_or(0, |head| head.bytes);
    let start = &input[body..input.len().min(body + STREAM_FLAG_WITHIN)];
    let flag = br#""stream":true"#;
    start.windows(flag.len()).any(|bytes| bytes == flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use payload::Scenario;

    #[test]
    fn a_request_is_complete_with_its_last_byte() {
        for scenario in [Scenario::Chat, Scenario::Prompt, Scenario::Stream] {
            let request = payload::request(scenario, "/v1/chat/completions", "localhost");
            assert!(is_complete(&request));
            assert!(!is_complete(&request[..request.len() - 1]));
            assert_eq!(wants_stream(&request), scenario == Scenario::Stream);
        }
        let chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        assert!(is_complete(chunked));
        assert!(!is_complete(&chunked[..chunked.len() - 2]));
    }
}
