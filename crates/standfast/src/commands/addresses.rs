//! `addresses`: what can be reached from outside the VPCs, and who has it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value as Json, json};
use standfast_api::{ec2, elbv2};

use super::{items, text};
use crate::api_client::ApiClient;
use crate::http_client::site_url;
use crate::output;

/// How descriptions of interfaces begin that are not instances'.
const OF_NAT_GATEWAY: &str = "Interface for NAT Gateway ";
const OF_LOAD_BALANCER: &str = "ELB ";

/// Reads everything and prints it, for people or as JSON.
pub async fn run(client: &ApiClient, as_json: bool) -> Result<ExitCode> {
    let found = read(client).await?;
    if as_json {
        output::line(format_args!("{found:#}"));
    } else {
        output::text_of(screen(&found));
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(client: &ApiClient) -> Result<Json> {
    let list = |operation, key| client.list(&ec2::MODEL, operation, json!({}), key);
    let mut all: BTreeMap<Ipv4Addr, Json> = BTreeMap::new();
    for reservation in list("DescribeInstances", "Reservations").await? {
        for instance in items(&reservation, "Instances") {
            let place = instance.get("Placement").map(|place| text(place, "AvailabilityZone")).unwrap_or_default();
            let (id, private) = (text(instance, "InstanceId"), text(instance, "PrivateIpAddress"));
            note(&mut all, text(instance, "PublicIpAddress"), row("instance", id, place, private, instance));
        }
    }
    let balancers = client.list(&elbv2::MODEL, "DescribeLoadBalancers", json!({}), "LoadBalancers").await?;
    let mut nodes: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for interface in list("DescribeNetworkInterfaces", "NetworkInterfaces").await? {
        let (kind, owner) = owner(&interface);
        let zone = text(&interface, "AvailabilityZone");
        if kind == "load-balancer" {
            let public = interface.get("Association").map(|it| text(it, "PublicIp")).unwrap_or_default();
            let private = text(&interface, "PrivateIpAddress");
            let node = json!({"zone": zone, "private": private, "public": public});
            nodes.entry(owner.clone()).or_default().push(node);
        }
        for address in items(&interface, "PrivateIpAddresses") {
            let public = address.get("Association").map(|it| text(it, "PublicIp")).unwrap_or_default();
            let found = row(kind, &owner, zone, text(address, "PrivateIpAddress"), &interface);
            note(&mut all, public, found);
        }
    }
    for elastic in list("DescribeAddresses", "Addresses").await? {
        let free = row("nothing", "", "", "", &elastic);
        if let Ok(address) = text(&elastic, "PublicIp").parse::<Ipv4Addr>() {
            let entry = all.entry(address).or_insert(free);
            entry["allocation"] = text(&elastic, "AllocationId").into();
        }
    }
    let addresses: Vec<Json> = (all.into_iter())
        .map(|(address, mut row)| {
            row["address"] = address.to_string().into();
            row
        })
        .collect();
    nodes.values_mut().for_each(|of| of.sort_by(|a, b| text(a, "zone").cmp(text(b, "zone"))));
    let sockets: Json = serde_json::from_slice(&client.own("listeners").await?)?;
    let mut named = Vec::new();
    for balancer in balancers {
        named.push(load_balancer(client, &balancer, &nodes, &sockets).await?);
    }
    Ok(json!({"region": client.region(), "addresses": addresses, "load_balancers": named}))
}

/// The first word on an address is the last: an interface's adds nothing to its instance's.
fn note(all: &mut BTreeMap<Ipv4Addr, Json>, address: &str, row: Json) {
    if let Ok(address) = address.parse() {
        all.entry(address).or_insert(row);
    }
}

fn row(kind: &str, id: &str, zone: &str, private: &str, tagged: &Json) -> Json {
    let tags = [items(tagged, "Tags"), items(tagged, "TagSet")].concat();
    let name = tags.iter().find(|tag| text(tag, "Key") == "Name").map(|tag| text(tag, "Value")).unwrap_or_default();
    json!({"kind": kind, "id": id, "zone": zone, "private": private, "name": name, "allocation": ""})
}

/// Whose an interface is.
fn owner(interface: &Json) -> (&'static str, String) {
    let instance = interface.get("Attachment").map(|it| text(it, "InstanceId")).unwrap_or_default();
    let description = text(interface, "Description");
    if !instance.is_empty() {
        ("instance", instance.to_owned())
    } else if let Some(gateway) = description.strip_prefix(OF_NAT_GATEWAY) {
        ("nat-gateway", gateway.to_owned())
    } else if let Some(balancer) = description.strip_prefix(OF_LOAD_BALANCER) {
        ("load-balancer", balancer.to_owned())
    } else {
        ("interface", text(interface, "NetworkInterfaceId").to_owned())
    }
}

async fn load_balancer(
    client: &ApiClient,
    balancer: &Json,
    nodes: &BTreeMap<String, Vec<Json>>,
    sockets: &Json,
) -> Result<Json> {
    let arn = text(balancer, "LoadBalancerArn");
    let listeners =
        client.list(&elbv2::MODEL, "DescribeListeners", json!({"LoadBalancerArn": arn}), "Listeners").await?;
    let ports: Vec<&Json> = listeners.iter().filter_map(|listener| listener.get("Port")).collect();
    let name = text(balancer, "DNSName");
    // The part of the ARN that interfaces are described with: `app/NAME/ID`.
    let dimension = arn.split_once("loadbalancer/").map_or(arn, |(_, rest)| rest);
    let protocol = |port: &Json| {
        let listener = listeners.iter().find(|listener| listener.get("Port") == Some(port));
        listener.map(|listener| text(listener, "Protocol")).unwrap_or("HTTP").to_ascii_lowercase()
    };
    let of_it = sockets.as_array().into_iter().flatten().filter(|socket| text(socket, "load_balancer") == arn);
    let sockets: Vec<Json> = of_it
        .map(|socket| {
            let url = format!("{}://{}", protocol(&socket["port"]), text(socket, "socket"));
            json!({"zone": socket["zone"], "port": socket["port"], "url": url})
        })
        .collect();
    Ok(json!({
        "sockets": sockets,
        "name": text(balancer, "LoadBalancerName"), "dns_name": name,
        "url": site_url(&format!("http://{name}"), client.endpoint()), "ports": ports,
        "nodes": nodes.get(dimension).cloned().unwrap_or_default(),
    }))
}

fn screen(found: &Json) -> String {
    let mut out = String::new();
    let addresses = items(found, "addresses");
    out += if addresses.is_empty() { "No public addresses.\n" } else { "Public addresses\n" };
    for row in addresses {
        let what = format!("{} {}", text(row, "kind"), text(row, "id"));
        let of = [text(row, "zone"), text(row, "private"), text(row, "allocation"), text(row, "name")];
        let of: Vec<&str> = of.into_iter().filter(|word| !word.is_empty()).collect();
        out += format!("  {:<16} {what:<32} {}", text(row, "address"), of.join("  ")).trim_end();
        out += "\n";
    }
    let balancers = items(found, "load_balancers");
    if !balancers.is_empty() {
        out += "\nLoad balancers\n";
    }
    for balancer in balancers {
        let ports: Vec<String> = items(balancer, "ports").iter().map(Json::to_string).collect();
        out += &format!("  {}  (listeners: {})\n", text(balancer, "url"), ports.join(", "));
        for node in items(balancer, "nodes") {
            let line = format!("    {:<14} {:<16} {}", text(node, "zone"), text(node, "private"), text(node, "public"));
            out += line.trim_end();
            out += "\n";
        }
        for socket in items(balancer, "sockets") {
            out += &format!("    {:<14} {}\n", text(socket, "zone"), text(socket, "url"));
        }
    }
    out
}
