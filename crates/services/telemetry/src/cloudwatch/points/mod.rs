//! The store of metric points: all metrics of all accounts and regions, in parts with a lock each.
//!
//! Bulk data (see `standfast_store::bulk`): a point changes its bucket in memory and is appended to the log, no
//! transaction anywhere. Nothing runs in the background: what is too old is moved up or dropped by whoever comes by.
//!
//! Invariant: memory is bounded. A part that comes to its share of the limits keeps points for a shorter time.

mod bucket;
mod floats;
mod key;
mod record;
mod series;
mod tier;
mod units;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_store::bulk::{self, Log};

pub use self::bucket::Bucket;
pub use self::key::{Key, MetricName};
use self::record::Record;
pub use self::series::Detail;
use self::series::Series;
pub use self::units::Unit;

/// How many parts there are.
const PARTS: u16 = 16;
/// How much memory the points of a part may take.
const PART_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How many metrics a part may know.
const PART_METRICS_MAX: usize = 20_000;
/// How many metrics there may be: a part that has its share takes no new ones.
pub const METRICS_MAX: usize = PART_METRICS_MAX * PARTS as usize;
/// How long a full part refuses without looking for room again, in seconds.
const FULL_FOR: i64 = 10;
/// What a metric takes beside its points, roughly.
const METRIC_BYTES: usize = 512;
/// A part that is full keeps points for a half, a quarter, ... down to this fraction of the time.
const SHRINK_MAX: i64 = 1 << 20;
/// How often a part is swept, in seconds.
const SWEEP_EVERY: i64 = 3600;

/// The open store of points.
pub type Points = bulk::Bulk<Index>;

/// See the module.
pub struct Index {
    parts: Vec<Mutex<Part>>,
}

/// A point, or several of one time.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: Timestamp,
    pub unit: Unit,
    /// Kept by the second, not by the minute.
    pub fine: bool,
    pub values: Bucket,
}

/// What to read. Times are seconds; buckets of `period` begin at `start`.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    pub start: i64,
    pub end: i64,
    pub period: i64,
}

#[derive(Default)]
struct Part {
    slots: Vec<Option<Metric>>,
    by_key: HashMap<Arc<[u8]>, u32>,
    /// Known after the first sweep.
    free: Vec<u32>,
    size_bytes: usize,
    /// When the next sweep is due.
    sweep_at: i64,
    /// Until when it is taken to be full, without looking again.
    full_until: i64,
}

struct Metric {
    key: Arc<[u8]>,
    units: Vec<(Unit, Series)>,
}

/// What a flood is answered with; what is known already goes on.
fn throttled(what: impl std::fmt::Display) -> Error {
    Error::client("Throttling", format!("Rate exceeded: this cloud holds no more {what}."))
}

impl Default for Index {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect() }
    }
}

impl Index {
    /// Adds a sample to a metric, which comes into being with it. It is durable when `log` has synced.
    pub fn put(&self, log: &Log, key: &Key, sample: &Sample, now: Timestamp) -> Result<()> {
        let number = key.part(PARTS);
        let mut part = self.part(number);
        part.make_room(now.0.div_euclid(1000))?;
        let slot = match part.by_key.get(key.bytes()) {
            Some(slot) => *slot,
            None => {
                part.admit(now.0.div_euclid(1000))?;
                let slot = part.free.pop().unwrap_or(part.slots.len() as u32);
                part.define(slot, key.bytes());
                log.append(number, |out| record::write_define(out, slot, key.bytes()));
                slot
            }
        };
        let at = sample.at.0.div_euclid(1000);
        part.add(slot, sample.unit, sample.fine, at, &sample.values).expect("the slot was just looked up");
        log.append(number, |out| record::write_values(out, slot, sample.unit, sample.fine, at, &sample.values));
        Ok(())
    }

    /// The points of a metric, by unit where it has several. Periods without points are left out.
    pub fn read(&self, key: &Key, range: Range, now: Timestamp) -> Vec<(Unit, BTreeMap<i64, Bucket>)> {
        self.read_in(key, range, Detail::Spread, now)
    }

