//! The state that should be, compiled for the request path.
//!
//! A `Table` is immutable and replaced as a whole; what lives longer than one snapshot (a target's health, requests under
//! way, counters) is shared between tables by `Arc`, and `Registry` is the one who knows which is which. Invariant:
//! serving a request takes no lock that another request could hold: health is read from an atomic, and the machine
//! behind it is locked only by probes and ejections.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use standfast_core::Timestamp;
use standfast_core::lb::{
    self, Action, Algorithm, Condition, Health, HealthCheck, LbSnapshot, TargetKey, Traffic, XffMode,
};
use standfast_core::metric::Datum;
use tokio::sync::Notify;

use crate::fingerprint;
use crate::health::{Machine, Outcome};
use crate::metrics::{self, Counters};
use crate::pick::{Look, Standing};
use crate::space::{self, Space, Spaces};
use crate::tls;

/// Locks even when a holder panicked: the data are plain values that are never left half written.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells everybody who waits that an observation may differ now.
#[derive(Clone, Debug)]
pub struct Changes(Arc<Notify>);

impl Changes {
    pub fn new() -> Self {
        Self(Arc::new(Notify::new()))
    }

    /// Wakes those who wait, in the order in which they came: on virtual time a seed is a run.
    pub fn tell(&self) {
        self.0.notify_waiters();
    }

    /// Resolves at the next `tell` after this call.
    pub fn next(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.clone().notified_owned()
    }
}

/// A target, as long as it is registered.
#[derive(Debug)]
pub struct Cell {
    pub key: TargetKey,
    pub socket: SocketAddr,
    pub zone: String,
    /// Names it in a stickiness cookie.
    pub fingerprint: u64,
    pub counters: Arc<Counters>,
    machine: Mutex<Machine>,
    healthy: AtomicBool,
    draining: AtomicBool,
    in_flight: AtomicUsize,
    changes: Changes,
}

impl Cell {
    pub fn look(&self) -> Look {
        let standing = if self.draining.load(Ordering::Relaxed) {
            Standing::Draining
        } else if self.healthy.load(Ordering::Relaxed) {
            Standing::Healthy
        } else {
            Standing::Unproven
        };
        Look { standing, tried: false, outstanding: self.in_flight.load(Ordering::Relaxed) }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn probed(&self, outcome: Outcome, check: &HealthCheck) {
        self.decide(|machine| machine.probed(outcome, check));
    }

    /// A request's connection was refused.
    pub fn refused(&self) {
        self.decide(Machine::refused);
    }

    pub fn health(&self) -> Health {
        if self.is_draining() {
            return Health::Draining { in_flight: self.in_flight.load(Ordering::Relaxed) };
        }
        lock(&self.machine).health()
    }

    fn decide(&self, decision: impl FnOnce(&mut Machine) -> bool) {
        let mut machine = lock(&self.machine);
        if decision(&mut machine) {
            self.healthy.store(machine.is_healthy(), Ordering::Relaxed);
            self.changes.tell();
        }
    }
}

/// A request under way at a target.
#[derive(Debug)]
pub struct Flight(Arc<Cell>);

impl Flight {
    pub fn begin(cell: &Arc<Cell>) -> Self {
        cell.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(cell.clone())
    }

    pub fn cell(&self) -> &Arc<Cell> {
        &self.0
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        if before == 1 && self.0.is_draining() {
            self.0.changes.tell(); // The control plane may forget the target now.
        }
    }
}

#[derive(Debug)]
pub struct Group {
    pub dimension: String,
    /// Names it in the cookie of a forward action.
    pub fingerprint: u64,
    pub algorithm: Algorithm,
    pub check: HealthCheck,
    pub stickiness_s: Option<u32>,
    pub members: Vec<Member>,
    /// The load balancer that its metrics name.
    pub balancer: String,
    pub turn: AtomicUsize,
}

#[derive(Debug)]
pub struct Member {
    pub cell: Arc<Cell>,
    pub draining_until: Option<Timestamp>,
    pub probed_from: Origin,
}

/// Where health checks of a target come from.
#[derive(Clone, Debug)]
pub enum Origin {
    Machine,
    Place(Arc<Space>),
    /// No node is up in the target's VPC: it is not probed.
    Nowhere,
}

#[derive(Debug)]
pub enum Act {
    Forward {
        groups: Vec<(Arc<Group>, u32)>,
        turn: AtomicUsize,
        /// How long a client stays with its group, if it does.
        stickiness_s: Option<u32>,
    },
    Fixed {
        status: u16,
        content_type: String,
        body: String,
    },
    Redirect(Redirect),
}

#[derive(Debug)]
pub struct Redirect {
    pub status: u16,
    pub protocol: String,
    pub host: String,
    pub port: String,
    pub path: String,
    pub query: String,
}

/// A listener of a load balancer.
#[derive(Debug)]
pub struct Route {
    pub port: u16,
    /// It speaks TLS.
    pub tls: Option<Arc<ServerConfig>>,
    pub rules: Vec<(Vec<Condition>, Act)>,
}

#[derive(Debug)]
pub struct Balancer {
    pub arn: String,
    pub dimension: String,
    pub dns_name: String,
    pub idle_timeout: Duration,
    pub xff: XffMode,
    pub nodes: Vec<Node>,
    pub routes: Vec<Arc<Route>>,
    /// For choosing nodes in turn.
    pub turn: AtomicUsize,
}

#[derive(Debug)]
pub struct Node {
    pub zone: String,
    pub up: bool,
    /// Where it is in its VPC, when instances have networks and it is up.
    pub space: Option<Arc<Space>>,
    pub counters: Arc<Counters>,
}

impl Balancer {
    pub fn node(&self, zone: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.zone == zone)
    }

