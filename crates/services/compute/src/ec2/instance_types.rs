//! The instance types that can be launched: a pure table, and the operations that list it.

use std::fmt;

use standfast_api::ec2 as api;
use standfast_core::place::Region;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::errors;
use super::filters::{self, Described, Field, Paging};

const BOUNDS: (i32, i32) = (5, 100);
const OFFERING_BOUNDS: (i32, i32) = (5, 1000);

/// A family: types that differ in size only.
struct Family {
    name: &'static str,
    architecture: &'static str,
    burstable: bool,
    /// Threads of a core.
    threads: i32,
    current: bool,
    sizes: &'static [Size],
}

/// Size, vCPUs, memory in MiB.
type Size = (&'static str, i32, i64);

const T2: &[Size] = &[
    ("nano", 1, 512),
    ("micro", 1, 1024),
    ("small", 1, 2048),
    ("medium", 2, 4096),
    ("large", 2, 8192),
    ("xlarge", 4, 16_384),
    ("2xlarge", 8, 32_768),
];
const T3: &[Size] = &[
    ("nano", 2, 512),
    ("micro", 2, 1024),
    ("small", 2, 2048),
    ("medium", 2, 4096),
    ("large", 2, 8192),
    ("xlarge", 4, 16_384),
    ("2xlarge", 8, 32_768),
];
const M: &[Size] = &[
    ("medium", 1, 4096),
    ("large", 2, 8192),
    ("xlarge", 4, 16_384),
    ("2xlarge", 8, 32_768),
    ("4xlarge", 16, 65_536),
    ("8xlarge", 32, 131_072),
    ("12xlarge", 48, 196_608),
    ("16xlarge", 64, 262_144),
    ("24xlarge", 96, 393_216),
];
const C: &[Size] = &[
    ("medium", 1, 2048),
    ("large", 2, 4096),
    ("xlarge", 4, 8192),
    ("2xlarge", 8, 16_384),
    ("4xlarge", 16, 32_768),
    ("9xlarge", 36, 73_728),
    ("12xlarge", 48, 98_304),
    ("18xlarge", 72, 147_456),
    ("24xlarge", 96, 196_608),
];
const C_NEW: &[Size] = &[
    ("medium", 1, 2048),
    ("large", 2, 4096),
    ("xlarge", 4, 8192),
    ("2xlarge", 8, 16_384),
    ("4xlarge", 16, 32_768),
    ("8xlarge", 32, 65_536),
    ("12xlarge", 48, 98_304),
    ("16xlarge", 64, 131_072),
    ("24xlarge", 96, 196_608),
];
const R: &[Size] = &[
    ("medium", 1, 8192),
    ("large", 2, 16_384),
    ("xlarge", 4, 32_768),
    ("2xlarge", 8, 65_536),
    ("4xlarge", 16, 131_072),
    ("8xlarge", 32, 262_144),
    ("12xlarge", 48, 393_216),
    ("16xlarge", 64, 524_288),
    ("24xlarge", 96, 786_432),
];
const M4: &[Size] = &[
    ("large", 2, 8192),
    ("xlarge", 4, 16_384),
    ("2xlarge", 8, 32_768),
    ("4xlarge", 16, 65_536),
    ("10xlarge", 40, 163_840),
];
const M3: &[Size] = &[("medium", 1, 3840), ("large", 2, 7680), ("xlarge", 4, 15_360), ("2xlarge", 8, 30_720)];
const M1: &[Size] = &[("small", 1, 1740), ("medium", 1, 3788), ("large", 2, 7680), ("xlarge", 4, 15_360)];
const T1: &[Size] = &[("micro", 1, 627)];

const X86: &str = "x86_64";
const ARM: &str = "arm64";

const fn family(name: &'static str, architecture: &'static str, threads: i32, sizes: &'static [Size]) -> Family {
    Family { name, architecture, burstable: false, threads, current: true, sizes }
}

const fn burstable(name: &'static str, architecture: &'static str, threads: i32, sizes: &'static [Size]) -> Family {
    Family { burstable: true, ..family(name, architecture, threads, sizes) }
}

const fn previous(name: &'static str, sizes: &'static [Size]) -> Family {
    Family { current: false, ..family(name, X86, 1, sizes) }
}

/// All families, sorted by name. Sizes called `medium` exist in Arm families only, apart from the old ones.
static FAMILIES: &[Family] = &[
    family("c5", X86, 2, C),
    family("c5a", X86, 2, C_NEW),
    family("c6a", X86, 2, C_NEW),
    family("c6g", ARM, 1, C_NEW),
    family("c6i", X86, 2, C_NEW),
    family("c7a", X86, 1, C_NEW),
    family("c7g", ARM, 1, C_NEW),
    family("c7i", X86, 2, C_NEW),
    previous("m1", M1),
    previous("m3", M3),
    family("m4", X86, 2, M4),
    family("m5", X86, 2, M),
    family("m5a", X86, 2, M),
    family("m6a", X86, 2, M),
    family("m6g", ARM, 1, M),
    family("m6i", X86, 2, M),
    family("m7a", X86, 1, M),
    family("m7g", ARM, 1, M),
    family("m7i", X86, 2, M),
    family("r5", X86, 2, R),
    family("r6g", ARM, 1, R),
    family("r6i", X86, 2, R),
    family("r7g", ARM, 1, R),
    family("r7i", X86, 2, R),
    previous("t1", T1),
    burstable("t2", X86, 1, T2),
    burstable("t3", X86, 2, T3),
    burstable("t3a", X86, 2, T3),
    burstable("t4g", ARM, 1, T3),
];

/// An instance type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceType {
    family: &'static str,
    size: &'static str,
    pub architecture: &'static str,
    pub vcpus: i32,
    pub memory_mib: i64,
    pub threads_per_core: i32,
    pub burstable: bool,
    current: bool,
}

