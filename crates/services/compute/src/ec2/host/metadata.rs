//! The metadata tree of an instance: pure.
//!
//! Every leaf of what SDKs, agents and cloud-init read, by its path without the version. A leaf is absent where EC2 answers
//! 404. `=` is the listing of a directory that lists its entries otherwise than they are named.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::json;
use standfast_core::host::Metadata;
use standfast_core::{Cidr, Scope};

use super::names;
use super::network::Index;
use crate::ec2::instance_types::InstanceType;
use crate::ec2::model::{Instance, NetworkInterface, RoleCredentials, Tags};

const ENABLED: &str = "enabled";
/// The version of the identity document's form.
const DOCUMENT_VERSION: &str = "2017-09-30";
/// The tags by which who interrupts a spot instance says so to it. The values are what the leaves say: the JSON of
/// `spot/instance-action`, and the time of a rebalance recommendation's notice.
pub const SPOT_ACTION_TAG: &str = "aws:standfast:spot-instance-action";
pub const REBALANCE_TAG: &str = "aws:standfast:rebalance-recommendation";

/// What a tree is made from.
pub struct About<'a> {
    pub scope: &'a Scope,
    pub id: &'a str,
    pub instance: &'a Instance,
    /// The line of OpenSSH of its key pair.
    pub key: Option<&'a str>,
    pub tags: Option<&'a Tags>,
    pub credentials: Option<&'a RoleCredentials>,
}

/// Whether the metadata service answers an instance, and how.
pub fn options(instance: &Instance) -> Metadata {
    let options = &instance.options.metadata;
    Metadata {
        enabled: options.endpoint == ENABLED,
        tokens_required: options.tokens == "required",
        hop_limit: options.hop_limit.clamp(1, 64) as u8,
        tree: BTreeMap::new(),
    }
}

/// Whether an instance is shown its tags.
fn shows_tags(instance: &Instance) -> bool {
    instance.options.metadata.tags == ENABLED
}

/// Whether the tree of an instance is made from its tags.
pub fn reads_tags(instance: &Instance) -> bool {
    shows_tags(instance) || instance.options.lifecycle.is_some()
}

/// A tree under construction.
#[derive(Default)]
struct Tree(BTreeMap<String, String>);

impl Tree {
    fn put(&mut self, path: &str, value: impl ToString) {
        self.0.insert(format!("meta-data/{path}"), value.to_string());
    }

    /// One value per line; nothing when there is none.
    fn lines<T: ToString>(&mut self, path: &str, values: impl IntoIterator<Item = T>) {
        let lines: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        if !lines.is_empty() {
            self.put(path, lines.join("\n"));
        }
    }
}

/// Everything that the metadata service tells an instance.
pub fn tree(about: &About, index: &Index) -> BTreeMap<String, String> {
    let mut tree = Tree::default();
    let interfaces = index.interfaces_of(about.instance);
    itself(&mut tree, about);
    addresses(&mut tree, about, index, &interfaces);
    for (device, interface) in interfaces.iter().enumerate() {
        self::interface(&mut tree, about, index, device, interface);
    }
    devices(&mut tree, about.instance);
    key(&mut tree, about);
    role(&mut tree, about);
    for (name, value) in about.tags.into_iter().flatten().filter(|_| shows_tags(about.instance)) {
        if !name.starts_with("aws:standfast:") {
            tree.put(&format!("tags/instance/{name}"), value);
        }
    }
    interruption(&mut tree, about);
    tree.0.insert("dynamic/instance-identity/document".into(), document(about));
    if let Ok(text) = std::str::from_utf8(&about.instance.user_data.0)
        && !text.is_empty()
    {
        tree.0.insert("user-data".into(), text.to_owned());
    }
    tree.0
}

fn itself(tree: &mut Tree, about: &About) {
    let (instance, region) = (about.instance, &about.scope.region);
    tree.put("ami-id", &instance.image);
    tree.put("ami-launch-index", instance.launch_index);
    tree.put("ami-manifest-path", "(unknown)");
    tree.put("events/maintenance/history", "[]");
    tree.put("events/maintenance/scheduled", "[]");
    tree.put("instance-action", "none");
    tree.put("instance-id", about.id);
    tree.put("instance-life-cycle", instance.options.lifecycle.as_deref().unwrap_or("on-demand"));
    tree.put("instance-type", &instance.instance_type);
    tree.put("placement/availability-zone", &instance.zone);
    tree.lines(
        "placement/availability-zone-id",
        standfast_core::place::Zone::named(&instance.zone).map(|zone| zone.id),
    );
    tree.lines("placement/group-name", &instance.options.placement_group);
    tree.put("placement/region", region);
    tree.put("profile", "default-hvm");
    tree.put("reservation-id", &instance.reservation);
    tree.put("services/domain", "amazonaws.com");
    tree.put("services/partition", "aws");
    tree.put("system", "nitro");
}

/// What tells of the instance's primary interface at the top of the tree.
fn addresses(tree: &mut Tree, about: &About, index: &Index, interfaces: &[&NetworkInterface]) {
    let (instance, region) = (about.instance, &*about.scope.region);
    let hostname = names::host(region, about.id, instance);
    tree.put("hostname", &hostname);
    tree.put("local-hostname", &hostname);
    tree.put("local-ipv4", instance.private_ip);
    let Some(primary) = interfaces.first() else { return };
    tree.put("mac", &primary.mac);
    tree.lines("security-groups", index.group_names(&primary.groups));
    if let Some(public) = index.addresses(primary)[0].public {
        tree.put("public-ipv4", public);
        tree.lines("public-hostname", index.public_name(&primary.vpc, region, public));
    }
}

