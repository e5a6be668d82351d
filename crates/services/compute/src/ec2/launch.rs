//! The transaction of a launch: where the instances go, which addresses they get, and the records of all of it.

use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::Region;
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::{Cx, Principal, faults, zones};
use standfast_store::{Txn, View};

use super::addresses::Refused;
use super::auto_addresses::Giver;
use super::block_devices::Device;
use super::errors::{self, find};
use super::interface_addresses::Wanted;
use super::model::{
    Addresses, Attachment, BlockDevice, Instance, KeyPair, NetworkInterface, Purpose, State, Subnet, Volume,
    VolumeAttachment,
};
use super::network_interfaces::{self, new_mac};
use super::run::{Interface, Launch};
use super::{convert, spot, state_events, subnets, tags, volumes};
use super::{placement_groups, security_groups};

/// The tag with the name of the Auto Scaling group that an instance is for.
const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// Launches instances. The answer to a token that was used before is what it made then.
pub async fn launch(cx: &Cx, launch: Launch) -> Result<api::Reservation> {
    let (scope, seed, now) = (cx.scope(), cx.rng().u64(), cx.now());
    let giver = Giver::new(cx);
    cx.txn(|tx| {
        if let Some(answer) = repeated(tx, scope, &launch)? {
            return Ok(answer);
        }
        // The closure may run twice: the same seed gives the same ids.
        let caller = cx.principal();
        Launching { scope, caller, launch: &launch, rng: Rng::seeded(seed), now, giver }.run(tx)
    })
    .await
}

/// What a request with this token made before.
fn repeated(view: &View, scope: &Scope, launch: &Launch) -> Result<Option<api::Reservation>> {
    let Some(token) = &launch.token else { return Ok(None) };
    let made = view.by_index::<Instance>(scope, "token", &token.token);
    let Some((_, first)) = made.first() else { return Ok(None) };
    if first.client_token.as_ref().is_some_and(|known| known.digest != token.digest) {
        let message =
            "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
        return Err(Error::client("IdempotentParameterMismatch", message));
    }
    let mut made: Vec<(Id<id::Instance>, Arc<Instance>)> =
        made.into_iter().map(|(id, instance)| (Id::from_text(&id), instance)).collect();
    made.sort_by_key(|(_, instance)| instance.launch_index);
    Ok(Some(convert::reservation(view, scope, &made)))
}

/// A launch under way.
struct Launching<'a> {
    scope: &'a Scope,
    caller: &'a Principal,
    launch: &'a Launch,
    rng: Rng,
    now: Timestamp,
    giver: Giver,
}