impl fmt::Display for InstanceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.family, self.size)
    }
}

impl InstanceType {
    /// All types, by family.
    pub fn all() -> impl Iterator<Item = InstanceType> {
        FAMILIES.iter().flat_map(Family::types)
    }

    /// The type of this name.
    pub fn named(name: &str) -> Option<InstanceType> {
        let (family, size) = name.split_once('.')?;
        let at = FAMILIES.binary_search_by(|known| known.name.cmp(family)).ok()?;
        FAMILIES[at].types().find(|known| known.size == size)
    }

    /// Cores and threads of each.
    pub fn cores(&self) -> (i32, i32) {
        ((self.vcpus / self.threads_per_core).max(1), self.threads_per_core.min(self.vcpus))
    }

    /// What burstable types get when nothing is said: T2 stops at its credits.
    pub fn default_credits(&self) -> Option<&'static str> {
        self.burstable.then_some(if self.family == "t2" { "standard" } else { "unlimited" })
    }
}

impl Family {
    fn types(&self) -> impl Iterator<Item = InstanceType> + '_ {
        let has_medium = self.architecture == ARM || self.burstable || !self.current || self.threads == 1;
        let exists = move |size: &&Size| size.0 != "medium" || has_medium;
        self.sizes.iter().filter(exists).map(|(size, vcpus, memory_mib)| InstanceType {
            family: self.name,
            size,
            architecture: self.architecture,
            vcpus: *vcpus,
            memory_mib: *memory_mib,
            threads_per_core: self.threads,
            burstable: self.burstable,
            current: self.current,
        })
    }
}

/// The type that a request names.
pub fn find(name: &str) -> Result<InstanceType> {
    InstanceType::named(name).ok_or_else(|| errors::invalid(format!("Invalid value '{name}' for InstanceType.")))
}

pub async fn describe(_: Cx, input: api::DescribeInstanceTypesInput) -> Result<api::DescribeInstanceTypesOutput> {
    let types: Vec<InstanceType> = match input.instance_types.as_ref().filter(|names| !names.is_empty()) {
        None => InstanceType::all().collect(),
        Some(names) => {
            let unknown: Vec<&str> =
                names.iter().map(String::as_str).filter(|name| InstanceType::named(name).is_none()).collect();
            if !unknown.is_empty() {
                let message = format!("The following supplied instance types do not exist: [{}]", unknown.join(", "));
                return Err(Error::client("InvalidInstanceType", message));
            }
            names.iter().filter_map(|name| InstanceType::named(name)).collect()
        }
    };
    let mut rows: Vec<api::InstanceTypeInfo> = types.iter().map(shape).collect();
    rows.sort_by_key(Described::key);
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
    let (types, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeInstanceTypesOutput { instance_types: Some(types), next_token })
}

