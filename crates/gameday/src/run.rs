//! A game day from its deployment to its report.
//!
//! Invariant: whatever happens once something was broken (an error, an interruption, a stop), every experiment that was
//! begun is ended before this returns.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Error, Result, Rng};
use tokio::task::JoinHandle;

use crate::World;
use crate::aim;
use crate::check::{Ready, check};
use crate::inject;
use crate::probe::{Pace, SharedLog, Stop, Summary, fire, lock, summarize};
use crate::report::{Fact, Facts, FaultReport, Report, build, words};
use crate::site::{Site, deploy};
use crate::spec::{GameDay, Layer, Probe, Steady};
use crate::watch::{EVERY, Sign, Watch};
use crate::world::pass;

/// For how long no request may have failed when everything serves again.
const RECENT: Duration = Duration::from_secs(1);

/// How long it is tried to end an experiment.
const HEAL_LIMIT: Duration = Duration::from_secs(60);

/// Told of what happens, for the terminal.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What is run, and how.
pub struct Run {
    pub world: Arc<dyn World>,
    pub day: GameDay,
    /// The template's text, where the stack is to be deployed.
    pub template: Option<String>,
    /// The stack's name.
    pub stack: String,
    pub seed: u64,
    pub say: Say,
    /// Ends it before its time: everything is healed, and there is a report.
    pub stop: Stop,
}

/// How it ended.
pub enum Ended {
    Reported(Box<Report>),
    /// It was not run, for these reasons; nothing was broken.
    Refused(Vec<String>),
}

impl Run {
    /// Deploys, checks the steady state, breaks, watches, heals, checks again.
    pub async fn run(&self) -> Result<Ended> {
        let site = match self.prepare().await? {
            Ok(site) => site,
            Err(why) => return Ok(Ended::Refused(vec![why])),
        };
        if let Err(why) = self.settled(&site, true).await? {
            return Ok(Ended::Refused(vec![why]));
        }
        let token = format!("{}-{}", self.stack, self.world.now().0);
        let ready = match check(&*self.world, &self.day, &site, self.seed, &token).await? {
            Ok(ready) => ready,
            Err(why) => return Ok(Ended::Refused(why)),
        };
        if let Err(why) = self.answered(&ready).await {
            return Ok(Ended::Refused(vec![why]));
        }
        let start = self.world.elapsed();
        let mut play = Play {
            run: self,
            site: &site,
            ready: &ready,
            start,
            token,
            probes: self.start_probes(&ready, start),
            watch: Watch::default(),
            faults: Vec::new(),
            rng: Rng::seeded(self.seed),
            silent: None,
        };
        let began = self.world.now();
        let played = play.play().await;
        // Whatever happened, nothing stays broken.
        let healed = play.heal().await;
        let end = match played {
            Err(error) => {
                play.stop_probes().await;
                return Err(error);
            }
            Ok(Err(why)) => {
                play.stop_probes().await;
                return Ok(Ended::Refused(vec![why]));
            }
            Ok(Ok(broken_ms)) => {
                healed?;
                play.settle_again(broken_ms).await?
            }
        };
        play.watch.read_back(&*self.world, &site, began).await?;
        Ok(Ended::Reported(Box::new(play.report(began.iso8601(), end).await)))
    }

    /// Deploys, and only says whether it could be run.
    pub async fn check(&self) -> Result<Result<(), Vec<String>>> {
        let site = match self.prepare().await? {
            Ok(site) => site,
            Err(why) => return Ok(Err(vec![why])),
        };
        if let Err(why) = self.settled(&site, true).await? {
            return Ok(Err(vec![why]));
        }
        let token = format!("{}-{}", self.stack, self.world.now().0);
        Ok(check(&*self.world, &self.day, &site, self.seed, &token).await?.map(|_| ()))
    }