    pub fn route(&self, port: u16) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.port == port)
    }

    /// The node, in turn, and the listener that a client reaches by the balancer's name alone.
    pub fn front_door(&self) -> Option<(&Node, &Arc<Route>)> {
        let up = self.nodes.iter().filter(|node| node.up);
        let count = up.clone().count();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let node = up.cycle().skip(turn.checked_rem(count)?).take(count).next()?;
        // What comes that way does not speak TLS.
        let plain = self.routes.iter().filter(|route| route.tls.is_none());
        let route = plain.min_by_key(|route| (route.port != 80, route.port))?;
        Some((node, route))
    }
}

#[derive(Debug, Default)]
pub struct Table {
    pub version: u64,
    /// By ARN.
    pub balancers: HashMap<String, Arc<Balancer>>,
    /// The groups that a listener uses, by ARN.
    pub groups: BTreeMap<String, Arc<Group>>,
}

impl Table {
    /// The balancer whose name is in a Host header.
    pub fn named(&self, host: &str) -> Option<&Arc<Balancer>> {
        let name = crate::route::without_port(host);
        self.balancers.values().find(|balancer| balancer.dns_name.eq_ignore_ascii_case(name))
    }

    /// The numbers of the places that nodes are in.
    pub fn places(&self) -> impl Iterator<Item = u64> {
        let nodes = self.balancers.values().flat_map(|balancer| &balancer.nodes);
        nodes.map(|node| space::number(node.space.as_ref())).chain([space::MACHINE])
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.groups.values().flat_map(|group| &group.members)
    }

    pub fn health(&self) -> BTreeMap<TargetKey, Health> {
        self.members().map(|member| (member.cell.key.clone(), member.cell.health())).collect()
    }
}

/// What outlives a snapshot.
#[derive(Debug)]
pub struct Registry {
    changes: Changes,
    version: u64,
    cells: BTreeMap<TargetKey, Arc<Cell>>,
    /// `None` in a simulation: the places of nodes make no difference there.
    spaces: Option<Spaces>,
    /// By balancer dimension and zone.
    node_counters: BTreeMap<(String, String), Arc<Counters>>,
    /// By balancer dimension, target group dimension and zone.
    group_counters: BTreeMap<(String, String, String), Arc<Counters>>,
    /// What listeners' certificates came to, so that sessions can be resumed and no key is read twice.
    tls: Vec<(lb::Tls, Arc<ServerConfig>)>,
}

impl Registry {
    pub fn new(changes: Changes) -> Self {
        Self { spaces: Some(Spaces::default()), ..Self::simulated(changes) }
    }

    /// One whose nodes are nowhere.
    pub fn simulated(changes: Changes) -> Self {
        Self {
            changes,
            version: 0,
            cells: BTreeMap::new(),
            spaces: None,
            node_counters: BTreeMap::new(),
            group_counters: BTreeMap::new(),
            tls: Vec::new(),
        }
    }

    pub fn compile(&mut self, snapshot: &LbSnapshot) -> Table {
        self.version += 1;
        let mut table = Table { version: self.version, ..Table::default() };
        if let Some(spaces) = &mut self.spaces {
            spaces.renew(&snapshot.load_balancers);
        }
        for balancer in &snapshot.load_balancers {
            let nodes: Vec<Node> = balancer.nodes.iter().map(|node| self.node(node, &balancer.dimension)).collect();
            for action in balancer.listeners.iter().flat_map(|listener| &listener.rules).map(|rule| &rule.action) {
                self.compile_groups(action, balancer, &nodes, snapshot, &mut table);
            }
            let routes = balancer.listeners.iter().filter_map(|listener| self.route(listener, &table)).collect();
            table.balancers.insert(balancer.arn.clone(), Arc::new(compile_balancer(balancer, nodes, routes)));
        }
        let used = |tls: &lb::Tls| {
            let listeners = snapshot.load_balancers.iter().flat_map(|balancer| &balancer.listeners);
            listeners.filter_map(|listener| listener.tls.as_ref()).any(|other| other == tls)
        };
        self.tls.retain(|(tls, _)| used(tls));
        let live: BTreeSet<&TargetKey> = table.members().map(|member| &member.cell.key).collect();
        self.cells.retain(|key, _| live.contains(key));
        table
    }

