//! Instance requirements of an override: which types meet them.
//!
//! AWS-DIFF: vCPUs, memory, memory per vCPU, allowed and excluded types, generations, burstable and bare metal types and
//! manufacturers of processors decide. Requirements on accelerators, local storage, network, EBS bandwidth and prices
//! are kept and shown.

use standfast_api::{autoscaling as api, ec2};
use standfast_core::Result;
use standfast_kernel::Cx;

use super::errors::validation;

const GIB_MIB: f64 = 1024.0;
const PAGE: i32 = 100;

/// The names of all types that meet them and run images of this architecture.
pub async fn types(cx: &Cx, asked: &api::InstanceRequirements, architecture: Option<&str>) -> Result<Vec<String>> {
    check(asked)?;
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let input =
            ec2::DescribeInstanceTypesInput { max_results: Some(PAGE), next_token: token.take(), ..Default::default() };
        let page = cx.call(ec2::DescribeInstanceTypes, input).await?;
        for known in page.instance_types.unwrap_or_default() {
            if meets(asked, &known, architecture) {
                names.extend(known.instance_type);
            }
        }
        token = page.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            break;
        }
    }
    if names.is_empty() {
        return Err(validation("No instance type meets the InstanceRequirements."));
    }
    names.sort();
    Ok(names)
}

fn check(asked: &api::InstanceRequirements) -> Result<()> {
    let ranges = [
        ("VCpuCount", asked.vcpu_count.min, asked.vcpu_count.max),
        ("MemoryMiB", asked.memory_mib.min, asked.memory_mib.max),
    ];
    for (name, min, max) in ranges {
        if max.is_some_and(|max| max < min) || min < 0 {
            let max = max.unwrap_or_default();
            return Err(validation(format!("{name} of InstanceRequirements is not valid: Min {min}, Max {max}.")));
        }
    }
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if given(&asked.allowed_instance_types) && given(&asked.excluded_instance_types) {
        return Err(validation("AllowedInstanceTypes and ExcludedInstanceTypes cannot both be specified."));
    }
    Ok(())
}

fn meets(asked: &api::InstanceRequirements, known: &ec2::InstanceTypeInfo, architecture: Option<&str>) -> bool {
    let name = known.instance_type.as_deref().unwrap_or_default();
    let vcpus = known.vcpu_info.as_ref().and_then(|info| info.default_vcpus).unwrap_or_default();
    let memory = known.memory_info.as_ref().and_then(|info| info.size_in_mib).unwrap_or_default();
    let within = |value: i64, min: i32, max: Option<i32>| value >= min.into() && max.is_none_or(|m| value <= m.into());
    let per_vcpu = memory as f64 / GIB_MIB / f64::from(vcpus.max(1));
    let ratio = asked.memory_gib_per_vcpu.as_ref();
    let among = |list: &Option<Vec<String>>| list.iter().flatten().any(|pattern| matches(pattern, name));
    let wanted = |rule: &Option<String>, has: bool| match rule.as_deref() {
        Some("included") => true,
        Some("required") => has,
        _ => !has,
    };
    let processor = known.processor_info.as_ref();
    let architectures = processor.and_then(|info| info.supported_architectures.as_ref());
    let runs = |wanted: &str| architectures.is_none_or(|all| all.iter().any(|own| own == wanted));
    within(vcpus.into(), asked.vcpu_count.min, asked.vcpu_count.max)
        && within(memory, asked.memory_mib.min, asked.memory_mib.max)
        && ratio.is_none_or(|r| r.min.is_none_or(|min| per_vcpu >= min) && r.max.is_none_or(|max| per_vcpu <= max))
        && (asked.allowed_instance_types.as_ref().is_none_or(Vec::is_empty) || among(&asked.allowed_instance_types))
        && !among(&asked.excluded_instance_types)
        && wanted(&asked.burstable_performance, known.burstable_performance_supported == Some(true))
        && wanted(&asked.bare_metal, known.bare_metal == Some(true))
        && architecture.is_none_or(runs)
        && generation(asked, known)
        && manufacturer(asked, processor)
}

fn generation(asked: &api::InstanceRequirements, known: &ec2::InstanceTypeInfo) -> bool {
    let own = if known.current_generation == Some(false) { "previous" } else { "current" };
    asked.instance_generations.as_ref().is_none_or(|all| all.is_empty() || all.iter().any(|one| one == own))
}

fn manufacturer(asked: &api::InstanceRequirements, processor: Option<&ec2::ProcessorInfo>) -> bool {
    let own = match processor.and_then(|info| info.manufacturer.as_deref()) {
        Some(text) if text.contains("AMD") => "amd",
        Some(text) if text.contains("AWS") || text.contains("Amazon") => "amazon-web-services",
        Some(_) => "intel",
        None => return true,
    };
    asked.cpu_manufacturers.as_ref().is_none_or(|all| all.is_empty() || all.iter().any(|one| one == own))
}

/// Whether a name fits a pattern, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, fits) in [
            ("m5.large", "m5.large", true),
            ("m5.*", "m5.xlarge", true),
            ("m5*", "m5a.large", true),
            ("*.large", "c5.large", true),
            ("r*", "m5.large", false),
            ("*3*", "t3.micro", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
