//! What an instance sees of its processors and memory: files that stand in for the machine's own.

/// What each file stands in for, by its name in the launcher's directory.
pub const PLACES: [(&str, &str); 3] =
    [("meminfo", "/proc/meminfo"), ("cpuinfo", "/proc/cpuinfo"), ("online", "/sys/devices/system/cpu/online")];

/// The files by their names.
pub fn files(vcpus: u32, memory_mib: u64) -> [(&'static str, String); 3] {
    let machine = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    [("meminfo", meminfo(memory_mib)), ("cpuinfo", cpuinfo(&machine, vcpus)), ("online", online(vcpus))]
}

/// It does not follow use: what counts is what programs size themselves by.
fn meminfo(memory_mib: u64) -> String {
    let total = memory_mib * 1024;
    let lines = [
        ("MemTotal", total),
        ("MemFree", total),
        ("MemAvailable", total),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Shmem", 0),
        ("Slab", 0),
    ];
    lines.iter().map(|(name, kib)| format!("{:<16}{kib:>8} kB\n", format!("{name}:"))).collect()
}

/// The machine's first processor as often as the instance has one.
fn cpuinfo(machine: &str, vcpus: u32) -> String {
    let first = machine.split("\n\n").next().unwrap_or_default();
    let block = |n: u32| {
        let lines = first.lines().map(|line| match line.split(':').next().map(str::trim_end) {
            Some("processor") => format!("processor\t: {n}\n"),
            Some("core id") => format!("core id\t\t: {n}\n"),
            Some("siblings") => format!("siblings\t: {vcpus}\n"),
            Some("cpu cores") => format!("cpu cores\t: {vcpus}\n"),
            _ => format!("{line}\n"),
        });
        lines.chain(["\n".to_owned()]).collect::<String>()
    };
    (0..vcpus.max(1)).map(block).collect()
}

fn online(vcpus: u32) -> String {
    match vcpus {
        0 | 1 => "0\n".into(),
        n => format!("0-{}\n", n - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_see_the_instance_types_size() {
        assert!(meminfo(1024).starts_with("MemTotal:        1048576 kB\n"), "{}", meminfo(1024));
        let machine = "processor\t: 0\nmodel name\t: X\ncore id\t\t: 0\n\nprocessor\t: 1\n\n";
        let seen = cpuinfo(machine, 4);
        assert_eq!(seen.matches("processor\t:").count(), 4);
        assert_eq!(seen.matches("model name\t: X").count(), 4);
        assert_eq!((online(1).as_str(), online(4).as_str()), ("0\n", "0-3\n"));
    }
}
