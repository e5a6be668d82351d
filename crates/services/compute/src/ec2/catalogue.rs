//! The images that every region has: a pure table.
//!
//! All of them mean the one base image that the host has; what differs is what look-ups see: names, owners, dates. An
//! image's id depends on its region and its name only, so it is the same in every cloud.

use std::collections::HashSet;
use std::sync::LazyLock;

use standfast_core::place::REGIONS;

/// An image that everyone may launch.
#[derive(Debug, PartialEq, Eq)]
pub struct BaseImage {
    pub name: &'static str,
    pub description: &'static str,
    /// `x86_64` or `arm64`.
    pub architecture: &'static str,
    pub owner: &'static str,
    pub root_device: &'static str,
    pub root_size_gib: i32,
    pub root_volume_type: &'static str,
    pub created: &'static str,
    /// Names of public SSM parameters whose value is this image's id.
    pub parameters: &'static [&'static str],
}

pub const AMAZON: &str = "137112412989";
pub const CANONICAL: &str = "099720109477";
pub const DEBIAN: &str = "136693071363";

/// What an image says of itself when its programs know version 2 of the metadata service.
pub const IMDS_V2: &str = "v2.0";
/// In the names of images that say so.
const IMDS_V2_NAMES: [&str; 2] = ["al2023-ami", "ubuntu-noble"];

/// The snapshot behind an image is named after it.
const SNAPSHOT_SALT: &str = "snapshot";

macro_rules! images {
    ($($owner:ident $root:literal $size:literal $volume:literal $arch:literal $created:literal
       $name:literal $description:literal [$($parameter:literal),* $(,)?];)*) => {
        /// All base images, newest of their kind first.
        pub static BASE_IMAGES: &[BaseImage] = &[$(BaseImage {
            name: $name,
            description: $description,
            architecture: $arch,
            owner: $owner,
            root_device: $root,
            root_size_gib: $size,
            root_volume_type: $volume,
            created: $created,
            parameters: &[$($parameter),*],
        }),*];
    };
}

