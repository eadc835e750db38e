//! Live reload by events of the file system, and by a poll where there are none.

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

/// The pause without events after which files are read: editors and `kubectl cp` write in several steps.
const QUIET: Duration = Duration::from_millis(50);

/// How many times to wait for such a pause at most.
const MAX_QUIET_WAITS: usize = 10;

/// How often files are checked without an event: network file systems and some overlays send none.
const POLL: Duration = Duration::from_secs(1);

/// Reads the manifests under `paths`, publishes them, and publishes again whenever they differ, until `cancel`.
///
/// A reload that fails as a whole (a directory vanished for a moment) is logged and publishes nothing.
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
    // Events are enabled first, so that changes during the first load are noticed.
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
        let (back, reloaded) = spawn_blocking(move || {
            let reloaded = reader.reload(polled);
            (reader, reloaded)
        })
        .await?;
        reader = back;
        let Reload::Read(objects) = reloaded else { continue };
        if polled {
            // There was no event for this change: a directory was replaced, for example, and its watch ended.
            drop(watcher.take());
            watcher = arm(&reader.paths, &changed).await?;
        }
        if let Some(objects) = objects {
            tx.send_replace(objects);
        }
    }
}

/// The result of a check of the files.
enum Reload {
    /// No file has changed.
    Unchanged,
    /// Files were read; the objects, if they differ.
    Read(Option<Arc<Objects>>),
}

/// The part that runs on blocking threads.
struct Reader {
    paths: Vec<PathBuf>,
    env: Env,
    loader: Loader,
    /// The fingerprint of the files before they were last read, so that changes during the read are noticed.
    fingerprint: u64,
    /// The last load failed, and that was logged.
    failing: bool,
}

impl Reader {
    fn load(&mut self) -> Result<bool, SourceError> {
        self.fingerprint = walk::fingerprint(&self.paths);
        self.loader.load(&*self.env)
    }

    /// Reads the files; with `if_touched` only when their fingerprint differs.
    fn reload(&mut self, if_touched: bool) -> Reload {
        if if_touched && walk::fingerprint(&self.paths) == self.fingerprint {
            return Reload::Unchanged;
        }
        match self.load() {
            Ok(differs) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("manifests can be read again");
                }
                Reload::Read(differs.then(|| Arc::new(self.loader.objects())))
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    // With its sources: the system's error is one of them.
                    let error = format!("{:#}", anyhow::Error::new(error));
                    tracing::warn!(error, "manifests can't be read; the last state is still served");
                }
                Reload::Read(None)
            }
        }
    }
}

/// Waits until there was no event for a moment.
async fn quiet(changed: &Notify) {
    for _ in 0..MAX_QUIET_WAITS {
        if timeout(QUIET, changed.notified()).await.is_err() {
            return;
        }
    }
}

/// Subscribes to events of everything under `paths`; `None` when that fails (no inotify watches left, for example),
/// which leaves the poll.
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
            // A file is replaced by renaming another over it, which only its directory reports.
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

/// Whether an event is about reading, which Tollgate's own reads cause too.
fn is_read(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