    /// The stack, deployed where there is a template.
    async fn prepare(&self) -> Result<Result<Site, String>> {
        let world = &*self.world;
        if let Some(template) = &self.template {
            (self.say)(&format!("deploying the stack {}", self.stack));
            match deploy(world, &self.stack, template, &self.day.stack.parameters).await {
                Err(error) if error.fault == standfast_core::Fault::Client => {
                    return Ok(Err(format!("the stack {} cannot be deployed: {}", self.stack, error.message)));
                }
                deployed => deployed?,
            }
        }
        match Site::read(world, &self.stack).await {
            Err(error) if error.is("ValidationError") => Ok(Err(error.message)),
            site => site.map(Ok),
        }
    }

    /// Waits until everything serves that should. An error says what does not.
    async fn settled(&self, site: &Site, at_first: bool) -> Result<Result<(), String>> {
        let world = &*self.world;
        if at_first {
            (self.say)("waiting until everything serves");
        }
        let limit = world.elapsed() + self.day.settle;
        loop {
            let missing = missing(world, site).await?;
            let Some(why) = missing else { return Ok(Ok(())) };
            if *self.stop.borrow() {
                return Ok(Err("it was stopped".into()));
            }
            if world.elapsed() > limit {
                return Ok(Err(format!("after {} it still is so: {why}", words::time(self.day.settle.as_secs_f64()))));
            }
            pass(world, EVERY).await;
        }
    }

    /// Waits until every probe gets an answer: what runs may still be starting. An error says which gets none.
    async fn answered(&self, ready: &Ready) -> Result<(), String> {
        let limit = self.world.elapsed() + self.day.settle;
        for (probe, shot) in &ready.probes {
            loop {
                let fate = shot().await.fate;
                if fate.succeeded() {
                    break;
                }
                if *self.stop.borrow() {
                    return Err("it was stopped".into());
                }
                if self.world.elapsed() > limit {
                    let waited = words::time(self.day.settle.as_secs_f64());
                    return Err(format!("after {waited} the probe '{}' still gets: {}", probe.name, fate.name()));
                }
                pass(&*self.world, EVERY).await;
            }
        }
        Ok(())
    }

    fn start_probes(&self, ready: &Ready, start: Duration) -> Vec<Running> {
        let longest = self.day.steady.time * 2 + self.day.watch + self.day.settle;
        (ready.probes.iter())
            .map(|(probe, shot)| {
                let (log, (stopper, stop)) = (SharedLog::default(), tokio::sync::watch::channel(false));
                let pace = Pace { per_second: probe.rate, duration: longest };
                let (world, shot, kept) = (self.world.clone(), shot.clone(), log.clone());
                let task = tokio::spawn(async move { fire(&world, &shot, pace, start, &kept, stop, |_| ()).await });
                Running { probe: probe.clone(), log, stopper, task }
            })
            .collect()
    }
}

/// A probe that sends.
struct Running {
    probe: Probe,
    log: SharedLog,
    stopper: crate::probe::Stopper,
    task: JoinHandle<u64>,
}

/// Where the parts of a day that was played begin.
struct End {
    broken_ms: i64,
    healed_ms: i64,
    settled_ms: i64,
    end_ms: i64,
    interrupted: bool,
    unsteady: Vec<String>,
}

/// A day while it is played.
struct Play<'a> {
    run: &'a Run,
    site: &'a Site,
    ready: &'a Ready,
    /// The world's `elapsed` at the first request.
    start: Duration,
    token: String,
    probes: Vec<Running>,
    watch: Watch,
    faults: Vec<FaultReport>,
    rng: Rng,
    /// The code with which the API refuses to be looked at.
    silent: Option<String>,
}