impl Launching<'_> {
    fn run(&self, tx: &mut Txn) -> Result<api::Reservation> {
        let launch = self.launch;
        let (subnet_id, subnet) = self.subnet(tx)?;
        self.power(tx, &subnet.zone)?;
        let groups = self.groups(tx, &subnet)?;
        self.key(tx)?;
        let count = self.count(tx, &subnet_id, &subnet)?;
        let group = launch.options.placement_group.as_deref();
        placement_groups::check(tx, self.scope, group, &subnet.zone, count)?;
        errors::dry_run(launch.dry_run)?;
        let reservation = Id::new(&self.rng);
        let mut made = Vec::with_capacity(count);
        for index in 0..count {
            let id = Id::<id::Instance>::new(&self.rng);
            let interfaces = self.interfaces(tx, &id, (&subnet_id, &subnet), &groups)?;
            let devices = self.devices(tx, &id, &subnet.zone);
            let primary = find::<NetworkInterface>(tx, self.scope, &interfaces[0])?;
            let instance = self.instance(&reservation, index, &primary, &subnet, interfaces, devices);
            tags::put(tx, self.scope, &id, &launch.instance_tags);
            self.giver.give(tx, self.scope, &instance, &self.rng)?;
            state_events::moved(tx, self.scope, &id, None, &instance);
            tx.put(self.scope, &id, instance);
            let instance = find::<Instance>(tx, self.scope, &id)?;
            if let Some(asked) = &launch.spot {
                let token = launch.token.as_ref();
                spot::fulfil(tx, self.scope, &self.rng, asked, token, (&id, &instance), self.now)?;
            }
            made.push((id, instance));
        }
        Ok(convert::reservation(tx, self.scope, &made))
    }

    /// The subnet that is asked for, or a default one.
    fn subnet(&self, view: &View) -> Result<(Id<id::Subnet>, Arc<Subnet>)> {
        let primary = self.launch.interfaces.first();
        let asked = match primary.and_then(|interface| interface.existing.as_ref()) {
            Some(existing) => Some(find::<NetworkInterface>(view, self.scope, existing)?.subnet.clone()),
            None => primary.and_then(|interface| interface.subnet.clone()).or_else(|| self.launch.subnet.clone()),
        };
        let Some(id) = asked else { return self.default_subnet(view) };
        let subnet = find::<Subnet>(view, self.scope, &id)?;
        if let Some(zone) = self.launch.zone.as_ref().filter(|zone| **zone != subnet.zone) {
            return Err(errors::invalid(format!(
                "The availability zone '{zone}' does not match the zone '{}' of the subnet '{id}'",
                subnet.zone
            )));
        }
        Ok((id, subnet))
    }

    /// The default subnet of the zone that is asked for; else of a zone with power, the emptiest.
    fn default_subnet(&self, view: &View) -> Result<(Id<id::Subnet>, Arc<Subnet>)> {
        let vpc = security_groups::default_vpc(view, self.scope)?;
        let all = view.by_index::<Subnet>(self.scope, "vpc", &vpc);
        let dark = zones::dark(view);
        let free = |id: &str, subnet: &Subnet| {
            view.get::<Addresses>(self.scope, id).map_or(0, |addresses| addresses.free(subnet.cidr))
        };
        let wanted = all.into_iter().filter(|(_, subnet)| {
            subnet.default_for_zone && self.launch.zone.as_ref().is_none_or(|zone| *zone == subnet.zone)
        });
        let best = wanted.max_by_key(|(id, subnet)| {
            let earlier_zone = std::cmp::Reverse(subnet.zone.clone());
            (!dark.contains(&subnet.zone), free(id, subnet), earlier_zone)
        });
        let (id, subnet) = best.ok_or_else(|| match &self.launch.zone {
            Some(zone) => {
                let message = format!("No default subnet for availability zone: '{zone}'.");
                Error::client("MissingInput", message)
            }
            None => {
                let message = format!("No subnets found for the default VPC '{vpc}'. Please specify a subnet.");
                Error::client("MissingInput", message)
            }
        })?;
        Ok((Id::from_text(&id), subnet))
    }

    fn power(&self, tx: &Txn, zone: &str) -> Result<()> {
        let group = self.launch.instance_tags.get(GROUP_TAG).map(String::as_str);
        if zones::is_dark(tx, zone) || faults::refuses_launch(tx, &self.rng, self.scope, self.caller, group, zone) {
            Err(no_capacity(tx, self.scope, &self.launch.instance_type, zone))
        } else {
            Ok(())
        }
    }

    /// The groups for interfaces that name none.
    fn groups(&self, view: &View, subnet: &Subnet) -> Result<Vec<Id<id::SecurityGroup>>> {
        let mut groups = self.launch.group_ids.clone();
        for name in &self.launch.group_names {
            groups.push(security_groups::by_name(view, self.scope, &subnet.vpc, name)?);
        }
        if groups.is_empty() {
            groups.push(security_groups::by_name(view, self.scope, &subnet.vpc, "default")?);
        }
        security_groups::same_vpc(view, self.scope, &subnet.vpc, &groups)?;
        Ok(groups)
    }

    fn key(&self, view: &View) -> Result<()> {
        match &self.launch.key_name {
            Some(name) if view.by_unique::<KeyPair>(self.scope, "name", name).is_none() => {
                Err(Error::client("InvalidKeyPair.NotFound", format!("The key pair '{name}' does not exist")))
            }
            _ => Ok(()),
        }
    }

    /// How many instances there are addresses for: as many as asked for, at least the minimum.
    fn count(&self, view: &View, id: &Id<id::Subnet>, subnet: &Subnet) -> Result<usize> {
        let launch = self.launch;
        if launch.interfaces.iter().any(|interface| interface.existing.is_some()) {
            return Ok(launch.count_max);
        }
        let addresses = view.get::<Addresses>(self.scope, id).expect("exists as long as the subnet");
        let wanted: usize = launch.interfaces.iter().map(|interface| interface.addresses.count()).sum();
        let each = wanted.max(1);
        let count = launch.count_max.min(addresses.free(subnet.cidr) as usize / each);
        if count < launch.count_min {
            return Err(subnets::refused(Refused::Full, id, None));
        }
        if launch.private_ip.is_some() && count > 1 {
            let message = "A private IP address may be specified for one instance only.";
            return Err(errors::combination(message));
        }
        Ok(count)
    }

    /// Makes or attaches the instance's interfaces; the primary one comes first.
    fn interfaces(
        &self,
        tx: &mut Txn,
        instance: &Id<id::Instance>,
        (subnet_id, subnet): (&Id<id::Subnet>, &Arc<Subnet>),
        groups: &[Id<id::SecurityGroup>],
    ) -> Result<Vec<Id<id::NetworkInterface>>> {
        let plain = [Interface {
            device_index: 0,
            existing: None,
            subnet: None,
            groups: Vec::new(),
            addresses: Wanted { primary: self.launch.private_ip, ..Wanted::default() },
            public: None,
            delete_on_termination: true,
            description: String::new(),
        }];
        let wanted = if self.launch.interfaces.is_empty() { &plain[..] } else { &self.launch.interfaces };
        let mut out = Vec::new();
        for interface in wanted {
            let name = self.launch.instance_type.to_string();
            network_interfaces::check_limits(&name, wanted.len(), interface.addresses.count())?;
            let attachment = Attachment {
                id: Id::new(&self.rng),
                instance: instance.clone(),
                device_index: interface.device_index,
                attached: self.now,
                delete_on_termination: interface.delete_on_termination,
            };
            out.push(match &interface.existing {
                Some(id) => self.attach(tx, id, attachment, &subnet.zone)?,
                None => self.make_interface(tx, interface, attachment, (subnet_id, subnet), groups)?,
            });
        }
        Ok(out)
    }

    fn attach(
        &self,
        tx: &mut Txn,
        id: &Id<id::NetworkInterface>,
        attachment: Attachment,
        zone: &str,
    ) -> Result<Id<id::NetworkInterface>> {
        let interface = find::<NetworkInterface>(tx, self.scope, id)?;
        network_interfaces::check_free(id, &interface)?;
        if interface.zone != zone {
            let message = "All network interfaces of an instance must be in the same availability zone.";
            return Err(errors::combination(message));
        }
        tx.put(self.scope, id, NetworkInterface { attachment: Some(attachment), ..(*interface).clone() });
        Ok(id.clone())
    }

    fn make_interface(
        &self,
        tx: &mut Txn,
        wanted: &Interface,
        attachment: Attachment,
        (launch_subnet_id, launch_subnet): (&Id<id::Subnet>, &Arc<Subnet>),
        groups: &[Id<id::SecurityGroup>],
    ) -> Result<Id<id::NetworkInterface>> {
        let (subnet_id, subnet) = match &wanted.subnet {
            Some(id) => (id, find::<Subnet>(tx, self.scope, id)?),
            None => (launch_subnet_id, launch_subnet.clone()),
        };
        if subnet.zone != launch_subnet.zone {
            let message = "All network interfaces of an instance must be in the same availability zone.";
            return Err(errors::invalid(message));
        }
        if !wanted.groups.is_empty() {
            security_groups::same_vpc(tx, self.scope, &subnet.vpc, &wanted.groups)?;
        }
        let id = Id::new(&self.rng);
        let interface = NetworkInterface {
            vpc: subnet.vpc.clone(),
            subnet: subnet_id.clone(),
            zone: subnet.zone.clone(),
            addresses: wanted.addresses.take(tx, self.scope, subnet_id, &subnet)?,
            mac: new_mac(&self.rng),
            description: wanted.description.clone(),
            groups: if wanted.groups.is_empty() { groups.to_vec() } else { wanted.groups.clone() },
            source_dest_check: true,
            attachment: Some(attachment),
            requester: None,
            purpose: Purpose::Any,
        };
        tags::put(tx, self.scope, &id, &self.launch.interface_tags);
        tx.put(self.scope, &id, interface);
        Ok(id)
    }

    fn devices(&self, tx: &mut Txn, instance: &Id<id::Instance>, zone: &str) -> Vec<BlockDevice> {
        let mut out = Vec::with_capacity(self.launch.devices.len());
        for device in &self.launch.devices {
            let id = Id::<id::Volume>::new(&self.rng);
            tx.put(self.scope, &id, self.volume(device, instance, zone));
            tags::put(tx, self.scope, &id, &self.launch.volume_tags);
            out.push(BlockDevice {
                device: device.name.clone(),
                volume: id,
                attached: self.now,
                delete_on_termination: device.delete_on_termination,
            });
        }
        out
    }

    fn volume(&self, device: &Device, instance: &Id<id::Instance>, zone: &str) -> Volume {
        Volume {
            zone: zone.to_owned(),
            size_gib: device.size_gib,
            volume_type: device.volume_type.clone(),
            iops: device.iops,
            throughput: device.throughput,
            encrypted: device.encrypted,
            kms_key: device.kms_key.clone(),
            snapshot: device.snapshot.clone(),
            created: self.now,
            attachment: Some(VolumeAttachment {
                instance: instance.clone(),
                device: device.name.clone(),
                attached: self.now,
                delete_on_termination: device.delete_on_termination,
                attaching: false,
            }),
            root: device.name == self.launch.image.root_device,
            state: Default::default(),
            paused: false,
            auto_enable_io: false,
            modification: None,
            client_token: None,
        }
    }

    fn instance(
        &self,
        reservation: &Id<id::Reservation>,
        index: usize,
        primary: &NetworkInterface,
        subnet: &Subnet,
        interfaces: Vec<Id<id::NetworkInterface>>,
        devices: Vec<BlockDevice>,
    ) -> Instance {
        let launch = self.launch;
        let hostname = launch.hostname.clone().unwrap_or_default();
        let public = launch.interfaces.first().and_then(|interface| interface.public);
        let existing = launch.interfaces.first().is_some_and(|interface| interface.existing.is_some());
        let mut options = launch.options.clone();
        options.hostname_type = hostname.hostname_type.unwrap_or_else(|| subnet.hostname_type.clone());
        options.dns_a_record = hostname.enable_resource_name_dns_a_record.unwrap_or(subnet.dns_a_record);
        options.dns_aaaa_record = hostname.enable_resource_name_dns_aaaa_record.unwrap_or(subnet.dns_aaaa_record);
        Instance {
            reservation: reservation.clone(),
            launch_index: index as i32,
            image: launch.image.id.clone(),
            instance_type: launch.instance_type.to_string(),
            key_name: launch.key_name.clone(),
            vpc: primary.vpc.clone(),
            subnet: primary.subnet.clone(),
            zone: primary.zone.clone(),
            private_ip: primary.private_ip(),
            public: !existing && public.unwrap_or(subnet.map_public_ip),
            public_ip: None,
            interfaces,
            devices,
            root_device: launch.image.root_device.clone(),
            launched: self.now,
            state: State::Pending,
            reason: None,
            transition: String::new(),
            changed: self.now,
            boot: 1,
            resume: false,
            user_data: launch.user_data.clone(),
            iam_profile: launch.iam_profile.clone(),
            options,
            client_token: launch.token.clone(),
            impaired: None,
            recovered: None,
        }
    }
}