    fn compile_groups(
        &mut self,
        action: &Action,
        balancer: &lb::LoadBalancer,
        nodes: &[Node],
        snapshot: &LbSnapshot,
        table: &mut Table,
    ) {
        let Action::Forward { groups: weights, .. } = action else { return };
        for (arn, _) in weights {
            let Some(group) = snapshot.target_groups.get(arn).filter(|_| !table.groups.contains_key(arn)) else {
                continue;
            };
            let members = group.targets.iter().filter_map(|target| {
                let (cell, probed_from) = (self.member_cell(target, group, balancer)?, origin(target, balancer, nodes));
                Some(Member { cell, draining_until: target.draining_until, probed_from })
            });
            let members = members.collect();
            let compiled = Group {
                dimension: group.dimension.clone(),
                fingerprint: fingerprint::of(&[arn]),
                algorithm: group.algorithm,
                check: group.health.clone(),
                stickiness_s: group.stickiness_s,
                members,
                balancer: balancer.dimension.clone(),
                turn: AtomicUsize::new(0),
            };
            table.groups.insert(arn.clone(), Arc::new(compiled));
        }
    }

    /// `None` when its certificates cannot be used: it is not served then.
    fn route(&mut self, listener: &lb::Listener, table: &Table) -> Option<Arc<Route>> {
        let tls = match listener.tls.as_ref().map(|tls| self.tls_config(tls)).transpose() {
            Ok(tls) => tls,
            Err(error) => {
                eprintln!("level=error event=listener_failed listener={} error={error:?}", listener.arn);
                return None;
            }
        };
        let rule = |rule: &lb::Rule| (rule.conditions.clone(), act(&rule.action, table));
        Some(Arc::new(Route { port: listener.port, tls, rules: listener.rules.iter().map(rule).collect() }))
    }

    fn tls_config(&mut self, tls: &lb::Tls) -> Result<Arc<ServerConfig>, String> {
        if let Some((_, config)) = self.tls.iter().find(|(known, _)| known == tls) {
            return Ok(config.clone());
        }
        let config = tls::config(tls)?;
        self.tls.push((tls.clone(), config.clone()));
        Ok(config)
    }

    fn node(&mut self, node: &lb::Node, dimension: &str) -> Node {
        let place = node.place.as_ref().filter(|_| self.spaces.is_some());
        let space = place.filter(|_| node.up).and_then(|place| self.spaces.as_ref()?.get(place)).cloned();
        let key = (dimension.to_owned(), node.zone.clone());
        Node {
            zone: node.zone.clone(),
            up: node.up && place.is_some() == space.is_some(),
            space,
            counters: self.node_counters.entry(key).or_default().clone(),
        }
    }

    /// `None` when it cannot be reached.
    fn member_cell(
        &mut self,
        target: &lb::Target,
        group: &lb::TargetGroup,
        balancer: &lb::LoadBalancer,
    ) -> Option<Arc<Cell>> {
        let socket = target.socket()?;
        let key = TargetKey { target_group_arn: group.arn.clone(), id: target.id.clone(), port: target.port };
        let known = self.cells.get(&key).filter(|cell| cell.socket == socket).cloned();
        let cell =
            known.unwrap_or_else(|| Arc::new(self.cell(key.clone(), socket, target, group, &balancer.dimension)));
        cell.draining.store(target.draining_until.is_some(), Ordering::Relaxed);
        self.cells.insert(key, cell.clone());
        Some(cell)
    }

    fn cell(
        &mut self,
        key: TargetKey,
        socket: SocketAddr,
        target: &lb::Target,
        group: &lb::TargetGroup,
        balancer: &str,
    ) -> Cell {
        let counters_key = (balancer.to_owned(), group.dimension.clone(), target.zone.clone());
        Cell {
            socket,
            zone: target.zone.clone(),
            fingerprint: fingerprint::of(&[&key.target_group_arn, &key.id, &key.port.to_string()]),
            key,
            counters: self.group_counters.entry(counters_key).or_default().clone(),
            healthy: AtomicBool::new(!group.health.enabled),
            machine: Mutex::new(Machine::new(group.health.enabled)),
            draining: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            changes: self.changes.clone(),
        }
    }