fn interface(tree: &mut Tree, about: &About, index: &Index, device: usize, interface: &NetworkInterface) {
    let base = format!("network/interfaces/macs/{}", interface.mac);
    let (mut leaf, region) = (Leaves { tree, base }, &*about.scope.region);
    let addresses = index.addresses(interface);
    let number = interface.attachment.as_ref().map_or(device as i32, |attachment| attachment.device_index);
    leaf.lines("device-number", [number]);
    leaf.lines("interface-id", about.instance.interfaces.get(device));
    leaf.lines("local-hostname", [crate::ec2::convert::private_dns(region, addresses[0].private)]);
    leaf.lines("local-ipv4s", addresses.iter().map(|address| address.private));
    leaf.lines("mac", [&interface.mac]);
    leaf.lines("owner-id", [&about.scope.account]);
    let public: Vec<(Ipv4Addr, Ipv4Addr)> =
        addresses.iter().filter_map(|address| Some((address.public?, address.private))).collect();
    for (public, private) in &public {
        leaf.lines(&format!("ipv4-associations/{public}"), [private]);
    }
    leaf.lines("public-hostname", public.first().and_then(|(ip, _)| index.public_name(&interface.vpc, region, *ip)));
    leaf.lines("public-ipv4s", public.iter().map(|(public, _)| public));
    leaf.lines("security-group-ids", &interface.groups);
    leaf.lines("security-groups", index.group_names(&interface.groups));
    leaf.lines("subnet-id", [&interface.subnet]);
    leaf.lines("subnet-ipv4-cidr-block", index.subnet_cidr(&interface.subnet));
    let blocks: Vec<Cidr> = index.vpc_cidrs(&interface.vpc);
    leaf.lines("vpc-id", [&interface.vpc]);
    leaf.lines("vpc-ipv4-cidr-block", blocks.first());
    leaf.lines("vpc-ipv4-cidr-blocks", &blocks);
}

/// The leaves of one interface.
struct Leaves<'a> {
    tree: &'a mut Tree,
    base: String,
}

impl Leaves<'_> {
    fn lines<T: ToString>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        self.tree.lines(&format!("{}/{name}", self.base), values);
    }
}

fn devices(tree: &mut Tree, instance: &Instance) {
    tree.put("block-device-mapping/ami", &instance.root_device);
    tree.put("block-device-mapping/root", &instance.root_device);
    let further = instance.devices.iter().filter(|device| device.device != instance.root_device);
    for (n, device) in further.enumerate() {
        tree.put(&format!("block-device-mapping/ebs{}", n + 1), device.device.trim_start_matches("/dev/"));
    }
}

fn key(tree: &mut Tree, about: &About) {
    let (Some(name), Some(line)) = (&about.instance.key_name, about.key) else { return };
    tree.put("public-keys/=", format!("0={name}"));
    tree.put("public-keys/0/openssh-key", line);
}

fn role(tree: &mut Tree, about: &About) {
    let (Some(profile), Some(credentials)) = (&about.instance.iam_profile, about.credentials) else { return };
    if credentials.profile != profile.arn {
        return;
    }
    // Times are to the second here, and SDKs read no others.
    let updated = credentials.updated.iso8601_seconds();
    let info = json!({
        "Code": "Success",
        "LastUpdated": updated,
        "InstanceProfileArn": profile.arn,
        "InstanceProfileId": profile.id,
    });
    tree.put("iam/info", pretty(&info));
    let session = json!({
        "Code": "Success",
        "LastUpdated": updated,
        "Type": "AWS-HMAC",
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.token,
        "Expiration": credentials.expires.iso8601_seconds(),
    });
    tree.put(&format!("iam/security-credentials/{}", credentials.role), pretty(&session));
}

fn interruption(tree: &mut Tree, about: &About) {
    let tag = |name: &str| about.tags.and_then(|tags| tags.get(name));
    if let Some(action) = tag(SPOT_ACTION_TAG) {
        tree.put("spot/instance-action", action);
        let parsed: Option<serde_json::Value> = serde_json::from_str(action).ok();
        let time = parsed.and_then(|action| Some(action.get("time")?.as_str()?.to_owned()));
        tree.lines("spot/termination-time", time);
    }
    if let Some(time) = tag(REBALANCE_TAG) {
        tree.put("events/recommendations/rebalance", json!({ "noticeTime": time }));
    }
}

fn document(about: &About) -> String {
    let instance = about.instance;
    pretty(&json!({
        "accountId": about.scope.account,
        "architecture": InstanceType::named(&instance.instance_type).map_or("x86_64", |known| known.architecture),
        "availabilityZone": instance.zone,
        "billingProducts": null,
        "devpayProductCodes": null,
        "imageId": instance.image,
        "instanceId": about.id,
        "instanceType": instance.instance_type,
        "kernelId": null,
        "marketplaceProductCodes": null,
        "pendingTime": instance.launched.iso8601_seconds(),
        "privateIp": instance.private_ip,
        "ramdiskId": null,
        "region": about.scope.region,
        "version": DOCUMENT_VERSION,
    }))
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value is always writable")
}
