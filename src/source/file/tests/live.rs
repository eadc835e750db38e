//! The running source: changes on disk arrive by themselves.

use super::*;

struct Live {
    rx: channel::Receiver<Arc<Objects>>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), SourceError>>,
}

impl Live {
    async fn start(path: &Path) -> Self {
        let (tx, mut rx) = channel::channel(Arc::new(Objects::default()));
        let cancel = CancellationToken::new();
        let task =
            tokio::spawn(watch(vec![path.to_owned()], Arc::new(env), LoadOptions::default(), tx, cancel.clone()));
        tokio::time::timeout(LONG, rx.changed()).await.unwrap().unwrap();
        Self { rx, cancel, task }
    }

    async fn until(&mut self, expect: &[&str]) {
        let arrived = self.rx.wait_for(|objects| gateways(objects) == expect);
        tokio::time::timeout(LONG, arrived).await.unwrap_or_else(|_| panic!("{expect:?} did not arrive")).unwrap();
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn changes_of_files_arrive() {
    let dir = dir(&[("a.yaml", &gateway("a", "one"))]);
    let mut live = Live::start(dir.path()).await;
    live.until(&["default/a=one"]).await;
    write(&dir, "a.yaml", &gateway("a", "two"));
    live.until(&["default/a=two"]).await;
    write(&dir, "new/b.yaml", &gateway("b", "one"));
    live.until(&["default/a=two", "default/b=one"]).await;
    write(&dir, "new/b.yaml", &gateway("b", "two"));
    live.until(&["default/a=two", "default/b=two"]).await;
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    live.until(&["default/b=two"]).await;
    live.stop().await;
}

#[tokio::test]
async fn config_map_swaps_arrive() {
    let dir = dir(&[("..1/a.yaml", &gateway("a", "one")), ("..2/a.yaml", &gateway("a", "two"))]);
    symlink("..1", dir.path().join("..data")).unwrap();
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    let mut live = Live::start(dir.path()).await;
    live.until(&["default/a=one"]).await;
    symlink("..2", dir.path().join("..tmp")).unwrap();
    fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
    live.until(&["default/a=two"]).await;
    live.stop().await;
}

#[tokio::test]
async fn a_directory_may_vanish_and_come_back() {
    let dir = dir(&[("m/a.yaml", &gateway("a", "one")), ("n/a.yaml", &gateway("a", "two"))]);
    let path = dir.path().join("m");
    let mut live = Live::start(&path).await;
    fs::rename(&path, dir.path().join("old")).unwrap();
    // The watch on the old directory has no effect any more.
    fs::rename(dir.path().join("n"), &path).unwrap();
    live.until(&["default/a=two"]).await;
    write(&dir, "m/a.yaml", &gateway("a", "three"));
    live.until(&["default/a=three"]).await;
    live.stop().await;
}

#[tokio::test]
async fn the_first_load_must_succeed() {
    let dir = dir(&[]);
    let missing = dir.path().join("nowhere");
    let (tx, _rx) = channel::channel(Arc::new(Objects::default()));
    let result =
        watch(vec![missing.clone()], Arc::new(env), LoadOptions::default(), tx, CancellationToken::new()).await;
    assert!(result.unwrap_err().to_string().contains(missing.to_str().unwrap()));
}
