//! Subnets that are cut off, as what their network ACLs say then: pure.
//!
//! A subnet that is cut off gets an ACL of its own in the snapshot, in which denials stand before what its real one says;
//! so what is within the subnet goes on, as in FIS, which does the same with a copy of the ACL.

use std::collections::BTreeMap;

use standfast_core::Cidr;
use standfast_core::id::{self, Id};
use standfast_core::network::{Acl, AclEntry, Traffic, Vpc};
use standfast_kernel::faults::{CutOff, Fault};

/// What the ids of such ACLs begin with.
const PREFIX: &str = "cut-off-";

/// Cuts subnets off.
pub fn cut_off(vpcs: &mut BTreeMap<Id<id::Vpc>, Vpc>, faults: &[Fault]) {
    for fault in faults {
        let Fault::Subnets { ids, from } = fault else { continue };
        for vpc in vpcs.values_mut() {
            for subnet in ids {
                cut(vpc, subnet, from);
            }
        }
    }
}

fn cut(vpc: &mut Vpc, id: &str, from: &CutOff) {
    let Some(subnet) = vpc.subnets.get(id) else { return };
    let (zone, known) = (subnet.zone.clone(), subnet.acl.clone());
    // Several faults of one subnet add up.
    let own: Id<id::NetworkAcl> = Id::from_text(&format!("{PREFIX}{id}"));
    let Some(old) = vpc.acls.get(&known) else { return };
    let denied: Vec<Cidr> = match from {
        CutOff::Everything => vec![Cidr::ANY],
        CutOff::Blocks(blocks) => blocks.clone(),
        CutOff::OtherZones => vpc.subnets.values().filter(|one| one.zone != zone).map(|one| one.cidr).collect(),
        CutOff::OutsideVpc => Vec::new(),
    };
    let entries = |old: &[AclEntry]| {
        let denials = denied.iter().map(|peer| AclEntry { allow: false, traffic: Traffic::All, peer: *peer });
        match from {
            CutOff::OutsideVpc => old.iter().flat_map(|entry| within(entry, &vpc.cidrs)).collect(),
            _ => denials.chain(old.iter().cloned()).collect::<Vec<_>>(),
        }
    };
    let acl = Acl { ingress: entries(&old.ingress), egress: entries(&old.egress) };
    vpc.acls.insert(own.clone(), acl);
    if let Some(subnet) = vpc.subnets.get_mut(id) {
        subnet.acl = own;
    }
}

/// What an entry says about these blocks only: what no entry is about is denied.
fn within<'a>(entry: &'a AclEntry, blocks: &'a [Cidr]) -> impl Iterator<Item = AclEntry> + 'a {
    let common = blocks.iter().filter_map(|block| match (entry.peer.covers(*block), block.covers(entry.peer)) {
        (true, _) => Some(*block),
        (_, true) => Some(entry.peer),
        _ => None,
    });
    common.map(|peer| AclEntry { peer, ..entry.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use standfast_core::network::Subnet;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a block")
    }

    fn vpcs() -> BTreeMap<Id<id::Vpc>, Vpc> {
        let subnet = |zone: &str, block: &str| Subnet {
            zone: zone.into(),
            cidr: cidr(block),
            route_table: Id::from_text("rtb-1"),
            acl: Id::from_text("acl-1"),
        };
        let open = vec![AclEntry { allow: true, traffic: Traffic::All, peer: Cidr::ANY }];
        let subnets = [("subnet-a", subnet("a", "10.0.1.0/24")), ("subnet-b", subnet("b", "10.0.2.0/24"))];
        let vpc = Vpc {
            account: String::new(),
            region: String::new(),
            cidrs: vec![cidr("10.0.0.0/16")],
            subnets: subnets.into_iter().map(|(id, one)| (Id::from_text(id), one)).collect(),
            route_tables: BTreeMap::new(),
            acls: [(Id::from_text("acl-1"), Acl { ingress: open.clone(), egress: open })].into(),
            internet: true,
            dns: true,
            names: BTreeMap::new(),
            domain: String::new(),
        };
        [(Id::from_text("vpc-1"), vpc)].into()
    }

    #[test]
    fn a_subnet_that_is_cut_off_has_denials_before_what_its_acl_says() {
        let cases = [
            (CutOff::Everything, vec![(false, "0.0.0.0/0"), (true, "0.0.0.0/0")]),
            (CutOff::OtherZones, vec![(false, "10.0.2.0/24"), (true, "0.0.0.0/0")]),
            (CutOff::OutsideVpc, vec![(true, "10.0.0.0/16")]),
            (CutOff::Blocks(vec![cidr("192.0.2.0/24")]), vec![(false, "192.0.2.0/24"), (true, "0.0.0.0/0")]),
        ];
        for (from, wanted) in cases {
            let mut all = vpcs();
            let ids = ["subnet-a".to_owned()].into();
            cut_off(&mut all, &[Fault::Subnets { ids, from: from.clone() }]);
            let vpc = &all["vpc-1"];
            assert_eq!(&*vpc.subnets["subnet-b"].acl, "acl-1");
            let acl = &vpc.acls[&vpc.subnets["subnet-a"].acl];
            for entries in [&acl.ingress, &acl.egress] {
                let found: Vec<_> = entries.iter().map(|entry| (entry.allow, entry.peer.to_string())).collect();
                let wanted: Vec<_> = wanted.iter().map(|(allow, peer)| (*allow, (*peer).to_owned())).collect();
                assert_eq!(found, wanted, "{from:?}");
            }
        }
    }

    #[test]
    fn several_faults_of_one_subnet_add_up() {
        let mut all = vpcs();
        let fault = |from| Fault::Subnets { ids: ["subnet-a".to_owned()].into(), from };
        cut_off(&mut all, &[fault(CutOff::OutsideVpc), fault(CutOff::OtherZones)]);
        let vpc = &all["vpc-1"];
        assert_eq!(vpc.acls[&vpc.subnets["subnet-a"].acl].ingress.len(), 2);
    }
}
