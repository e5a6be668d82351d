//! What is kept of the values of an interval: a statistic set, and how the values were spread.
//!
//! Values are kept as they are while they are few, then in steps of a few percent, so that a bucket's size is bounded.
//! Invariant: merging buckets gives the same count, sum, minimum and maximum as putting all values into one.

/// How many different values a bucket keeps exactly.
const EXACT_MAX: usize = 64;
/// How many steps a bucket keeps; beyond, the lowest fall together.
const STEPS_MAX: usize = 400;
/// How much larger each step is than the one before: a percentile is off by half of it at most.
const STEP: f64 = 1.03;
/// The step of zero, and of what is too small to tell from it.
const ZERO: i16 = i16::MIN;

/// The values of an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    pub count: f64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub(super) spread: Spread,
}

/// How the values of a bucket are spread, with how often each is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spread {
    /// Not known (from a statistic set), or with negative values: there are no percentiles.
    Unknown,
    /// All are the same.
    Same,
    /// Sorted.
    Exact(Vec<(f64, f64)>),
    /// Logarithms, sorted.
    Steps(Vec<(i16, f32)>),
}

impl Bucket {
    /// `count` times the same value.
    pub fn values(value: f64, count: f64) -> Self {
        let spread = if value < 0.0 { Spread::Unknown } else { Spread::Same };
        Self { count, sum: value * count, min: value, max: value, spread }
    }

    /// A statistic set.
    pub fn set(count: f64, sum: f64, min: f64, max: f64) -> Self {
        let spread = if min == max && min >= 0.0 { Spread::Same } else { Spread::Unknown };
        Self { count, sum, min, max, spread }
    }

    pub fn average(&self) -> f64 {
        self.sum / self.count
    }

    /// The same without how its values are spread, which is cheap to add to.
    pub(super) fn sums(&self) -> Self {
        Self { spread: Spread::Unknown, ..*self }
    }

    /// Takes in another bucket's values.
    pub fn merge(&mut self, other: &Bucket) {
        self.spread.merge((self.min, self.count), other);
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The value that `percent` of the values do not exceed; `None` where the spread is not known.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        if percent <= 0.0 && self.spread != Spread::Unknown {
            return Some(self.min);
        }
        // Counts are sums of floats: what is over a rank by rounding alone must not push it to the next value.
        let rank = self.count * percent / 100.0 * (1.0 - 1e-9);
        let value = match &self.spread {
            Spread::Unknown => return None,
            Spread::Same => self.min,
            Spread::Exact(values) => at_rank(values.iter().copied(), rank)?,
            Spread::Steps(steps) => at_rank(steps.iter().map(|(step, n)| (value_of(*step), f64::from(*n))), rank)?,
        };
        Some(value.clamp(self.min, self.max))
    }

    /// The values with how often each is there, the lowest first; beyond `EXACT_MAX` different ones near what they were. `None`
    /// where the spread is not known.
    pub fn spread(&self) -> Option<Vec<(f64, f64)>> {
        match &self.spread {
            Spread::Unknown => None,
            Spread::Same => Some(vec![(self.min, self.count)]),
            Spread::Exact(values) => Some(values.clone()),
            Spread::Steps(steps) => {
                let value = |step: &i16| value_of(*step).clamp(self.min, self.max);
                Some(steps.iter().map(|(step, count)| (value(step), f64::from(*count))).collect())
            }
        }
    }

    /// What it takes in memory.
    pub fn size_bytes(&self) -> usize {
        let heap = match &self.spread {
            Spread::Unknown | Spread::Same => 0,
            Spread::Exact(values) => values.capacity() * size_of::<(f64, f64)>(),
            Spread::Steps(steps) => steps.capacity() * size_of::<(i16, f32)>(),
        };
        size_of::<Self>() + heap
    }
}

/// The first value at which the counts add up to the rank, else the last.
fn at_rank(values: impl Iterator<Item = (f64, f64)>, rank: f64) -> Option<f64> {
    let (mut seen, mut last) = (0.0, None);
    for (value, count) in values {
        seen += count;
        last = Some(value);
        if seen >= rank {
            break;
        }
    }
    last
}

impl Spread {
    /// `own` is the value, if all are the same, and the count of the bucket that this is the spread of.
    fn merge(&mut self, own: (f64, f64), other: &Bucket) {
        match (&mut *self, &other.spread) {
            (Spread::Unknown, _) => {}
            (_, Spread::Unknown) => *self = Spread::Unknown,
            (Spread::Same, Spread::Same) if own.0 == other.min => {}
            (Spread::Same, _) => {
                *self = Spread::Exact(vec![own]);
                self.merge(own, other);
            }
            (Spread::Exact(values), Spread::Same) => {
                add(values, other.min, other.count, |a, b| a.total_cmp(&b), |a, b| a + b);
            }
            (Spread::Exact(values), Spread::Exact(others)) => {
                for (value, count) in others {
                    add(values, *value, *count, |a, b| a.total_cmp(&b), |a, b| a + b);
                }
            }
            (Spread::Exact(values), Spread::Steps(_)) => {
                *self = Spread::Steps(to_steps(values));
                self.merge(own, other);
            }
            (Spread::Steps(steps), Spread::Same) => add_step(steps, step_of(other.min), other.count as f32),
            (Spread::Steps(steps), Spread::Exact(others)) => {
                others.iter().for_each(|(value, count)| add_step(steps, step_of(*value), *count as f32));
            }
            (Spread::Steps(steps), Spread::Steps(others)) => {
                others.iter().for_each(|(step, count)| add_step(steps, *step, *count));
            }
        }
        self.bound();
    }

