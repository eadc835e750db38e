//! What of the writes goes to the log: each trouble once when it begins and once when it is over.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    queue::{Job, Target},
    write::Done,
};
use crate::api::Kind;

/// The troubles of the moment.
#[derive(Default)]
pub(super) struct Told {
    /// Kinds that we may not write.
    forbidden: BTreeSet<Kind>,
    /// One API server writes everything: its outage is told once.
    unreachable: bool,
    /// What each object was refused for.
    refused: BTreeMap<Target, String>,
    /// Events can't be written.
    untold: bool,
}

/// What is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Begun,
    Over,
}

impl Told {
    /// A write has ended.
    pub(super) fn ended(&mut self, job: &Job, done: &Done) {
        let kind = job.target.kind.as_str();
        let object = job.target.key.to_string();
        let news = self.news(&job.target, done);
        match (done, news) {
            (Done::Forbidden(error), Some(_)) => tracing::error!(
                kind,
                object,
                error,
                "RBAC forbids to write objects of this kind; what is served is not affected"
            ),
            (Done::Unreachable(error), Some(_)) => {
                tracing::warn!(error, "the API server can't be written to; what is served is not affected");
            }
            (Done::Refused(error), Some(_)) => {
                tracing::warn!(kind, object, error, "the API server refuses a write; it is tried again");
            }
            (_, Some(News::Over)) => tracing::info!(kind, object, "the API server takes writes again"),
            _ => {}
        }
        if let Done::Written { untold } = done {
            let first = untold.is_some() && !self.untold;
            self.untold = untold.is_some() || self.untold;
            if let Some(error) = untold.as_ref().filter(|_| first) {
                tracing::warn!(error, "Events can't be written (RBAC: allow create on events.events.k8s.io)");
            }
        }
    }

    fn news(&mut self, target: &Target, done: &Done) -> Option<News> {
        let begun = match done {
            Done::Forbidden(_) => self.forbidden.insert(target.kind),
            Done::Unreachable(_) => !std::mem::replace(&mut self.unreachable, true),
            Done::Refused(error) => self.refused.insert(target.clone(), error.clone()).as_ref() != Some(error),
            Done::Gone => {
                self.refused.remove(target);
                false
            }
            Done::Conflict => false,
            Done::Written { .. } => {
                let over = [
                    self.forbidden.remove(&target.kind),
                    std::mem::take(&mut self.unreachable),
                    self.refused.remove(target).is_some(),
                ];
                return over.contains(&true).then_some(News::Over);
            }
        };
        begun.then_some(News::Begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ObjectKey;

    #[test]
    fn each_trouble_is_news_once() {
        let target = |kind, name: &str| Target { kind, key: ObjectKey::new("ns", name) };
        let (a, b) = (target(Kind::Backend, "a"), target(Kind::Backend, "b"));
        let gateway = target(Kind::Gateway, "a");
        let forbidden = |text: &str| Done::Forbidden(text.to_owned());
        let refused = |text: &str| Done::Refused(text.to_owned());
        let lost = |text: &str| Done::Unreachable(text.to_owned());
        let written = Done::Written { untold: None };
        let mut told = Told::default();
        for (number, (target, done, news)) in [
            (&a, forbidden("a"), Some(News::Begun)),
            (&a, forbidden("a"), None),
            (&b, forbidden("b"), None),
            (&gateway, forbidden("a"), Some(News::Begun)),
            (&b, written.clone(), Some(News::Over)),
            (&b, written.clone(), None),
            (&a, refused("x"), Some(News::Begun)),
            (&a, refused("x"), None),
            (&a, refused("y"), Some(News::Begun)),
            (&b, refused("x"), Some(News::Begun)),
            (&a, Done::Conflict, None),
            (&a, written.clone(), Some(News::Over)),
            (&b, Done::Gone, None),
            (&b, written.clone(), None),
            (&a, lost("x"), Some(News::Begun)),
            (&b, lost("y"), None),
            (&b, written, Some(News::Over)),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(told.news(target, &done), news, "{number}: {target:?} {done:?}");
        }
    }
}
