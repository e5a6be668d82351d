//! Networks of the linux driver: from a call of the API until packets obey it, with 50 instances in the zone.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Result, bail};

use super::client::{element, json_id};
use super::cloud::{Cloud, ZONE, socket, until};
use super::table::{self, Row, Target};
use super::visit::{self, Pings};
use super::{Bench, machine};

const INSTANCES: usize = 50;
const GROUP_MS_MAX: f64 = 5.0;
const MOVE_MS_MAX: f64 = 30.0;
const CUT_MS_MAX: f64 = 50.0;
/// Changes are short, so there is time for more of them. Even, so that all is where it was.
const CHANGES_PER_ROUND: usize = 6;
/// Nobody listens there: who is let in is refused by the instance at once, at the price of a packet.
const CLOSED_PORT: u16 = 81;
/// Who is let in is answered before this, and long before the other: who is not yet is to try again soon, and who is
/// answered late is not to be taken for shut out.
const OPEN: Duration = Duration::from_micros(400);
const SHUT: Duration = Duration::from_millis(20);
const AGAIN: Duration = Duration::from_micros(100);
const PING_PAUSE: Duration = Duration::from_millis(1);
const SILENCE: Duration = Duration::from_millis(300);
const DEVICE: usize = 1;

pub fn rows(bench: &mut Bench) -> Result<Vec<Row>> {
    let Some(cloud) = bench.cloud("network")? else { return Ok(Vec::new()) };
    let mut times = Times::default();
    for _ in 0..bench.rounds {
        round(&cloud, &mut times)?;
    }
    let row = |what: &str, limit_ms, times: Vec<f64>| {
        table::row(what, "ms", Target::Below(limit_ms), vec![("standfast", table::median(times))])
    };
    Ok(vec![
        row("a rule opens a port", GROUP_MS_MAX, times.opened),
        row("a rule's removal shuts a port", GROUP_MS_MAX, times.shut),
        row("an Elastic IP moves", MOVE_MS_MAX, times.elastic),
        row("a network interface moves", MOVE_MS_MAX, times.interface),
        row("a zone of 50 instances is cut", CUT_MS_MAX, times.cut),
    ])
}

#[derive(Default)]
struct Times {
    opened: Vec<f64>,
    shut: Vec<f64>,
    elastic: Vec<f64>,
    interface: Vec<f64>,
    cut: Vec<f64>,
}

fn round(cloud: &Cloud, times: &mut Times) -> Result<()> {
    let ids = cloud.launch(INSTANCES)?;
    let addresses = cloud.all_answer(&ids)?;
    let one = SocketAddrV4::new(*addresses[INSTANCES / 2].ip(), CLOSED_PORT);
    for _ in 0..CHANGES_PER_ROUND {
        times.opened.push(opened_ms(cloud, one)?);
        times.shut.push(shut_ms(cloud, one)?);
    }
    // An address that is taken away again leaves its instance without one.
    let movers = cloud.launch(2)?;
    cloud.all_answer(&movers)?;
    let pair = [movers[0].as_str(), movers[1].as_str()];
    elastic_moves(cloud, pair, &mut times.elastic)?;
    interface_moves(cloud, pair, &mut times.interface)?;
    times.cut.push(cut_ms(cloud, &addresses)?);
    cloud.terminate(&[ids, movers].concat())
}

fn shut_ms(cloud: &Cloud, address: SocketAddrV4) -> Result<f64> {
    let begin = machine::now();
    cloud.ec2("RevokeSecurityGroupIngress", &cloud.rule("tcp", CLOSED_PORT))?;
    until("a port that is shut", AGAIN, || {
        let now = machine::now();
        Ok((!visit::reaches(address, SHUT)?).then(|| (now - begin).as_secs_f64() * 1000.0))
    })
}

fn opened_ms(cloud: &Cloud, address: SocketAddrV4) -> Result<f64> {
    let begin = machine::now();
    cloud.ec2("AuthorizeSecurityGroupIngress", &cloud.rule("tcp", CLOSED_PORT))?;
    until("a port that is open", Duration::ZERO, || Ok(visit::reaches(address, OPEN)?.then_some(())))?;
    Ok(machine::ms_since(begin))
}

fn elastic_moves(cloud: &Cloud, pair: [&str; 2], times: &mut Vec<f64>) -> Result<()> {
    let allocated = cloud.ec2("AllocateAddress", "&Domain=vpc")?;
    let (id, address) = (element(&allocated, "allocationId")?, socket(&element(&allocated, "publicIp")?)?);
    let associate = |instance: &str| {
        let parameters = format!("&AllocationId={id}&InstanceId={instance}&AllowReassociation=true");
        cloud.ec2("AssociateAddress", &parameters)?;
        visit::answered(address, instance)
    };
    associate(pair[0])?;
    for change in 1..=CHANGES_PER_ROUND {
        let begin = machine::now();
        associate(pair[change % 2])?;
        times.push(machine::ms_since(begin));
    }
    let shown = cloud.ec2("DescribeAddresses", &format!("&AllocationId.1={id}"))?;
    cloud.ec2("DisassociateAddress", &format!("&AssociationId={}", element(&shown, "associationId")?))?;
    cloud.ec2("ReleaseAddress", &format!("&AllocationId={id}"))?;
    Ok(())
}

