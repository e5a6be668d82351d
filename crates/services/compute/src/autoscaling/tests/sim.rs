//! A world in which groups live: instances that boot, targets that become healthy, zones that go dark; no I/O.
//!
//! It carries plans out with the same `apply` as the controller, on a store in memory, and checks what must hold in
//! every pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use standfast_api::autoscaling as api;
use standfast_core::{Error, Rng, Scope, Timestamp};
use standfast_kernel::zones;
use standfast_store::Store;

use crate::autoscaling::apply::{self, Pass, Records};
use crate::autoscaling::controller::{decide, effects, load};
use crate::autoscaling::launch::Recipe;
use crate::autoscaling::model::{Group, Hook, Launch, Lifecycle, Member, Registration};
use crate::autoscaling::plan::{Decision, Effect, EndCause, LaunchCause, Plan, Power, TargetState, World};
use crate::autoscaling::refreshes::{self, Refresh};
use crate::autoscaling::refusals;

pub const NAME: &str = "web";
pub const ZONES: [&str; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];
pub const TARGET_GROUP: &str = "arn:tg";
const BOOT: Duration = Duration::from_secs(3);
const CHECK: Duration = Duration::from_secs(4);
const DRAIN: Duration = Duration::from_secs(10);
const SHUTDOWN: Duration = Duration::from_secs(2);
/// More passes than any single event may need.
const PASSES_MAX: usize = 40;

struct Machine {
    zone: String,
    power: Power,
    /// When its power changes by itself, and to what.
    next: Option<(Timestamp, Power)>,
    app_works: bool,
}

pub struct Sim {
    pub now: Timestamp,
    store: Store,
    scope: Scope,
    rng: Rng,
    machines: BTreeMap<String, Machine>,
    /// Targets: the state and when it changes to what; no state at the end of draining.
    targets: BTreeMap<String, (TargetState, Timestamp, Option<TargetState>)>,
    pub dark: BTreeSet<String>,
    /// Zones, and pools of mixed groups, without capacity, though they have power.
    pub full: BTreeSet<String>,
    /// Instances that EC2 recommends to replace, and alarms that are in ALARM or not.
    pub advised: BTreeSet<String>,
    pub alarms: BTreeMap<String, bool>,
    tokens: BTreeMap<Arc<str>, String>,
    wake: Option<Timestamp>,
    pub launches: usize,
    ends: usize,
}

pub fn group(min: i32, max: i32, desired: i32) -> Group {
    Group {
        arn: "arn:group".into(),
        created: Timestamp(0),
        launch: Launch::Configuration("lc".into()),
        min,
        max,
        desired,
        cooldown_s: 300,
        zones: ZONES.map(str::to_owned).to_vec(),
        subnets: ZONES.iter().map(|zone| (format!("subnet-{zone}"), (*zone).to_owned())).collect(),
        vpc_zone_identifier: String::new(),
        health_check_type: "ELB".into(),
        grace_s: 30,
        target_groups: vec![TARGET_GROUP.into()],
        termination_policies: vec![crate::autoscaling::model::TerminationPolicy::Default],
        protect_new: false,
        tags: BTreeMap::new(),
        suspended: BTreeMap::new(),
        metrics: BTreeSet::new(),
        options: Default::default(),
        deleting: false,
        change: None,
        back_offs: BTreeMap::new(),
        generation: 0,
        warm_pool: None,
    }
}

impl Sim {
    pub async fn new(seed: u64, group: Group) -> Self {
        let sim = Self {
            now: Timestamp(1_000_000_000),
            store: Store::memory(),
            scope: Scope::new("000000000000", "eu-west-1"),
            rng: Rng::seeded(seed),
            machines: BTreeMap::new(),
            targets: BTreeMap::new(),
            dark: BTreeSet::new(),
            full: BTreeSet::new(),
            advised: BTreeSet::new(),
            alarms: BTreeMap::new(),
            tokens: BTreeMap::new(),
            wake: None,
            launches: 0,
            ends: 0,
        };
        sim.change_group(|own| *own = group.clone()).await;
        sim
    }

    pub fn records(&self) -> Option<Records> {
        self.store.view(|view| load(view, &self.scope, NAME))
    }

    pub async fn change_group(&self, change: impl Fn(&mut Group)) {
        let put = self.store.txn(|tx| {
            let mut own = tx.get::<Group>(&self.scope, NAME).map_or_else(|| group(0, 0, 0), |group| (*group).clone());
            change(&mut own);
            tx.put(&self.scope, NAME, own);
            Ok(())
        });
        put.await.expect("memory does not fail");
    }