fn shape(instance_type: &InstanceType) -> api::InstanceTypeInfo {
    let (cores, threads) = instance_type.cores();
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let nitro = instance_type.current && !matches!(instance_type.family, "t2" | "m4");
    api::InstanceTypeInfo {
        instance_type: Some(instance_type.to_string()),
        current_generation: Some(instance_type.current),
        free_tier_eligible: Some(matches!((instance_type.family, instance_type.size), ("t2" | "t3", "micro"))),
        supported_usage_classes: texts(&["on-demand", "spot"]),
        supported_root_device_types: texts(&["ebs"]),
        supported_virtualization_types: texts(&["hvm"]),
        bare_metal: Some(false),
        hypervisor: Some(if nitro { "nitro" } else { "xen" }.into()),
        processor_info: Some(api::ProcessorInfo {
            supported_architectures: texts(&[instance_type.architecture]),
            ..Default::default()
        }),
        vcpu_info: Some(api::VCpuInfo {
            default_vcpus: Some(instance_type.vcpus),
            default_cores: Some(cores),
            default_threads_per_core: Some(threads),
            ..Default::default()
        }),
        memory_info: Some(api::MemoryInfo { size_in_mib: Some(instance_type.memory_mib) }),
        instance_storage_supported: Some(false),
        ebs_info: Some(api::EbsInfo {
            ebs_optimized_support: Some(if nitro { "default" } else { "unsupported" }.into()),
            encryption_support: Some("supported".into()),
            nvme_support: Some(if nitro { "required" } else { "unsupported" }.into()),
            ..Default::default()
        }),
        network_info: Some(api::NetworkInfo {
            maximum_network_interfaces: Some(interfaces_max(instance_type)),
            ipv4_addresses_per_interface: Some(addresses_max(instance_type)),
            ipv6_addresses_per_interface: Some(addresses_max(instance_type)),
            ipv6_supported: Some(true),
            ena_support: Some(if nitro { "required" } else { "unsupported" }.into()),
            efa_supported: Some(false),
            maximum_network_cards: Some(1),
            default_network_card_index: Some(0),
            ..Default::default()
        }),
        placement_group_info: Some(api::PlacementGroupInfo { supported_strategies: texts(&["partition", "spread"]) }),
        hibernation_supported: Some(false),
        burstable_performance_supported: Some(instance_type.burstable),
        dedicated_hosts_supported: Some(!instance_type.burstable),
        auto_recovery_supported: Some(true),
        supported_boot_modes: texts(&["legacy-bios", "uefi"]),
        ..Default::default()
    }
}

/// How many addresses any interface can have.
pub const ADDRESSES_MAX: i32 = 50;

/// How many interfaces an instance of the type can have.
pub fn interfaces_max(instance_type: &InstanceType) -> i32 {
    limits(instance_type).0
}

/// How many private addresses an interface of an instance of the type can have.
pub fn addresses_max(instance_type: &InstanceType) -> i32 {
    limits(instance_type).1
}

/// Interfaces, and addresses of each.
fn limits(instance_type: &InstanceType) -> (i32, i32) {
    match (instance_type.family, instance_type.size) {
        (_, "nano" | "micro") => (2, 2),
        ("t3" | "t2" | "t4g", "small") => (3, 4),
        (_, "small") => (2, 4),
        ("t2" | "t3" | "t3a" | "t4g", "medium") => (3, 6),
        ("m1" | "m3", "medium") => (2, 6),
        (_, "medium") => (2, 4),
        ("t2" | "t3" | "t3a" | "t4g", "large") => (3, 12),
        ("m4", "large") => (2, 10),
        (_, "large") => (3, 10),
        ("t2", _) => (3, 15),
        ("m3", "2xlarge") => (4, 30),
        (_, "xlarge" | "2xlarge") => (4, 15),
        (_, "4xlarge" | "8xlarge" | "9xlarge" | "10xlarge" | "12xlarge") => (8, 30),
        _ => (15, ADDRESSES_MAX),
    }
}

