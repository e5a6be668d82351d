//! From an instance's record to what its host should run: pure.

use std::collections::{BTreeMap, HashMap};

use standfast_core::Scope;
use standfast_core::host::{Abilities, InstanceSpec};
use standfast_core::id::{self, Id};

use super::metadata::{self, About};
use super::network::{Index, Row};
use super::{Records, names};
use crate::ec2::instance_types::InstanceType;

/// What a type that is not known has.
const MEMORY_DEFAULT_MIB: i64 = 1024;

/// What was told of instances, and the records that it was made from.
pub struct Before<'a> {
    pub records: &'a Records,
    pub specs: &'a BTreeMap<Id<id::Instance>, InstanceSpec>,
}

/// Everything that is not on its way out. What is the same as `before` is not made anew: a tree of metadata is a hundred
/// texts. All that instances share must be the same then.
pub fn specs(
    records: &Records,
    index: &Index,
    able: Abilities,
    before: Option<Before>,
) -> BTreeMap<Id<id::Instance>, InstanceSpec> {
    let same = before.as_ref().map(|before| records.tables.same_instances(&before.records.tables)).unwrap_or_default();
    let told = |id: &str| before.as_ref().filter(|_| same.contains(id))?.specs.get(id).cloned();
    let keys: HashMap<(&Scope, &str), &str> =
        records.keys.iter().map(|(scope, _, key)| ((scope, &*key.name), &*key.public_key)).collect();
    let credentials = by_id(&records.credentials);
    let tags = by_id(&records.tags);
    let there = records.tables.instances.iter().filter(|(_, _, instance)| !instance.state.is_ending());
    let each = |(scope, id, instance): &Row<_>| {
        if let Some(told) = told(id) {
            return (Id::from_shared(id.clone()), told);
        }
        let key = |name: &String| keys.get(&(scope, name.as_str())).copied();
        let about = About {
            scope,
            id,
            instance,
            key: instance.key_name.as_ref().and_then(key),
            tags: tags.get(&**id).map(|tagged| &tagged.tags),
            credentials: credentials.get(&**id).copied(),
        };
        let mut spec = spec(&about, index);
        if able.metadata {
            spec.metadata.tree = metadata::tree(&about, index);
        }
        (Id::from_shared(id.clone()), spec)
    };
    there.map(each).collect()
}

fn by_id<R>(rows: &[Row<R>]) -> HashMap<&str, &R> {
    rows.iter().map(|(_, id, record)| (&**id, &**record)).collect()
}

/// What the host of one instance needs to know, but for the tree of its metadata.
fn spec(about: &About, index: &Index) -> InstanceSpec {
    let &About { scope, id, instance, key, .. } = about;
    let (known, lease) = (InstanceType::named(&instance.instance_type), index.lease(instance));
    let (vcpus, memory_mib) = known.map_or((1, MEMORY_DEFAULT_MIB), |known| (known.vcpus, known.memory_mib));
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
        resolvers: lease.resolvers,
        search: lease.search,
        ssh_keys: key.map(str::to_owned).into_iter().collect(),
        root_volume: (instance.devices.iter())
            .find(|device| device.device == instance.root_device)
            .map(|device| device.volume.clone()),
        metadata: metadata::options(instance),
        user_data: instance.user_data.0.to_vec(),
        power: instance.state.has_power() && instance.impaired.is_none(),
        boot: instance.boot,
    }
}
