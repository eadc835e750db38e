//! The times of fetches, and the credentials of requests meanwhile. Time is paused unless a test advances it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use super::{super::handle::Clock, *};

/// A clock that a test advances.
struct Played {
    begun: Instant,
    passed: watch::Sender<Duration>,
}

impl Clock for Played {
    fn now(&self) -> Instant {
        self.begun + *self.passed.borrow()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        let (mut passed, begun) = (self.passed.subscribe(), self.begun);
        Box::pin(async move { drop(passed.wait_for(|passed| begun + *passed >= at).await) })
    }
}

/// A source whose results a test chooses.
#[derive(Default)]
struct Play {
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    fails: AtomicBool,
    hangs: AtomicBool,
    /// Seconds; 0 is a token that has expired.
    life: AtomicU32,
    /// Seconds until the result.
    takes: AtomicU32,
}

struct Playing(Arc<Play>, Arc<dyn Clock>);

impl Fetch for Playing {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        Box::pin(async {
            let Self(play, clock) = self;
            let number = play.asked.fetch_add(1, Ordering::SeqCst) + 1;
            let now = play.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            play.most_at_once.fetch_max(now, Ordering::SeqCst);
            let takes = Duration::from_secs(play.takes.load(Ordering::SeqCst).into());
            clock.sleep_until(clock.now() + takes).await;
            play.at_once.fetch_sub(1, Ordering::SeqCst);
            if play.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if play.fails.load(Ordering::SeqCst) {
                return Err(FetchError::new("the cloud said no"));
            }
            let life = Duration::from_secs(play.life.load(Ordering::SeqCst).into());
            Ok(Fetched { token: Token::Bearer(format!("t{number}").into()), life: Some(life) })
        })
    }
}

/// A credential of the source, kept fresh.
struct Stage {
    credentials: Arc<Credentials>,
    clock: Arc<Played>,
    play: Arc<Play>,
    handle: Arc<Handle>,
    stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stage {
    /// Tokens live and fetches take this many seconds.
    async fn new(life: u32, takes: u32) -> Self {
        let play = Arc::new(Play { life: life.into(), takes: takes.into(), ..Play::default() });
        let clock = Arc::new(Played { begun: Instant::now(), passed: watch::channel(Duration::ZERO).0 });
        let mut credentials = credentials();
        credentials.around.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let handle =
            credentials.begin("play", Box::new(Playing(Arc::clone(&play), Arc::clone(&clock) as Arc<dyn Clock>)));
        let (credentials, stop) = (Arc::new(credentials), CancellationToken::new());
        let (running, stopped) = (Arc::clone(&credentials), stop.clone());
        tokio::spawn(async move { running.run(stopped).await });
        settle().await;
        Self { credentials, clock, play, handle, stop }
    }

    /// Advances the time, and lets every task run.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.clock.passed.send_modify(|passed| *passed += Duration::from_millis(250));
            settle().await;
        }
    }

    /// The result that a request gets without waiting.
    fn now(&self) -> Result<String, String> {
        let current = self.handle.current().now_or_never().unwrap_or_else(|| panic!("it has to wait"));
        current.map(|token| describe(&token)).map_err(|e| e.to_string())
    }

    fn asked(&self) -> usize {
        self.play.asked.load(Ordering::SeqCst)
    }

    fn metrics(&self) -> String {
        self.credentials.around.metrics.encode().unwrap()
    }
}

