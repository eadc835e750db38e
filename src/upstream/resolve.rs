//! Host names to addresses, by the system's resolver.
//!
//! `getaddrinfo` blocks its thread until it has an answer: with silent name servers that takes half a minute or more,
//! and nothing can end it. So the threads that it may block are bounded, and each purpose has a
//! resolver of its own: names of one purpose can't take the threads of another, nor all of tokio's 512.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
};

/// The addresses of a name, or why there are none.
type Found = Result<Arc<[IpAddr]>, Arc<io::Error>>;
/// The lookups that are under way, by name.
type Running = Mutex<HashMap<String, watch::Receiver<Option<Found>>>>;
/// Blocks until it has the addresses of a name.
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Resolves names on a bounded number of threads.
#[derive(Clone)]
pub(super) struct Resolver {
    running: Arc<Running>,
    threads: Arc<Semaphore>,
    lookup: Arc<Lookup>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("threads", &self.threads.available_permits()).finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver that blocks at most `threads` threads at a time.
    pub(super) fn new(threads: usize) -> Self {
        Self::with_lookup(threads, |host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    /// The same, with another way to look a name up.
    pub(super) fn with_lookup(
        threads: usize,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { running: Arc::default(), threads: Arc::new(Semaphore::new(threads)), lookup: Arc::new(lookup) }
    }

    /// The addresses of `host`, which may be an address itself. Waits while all threads are blocked, and has no
    /// timeout of its own. Lookups of one name at the same time share one thread.
    ///
    /// # Errors
    /// When the name can't be resolved.
    pub(super) async fn resolve(&self, host: &str) -> Found {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok([address].into());
        }
        let mut lookup = self.start_or_join(host).await;
        let found = lookup.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        found.unwrap_or_else(|| Err(Arc::new(io::Error::other("the lookup was given up"))))
    }

    async fn start_or_join(&self, host: &str) -> watch::Receiver<Option<Found>> {
        if let Some(lookup) = lock(&self.running).get(host) {
            return lookup.clone();
        }
        let thread = Arc::clone(&self.threads).acquire_owned().await.ok();
        let mut running = lock(&self.running);
        // Another may have begun it meanwhile.
        if let Some(lookup) = running.get(host) {
            return lookup.clone();
        }
        let (found, lookup) = watch::channel(None);
        running.insert(host.to_owned(), lookup.clone());
        let entry = Entry { running: Arc::clone(&self.running), host: host.to_owned(), thread };
        let blocking = Arc::clone(&self.lookup);
        spawn_blocking(move || {
            let addresses = blocking(&entry.host);
            drop(entry);
            found.send_replace(Some(addresses.map(Arc::from).map_err(Arc::new)));
        });
        lookup
    }
}

/// A lookup's place among those under way, until its thread is back: also when no one waits for it any more.
struct Entry {
    running: Arc<Running>,
    host: String,
    #[expect(dead_code, reason = "held, not read")]
    thread: Option<OwnedSemaphorePermit>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.host);
    }
}

/// A panic while the lock is held leaves a valid map.
fn lock(running: &Running) -> MutexGuard<'_, HashMap<String, watch::Receiver<Option<Found>>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::{
            Condvar,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use futures_util::future::join_all;
    use tokio::time::timeout;

    use super::*;

    /// A name server that is silent until [`answer`](Self::answer).
    #[derive(Default)]
    struct NameServer {
        answers: Mutex<bool>,
        changed: Condvar,
        lookups: AtomicUsize,
    }

    impl NameServer {
        fn resolver(self: &Arc<Self>, threads: usize) -> Resolver {
            let server = Arc::clone(self);
            Resolver::with_lookup(threads, move |_| {
                server.lookups.fetch_add(1, Ordering::Relaxed);
                let silent = server.answers.lock().unwrap();
                drop(server.changed.wait_while(silent, |answers| !*answers).unwrap());
                Ok(vec![Ipv4Addr::LOCALHOST.into()])
            })
        }

        fn answer(&self) {
            *self.answers.lock().unwrap() = true;
            self.changed.notify_all();
        }

        fn lookups(&self) -> usize {
            self.lookups.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn names_without_an_answer_block_no_more_threads_than_allowed() {
        let server = Arc::new(NameServer::default());
        let resolver = server.resolver(4);
        let names: Vec<String> = (0..600).map(|number| format!("dead-{number}.example")).collect();
        let all = join_all(names.iter().map(|name| timeout(Duration::from_millis(200), resolver.resolve(name)))).await;
        assert!(all.iter().all(Result::is_err), "no name has an answer");
        assert_eq!(server.lookups(), 4);
        // Those who asked have gone, and the threads are still blocked.
        let again = timeout(Duration::from_millis(50), resolver.resolve("another.example")).await;
        assert!(again.is_err() && server.lookups() == 4);
        // Others have threads of their own, and tokio has some left.
        let other = Resolver::new(1).resolve("localhost").await.unwrap();
        assert!(other.iter().all(IpAddr::is_loopback));
        server.answer();
        let found = timeout(Duration::from_secs(20), resolver.resolve("another.example")).await.unwrap().unwrap();
        assert_eq!(*found, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }

    #[tokio::test]
    async fn lookups_of_one_name_share_a_thread() {
        let server = Arc::new(NameServer::default());
        let resolver = server.resolver(4);
        let many = join_all((0..50).map(|_| resolver.resolve("api.example")));
        let answer = async {
            // All of them have begun to wait by then.
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.answer();
        };
        let (found, ()) = tokio::join!(many, answer);
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(server.lookups(), 1);
        assert!(resolver.resolve("api.example").await.is_ok());
        assert_eq!(server.lookups(), 2, "what was found is not kept");
        assert!(resolver.resolve("::1").await.is_ok());
        assert_eq!(server.lookups(), 2, "an address needs no lookup");
    }
}
