//! A real cloud on the linux driver, and what a user does with it.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::client::{ask, ec2, element, elements, rest};
use super::server::Server;
use super::{Bench, machine, visit};

/// `#!/usr/bin/env -S PORT=80 what-is-the-time`: the user data is the server itself, and no shell runs before it.
const USER_DATA: &str = "IyEvdXNyL2Jpbi9lbnYgLVMgUE9SVD04MCB3aGF0LWlzLXRoZS10aW1lCg==";
pub const PORT: u16 = 80;
pub const ZONE: &str = "eu-west-1a";
/// How long anything may take before the benchmark gives up.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at the API.
pub const LOOK: Duration = Duration::from_millis(1);
/// Of processes: the server has started the host, which starts launchers, which start the instances' inits. What those
/// start is the users'.
const GENERATIONS_TO_INITS: usize = 3;

/// A running cloud with a subnet in a zone and a security group. All of it ends with this value.
pub struct Cloud {
    pub server: Server,
    /// Lets in pings, and requests to the servers.
    pub group: String,
    pub subnet: String,
    pub image: String,
    data: PathBuf,
}

impl Bench {
    /// A new cloud; without one, the report says what was not measured and why.
    pub fn cloud(&mut self, what: &str) -> Result<Option<Cloud>> {
        if !rustix::process::geteuid().is_root() {
            self.leave_out(format!("{what}: the linux driver needs root"));
            return Ok(None);
        }
        let data = self.scratch.join(format!("cloud-{what}"));
        let server = match self.standfast(&["--driver", "linux", "--data", &data.to_string_lossy()], None) {
            Ok(server) => server,
            Err(error) => {
                let text = format!("{what}: the linux driver cannot run here, `standfast doctor` says why ({error:#})");
                self.leave_out(text);
                return Ok(None);
            }
        };
        Cloud::prepared(server, data).map(Some)
    }
}

/// Repeats something until it has a result.
pub fn until<T>(what: &str, pause: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = machine::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begin.elapsed() > LIMIT {
            bail!("{what}: not within {} s", LIMIT.as_secs());
        }
        machine::pause(pause);
    }
}

impl Cloud {
    fn prepared(server: Server, data: PathBuf) -> Result<Self> {
        let address = server.address;
        let own = "&Owner.1=amazon&Filter.1.Name=architecture&Filter.1.Value.1=x86_64";
        let image = element(&ask(address, &ec2("DescribeImages", own))?, "imageId")?;
        let zone = format!("&Filter.1.Name=availability-zone&Filter.1.Value.1={ZONE}");
        let subnet = element(&ask(address, &ec2("DescribeSubnets", &zone))?, "subnetId")?;
        let group = "&GroupName=bench&GroupDescription=bench";
        let group = element(&ask(address, &ec2("CreateSecurityGroup", group))?, "groupId")?;
        let cloud = Self { server, group, subnet, image, data };
        cloud.ec2("AuthorizeSecurityGroupIngress", &cloud.rule("icmp", -1))?;
        cloud.ec2("AuthorizeSecurityGroupIngress", &cloud.rule("tcp", PORT))?;
        Ok(cloud)
    }

    pub fn ec2(&self, action: &str, parameters: &str) -> Result<String> {
        ask(self.server.address, &ec2(action, parameters)).with_context(|| action.to_owned())
    }

    pub fn fis(&self, method: &str, path: &str, body: &str) -> Result<String> {
        ask(self.server.address, &rest("fis", method, path, body)).with_context(|| format!("{method} {path}"))
    }

    /// The parameters of a rule that lets everybody in.
    pub fn rule(&self, protocol: &str, port: impl Display) -> String {
        let permission = "&IpPermissions.1";
        format!(
            "&GroupId={}{permission}.IpProtocol={protocol}{permission}.FromPort={port}{permission}.ToPort={port}\
             {permission}.IpRanges.1.CidrIp=0.0.0.0/0",
            self.group
        )
    }