/// Lets all tasks run until each of them waits for time to pass.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hundred_waiters_share_one_fetch() {
    let stage = Stage::new(3600, 2).await;
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let handle = Arc::clone(&stage.handle);
            tokio::spawn(async move { handle.current().await.map(|token| describe(&token)) })
        })
        .collect();
    stage.pass(1).await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()), "they wait for that fetch");
    stage.pass(1).await;
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().unwrap(), "bearer t1");
    }
    assert_eq!(stage.asked(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_expiry_without_delaying_requests() {
    let stage = Stage::new(100, 3).await;
    stage.pass(3).await;
    assert_eq!(stage.now().unwrap(), "bearer t1");
    stage.pass(79).await;
    assert_eq!((stage.asked(), stage.now().unwrap()), (1, "bearer t1".to_owned()));
    // A fifth of its life before the end. The fetch takes a while, during which the old credential is used without a
    // wait.
    stage.pass(2).await;
    assert_eq!((stage.asked(), stage.now().unwrap()), (2, "bearer t1".to_owned()));
    stage.pass(3).await;
    assert_eq!((stage.asked(), stage.now().unwrap()), (2, "bearer t2".to_owned()));
    assert_eq!(stage.play.most_at_once.load(Ordering::SeqCst), 1);
    assert!(stage.metrics().contains("tollgate_credential_fetches_total{outcome=\"fetched\",source=\"play\"} 2"));
}

#[tokio::test]
async fn while_fetching_fails_the_old_token_serves_to_its_end_and_then_none() {
    let stage = Stage::new(100, 0).await;
    let mut changes = stage.credentials.changes();
    assert_eq!(stage.now().unwrap(), "bearer t1");
    stage.play.fails.store(true, Ordering::SeqCst);
    stage.pass(95).await;
    assert!(stage.asked() > 2, "it is tried again and again");
    assert_eq!(stage.now().unwrap(), "bearer t1");
    assert_eq!(stage.handle.problem(), None, "nothing is lost yet");
    assert!(!changes.has_changed().unwrap());

    stage.pass(6).await;
    assert_eq!(stage.now().unwrap_err(), "play: the cloud said no");
    assert_eq!(stage.handle.problem().as_deref(), Some("the cloud said no"));
    assert!(changes.has_changed().unwrap(), "compile is notified");
    changes.mark_unchanged();
    let tried = stage.asked();
    stage.pass(300).await;
    assert!((8..=14).contains(&(stage.asked() - tried)), "pauses are bounded: {}", stage.asked() - tried);
    assert!(!changes.has_changed().unwrap(), "the same problem is reported once");

    stage.play.fails.store(false, Ordering::SeqCst);
    stage.pass(31).await;
    assert!(stage.now().is_ok());
    assert_eq!(stage.handle.problem(), None);
    assert!(changes.has_changed().unwrap());
    assert!(stage.metrics().contains("tollgate_credential_fetches_total{outcome=\"failed\",source=\"play\"}"));
}

#[tokio::test]
async fn after_a_failure_requests_do_not_wait() {
    let stage = Stage::new(100, 4).await;
    stage.play.fails.store(true, Ordering::SeqCst);
    assert!(stage.handle.current().now_or_never().is_none(), "the first has to wait for the first answer");
    stage.pass(4).await;
    assert_eq!(stage.now().unwrap_err(), "play: the cloud said no");
    // The second attempt is under way.
    stage.pass(2).await;
    assert_eq!(stage.asked(), 2);
    assert!(stage.now().is_err());
}

#[tokio::test]
async fn a_credential_that_is_refused_is_fetched_anew_once_for_all_requests() {
    let stage = Stage::new(3600, 2).await;
    stage.pass(2).await;
    let first = stage.handle.current().await.unwrap();
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let (handle, refused) = (Arc::clone(&stage.handle), Arc::clone(&first));
            tokio::spawn(async move { handle.replacement(&refused).await.map(|token| describe(&token)) })
        })
        .collect();
    settle().await;
    stage.pass(1).await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()), "they wait for that fetch");
    assert_eq!(stage.now().unwrap(), "bearer t1", "other requests do not");
    stage.pass(1).await;
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().as_deref(), Some("bearer t2"));
    }
    // A refusal that comes late gets what is there.
    let late = stage.handle.replacement(&first).now_or_never().expect("at once");
    assert_eq!(late.map(|token| describe(&token)).as_deref(), Some("bearer t2"));
    assert_eq!(stage.asked(), 2);
}

