//! What an account has in a region before it asks for anything: a default VPC with a subnet in each zone.
//!
//! It is made when the account's network there is first looked at or used. Invariant: it is made once; a default VPC
//! that its owner deletes stays away until CreateDefaultVpc.

use standfast_core::id::{self, Id};
use standfast_core::place::{Region, Zone};
use standfast_core::{Cidr, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::model::{DEFAULTS_ID, Defaults, Destination, DhcpOptions, InternetGateway, Route, Subnet, Target, Vpc};
use super::vpcs::{NewVpc, anywhere};

const CIDR: &str = "172.31.0.0/16";
const SUBNET_PREFIX: u8 = 20;
/// How many default subnets there is room for.
pub const SUBNETS_MAX: usize = 16;

/// The default VPC's ids and zones.
#[derive(Debug)]
pub struct NewDefaultVpc {
    network: NewVpc,
    gateway: Id<id::InternetGateway>,
    subnets: Vec<(Id<id::Subnet>, Zone)>,
}

impl NewDefaultVpc {
    pub fn new(cx: &Cx) -> Self {
        let zones = Region::named(cx.region()).into_iter().flat_map(Region::zones);
        Self {
            network: NewVpc::new(cx.rng()),
            gateway: Id::new(cx.rng()),
            subnets: zones.map(|zone| (Id::new(cx.rng()), zone)).collect(),
        }
    }

    pub fn vpc(&self) -> &Id<id::Vpc> {
        &self.network.vpc
    }

    pub fn put(&self, tx: &mut Txn, scope: &Scope, dhcp_options: Id<id::DhcpOptions>) {
        let cidr: Cidr = CIDR.parse().expect("a valid block");
        let vpc = Vpc { is_default: true, dns_hostnames: true, dhcp_options: Some(dhcp_options), ..Vpc::of(cidr) };
        let out =
            Route { destination: Destination::V4(anywhere()), target: Target::InternetGateway(self.gateway.clone()) };
        self.network.put(tx, scope, vpc, vec![out]);
        tx.put(scope, &self.gateway, InternetGateway { vpc: Some(self.vpc().clone()) });
        for (n, (id, zone)) in self.subnets.iter().enumerate() {
            let record = subnet(self.vpc(), cidr, n, zone);
            super::subnets::put(tx, scope, id, record, &self.network.acl);
        }
    }
}

/// The `n`th default subnet of a default VPC.
pub fn subnet(vpc: &Id<id::Vpc>, cidr: Cidr, n: usize, zone: &Zone) -> Subnet {
    let base =
        cidr.nth((n as u64) << (32 - SUBNET_PREFIX)).expect("a /16 has sixteen /20 blocks, a region fewer zones");
    let block = Cidr::new(base, SUBNET_PREFIX).expect("a valid prefix");
    Subnet { default_for_zone: true, map_public_ip: true, ..Subnet::of(vpc.clone(), block, zone.name.clone()) }
}

/// Sets the account's region up, when that has not happened yet.
pub async fn ready(cx: &Cx) -> Result<()> {
    if cx.view(|view| view.get::<Defaults>(cx.scope(), DEFAULTS_ID).is_some()) {
        return Ok(());
    }
    let (scope, vpc, options) = (cx.scope(), NewDefaultVpc::new(cx), Id::<id::DhcpOptions>::new(cx.rng()));
    let domain = domain(cx.region());
    cx.txn(|tx| {
        if tx.get::<Defaults>(scope, DEFAULTS_ID).is_some() {
            return Ok(());
        }
        let settings = vec![
            ("domain-name".to_owned(), vec![domain.clone()]),
            ("domain-name-servers".to_owned(), vec!["AmazonProvidedDNS".to_owned()]),
        ];
        tx.put(scope, &options, DhcpOptions { options: settings });
        vpc.put(tx, scope, options.clone());
        tx.put(scope, DEFAULTS_ID, Defaults { dhcp_options: options.clone() });
        Ok(())
    })
    .await
}

/// The options that a new VPC gets: those of the region. Call after `ready`.
pub fn dhcp_options(view: &View, scope: &Scope) -> Id<id::DhcpOptions> {
    view.get::<Defaults>(scope, DEFAULTS_ID).expect("the scope was set up before").dhcp_options.clone()
}

/// The domain of private host names.
pub fn domain(region: &str) -> String {
    if region == "us-east-1" { "ec2.internal".into() } else { format!("{region}.compute.internal") }
}