    /// What was measured since the last call.
    pub fn collect(&mut self, table: &Table) -> Vec<Datum> {
        let mut out = Vec::new();
        let mut balancers: BTreeMap<&str, Vec<(&str, &Counters)>> = BTreeMap::new();
        for ((dimension, zone), counters) in &self.node_counters {
            balancers.entry(dimension).or_default().push((zone, counters));
        }
        for (dimension, zones) in balancers {
            metrics::collect_balancer(dimension, &zones, &mut out);
        }
        for view in self.group_views(table) {
            metrics::collect_group(&view, &mut out);
        }
        self.forget(table);
        out
    }

    /// What each counter has counted so far.
    pub fn traffic(&self) -> Vec<Traffic> {
        let nodes = self.node_counters.iter().map(|((balancer, zone), counters)| (balancer, None, zone, counters));
        let groups = self.group_counters.iter();
        let groups = groups.map(|((balancer, group, zone), counters)| (balancer, Some(group.clone()), zone, counters));
        let traffic = |(balancer, group, zone, counters): (&String, Option<String>, &String, &Arc<Counters>)| Traffic {
            balancer: balancer.clone(),
            group,
            zone: zone.clone(),
            counts: counters.total(),
        };
        nodes.chain(groups).map(traffic).collect()
    }

    fn group_views<'a>(&'a self, table: &'a Table) -> Vec<metrics::GroupView<'a>> {
        let mut views: BTreeMap<(&str, &str), metrics::GroupView<'a>> = BTreeMap::new();
        let view = |balancer, dimension| metrics::GroupView { balancer, dimension, zones: vec![], hosts: vec![] };
        for ((balancer, dimension, zone), counters) in &self.group_counters {
            let group = views.entry((balancer, dimension)).or_insert_with(|| view(balancer, dimension));
            group.zones.push((zone, counters));
        }
        for group in table.groups.values() {
            let key = (group.balancer.as_str(), group.dimension.as_str());
            let entry = views.entry(key).or_insert_with(|| view(&group.balancer, &group.dimension));
            for member in &group.members {
                let health = member.cell.health();
                if !matches!(health, Health::Initial | Health::Draining { .. }) {
                    entry.hosts.push((&member.cell.zone, health == Health::Healthy));
                }
            }
        }
        views.into_values().collect()
    }

    /// Drops counters that nothing can reach any more; they were emptied just before.
    fn forget(&mut self, table: &Table) {
        let balancers: BTreeSet<&str> = table.balancers.values().map(|lb| lb.dimension.as_str()).collect();
        self.node_counters
            .retain(|(dimension, _), counters| balancers.contains(&**dimension) || Arc::strong_count(counters) > 1);
        self.group_counters.retain(|_, counters| Arc::strong_count(counters) > 1);
    }
}

fn compile_balancer(balancer: &lb::LoadBalancer, nodes: Vec<Node>, routes: Vec<Arc<Route>>) -> Balancer {
    Balancer {
        arn: balancer.arn.clone(),
        dimension: balancer.dimension.clone(),
        dns_name: balancer.dns_name.clone(),
        idle_timeout: Duration::from_secs(u64::from(balancer.idle_timeout_s.max(1))),
        xff: balancer.xff_mode,
        nodes,
        routes,
        turn: AtomicUsize::new(0),
    }
}

/// Health checks come from the node in the target's zone, or else from the first one that is up.
fn origin(target: &lb::Target, balancer: &lb::LoadBalancer, nodes: &[Node]) -> Origin {
    if balancer.nodes.iter().all(|node| node.place.is_none()) {
        return Origin::Machine;
    }
    let up = || nodes.iter().filter_map(|node| Some((&node.zone, node.space.as_ref()?)));
    let near = up().find(|(zone, _)| **zone == target.zone).or_else(|| up().next());
    near.map_or(Origin::Nowhere, |(_, space)| Origin::Place(space.clone()))
}

fn act(action: &Action, table: &Table) -> Act {
    match action {
        Action::Forward { groups: weights, stickiness_s } => Act::Forward {
            stickiness_s: *stickiness_s,
            groups: weights
                .iter()
                .filter_map(|(arn, weight)| table.groups.get(arn).map(|group| (group.clone(), *weight)))
                .collect(),
            turn: AtomicUsize::new(0),
        },
        Action::FixedResponse { status, content_type, body } => {
            Act::Fixed { status: *status, content_type: content_type.clone(), body: body.clone() }
        }
        Action::Redirect { status, protocol, host, port, path, query } => Act::Redirect(Redirect {
            status: *status,
            protocol: protocol.clone(),
            host: host.clone(),
            port: port.clone(),
            path: path.clone(),
            query: query.clone(),
        }),
    }
}