#[tokio::test]
async fn credentials_that_are_always_refused_are_fetched_twice_a_minute() {
    let stage = Stage::new(3600, 0).await;
    let mut replaced = 0;
    for _ in 0..60 {
        let current = stage.handle.current().await.unwrap();
        let (handle, refused) = (Arc::clone(&stage.handle), Arc::clone(&current));
        let waiter = tokio::spawn(async move { handle.replacement(&refused).await.is_some() });
        stage.pass(1).await;
        assert!(waiter.is_finished(), "a refusal that is not followed by a fetch waits for nothing");
        replaced += usize::from(waiter.await.unwrap());
    }
    assert_eq!((replaced, stage.asked()), (2, 3));
}

#[tokio::test]
async fn when_another_credential_cant_be_fetched_requests_wait_for_one_fetch() {
    let stage = Stage::new(3600, 1).await;
    stage.pass(1).await;
    let first = stage.handle.current().await.unwrap();
    stage.play.fails.store(true, Ordering::SeqCst);
    let (handle, refused) = (Arc::clone(&stage.handle), Arc::clone(&first));
    let waiter = tokio::spawn(async move { handle.replacement(&refused).await.is_none() });
    settle().await;
    stage.pass(1).await;
    assert!(waiter.await.unwrap());
    let again = stage.handle.replacement(&first).now_or_never().expect("at once: the source fails");
    assert!(again.is_none());
    assert_eq!(stage.now().unwrap(), "bearer t1", "it may still be valid elsewhere");
    // It is fetched as soon as that works, although the first would have lived on.
    stage.play.fails.store(false, Ordering::SeqCst);
    stage.pass(5).await;
    assert_eq!(stage.now().unwrap(), "bearer t3");
}

#[tokio::test]
async fn a_fetch_times_out_or_fails_without_a_valid_credential() {
    let stage = Stage::new(0, 0).await;
    assert!(stage.now().unwrap_err().contains("expired already"));
    stage.play.hangs.store(true, Ordering::SeqCst);
    stage.pass(9).await;
    assert_eq!(stage.handle.problem().as_deref(), Some("no answer within 5 s"));
}

#[tokio::test]
async fn a_dropped_credential_is_not_fetched_again() {
    let mut stage = Stage::new(100, 0).await;
    assert!(stage.now().is_ok());
    assert!(stage.metrics().contains("tollgate_credential_expiry_timestamp_seconds{source=\"play\"}"));
    let other =
        stage.credentials.begin("other", Box::new(Playing(Arc::default(), Arc::clone(&stage.clock) as Arc<dyn Clock>)));
    stage.handle = other;
    settle().await;
    assert!(!stage.metrics().contains("tollgate_credential_expiry_timestamp_seconds{source=\"play\"}"));
    stage.pass(200).await;
    assert_eq!(stage.asked(), 1);
}

#[tokio::test]
async fn without_its_task_a_credential_fails_closed() {
    let stage = Stage::new(100, 0).await;
    stage.stop.cancel();
    settle().await;
    let late = stage.credentials.get(&Source::AwsInstance { endpoint: "http://127.0.0.1:1".into() });
    let waiter = tokio::spawn(async move { late.current().await.err().map(|e| e.to_string()) });
    stage.pass(7).await;
    assert!(waiter.is_finished(), "a request waits for a bounded time");
    let why = waiter.await.unwrap();
    assert_eq!(why.as_deref(), Some("aws_instance: no credential could be fetched in time"));
}

#[tokio::test]
async fn simulated_credentials_are_placeholders() {
    let credentials = Arc::new(credentials().simulated());
    let running = Arc::clone(&credentials);
    tokio::spawn(async move { running.run(CancellationToken::new()).await });
    let aws = credentials.get(&Source::AwsInstance { endpoint: "http://127.0.0.1:1".into() });
    assert_eq!(describe(&aws.current().await.unwrap()), "aws simulated-key simulated-key -");
    let google = credentials.get(&Source::GoogleFile("/nowhere".into()));
    assert_eq!(describe(&google.current().await.unwrap()), "bearer simulated-key");
}
