//! The documents that commands can be sent with: the shell's, and those of FIS for stress and packets.
//!
//! Invariant: a document is parsed when its command is sent, so that what comes to an instance cannot fail for its form.
//! Stress is a program of the instance's image that ends by itself. What happens to packets is a fault of the kernel's
//! records, and so a level of the network: nothing runs inside the instance for it.

use std::collections::BTreeMap;

use standfast_api::ec2;
use standfast_core::network::{Harm, PacketFault, Traffic, Way};
use standfast_core::place::Zone;
use standfast_core::{Cidr, Error, Result};
use standfast_kernel::Cx;

use super::model::Work;

const SHELL: &str = "AWS-RunShellScript";
/// What the names of FIS's documents begin with.
const OF_FIS: &str = "AWSFIS-Run-";
/// Commands run no longer than this, in seconds.
const LIMIT_S_MAX: u64 = 172_800;
/// Stress ends by itself; this much later it is ended.
const STRESS_GRACE_S: u64 = 60;
/// As the document says it: 12 hours.
const STRESS_S_MAX: u64 = 43_200;
const DELAY_MS_MAX: u64 = 60_000;
const WORKERS_MAX: u64 = 64;
/// Of the documents that have jitter.
const USUAL_JITTER_MS: u64 = 10;

const DURATION: &str = "DurationSeconds";
const FLOWS: &str = "FlowsPercent";
const JITTER: &str = "JitterMilliseconds";
/// What every document takes that needs a program: here it is part of the image, and there is nothing to install.
const INSTALL: &str = "InstallDependencies";

/// The documents of FIS, after `OF_FIS`, with what they take. As AWS, those of sources have jitter, and the others have none.
const DOCUMENTS: &[(&str, &[&str])] = &[
    ("CPU-Stress", &[DURATION, INSTALL, "CPU", "LoadPercent"]),
    ("Memory-Stress", &[DURATION, INSTALL, "Workers", "Percent"]),
    ("IO-Stress", &[DURATION, INSTALL, "Workers", "Percent"]),
    ("Disk-Fill", &[DURATION, INSTALL, "Percent"]),
    ("Kill-Process", &["ProcessName", "Signal"]),
    ("Network-Blackhole-Port", &[DURATION, INSTALL, "Protocol", "Port", "TrafficType"]),
    ("Network-Latency", &[DURATION, INSTALL, "Interface", "DelayMilliseconds"]),
    (
        "Network-Latency-Sources",
        &[DURATION, INSTALL, "Interface", "DelayMilliseconds", JITTER, "Sources", "TrafficType", FLOWS],
    ),
    ("Network-Packet-Loss", &[DURATION, INSTALL, "Interface", "LossPercent"]),
    ("Network-Packet-Loss-Sources", &[DURATION, INSTALL, "Interface", "LossPercent", "Sources", "TrafficType", FLOWS]),
];

/// A command's parameters.
pub type Parameters = BTreeMap<String, Vec<String>>;

/// What a document does with these parameters. `id` is the command's.
pub async fn parse(cx: &Cx, name: &str, parameters: &Parameters, vpcs: &[String], id: &str) -> Result<Work> {
    if name == SHELL {
        return shell(parameters);
    }
    let Some(kind) = name.strip_prefix(OF_FIS) else {
        let message = format!("Document {name} is not available here; {SHELL} and those of FIS ({OF_FIS}...) are.");
        return Err(Error::client("InvalidDocument", message));
    };
    let given = Given { document: name, parameters };
    if let Some((_, known)) = DOCUMENTS.iter().find(|(document, _)| *document == kind) {
        given.only(known)?;
    }
    match kind {
        "CPU-Stress" | "Memory-Stress" | "IO-Stress" | "Disk-Fill" | "Kill-Process" => stress(cx, kind, &given, id),
        "Network-Blackhole-Port" | "Network-Latency" | "Network-Packet-Loss" => packets(cx, kind, &given, Vec::new()),
        "Network-Latency-Sources" | "Network-Packet-Loss-Sources" => {
            let peers = sources(cx, given.required("Sources")?, vpcs).await?;
            packets(cx, kind.trim_end_matches("-Sources"), &given, peers)
        }
        _ => Err(Error::client("InvalidDocument", format!("Document {name} is not available here."))),
    }
}

