//! Facts about models from an operator's file, read again whenever it changes.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    fs::File,
    io::AsyncReadExt,
    sync::watch::Sender,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::dialect::ModelTable;

/// How often the file is read. It is small, and a mounted ConfigMap changes by a link that sends no event.
const POLL: Duration = Duration::from_secs(2);
/// The largest file: a ConfigMap has no more.
const MAX_BYTES: u64 = 1024 * 1024;

/// Publishes the built-in table with the rows of the file at `path`, and again whenever they change, until `cancel`. A
/// file that can't be read is logged, and the last table stays: at the start, the built-in one.
pub async fn watch(path: &Path, tables: &Sender<Arc<ModelTable>>, cancel: CancellationToken) {
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    while cancel.run_until_cancelled(poll.tick()).await.is_some() {
        if let Some(table) = changed(path, &mut last).await {
            tables.send_replace(Arc::new(table));
        }
    }
}

/// The table of the file at `path`, if the file differs from `last` and is valid.
async fn changed(path: &Path, last: &mut Option<Result<String, String>>) -> Option<ModelTable> {
    let read = read(path).await;
    if last.as_ref() == Some(&read) {
        return None;
    }
    match last.insert(read).as_deref().map_err(Clone::clone).and_then(table) {
        Ok(table) => {
            tracing::info!(path = %path.display(), rows = table.len(), "model facts read");
            Some(table)
        }
        Err(error) => {
            tracing::error!(path = %path.display(), error, "model facts can't be read; the last ones stay");
            None
        }
    }
}

fn table(text: &str) -> Result<ModelTable, String> {
    ModelTable::built_in().with(text).map_err(|error| error.to_string())
}

async fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).await.map_err(|error| error.to_string())?;
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text).await.map_err(|error| error.to_string())?;
    if read as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn a_file_that_breaks_leaves_the_last_facts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.toml");
        let row = |most: &str| format!("[[model]]\nname = \"own-model\"\nmax_output = {most}\n");
        let mut last = None;
        let mut limit = async |text: Option<&str>| {
            match text {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            changed(&path, &mut last).await.map(|table| table.facts("own-model", "openai").max_output)
        };
        assert_eq!(limit(Some(&row("7000"))).await, Some(7000));
        assert_eq!(limit(Some(&row("7000"))).await, None, "it has not changed");
        let large = format!("{}#{}", row("1"), " ".repeat(1024 * 1024));
        for broken in [&row("\"many\""), &row("0"), "max_output = 1", "[[model", &large] {
            assert_eq!(limit(Some(broken)).await, None, "{broken:.40}");
        }
        assert_eq!(limit(None).await, None);
        assert_eq!(limit(Some(&row("8000"))).await, Some(8000));
        let (tables, facts) = watch::channel(ModelTable::built_in());
        let cancel = CancellationToken::new();
        let watching = super::watch(&path, &tables, cancel.clone());
        let reading = async {
            facts.clone().changed().await.unwrap();
            cancel.cancel();
        };
        tokio::join!(watching, reading);
        assert_eq!(facts.borrow().facts("own-model", "openai").max_output, 8000);
        assert_eq!(facts.borrow().facts("gpt-4o", "openai").max_output, 16_384, "the built-in rows are there, too");
    }
}