    /// Asks for instances; their ids.
    pub fn launch(&self, count: usize) -> Result<Vec<String>> {
        let launched = self.ec2(
            "RunInstances",
            &format!(
                "&ImageId={}&InstanceType=t3.micro&MinCount={count}&MaxCount={count}&SubnetId={}\
                 &SecurityGroupId.1={}&UserData={}",
                self.image,
                self.subnet,
                self.group,
                USER_DATA.replace('=', "%3D")
            ),
        )?;
        Ok(elements(&launched, "instanceId"))
    }

    /// These instances with their public addresses, as soon as each has one.
    fn addresses(&self, ids: &[String]) -> Result<Vec<(String, SocketAddrV4)>> {
        let parameters = named(ids);
        until("public addresses", LOOK, || {
            let described = self.ec2("DescribeInstances", &parameters)?;
            let shown = described.split("<instanceId>").skip(1);
            let found = shown.filter_map(|shown| {
                let address = element(shown, "ipAddress").ok()?;
                let id = shown.split_once('<')?.0.to_owned();
                Some(socket(&address).map(|address| (id, address)))
            });
            Ok(Some(found.collect::<Result<Vec<_>>>()?).filter(|found| found.len() == ids.len()))
        })
    }

    /// Waits until each of these instances answers, itself, at its public address; the addresses.
    pub fn all_answer(&self, ids: &[String]) -> Result<Vec<SocketAddrV4>> {
        let addresses = self.addresses(ids)?;
        addresses.iter().try_for_each(|(id, address)| visit::answered(*address, id))?;
        Ok(addresses.into_iter().map(|(_, address)| address).collect())
    }

    /// Ends instances and waits until nothing of them is left: no process, no directory, no control group, and the API
    /// says that they are terminated.
    pub fn terminate(&self, ids: &[String]) -> Result<()> {
        let parameters = named(ids);
        self.ec2("TerminateInstances", &parameters)?;
        until("the end of instances", LOOK, || Ok((self.left()? == 0).then_some(())))?;
        until("the end of instances", LOOK, || {
            let described = self.ec2("DescribeInstances", &parameters)?;
            Ok((described.matches("<name>terminated</name>").count() == ids.len()).then_some(()))
        })
    }

    /// What is there on the machine of all instances of this cloud: processes, directories and control groups.
    fn left(&self) -> Result<usize> {
        let host = self.host()?;
        let entries = |path: PathBuf| std::fs::read_dir(path).map_or(0, |entries| entries.flatten().count());
        let mut left = machine::children(host)?.len();
        left += ["instances", "volumes"].map(|name| entries(self.data.join("hosts").join(name))).iter().sum::<usize>();
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")?.flatten() {
            let Ok(groups) = std::fs::read_dir(hierarchy.path()) else { continue };
            let mine = format!(".{host}-");
            let own = groups.flatten().filter(|group| {
                let name = group.file_name();
                let name = name.to_string_lossy();
                name.starts_with("standfast-") && name.contains(&mine)
            });
            for group in own {
                let inside = std::fs::read_dir(group.path()).into_iter().flatten().flatten();
                left += inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count();
            }
        }
        Ok(left)
    }

    /// The process that runs the instances.
    fn host(&self) -> Result<u32> {
        let text = std::fs::read_to_string(self.data.join("run/host.pid"))?;
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().with_context(|| format!("a pid in '{text}'"))
    }

    /// The proportional memory of Standfast with the launchers and inits of its instances, in MB.
    pub fn memory_mb(&self) -> Result<f64> {
        Ok(self.server.process.family_memory_mb(GENERATIONS_TO_INITS)?.1)
    }
}

/// The parameters that name instances.
fn named(ids: &[String]) -> String {
    ids.iter().enumerate().map(|(n, id)| format!("&InstanceId.{}={id}", n + 1)).collect()
}

/// Where the server of an instance answers.
pub fn socket(address: &str) -> Result<SocketAddrV4> {
    Ok(SocketAddrV4::new(address.parse::<Ipv4Addr>()?, PORT))
}