images! {
    AMAZON "/dev/xvda" 8 "gp3" "x86_64" "2026-11-10T20:12:31.000Z"
        "al2023-ami-2023.9.20261110.0-kernel-6.1-x86_64" "Amazon Linux 2023 AMI 2023.9.20261110.0 x86_64 HVM kernel-6.1" [
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-x86_64",
        ];
    AMAZON "/dev/xvda" 8 "gp3" "arm64" "2026-11-10T20:12:35.000Z"
        "al2023-ami-2023.9.20261110.0-kernel-6.1-arm64" "Amazon Linux 2023 AMI 2023.9.20261110.0 arm64 HVM kernel-6.1" [
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-arm64",
        ];
    AMAZON "/dev/xvda" 2 "gp3" "x86_64" "2026-11-10T20:12:40.000Z"
        "al2023-ami-minimal-2023.9.20261110.0-kernel-6.1-x86_64" "Amazon Linux 2023 AMI 2023.9.20261110.0 x86_64 Minimal HVM kernel-6.1" [
            "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-x86_64",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-6.1-x86_64",
        ];
    AMAZON "/dev/xvda" 2 "gp3" "arm64" "2026-11-10T20:12:43.000Z"
        "al2023-ami-minimal-2023.9.20261110.0-kernel-6.1-arm64" "Amazon Linux 2023 AMI 2023.9.20261110.0 arm64 Minimal HVM kernel-6.1" [
            "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-arm64",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-6.1-arm64",
        ];
    AMAZON "/dev/xvda" 8 "gp2" "x86_64" "2026-11-06T18:03:12.000Z"
        "amzn2-ami-hvm-2.0.20261105.0-x86_64-gp2" "Amazon Linux 2 AMI 2.0.20261105.0 x86_64 HVM gp2" [
            "/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2",
        ];
    AMAZON "/dev/xvda" 8 "standard" "x86_64" "2026-11-06T18:03:15.000Z"
        "amzn2-ami-hvm-2.0.20261105.0-x86_64-ebs" "Amazon Linux 2 AMI 2.0.20261105.0 x86_64 HVM ebs" [
            "/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-ebs",
        ];
    AMAZON "/dev/xvda" 8 "gp2" "arm64" "2026-11-06T18:03:18.000Z"
        "amzn2-ami-hvm-2.0.20261105.0-arm64-gp2" "Amazon Linux 2 LTS Arm64 AMI 2.0.20261105.0 arm64 HVM gp2" [
            "/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-arm64-gp2",
        ];
    AMAZON "/dev/xvda" 8 "gp2" "x86_64" "2026-11-06T18:03:22.000Z"
        "amzn2-ami-kernel-5.10-hvm-2.0.20261105.0-x86_64-gp2" "Amazon Linux 2 Kernel 5.10 AMI 2.0.20261105.0 x86_64 HVM gp2" [
            "/aws/service/ami-amazon-linux-latest/amzn2-ami-kernel-5.10-hvm-x86_64-gp2",
        ];
    AMAZON "/dev/xvda" 8 "gp2" "arm64" "2026-11-06T18:03:25.000Z"
        "amzn2-ami-kernel-5.10-hvm-2.0.20261105.0-arm64-gp2" "Amazon Linux 2 LTS Arm64 Kernel 5.10 AMI 2.0.20261105.0 arm64 HVM gp2" [
            "/aws/service/ami-amazon-linux-latest/amzn2-ami-kernel-5.10-hvm-arm64-gp2",
        ];
    AMAZON "/dev/xvda" 8 "gp2" "x86_64" "2023-12-18T22:31:08.000Z"
        "amzn-ami-hvm-2018.03.0.20231218.0-x86_64-gp2" "Amazon Linux AMI 2018.03.0.20231218.0 x86_64 HVM gp2" [
            "/aws/service/ami-amazon-linux-latest/amzn-ami-hvm-x86_64-gp2",
        ];
    CANONICAL "/dev/sda1" 8 "gp3" "x86_64" "2026-11-04T06:41:10.000Z"
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261104" "Canonical, Ubuntu, 24.04, amd64 noble image" [
            "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
            "/aws/service/canonical/ubuntu/server/noble/stable/current/amd64/hvm/ebs-gp3/ami-id",
        ];
    CANONICAL "/dev/sda1" 8 "gp3" "arm64" "2026-11-04T06:41:14.000Z"
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20261104" "Canonical, Ubuntu, 24.04, arm64 noble image" [
            "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id",
            "/aws/service/canonical/ubuntu/server/noble/stable/current/arm64/hvm/ebs-gp3/ami-id",
        ];
    CANONICAL "/dev/sda1" 8 "gp2" "x86_64" "2026-11-02T05:20:51.000Z"
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261102" "Canonical, Ubuntu, 22.04 LTS, amd64 jammy image" [
            "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id",
            "/aws/service/canonical/ubuntu/server/jammy/stable/current/amd64/hvm/ebs-gp2/ami-id",
        ];
    CANONICAL "/dev/sda1" 8 "gp2" "arm64" "2026-11-02T05:20:55.000Z"
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-arm64-server-20261102" "Canonical, Ubuntu, 22.04 LTS, arm64 jammy image" [
            "/aws/service/canonical/ubuntu/server/22.04/stable/current/arm64/hvm/ebs-gp2/ami-id",
            "/aws/service/canonical/ubuntu/server/jammy/stable/current/arm64/hvm/ebs-gp2/ami-id",
        ];
    CANONICAL "/dev/sda1" 8 "gp2" "x86_64" "2025-06-05T04:11:09.000Z"
        "ubuntu/images/hvm-ssd/ubuntu-focal-20.04-amd64-server-20250605" "Canonical, Ubuntu, 20.04 LTS, amd64 focal image" [
            "/aws/service/canonical/ubuntu/server/20.04/stable/current/amd64/hvm/ebs-gp2/ami-id",
            "/aws/service/canonical/ubuntu/server/focal/stable/current/amd64/hvm/ebs-gp2/ami-id",
        ];
    DEBIAN "/dev/xvda" 8 "gp2" "x86_64" "2026-10-20T11:02:33.000Z"
        "debian-12-amd64-20261020-2271" "Debian 12 (20261020-2271)" [];
    DEBIAN "/dev/xvda" 8 "gp2" "x86_64" "2026-10-20T11:02:39.000Z"
        "debian-13-amd64-20261020-2271" "Debian 13 (20261020-2271)" [];
}

