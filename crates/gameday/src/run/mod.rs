//! A game day from its deployment to its report.
//!
//! Invariant: whatever happens once something was broken (an error, an interruption, a stop), every experiment that was
//! begun is ended before this returns.

mod play;
mod probes;
mod serving;

use std::sync::Arc;

use standfast_core::{Result, Rng};

use crate::World;
use crate::check::{Ready, check};
use crate::probe::Stop;
use crate::report::{Fact, Report, words};
use crate::site::{Site, deploy};
use crate::spec::GameDay;
use crate::watch::{EVERY, Watch};
use crate::world::pass;
use play::Play;
use probes::Probes;

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
    /// With every request of its probes.
    Reported(Box<Report>, Vec<Fact>),
    /// It was not run, for these reasons; nothing was broken.
    Refused(Vec<String>),
}

impl Run {
    /// Deploys, checks the steady state, breaks, watches, heals, checks again.
    pub async fn run(&self) -> Result<Ended> {
        let mut site = match self.prepare().await? {
            Ok(site) => site,
            Err(why) => return Ok(Ended::Refused(vec![why])),
        };
        if let Err(why) = self.settled(&site, true).await? {
            return Ok(Ended::Refused(vec![why]));
        }
        site.read_addresses(&*self.world).await?;
        let token = format!("{}-{}", self.stack, self.world.now().0);
        let ready = match check(&*self.world, &self.day, &site, self.seed, &token).await? {
            Ok(ready) => ready,
            Err(why) => return Ok(Ended::Refused(why)),
        };
        if let Err(why) = self.answered(&ready).await {
            return Ok(Ended::Refused(vec![why]));
        }
        let start = self.world.elapsed();
        let longest = self.day.steady.time * 2 + self.day.watch + self.day.settle;
        let mut play = Play {
            run: self,
            site: &site,
            ready: &ready,
            start,
            token,
            probes: Probes::start(&self.world, &ready, &self.stack, longest, start),
            watch: Watch::default(),
            faults: Vec::new(),
            rng: Rng::seeded(self.seed),
            silent: None,
            undone: Vec::new(),
        };
        let began = self.world.now();
        let played = play.play().await;
        // Whatever happened, nothing stays broken.
        let healed = play.heal().await;
        let end = match played {
            Err(error) => {
                play.probes.stop().await;
                return Err(error);
            }
            Ok(Err(why)) => {
                play.probes.stop().await;
                return Ok(Ended::Refused(vec![why]));
            }
            Ok(Ok(broken_ms)) => {
                healed?;
                play.settle_again(broken_ms).await?
            }
        };
        play.watch.read_back(&*self.world, &site, began).await?;
        let (report, requests) = play.report(began.iso8601(), end).await;
        Ok(Ended::Reported(Box::new(report), requests))
    }

    /// Deploys, and only says whether it could be run.
    pub async fn check(&self) -> Result<Result<(), Vec<String>>> {
        let mut site = match self.prepare().await? {
            Ok(site) => site,
            Err(why) => return Ok(Err(vec![why])),
        };
        if let Err(why) = self.settled(&site, true).await? {
            return Ok(Err(vec![why]));
        }
        site.read_addresses(&*self.world).await?;
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
            let missing = match serving::missing(world, site).await? {
                None => serving::alarmed(world, site, &self.day.stop_alarms).await?,
                missing => missing,
            };
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
}