    fn bound(&mut self) {
        if let Spread::Exact(values) = self
            && values.len() > EXACT_MAX
        {
            *self = Spread::Steps(to_steps(values));
        }
        if let Spread::Steps(steps) = self
            && steps.len() > STEPS_MAX
        {
            let lowest: f32 = steps.drain(..steps.len() - STEPS_MAX).map(|(_, count)| count).sum();
            steps[0].1 += lowest;
        }
    }
}

fn to_steps(values: &[(f64, f64)]) -> Vec<(i16, f32)> {
    let mut steps = Vec::new();
    values.iter().for_each(|(value, count)| add_step(&mut steps, step_of(*value), *count as f32));
    steps
}

fn add_step(steps: &mut Vec<(i16, f32)>, step: i16, count: f32) {
    add(steps, step, count, |a, b| a.cmp(&b), |a, b| a + b);
}

/// Adds to a sorted list of counts.
fn add<K: Copy, N: Copy>(
    list: &mut Vec<(K, N)>,
    key: K,
    count: N,
    order: impl Fn(K, K) -> std::cmp::Ordering,
    sum: impl Fn(N, N) -> N,
) {
    match list.binary_search_by(|(other, _)| order(*other, key)) {
        Ok(at) => list[at].1 = sum(list[at].1, count),
        Err(at) => list.insert(at, (key, count)),
    }
}

fn step_of(value: f64) -> i16 {
    if value <= 0.0 {
        return ZERO;
    }
    // Values are below 2^360, whose step is 8,442.
    (value.ln() / STEP.ln()).round().clamp(f64::from(ZERO + 1), f64::from(i16::MAX)) as i16
}

fn value_of(step: i16) -> f64 {
    if step == ZERO { 0.0 } else { STEP.powi(i32::from(step)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(values: impl IntoIterator<Item = f64>) -> Bucket {
        let mut values = values.into_iter();
        let mut bucket = Bucket::values(values.next().expect("at least one"), 1.0);
        values.for_each(|value| bucket.merge(&Bucket::values(value, 1.0)));
        bucket
    }

    #[test]
    fn statistics_of_values() {
        let bucket = bucket([3.0, 1.0, 2.0, 2.0]);
        assert_eq!((bucket.count, bucket.sum, bucket.min, bucket.max, bucket.average()), (4.0, 8.0, 1.0, 3.0, 2.0));
    }

    #[test]
    fn percentiles_of_few_values_are_values() {
        let ten = bucket((1..=10).map(f64::from));
        for (percent, value) in [(0.0, 1.0), (10.0, 1.0), (50.0, 5.0), (90.0, 9.0), (95.0, 10.0), (100.0, 10.0)] {
            assert_eq!(ten.percentile(percent), Some(value), "p{percent}");
        }
        let mut weighted = Bucket::values(1.0, 98.0);
        weighted.merge(&Bucket::values(7.0, 2.0));
        assert_eq!((weighted.percentile(98.0), weighted.percentile(98.1)), (Some(1.0), Some(7.0)));
        assert_eq!(Bucket::values(4.0, 9.0).percentile(99.0), Some(4.0));
    }

    #[test]
    fn percentiles_of_many_values_are_near() {
        let many = bucket((0..=10_000).map(|i| f64::from(i) / 10.0));
        for percent in [1.0, 50.0, 90.0, 99.0, 99.9] {
            let near = many.percentile(percent).expect("known");
            let exact = percent * 10.0;
            assert!((near - exact).abs() <= exact * 0.016 + 0.1, "p{percent}: {near} for {exact}");
        }
        assert_eq!((many.percentile(0.0), many.percentile(100.0)), (Some(0.0), Some(1000.0)));
        assert!(matches!(&many.spread, Spread::Steps(steps) if steps.len() <= STEPS_MAX));
    }

    #[test]
    fn the_order_of_merging_does_not_matter() {
        let parts: Vec<Bucket> = (0..40).map(|i| bucket((0..=i).map(|v| f64::from(v * (i + 1))))).collect();
        let merged = |order: Vec<usize>| {
            let mut all = parts[order[0]].clone();
            order[1..].iter().for_each(|i| all.merge(&parts[*i]));
            all
        };
        let (there, back) = (merged((0..40).collect()), merged((0..40).rev().collect()));
        assert_eq!((there.count, there.sum, there.min, there.max), (back.count, back.sum, back.min, back.max));
        for percent in [10.0, 50.0, 99.0] {
            assert_eq!(there.percentile(percent), back.percentile(percent));
        }
    }

    #[test]
    fn without_the_values_there_are_no_percentiles() {
        assert_eq!(Bucket::set(2.0, 3.0, 1.0, 2.0).percentile(50.0), None);
        assert_eq!(Bucket::set(2.0, 2.0, 1.0, 1.0).percentile(50.0), Some(1.0));
        assert_eq!(Bucket::values(-1.0, 1.0).percentile(50.0), None);
        let mut mixed = Bucket::values(1.0, 1.0);
        mixed.merge(&Bucket::set(2.0, 3.0, 1.0, 2.0));
        assert_eq!((mixed.count, mixed.percentile(50.0)), (3.0, None));
    }
}
