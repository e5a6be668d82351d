//! Where things are: accounts, regions, availability zones.
//!
//! This table is the only list of regions. A zone's name is the region's name and a letter; its id is the region's
//! short name and `-azN`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The account of a caller whose access key says nothing else.
pub const DEFAULT_ACCOUNT: &str = "000000000000";

/// The region that commands use when nothing else is set.
pub const DEFAULT_REGION: &str = "eu-west-1";

/// An account in a region: what almost every resource lives in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    pub account: Arc<str>,
    pub region: Arc<str>,
}

impl Scope {
    pub fn new(account: &str, region: &str) -> Self {
        Self { account: account.into(), region: region.into() }
    }

    /// The scope of global services (iam): the region is `global`.
    pub fn global(&self) -> Self {
        Self { account: self.account.clone(), region: "global".into() }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

/// A region: its name, the short name in zone ids, and the letters of its zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub name: &'static str,
    pub short: &'static str,
    pub letters: &'static str,
}

macro_rules! regions {
    ($($name:literal $short:literal $letters:literal),* $(,)?) => {
        /// All commercial regions.
        pub static REGIONS: &[Region] = &[$(Region { name: $name, short: $short, letters: $letters }),*];
    };
}

regions! {
    "af-south-1" "afs1" "abc", "ap-east-1" "ape1" "abc", "ap-east-2" "ape2" "abc", "ap-northeast-1" "apne1" "acd",
    "ap-northeast-2" "apne2" "abcd", "ap-northeast-3" "apne3" "abc", "ap-south-1" "aps1" "abc",
    "ap-south-2" "aps2" "abc", "ap-southeast-1" "apse1" "abc", "ap-southeast-2" "apse2" "abc",
    "ap-southeast-3" "apse3" "abc", "ap-southeast-4" "apse4" "abc", "ap-southeast-5" "apse5" "abc",
    "ap-southeast-6" "apse6" "abc", "ap-southeast-7" "apse7" "abc", "ca-central-1" "cac1" "abd",
    "ca-west-1" "caw1" "abc", "eu-central-1" "euc1" "abc", "eu-central-2" "euc2" "abc", "eu-north-1" "eun1" "abc",
    "eu-south-1" "eus1" "abc", "eu-south-2" "eus2" "abc", "eu-west-1" "euw1" "abc", "eu-west-2" "euw2" "abc",
    "eu-west-3" "euw3" "abc", "il-central-1" "ilc1" "abc", "me-central-1" "mec1" "abc", "me-south-1" "mes1" "abc",
    "mx-central-1" "mxc1" "abc", "sa-east-1" "sae1" "abc", "us-east-1" "use1" "abcdef", "us-east-2" "use2" "abc",
    "us-west-1" "usw1" "ac", "us-west-2" "usw2" "abcd",
}

impl Region {
    /// The region of this name.
    pub fn named(name: &str) -> Option<&'static Region> {
        REGIONS.iter().find(|region| region.name == name)
    }

    /// Its zones in order: name (`eu-west-1a`) and id (`euw1-az1`).
    pub fn zones(&self) -> impl Iterator<Item = Zone> + '_ {
        self.letters.chars().enumerate().map(|(i, letter)| Zone {
            name: format!("{}{letter}", self.name),
            id: format!("{}-az{}", self.short, i + 1),
        })
    }
}

/// An availability zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    pub name: String,
    pub id: String,
}

impl Zone {
    /// The zone of this name, in whichever region it is.
    pub fn named(name: &str) -> Option<Zone> {
        let region = Region::named(name.get(..name.len().checked_sub(1)?)?)?;
        region.zones().find(|zone| zone.name == name)
    }

    /// The region that a zone's name belongs to.
    pub fn region(&self) -> &str {
        &self.name[..self.name.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name() {
        assert_eq!(Zone::named("eu-west-1b").map(|z| z.id), Some("euw1-az2".into()));
        for unknown in ["", "a", "eu-west-1", "eu-west-1z", "mars-1a", "é"] {
            assert_eq!(Zone::named(unknown), None, "{unknown}");
        }
    }
}