    pub async fn change_member(&self, id: &str, change: impl Fn(&mut Member)) {
        let put = self.store.txn(|tx| {
            let Some(member) = tx.get::<Member>(&self.scope, id) else { return Ok(()) };
            let mut member = (*member).clone();
            change(&mut member);
            tx.put(&self.scope, id, member);
            Ok(())
        });
        put.await.expect("memory does not fail");
    }

    /// Begins an instance refresh of everything, with these preferences.
    pub async fn refresh(&self, preferences: api::RefreshPreferences, desired: Option<Launch>) {
        let records = self.records().expect("the group is there");
        let mut refresh = refreshes::draft(NAME, &records.group, &preferences, self.now).expect("valid preferences");
        refresh.generation = records.group.generation + 1;
        refresh.total = records.members.values().filter(|member| member.counts()).count() as i32;
        refresh.warm_total = records.members.values().filter(|member| member.state.in_pool()).count() as i32;
        (refresh.remaining, refresh.warm_left) = (refresh.total, refresh.warm_total);
        refresh.desired = desired.map(|launch| (launch, serde_json::Value::Null));
        self.change_group(|group| group.generation += 1).await;
        self.put_refresh(&refresh).await;
    }

    pub async fn put_refresh(&self, refresh: &Refresh) {
        let put = self.store.txn(|tx| {
            tx.put(&self.scope, &format!("{NAME}/one"), refresh.clone());
            Ok(())
        });
        put.await.expect("memory does not fail");
    }

    pub fn refreshed(&self) -> Refresh {
        let found = self.store.view(|view| view.get::<Refresh>(&self.scope, &format!("{NAME}/one")));
        (*found.expect("a refresh was begun")).clone()
    }

    pub async fn put_hook(&self, name: &str, hook: Hook) {
        let put = self.store.txn(|tx| {
            tx.put(&self.scope, &Hook::key(NAME, name), hook.clone());
            Ok(())
        });
        put.await.expect("memory does not fail");
    }

    pub fn causes(&self) -> Vec<crate::autoscaling::model::Activity> {
        let all = self.store.view(|view| view.list::<crate::autoscaling::model::Activity>(&self.scope));
        all.into_iter().map(|(_, activity)| (*activity).clone()).collect()
    }

    /// Members that serve: in service, running, and healthy in the target group.
    pub fn serving(&self) -> usize {
        let Some(records) = self.records() else { return 0 };
        let serves = |member: &&Member| {
            let Some(id) = &member.instance else { return false };
            let healthy = self.targets.get(id).is_some_and(|target| target.0 == TargetState::Healthy);
            let running = self.machines.get(id).is_some_and(|machine| machine.power == Power::Running);
            member.state == Lifecycle::InService && running && (healthy || records.group.target_groups.is_empty())
        };
        records.members.values().filter(serves).count()
    }

    /// Counting members per zone, the most first.
    pub fn spread(&self) -> Vec<usize> {
        let records = self.records().expect("the group is there");
        let count = |zone: &String| records.members.values().filter(|m| m.counts() && m.zone == *zone).count();
        let mut spread: Vec<usize> = records.group.zones.iter().map(count).collect();
        spread.sort_by_key(|count| std::cmp::Reverse(*count));
        spread
    }

    pub fn running(&self) -> Vec<String> {
        let all = self.machines.iter().filter(|(_, machine)| machine.power == Power::Running);
        all.map(|(id, _)| id.clone()).collect()
    }

    pub fn stop(&mut self, id: &str) {
        if let Some(machine) = self.machines.get_mut(id).filter(|machine| machine.power != Power::Gone) {
            (machine.power, machine.next) = (Power::Stopped, None);
        }
        self.check_target(id);
    }

    pub fn break_app(&mut self, id: &str) {
        if let Some(machine) = self.machines.get_mut(id) {
            machine.app_works = false;
        }
        self.check_target(id);
    }

    /// A health check is due.
    fn check_target(&mut self, id: &str) {
        let works = self.machines.get(id).is_some_and(|machine| machine.power == Power::Running && machine.app_works);
        let next = if works { TargetState::Healthy } else { TargetState::Unhealthy };
        if let Some(target) = self.targets.get_mut(id).filter(|target| target.0 != TargetState::Draining) {
            (target.1, target.2) = (self.now + CHECK, Some(next));
        }
    }

