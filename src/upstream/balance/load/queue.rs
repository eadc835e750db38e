//! The queue of requests that wait for room: by priority, fair between flows, and first come, first served inside one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// How urgent a request is. Under pressure, a more urgent one comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A person waits for the answer.
    #[default]
    Interactive,
    /// The answer may come later.
    Batch,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Batch];

    /// Its name in headers, metrics and debug output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}

/// The order inside a flow: those that go first, then by their number.
type Key = (bool, u64);

/// The entries of one flow, in their order.
#[derive(Debug)]
struct Flow<W> {
    name: Arc<str>,
    waiting: BTreeMap<Key, W>,
}

/// Where an entry is in the queue.
#[derive(Debug)]
pub(super) struct Position {
    priority: Priority,
    flow: Arc<str>,
    key: Key,
}

/// A queue with one ring of flows for each priority. Flows take turns, so that one with a thousand entries delays
/// another by one entry at a time. No operation but the search of [`take_first`](Self::take_first) visits all entries.
#[derive(Debug)]
pub(super) struct FairQueue<W> {
    rings: [VecDeque<Flow<W>>; Priority::ALL.len()],
    len: usize,
    next: u64,
}

impl<W> Default for FairQueue<W> {
    fn default() -> Self {
        Self { rings: Default::default(), len: 0, next: 0 }
    }
}

impl<W> FairQueue<W> {
    /// The number of entries.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The number of entries of each priority.
    pub fn lengths(&self) -> impl Iterator<Item = (Priority, usize)> {
        let length = |ring: &VecDeque<Flow<W>>| ring.iter().map(|flow| flow.waiting.len()).sum();
        Priority::ALL.into_iter().zip(self.rings.iter().map(length))
    }

    /// Adds an entry at the end of its flow, or before the entries of its flow that are not `first`.
    pub fn push(&mut self, priority: Priority, flow: &Arc<str>, first: bool, entry: W) -> Position {
        let key = (!first, self.next);
        self.next += 1;
        self.len += 1;
        let position = Position { priority, flow: Arc::clone(flow), key };
        let Some(ring) = self.rings.get_mut(priority as usize) else { return position };
        match ring.iter_mut().find(|there| there.name == *flow) {
            Some(there) => _ = there.waiting.insert(key, entry),
            None => ring.push_back(Flow { name: Arc::clone(flow), waiting: BTreeMap::from([(key, entry)]) }),
        }
        position
    }

    /// Takes out the first entry for which `fits` has a result. Its flow has had its turn.
    pub fn take_first<R>(&mut self, mut fits: impl FnMut(&W) -> Option<R>) -> Option<(W, R)> {
        for ring in &mut self.rings {
            let found = ring
                .iter()
                .enumerate()
                .find_map(|(at, flow)| flow.waiting.iter().find_map(|(key, entry)| Some((at, *key, fits(entry)?))));
            let Some((at, key, result)) = found else { continue };
            let mut flow = ring.remove(at)?;
            let entry = flow.waiting.remove(&key)?;
            if !flow.waiting.is_empty() {
                ring.push_back(flow);
            }
            self.len -= 1;
            return Some((entry, result));
        }
        None
    }

    /// Takes out the entry at `position`, if it is still there.
    pub fn remove(&mut self, position: &Position) -> Option<W> {
        let ring = self.rings.get_mut(position.priority as usize)?;
        let at = ring.iter().position(|flow| flow.name == position.flow)?;
        let flow = ring.get_mut(at)?;
        let entry = flow.waiting.remove(&position.key)?;
        if flow.waiting.is_empty() {
            ring.remove(at);
        }
        self.len -= 1;
        Some(entry)
    }

    /// Takes out the entry that has to leave a full queue for one of `priority` and `flow`: the last of the longest
    /// flow of the lowest priority. `None` if the new entry has no better claim than that one.
    pub fn displace(&mut self, priority: Priority, flow: &Arc<str>) -> Option<W> {
        let (lowest, ring) = Priority::ALL.into_iter().zip(&self.rings).rfind(|(_, ring)| !ring.is_empty())?;
        let longest = ring.iter().map(|there| there.waiting.len()).max().unwrap_or_default();
        let own = ring.iter().find(|there| there.name == *flow).map_or(0, |there| there.waiting.len());
        let is_better = priority < lowest || (priority == lowest && longest > own + 1);
        if is_better { self.pop_last() } else { None }
    }