/// Whether a snapshot is one behind a base image of some region.
pub fn is_snapshot(id: &str) -> bool {
    static ALL: LazyLock<HashSet<String>> = LazyLock::new(|| {
        REGIONS.iter().flat_map(|region| BASE_IMAGES.iter().map(|image| image.snapshot(region.name))).collect()
    });
    ALL.contains(id)
}

impl BaseImage {
    /// The image's id in a region.
    pub fn id(&self, region: &str) -> String {
        format!("ami-{}", digits(&[region, self.name]))
    }

    /// The id of the snapshot that its root volume is made from.
    pub fn snapshot(&self, region: &str) -> String {
        format!("snap-{}", digits(&[region, self.name, SNAPSHOT_SALT]))
    }

    /// Which version of the metadata service its instances are to be asked for, when it says.
    pub fn imds(&self) -> Option<&'static str> {
        IMDS_V2_NAMES.iter().any(|part| self.name.contains(part)).then_some(IMDS_V2)
    }

    /// The alias of its owner, for the owners that are Amazon's or verified by it.
    pub fn owner_alias(&self) -> Option<&'static str> {
        matches!(self.owner, AMAZON | CANONICAL).then_some("amazon")
    }
}

/// The base image of this id in a region.
pub fn find(region: &str, id: &str) -> Option<&'static BaseImage> {
    BASE_IMAGES.iter().find(|image| image.id(region) == id)
}

/// The base image whose root volume is made from the snapshot of this id in a region.
pub fn of_snapshot(region: &str, id: &str) -> Option<&'static BaseImage> {
    // Most snapshots are others': their ids seldom begin as those of `digits` do.
    id.strip_prefix("snap-0")?;
    BASE_IMAGES.iter().find(|image| image.snapshot(region) == id)
}

/// The public SSM parameters of a region: names and image ids.
pub fn public_parameters(region: &str) -> impl Iterator<Item = (&'static str, String)> + '_ {
    BASE_IMAGES.iter().flat_map(move |image| image.parameters.iter().map(move |name| (*name, image.id(region))))
}

/// Seventeen hexadecimal digits that depend on the texts only (FNV-1a, 64 bits, and a digit of a second round).
fn digits(parts: &[&str]) -> String {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    }
    format!("0{hash:016x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use standfast_core::id::{Id, Image};

    use super::*;
    use crate::ec2::filters::like;

    #[test]
    fn ids_are_well_formed_distinct_and_always_the_same() {
        let regions = ["eu-west-1", "us-east-1"];
        let all = regions.iter().flat_map(|region| BASE_IMAGES.iter().map(|image| image.id(region)));
        let ids: BTreeSet<String> = all.collect();
        assert_eq!(ids.len(), BASE_IMAGES.len() * regions.len());
        assert!(ids.iter().all(|id| Id::<Image>::parse(id).is_some()));
        let first = &BASE_IMAGES[0];
        assert_eq!(find("eu-west-1", &first.id("eu-west-1")), Some(first));
        assert_eq!(find("eu-west-2", &first.id("eu-west-1")), None);
    }

    #[test]
    fn the_usual_look_ups_find_an_image() {
        for (owner, pattern) in [
            (AMAZON, "amzn2-ami-hvm-*-x86_64-*"),
            (AMAZON, "amzn2-ami-hvm-*-x86_64-gp2"),
            (AMAZON, "amzn2-ami-kernel-5.10-hvm-*-x86_64-gp2"),
            (AMAZON, "al2023-ami-2023*-x86_64"),
            (AMAZON, "al2023-ami-*-arm64"),
            (CANONICAL, "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"),
            (CANONICAL, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-*"),
            (CANONICAL, "ubuntu/images/*ubuntu-noble-24.04-amd64-server-*"),
        ] {
            assert!(BASE_IMAGES.iter().any(|image| image.owner == owner && like(pattern, image.name)), "{pattern}");
        }
    }

    #[test]
    fn public_parameters_name_images_of_their_region() {
        let parameters: Vec<_> = public_parameters("eu-west-1").collect();
        let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
        assert!(parameters.iter().any(|(known, _)| *known == name));
        assert!(parameters.iter().all(|(_, id)| find("eu-west-1", id).is_some()));
    }
}
