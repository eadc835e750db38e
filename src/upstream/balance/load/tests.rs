use std::{collections::VecDeque, future::poll_fn, pin::Pin, task::Poll};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use Priority::{Batch, Interactive};

const SECOND: Duration = Duration::from_secs(1);

/// A Backend with targets.
struct Backend {
    load: Arc<Load>,
    targets: Vec<Arc<TargetState>>,
}

/// A request in flight.
struct Placed {
    entry: Entry,
    target: TargetPermit,
}

type Wait = Pin<Box<dyn Future<Output = Result<(usize, Placed), NoRoom>>>>;

impl Backend {
    /// A Backend with these limits of requests and of the attempts at each target; ten requests wait, for 30 seconds.
    fn new(requests: Option<u32>, targets: &[Option<u32>]) -> Self {
        let states = targets.iter().map(|_| Arc::default()).collect();
        let backend = Self { load: Arc::default(), targets: states };
        backend.limit(requests, targets, 10, 30 * SECOND);
        backend
    }

    fn limit(&self, requests: Option<u32>, targets: &[Option<u32>], pending: usize, wait: Duration) {
        let states = self.targets.iter().map(|target| &**target).zip(targets.iter().copied());
        self.load.configure(Limits { requests, pending, wait }, states);
    }

    /// A request that comes now and finds room at this target.
    fn enter(&self, target: usize) -> Option<Placed> {
        let mut entry = Entry::new(Some(&self.load));
        let target = entry.try_target(&self.targets[target]).ok()??;
        Some(Placed { entry, target })
    }

    fn wait(&self, targets: &[usize], priority: Priority, flow: &str) -> Wait {
        self.wait_in(Entry::new(Some(&self.load)), targets, priority, flow)
    }

    /// A wait for room at these targets, in the queue from now on.
    fn wait_in(&self, mut entry: Entry, targets: &[usize], priority: Priority, flow: &str) -> Wait {
        let candidates = targets.iter().map(|index| Arc::clone(&self.targets[*index])).collect();
        let flow: Arc<str> = flow.into();
        let mut wait: Wait = Box::pin(async move {
            let (index, target) = entry.wait(candidates, priority, &flow).await?;
            Ok((index, Placed { entry, target: target.unwrap() }))
        });
        assert!((&mut wait).now_or_never().is_none(), "there was room");
        wait
    }

    fn waiting(&self) -> usize {
        self.load.waiting()
    }

    fn in_flight(&self) -> (u32, Vec<u32>) {
        let taken = |target: &Arc<TargetState>| target.room().taken.load(Ordering::Relaxed);
        (self.load.snapshot().1, self.targets.iter().map(taken).collect())
    }
}

/// The result of a wait that is over. It is not bound by what one task may do before it yields.
fn over(wait: &mut Wait) -> Option<Result<(usize, Placed), NoRoom>> {
    tokio::task::unconstrained(wait).now_or_never()
}

