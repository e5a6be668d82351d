//! Requests a second of the API: 16 connections that are kept, the server on one core, the load on the other.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::client::{ask, call, ec2, element};
use super::load::Load;
use super::server::Server;
use super::table::{self, Row, Subject, Target};
use super::{Bench, machine};

const CONNECTIONS: usize = 16;
const DESCRIBED: usize = 100;
const WARM_UP: Duration = Duration::from_millis(300);
/// The addresses of a subnet of 16 bits.
const LAUNCHES_MAX: u64 = 60_000;
const DATA_PER_REQUEST: usize = 20;

pub fn metrics(bench: &mut Bench) -> Result<Vec<Row>> {
    let moto = bench.moto();
    let kinds = [(1, false), (DATA_PER_REQUEST, false), (1, true)];
    kinds.into_iter().map(|(data, durable)| put_metric_data(bench, moto.as_deref(), data, durable)).collect()
}

pub fn describe(bench: &mut Bench) -> Result<Vec<Row>> {
    let moto = bench.moto();
    let servers = Servers::start(bench, moto.as_deref(), &["--driver", "sim"])?;
    let figures = servers.rates(bench, |address| {
        ask(address, &ec2("RunInstances", &one_kind(address, DESCRIBED)?))?;
        Ok(vec![ec2("DescribeInstances", "")])
    })?;
    let what = format!("DescribeInstances of {DESCRIBED}, {CONNECTIONS} connections");
    Ok(vec![table::row(what, "requests/s", Target::AtLeast(500.0), figures)])
}

/// The parameters of a launch.
fn one_kind(address: SocketAddrV4, count: usize) -> Result<String> {
    let owner = "&Owner.1=amazon&Filter.1.Name=architecture&Filter.1.Value.1=x86_64";
    let image = element(&ask(address, &ec2("DescribeImages", owner))?, "imageId")?;
    Ok(format!("&ImageId={image}&InstanceType=t3.micro&MinCount={count}&MaxCount={count}"))
}

/// Every round starts with an empty cloud, because each launch makes the next one's world larger.
pub fn launch(bench: &mut Bench) -> Result<Vec<Row>> {
    let moto = bench.moto();
    let bench = &*bench;
    let data = bench.scratch.join("run-instances");
    let data_text = data.to_string_lossy().into_owned();
    let measure = |server: Server| -> Result<f64> {
        let parameters = format!("{}&SubnetId={}", one_kind(server.address, 1)?, wide_subnet(server.address)?);
        let mut load = Load::new(server.address, CONNECTIONS, vec![ec2("RunInstances", &parameters)])?;
        rate(bench, &server, &mut load, LAUNCHES_MAX)
    };
    let durable = ["--driver", "sim", "--data", &data_text];
    let mut subjects = vec![Subject {
        name: "standfast",
        measure: Box::new(|| {
            let rate = measure(bench.standfast(&durable, Some(bench.cores.server))?)?;
            std::fs::remove_dir_all(&data).context("removing the state")?;
            Ok(rate)
        }),
    }];
    if let Some(program) = &moto {
        let measure = &measure;
        subjects.push(Subject {
            name: "moto (in memory)",
            measure: Box::new(move || measure(bench.moto_server(program, Some(bench.cores.server))?)),
        });
    }
    let figures = table::medians(bench.rounds, subjects)?;
    let what = format!("RunInstances, sim driver, durable, {CONNECTIONS} connections");
    Ok(vec![table::row(what, "requests/s", Target::AtLeast(2000.0), figures)])
}

/// A subnet with room for all launches of a round.
fn wide_subnet(address: SocketAddrV4) -> Result<String> {
    let vpc = element(&ask(address, &ec2("CreateVpc", "&CidrBlock=10.0.0.0/16"))?, "vpcId")?;
    let subnet = format!("&VpcId={vpc}&CidrBlock=10.0.0.0/16");
    element(&ask(address, &ec2("CreateSubnet", &subnet))?, "subnetId")
}

fn put_metric_data(bench: &Bench, moto: Option<&Path>, data: usize, durable: bool) -> Result<Row> {
    let folder = bench.scratch.join("metrics").to_string_lossy().into_owned();
    let arguments: &[&str] = if durable { &["--driver", "sim", "--data", &folder] } else { &["--driver", "sim"] };
    let servers = Servers::start(bench, moto, arguments)?;
    let requests: Vec<_> = (0..CONNECTIONS).map(|connection| metric_request(connection, data)).collect();
    let figures = servers.rates(bench, |_| Ok(requests.clone()))?;
    let what = format!("PutMetricData, {data} data, {}", if durable { "durable" } else { "in memory" });
    let target = if data == 1 && !durable { Target::TimesPeer(50.0) } else { Target::None };
    Ok(table::row(what, "requests/s", target, figures))
}

fn metric_request(connection: usize, data: usize) -> Vec<u8> {
    let datum = |n: usize| {
        let member = format!("&MetricData.member.{n}");
        format!(
            "{member}.MetricName=Latency{n}{member}.Unit=Milliseconds{member}.Value={n}.5\
             {member}.Dimensions.member.1.Name=Worker{member}.Dimensions.member.1.Value=w-{connection}"
        )
    };
    let all: String = (1..=data).map(datum).collect();
    call("monitoring", "2010-08-01", "PutMetricData", &format!("&Namespace=Bench{all}"))
}

/// Requests a second. What they cost the server is told on the way: unlike the rate, it says something on a busy machine.
fn rate(bench: &Bench, server: &Server, load: &mut Load, requests_max: u64) -> Result<f64> {
    let before = server.process.cpu_time()?;
    let answered = machine::pinned(bench.cores.client, || load.run(bench.window, requests_max))?;
    let cpu_us = (server.process.cpu_time()? - before).as_secs_f64() * 1e6 / answered.requests as f64;
    eprintln!("  {:.0} requests/s, {cpu_us:.0} us of processor time each", answered.per_second());
    Ok(answered.per_second())
}

/// Standfast and moto, on the same core, of which only one at a time has anything to do.
struct Servers(Vec<(&'static str, Server)>);

impl Servers {
    fn start(bench: &Bench, moto: Option<&Path>, arguments: &[&str]) -> Result<Self> {
        let core = Some(bench.cores.server);
        let mut servers = vec![("standfast", bench.standfast(arguments, core)?)];
        if let Some(program) = moto {
            servers.push(("moto (in memory)", bench.moto_server(program, core)?));
        }
        Ok(Self(servers))
    }

    /// The rate of each with the requests that `prepare` makes for it.
    fn rates(
        &self,
        bench: &Bench,
        prepare: impl Fn(SocketAddrV4) -> Result<Vec<Vec<u8>>>,
    ) -> Result<Vec<(&'static str, f64)>> {
        let mut subjects = Vec::new();
        for (name, server) in &self.0 {
            let mut load = Load::new(server.address, CONNECTIONS, prepare(server.address)?)?;
            if *name == "standfast" {
                machine::pinned(bench.cores.client, || load.run(WARM_UP, u64::MAX))?;
            }
            let measure = Box::new(move || rate(bench, server, &mut load, u64::MAX));
            subjects.push(Subject { name, measure });
        }
        table::medians(bench.rounds, subjects)
    }
}
