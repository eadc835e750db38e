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
    model: Option<&'a str>,
    draw: Draw,
    kind: AnswerKind,
    group: usize,
    ranks: Ranks,
    at: usize,
}

impl AiBackend {
    /// The order in which targets are tried: group by group, and inside a group as the Backend chooses. With a `model`,
    /// a group's targets are those that it fits best.
    pub fn order<'a>(&'a self, model: Option<&'a str>, request: &impl KeySource) -> Order<'a, Listed<'a>> {
        let count = |group: &Vec<Target>| model.map_or(group.len(), |model| fitting(group, model).count());
        let (single, used) = self
            .groups
            .iter()
            .map(count)
            .fold((true, 0), |(single, used), count| (single && count < 2, used + usize::from(count > 0)));
        let draw = if single { Draw::Turn(0) } else { self.draw(request) };
        let listed = Listed::new(&self.groups, model, draw, request.answer());
        Order::new(listed, single && used == 1, Entry::new(self.load.as_ref()))
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
    fn new(groups: &'a [Vec<Target>], model: Option<&'a str>, draw: Draw, kind: AnswerKind) -> Self {
        let ranks = groups.first().map(|group| ranks_for(group, model, draw, kind)).unwrap_or_default();
        Self { groups, model, draw, kind, group: 0, ranks, at: 0 }
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
            self.ranks = self.groups.get(self.group).map(|group| ranks_for(group, self.model, self.draw, self.kind))?;
        }
    }
}

/// The targets of `group` that `model` fits best, with their numbers.
fn fitting<'a>(group: &'a [Target], model: &str) -> impl Iterator<Item = (usize, &'a Target)> {
    let best = group.iter().filter_map(|target| target.fit(model)).max();
    group.iter().enumerate().filter(move |(_, target)| best.is_some() && target.fit(model) == best)
}

/// The numbers of the targets of `group` that serve `model`, if there is one, in their order.
fn ranks_for(group: &[Target], model: Option<&str>, draw: Draw, kind: AnswerKind) -> Ranks {
    let Some(model) = model else { return ranks(group.iter(), draw, kind) };
    let fitting: SmallVec<[(usize, &Target); 8]> = fitting(group, model).collect();
    if fitting.is_empty() {
        return Ranks::new();
    }
    let ranks = ranks(fitting.iter().map(|(_, target)| *target), draw, kind);
    let number = |rank: &u8| fitting.get(usize::from(*rank)).and_then(|(number, _)| u8::try_from(*number).ok());
    ranks.iter().filter_map(number).collect()
}

fn ranks<'a>(targets: impl ExactSizeIterator<Item = &'a Target> + Clone, draw: Draw, kind: AnswerKind) -> Ranks {
    if targets.len() == 1 {
        return Ranks::from_slice(&[0]);
    }
    match draw {
        Draw::Turn(turn) => in_turn(targets.map(|target| target.weight), turn),
        Draw::Random(random) => by_cost(&candidates(targets, kind), random),
        Draw::Key(key) => by_key(&candidates(targets, kind), key),
    }
}

fn candidates<'a>(targets: impl Iterator<Item = &'a Target>, kind: AnswerKind) -> SmallVec<[Candidate; 8]> {
    let now = Instant::now();
    let candidate = |target: &Target| Candidate {
        weight: target.weight,
        in_flight: target.state.in_flight(),
        latency: target.state.latencies().of(kind).estimate(now).map(|latency| latency.as_secs_f64()),
        name: target.name_hash,
        left_alone: target.state.health().trouble(now).is_some(),
    };
    targets.map(candidate).collect()
}