    pub fn cut(&mut self, zone: &str) {
        self.dark.insert(zone.to_owned());
        let there = self.machines.iter().filter(|(_, machine)| machine.zone == zone).map(|(id, _)| id.clone());
        for id in there.collect::<Vec<_>>() {
            self.stop(&id);
        }
    }

    fn world(&self) -> World {
        let (dark, recommended, alarms) = (self.dark.clone(), self.advised.clone(), self.alarms.clone());
        let mut world = World { dark, recommended, alarms, ..World::default() };
        let members = self.records().map(|records| records.members).unwrap_or_default();
        for id in members.values().filter_map(|member| member.instance.as_ref()) {
            let power = self.machines.get(id).map_or(Power::Gone, |machine| machine.power);
            world.instances.insert(id.clone(), power);
        }
        let targets = self.targets.iter().map(|(id, target)| (id.clone(), target.0)).collect();
        world.targets.insert(TARGET_GROUP.into(), targets);
        world
    }

    /// Runs the controller's passes until nothing is left to do now.
    pub async fn react(&mut self) {
        for _ in 0..PASSES_MAX {
            let Some(plan) = self.pass().await else { return };
            self.wake = plan.wake;
            let did = self.act().await;
            if plan.decisions.is_empty() && !did {
                return;
            }
        }
        panic!("still busy after {PASSES_MAX} passes: {:?}", self.pass().await);
    }

    async fn pass(&mut self) -> Option<Plan> {
        let (world, recipe, seed) = (self.world(), Ok(Recipe::default()), self.rng.u64());
        let (scope, now) = (&self.scope, self.now);
        let checked = self.check_plan(&world)?;
        // As the controller does: a pass that decides nothing writes nothing.
        if checked.decisions.is_empty() {
            return Some(checked);
        }
        let written = self.store.txn(|tx| {
            let Some(records) = load(tx, scope, NAME) else { return Ok(None) };
            let plan = decide(&records, &world, now);
            let pass = Pass { scope, name: NAME, now, rng: Rng::seeded(seed), recipe: Some(&recipe) };
            apply::apply(tx, &pass, records, &plan);
            Ok(Some(plan))
        });
        let plan = written.await.expect("memory does not fail");
        assert_eq!(plan.as_ref(), Some(&checked), "deciding is pure");
        let ends = |decision: &&Decision| matches!(decision, Decision::Terminate { .. });
        self.ends += plan.as_ref().map_or(0, |plan| plan.decisions.iter().filter(ends).count());
        plan
    }

    /// How many members were ended so far.
    pub fn ends(&self) -> usize {
        self.ends
    }

    /// What must hold for every plan.
    fn check_plan(&self, world: &World) -> Option<Plan> {
        let records = self.records()?;
        let plan = decide(&records, world, self.now);
        let desired = usize::try_from(records.group.desired).unwrap_or_default();
        let (mut ended, mut launched, mut balanced) = (BTreeSet::new(), 0, 0);
        for decision in &plan.decisions {
            match decision {
                Decision::Terminate { member, cause } => {
                    let by_choice = matches!(cause, EndCause::Shrink { .. } | EndCause::Balanced { .. });
                    assert!(!(by_choice && records.members[member].protected), "a protected member goes: {decision:?}");
                    assert!(ended.insert(member.clone()), "a member ends twice: {plan:?}");
                    balanced += usize::from(matches!(cause, EndCause::Balanced { .. }));
                }
                Decision::Launch { cause: LaunchCause::Warm, .. } => (),
                Decision::Launch { count, .. } => launched += count,
                Decision::Draw { .. } => launched += 1,
                _ => (),
            }
        }
        if balanced > 0 {
            let left = self.serving().saturating_sub(balanced);
            assert!(left >= desired, "{left} serve after balancing, {desired} are desired");
        }
        let counting = records.members.iter().filter(|(id, member)| member.counts() && !ended.contains(*id)).count();
        let max = usize::try_from(records.group.max).unwrap_or_default();
        if launched > 0 {
            assert!(counting + launched <= max + (max / 10).max(1), "{counting} and {launched} more of at most {max}");
        }
        Some(plan)
    }