impl Play<'_> {
    fn now_ms(&self) -> i64 {
        self.run.world.elapsed().saturating_sub(self.start).as_millis() as i64
    }

    fn say(&self, what: &str) {
        (self.run.say)(what);
    }

    fn is_stopped(&self) -> bool {
        *self.run.stop.borrow()
    }

    /// Looks until this moment has come, or somebody stops it.
    async fn watch_until(&mut self, moment_ms: i64) -> Result<()> {
        let world = self.run.world.clone();
        while self.now_ms() < moment_ms && !self.is_stopped() {
            let at_ms = self.now_ms();
            let looked = self.look(at_ms).await;
            self.note_silence(at_ms, looked);
            let next = (Duration::from_millis(at_ms as u64) + EVERY).min(Duration::from_millis(moment_ms as u64));
            world.sleep_until(self.start + next).await;
        }
        Ok(())
    }

    async fn look(&mut self, at_ms: i64) -> Result<()> {
        let world = self.run.world.clone();
        self.watch.look(&*world, self.site, at_ms).await?;
        self.note_ends().await
    }

    /// A cloud that does not answer is a part of the story (faults may throttle its API) and no end of it: users go on.
    fn note_silence(&mut self, at_ms: i64, looked: Result<()>) {
        let silent = looked.as_ref().err().map(|error| error.code.to_string());
        if let (Err(error), true) = (&looked, silent != self.silent) {
            self.watch.note(at_ms, Layer::Stack, Sign::Note, &self.run.stack, format!("the API answers {error}"));
        }
        self.silent = silent;
    }

    /// The steady state, then the faults. Gives when things may break from; an error says why nothing was broken.
    async fn play(&mut self) -> Result<Result<i64, String>> {
        let (day, steady) = (&self.run.day, &self.run.day.steady);
        self.say(&format!("steady state: watching for {}", words::time(steady.time.as_secs_f64())));
        let broken_ms = steady.time.as_millis() as i64;
        self.watch_until(broken_ms).await?;
        if self.is_stopped() {
            return Ok(Err("it was stopped before anything broke".into()));
        }
        let unsteady = self.unsteady(steady, 0, broken_ms);
        if !unsteady.is_empty() {
            return Ok(Err(format!("the steady state does not hold before anything broke: {}", unsteady.join("; "))));
        }
        self.say("steady state: holds");
        let mut order: Vec<usize> = (0..day.faults.len()).collect();
        order.sort_by_key(|n| day.faults[*n].at);
        for n in order {
            self.watch_until(broken_ms + day.faults[n].at.as_millis() as i64).await?;
            if self.is_stopped() {
                return Ok(Ok(broken_ms));
            }
            self.begin(n).await?;
        }
        self.watch_until(broken_ms + day.watch.as_millis() as i64).await?;
        Ok(Ok(broken_ms))
    }

    async fn begin(&mut self, n: usize) -> Result<()> {
        let (world, fault, action) = (&*self.run.world, &self.run.day.faults[n], &self.ready.actions[n]);
        let aimed = aim::aim(world, self.site, fault, action, &self.rng).await?;
        let aimed =
            aimed.map_err(|why| Error::client("NothingToBreak", format!("the fault '{}': {why}", fault.name)))?;
        let began_ms = self.now_ms();
        let token = format!("{}-{n}", self.token);
        let experiment = inject::begin(world, self.site, fault, action, &aimed, &token, &self.ready.stop).await?;
        let hit = match (&aimed.zone, aimed.instances.len()) {
            (Some(zone), count) => format!("{} ({zone}, {})", fault.name, words::plural(count, "instance")),
            (None, _) => {
                format!("{} ({})", fault.name, aimed.arns.iter().map(|arn| last(arn)).collect::<Vec<_>>().join(", "))
            }
        };
        self.say(&format!("breaks: {hit}"));
        self.watch.note(began_ms, Layer::Fault, Sign::Broken, &fault.name, format!("begins: {}", action.id));
        self.faults.push(FaultReport {
            name: fault.name.clone(),
            action: action.id.clone(),
            parameters: aimed.parameters,
            experiment,
            began_ms,
            ended_ms: i64::MAX,
            status: "running".into(),
            targets: aimed.arns,
            instances: aimed.instances.into_iter().collect(),
            zone: aimed.zone,
        });
        Ok(())
    }

    /// Notes experiments that have ended by themselves.
    async fn note_ends(&mut self) -> Result<()> {
        for n in 0..self.faults.len() {
            if self.faults[n].ended_ms == i64::MAX {
                let (status, over) = inject::status(&*self.run.world, &self.faults[n].experiment).await?;
                if over {
                    self.note_end(n, status);
                }
            }
        }
        Ok(())
    }

    fn note_end(&mut self, n: usize, status: String) {
        let now_ms = self.now_ms();
        let fault = &mut self.faults[n];
        (fault.ended_ms, fault.status) = (now_ms, status);
        let (name, what) = (fault.name.clone(), format!("is over: {}", fault.status));
        self.say(&format!("is over: {name}"));
        self.watch.note(now_ms, Layer::Fault, Sign::Healed, &name, what);
    }

    /// Ends every experiment, each tried whatever became of the others.
    async fn heal(&mut self) -> Result<()> {
        let mut first = Ok(());
        for n in 0..self.faults.len() {
            if self.faults[n].ended_ms != i64::MAX {
                continue;
            }
            let world = &*self.run.world;
            let ended = self.end(&self.faults[n].experiment).await;
            match ended {
                Ok(()) => {
                    let status = inject::status(world, &self.faults[n].experiment).await.map(|(status, _)| status);
                    self.note_end(n, status.unwrap_or_else(|_| "stopped".into()));
                }
                Err(error) => {
                    self.say(&format!("cannot heal {}: {error}", self.faults[n].name));
                    first = first.and(Err(error));
                }
            }
        }
        first
    }

    /// Ends an experiment; an API that is throttled by one is asked again.
    async fn end(&self, experiment: &str) -> Result<()> {
        let world = &*self.run.world;
        let limit = world.elapsed() + HEAL_LIMIT;
        loop {
            match inject::end(world, experiment).await {
                Err(_) if world.elapsed() < limit => pass(world, EVERY).await,
                ended => return ended,
            }
        }
    }

    /// Waits until everything serves again and checks the steady state; the probes end here.
    async fn settle_again(&mut self, broken_ms: i64) -> Result<End> {
        let healed_ms = self.now_ms();
        let interrupted = self.is_stopped();
        let mut unsteady = Vec::new();
        if !interrupted {
            self.say("healed: waiting until everything serves again");
            let limit_ms = healed_ms + self.run.day.settle.as_millis() as i64;
            while let Some(why) = missing(&*self.run.world, self.site).await?.or_else(|| self.failing()) {
                if self.now_ms() >= limit_ms || self.is_stopped() {
                    unsteady.push(why);
                    break;
                }
                let next_ms = self.now_ms() + EVERY.as_millis() as i64;
                self.watch_until(next_ms).await?;
            }
        }
        let settled_ms = self.now_ms();
        if !interrupted && unsteady.is_empty() {
            self.say("steady state: watching again");
            self.watch_until(settled_ms + self.run.day.steady.time.as_millis() as i64).await?;
        }
        let end_ms = self.now_ms();
        self.watch.look(&*self.run.world, self.site, end_ms).await?;
        self.stop_probes().await;
        unsteady.extend(self.unsteady(&self.run.day.steady, settled_ms, end_ms));
        let interrupted = interrupted || self.is_stopped();
        Ok(End { broken_ms, healed_ms, settled_ms, end_ms, interrupted, unsteady })
    }

    /// The probe whose last second had failures.
    fn failing(&self) -> Option<String> {
        let from_us = (self.now_ms() - RECENT.as_millis() as i64).max(0) as u64 * 1000;
        let failing = |running: &&Running| {
            let log = lock(&running.log);
            log.records
                .iter()
                .rev()
                .take_while(|record| record.due_us >= from_us)
                .any(|record| !record.fate.succeeded())
        };
        self.probes.iter().find(failing).map(|running| format!("requests of the probe '{}' fail", running.probe.name))
    }

    /// What of the steady state does not hold in this time.
    fn unsteady(&self, steady: &Steady, from_ms: i64, to_ms: i64) -> Vec<String> {
        let mut why = Vec::new();
        for running in &self.probes {
            let mut log = lock(&running.log);
            log.sort();
            let in_time = |us: u64| us as i64 >= from_ms * 1000 && (us as i64) < to_ms * 1000;
            let records: Vec<_> = log.records.iter().filter(|record| in_time(record.due_us)).copied().collect();
            why.extend(out_of_bounds(&running.probe.name, steady, &summarize(&log, &records)));
        }
        why
    }

    async fn stop_probes(&mut self) {
        for running in &mut self.probes {
            running.stopper.send_replace(true);
            // Its records are in the log, whatever became of the task.
            let _ = (&mut running.task).await;
        }
    }

    async fn report(self, began: String, end: End) -> Report {
        self.say(if end.interrupted { "writing the report of what there is" } else { "writing the report" });
        let probes: Vec<Fact> = (self.probes.into_iter())
            .map(|running| {
                let mut log = std::mem::take(&mut *lock(&running.log));
                log.sort();
                Fact { probe: running.probe, log }
            })
            .collect();
        build(Facts {
            day: &self.run.day,
            stack: &self.run.stack,
            seed: self.run.seed,
            began,
            interrupted: end.interrupted,
            probes: &probes,
            faults: self.faults,
            broken_ms: end.broken_ms,
            healed_ms: end.healed_ms,
            settled_ms: end.settled_ms,
            end_ms: end.end_ms,
            unsteady: end.unsteady,
            entries: self.watch.entries,
            levels: &self.watch.levels,
            estate: &self.ready.estate,
        })
    }
}

