//! A day while it is played: the faults in their time, and the looks between.

use std::time::Duration;

use standfast_core::{Error, Fault, Result, Rng};

use super::probes::Probes;
use super::{Run, serving};
use crate::aim;
use crate::check::Ready;
use crate::inject;
use crate::report::{Fact, Facts, FaultReport, Report, build, words};
use crate::site::Site;
use crate::spec::{Layer, Step};
use crate::watch::{EVERY, Sign, Watch};
use crate::world::{no_less, pass, patience};

/// How long it is tried to end an experiment.
const HEAL_LIMIT: Duration = Duration::from_secs(60);
/// Looking is not to keep this machine from what it looks at, however fast time goes.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// How long a step that is refused is tried again: what it needs may still be on its way.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// Where the parts of a day that was played begin.
pub(super) struct End {
    broken_ms: i64,
    healed_ms: i64,
    settled_ms: i64,
    end_ms: i64,
    interrupted: bool,
    unsteady: Vec<String>,
}

/// A day while it is played.
pub(super) struct Play<'a> {
    pub(super) run: &'a Run,
    pub(super) site: &'a Site,
    pub(super) ready: &'a Ready,
    /// The world's `elapsed` at the first request.
    pub(super) start: Duration,
    pub(super) token: String,
    pub(super) probes: Probes,
    pub(super) watch: Watch,
    pub(super) faults: Vec<FaultReport>,
    pub(super) rng: Rng,
    /// The code with which the API refuses to be looked at.
    pub(super) silent: Option<String>,
    /// Steps that could not be done, and why.
    pub(super) undone: Vec<String>,
}