/// The error of a launch into a zone without power, with the zones that have some.
pub fn no_capacity(view: &View, scope: &Scope, instance_type: &impl std::fmt::Display, zone: &str) -> Error {
    let dark = zones::dark(view);
    let zones = Region::named(&scope.region).into_iter().flat_map(Region::zones);
    let others: Vec<String> = zones.map(|zone| zone.name).filter(|name| !dark.contains(name)).collect();
    let message = format!(
        "We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested ({zone}). Our system will be working on provisioning additional capacity. You can currently get {instance_type} capacity by not specifying an Availability Zone in your request or choosing {}.",
        others.join(", ")
    );
    Error::client("InsufficientInstanceCapacity", message).with_status(500)
}

/// Gives back what a terminated instance held: its interfaces and addresses, its volumes, its tags stay with its record.
pub fn release(tx: &mut Txn, scope: &Scope, instance: &Instance) {
    for id in &instance.interfaces {
        let Some(interface) = tx.get::<NetworkInterface>(scope, id) else { continue };
        let goes = interface.attachment.as_ref().is_none_or(|attachment| attachment.delete_on_termination);
        if goes {
            subnets::release_addresses(tx, scope, &interface);
            tx.delete::<NetworkInterface>(scope, id);
            tags::forget(tx, scope, id);
        } else {
            tx.put(scope, id, NetworkInterface { attachment: None, ..(*interface).clone() });
        }
    }
    for device in &instance.devices {
        let Some(volume) = tx.get::<Volume>(scope, &device.volume) else { continue };
        if device.delete_on_termination {
            volumes::remove(tx, scope, &device.volume, &volume);
        } else {
            tx.put(scope, &device.volume, Volume { attachment: None, ..(*volume).clone() });
        }
    }
}
