//! TCP connections to addresses that were resolved and checked.
//!
//! A name may have addresses that do not answer, such as those of IPv6 in a network without it. So a name's addresses
//! are tried as RFC 8305 ("happy eyeballs") has it: families in turn, each attempt a quarter of a second after the one
//! before, or at once when that has failed. The first connection is used.

use std::{future::pending, io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{SendError, SendErrorKind};

/// How long an attempt lasts before the next address is tried beside it: RFC 8305's default.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// After so long without a packet the kernel probes a connection: it keeps alive what firewalls and NATs forget.
const KEEP_ALIVE: Duration = Duration::from_mins(1);
/// The time between probes that get no answer.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// After so many probes without an answer the connection is dead. A reply over HTTP/1.1 that a server owes then fails,
/// a minute and a half after it was last heard of.
const PROBES: u32 = 3;

/// A TCP connection to one of `addresses`, within `limit`.
pub(super) async fn tcp(addresses: Vec<SocketAddr>, limit: Duration) -> Result<TcpStream, SendError> {
    let racing = race(interleaved(addresses), TcpStream::connect, || sleep(ATTEMPT_DELAY));
    let stream = match timeout(limit, racing).await {
        Ok(connected) => connected.map_err(SendError::tcp)?,
        Err(elapsed) => return Err(SendError::new(SendErrorKind::ConnectTimeout, elapsed)),
    };
    let probes = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    // Both only fail on a connection that is gone, which its first use shows.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&probes);
    Ok(stream)
}

/// The addresses with their families in turn, begun with the resolver's first choice.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let ipv6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == ipv6_first);
    let mut all = Vec::with_capacity(preferred.len() + others.len());
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    loop {
        let before = all.len();
        all.extend(preferred.next());
        all.extend(others.next());
        if all.len() == before {
            return all;
        }
    }
}

/// The first of the connections to `addresses` that is made. Between two attempts is a `pause`.
///
/// # Errors
/// When all attempts have failed, with the error of the first.
async fn race<T, F: Future<Output = io::Result<T>>, P: Future<Output = ()>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
    pause: impl Fn() -> P,
) -> io::Result<T> {
    let (mut left, mut attempts, mut failure) = (addresses.into_iter(), FuturesUnordered::new(), None);
    loop {
        attempts.extend(left.next().map(&connect));
        let has_more = left.len() > 0;
        let paused = async { if has_more { pause().await } else { pending().await } };
        tokio::select! {
            biased;
            ended = attempts.next() => match ended {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => _ = failure.get_or_insert(error),
                None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = paused => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, sync::Mutex};

    use futures_util::FutureExt;
    use tokio::task::yield_now;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 443)
    }

    /// What becomes of an attempt.
    #[derive(Clone, Copy, Debug)]
    enum Attempt {
        Silent,
        Refused,
        Connected,
        /// Connected a moment later.
        Late,
    }
    use Attempt::{Connected, Late, Refused, Silent};

    /// Tries the addresses, with pauses that end at once or never. Returns the one that was connected to, and those
    /// that were tried.
    async fn tried(attempts: &[(&str, Attempt)], pauses_end: bool) -> (io::Result<SocketAddr>, Vec<SocketAddr>) {
        let log = Mutex::new(Vec::new());
        let connect = |to| {
            log.lock().unwrap().push(to);
            let attempt = attempts.iter().find(|(text, _)| address(text) == to).unwrap().1;
            async move {
                match attempt {
                    Silent => pending().await,
                    Refused => Err(io::ErrorKind::ConnectionRefused.into()),
                    Connected => Ok(to),
                    Late => {
                        yield_now().await;
                        Ok(to)
                    }
                }
            }
        };
        let pause = || if pauses_end { ready(()).left_future() } else { pending().right_future() };
        let addresses = attempts.iter().map(|(text, _)| address(text)).collect();
        let connected = race(interleaved(addresses), connect, pause).await;
        (connected, log.into_inner().unwrap())
    }

    #[tokio::test]
    async fn families_take_turns_while_no_address_answers() {
        // RFC 8305, section 4: the resolver's order, with the families interleaved.
        let all = [
            ("2001:db8::1", Silent),
            ("2001:db8::2", Silent),
            ("2001:db8::3", Silent),
            ("192.0.2.1", Silent),
            ("192.0.2.2", Connected),
        ];
        let (connected, tried) = tried(&all, true).await;
        assert_eq!(connected.unwrap(), address("192.0.2.2"));
        assert_eq!(tried, ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"].map(address));
    }

    #[tokio::test]
    async fn a_refusal_brings_the_next_address_without_a_pause() {
        let (connected, tried) = tried(&[("192.0.2.1", Refused), ("192.0.2.2", Connected)], false).await;
        assert_eq!((connected.unwrap(), tried.len()), (address("192.0.2.2"), 2));
    }

    #[tokio::test]
    async fn the_first_address_is_given_its_time_and_not_given_up_after_it() {
        let (connected, begun) = tried(&[("2001:db8::1", Late), ("192.0.2.1", Connected)], false).await;
        assert_eq!((connected.unwrap(), begun.len()), (address("2001:db8::1"), 1), "it has the time of the pause");
        let (connected, begun) = tried(&[("2001:db8::1", Late), ("192.0.2.1", Silent)], true).await;
        assert_eq!((connected.unwrap(), begun.len()), (address("2001:db8::1"), 2), "it may still be the first");
    }

    #[tokio::test]
    async fn without_a_connection_the_first_error_is_reported() {
        let (connected, begun) = tried(&[("192.0.2.1", Refused), ("2001:db8::1", Refused)], false).await;
        assert_eq!((connected.unwrap_err().kind(), begun.len()), (io::ErrorKind::ConnectionRefused, 2));
        assert_eq!(tried(&[], false).await.0.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[tokio::test]
    async fn silent_connections_are_probed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tcp(vec![listener.local_addr().unwrap()], Duration::from_secs(20)).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        let probes = (socket.tcp_keepalive_interval().unwrap(), socket.tcp_keepalive_retries().unwrap());
        assert_eq!(probes, (PROBE_INTERVAL, PROBES));
    }
}
