//! Columns of numbers in few bytes. Pure; what is read is what was written, bit by bit.
//!
//! Most metrics are decimals of few digits: such a column is kept as whole numbers, packed into as many bits as their range
//! (or that of their differences) needs. Any other is kept as what changes from a number to the next (XOR), by the byte.

/// Digits after the point that are tried.
const DIGITS_MAX: u8 = 6;
/// Whole numbers up to here are exact as floats.
const EXACT_MAX: f64 = (1_i64 << 52) as f64;
/// What comes first: a number of digits, with `DIFFERENCES` where they are packed; or this.
const XOR: u8 = 0xff;
const DIFFERENCES: u8 = 0x80;

pub fn write(out: &mut Vec<u8>, column: &[f64]) {
    let Some((digits, whole)) = (0..=DIGITS_MAX).find_map(|digits| Some((digits, decimals(column, digits)?))) else {
        out.push(XOR);
        write_xor(out, column);
        return;
    };
    let first = whole.first().copied().unwrap_or_default();
    let steps: Vec<i64> = whole.iter().zip(whole.iter().skip(1)).map(|(a, b)| b - a).collect();
    let (plain, stepped) = (Packing::of(&whole), Packing::of(&steps));
    if stepped.bits < plain.bits {
        out.push(digits | DIFFERENCES);
        write_varint(out, zigzag(first));
        stepped.write(out, &steps);
    } else {
        out.push(digits);
        plain.write(out, &whole);
    }
}

/// Takes a column of so many numbers from the front of `bytes`.
pub fn read(bytes: &mut &[u8], count: usize) -> Option<Vec<f64>> {
    let mode = take_u8(bytes)?;
    if mode == XOR {
        return read_xor(bytes, count);
    }
    let digits = mode & !DIFFERENCES;
    if digits > DIGITS_MAX {
        return None;
    }
    let whole = if mode & DIFFERENCES == 0 {
        Packing::read(bytes, count)?
    } else {
        let mut at = unzigzag(read_varint(bytes)?);
        let mut whole = Vec::with_capacity(count);
        if count > 0 {
            whole.push(at);
        }
        for step in Packing::read(bytes, count.saturating_sub(1))? {
            at = at.checked_add(step)?;
            whole.push(at);
        }
        whole
    };
    let scale = scale(digits);
    Some(whole.into_iter().map(|whole| whole as f64 / scale).collect())
}

pub fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_u8(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

pub fn take_u8(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn scale(digits: u8) -> f64 {
    10_f64.powi(i32::from(digits))
}

/// The column as whole numbers of this many digits after the point, where nothing is lost.
fn decimals(column: &[f64], digits: u8) -> Option<Vec<i64>> {
    let scale = scale(digits);
    let whole = |value: &f64| {
        let whole = (value * scale).round();
        let same = whole.abs() <= EXACT_MAX && (whole as i64 as f64 / scale).to_bits() == value.to_bits();
        same.then_some(whole as i64)
    };
    column.iter().map(whole).collect()
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Whole numbers as what they are more than the least, in so many bits each.
struct Packing {
    least: i64,
    bits: u32,
}

impl Packing {
    fn of(numbers: &[i64]) -> Self {
        let (least, most) = (numbers.iter().min().copied().unwrap_or(0), numbers.iter().max().copied().unwrap_or(0));
        Self { least, bits: u64::BITS - (most - least).unsigned_abs().leading_zeros() }
    }

    fn write(&self, out: &mut Vec<u8>, numbers: &[i64]) {
        write_varint(out, zigzag(self.least));
        out.push(self.bits as u8);
        let (mut held, mut count) = (0_u128, 0);
        for number in numbers {
            held |= u128::from((number - self.least).unsigned_abs()) << count;
            count += self.bits;
            while count >= 8 {
                out.push(held as u8);
                held >>= 8;
                count -= 8;
            }
        }
        if count > 0 {
            out.push(held as u8);
        }
    }

    fn read(bytes: &mut &[u8], count: usize) -> Option<Vec<i64>> {
        let least = unzigzag(read_varint(bytes)?);
        let bits = u32::from(take_u8(bytes)?);
        if bits > 56 {
            return None;
        }
        let len = (count * bits as usize).div_ceil(8);
        let (packed, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        let (mut held, mut have, mut packed) = (0_u128, 0, packed.iter());
        let mask = (1_u128 << bits) - 1;
        let mut next = || {
            while have < bits {
                held |= u128::from(*packed.next()?) << have;
                have += 8;
            }
            let number = (held & mask) as i64;
            held >>= bits;
            have -= bits;
            least.checked_add(number)
        };
        (0..count).map(|_| next()).collect()
    }
}

/// For each number how many bytes of the change are zero in front and behind, and those between.
fn write_xor(out: &mut Vec<u8>, column: &[f64]) {
    let mut before = 0;
    for value in column {
        let change = (value.to_bits() ^ before).to_be_bytes();
        before = value.to_bits();
        let front = change.iter().take_while(|byte| **byte == 0).count();
        let behind = change[front..].iter().rev().take_while(|byte| **byte == 0).count();
        out.push((front << 4 | behind) as u8);
        out.extend_from_slice(&change[front..8 - behind]);
    }
}

fn read_xor(bytes: &mut &[u8], count: usize) -> Option<Vec<f64>> {
    let mut before = 0;
    let mut next = || {
        let head = take_u8(bytes)?;
        let (front, behind) = (usize::from(head >> 4), usize::from(head & 0xf));
        let len = 8_usize.checked_sub(front)?.checked_sub(behind)?;
        let (middle, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        let mut change = [0; 8];
        change[front..front + len].copy_from_slice(middle);
        before ^= u64::from_be_bytes(change);
        Some(f64::from_bits(before))
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(column: &[f64]) -> usize {
        let mut bytes = Vec::new();
        write(&mut bytes, column);
        let len = bytes.len();
        bytes.push(77);
        let mut rest = &bytes[..];
        let again = read(&mut rest, column.len()).expect("as written");
        let bits = |column: &[f64]| column.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!((bits(&again), rest), (bits(column), &[77][..]));
        for short in 0..len {
            assert!(column.is_empty() || read(&mut &bytes[..short], column.len()).is_none());
        }
        len
    }

    #[test]
    fn columns_are_read_as_they_were_written_and_are_small() {
        let hour = |value: &dyn Fn(f64) -> f64| (0..60).map(|i| value(f64::from(i))).collect::<Vec<_>>();
        let noise = |i: f64| ((i * 12.9898).sin() * 43758.5453).fract().abs();
        for (column, most) in [
            (vec![], 3),
            (hour(&|_| 42.0), 4),
            (hour(&|i| 1000.0 + i), 6),
            (hour(&|i| i * i * 1e6), 460),
            (hour(&|i| (noise(i) * 10_000.0).round() / 100.0), 115),
            (hour(&|i| (noise(i) * 1000.0).round()), 85),
            (hour(&|i| noise(i) * 100.0), 490),
            (hour(&|i| if i == 7.0 { -0.0 } else { 0.0 }), 130),
            (vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE, 1e300, -1e-300, 0.1 + 0.2], 60),
            (vec![EXACT_MAX, -EXACT_MAX, 1.0], 40),
        ] {
            let found = size(&column);
            assert!(found <= most, "{found} bytes for {column:?}");
        }
    }
}
