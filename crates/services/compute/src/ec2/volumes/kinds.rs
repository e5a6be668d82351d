//! The types of volumes and what they may be asked for: pure.

use standfast_core::{Error, Result};

use crate::ec2::burst;
use crate::ec2::errors;
use crate::ec2::model::Performance;

/// What a volume is of that a request names no type for.
pub const DEFAULT: &str = "gp2";

/// A type of volume and its limits.
struct Kind {
    name: &'static str,
    size_gib: (i32, i32),
    iops: Iops,
    throughput: bool,
}

enum Iops {
    /// The request may not speak of it.
    Given,
    /// The request has to say it: its bounds, and how many there may be per GiB.
    Asked { bounds: (i32, i32), per_gib: i32 },
    /// It may be asked for over what is given.
    Over { bounds: (i32, i32), per_gib: i32 },
}

const KINDS: &[Kind] = &[
    Kind { name: "gp2", size_gib: (1, 16_384), iops: Iops::Given, throughput: false },
    Kind {
        name: "gp3",
        size_gib: (1, 16_384),
        iops: Iops::Over { bounds: (3_000, 16_000), per_gib: 500 },
        throughput: true,
    },
    Kind {
        name: "io1",
        size_gib: (4, 16_384),
        iops: Iops::Asked { bounds: (100, 64_000), per_gib: 50 },
        throughput: false,
    },
    Kind {
        name: "io2",
        size_gib: (4, 65_536),
        iops: Iops::Asked { bounds: (100, 256_000), per_gib: 1_000 },
        throughput: false,
    },
    Kind { name: "st1", size_gib: (125, 16_384), iops: Iops::Given, throughput: false },
    Kind { name: "sc1", size_gib: (125, 16_384), iops: Iops::Given, throughput: false },
    Kind { name: "standard", size_gib: (1, 1_024), iops: Iops::Given, throughput: false },
];

/// MiB per second of a gp3 volume, and how many operations per second each four of them need.
const THROUGHPUT_BOUNDS: (i32, i32) = (125, 1_000);
const IOPS_PER_THROUGHPUT: i32 = 4;

/// What a volume of this type has when it is asked for with these numbers. `size_gib` is known by now: it was given, or
/// is that of the snapshot.
pub fn performance(
    volume_type: &str,
    size_gib: i32,
    iops: Option<i32>,
    throughput: Option<i32>,
) -> Result<Performance> {
    let kind = KINDS.iter().find(|kind| kind.name == volume_type).ok_or_else(|| {
        Error::client("UnknownVolumeType", format!("Unsupported volume type '{volume_type}' for volume creation."))
    })?;
    bounded("Volume of", "GiB", size_gib, kind.size_gib)?;
    let iops = match (&kind.iops, iops) {
        (Iops::Given, Some(_)) => return Err(unsupported("iops", kind)),
        (Iops::Given, None) => given_iops(kind, size_gib),
        (Iops::Asked { .. }, None) => {
            let message = format!("The parameter iops must be specified for {volume_type} volumes.");
            return Err(Error::client("MissingParameter", message));
        }
        (Iops::Over { bounds, .. }, None) => Some(bounds.0),
        (Iops::Asked { bounds, per_gib } | Iops::Over { bounds, per_gib }, Some(asked)) => {
            bounded("Volume iops of", "", asked, *bounds)?;
            // What everyone gets may be asked for of a volume of any size.
            let over = asked > per_gib * size_gib && !(matches!(kind.iops, Iops::Over { .. }) && asked == bounds.0);
            if over {
                let ratio = f64::from(asked) / f64::from(size_gib);
                return Err(errors::invalid(format!(
                    "Iops to volume size ratio of {ratio:.6} is too high; maximum is {per_gib}."
                )));
            }
            Some(asked)
        }
    };
    let throughput = match throughput {
        Some(_) if !kind.throughput => return Err(unsupported("throughput", kind)),
        None if !kind.throughput => None,
        asked => Some(throughput_of(asked.unwrap_or(THROUGHPUT_BOUNDS.0), iops.unwrap_or_default())?),
    };
    Ok(Performance { volume_type: volume_type.to_owned(), size_gib, iops, throughput })
}

