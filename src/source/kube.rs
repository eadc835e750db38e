//! The cluster as a source: watches on all kinds make one set of objects.
//!
//! ```text
//! watches (one task a kind) ─> store (decode, swap lists) ──┬─> debounce ─> Objects
//!       get of Secrets and ConfigMaps that are referred to <─┘
//! ```
//!
//! **The first publication waits until every kind was listed once**, and every Secret and
//! ConfigMap that is referred to was read. A
//! kind whose CustomResourceDefinition is missing counts as listed; the source looks for it again.
//!
//! **A failed watch loses no object.** A list replaces the last one when it is complete. While the API server can't be
//! reached, the last state stays. An object is removed only when the API server reports its deletion.
//!
//! **An object that can't be decoded affects only itself**: it becomes a [`Rejected`](crate::compile::Rejected) entry.
//! Its last good version is not served, unlike with files: the API server validated it, so it is not half-written.
//!
//! **Changes of status alone do not recompile.** Other controllers and Tollgate itself write statuses all the time.
//! Such a change is published with the same [`Objects::revision`].
//!
//! **Secrets and ConfigMaps**: see `values.rs`. Only those that an object refers to are held.

mod decode;
mod health;
mod store;
#[cfg(test)]
mod tests;
mod values;
mod watches;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::kube::{Client, Config};
use kube_runtime::watcher::Event;
use tokio::{
    sync::{Semaphore, mpsc, watch::Sender},
    task::{JoinError, JoinSet, consume_budget},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::watches::error_summary;
use self::{
    health::{Health, Trouble},
    store::{Change, Store},
    values::{Fetch, Fetched},
    watches::Message,
};
use crate::{
    api::Kind,
    compile::Objects,
    source::kinds::{KINDS, KindRow},
    telemetry::Metrics,
    upstream::Proxies,
};

/// The pause without changes after which they are published: `kubectl apply` sends one object after the other.
const QUIET: Duration = Duration::from_millis(50);
/// How long changes wait at most when there is no such pause.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// How long changes wait for Secrets and ConfigMaps that are being read. Without it, a Backend that is created with its
/// Secret would be reported to lack it; with more, one unreadable Secret would delay all changes.
const MAX_WAIT_FOR_VALUES: Duration = Duration::from_secs(2);
/// Events on their way from watches. Watches wait beyond, so that a list of thousands is never in memory twice.
const INBOX: usize = 64;
/// `get`s at a time.
const MAX_GETS: usize = 16;

/// An error that ends the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Neither KUBECONFIG nor the pod names a cluster.
    #[error("find the cluster")]
    Config(#[from] ::kube::config::InferConfigError),
    /// The configuration can't be used.
    #[error("connect to the cluster")]
    Client(#[from] ::kube::Error),
    /// A watch task ended, which only a bug can cause. Continuing would look like a cluster without changes.
    #[error("watch the cluster: a task ended")]
    Ended(#[source] Option<JoinError>),
}

/// A client for the cluster of KUBECONFIG (or `~/.kube/config`), else of the pod. It sends no request yet. The API
/// server of a pod is reached directly, and that of KUBECONFIG through its `proxy-url`, or else one of `proxies`.
///
/// # Errors
///
/// When neither exists, or can't be used.
pub async fn connect(proxies: &Proxies) -> Result<Client, SourceError> {
    let mut config = Config::infer().await?;
    // kube reads HTTPS_PROXY, but not NO_PROXY.
    config.proxy_url = config.proxy_url.filter(|proxy| !proxies.excepts(proxy, &config.cluster_url));
    tracing::info!(server = %config.cluster_url, "serving from the cluster");
    Ok(Client::try_from(config)?)
}

/// Watches the cluster and publishes its objects, first when everything was read once, then whenever they differ, until
/// `cancel`. Requests to an unreachable API server are repeated.
///
/// # Errors
///
/// [`SourceError::Ended`], which can't be recovered from.
pub async fn watch(
    client: Client,
    metrics: Arc<Metrics>,
    tx: Sender<Arc<Objects>>,
    cancel: CancellationToken,
) -> Result<(), SourceError> {
    let (out, mut inbox) = mpsc::channel(INBOX);
    let mut watches = JoinSet::new();
    for row in KINDS {
        watches.spawn(watches::watch_kind(client.clone(), row, out.clone()));
    }
    drop(out);
    let gate = Arc::new(Semaphore::new(MAX_GETS));
    let mut gets = JoinSet::new();
    let mut source = Source::new();
    loop {
        let due = source.due();
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            Some(message) = inbox.recv() => {
                #[expect(clippy::disallowed_methods, reason = "the time of the event, read as it comes in")]
                count(&metrics, &message, SystemTime::now());
                source.message(message, Instant::now());
            }
            Some(got) = gets.join_next() => match got {
                Ok((fetch, fetched)) => source.fetched(&fetch, fetched, Instant::now()),
                Err(error) => return Err(SourceError::Ended(Some(error))),
            },
            Some(ended) = watches.join_next() => return Err(SourceError::Ended(ended.err())),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                tx.send_replace(Arc::new(source.publish()));
            }
        }
        for fetch in source.store.take_fetches() {
            gets.spawn(watches::fetch(client.clone(), fetch, Arc::clone(&gate)));
        }
        // A list of thousands must not keep requests from this thread.
        consume_budget().await;
    }
}

/// Counts the messages of watches.
fn count(metrics: &Metrics, message: &Message, now: SystemTime) {
    let watches = &metrics.watches;
    match message {
        // An attempt begins: the API server has not answered yet.
        Message::Event(_, Event::Init) | Message::Metadata(_, Event::Init) => {}
        Message::Event(row, Event::InitDone) | Message::Metadata(row, Event::InitDone) => {
            watches.record_event(row.kind, false, now);
        }
        Message::Event(row, _) | Message::Metadata(row, _) => watches.record_event(row.kind, true, now),
        // Most clusters do not have all of these definitions.
        Message::Failed(row, Trouble::Missing, _) if row.kind.is_unserved() => {}
        Message::Failed(row, trouble, _) => watches.failed(row.kind, trouble.as_str()),
    }
}

/// The state between the messages of watches and the published objects.
struct Source {
    store: Store,
    health: Health,
    /// The first and the last change that was not published.
    changes: Option<(Instant, Instant)>,
    /// The greatest of those changes.
    change: Change,
    /// Incremented with each published change that affects the snapshot.
    revision: u64,
    published: bool,
    /// Of which kinds the log has reported that `get` is forbidden.
    told_of_get: BTreeSet<Kind>,
}

impl Source {
    fn new() -> Self {
        Self {
            store: Store::new(),
            health: Health::default(),
            changes: None,
            change: Change::None,
            revision: 0,
            published: false,
            told_of_get: BTreeSet::new(),
        }
    }

    fn message(&mut self, message: Message, now: Instant) {
        let changed = match message {
            Message::Event(row, event) => {
                self.works(row, &event);
                self.store.event(row, event)
            }
            Message::Metadata(row, event) => {
                self.works(row, &event);
                self.store.metadata_event(row, &event)
            }
            Message::Failed(row, trouble, error) => {
                if self.health.failed(row.kind, trouble) {
                    health::log_failed(row, trouble, &error);
                }
                // Without a Secret or ConfigMap its backend fails closed. Without policies or grants others would be
                // open, so they are waited for.
                let none = match trouble {
                    Trouble::Missing => true,
                    Trouble::Forbidden(_) => row.decode.is_none() || row.kind.is_unserved(),
                    Trouble::Lost | Trouble::Refused | Trouble::Unreachable => false,
                };
                if none { self.store.unavailable(row.kind) } else { Change::None }
            }
        };
        self.changed(changed, now);
    }

    fn works<K>(&mut self, row: &KindRow, event: &Event<K>) {
        let listed = match event {
            // An attempt, and a part of one.
            Event::Init | Event::InitApply(_) => return,
            Event::InitDone => true,
            Event::Apply(_) | Event::Delete(_) => false,
        };
        if let Some(over) = self.health.works(row.kind, listed) {
            health::log_over(row, over);
        }
    }

    fn fetched(&mut self, fetch: &Fetch, fetched: Fetched, now: Instant) {
        if let Fetched::Refused(error) = &fetched
            && !self.health.is_forbidden(fetch.kind)
            && self.told_of_get.insert(fetch.kind)
        {
            health::log_get_forbidden(fetch.kind, error);
        }
        let changed = self.store.fetched(fetch, fetched);
        self.changed(changed, now);
    }

    fn changed(&mut self, change: Change, now: Instant) {
        self.change = self.change.max(change);
        if change > Change::None {
            let first = self.changes.map_or(now, |(first, _)| first);
            self.changes = Some((first, now));
        }
    }

    /// When to publish; `None` while there is nothing to, or not everything was read.
    fn due(&self) -> Option<Instant> {
        let (first, last) = self.changes.filter(|_| self.store.synced())?;
        if self.store.complete() {
            Some((last + QUIET).min(first + MAX_WAIT))
        } else {
            self.published.then(|| first + MAX_WAIT_FOR_VALUES)
        }
    }

    fn publish(&mut self) -> Objects {
        self.changes = None;
        if std::mem::replace(&mut self.change, Change::None) == Change::Matters {
            self.revision += 1;
        }
        self.published = true;
        Objects { revision: self.revision, ..self.store.objects() }
    }
}
