//! How a Backend chooses among the targets of a group.

use std::hash::{BuildHasher, RandomState};

use http::HeaderName;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{AiBackend, Order, Target};
use crate::{
    policy::hedge::Hedge,
    upstream::balance::{AnswerKind, Candidate, Ranks, by_cost, by_key, in_turn, load::Entry},
};

/// How a Backend chooses among the targets of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// In turn, by weight.
    #[default]
    InTurn,
    /// By load and latency.
    ByCost,
    /// By a key of the request, which is the first of these that it has.
    ByKey(Vec<HashPolicy>),
}

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashPolicy {
    /// The value of a header.
    Header(HeaderName),
    /// The client's credential.
    Credential,
    /// The beginning of the prompt.
    PromptPrefix,
    /// The client's address.
    SourceIp,
}

/// What the key of a request is made of, as far as the request has it.
pub trait KeySource {
    /// The hash of what `policy` names; `None` if the request has none.
    fn hash(&self, policy: &HashPolicy) -> Option<u64>;
    /// The kind of the answer that the request will have.
    fn answer(&self) -> AnswerKind;
}

/// What decides the order within each group.
#[derive(Clone, Copy)]
enum Draw {
    Turn(u32),
    Random(u64),
    Key(u64),
}

/// The targets of a Backend, group by group. A group is ordered when it is reached, as most requests need the first one
/// only.
pub struct Listed<'a> {
    groups: &'a [Vec<Target>],
    draw: Draw,
    kind: AnswerKind,
    group: usize,
    ranks: Ranks,
    at: usize,
}

impl AiBackend {
    /// The order in which targets are tried: group by group, and inside a group as the Backend chooses.
    pub fn order(&self, request: &impl KeySource) -> Order<'_, Listed<'_>> {
        let single = self.groups.iter().all(|group| group.len() < 2);
        let draw = if single { Draw::Turn(0) } else { self.draw(request) };
        let listed = Listed::new(&self.groups, draw, request.answer());
        Order::new(listed, single && self.groups.len() == 1, Entry::new(self.load.as_ref()))
    }

    fn draw(&self, request: &impl KeySource) -> Draw {
        let key = match &self.choice {
            Choice::InTurn => None,
            Choice::ByCost => return Draw::Random(RandomState::new().hash_one(())),
            Choice::ByKey(policies) => policies.iter().find_map(|policy| request.hash(policy)),
        };
        key.map_or_else(|| Draw::Turn(self.turns.next()), Draw::Key)
    }

    /// Whether the latency of targets decides anything.
    pub fn measures(&self) -> bool {
        self.choice == Choice::ByCost || self.hedge == Some(Hedge::AfterMost)
    }
}

impl<'a> Listed<'a> {
    fn new(groups: &'a [Vec<Target>], draw: Draw, kind: AnswerKind) -> Self {
        let ranks = groups.first().map(|group| ranks(group, draw, kind)).unwrap_or_default();
        Self { groups, draw, kind, group: 0, ranks, at: 0 }
    }
}

impl<'a> Iterator for Listed<'a> {
    type Item = (usize, usize, &'a Target);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let group = self.groups.get(self.group)?;
            if let Some(rank) = self.ranks.get(self.at) {
                self.at += 1;
                let index = usize::from(*rank);
                return Some((self.group, index, group.get(index)?));
            }
            self.group += 1;
            self.at = 0;
            self.ranks = self.groups.get(self.group).map(|group| ranks(group, self.draw, self.kind))?;
        }
    }
}

fn ranks(group: &[Target], draw: Draw, kind: AnswerKind) -> Ranks {
    if group.len() == 1 {
        return Ranks::from_slice(&[0]);
    }
    match draw {
        Draw::Turn(turn) => in_turn(group.iter().map(|target| target.weight), turn),
        Draw::Random(random) => by_cost(&candidates(group, kind), random),
        Draw::Key(key) => by_key(&candidates(group, kind), key),
    }
}

fn candidates(group: &[Target], kind: AnswerKind) -> SmallVec<[Candidate; 8]> {
    let now = Instant::now();
    let candidate = |target: &Target| Candidate {
        weight: target.weight,
        in_flight: target.state.in_flight(),
        latency: target.state.latencies().of(kind).estimate(now).map(|latency| latency.as_secs_f64()),
        name: target.name_hash,
        left_alone: target.state.health().trouble(now).is_some(),
    };
    group.iter().map(candidate).collect()
}