fn shell(parameters: &Parameters) -> Result<Work> {
    let given = Given { document: SHELL, parameters };
    let lines = parameters.get("commands").cloned().unwrap_or_default();
    if lines.is_empty() {
        return Err(Error::client("InvalidParameters", "The parameter 'commands' of the document is required."));
    }
    let limit_s = given.number("executionTimeout", 3600, 1..=LIMIT_S_MAX)?;
    let mut script = lines.join("\n");
    if let Some(folder) = given.text("workingDirectory") {
        script = format!("cd '{}' || exit 1\n{script}", folder.replace('\'', r"'\''"));
    }
    Ok(Work::Script { script, limit_s, lasts_s: None })
}

/// The image's own program. What it is given are numbers and checked names: nothing of it needs quotes.
fn stress(cx: &Cx, kind: &str, given: &Given<'_>, id: &str) -> Result<Work> {
    needs(cx, cx.host().abilities().volumes, "instances are no machines of their own")?;
    if kind == "Kill-Process" {
        let process = given.name("ProcessName")?.ok_or_else(|| given.missing("ProcessName"))?;
        let signal = given.name("Signal")?.unwrap_or("SIGTERM");
        let script = format!("exec standfast stress kill --signal {signal} -- {process}");
        return Ok(Work::Script { script, limit_s: STRESS_GRACE_S, lasts_s: None });
    }
    let time = given.duration_s()?;
    let workers = given.number("Workers", 1, 1..=WORKERS_MAX)?;
    let what = match kind {
        "CPU-Stress" => {
            let (cpus, load) = (given.number("CPU", 0, 0..=1024)?, given.number("LoadPercent", 100, 1..=100)?);
            format!("cpu --cpus {cpus} --load {load}")
        }
        "Memory-Stress" => format!("memory --workers {workers} --percent {}", given.number("Percent", 80, 1..=100)?),
        "IO-Stress" => format!("io --workers {workers} --percent {}", given.number("Percent", 80, 1..=100)?),
        _ => format!("disk --percent {}", given.number("Percent", 95, 1..=100)?),
    };
    let script = format!("exec standfast stress {what} --for {time}s --token {id}");
    Ok(Work::Script { script, limit_s: time + STRESS_GRACE_S, lasts_s: Some(time) })
}

fn packets(cx: &Cx, kind: &str, given: &Given<'_>, peers: Vec<Cidr>) -> Result<Work> {
    let able = cx.host().abilities();
    let duration_s = given.duration_s()?;
    if !matches!(given.text("Interface"), None | Some("eth0" | "ens5" | "DEFAULT" | "ALL")) {
        let interface = given.text("Interface").unwrap_or_default();
        return Err(given.invalid("Interface", interface, "eth0, DEFAULT or ALL"));
    }
    // Documents without the parameter are about what is sent.
    let way = match given.text("TrafficType").map(str::to_ascii_lowercase).as_deref() {
        None if !peers.is_empty() || kind == "Network-Blackhole-Port" => Way::Received,
        None | Some("egress") => Way::Sent,
        Some("ingress") => Way::Received,
        Some(other) => return Err(given.invalid("TrafficType", other, "ingress or egress")),
    };
    // AWS-DIFF: some flows only is refused, as packets are chosen here one by one.
    given.number(FLOWS, 100, 100..=100)?;
    let fault = |way, traffic, harm| PacketFault { way, peers: peers.clone(), traffic, harm };
    let faults = match kind {
        "Network-Blackhole-Port" => {
            needs(cx, able.loss, NO_NETWORKS)?;
            let port = given.number("Port", 0, 1..=65_535)? as u16;
            let traffic = match given.required("Protocol")? {
                "tcp" => Traffic::Tcp(port, port),
                "udp" => Traffic::Udp(port, port),
                other => return Err(given.invalid("Protocol", other, "tcp or udp")),
            };
            vec![fault(way, traffic, Harm::Loss(100))]
        }
        "Network-Packet-Loss" => {
            needs(cx, able.loss, NO_NETWORKS)?;
            let percent = given.number("LossPercent", 7, 1..=100)? as u8;
            vec![fault(way, Traffic::All, Harm::Loss(percent))]
        }
        _ => {
            needs(cx, able.networks, NO_NETWORKS)?;
            needs(cx, able.delay, "the kernel has no TUN devices, or nftables without device hooks")?;
            let delay_ms = given.number("DelayMilliseconds", 200, 1..=DELAY_MS_MAX)? as u32;
            let usual = if peers.is_empty() { 0 } else { USUAL_JITTER_MS };
            let jitter_ms = given.number(JITTER, usual, 0..=DELAY_MS_MAX)? as u32;
            // AWS-DIFF: what is late is what the instance gets, also for egress: the round trip is the same.
            vec![fault(Way::Received, Traffic::All, Harm::Late { delay_ms, jitter_ms, corrupt_percent: 0 })]
        }
    };
    Ok(Work::Packets { faults, duration_s })
}

