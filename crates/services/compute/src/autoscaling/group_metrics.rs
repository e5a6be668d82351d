//! What groups report of themselves to CloudWatch: `AWS/AutoScaling`, every minute of the clock, what is enabled.
//!
//! It is told at whole minutes only: what is remembered between runs is the newest one that was told. A minute without a
//! cloud is a minute without data.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use standfast_api::cloudwatch as cw;
use standfast_core::metric::{PERIOD, next_minute};
use standfast_core::{Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::View;

use super::model::{Group, Lifecycle, Member};
use super::policies::GROUP_DIMENSION;

const NAMESPACE: &str = "AWS/AutoScaling";
/// How many data one PutMetricData takes.
const DATA_MAX: usize = 1000;
/// What instances of a warm pool are called.
const WARM: &str = "Warmed:";

/// The metrics of a group, and how they follow from what it has.
pub const METRICS: &[(&str, fn(&Census) -> i32)] = &[
    ("GroupMinSize", |c| c.min),
    ("GroupMaxSize", |c| c.max),
    ("GroupDesiredCapacity", |c| c.desired),
    ("GroupInServiceInstances", |c| c.in_service.instances),
    ("GroupPendingInstances", |c| c.pending.instances),
    ("GroupStandbyInstances", |c| c.standby.instances),
    ("GroupTerminatingInstances", |c| c.terminating.instances),
    ("GroupTotalInstances", |c| c.group().instances),
    ("GroupInServiceCapacity", |c| c.in_service.capacity),
    ("GroupPendingCapacity", |c| c.pending.capacity),
    ("GroupStandbyCapacity", |c| c.standby.capacity),
    ("GroupTerminatingCapacity", |c| c.terminating.capacity),
    ("GroupTotalCapacity", |c| c.group().capacity),
    ("WarmPoolDesiredCapacity", |c| c.warm_desired),
    ("WarmPoolWarmedCapacity", |c| c.warmed.capacity),
    ("WarmPoolPendingCapacity", |c| c.warm_pending.capacity),
    ("WarmPoolTerminatingCapacity", |c| c.warm_terminating.capacity),
    ("WarmPoolTotalCapacity", |c| c.warm_pool().capacity),
    ("GroupAndWarmPoolDesiredCapacity", |c| c.desired + c.warm_desired),
    ("GroupAndWarmPoolTotalCapacity", |c| c.group().capacity + c.warm_pool().capacity),
];

/// Instances, and the capacity that they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    instances: i32,
    capacity: i32,
}

impl Share {
    fn add(&mut self, capacity: i32) {
        self.instances += 1;
        self.capacity += capacity;
    }

    fn sum(shares: &[Share]) -> Share {
        let both = |sum: Share, one: &Share| Share {
            instances: sum.instances + one.instances,
            capacity: sum.capacity + one.capacity,
        };
        shares.iter().fold(Share::default(), both)
    }
}

/// What a group has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    min: i32,
    max: i32,
    desired: i32,
    in_service: Share,
    pending: Share,
    standby: Share,
    terminating: Share,
    warm_desired: i32,
    warmed: Share,
    warm_pending: Share,
    warm_terminating: Share,
}

impl Census {
    fn of<'a>(group: &Group, members: impl Iterator<Item = &'a Member>) -> Self {
        let warm_desired = i32::try_from(group.warm_target()).unwrap_or(i32::MAX);
        let (min, max, desired) = (group.min, group.max, group.desired);
        let mut census = Self { min, max, desired, warm_desired, ..Self::default() };
        for member in members {
            census.share(member.state).add(member.units());
        }
        census
    }

    fn share(&mut self, state: Lifecycle) -> &mut Share {
        match state.name().strip_prefix(WARM) {
            Some(state) if state.starts_with("Pending") => &mut self.warm_pending,
            Some(state) if state.starts_with("Terminating") => &mut self.warm_terminating,
            Some(_) => &mut self.warmed,
            None if state.is_pending() => &mut self.pending,
            None if state.is_terminating() => &mut self.terminating,
            None if state == Lifecycle::InService => &mut self.in_service,
            None => &mut self.standby,
        }
    }

    fn group(&self) -> Share {
        Share::sum(&[self.in_service, self.pending, self.standby, self.terminating])
    }

    fn warm_pool(&self) -> Share {
        Share::sum(&[self.warmed, self.warm_pending, self.warm_terminating])
    }
}

/// The newest minute that was told.
pub type Told = Arc<Mutex<Option<Timestamp>>>;

pub async fn run(cx: Cx, told: Told) -> Result<Wake> {
    let now = cx.now();
    let minute = now.floor(PERIOD);
    let (scopes, any) = cx.view(|view| census(view, minute));
    if !any {
        *told.lock().unwrap_or_else(PoisonError::into_inner) = None;
        return Ok(Wake::OnChange);
    }
    let before = told.lock().unwrap_or_else(PoisonError::into_inner).replace(minute);
    // The run that finds the first group waits for the next minute.
    if before.is_some_and(|before| before < minute) {
        for (scope, data) in scopes {
            for some in data.chunks(DATA_MAX) {
                let namespace = NAMESPACE.to_owned();
                let input =
                    cw::PutMetricDataInput { namespace, metric_data: Some(some.to_vec()), ..Default::default() };
                cx.at(&scope).call(cw::PutMetricData, input).await?;
            }
        }
    }
    Ok(Wake::At(next_minute(now)))
}

/// The data of all groups by account and region, and whether there are any to be told.
fn census(view: &View, at: Timestamp) -> (BTreeMap<Scope, Vec<cw::MetricDatum>>, bool) {
    let mut scopes = BTreeMap::<Scope, Vec<cw::MetricDatum>>::new();
    for (scope, name, group) in view.all::<Group>() {
        if group.metrics.is_empty() {
            continue;
        }
        let members = view.by_index::<Member>(&scope, "group", &name);
        let census = Census::of(&group, members.iter().map(|(_, member)| &**member));
        let enabled = METRICS.iter().filter(|(metric, _)| group.metrics.contains(*metric));
        scopes.entry(scope).or_default().extend(enabled.map(|(metric, value)| cw::MetricDatum {
            metric_name: (*metric).to_owned(),
            dimensions: Some(vec![cw::Dimension { name: GROUP_DIMENSION.into(), value: name.to_string() }]),
            timestamp: Some(at),
            value: Some(f64::from(value(&census))),
            ..Default::default()
        }));
    }
    let any = !scopes.is_empty();
    (scopes, any)
}