/// An interface with an Elastic IP goes from one instance to the other: detached, attached, until the other answers.
fn interface_moves(cloud: &Cloud, pair: [&str; 2], times: &mut Vec<f64>) -> Result<()> {
    let made = format!("&SubnetId={}&SecurityGroupId.1={}", cloud.subnet, cloud.group);
    let interface = element(&cloud.ec2("CreateNetworkInterface", &made)?, "networkInterfaceId")?;
    let allocated = cloud.ec2("AllocateAddress", "&Domain=vpc")?;
    let (id, address) = (element(&allocated, "allocationId")?, socket(&element(&allocated, "publicIp")?)?);
    cloud.ec2("AssociateAddress", &format!("&AllocationId={id}&NetworkInterfaceId={interface}"))?;
    let mut attachment = attach(cloud, &interface, pair[0])?;
    visit::answered(address, pair[0])?;
    for change in 1..=CHANGES_PER_ROUND {
        let begin = machine::now();
        detach(cloud, &attachment)?;
        attachment = attach(cloud, &interface, pair[change % 2])?;
        visit::answered(address, pair[change % 2])?;
        times.push(machine::ms_since(begin));
    }
    detach(cloud, &attachment)?;
    let shown = cloud.ec2("DescribeAddresses", &format!("&AllocationId.1={id}"))?;
    cloud.ec2("DisassociateAddress", &format!("&AssociationId={}", element(&shown, "associationId")?))?;
    cloud.ec2("ReleaseAddress", &format!("&AllocationId={id}"))?;
    let delete = format!("&NetworkInterfaceId={interface}");
    until("the end of an interface", AGAIN, || Ok(cloud.ec2("DeleteNetworkInterface", &delete).ok()))?;
    Ok(())
}

fn detach(cloud: &Cloud, attachment: &str) -> Result<()> {
    cloud.ec2("DetachNetworkInterface", &format!("&AttachmentId={attachment}&Force=true")).map(drop)
}

/// Attaches an interface, again and again while it is still detaching.
fn attach(cloud: &Cloud, interface: &str, instance: &str) -> Result<String> {
    let parameters = format!("&NetworkInterfaceId={interface}&InstanceId={instance}&DeviceIndex={DEVICE}");
    until("an attachment", AGAIN, || match cloud.ec2("AttachNetworkInterface", &parameters) {
        Ok(attached) => element(&attached, "attachmentId").map(Some),
        Err(error) if format!("{error:#}").contains("InUse") => Ok(None),
        Err(error) => Err(error),
    })
}

/// From StartExperiment until the first round of pings that no instance answers any more.
fn cut_ms(cloud: &Cloud, addresses: &[SocketAddrV4]) -> Result<f64> {
    let template = format!(
        r#"{{"clientToken":"{}","description":"a cut","stopConditions":[{{"source":"none"}}],"targets":{{}},
        "roleArn":"arn:aws:iam::000000000000:role/bench","actions":{{"cut":{{
        "actionId":"standfast:az:power-interruption","parameters":{{"availabilityZoneIdentifier":"{ZONE}"}}}}}}}}"#,
        addresses[0]
    );
    let template = json_id(&cloud.fis("POST", "/experimentTemplates", &template)?)?;
    let start = format!(r#"{{"clientToken":"{template}","experimentTemplateId":"{template}"}}"#);
    let mut pings = Pings::new(addresses.iter().map(|address| *address.ip()).collect())?;
    until("answers to pings", PING_PAUSE, || {
        pings.round()?;
        Ok(pings.all_answer().then_some(()))
    })?;
    let begin = machine::now();
    let (silent, experiment) = std::thread::scope(|scope| {
        let call = scope.spawn(|| cloud.fis("POST", "/experiments", &start));
        let silent = until("silence", PING_PAUSE, || {
            pings.round()?;
            Ok(pings.silent_since().filter(|since| since.elapsed() > SILENCE))
        });
        let experiment = call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, anyhow::Error>((silent?, json_id(&experiment?)?))
    })?;
    if silent < begin {
        bail!("the instances did not answer before the cut");
    }
    cloud.fis("DELETE", &format!("/experiments/{experiment}"), "")?;
    cloud.fis("DELETE", &format!("/experimentTemplates/{template}"), "")?;
    Ok((silent - begin).as_secs_f64() * 1000.0)
}