const NO_NETWORKS: &str = "instances have no networks of their own";

fn needs(cx: &Cx, able: bool, why: &str) -> Result<()> {
    if able {
        return Ok(());
    }
    let message = format!("The {} driver cannot do it here: {why}. `standfast doctor` says more.", cx.host().name());
    Err(Error::client("ValidationException", message))
}

/// The blocks that a list of addresses, blocks and zones means: zones are their subnets in these VPCs.
async fn sources(cx: &Cx, list: &str, vpcs: &[String]) -> Result<Vec<Cidr>> {
    let mut blocks = Vec::new();
    for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if let Some(block) = block_of(word) {
            blocks.push(block);
            continue;
        }
        if Zone::named(word).is_none() {
            let message = format!("'{word}' in Sources is neither an IPv4 address, a block nor an availability zone.");
            return Err(Error::client("InvalidParameters", message));
        }
        let filter = |name: &str, values: Vec<String>| ec2::Filter { name: Some(name.into()), values: Some(values) };
        let filters = vec![filter("availability-zone", vec![word.to_owned()]), filter("vpc-id", vpcs.to_vec())];
        let input = ec2::DescribeSubnetsInput { filters: Some(filters), ..Default::default() };
        let found = cx.call(ec2::DescribeSubnets, input).await?.subnets.unwrap_or_default();
        blocks.extend(found.into_iter().filter_map(|subnet| subnet.cidr_block?.parse::<Cidr>().ok()));
    }
    if blocks.is_empty() {
        return Err(Error::client("InvalidParameters", format!("The Sources '{list}' mean no address.")));
    }
    Ok(blocks)
}

fn block_of(word: &str) -> Option<Cidr> {
    word.parse().ok().or_else(|| Cidr::new(word.parse().ok()?, 32))
}

/// The parameters that a document was given.
struct Given<'a> {
    document: &'a str,
    parameters: &'a Parameters,
}

impl<'a> Given<'a> {
    /// Refuses what the document does not take, as it would have no effect.
    fn only(&self, known: &[&str]) -> Result<()> {
        match self.parameters.keys().find(|name| !known.contains(&name.as_str())) {
            Some(other) => {
                let message = format!("The document {} has no parameter '{other}'.", self.document);
                Err(Error::client("InvalidParameters", message))
            }
            None => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.parameters.get(name)?.first().map(String::as_str).filter(|text| !text.is_empty())
    }

    fn missing(&self, name: &str) -> Error {
        let message = format!("The parameter '{name}' of the document {} is required.", self.document);
        Error::client("InvalidParameters", message)
    }

    fn invalid(&self, name: &str, value: &str, wanted: &str) -> Error {
        Error::client("InvalidParameters", format!("The value '{value}' of '{name}' is not {wanted}."))
    }

    fn required(&self, name: &str) -> Result<&'a str> {
        self.text(name).ok_or_else(|| self.missing(name))
    }

    fn number(&self, name: &str, usual: u64, bounds: std::ops::RangeInclusive<u64>) -> Result<u64> {
        let wanted = || format!("{} to {}", bounds.start(), bounds.end());
        match self.text(name) {
            None if bounds.contains(&usual) => Ok(usual),
            None => Err(self.missing(name)),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if bounds.contains(&number) => Ok(number),
                _ => Err(self.invalid(name, text, &wanted())),
            },
        }
    }

    fn duration_s(&self) -> Result<u64> {
        self.required("DurationSeconds")?;
        self.number("DurationSeconds", 0, 1..=STRESS_S_MAX)
    }

    /// A word that a shell takes as it is.
    fn name(&self, name: &str) -> Result<Option<&'a str>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        match self.text(name) {
            Some(text) if !text.chars().all(plain) => Err(self.invalid(name, text, "a plain name")),
            text => Ok(text),
        }
    }
}
