//! The buckets of one tier in the order of time: the newest as they are, all others sealed into blocks of few bytes.
//!
//! Invariant: every block is older than those after it and than what is open. A late point opens its block and seals it again.

use std::collections::VecDeque;

use super::bucket::{Bucket, Spread};
use super::floats;

/// How many buckets a block has when it is sealed; it is divided when late ones have doubled it. As many stay open.
const BLOCK: usize = 60;

/// See the module.
#[derive(Debug, Default)]
pub struct Buckets {
    sealed: VecDeque<Block>,
    open: VecDeque<(u32, Bucket)>,
    size_bytes: usize,
}

#[derive(Debug)]
struct Block {
    first: u32,
    last: u32,
    bytes: Box<[u8]>,
}

impl Block {
    fn seal(buckets: &[(u32, Bucket)]) -> Self {
        let (first, last) = (buckets[0].0, buckets[buckets.len() - 1].0);
        Self { first, last, bytes: encode(buckets).into_boxed_slice() }
    }

    fn open(&self) -> Vec<(u32, Bucket)> {
        decode(&mut &*self.bytes).expect("it was sealed or checked here")
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

fn bytes_of(buckets: &VecDeque<(u32, Bucket)>) -> usize {
    buckets.iter().map(|(_, bucket)| bucket.size_bytes()).sum()
}

impl Buckets {
    /// What it takes in memory.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The same, by looking at everything.
    #[cfg(test)]
    pub fn measured_bytes(&self) -> usize {
        self.sealed.iter().map(Block::size_bytes).sum::<usize>() + bytes_of(&self.open)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.sealed.iter().map(|block| block.open().len()).sum::<usize>() + self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_empty()
    }

    /// The start of the newest bucket.
    pub fn newest(&self) -> Option<u32> {
        self.open.back().map(|(start, _)| *start).or_else(|| self.sealed.back().map(|block| block.last))
    }

    pub fn add(&mut self, start: u32, values: &Bucket) {
        if self.sealed.back().is_some_and(|block| start <= block.last) {
            self.add_late(start, values);
            return;
        }
        // Most points are of now.
        let found = match self.open.back() {
            Some((last, _)) if *last == start => Ok(self.open.len() - 1),
            Some((last, _)) if *last > start => self.open.binary_search_by_key(&start, |(start, _)| *start),
            _ => Err(self.open.len()),
        };
        match found {
            Ok(found) => {
                let bucket = &mut self.open[found].1;
                let before = bucket.size_bytes();
                bucket.merge(values);
                self.size_bytes = self.size_bytes + bucket.size_bytes() - before;
            }
            Err(place) => {
                // A copy has no room to spare.
                let values = values.clone();
                self.size_bytes += values.size_bytes();
                self.open.insert(place, (start, values));
                if self.open.len() >= 2 * BLOCK {
                    self.seal();
                }
            }
        }
    }

    fn seal(&mut self) {
        let oldest: Vec<_> = self.open.drain(..BLOCK).collect();
        // What came and went must not keep its room.
        self.open.shrink_to(2 * BLOCK);
        self.size_bytes -= oldest.iter().map(|(_, bucket)| bucket.size_bytes()).sum::<usize>();
        let block = Block::seal(&oldest);
        self.size_bytes += block.size_bytes();
        self.sealed.push_back(block);
    }

    /// Into the first block that does not end before it, which there is.
    fn add_late(&mut self, start: u32, values: &Bucket) {
        let place = self.sealed.partition_point(|block| block.last < start);
        let mut buckets = self.sealed[place].open();
        self.size_bytes -= self.sealed[place].size_bytes();
        match buckets.binary_search_by_key(&start, |(start, _)| *start) {
            Ok(found) => buckets[found].1.merge(values),
            Err(at) => buckets.insert(at, (start, values.clone())),
        }
        let half = if buckets.len() >= 2 * BLOCK { BLOCK } else { buckets.len() };
        let blocks = [&buckets[..half], &buckets[half..]];
        self.sealed.remove(place);
        for (i, part) in blocks.into_iter().filter(|part| !part.is_empty()).enumerate() {
            let block = Block::seal(part);
            self.size_bytes += block.size_bytes();
            self.sealed.insert(place + i, block);
        }
    }

    /// Takes out what begins before a time, block by block: a block goes when all of it does.
    pub fn take_older(&mut self, oldest: u32) -> Vec<(u32, Bucket)> {
        let mut taken = Vec::new();
        while self.sealed.front().is_some_and(|block| block.last < oldest) {
            let block = self.sealed.pop_front().expect("it has a front");
            self.size_bytes -= block.size_bytes();
            taken.extend(block.open());
        }
        if self.sealed.is_empty() {
            while self.open.front().is_some_and(|(start, _)| *start < oldest) {
                let (start, bucket) = self.open.pop_front().expect("it has a front");
                self.size_bytes -= bucket.size_bytes();
                taken.push((start, bucket));
            }
        }
        taken
    }

    /// Calls `each` with the buckets that begin in `from..to`, in order.
    pub fn each(&self, from: u32, to: u32, mut each: impl FnMut(u32, &Bucket)) {
        let first = self.sealed.partition_point(|block| block.last < from);
        for block in self.sealed.range(first..).take_while(|block| block.first < to) {
            let buckets = block.open();
            buckets.iter().filter(|(at, _)| (from..to).contains(at)).for_each(|(at, bucket)| each(*at, bucket));
        }
        let first = self.open.partition_point(|(at, _)| *at < from);
        self.open.range(first..).take_while(|(at, _)| *at < to).for_each(|(at, bucket)| each(*at, bucket));
    }

    /// For a dump: the blocks as they are, and what is open as one more.
    pub fn write(&self, out: &mut Vec<u8>) {
        floats::write_varint(out, self.sealed.len() as u64);
        for block in &self.sealed {
            floats::write_varint(out, block.bytes.len() as u64);
            out.extend_from_slice(&block.bytes);
        }
        let open: Vec<_> = self.open.iter().cloned().collect();
        out.extend(encode(&open));
    }

    /// `None` when the bytes are not what `write` gives.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut buckets = Self::default();
        for _ in 0..floats::read_varint(bytes)? {
            let len = usize::try_from(floats::read_varint(bytes)?).ok()?;
            let (block, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            let (inner, mut left) = (block, block);
            let opened = decode(&mut left).filter(|opened| left.is_empty() && !opened.is_empty())?;
            let block = Block { first: opened[0].0, last: opened[opened.len() - 1].0, bytes: inner.into() };
            buckets.size_bytes += block.size_bytes();
            buckets.sealed.push_back(block);
        }
        buckets.open = decode(bytes)?.into();
        buckets.size_bytes += bytes_of(&buckets.open);
        Some(buckets)
    }
}

/// How a bucket's values are kept in a block. With `SUMMED` the sum follows from them.
const SAME: u8 = 0;
const UNKNOWN: u8 = 1;
const EXACT: u8 = 2;
const STEPS: u8 = 3;
const SUMMED: u8 = 4;
/// How far a sum may be from what follows from the values to be left out: it is made of the same values in another order.
const SUM_ERROR: f64 = 1e-12;

/// Columns of many buckets.
#[derive(Default)]
struct Columns {
    starts: Vec<f64>,
    kinds: Vec<f64>,
    values: Vec<f64>,
    counts: Vec<f64>,
    /// How often each value of a bucket is there.
    weights: Vec<f64>,
    sums: Vec<f64>,
    lens: Vec<f64>,
}

fn encode(buckets: &[(u32, Bucket)]) -> Vec<u8> {
    let mut columns = Columns::default();
    for (start, bucket) in buckets {
        columns.starts.push(f64::from(*start));
        columns.counts.push(bucket.count);
        let kind = match &bucket.spread {
            Spread::Same => {
                columns.values.push(bucket.min);
                SAME
            }
            Spread::Unknown => {
                columns.values.extend([bucket.min, bucket.max]);
                UNKNOWN
            }
            Spread::Exact(values) => {
                columns.lens.push(values.len() as f64);
                columns.values.extend(values.iter().map(|(value, _)| *value));
                columns.weights.extend(values.iter().map(|(_, count)| *count));
                EXACT
            }
            Spread::Steps(steps) => {
                columns.lens.push(steps.len() as f64);
                columns.values.extend([bucket.min, bucket.max]);
                columns.values.extend(steps.iter().map(|(step, _)| f64::from(*step)));
                columns.weights.extend(steps.iter().map(|(_, count)| f64::from(*count)));
                STEPS
            }
        };
        let summed = sum_of(bucket).is_some_and(|sum| (sum - bucket.sum).abs() <= SUM_ERROR * sum.abs());
        if !summed {
            columns.sums.push(bucket.sum);
        }
        columns.kinds.push(f64::from(kind | if summed { SUMMED } else { 0 }));
    }
    let mut out = Vec::new();
    let Columns { starts, kinds, values, counts, weights, sums, lens } = columns;
    for column in [starts, kinds, lens, counts, weights, values, sums] {
        floats::write_varint(&mut out, column.len() as u64);
        if !column.is_empty() {
            floats::write(&mut out, &column);
        }
    }
    out
}

/// The sum as it follows from the values.
fn sum_of(bucket: &Bucket) -> Option<f64> {
    match &bucket.spread {
        Spread::Same => Some(bucket.min * bucket.count),
        Spread::Exact(values) => Some(values.iter().map(|(value, count)| value * count).sum()),
        Spread::Unknown | Spread::Steps(_) => None,
    }
}

/// Takes what `encode` gave from the front of `bytes`.
fn decode(bytes: &mut &[u8]) -> Option<Vec<(u32, Bucket)>> {
    let mut column = || {
        let len = usize::try_from(floats::read_varint(bytes)?).ok()?;
        if len == 0 { Some(Vec::new()) } else { floats::read(bytes, len) }
    };
    let (starts, kinds) = (column()?, column()?);
    let [lens, counts, weights, values, sums] = [column()?, column()?, column()?, column()?, column()?];
    let (mut lens, mut counts, mut weights) = (lens.into_iter(), counts.into_iter(), weights.into_iter());
    let (mut values, mut sums) = (values.into_iter(), sums.into_iter());
    let one = |(start, kind): (&f64, &f64)| {
        let (kind, count) = (*kind as u8, counts.next()?);
        let mut bucket = Bucket { count, sum: 0.0, min: 0.0, max: 0.0, spread: Spread::Same };
        match kind & !SUMMED {
            SAME => {
                bucket.min = values.next()?;
                bucket.max = bucket.min;
            }
            UNKNOWN => (bucket.min, bucket.max, bucket.spread) = (values.next()?, values.next()?, Spread::Unknown),
            EXACT => {
                let len = lens.next()? as usize;
                let list = (0..len).map(|_| Some((values.next()?, weights.next()?))).collect::<Option<Vec<_>>>()?;
                (bucket.min, bucket.max) = (list.first()?.0, list.last()?.0);
                bucket.spread = Spread::Exact(list);
            }
            STEPS => {
                let len = lens.next()? as usize;
                (bucket.min, bucket.max) = (values.next()?, values.next()?);
                let step = |_| Some((values.next()? as i16, weights.next()? as f32));
                bucket.spread = Spread::Steps((0..len).map(step).collect::<Option<Vec<_>>>()?);
            }
            _ => return None,
        }
        bucket.sum = if kind & SUMMED == 0 { sums.next()? } else { sum_of(&bucket)? };
        Some((*start as u32, bucket))
    };
    if starts.len() != kinds.len() {
        return None;
    }
    starts.iter().zip(&kinds).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_767_225_600;

    /// With sums that are as exact as blocks keep them.
    fn all(buckets: &Buckets) -> Vec<(u32, Bucket)> {
        let mut all = Vec::new();
        buckets.each(0, u32::MAX, |at, bucket| all.push((at, rounded(bucket.clone()))));
        all
    }

    fn rounded(bucket: Bucket) -> Bucket {
        Bucket { sum: (bucket.sum * 1e9).round() / 1e9, ..bucket }
    }

    fn various(i: u32) -> Bucket {
        let value = f64::from(i % 17) / 10.0;
        match i % 5 {
            0 => Bucket::values(value, 1.0),
            1 => Bucket::values(-value - 1.0, 3.0),
            2 => Bucket::set(4.0, 10.0 + value, 1.0, 4.0),
            kind => {
                let mut many = Bucket::values(value, 2.5);
                let count = if kind == 3 { 4 } else { 200 };
                (0..count).for_each(|more| many.merge(&Bucket::values(value + f64::from(more), 1.0)));
                many
            }
        }
    }

    #[test]
    fn sealed_buckets_are_what_they_were_in_whatever_order_they_came() {
        let starts: Vec<u32> = (0..1000).map(|i| i * 7 % 1000).collect();
        let (mut ordered, mut mixed) = (Buckets::default(), Buckets::default());
        for i in 0..1000 {
            ordered.add(NOW + 60 * i, &various(i));
            mixed.add(NOW + 60 * starts[i as usize], &various(starts[i as usize]));
        }
        let expected: Vec<_> = (0..1000).map(|i| (NOW + 60 * i, rounded(various(i)))).collect();
        for buckets in [&ordered, &mixed] {
            let wrong = all(buckets).into_iter().zip(&expected).find(|(found, expected)| found != *expected);
            assert_eq!((all(buckets).len(), wrong), (1000, None));
        }
        for buckets in [&ordered, &mixed] {
            assert_eq!(buckets.size_bytes(), buckets.measured_bytes());
            assert!(buckets.sealed.len() > 8 && buckets.open.len() < 2 * BLOCK);
        }
        let mut dump = Vec::new();
        mixed.write(&mut dump);
        let mut rest = &dump[..];
        let again = Buckets::read(&mut rest).expect("a dump");
        assert!(all(&again) == expected);
        assert_eq!((rest.len(), again.size_bytes()), (0, again.measured_bytes()));
        assert!(Buckets::read(&mut &dump[..dump.len() - 1]).is_none());
    }

    #[test]
    fn what_is_older_goes_block_by_block() {
        let mut buckets = Buckets::default();
        (0..300).for_each(|i| buckets.add(NOW + 60 * i, &Bucket::values(f64::from(i), 1.0)));
        assert!(buckets.take_older(NOW + 60 * 30).is_empty(), "a part of a block stays");
        let taken = buckets.take_older(NOW + 60 * 130);
        assert_eq!((taken.len(), taken[119].0), (120, NOW + 60 * 119));
        assert_eq!(buckets.take_older(u32::MAX).len(), 180);
        assert_eq!((buckets.size_bytes(), buckets.is_empty()), (0, true));
    }

    #[test]
    fn an_hour_of_a_common_metric_takes_few_bytes() {
        let mut buckets = Buckets::default();
        let noise = |i: u32| ((f64::from(i) * 12.9898).sin() * 43758.5453).fract().abs();
        (0..180).for_each(|i| buckets.add(NOW + 60 * i, &Bucket::values((noise(i) * 10_000.0).round() / 100.0, 1.0)));
        assert!(buckets.sealed.iter().all(|block| block.bytes.len() < 140), "{:?}", buckets.sealed[0].bytes.len());
    }
}