fn refused(wait: &mut Wait) -> NoRoom {
    over(wait).expect("it still waits").map(|(index, _)| index).unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_place_that_gets_free_is_that_of_the_first_in_the_queue() {
    let backend = Backend::new(Some(1), &[None]);
    let first = backend.enter(0).unwrap();
    assert!(backend.enter(0).is_none());
    let mut second = backend.wait(&[0], Interactive, "a");
    let mut third = backend.wait(&[0], Interactive, "a");
    drop(first);
    assert!(backend.enter(0).is_none(), "the next one has it already, though it has not run yet");
    assert!(over(&mut third).is_none());
    let (_, second) = over(&mut second).unwrap().unwrap();
    assert_eq!(backend.in_flight(), (1, vec![1]));
    drop(second);
    assert!(over(&mut third).unwrap().is_ok());
    assert_eq!((backend.in_flight(), backend.waiting()), ((0, vec![0]), 0));
}

#[tokio::test(start_paused = true)]
async fn interactive_requests_come_first_and_routes_take_turns() {
    let backend = Backend::new(Some(1), &[None]);
    let mut running = backend.enter(0).unwrap();
    let mut waits: Vec<(&str, Wait)> = [
        ("batch", Batch, "a"),
        ("a1", Interactive, "a"),
        ("a2", Interactive, "a"),
        ("a3", Interactive, "a"),
        ("b1", Interactive, "b"),
    ]
    .into_iter()
    .map(|(name, priority, flow)| (name, backend.wait(&[0], priority, flow)))
    .collect();
    let mut order = Vec::new();
    while !waits.is_empty() {
        drop(running);
        let mut next = None;
        waits.retain_mut(|(name, wait)| match over(wait) {
            Some(result) => {
                order.push(*name);
                next = Some(result.unwrap().1);
                false
            }
            None => true,
        });
        running = next.unwrap();
    }
    assert_eq!(order, ["a1", "b1", "a2", "a3", "batch"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_an_end_which_names_when_to_come_back() {
    let backend = Backend::new(Some(1), &[None]);
    let running = backend.enter(0).unwrap();
    let began = Instant::now();
    let no_room = backend.wait(&[0], Interactive, "a").await.map(|(index, _)| index).unwrap_err();
    assert_eq!(no_room, NoRoom { cause: Cause::WaitLimit, retry_after: 30 * SECOND }, "no request has got room yet");
    assert_eq!((began.elapsed(), backend.waiting()), (30 * SECOND, 0));
    // One has, after 2.5 seconds.
    let mut next = backend.wait(&[0], Interactive, "a");
    tokio::time::advance(Duration::from_millis(2_500)).await;
    drop(running);
    let (_, _running) = over(&mut next).unwrap().unwrap();
    let no_room = backend.wait(&[0], Interactive, "a").await.map(|(index, _)| index).unwrap_err();
    assert_eq!(no_room.retry_after, 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_or_gives_way() {
    let backend = Backend::new(Some(1), &[None]);
    backend.limit(Some(1), &[None], 2, 30 * SECOND);
    let running = backend.enter(0).unwrap();
    let mut batch = [backend.wait(&[0], Batch, "a"), backend.wait(&[0], Batch, "a")];
    let mut late = Entry::new(Some(&backend.load));
    let candidates = || Candidates::from_iter([Arc::clone(&backend.targets[0])]);
    let result = late.wait(candidates(), Batch, &"a".into()).now_or_never().unwrap();
    assert_eq!(result.map(|(index, _)| index).unwrap_err().cause, Cause::QueueFull);
    // Another route has its share, and an interactive request goes before all of them.
    let mut other = backend.wait(&[0], Batch, "b");
    assert_eq!(refused(&mut batch[1]).cause, Cause::Displaced);
    let mut interactive = backend.wait(&[0], Interactive, "a");
    assert_eq!(backend.waiting(), 2);
    drop(running);
    let (_, running) = over(&mut interactive).unwrap().unwrap();
    drop(running);
    let left = [over(&mut batch[0]), over(&mut other)].into_iter().flatten();
    let results: Vec<_> = left.map(|result| result.map(|_| ()).map_err(|no_room| no_room.cause)).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.contains(&Err(Cause::Displaced)), "{results:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_away_leaves_the_queue_and_gives_back_what_it_has_got() {
    let backend = Backend::new(Some(1), &[Some(1)]);
    let running = backend.enter(0).unwrap();
    let (gone, mut next) = (backend.wait(&[0], Interactive, "a"), backend.wait(&[0], Interactive, "a"));
    drop(gone);
    assert_eq!(backend.waiting(), 1);
    let mut last = backend.wait(&[0], Interactive, "a");
    drop(running);
    // It has room now, and is dropped before it runs.
    assert_eq!(backend.waiting(), 1);
    drop(std::mem::replace(&mut next, Box::pin(std::future::pending())));
    assert!(over(&mut last).unwrap().is_ok());
    assert_eq!((backend.in_flight(), backend.waiting()), ((0, vec![0]), 0));
}

#[tokio::test(start_paused = true)]
async fn a_target_with_room_is_not_blocked_by_those_that_wait_for_another() {
    let backend = Backend::new(None, &[Some(1), Some(1)]);
    let (first, second) = (backend.enter(0).unwrap(), backend.enter(1).unwrap());
    let mut for_second = backend.wait(&[1], Interactive, "a");
    let mut for_any = backend.wait(&[0, 1], Interactive, "a");
    drop(first);
    assert!(over(&mut for_second).is_none());
    let (index, placed) = over(&mut for_any).unwrap().unwrap();
    assert_eq!((index, backend.in_flight()), (0, (2, vec![1, 1])));
    drop(placed);
    assert!(backend.enter(0).is_some(), "no request in the queue can use it");
    drop(second);
    assert!(over(&mut for_second).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_over_keeps_its_place_at_the_backend_and_is_first_at_the_next_target() {
    let backend = Backend::new(Some(2), &[Some(1), Some(1)]);
    let (Placed { entry, target }, other) = (backend.enter(0).unwrap(), backend.enter(1).unwrap());
    let mut later = backend.wait(&[0, 1], Interactive, "a");
    // Its target has failed.
    let mut fails_over = backend.wait_in(entry, &[1], Interactive, "a");
    drop(target);
    assert!(over(&mut later).is_none(), "the Backend is full");
    drop(other);
    assert_eq!(
        over(&mut fails_over).unwrap().map(|(index, placed)| {
            drop(placed);
            index
        }),
        Ok(0)
    );
    assert_eq!(
        over(&mut later).unwrap().map(|(index, placed)| {
            drop(placed);
            index
        }),
        Ok(0)
    );
    assert_eq!(backend.in_flight(), (0, vec![0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_limits_reaches_those_that_wait() {
    let backend = Backend::new(Some(1), &[None]);
    let running = backend.enter(0).unwrap();
    let mut waits: VecDeque<Wait> = (0..6).map(|_| backend.wait(&[0], Interactive, "a")).collect();
    // More room.
    backend.limit(Some(3), &[None], 10, 30 * SECOND);
    let mut placed: Vec<Placed> = waits.drain(..2).filter_map(|mut wait| Some(over(&mut wait)?.unwrap().1)).collect();
    assert_eq!((placed.len(), backend.waiting()), (2, 4));
    // Less than what is in flight: that goes on, and nothing begins before it is below the limit.
    backend.limit(Some(1), &[None], 10, 30 * SECOND);
    placed.pop();
    placed.pop();
    assert_eq!((backend.in_flight().0, backend.waiting()), (1, 4));
    drop(running);
    let (_, running) = over(&mut waits.pop_front().unwrap()).unwrap().unwrap();
    // A shorter queue, and a shorter wait.
    backend.limit(Some(1), &[None], 2, 30 * SECOND);
    assert_eq!(refused(&mut waits.pop_back().unwrap()).cause, Cause::Displaced);
    backend.limit(Some(1), &[None], 2, 2 * SECOND);
    let mut wait = waits.pop_back().unwrap();
    tokio::time::advance(SECOND).await;
    assert!(over(&mut wait).is_none());
    tokio::time::advance(SECOND).await;
    assert_eq!(refused(&mut wait).cause, Cause::WaitLimit);
    // None at all.
    backend.limit(None, &[None], 10, SECOND);
    assert!(over(&mut waits.pop_back().unwrap()).is_some());
    drop(running);
    assert_eq!((backend.in_flight(), backend.waiting()), ((0, vec![0]), 0));
}

#[tokio::test(start_paused = true)]
async fn limits_at_their_ends() {
    let backend = Backend::new(Some(1), &[None]);
    backend.limit(Some(1), &[None], 0, Duration::MAX);
    let running = backend.enter(0).unwrap();
    let mut entry = Entry::new(Some(&backend.load));
    let candidates = Candidates::from_iter([Arc::clone(&backend.targets[0])]);
    let result = entry.wait(candidates, Interactive, &"a".into()).now_or_never().unwrap();
    let no_room = result.map(|(index, _)| index).unwrap_err();
    assert_eq!(no_room, NoRoom { cause: Cause::QueueFull, retry_after: MAX_RETRY_AFTER });
    backend.limit(Some(u32::MAX), &[Some(u32::MAX)], usize::MAX, Duration::MAX);
    assert!(backend.enter(0).is_some());
    backend.limit(Some(1), &[None], usize::MAX, Duration::MAX);
    let mut wait = backend.wait(&[0], Interactive, "a");
    tokio::time::advance(Duration::from_hours(24 * 365)).await;
    assert!(over(&mut wait).is_none());
    drop(running);
    assert!(over(&mut wait).unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn room_that_appears_before_a_request_is_in_the_queue_is_not_missed() {
    let backend = Backend::new(Some(1), &[None]);
    let mut entry = Entry::new(Some(&backend.load));
    let candidates = Candidates::from_iter([Arc::clone(&backend.targets[0])]);
    let result = entry.wait(candidates, Interactive, &"a".into()).now_or_never().expect("it waits");
    assert_eq!(result.map(|(index, _)| index), Ok(0));
    assert_eq!((backend.in_flight().0, backend.waiting()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_wait_and_leave() {
    const MANY: usize = 10_000;
    let backend = Backend::new(Some(1), &[None, Some(1)]);
    backend.limit(Some(1), &[None, Some(1)], MANY, 30 * SECOND);
    let running = backend.enter(0).unwrap();
    let flows = ["a", "b", "c"];
    let mut waits: Vec<Wait> =
        (0..MANY).map(|number| backend.wait(&[0, 1], Priority::ALL[number % 2], flows[number % 3])).collect();
    assert_eq!(backend.waiting(), MANY);
    // Every other one goes away, and all others get their place.
    let mut number = 0;
    waits.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    drop(running);
    let mut left = waits;
    while !left.is_empty() {
        let before = left.len();
        // A place is free again as soon as it was got.
        left.retain_mut(|wait| over(wait).is_none());
        assert!(left.len() < before);
    }
    assert_eq!((backend.in_flight().0, backend.waiting()), (0, 0));
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    /// A request comes for these targets (a bit each).
    Come { targets: u8, batch: bool, flow: u8 },
    /// A request goes away: one that waits, or one in flight.
    Leave(prop::sample::Index),
    /// One in flight ends, and before those that wait run, one of them goes away.
    End(prop::sample::Index, Option<prop::sample::Index>),
    /// One in flight fails over to other targets.
    FailOver { which: prop::sample::Index, targets: u8 },
    /// The limits change.
    Limit { requests: u32, first: u32, second: u32, pending: u8 },
    /// Time passes.
    Pass(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        6 => (1..4u8, any::<bool>(), 0..3u8).prop_map(|(targets, batch, flow)| Step::Come { targets, batch, flow }),
        2 => index().prop_map(Step::Leave),
        3 => (index(), prop::option::of(index())).prop_map(|(which, leaves)| Step::End(which, leaves)),
        1 => (index(), 1..4u8).prop_map(|(which, targets)| Step::FailOver { which, targets }),
        1 => (0..5u32, 0..4u32, 0..4u32, 0..8u8)
            .prop_map(|(requests, first, second, pending)| Step::Limit { requests, first, second, pending }),
        1 => (0..20u8).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..80)
}

fn bits(targets: u8) -> Vec<usize> {
    (0..2).filter(|bit| targets >> bit & 1 == 1).collect()
}

/// A random run: never more in flight than the limits allow (unless they were lowered), no room that is left unused
/// while a request waits for it, and nothing is left at the end.
async fn run(steps: Vec<Step>) {
    let mut limits = (Some(2), [Some(1), None]);
    let backend = Backend::new(limits.0, &limits.1);
    let mut waiting: Vec<(Wait, Vec<usize>, bool)> = Vec::new();
    let mut placed: Vec<(Placed, usize)> = Vec::new();
    for step in steps {
        let before = backend.in_flight();
        let mut come = |entry: Entry, targets: Vec<usize>, priority, flow: &str, placed: &mut Vec<(Placed, usize)>| {
            let entered = entry.request.is_some();
            let (load, states) = (Arc::clone(&backend.load), backend.targets.clone());
            let flow: Arc<str> = flow.into();
            let list = targets.clone();
            let mut wait: Wait = Box::pin(async move {
                let mut entry = entry;
                for (index, target) in list.iter().enumerate() {
                    if let Ok(Some(target)) = entry.try_target(&states[*target]) {
                        return Ok((index, Placed { entry, target }));
                    }
                }
                let candidates = list.iter().map(|index| Arc::clone(&states[*index])).collect();
                let (index, target) = entry.wait(candidates, priority, &flow).await?;
                drop(load);
                Ok((index, Placed { entry, target: target.unwrap() }))
            });
            match over(&mut wait) {
                Some(Ok((index, place))) => placed.push((place, targets[index])),
                Some(Err(_)) => {}
                None => waiting.push((wait, targets, entered)),
            }
        };
        match step {
            Step::Come { targets, batch, flow } => {
                let priority = if batch { Batch } else { Interactive };
                come(
                    Entry::new(Some(&backend.load)),
                    bits(targets),
                    priority,
                    ["a", "b", "c"][usize::from(flow)],
                    &mut placed,
                );
            }
            Step::Leave(which) => {
                if !waiting.is_empty() {
                    drop(waiting.remove(which.index(waiting.len())));
                }
            }
            Step::End(which, leaves) => {
                if !placed.is_empty() {
                    drop(placed.remove(which.index(placed.len())));
                }
                if let Some(leaves) = leaves.filter(|_| !waiting.is_empty()) {
                    drop(waiting.remove(leaves.index(waiting.len())));
                }
            }
            Step::FailOver { which, targets } => {
                if !placed.is_empty() {
                    let (Placed { entry, target }, _) = placed.remove(which.index(placed.len()));
                    drop(target);
                    come(entry, bits(targets), Interactive, "a", &mut placed);
                }
            }
            Step::Limit { requests, first, second, pending } => {
                let some = |limit: u32| Some(limit).filter(|limit| *limit > 0);
                limits = (some(requests), [some(first), some(second)]);
                backend.limit(limits.0, &limits.1, usize::from(pending), 10 * SECOND);
            }
            Step::Pass(seconds) => tokio::time::advance(SECOND * u32::from(seconds)).await,
        }
        // Before those that have got room run.
        let (requests, targets) = backend.in_flight();
        let allowed = |now: u32, before: u32, limit: Option<u32>| limit.is_none_or(|limit| now <= limit.max(before));
        assert!(allowed(requests, before.0, limits.0), "{requests} requests, {limits:?}");
        for index in 0..2 {
            assert!(allowed(targets[index], before.1[index], limits.1[index]), "{targets:?}, {limits:?}");
        }
        let mut still = Vec::new();
        for (mut wait, targets, entered) in waiting {
            match over(&mut wait) {
                Some(Ok((index, place))) => placed.push((place, targets[index])),
                Some(Err(_)) => {}
                None => still.push((wait, targets, entered)),
            }
        }
        waiting = still;
        // What waits, waits for a reason.
        let (requests, taken) = backend.in_flight();
        for (_, targets, entered) in &waiting {
            let backend_full = !entered && limits.0.is_some_and(|limit| requests >= limit);
            let all_full = targets.iter().all(|index| limits.1[*index].is_some_and(|limit| taken[*index] >= limit));
            assert!(backend_full || all_full, "{targets:?} of {taken:?} and {requests}, {limits:?}");
        }
        assert_eq!(backend.waiting(), waiting.len());
        for (index, taken) in taken.iter().enumerate() {
            assert_eq!(*taken as usize, placed.iter().filter(|(_, target)| *target == index).count());
        }
    }
    drop(waiting);
    drop(placed);
    assert_eq!((backend.in_flight(), backend.waiting()), ((0, vec![0, 0]), 0));
    assert!(backend.load.state().sought.is_empty() && backend.load.state().entered == 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn limits_hold_and_no_room_is_lost(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_never_exceed_the_limit_and_all_get_their_turn() {
    let backend = Backend::new(Some(3), &[Some(2), None]);
    backend.limit(Some(3), &[Some(2), None], 1000, 600 * SECOND);
    let most = Arc::new(AtomicU32::new(0));
    let now = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..400 {
        let (load, states) = (Arc::clone(&backend.load), backend.targets.clone());
        let (most, now) = (Arc::clone(&most), Arc::clone(&now));
        tasks.spawn(async move {
            let mut entry = Entry::new(Some(&load));
            let permit = if let Ok(permit) = entry.try_target(&states[0]) {
                permit
            } else {
                let flow = "a".into();
                let wait = entry.wait(states.into_iter().collect(), Interactive, &flow);
                // Every fifth goes away while it waits, or just when it has got its place.
                if number % 5 == 0 {
                    let mut wait = Box::pin(wait);
                    let once = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_ready()));
                    once.await;
                    tokio::task::yield_now().await;
                    return;
                }
                wait.await.unwrap().1
            };
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            drop((permit, entry));
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    assert_eq!((backend.in_flight(), backend.waiting()), ((0, vec![0, 0]), 0));
}
