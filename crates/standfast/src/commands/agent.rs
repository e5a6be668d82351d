//! `agent`: what only the inside of an instance knows, its memory and its disks, as CloudWatch metrics of `CWAgent`.
//!
//! It signs with the credentials of the instance's role, as the agent of AWS does: without a role it says so and ends.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value as Json, json};
use standfast_api::cloudwatch;
use standfast_core::Clock;
use standfast_wire::sigv4;

use crate::api_client::ApiClient;
use crate::http_client::{Connection, place};
use crate::{cli, image, output};

const METADATA: &str = "http://169.254.169.254";
const NAMESPACE: &str = "CWAgent";
/// File systems that are not disks.
const KINDS: [&str; 4] = ["overlay", "ext4", "xfs", "btrfs"];

pub async fn run(options: &cli::Agent, client: &ApiClient) -> Result<ExitCode> {
    if !image::in_instance() {
        bail!("the agent is for instances of the linux driver: there it tells CloudWatch of their memory and disks");
    }
    loop {
        // A cloud that is being restarted is back soon; what is wrong for good is wrong at the first time.
        if let Err(error) = publish(client).await {
            if options.once {
                return Err(error);
            }
            output::log("warn", "agent_failed", format_args!("error={:?}", format!("{error:#}")));
        }
        if options.once {
            return Ok(ExitCode::SUCCESS);
        }
        Clock::system(1.0).sleep(options.interval.max(Duration::from_secs(1))).await;
    }
}

async fn publish(client: &ApiClient) -> Result<()> {
    let metadata = Metadata::open().await?;
    let client = client.clone().signing_with(metadata.credentials().await?);
    let id = metadata.get("instance-id").await?;
    let group = metadata.get("tags/instance/aws:autoscaling:groupName").await.ok();
    let data = data(&measured()?, &id, group.as_deref());
    client.call(&cloudwatch::MODEL, "PutMetricData", json!({"Namespace": NAMESPACE, "MetricData": data})).await?;
    Ok(())
}

struct Metadata {
    token: String,
}

impl Metadata {
    async fn open() -> Result<Self> {
        let request = http::Request::put("/latest/api/token").header("x-aws-ec2-metadata-token-ttl-seconds", "60");
        let token = ask(request).await.context("asking for a token of the metadata service")?;
        Ok(Self { token })
    }

    async fn get(&self, path: &str) -> Result<String> {
        let request = http::Request::get(format!("/latest/meta-data/{path}"));
        ask(request.header("x-aws-ec2-metadata-token", &self.token)).await
    }

    async fn credentials(&self) -> Result<sigv4::Credentials> {
        let role = self.get("iam/security-credentials/").await;
        let role = role.context("this instance has no role: give it an instance profile")?;
        let found: Json = serde_json::from_str(&self.get(&format!("iam/security-credentials/{}", role.trim())).await?)?;
        let text = |name: &str| {
            found[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in the credentials"))
        };
        Ok(sigv4::Credentials {
            access_key: text("AccessKeyId")?,
            secret_key: text("SecretAccessKey")?,
            session_token: Some(text("Token")?),
        })
    }
}

async fn ask(request: http::request::Builder) -> Result<String> {
    let at = place(METADATA)?;
    let request = request.header("host", &at.host).body(Full::<Bytes>::default())?;
    let answer = Connection::open(at.address).await?.send(request).await?;
    if answer.status() != 200 {
        bail!("the metadata service answers {}", answer.status());
    }
    Ok(String::from_utf8_lossy(answer.body()).into_owned())
}

/// A measurement: name, percentage, and the dimensions beside the instance's.
type Measured = (&'static str, f64, BTreeMap<&'static str, String>);

fn measured() -> Result<Vec<Measured>> {
    let total = memory_total_bytes(&fs::read_to_string("/proc/meminfo")?).context("no MemTotal in /proc/meminfo")?;
    let used = memory_used_bytes()?;
    let mut out = vec![("mem_used_percent", percent(used as f64, total as f64), BTreeMap::new())];
    for (device, path, kind) in disks(&fs::read_to_string("/proc/mounts")?) {
        let Ok(stat) = rustix::fs::statvfs(&*path) else { continue };
        let used = (stat.f_blocks - stat.f_bfree) as f64;
        let dimensions = BTreeMap::from([("device", device), ("path", path), ("fstype", kind)]);
        out.push(("disk_used_percent", percent(used, used + stat.f_bavail as f64), dimensions));
    }
    Ok(out)
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (100.0 * part / whole).clamp(0.0, 100.0) } else { 0.0 }
}