impl Described for api::InstanceTypeInfo {
    const FIELDS: &'static [Field<Self>] = &[
        ("auto-recovery-supported", |info| filters::text(info.auto_recovery_supported)),
        ("bare-metal", |info| filters::text(info.bare_metal)),
        ("burstable-performance-supported", |info| filters::text(info.burstable_performance_supported)),
        ("current-generation", |info| filters::text(info.current_generation)),
        ("free-tier-eligible", |info| filters::text(info.free_tier_eligible)),
        ("hibernation-supported", |info| filters::text(info.hibernation_supported)),
        ("hypervisor", |info| filters::one(&info.hypervisor)),
        ("instance-storage-supported", |info| filters::text(info.instance_storage_supported)),
        ("instance-type", |info| filters::one(&info.instance_type)),
        ("memory-info.size-in-mib", |info| filters::text(info.memory_info.as_ref().and_then(|m| m.size_in_mib))),
        ("processor-info.supported-architecture", |info| {
            info.processor_info.iter().flat_map(|p| p.supported_architectures.clone().unwrap_or_default()).collect()
        }),
        ("supported-root-device-type", |info| info.supported_root_device_types.clone().unwrap_or_default()),
        ("supported-usage-class", |info| info.supported_usage_classes.clone().unwrap_or_default()),
        ("supported-virtualization-type", |info| info.supported_virtualization_types.clone().unwrap_or_default()),
        ("vcpu-info.default-cores", |info| filters::text(info.vcpu_info.as_ref().and_then(|v| v.default_cores))),
        ("vcpu-info.default-vcpus", |info| filters::text(info.vcpu_info.as_ref().and_then(|v| v.default_vcpus))),
        ("vcpu-info.default-threads-per-core", |info| {
            filters::text(info.vcpu_info.as_ref().and_then(|v| v.default_threads_per_core))
        }),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.instance_type.clone().unwrap_or_default()
    }
}

pub async fn describe_offerings(
    cx: Cx,
    input: api::DescribeInstanceTypeOfferingsInput,
) -> Result<api::DescribeInstanceTypeOfferingsOutput> {
    let location_type = input.location_type.as_deref().unwrap_or("region");
    let zones = Region::named(cx.region()).into_iter().flat_map(Region::zones);
    let locations: Vec<String> = match location_type {
        "region" => vec![cx.region().to_owned()],
        "availability-zone" => zones.map(|zone| zone.name).collect(),
        "availability-zone-id" => zones.map(|zone| zone.id).collect(),
        other => return Err(errors::invalid_value("locationType", other)),
    };
    let mut rows: Vec<api::InstanceTypeOffering> = InstanceType::all()
        .flat_map(|known| {
            locations.iter().map(move |location| api::InstanceTypeOffering {
                instance_type: Some(known.to_string()),
                location_type: Some(location_type.to_owned()),
                location: Some(location.clone()),
            })
        })
        .collect();
    rows.sort_by_key(Described::key);
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: OFFERING_BOUNDS };
    let (offerings, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeInstanceTypeOfferingsOutput { instance_type_offerings: Some(offerings), next_token })
}

impl Described for api::InstanceTypeOffering {
    const FIELDS: &'static [Field<Self>] = &[
        ("instance-type", |offering| filters::one(&offering.instance_type)),
        ("location", |offering| filters::one(&offering.location)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        format!("{} {}", text(&self.instance_type), text(&self.location))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_name() {
        assert!(FAMILIES.is_sorted_by_key(|family| family.name));
        for (name, expected) in [
            ("t2.micro", Some((1, 1024, X86))),
            ("t3.micro", Some((2, 1024, X86))),
            ("t4g.small", Some((2, 2048, ARM))),
            ("m5.large", Some((2, 8192, X86))),
            ("c6i.xlarge", Some((4, 8192, X86))),
            ("r5.24xlarge", Some((96, 786_432, X86))),
            ("m6g.medium", Some((1, 4096, ARM))),
            ("m5.medium", None),
            ("t3.huge", None),
            ("", None),
            ("t3", None),
        ] {
            let found = InstanceType::named(name).map(|t| (t.vcpus, t.memory_mib, t.architecture));
            assert_eq!(found, expected, "{name}");
        }
    }
}