    fn read_in(&self, key: &Key, range: Range, detail: Detail, now: Timestamp) -> Vec<(Unit, BTreeMap<i64, Bucket>)> {
        let mut part = self.part(key.part(PARTS));
        let Some(slot) = part.by_key.get(key.bytes()).copied() else { return Vec::new() };
        part.age(slot, now.0.div_euclid(1000), 1);
        let mut found = Vec::new();
        for (unit, series) in part.slots[slot as usize].iter().flat_map(|metric| &metric.units) {
            let mut buckets = BTreeMap::new();
            series.read(range.start, range.end, range.period, detail, &mut buckets);
            if !buckets.is_empty() {
                found.push((*unit, buckets));
            }
        }
        found.sort_by_key(|(unit, _)| *unit);
        found
    }

    /// The same with all units taken together, or of one.
    pub fn read_merged(
        &self,
        key: &Key,
        range: Range,
        unit: Option<Unit>,
        detail: Detail,
        now: Timestamp,
    ) -> BTreeMap<i64, Bucket> {
        let mut merged = BTreeMap::<i64, Bucket>::new();
        let found = self
            .read_in(key, range, detail, now)
            .into_iter()
            .filter(|(found, _)| unit.is_none_or(|unit| unit == *found));
        for (_, buckets) in found {
            // Nearly every metric has one unit.
            if merged.is_empty() {
                merged = buckets;
                continue;
            }
            for (at, bucket) in buckets {
                merged.entry(at).and_modify(|sum| sum.merge(&bucket)).or_insert(bucket);
            }
        }
        merged
    }

    /// The metrics of a scope that had points since a time and that `wanted` takes, in no order.
    pub fn list(&self, scope: &Scope, since: Timestamp, wanted: impl Fn(&MetricName) -> bool) -> Vec<MetricName> {
        let prefix = Key::prefix(scope);
        let mut found = Vec::new();
        for number in 0..PARTS {
            let part = self.part(number);
            for metric in part.slots.iter().flatten().filter(|metric| metric.key.starts_with(&prefix)) {
                let newest = metric.units.iter().filter_map(|(_, series)| series.newest()).max();
                if newest.is_none_or(|newest| newest < since.0.div_euclid(1000)) {
                    continue;
                }
                let name = MetricName::of(&metric.key[prefix.len()..]);
                if wanted(&name) {
                    found.push(name);
                }
            }
        }
        found
    }

    /// Every metric with its newest bucket, where that is not older than a time, in no order.
    pub fn newest(&self, since: Timestamp) -> Vec<(Scope, MetricName, Bucket)> {
        let since = since.0.div_euclid(1000);
        let mut found = Vec::new();
        for number in 0..PARTS {
            let part = self.part(number);
            for metric in part.slots.iter().flatten() {
                let series = metric.units.iter().map(|(_, series)| series);
                let newest = series.filter_map(|series| Some((series.newest()?, series)));
                let Some((at, series)) = newest.max_by_key(|(at, _)| *at).filter(|(at, _)| *at >= since) else {
                    continue;
                };
                let mut buckets = BTreeMap::new();
                let minute = at - at.rem_euclid(60);
                series.read(minute, minute + 60, 60, Detail::Sums, &mut buckets);
                let Some((scope, rest)) = Key::scope_of(&metric.key) else { continue };
                found.extend(buckets.into_values().next().map(|bucket| (scope, MetricName::of(rest), bucket)));
            }
        }
        found
    }