/// What a type gives by itself, where the API shows it.
fn given_iops(kind: &Kind, size_gib: i32) -> Option<i32> {
    (kind.name == "gp2").then(|| burst::baseline_iops(size_gib.unsigned_abs()) as i32)
}

fn throughput_of(asked: i32, iops: i32) -> Result<i32> {
    bounded("Volume throughput of", "MiB/s", asked, THROUGHPUT_BOUNDS)?;
    if asked * IOPS_PER_THROUGHPUT > iops {
        let ratio = f64::from(asked) / f64::from(iops);
        return Err(errors::invalid(format!(
            "Throughput (MiBps) to iops ratio of {ratio:.6} is too high; maximum is 0.250000 MiBps per iops."
        )));
    }
    Ok(asked)
}

fn bounded(what: &str, unit: &str, value: i32, (low, high): (i32, i32)) -> Result<()> {
    if value < low {
        return Err(errors::invalid(format!("{what} {value}{unit} is too low; minimum is {low}{unit}.")));
    }
    if value > high {
        return Err(errors::invalid(format!("{what} {value}{unit} is too high; maximum is {high}{unit}.")));
    }
    Ok(())
}

fn unsupported(parameter: &str, kind: &Kind) -> Error {
    errors::combination(format!("The parameter {parameter} is not supported for {} volumes.", kind.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_limits() {
        for (volume_type, size, iops, throughput, expected) in [
            ("gp2", 1, None, None, Ok((Some(100), None))),
            ("gp2", 500, None, None, Ok((Some(1500), None))),
            ("gp2", 16_384, None, None, Ok((Some(16_000), None))),
            ("gp2", 16_385, None, None, Err("InvalidParameterValue")),
            ("gp2", 8, Some(300), None, Err("InvalidParameterCombination")),
            ("gp2", 8, None, Some(125), Err("InvalidParameterCombination")),
            ("gp3", 1, None, None, Ok((Some(3000), Some(125)))),
            ("gp3", 1, Some(3000), None, Ok((Some(3000), Some(125)))),
            ("gp3", 8, Some(4000), Some(1000), Ok((Some(4000), Some(1000)))),
            ("gp3", 7, Some(4000), None, Err("InvalidParameterValue")),
            ("gp3", 100, Some(2999), None, Err("InvalidParameterValue")),
            ("gp3", 100, Some(16_001), None, Err("InvalidParameterValue")),
            ("gp3", 100, None, Some(751), Err("InvalidParameterValue")),
            ("gp3", 100, Some(16_000), Some(1001), Err("InvalidParameterValue")),
            ("io1", 10, None, None, Err("MissingParameter")),
            ("io1", 10, Some(500), None, Ok((Some(500), None))),
            ("io1", 10, Some(501), None, Err("InvalidParameterValue")),
            ("io1", 3, Some(100), None, Err("InvalidParameterValue")),
            ("io2", 10, Some(10_000), None, Ok((Some(10_000), None))),
            ("st1", 124, None, None, Err("InvalidParameterValue")),
            ("sc1", 125, None, None, Ok((None, None))),
            ("standard", 1024, None, None, Ok((None, None))),
            ("standard", 1025, None, None, Err("InvalidParameterValue")),
            ("gp4", 8, None, None, Err("UnknownVolumeType")),
        ] {
            let found = performance(volume_type, size, iops, throughput);
            let found = found.map(|made| (made.iops, made.throughput)).map_err(|error| error.code.into_owned());
            assert_eq!(found, expected.map_err(str::to_owned), "{volume_type} {size} {iops:?} {throughput:?}");
        }
    }
}