/// What comes next.
enum Due<'a> {
    Fault(usize),
    Step(&'a Step),
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
        let every = no_less(&*world, EVERY, LOOK_AT_MOST_EVERY);
        while self.now_ms() < moment_ms && !self.is_stopped() {
            let at_ms = self.now_ms();
            let looked = self.look(at_ms).await;
            self.note_silence(at_ms, looked);
            let next = (Duration::from_millis(at_ms as u64) + every).min(Duration::from_millis(moment_ms as u64));
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
    pub(super) async fn play(&mut self) -> Result<Result<i64, String>> {
        let (day, steady) = (&self.run.day, &self.run.day.steady);
        self.say(&format!("steady state: watching for {}", words::time(steady.time.as_secs_f64())));
        let broken_ms = steady.time.as_millis() as i64;
        self.watch_until(broken_ms).await?;
        if self.is_stopped() {
            return Ok(Err("it was stopped before anything broke".into()));
        }
        let unsteady = self.probes.unsteady(steady, 0, broken_ms);
        if !unsteady.is_empty() {
            return Ok(Err(format!("the steady state does not hold before anything broke: {}", unsteady.join("; "))));
        }
        self.say("steady state: holds");
        let faults = day.faults.iter().enumerate().map(|(n, fault)| (fault.at, Due::Fault(n)));
        let steps = self.ready.steps.iter().map(|step| (step.at, Due::Step(step)));
        let mut order: Vec<(Duration, Due<'_>)> = faults.chain(steps).collect();
        order.sort_by_key(|(at, _)| *at);
        for (at, due) in order {
            self.watch_until(broken_ms + at.as_millis() as i64).await?;
            if self.is_stopped() {
                return Ok(Ok(broken_ms));
            }
            match due {
                Due::Fault(n) => self.begin(n).await?,
                Due::Step(step) => self.take(step).await?,
            }
        }
        self.watch_until(broken_ms + day.watch.as_millis() as i64).await?;
        Ok(Ok(broken_ms))
    }

    /// Does what somebody does meanwhile, until it is taken or it is clear that it will not be.
    async fn take(&mut self, step: &Step) -> Result<()> {
        let world = self.run.world.clone();
        let limit_ms = self.now_ms() + STEP_LIMIT.as_millis() as i64;
        self.say(&format!("does: {}", step.name));
        loop {
            let what = match world.call(&step.service, &step.operation, step.input.clone()).await {
                Ok(_) => format!("is done: {}", step.operation),
                Err(_) if self.now_ms() < limit_ms && !self.is_stopped() => {
                    self.watch_until(self.now_ms() + EVERY.as_millis() as i64).await?;
                    continue;
                }
                Err(error) => {
                    self.undone.push(format!("the step '{}' could not be done: {}", step.name, error.message));
                    format!("could not be done: {error}")
                }
            };
            self.say(&format!("{}: {what}", step.name));
            self.watch.note(self.now_ms(), Layer::Stack, Sign::Note, &step.name, what);
            return Ok(());
        }
    }

    /// Begins a fault. One that the cloud refuses now (a stop alarm fires, nothing is left to hit) is a part of the story: what
    /// was broken before is healed and reported as ever.
    async fn begin(&mut self, n: usize) -> Result<()> {
        match self.start_fault(n).await {
            Err(error) if error.fault == Fault::Client => {
                let (name, at_ms) = (self.run.day.faults[n].name.clone(), self.now_ms());
                self.say(&format!("does not begin: {name}: {}", error.message));
                self.watch.note(at_ms, Layer::Fault, Sign::Note, &name, format!("is refused: {}", error.message));
                self.undone.push(format!("the fault '{name}' did not begin: {}", error.message));
                Ok(())
            }
            begun => begun,
        }
    }

    async fn start_fault(&mut self, n: usize) -> Result<()> {
        let (world, fault, action) = (&*self.run.world, &self.run.day.faults[n], &self.ready.actions[n]);
        let aimed = aim::aim(world, self.site, fault, action, &self.rng).await?;
        let aimed =
            aimed.map_err(|why| Error::client("NothingToBreak", format!("the fault '{}': {why}", fault.name)))?;
        let began_ms = self.now_ms();
        let token = format!("{}-{n}", self.token);
        let template = aim::template(self.site, fault, action, &aimed, &token, &self.ready.stop);
        let experiment = inject::begin(world, template, &token, &self.site.name).await?;
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
                let (status, over, reason) = inject::status(&*self.run.world, &self.faults[n].experiment).await?;
                if over {
                    // Nobody here has stopped it: an alarm has, or what it does has failed.
                    if status != "completed" {
                        self.undone.push(format!("the fault '{}' was {status}: {reason}", self.faults[n].name));
                    }
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
    pub(super) async fn heal(&mut self) -> Result<()> {
        let mut first = Ok(());
        for n in 0..self.faults.len() {
            if self.faults[n].ended_ms != i64::MAX {
                continue;
            }
            let world = &*self.run.world;
            let ended = self.end(&self.faults[n].experiment).await;
            match ended {
                Ok(()) => {
                    let status = inject::status(world, &self.faults[n].experiment).await.map(|(status, ..)| status);
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
        let limit = world.elapsed() + patience(world, HEAL_LIMIT);
        loop {
            match inject::end(world, experiment).await {
                Err(_) if world.elapsed() < limit => pass(world, EVERY).await,
                ended => return ended,
            }
        }
    }

    /// Waits until everything serves again and checks the steady state; the probes end here.
    pub(super) async fn settle_again(&mut self, broken_ms: i64) -> Result<End> {
        let healed_ms = self.now_ms();
        let interrupted = self.is_stopped();
        let mut unsteady = std::mem::take(&mut self.undone);
        if !interrupted {
            self.say("healed: waiting until everything serves again");
            let limit_ms = healed_ms + self.run.day.settle.as_millis() as i64;
            while let Some(why) =
                serving::missing(&*self.run.world, self.site).await?.or_else(|| self.probes.failing(self.now_ms()))
            {
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
        self.probes.stop().await;
        unsteady.extend(self.probes.unsteady(&self.run.day.steady, settled_ms, end_ms));
        let interrupted = interrupted || self.is_stopped();
        Ok(End { broken_ms, healed_ms, settled_ms, end_ms, interrupted, unsteady })
    }

    /// The report, and what it was made of: every request.
    pub(super) async fn report(self, began: String, end: End) -> (Report, Vec<Fact>) {
        self.say(if end.interrupted { "writing the report of what there is" } else { "writing the report" });
        let probes = self.probes.into_facts();
        let report = build(Facts {
            day: &self.run.day,
            stack: &self.run.stack,
            seed: self.run.seed,
            speed: self.run.world.speed(),
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
        });
        (report, probes)
    }
}

fn last(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