    fn part(&self, number: u16) -> MutexGuard<'_, Part> {
        // A panic under the lock leaves a bucket half merged at worst.
        self.parts[usize::from(number)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl bulk::Collection for Index {
    const NAME: &'static str = "cloudwatch.series";
    const PARTS: u16 = PARTS;

    fn restore(&self, part: u16, dump: &[u8]) -> Option<()> {
        let mut part = self.part(part);
        record::read_metrics(dump, |slot, key, units| {
            part.define(slot, key);
            part.size_bytes += units.iter().map(|(_, series)| series.size_bytes).sum::<usize>();
            if let Some(metric) = part.slots[slot as usize].as_mut() {
                metric.units = units;
            }
        })
    }

    fn replay(&self, part: u16, record: &[u8]) -> Option<()> {
        let mut part = self.part(part);
        match record::read(record)? {
            Record::Define { slot, key } => {
                part.define(slot, key);
                Some(())
            }
            Record::Values { slot, unit, fine, at, bucket } => part.add(slot, unit, fine, i64::from(at), &bucket),
        }
    }

    fn dump(&self, part: u16, seal: &mut dyn FnMut()) -> Vec<u8> {
        let part = self.part(part);
        let mut out = Vec::new();
        for (slot, metric) in part.slots.iter().enumerate() {
            if let Some(metric) = metric {
                record::write_metric(&mut out, slot as u32, &metric.key, &metric.units);
            }
        }
        seal();
        out
    }
}

impl Part {
    /// Lets a slot stand for a metric. Whatever the slot or the metric stood for before was dropped when this was
    /// written; a log that is replayed does not say so otherwise.
    fn define(&mut self, slot: u32, key: &[u8]) {
        if let Some(old) = self.by_key.get(key).copied() {
            self.forget(old);
        }
        if (slot as usize) < self.slots.len() {
            self.forget(slot);
        } else {
            self.slots.resize_with(slot as usize + 1, || None);
        }
        let key: Arc<[u8]> = key.into();
        self.by_key.insert(key.clone(), slot);
        self.slots[slot as usize] = Some(Metric { key, units: Vec::new() });
        self.size_bytes += METRIC_BYTES;
    }

    fn forget(&mut self, slot: u32) {
        if let Some(metric) = self.slots[slot as usize].take() {
            self.by_key.remove(&metric.key);
            let points: usize = metric.units.iter().map(|(_, series)| series.size_bytes).sum();
            self.size_bytes -= points + METRIC_BYTES;
        }
    }

    fn find_free(&mut self) {
        let empty = self.slots.iter().enumerate().filter(|(_, metric)| metric.is_none());
        self.free = empty.map(|(slot, _)| slot as u32).collect();
    }

    /// `None` when the slot stands for nothing.
    fn add(&mut self, slot: u32, unit: Unit, fine: bool, at: i64, values: &Bucket) -> Option<()> {
        let metric = self.slots.get_mut(slot as usize)?.as_mut()?;
        let place = metric.units.iter().position(|(known, _)| *known == unit).unwrap_or_else(|| {
            metric.units.push((unit, Series::default()));
            metric.units.len() - 1
        });
        let series = &mut metric.units[place].1;
        let before = series.size_bytes;
        series.put(at, fine, values);
        self.size_bytes = self.size_bytes + series.size_bytes - before;
        Some(())
    }

    fn age(&mut self, slot: u32, now: i64, shrink: i64) {
        let Some(metric) = &mut self.slots[slot as usize] else { return };
        for (_, series) in &mut metric.units {
            let before = series.size_bytes;
            series.age(now, shrink);
            self.size_bytes = self.size_bytes + series.size_bytes - before;
        }
    }

    fn is_full(&self) -> bool {
        self.size_bytes >= PART_BYTES_MAX
    }

    /// Sweeps when it is time to or when the part is full.
    fn make_room(&mut self, now: i64) -> Result<()> {
        if now < self.sweep_at && !self.is_full() {
            return Ok(());
        }
        if self.is_full() && now < self.full_until {
            return Err(throttled("points"));
        }
        self.sweep(now, 1);
        self.sweep_at = now + SWEEP_EVERY;
        // AWS-DIFF: a cloud that is full of points keeps them for a shorter time than CloudWatch would.
        let mut shrink = 2;
        while self.is_full() && shrink <= SHRINK_MAX {
            self.sweep(now, shrink);
            shrink *= 2;
        }
        if self.is_full() {
            self.full_until = now + FULL_FOR;
            return Err(throttled("points"));
        }
        Ok(())
    }

    /// Refuses one more metric where there are too many.
    fn admit(&mut self, now: i64) -> Result<()> {
        if self.by_key.len() >= PART_METRICS_MAX && now >= self.full_until {
            self.sweep(now, 1);
            self.full_until = now + FULL_FOR;
        }
        let fits = self.by_key.len() < PART_METRICS_MAX;
        fits.then_some(()).ok_or_else(|| throttled(format_args!("{METRICS_MAX} metrics")))
    }

    fn sweep(&mut self, now: i64, shrink: i64) {
        for slot in 0..self.slots.len() as u32 {
            self.age(slot, now, shrink);
            let gone = |metric: &Metric| metric.units.iter().all(|(_, series)| series.is_empty());
            if self.slots[slot as usize].as_ref().is_some_and(gone) {
                self.forget(slot);
            }
        }
        self.find_free();
    }
}

#[cfg(test)]
mod tests;
