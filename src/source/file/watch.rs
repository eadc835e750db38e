//! Live reload: events of the file system, with a poll that needs none.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::{Notify, watch::Sender},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Env, LoadOptions, SourceError, assemble::Loader, walk};
use crate::compile::Objects;

/// How long it must be quiet before files are read: editors and `kubectl cp` write in several steps.
const QUIET: Duration = Duration::from_millis(50);

/// How many such pauses to wait for at most, when it never gets quiet.
const MAX_QUIET_WAITS: usize = 10;

/// How often to look without an event: network file systems and some overlays send none.
const POLL: Duration = Duration::from_secs(1);

/// Reads the manifests under `paths`, publishes them, and publishes again whenever they differ, until `cancel`.
///
/// A reload that fails as a whole (a directory is gone for a moment) publishes nothing and is logged.
///
/// # Errors
///
/// When the first load fails: see [`load`](super::load).
pub async fn watch(
    paths: Vec<PathBuf>,
    env: Env,
    options: LoadOptions,
    tx: Sender<Arc<Objects>>,
    cancel: CancellationToken,
) -> Result<(), SourceError> {
    let changed = Arc::new(Notify::new());
    // Events first: what changes during the first load is then seen.
    let mut watcher = arm(&paths, &changed).await?;
    let mut reader = Reader { loader: Loader::new(paths.clone(), options), paths, env, fingerprint: 0, failing: false };
    let (mut reader, first) = spawn_blocking(move || {
        let loaded = reader.load();
        (reader, loaded)
    })
    .await?;
    first?;
    tx.send_replace(Arc::new(reader.loader.objects()));
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let polled = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = changed.notified() => false,
            _ = poll.tick() => true,
        };
        if !polled {
            quiet(&changed).await;
        }
        let (back, news) = spawn_blocking(move || {
            let news = reader.reload(polled);
            (reader, news)
        })
        .await?;
        reader = back;
        let News::Read(objects) = news else { continue };
        if polled {
            // No event told of this change: a directory was replaced, say, and the watch on it died.
            drop(watcher.take());
            watcher = arm(&reader.paths, &changed).await?;
        }
        if let Some(objects) = objects {
            tx.send_replace(objects);
        }
    }
}

/// What a look at the files came to.
enum News {
    /// Nothing was touched.
    Unchanged,
    /// Files were read; the objects, if they differ.
    Read(Option<Arc<Objects>>),
}

/// Everything that lives on the threads that may block.
struct Reader {
    paths: Vec<PathBuf>,
    env: Env,
    loader: Loader,
    /// Of the files before they were last read: what changes meanwhile is read again.
    fingerprint: u64,
    /// The last load failed, and that was logged.
    failing: bool,
}

impl Reader {
    fn load(&mut self) -> Result<bool, SourceError> {
        self.fingerprint = walk::fingerprint(&self.paths);
        self.loader.load(&*self.env)
    }

    /// Reads the files; with `if_touched` only when they look different.
    fn reload(&mut self, if_touched: bool) -> News {
        if if_touched && walk::fingerprint(&self.paths) == self.fingerprint {
            return News::Unchanged;
        }
        match self.load() {
            Ok(differs) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("manifests can be read again");
                }
                News::Read(differs.then(|| Arc::new(self.loader.objects())))
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "manifests can't be read; what was last read is still served");
                }
                News::Read(None)
            }
        }
    }
}

/// Waits until no event has come for a moment.
async fn quiet(changed: &Notify) {
    for _ in 0..MAX_QUIET_WAITS {
        if timeout(QUIET, changed.notified()).await.is_err() {
            return;
        }
    }
}

/// Asks for events of everything under `paths`. Without them (no inotify watches left, say) the poll alone must do.
async fn arm(paths: &[PathBuf], changed: &Arc<Notify>) -> Result<Option<RecommendedWatcher>, SourceError> {
    let paths = paths.to_vec();
    let changed = Arc::clone(changed);
    let armed = spawn_blocking(move || {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !is_read(event.kind)) {
                changed.notify_one();
            }
        })?;
        for path in &paths {
            // A file is replaced by renaming another over it, which only its directory tells.
            let (path, mode) = match path.parent() {
                Some(parent) if path.is_file() => (parent, RecursiveMode::NonRecursive),
                _ => (path.as_path(), RecursiveMode::Recursive),
            };
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            watcher.watch(path, mode)?;
        }
        Ok::<_, notify::Error>(watcher)
    })
    .await?;
    Ok(armed.inspect_err(|error| tracing::debug!(%error, "no file events; polling each second")).ok())
}

/// Our own reading makes events too.
fn is_read(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
