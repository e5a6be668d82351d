//! The bytes of metric points in the log and in dumps. All numbers are little-endian.
//!
//! A record of the log is a definition (a slot stands for a metric from here on) or values for a slot. A dump is every
//! metric of a part, with its slot and its buckets.

use super::bucket::{Bucket, Spread};
use super::series::Series;
use super::tier::Buckets;
use super::units::Unit;

const DEFINE: u8 = 1;
const VALUES: u8 = 2;

/// What a record says.
#[derive(Debug, PartialEq)]
pub enum Record<'a> {
    /// The slot stands for the metric with this key.
    Define { slot: u32, key: &'a [u8] },
    /// Values for the slot's metric.
    Values { slot: u32, unit: Unit, fine: bool, at: u32, bucket: Bucket },
}

pub fn write_define(out: &mut Vec<u8>, slot: u32, key: &[u8]) {
    out.push(DEFINE);
    out.extend_from_slice(&slot.to_le_bytes());
    out.extend_from_slice(key);
}

pub fn write_values(out: &mut Vec<u8>, slot: u32, unit: Unit, fine: bool, at: i64, bucket: &Bucket) {
    out.push(VALUES);
    out.extend_from_slice(&slot.to_le_bytes());
    out.extend_from_slice(&[unit.0, u8::from(fine)]);
    out.extend_from_slice(&(at.clamp(0, i64::from(u32::MAX)) as u32).to_le_bytes());
    write_bucket(out, bucket);
}

/// Reads a record; `None` when it is none.
pub fn read(bytes: &[u8]) -> Option<Record<'_>> {
    let mut reader = Reader(bytes);
    match reader.u8()? {
        DEFINE => Some(Record::Define { slot: reader.u32()?, key: reader.0 }),
        VALUES => {
            let (slot, unit, fine, at) = (reader.u32()?, Unit::stored(reader.u8()?)?, reader.u8()? == 1, reader.u32()?);
            let bucket = reader.bucket()?;
            reader.0.is_empty().then_some(Record::Values { slot, unit, fine, at, bucket })
        }
        _ => None,
    }
}

/// A metric in a dump.
pub fn write_metric(out: &mut Vec<u8>, slot: u32, key: &[u8], units: &[(Unit, Series)]) {
    out.extend_from_slice(&slot.to_le_bytes());
    write_len(out, key.len());
    out.extend_from_slice(key);
    write_len(out, units.len());
    for (unit, series) in units {
        out.push(unit.0);
        series.tiers.iter().for_each(|tier| tier.write(out));
    }
}

/// Reads the metrics of a dump one by one; `None` when it is none.
pub fn read_metrics(dump: &[u8], mut each: impl FnMut(u32, &[u8], Vec<(Unit, Series)>)) -> Option<()> {
    let mut reader = Reader(dump);
    while !reader.0.is_empty() {
        let slot = reader.u32()?;
        let key_len = reader.len()?;
        let key = reader.take(key_len)?;
        let mut units = Vec::new();
        for _ in 0..reader.len()? {
            let unit = Unit::stored(reader.u8()?)?;
            let mut series = Series::default();
            for tier in 0..series.tiers.len() {
                series.restore(tier, Buckets::read(&mut reader.0)?);
            }
            units.push((unit, series));
        }
        each(slot, key, units);
    }
    Some(())
}

const ONE: u8 = 0;
const SAME: u8 = 1;
const UNKNOWN: u8 = 2;
const EXACT: u8 = 3;
const STEPS: u8 = 4;

fn write_bucket(out: &mut Vec<u8>, bucket: &Bucket) {
    if bucket.spread == Spread::Same && bucket.count == 1.0 {
        out.push(ONE);
        out.extend_from_slice(&bucket.sum.to_le_bytes());
        return;
    }
    out.push(match &bucket.spread {
        Spread::Same => SAME,
        Spread::Unknown => UNKNOWN,
        Spread::Exact(_) => EXACT,
        Spread::Steps(_) => STEPS,
    });
    for number in [bucket.count, bucket.sum, bucket.min, bucket.max] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    match &bucket.spread {
        Spread::Same | Spread::Unknown => {}
        Spread::Exact(values) => {
            write_len(out, values.len());
            for (value, count) in values {
                out.extend_from_slice(&value.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
        Spread::Steps(steps) => {
            write_len(out, steps.len());
            for (step, count) in steps {
                out.extend_from_slice(&step.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
    }
}

fn write_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).expect("a part's memory is limited far below").to_le_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    fn len(&mut self) -> Option<usize> {
        self.u32().map(|len| len as usize)
    }

    fn bucket(&mut self) -> Option<Bucket> {
        let kind = self.u8()?;
        if kind == ONE {
            return Some(Bucket::values(self.f64()?, 1.0));
        }
        let (count, sum, min, max) = (self.f64()?, self.f64()?, self.f64()?, self.f64()?);
        let spread = match kind {
            SAME => Spread::Same,
            UNKNOWN => Spread::Unknown,
            EXACT => {
                let values: Option<_> = (0..self.len()?).map(|_| Some((self.f64()?, self.f64()?))).collect();
                Spread::Exact(values?)
            }
            STEPS => {
                let step =
                    |r: &mut Self| Some((r.array().map(i16::from_le_bytes)?, r.array().map(f32::from_le_bytes)?));
                let steps: Option<_> = (0..self.len()?).map(|_| step(self)).collect();
                Spread::Steps(steps?)
            }
            _ => return None,
        };
        Some(Bucket { count, sum, min, max, spread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets() -> Vec<Bucket> {
        let mut few = Bucket::values(1.0, 1.0);
        few.merge(&Bucket::values(0.0, 2.5));
        let mut many = few.clone();
        (0..200).for_each(|i| many.merge(&Bucket::values(f64::from(i), 1.0)));
        vec![
            Bucket::values(3.5, 1.0),
            Bucket::values(-3.5, 1.0),
            Bucket::values(3.5, 7.0),
            Bucket::set(4.0, 10.0, 1.0, 4.0),
            few,
            many,
        ]
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for bucket in buckets() {
            let mut bytes = Vec::new();
            write_values(&mut bytes, 7, Unit(3), true, 1_767_225_600, &bucket);
            let expected = Record::Values { slot: 7, unit: Unit(3), fine: true, at: 1_767_225_600, bucket };
            assert_eq!(read(&bytes), Some(expected));
            // The last byte of all that is too short or too long is missing or too much.
            assert_eq!(read(&bytes[..bytes.len() - 1]), None);
            bytes.push(0);
            assert_eq!(read(&bytes), None);
        }
        let mut bytes = Vec::new();
        write_define(&mut bytes, 9, b"key");
        assert_eq!(read(&bytes), Some(Record::Define { slot: 9, key: b"key" }));
        for bad in [&b""[..], &[0], &[9, 1, 1, 1, 1], &[VALUES, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn dumps_are_read_as_they_were_written() {
        let mut series = Series::default();
        for (i, bucket) in buckets().into_iter().enumerate() {
            series.put(1_767_225_600 + 60 * i as i64, i % 2 == 0, &bucket);
        }
        let mut dump = Vec::new();
        write_metric(&mut dump, 1, b"first", &[]);
        write_metric(&mut dump, 5, b"second", &[(Unit(2), series)]);
        let mut again = Vec::new();
        read_metrics(&dump, |slot, key, units| write_metric(&mut again, slot, key, &units)).expect("a dump");
        assert_eq!(dump, again);
        assert_eq!(read_metrics(&dump[..dump.len() - 1], |_, _, _| {}), None);
    }
}
