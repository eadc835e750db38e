//! The bare upstream: reads a request as far as it must and answers prebuilt bytes, in the dialect of the path.

use std::{io, net::SocketAddr, rc::Rc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    payload::{Batching, DialectId, Replies},
    wire::Head,
};

/// Where a request says that it wants a stream: within so many bytes of the body's start or end, since clients put the
/// flag first and a gateway that translates may put it last.
const STREAM_FLAG_WITHIN: usize = 1024;

/// What the mock says to a path that is no endpoint of any dialect.
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

/// The replies of every dialect.
struct Book {
    dialects: Vec<(DialectId, Replies)>,
    invoked: Replies,
}

/// When an endpoint streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Streams {
    Never,
    Always,
    /// When the body has the flag.
    Flag,
}

/// How the paths of every endpoint end, whether it streams, and its dialect: `None` is `InvokeModel`.
const ENDPOINTS: [(&str, Streams, Option<DialectId>); 11] = [
    ("/chat/completions", Streams::Flag, Some(DialectId::Chat)),
    ("/responses", Streams::Flag, Some(DialectId::Responses)),
    ("/messages", Streams::Flag, Some(DialectId::Messages)),
    (":rawPredict", Streams::Never, Some(DialectId::Messages)),
    (":streamRawPredict", Streams::Always, Some(DialectId::Messages)),
    (":generateContent", Streams::Never, Some(DialectId::Gemini)),
    (":streamGenerateContent", Streams::Always, Some(DialectId::Gemini)),
    ("/converse", Streams::Never, Some(DialectId::Converse)),
    ("/converse-stream", Streams::Always, Some(DialectId::Converse)),
    ("/invoke", Streams::Never, None),
    ("/invoke-with-response-stream", Streams::Always, None),
];

impl Book {
    fn new(batching: &Batching) -> Self {
        Self {
            dialects: DialectId::ALL.iter().map(|(dialect, _)| (*dialect, Replies::of(*dialect, batching))).collect(),
            invoked: Replies::invoked(batching),
        }
    }

    fn replies(&self, dialect: Option<DialectId>) -> &Replies {
        let found = self.dialects.iter().find(|(known, _)| Some(*known) == dialect);
        found.map_or(&self.invoked, |(_, replies)| replies)
    }
}

/// Answers until the process is killed.
pub async fn serve(listen: SocketAddr, batching: &Batching) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let book = Rc::new(Book::new(batching));
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let book = Rc::clone(&book);
                // A peer that goes away ends its own connection only.
                tokio::task::spawn_local(async move { drop(connection(stream, &book).await) });
            }
        })
        .await
}

/// Serves one connection until the peer closes it.
async fn connection(mut stream: TcpStream, book: &Book) -> io::Result<()> {
    let mut input = Vec::with_capacity(256 * 1024);
    loop {
        while !is_complete(&input) {
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
        match asked(&input) {
            Some((dialect, true)) => {
                for write in &book.replies(dialect).stream {
                    stream.write_all(write).await?;
                    // Other connections write in between, as other requests do at a provider. Without this, how many
                    // writes the proxy finds together depends on how busy the machine is.
                    tokio::task::yield_now().await;
                }
            }
            Some((dialect, false)) => stream.write_all(&book.replies(dialect).buffered).await?,
            None => stream.write_all(NOT_FOUND).await?,
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

/// The dialect a request is asked in, and whether its reply is a stream. `None` when its path is no endpoint.
fn asked(input: &[u8]) -> Option<(Option<DialectId>, bool)> {
    let target = input.split(|byte| *byte == b' ').nth(1)?;
    let path = target.split(|byte| *byte == b'?').next()?;
    let (_, streams, dialect) = ENDPOINTS.iter().find(|(end, ..)| path.ends_with(end.as_bytes()))?;
    let stream = match streams {
        Streams::Never => false,
        Streams::Always => true,
        Streams::Flag => has_stream_flag(input),
    };
    Some((*dialect, stream))
}

fn has_stream_flag(input: &[u8]) -> bool {
    let body = &input[Head::parse(input).map_or(0, |head| head.bytes)..];
    let flag = br#""stream":true"#;
    let has = |part: &[u8]| part.windows(flag.len()).any(|bytes| bytes == flag);
    has(&body[..body.len().min(STREAM_FLAG_WITHIN)]) || has(&body[body.len().saturating_sub(STREAM_FLAG_WITHIN)..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{self, Scenario};

    #[test]
    fn a_request_is_complete_with_its_last_byte() {
        for scenario in [Scenario::Chat, Scenario::Prompt, Scenario::Stream] {
            let request = payload::request(DialectId::Chat, scenario, "/v1/chat/completions", "localhost");
            assert!(is_complete(&request));
            assert!(!is_complete(&request[..request.len() - 1]));
        }
        let chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        assert!(is_complete(chunked));
        assert!(!is_complete(&chunked[..chunked.len() - 2]));
    }

    #[test]
    fn the_path_and_the_flag_say_what_is_asked() {
        let ask = |path: &str, dialect, scenario| asked(&payload::request(dialect, scenario, path, "localhost"));
        for scenario in [Scenario::Chat, Scenario::Prompt, Scenario::Stream] {
            let streams = scenario == Scenario::Stream;
            for (path, dialect) in [
                ("/v1/chat/completions", DialectId::Chat),
                ("/openai/deployments/d/chat/completions?api-version=1", DialectId::Chat),
                ("/v1/responses", DialectId::Responses),
                ("/v1/messages", DialectId::Messages),
            ] {
                assert_eq!(ask(path, dialect, scenario), Some((Some(dialect), streams)), "{path} {scenario:?}");
            }
        }
        for (path, asked) in [
            ("/v1beta/models/g:generateContent", Some((Some(DialectId::Gemini), false))),
            ("/v1beta/models/g:streamGenerateContent?alt=sse", Some((Some(DialectId::Gemini), true))),
            ("/model/m%3A0/converse", Some((Some(DialectId::Converse), false))),
            ("/model/m%3A0/converse-stream", Some((Some(DialectId::Converse), true))),
            ("/model/m%3A0/invoke", Some((None, false))),
            ("/model/m%3A0/invoke-with-response-stream", Some((None, true))),
            ("/v1/embeddings", None),
        ] {
            assert_eq!(ask(path, DialectId::Gemini, Scenario::Chat), asked, "{path}");
        }
        let late = b"POST /v1/messages HTTP/1.1\r\n\r\n{\"messages\":[],\"stream\":true}";
        assert_eq!(asked(late), Some((Some(DialectId::Messages), true)));
    }
}
