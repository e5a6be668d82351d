//! Rules that fire on the clock: `rate(5 minutes)`, `cron(0 12 * * ? *)`.

use std::time::Duration;

use serde_json::json;
use standfast_core::cron::{Cron, TimeZone};
use standfast_core::{Result, Rng, Timestamp};
use standfast_kernel::events::Event;
use standfast_kernel::{Cx, Wake};

use super::model::{Rule, rule_arn};
use super::route;

pub enum Schedule {
    Rate(Duration),
    Cron(Box<Cron>),
}

impl Schedule {
    pub fn parse(text: &str) -> Result<Self, String> {
        let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(cron) = inside("cron") {
            return Cron::eventbridge(cron).map(|cron| Self::Cron(Box::new(cron)));
        }
        let rate = inside("rate").and_then(|rate| rate.split_once(' ')).ok_or("it is neither rate(..) nor cron(..)")?;
        let number = rate.0.parse::<u32>().ok().filter(|number| *number > 0).ok_or("a rate is 1 or more")?;
        let seconds = match (rate.1, number) {
            ("minute", 1) | ("minutes", 2..) => 60,
            ("hour", 1) | ("hours", 2..) => 3600,
            ("day", 1) | ("days", 2..) => 86_400,
            _ => return Err("its unit is minute, hour or day after 1, minutes, hours or days after more".into()),
        };
        Ok(Self::Rate(Duration::from_secs(u64::from(number) * seconds)))
    }

    /// The next time after it fired, or was put.
    pub fn next(&self, since: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Rate(every) => Some(since + *every),
            Self::Cron(cron) => cron.next_after(since, &TimeZone::UTC),
        }
    }
}

/// Fires what is due. The controller on rules. What was missed while nothing ran fires once.
pub async fn run(cx: Cx) -> Result<Wake> {
    let now = cx.now();
    let mut wake = Wake::OnChange;
    for (scope, key, rule) in cx.view(|view| view.all::<Rule>()) {
        let schedule = rule.schedule.as_ref().filter(|_| rule.enabled).and_then(|text| Schedule::parse(text).ok());
        let Some(next) = schedule.as_ref().and_then(|schedule| schedule.next(rule.since)) else { continue };
        if next > now {
            wake = wake.or(Wake::At(next));
            continue;
        }
        let seed = cx.rng().u64();
        cx.txn(|tx| {
            let Some(there) = tx.get::<Rule>(&scope, &key).filter(|there| there.since == rule.since) else {
                return Ok(());
            };
            let event = Event {
                source: "aws.events".into(),
                detail_type: "Scheduled Event".into(),
                resources: vec![rule_arn(&scope, &there)],
                detail: json!({}),
                at: next,
            };
            tx.put(&scope, &key, Rule { since: next.max(now - Duration::from_secs(60)), ..(*there).clone() });
            route::scheduled(tx, &scope, &Rng::seeded(seed), &there, &event, now);
            Ok(())
        })
        .await?;
    }
    Ok(wake)
}
