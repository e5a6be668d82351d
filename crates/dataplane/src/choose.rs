//! From a request to the target that gets it: the steps that the plane and its simulation share.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use standfast_core::Timestamp;

use crate::pick::{self, Choice};
use crate::route::{self, Request};
use crate::table::{Act, Cell, Group, Route};

/// How many targets one request is sent to at most. With two thirds of the targets gone and not yet ejected, chance of
/// failure is still small; more would multiply load when everything is down.
pub const ATTEMPTS_MAX: usize = 5;

/// The targets that a request was sent to, by fingerprint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    fingerprints: [u64; ATTEMPTS_MAX],
    count: usize,
}

impl Tried {
    pub fn add(&mut self, cell: &Cell) {
        if let Some(slot) = self.fingerprints.get_mut(self.count) {
            *slot = cell.fingerprint;
            self.count += 1;
        }
    }

    pub fn is_exhausted(&self) -> bool {
        self.count == ATTEMPTS_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn holds(&self, cell: &Cell) -> bool {
        self.fingerprints[..self.count].contains(&cell.fingerprint)
    }
}

/// The action of the first rule that holds. The default rule has no conditions, so there is one unless the listener is
/// half made.
pub fn action<'r>(route: &'r Route, request: &Request<'_>) -> Option<&'r Act> {
    route.rules.iter().find(|(conditions, _)| route::holds_all(conditions, request)).map(|(_, act)| act)
}

/// The target group of a forward action: the one that the client's cookie names, where clients stay, or else by weight.
pub fn group<'a>(act: &'a Act, cookie: Option<&str>, now: Timestamp) -> Option<&'a Arc<Group>> {
    let Act::Forward { groups, turn, stickiness_s } = act else { return None };
    let kept = cookie.filter(|_| stickiness_s.is_some()).and_then(|value| pick::cookie_target(value, seconds(now)));
    if let Some((group, _)) = groups.iter().find(|(group, weight)| Some(group.fingerprint) == kept && *weight > 0) {
        return Some(group);
    }
    if let [(group, weight)] = groups.as_slice() {
        return (*weight > 0).then_some(group);
    }
    let turn = turn.fetch_add(1, Ordering::Relaxed);
    pick::weighted(groups.iter().map(|(_, weight)| *weight), turn).map(|index| &groups[index].0)
}

#[derive(Debug)]
pub enum Chosen {
    Target(Arc<Cell>),
    AllTried,
    NoTargets,
}

/// The target within `group`, by stickiness cookie when there is a valid one, else by the group's algorithm.
pub fn target(group: &Group, tried: &Tried, cookie: Option<&str>, now: Timestamp) -> Chosen {
    let look = |index: usize| {
        let cell = &group.members[index].cell;
        pick::Look { tried: tried.holds(cell), ..cell.look() }
    };
    if let Some(cell) = cookie.filter(|_| group.stickiness_s.is_some()).and_then(|value| sticky(group, value, now))
        && !tried.holds(cell)
    {
        return Chosen::Target(cell.clone());
    }
    let turn = group.turn.fetch_add(1, Ordering::Relaxed);
    match pick::target(group.algorithm, turn, group.members.len(), look) {
        Choice::Target(index) => Chosen::Target(group.members[index].cell.clone()),
        Choice::AllTried => Chosen::AllTried,
        Choice::NoTargets => Chosen::NoTargets,
    }
}

fn sticky<'g>(group: &'g Group, cookie: &str, now: Timestamp) -> Option<&'g Arc<Cell>> {
    let fingerprint = pick::cookie_target(cookie, seconds(now))?;
    let cell = &group.members.iter().find(|member| member.cell.fingerprint == fingerprint)?.cell;
    (cell.look().standing == pick::Standing::Healthy).then_some(cell)
}

/// Whole seconds since 1970.
pub fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.0 / 1000).unwrap_or(0)
}

/// The source that rules see when there is no IPv4 client.
pub const NO_SOURCE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