fn memory_total_bytes(meminfo: &str) -> Option<u64> {
    kibibytes(meminfo, "MemTotal:")
}

fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}

/// What the instance's processes hold, each page that several share counted once in all.
fn memory_used_bytes() -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_process = path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        // One that has just ended holds nothing.
        if is_process && let Ok(rollup) = fs::read_to_string(path.join("smaps_rollup")) {
            sum += kibibytes(&rollup, "Pss:").unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Device, path and kind of the mounts that are disks; each device once, where it was mounted first.
fn disks(mounts: &str) -> Vec<(String, String, String)> {
    let mut out: Vec<(String, String, String)> = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(path), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
        let is_disk = KINDS.contains(&kind) && (path == "/" || path.starts_with("/mnt/"));
        let device = device.rsplit('/').next().unwrap_or(device);
        if is_disk && !out.iter().any(|(known, ..)| known == device) {
            out.push((device.to_owned(), path.to_owned(), kind.to_owned()));
        }
    }
    out
}

fn data(measured: &[Measured], id: &str, group: Option<&str>) -> Json {
    let datum = |(name, value, more): &Measured, own: (&str, &str)| {
        let own = [(own.0, own.1.to_owned())].into_iter();
        let dimensions = own.chain(more.iter().map(|(name, value)| (*name, value.clone())));
        let dimensions: Vec<Json> = dimensions.map(|(name, value)| json!({"Name": name, "Value": value})).collect();
        json!({"MetricName": name, "Value": value, "Unit": "Percent", "Dimensions": dimensions})
    };
    let of_instance = measured.iter().map(|one| datum(one, ("InstanceId", id)));
    // Memory of a group's members under its name too, so that a group can be scaled by it.
    let of_group = group.into_iter().flat_map(|group| {
        let plain = measured.iter().filter(|(_, _, more)| more.is_empty());
        plain.map(move |one| datum(one, ("AutoScalingGroupName", group)))
    });
    of_instance.chain(of_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_the_root_and_volumes_each_once() {
        let mounts = "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\n/dev/loop3 /mnt/sdf ext4 rw 0 0\n\
                      /dev/loop3 /mnt/again ext4 rw 0 0\ntmpfs /mnt/tmp tmpfs rw 0 0\n";
        let found: Vec<_> = disks(mounts).into_iter().map(|(device, path, _)| (device, path)).collect();
        let expected = [("overlay", "/"), ("loop3", "/mnt/sdf")];
        assert_eq!(found, expected.map(|(device, path)| (device.to_owned(), path.to_owned())));
    }

    #[test]
    fn memory_is_told_of_the_instance_and_of_its_group() {
        assert_eq!(memory_total_bytes("MemTotal:        1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
        let disk = ("disk_used_percent", 7.0, BTreeMap::from([("path", "/".to_owned())]));
        let told = data(&[("mem_used_percent", 12.5, BTreeMap::new()), disk], "i-1", Some("web"));
        let names: Vec<_> = (told.as_array().into_iter().flatten())
            .map(|datum| (datum["MetricName"].as_str(), datum["Dimensions"][0]["Value"].as_str()))
            .collect();
        let (memory, disk) = (Some("mem_used_percent"), Some("disk_used_percent"));
        assert_eq!(names, [(memory, Some("i-1")), (disk, Some("i-1")), (memory, Some("web"))]);
    }
}
