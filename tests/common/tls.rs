//! Certificates of made-up authorities, servers with TLS in front of an [`Upstream`](super::Upstream), and a proxy.

use std::{
    net::Ipv4Addr,
    sync::{Arc, LazyLock, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::TlsAcceptor;

use super::unpromised;

/// Runs the servers of this module until the tests end.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A certificate authority.
pub struct Authority {
    /// Its certificate.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one. All have the same name.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// A server's configuration with a certificate for `name`.
    fn server(&self, name: &str, http2: bool) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Arc::new(config)
    }
}

/// A listening server: each connection is given to `serve`.
fn listen<F: Future<Output = ()> + Send + 'static>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> u16 {
    let (listener, port) = unpromised(|| {
        let listener = RUNTIME.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    });
    RUNTIME.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// A server whose certificate is from `authority` for `name`, in front of the plain one at `upstream`. Gives its port,
/// and the names that clients have sent as SNI.
pub fn tls_front(authority: &Authority, name: &str, upstream: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let acceptor = TlsAcceptor::from(authority.server(name, false));
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    let port = listen(move |stream| {
        let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            seen.lock().unwrap().extend(stream.get_ref().1.server_name().map(str::to_owned));
            let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
        }
    });
    (port, names)
}

/// What a proxy does with a request.
#[derive(Clone)]
pub enum Answer {
    /// Opens a tunnel to this port of this machine, whatever host the client asks for.
    Tunnel(u16),
    /// Sends these bytes and closes.
    Bytes(&'static str),
    /// Sends nothing.
    Silence,
}

/// A proxy that records what it gets.
pub struct Proxy {
    /// Its port.
    pub port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    tunneled: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// One without TLS.
    pub fn new(answer: Answer) -> Self {
        Self::start(answer, None)
    }

    /// One that is reached over TLS, as `localhost`.
    pub fn with_tls(answer: Answer, authority: &Authority) -> Self {
        Self::start(answer, Some(TlsAcceptor::from(authority.server("localhost", false))))
    }

    fn start(answer: Answer, acceptor: Option<TlsAcceptor>) -> Self {
        let (heads, tunneled) = (Arc::default(), Arc::default());
        let (all_heads, all_tunneled) = (Arc::clone(&heads), Arc::clone(&tunneled));
        let port = listen(move |stream| {
            let (heads, tunneled) = (Arc::clone(&all_heads), Arc::clone(&all_tunneled));
            let (answer, acceptor) = (answer.clone(), acceptor.clone());
            async move {
                match acceptor {
                    None => Box::pin(serve(stream, &answer, &heads, &tunneled)).await,
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        Box::pin(serve(stream, &answer, &heads, &tunneled)).await;
                    }
                }
            }
        });
        Self { port, heads, tunneled }
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Everything that clients have sent through tunnels.
    pub fn tunneled(&self) -> String {
        String::from_utf8_lossy(&self.tunneled.lock().unwrap()).into_owned()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &Answer,
    heads: &Mutex<Vec<String>>,
    tunneled: &Mutex<Vec<u8>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    heads.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    let port = match answer {
        Answer::Silence => return std::future::pending().await,
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
            return;
        }
        Answer::Tunnel(port) => *port,
    };
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    let ((mut from, mut to), (mut replies, mut requests)) = (tokio::io::split(stream), server.into_split());
    let up = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            tunneled.lock().unwrap().extend_from_slice(&buffer[..read]);
            if requests.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        let _ = requests.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut replies, &mut to).await;
        let _ = to.shutdown().await;
    };
    tokio::join!(up, down);
}