fn last(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

fn out_of_bounds(probe: &str, steady: &Steady, summary: &Summary) -> Vec<String> {
    let mut why = Vec::new();
    if summary.availability() < steady.success_rate {
        why.push(format!(
            "{probe}: {} succeeded, and {} should",
            words::percent(summary.availability()),
            words::percent(steady.success_rate)
        ));
    }
    let latencies = [("p50", steady.p50, summary.latency.p50_ms), ("p99", steady.p99, summary.latency.p99_ms)];
    for (name, most, measured_ms) in latencies {
        if let Some(most) = most.filter(|most| measured_ms > most.as_secs_f64() * 1000.0) {
            let (measured, most) = (words::time(measured_ms / 1000.0), words::time(most.as_secs_f64()));
            why.push(format!("{probe}: {name} is {measured}, and should be at most {most}"));
        }
    }
    why
}

/// What does not serve that should: targets that are not healthy, groups that are not complete.
async fn missing(world: &dyn World, site: &Site) -> Result<Option<String>> {
    use crate::answers::{items, list, number, text};
    for arn in site.target_groups() {
        let answer = world.call("elbv2", "DescribeTargetHealth", serde_json::json!({"TargetGroupArn": arn})).await?;
        let targets = items(&answer, "TargetHealthDescriptions");
        let bad = targets.iter().find(|target| text(&target["TargetHealth"], "State") != "healthy");
        if let Some(bad) = bad {
            let (id, state) = (text(&bad["Target"], "Id"), text(&bad["TargetHealth"], "State"));
            return Ok(Some(format!("the target {id} of {} is {state}", site.called(arn))));
        }
        if targets.is_empty() {
            return Ok(Some(format!("{} has no targets", site.called(arn))));
        }
    }
    let names = site.groups();
    if !names.is_empty() {
        let input = serde_json::json!({"AutoScalingGroupNames": names});
        for group in &list(world, "autoscaling", "DescribeAutoScalingGroups", input, "AutoScalingGroups").await? {
            let members = items(group, "Instances");
            let serving = members.iter().filter(|member| {
                text(member, "LifecycleState") == "InService" && text(member, "HealthStatus") == "Healthy"
            });
            let (serving, desired) = (serving.count() as u64, number(group, "DesiredCapacity"));
            if serving != desired || members.len() as u64 != desired {
                let name = site.called(text(group, "AutoScalingGroupName"));
                return Ok(Some(format!("{serving} of {desired} instances of {name} are in service")));
            }
        }
    }
    Ok(None)
}
