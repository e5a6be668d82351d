//! How long targets took: a histogram that requests reach without a lock.
//!
//! Invariant: what is taken has no more different values than a datum of CloudWatch may hold, their sum, count, least and
//! most are exact, and a value between these stands for times within an eighth of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use standfast_core::metric::{Stats, VALUES_MAX};

/// Doublings of the time that are told apart, the first of which begins at 2 to this power of microseconds.
const OCTAVES: usize = 18;
const FIRST_OCTAVE: u32 = 5;
/// Each is told apart in so many parts.
const PARTS: usize = 8;
const PART_BITS: u32 = PARTS.trailing_zeros();
/// With what is below and above.
const BINS: usize = OCTAVES * PARTS + 2;
/// The least and the most of all are values of their own.
const _: () = assert!(BINS + 2 <= VALUES_MAX);

#[derive(Debug)]
struct Bin {
    count: AtomicU64,
    sum_us: AtomicU64,
}

#[derive(Debug)]
pub struct Times {
    bins: [Bin; BINS],
    min_us: AtomicU64,
    max_us: AtomicU64,
}

/// What was taken, to be added up.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Count and sum in microseconds, by bin; empty when there is nothing.
    bins: Vec<(u64, u64)>,
    min_us: u64,
    max_us: u64,
}

impl Default for Times {
    fn default() -> Self {
        let bins = std::array::from_fn(|_| Bin { count: AtomicU64::new(0), sum_us: AtomicU64::new(0) });
        Self { bins, min_us: AtomicU64::new(u64::MAX), max_us: AtomicU64::new(0) }
    }
}

impl Times {
    pub fn add(&self, us: u64) {
        let bin = &self.bins[bin(us)];
        bin.count.fetch_add(1, Relaxed);
        bin.sum_us.fetch_add(us, Relaxed);
        self.min_us.fetch_min(us, Relaxed);
        self.max_us.fetch_max(us, Relaxed);
    }

    /// Count and sum in microseconds.
    pub fn total(&self) -> (u64, u64) {
        let each = self.bins.iter().map(|bin| (bin.count.load(Relaxed), bin.sum_us.load(Relaxed)));
        each.fold((0, 0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1))
    }

    pub fn take(&self) -> Taken {
        let (min_us, max_us) = (self.min_us.swap(u64::MAX, Relaxed), self.max_us.swap(0, Relaxed));
        let taken = |bin: &Bin| (bin.count.swap(0, Relaxed), bin.sum_us.swap(0, Relaxed));
        let bins: Vec<_> = self.bins.iter().map(taken).collect();
        if bins.iter().all(|(count, _)| *count == 0) {
            return Taken::default();
        }
        Taken { bins, min_us: min_us.min(max_us), max_us }
    }
}

impl Taken {
    pub fn add(&mut self, other: &Taken) {
        if self.bins.is_empty() {
            self.clone_from(other);
        } else if !other.bins.is_empty() {
            for (sum, bin) in self.bins.iter_mut().zip(&other.bins) {
                *sum = (sum.0 + bin.0, sum.1 + bin.1);
            }
            (self.min_us, self.max_us) = (self.min_us.min(other.min_us), self.max_us.max(other.max_us));
        }
    }

    /// Count and sum in microseconds.
    pub fn total(&self) -> (u64, u64) {
        self.bins.iter().fold((0, 0), |sum, bin| (sum.0 + bin.0, sum.1 + bin.1))
    }

    /// In seconds.
    pub fn stats(&self) -> Stats {
        let (count, sum_us) = self.total();
        Stats { count: count as f64, sum: seconds(sum_us), min: seconds(self.min_us), max: seconds(self.max_us) }
    }

    /// Values in seconds, and how many times each: the mean of each bin, the least and the most by themselves.
    pub fn values(&self) -> Vec<(f64, u64)> {
        let mut bins = self.bins.clone();
        let mut ends = Vec::new();
        for us in [self.min_us, self.max_us] {
            if let Some(bin) = bins.get_mut(bin(us)).filter(|bin| bin.0 > 0) {
                *bin = (bin.0 - 1, bin.1.saturating_sub(us));
                ends.push((seconds(us), 1));
            }
        }
        let means = bins.iter().filter(|(count, _)| *count > 0);
        ends.into_iter().chain(means.map(|(count, sum_us)| (seconds(*sum_us) / *count as f64, *count))).collect()
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Where a time is counted.
fn bin(us: u64) -> usize {
    let Some(octave) = us.checked_ilog2().and_then(|log| log.checked_sub(FIRST_OCTAVE)) else { return 0 };
    let part = (us >> (octave + FIRST_OCTAVE - PART_BITS)) as usize % PARTS;
    (1 + octave as usize * PARTS + part).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_follow_each_other_and_are_narrow() {
        let bins: Vec<usize> = (0..100_000).chain((100_000..20_000_000).step_by(1000)).map(bin).collect();
        assert!(bins.is_sorted() && bins[0] == 0 && *bins.last().expect("many") == BINS - 1);
        assert!(bins.windows(2).all(|two| two[1] - two[0] <= 1), "none is left out");
        for us in [32, 40, 1000, 1_000_000, 8_000_000] {
            assert_ne!(bin(us), bin(us + us / 8), "{us}");
        }
    }

    #[test]
    fn values_are_few_and_add_up() {
        let times = Times::default();
        let all: Vec<u64> = (1..=100_000).map(|n| n * n / 500).collect();
        all.iter().for_each(|us| times.add(*us));
        let taken = times.take();
        let values = taken.values();
        assert!(values.len() <= VALUES_MAX, "{}", values.len());
        assert_eq!(values.iter().map(|(_, count)| count).sum::<u64>(), 100_000);
        let (sum, exact) = (values.iter().map(|(v, n)| v * *n as f64).sum::<f64>(), taken.stats().sum);
        assert!((sum / exact - 1.0).abs() < 1e-9, "{sum} {exact}");
        assert_eq!((taken.stats().min, taken.stats().max), (seconds(all[0]), seconds(all[99_999])));
        let least = values.iter().map(|(value, _)| *value).fold(f64::MAX, f64::min);
        assert_eq!(least, taken.stats().min);
        assert_eq!(times.take().values(), [], "what was taken is gone");
        let mut twice = taken.clone();
        twice.add(&taken);
        assert_eq!(twice.total().0, 200_000);
    }

    #[test]
    fn a_single_time_is_a_single_value() {
        let times = Times::default();
        times.add(1500);
        assert_eq!(times.take().values(), [(0.0015, 1)]);
    }
}