    /// Carries the effects out; whether there were any.
    async fn act(&mut self) -> bool {
        let Some(records) = self.records() else { return false };
        let wanted = effects(&records, &self.world(), self.now);
        for effect in &wanted {
            match effect {
                Effect::Run { member } => self.run(member, &records.members[member].zone.clone()).await,
                Effect::Register { member, instance, .. } => {
                    self.targets.insert(instance.clone(), (TargetState::Initial, self.now, None));
                    self.check_target(instance);
                    self.register(member, Registration::Registered).await;
                }
                Effect::Deregister { member, instance, .. } => {
                    let drains = self.machines.get(instance).is_some_and(|machine| machine.power == Power::Running);
                    let until = if drains { self.now + DRAIN } else { self.now };
                    self.targets.insert(instance.clone(), (TargetState::Draining, until, None));
                    self.register(member, Registration::Draining).await;
                }
                Effect::Start { instance, .. } => self.change_power(instance, Power::Pending, BOOT, Power::Running),
                Effect::Stop { instance, .. } => self.change_power(instance, Power::Stopping, SHUTDOWN, Power::Stopped),
                Effect::Terminate { instance, .. } => {
                    let machine = self.machines.get_mut(instance).expect("it was launched");
                    machine.power = Power::ShuttingDown;
                    machine.next = Some((self.now + SHUTDOWN, Power::Gone));
                }
            }
        }
        !wanted.is_empty()
    }

    fn change_power(&mut self, instance: &str, now: Power, after: Duration, then: Power) {
        let machine = self.machines.get_mut(instance).expect("it was launched");
        (machine.power, machine.next) = (now, Some((self.now + after, then)));
    }

    async fn register(&self, member: &str, registration: Registration) {
        self.change_member(member, |member| {
            member.targets.insert(TARGET_GROUP.into(), registration);
        })
        .await;
    }

    async fn run(&mut self, token: &Arc<str>, zone: &str) {
        let records = self.records().expect("members have a group");
        let pool = refusals::pool(records.launch(), &records.members[token]);
        let full = self.full.contains(zone) || pool.is_some_and(|pool| self.full.contains(&pool));
        if self.dark.contains(zone) || full {
            let error = Error::client("InsufficientInstanceCapacity", format!("No capacity in {zone}."));
            // The one record of dark zones is the kernel's.
            let (cloud, dark) = (Scope::new("cloud", "global"), &self.dark);
            let (scope, now) = (&self.scope, self.now);
            let launch = records.launch().clone();
            let written = self.store.txn(|tx| {
                for zone in ZONES {
                    match dark.contains(zone) {
                        true => tx.put(&cloud, zone, zones::DarkZone { since: now }),
                        false if zones::is_dark(tx, zone) => tx.delete::<zones::DarkZone>(&cloud, zone),
                        false => (),
                    }
                }
                refusals::refuse(tx, scope, token, &launch, now, &error);
                Ok(())
            });
            return written.await.expect("memory does not fail");
        }
        let id = format!("i-{:04}", self.tokens.len());
        let id = self.tokens.entry(token.clone()).or_insert(id).clone();
        self.launches += 1;
        self.machines.entry(id.clone()).or_insert_with(|| Machine {
            zone: zone.to_owned(),
            power: Power::Pending,
            next: Some((self.now + BOOT, Power::Running)),
            app_works: true,
        });
        self.change_member(token, |member| member.instance = Some(id.clone())).await;
    }

    /// Goes on until the next thing happens by itself, at most to `limit`; false when that comes first.
    pub async fn step(&mut self, limit: Timestamp) -> bool {
        let machines = self.machines.values().filter_map(|machine| machine.next.map(|(time, _)| time));
        let targets = self.targets.values();
        let targets = targets.filter(|t| t.2.is_some() || t.0 == TargetState::Draining).map(|target| target.1);
        let next = machines.chain(targets).chain(self.wake.filter(|wake| *wake > self.now)).min();
        let Some(time) = next.filter(|time| *time <= limit) else {
            self.now = limit;
            return false;
        };
        self.now = self.now.max(time);
        let mut changed = Vec::new();
        for (id, machine) in &mut self.machines {
            if let Some((_, power)) = machine.next.take_if(|(time, _)| *time <= self.now) {
                machine.power = power;
                changed.push(id.clone());
            }
        }
        self.targets.retain(|_, target| {
            if target.1 > self.now {
                return true;
            }
            if let Some(state) = target.2.take() {
                target.0 = state;
            }
            target.0 != TargetState::Draining
        });
        for id in changed {
            self.check_target(&id);
        }
        self.machines.retain(|_, machine| machine.power != Power::Gone);
        self.react().await;
        true
    }

    /// Lets time pass.
    pub async fn pass_time(&mut self, time: Duration) {
        let limit = self.now + time;
        self.react().await;
        while self.step(limit).await {}
        self.react().await;
    }
}
