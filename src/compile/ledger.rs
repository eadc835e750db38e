//! Which port of the pod belongs to each listener port of each Gateway.
//!
//! Gateways may share a port without hostnames and must be kept separate, so each of their ports has a target port of
//! its own in the pod. The Gateway's Service is the ledger that records it. A recorded port is bound. A new port is
//! first written to the Service by the leader, and is bound once the watch has delivered it. So all replicas bind the
//! same ports, whichever of them leads.

use std::collections::{BTreeMap, BTreeSet};

/// The first port that is assigned if a listener's own number can't be used.
const FIRST: u16 = 10_000;
/// The last one: from 32768 on, Linux uses ports for outgoing connections.
const LAST: u16 = 32_767;
/// Ports below need privileges, which the pod does not have.
const UNPRIVILEGED: u16 = 1_024;

/// The ports that one Gateway needs, and those that it has. Claims are in order of age.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// Its listeners' ports.
    pub ports: BTreeSet<u16>,
    /// Target port by listener port, as its Service records them.
    pub recorded: BTreeMap<u16, u16>,
    /// The treatment of ports that are not recorded.
    pub missing: Missing,
}

/// The treatment of ports that are not recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// They get a target port.
    #[default]
    Allocate,
    /// There is no Service to record them: their own numbers are bound.
    Own,
    /// They get none: the Gateway has a problem.
    Wait,
}

/// The ports of one Gateway: target ports by listener port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Ports that are bound now.
    pub bound: BTreeMap<u16, u16>,
    /// Ports that the Service should record.
    pub wanted: BTreeMap<u16, u16>,
}

/// The share of each claim. `admin` is Tollgate's own port; `led_to` are the target ports of Services whose Gateways
/// Tollgate no longer serves: their clients must not reach another Gateway.
pub fn assign(claims: &[Claim], admin: u16, led_to: &BTreeSet<u16>) -> Vec<Share> {
    let mut shares = vec![Share::default(); claims.len()];
    let mut taken = BTreeSet::from([admin]);
    let give = |share: &mut Share, port: u16, target: u16| {
        share.bound.insert(port, target);
        share.wanted.insert(port, target);
    };
    // Recorded ports are kept; if two Services record one target, the older Gateway's counts.
    for (claim, share) in claims.iter().zip(&mut shares) {
        for (port, target) in claim.recorded.iter().filter(|(port, _)| claim.ports.contains(port)) {
            if *target >= UNPRIVILEGED && taken.insert(*target) {
                give(share, *port, *target);
            }
        }
    }
    taken.extend(led_to);
    // Before any new port is assigned: these ports may be in use, which no Service records.
    for (claim, share) in claims.iter().zip(&mut shares).filter(|(claim, _)| claim.missing == Missing::Own) {
        for port in &claim.ports {
            if !share.bound.contains_key(port) && taken.insert(*port) {
                give(share, *port, *port);
            }
        }
    }
    // A port that is recorded but no longer needed is still in some Service until that is written.
    taken.extend(claims.iter().flat_map(|claim| claim.recorded.values()));
    let mut free = FIRST..=LAST;
    for (claim, share) in claims.iter().zip(&mut shares).filter(|(claim, _)| claim.missing == Missing::Allocate) {
        for port in &claim.ports {
            if share.wanted.contains_key(port) {
                continue;
            }
            let own = (*port >= UNPRIVILEGED && !taken.contains(port)).then_some(*port);
            let Some(target) = own.or_else(|| free.find(|port| !taken.contains(port))) else { continue };
            taken.insert(target);
            share.wanted.insert(*port, target);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(ports: &[u16], recorded: &[(u16, u16)], missing: Missing) -> Claim {
        Claim { ports: ports.iter().copied().collect(), recorded: recorded.iter().copied().collect(), missing }
    }

    #[test]
    fn ports_are_recorded_given_or_waited_for() {
        use Missing::{Allocate, Own, Wait};
        /// Claims, and for each the ports that are bound and those that are wanted.
        type Case<'a> = (&'a [(Claim, &'a [(u16, u16)], &'a [(u16, u16)])], &'a str);
        let cases: &[Case<'_>] = &[
            (
                &[(claim(&[8080, 80], &[], Allocate), &[], &[(80, 10_000), (8080, 8080)])],
                "its own number, if it can be",
            ),
            (&[(claim(&[9092], &[], Allocate), &[], &[(9092, 10_000)])], "never Tollgate's own"),
            (&[(claim(&[9092], &[(9092, 9092)], Allocate), &[], &[(9092, 10_000)])], "even if that is recorded"),
            (&[(claim(&[80], &[(80, 80)], Allocate), &[], &[(80, 10_000)])], "never a privileged one"),
            (&[(claim(&[80], &[(80, 40_000)], Allocate), &[(80, 40_000)], &[(80, 40_000)])], "recorded ports stay"),
            (&[(claim(&[80], &[], Wait), &[], &[])], "refused"),
            (&[(claim(&[80], &[(80, 10_005)], Wait), &[(80, 10_005)], &[(80, 10_005)])], "refused but served"),
            (
                &[
                    (claim(&[8080], &[], Allocate), &[], &[(8080, 10_000)]),
                    (claim(&[80], &[(80, 8080)], Allocate), &[(80, 8080)], &[(80, 8080)]),
                ],
                "a record goes before an age",
            ),
            (
                &[
                    (claim(&[80], &[(80, 8080)], Allocate), &[(80, 8080)], &[(80, 8080)]),
                    (claim(&[80], &[(80, 8080)], Allocate), &[], &[(80, 10_000)]),
                ],
                "of two records the older counts",
            ),
            (
                &[
                    (claim(&[8080], &[], Allocate), &[], &[(8080, 10_000)]),
                    (claim(&[8080, 443], &[], Own), &[(443, 443), (8080, 8080)], &[(443, 443), (8080, 8080)]),
                ],
                "a port that needs no record is in use already",
            ),
            (
                &[
                    (claim(&[], &[(80, 10_000)], Allocate), &[], &[]),
                    (claim(&[80], &[], Allocate), &[], &[(80, 10_001)]),
                ],
                "a Service still leads to a port that its Gateway no longer has",
            ),
        ];
        for (rows, why) in cases {
            let claims: Vec<Claim> = rows.iter().map(|(claim, ..)| claim.clone()).collect();
            for (share, (_, bound, wanted)) in assign(&claims, 9092, &BTreeSet::new()).iter().zip(*rows) {
                assert_eq!(share.bound, bound.iter().copied().collect(), "{why}");
                assert_eq!(share.wanted, wanted.iter().copied().collect(), "{why}");
            }
        }
    }

    #[test]
    fn when_no_port_is_left_nothing_is_given_twice() {
        let many: Vec<Claim> =
            (0..23).map(|_| claim(&(1..=1_000).collect::<Vec<_>>(), &[], Missing::Allocate)).collect();
        let given: Vec<u16> =
            assign(&many, 9092, &BTreeSet::new()).iter().flat_map(|s| s.wanted.values().copied()).collect();
        let distinct: BTreeSet<u16> = given.iter().copied().collect();
        assert_eq!((given.len(), distinct.len()), (usize::from(LAST - FIRST) + 1, given.len()));
    }
}