    /// Takes out the last entry of the longest flow of the lowest priority.
    pub fn pop_last(&mut self) -> Option<W> {
        let ring = self.rings.iter_mut().rfind(|ring| !ring.is_empty())?;
        let (at, _) = ring.iter().enumerate().max_by_key(|(_, flow)| flow.waiting.len())?;
        let flow = ring.get_mut(at)?;
        let (_, entry) = flow.waiting.pop_last()?;
        if flow.waiting.is_empty() {
            ring.remove(at);
        }
        self.len -= 1;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(entries: &[(Priority, &str, &'static str)]) -> FairQueue<&'static str> {
        let mut queue = FairQueue::default();
        for (priority, flow, entry) in entries {
            queue.push(*priority, &Arc::from(*flow), false, *entry);
        }
        queue
    }

    fn all(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.take_first(|_| Some(())).map(|(entry, ())| entry)).collect()
    }

    use Priority::{Batch, Interactive};

    #[test]
    fn flows_take_turns_and_each_is_in_its_order() {
        let mut queue = queue(&[
            (Interactive, "a", "a1"),
            (Interactive, "a", "a2"),
            (Interactive, "a", "a3"),
            (Interactive, "b", "b1"),
            (Interactive, "b", "b2"),
            (Interactive, "c", "c1"),
        ]);
        queue.push(Interactive, &Arc::from("b"), true, "b0");
        assert_eq!(all(&mut queue), ["a1", "b0", "c1", "a2", "b1", "a3", "b2"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn interactive_comes_before_batch() {
        let mut queue = queue(&[(Batch, "a", "a1"), (Interactive, "a", "a2"), (Batch, "b", "b1")]);
        assert_eq!(queue.lengths().collect::<Vec<_>>(), [(Interactive, 1), (Batch, 2)]);
        assert_eq!(all(&mut queue), ["a2", "a1", "b1"]);
    }

    #[test]
    fn the_first_that_fits_is_taken() {
        let mut queue = queue(&[(Interactive, "a", "a1"), (Interactive, "a", "a2"), (Batch, "b", "b1")]);
        let taken = queue.take_first(|entry| entry.ends_with('2').then_some(7));
        assert_eq!(taken, Some(("a2", 7)));
        assert_eq!(queue.take_first(|entry| entry.starts_with('c').then_some(())), None);
        assert_eq!(all(&mut queue), ["a1", "b1"]);
    }

    #[test]
    fn an_entry_is_removed_once() {
        let mut queue = queue(&[(Interactive, "a", "a1")]);
        let position = queue.push(Interactive, &Arc::from("a"), false, "a2");
        let other = queue.push(Batch, &Arc::from("a"), false, "a3");
        assert_eq!((queue.remove(&position), queue.remove(&position)), (Some("a2"), None));
        assert_eq!(queue.remove(&other), Some("a3"));
        assert_eq!((all(&mut queue), queue.remove(&other)), (vec!["a1"], None));
    }

    #[test]
    fn a_full_queue_gives_way_to_the_more_urgent_and_to_shorter_flows() {
        let mut full = queue(&[(Batch, "a", "a1"), (Batch, "b", "b1"), (Batch, "b", "b2"), (Interactive, "a", "a2")]);
        assert_eq!(full.displace(Interactive, &Arc::from("c")), Some("b2"), "the last of the longest flow");
        let (a, b, c) = (Arc::from("a"), Arc::from("b"), Arc::from("c"));
        assert_eq!(full.displace(Batch, &c), None, "all flows have one");
        assert!(full.displace(Interactive, &a).is_some() && full.displace(Interactive, &a).is_some());
        assert_eq!(full.displace(Interactive, &b), None, "only interactive ones are left");
        full.push(Interactive, &a, false, "a3");
        assert_eq!(full.displace(Interactive, &b), Some("a3"));
        full.push(Interactive, &a, false, "a4");
        assert_eq!((full.displace(Interactive, &a), full.displace(Batch, &b)), (None, None));
        assert_eq!((full.pop_last(), full.pop_last(), full.pop_last()), (Some("a4"), Some("a2"), None));
    }
}
