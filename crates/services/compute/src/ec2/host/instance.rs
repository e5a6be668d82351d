//! From an instance's record to what its host should run: pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use standfast_core::Scope;
use standfast_core::host::{InstanceSpec, Metadata};
use standfast_core::id::{self, Id};

use super::names;
use super::network::Row;
use crate::ec2::instance_types::InstanceType;
use crate::ec2::model::{Instance, KeyPair};

/// Everything that is not on its way out.
pub fn specs(instances: &[Row<Instance>], keys: &[Row<KeyPair>]) -> BTreeMap<Id<id::Instance>, InstanceSpec> {
    let keys: HashMap<(&Scope, &str), &str> =
        keys.iter().map(|(scope, _, key)| ((scope, &*key.name), &*key.public_key)).collect();
    let there = instances.iter().filter(|(_, _, instance)| !instance.state.is_ending());
    let each = |(scope, id, instance): &Row<Instance>| {
        let key = instance.key_name.as_deref().and_then(|name| keys.get(&(scope, name)));
        (Id::from_shared(id.clone()), spec(scope, id, instance, key.copied()))
    };
    there.map(each).collect()
}

/// What the host of one instance needs to know. `key` is the line of OpenSSH of its key pair.
pub fn spec(scope: &Scope, id: &Arc<str>, instance: &Instance, key: Option<&str>) -> InstanceSpec {
    let known = InstanceType::named(&instance.instance_type);
    let (vcpus, memory_mib) = known.map_or((1, 1024), |known| (known.vcpus, known.memory_mib));
    InstanceSpec {
        account: scope.account.to_string(),
        region: scope.region.to_string(),
        zone: instance.zone.clone(),
        instance_type: instance.instance_type.clone(),
        image_id: instance.image.clone(),
        private_ip: instance.private_ip,
        vcpus: vcpus.unsigned_abs(),
        memory_mib: memory_mib.unsigned_abs(),
        hostname: names::host(&scope.region, id, instance),
        ssh_keys: key.map(str::to_owned).into_iter().collect(),
        root_volume: instance.devices.first().map(|device| device.volume.clone()),
        metadata: Metadata::default(),
        user_data: instance.user_data.0.to_vec(),
        power: instance.state.has_power(),
        boot: instance.boot,
    }
}
