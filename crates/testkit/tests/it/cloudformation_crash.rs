//! A control plane that stops at any commit, and another that goes on from what was durable: stacks neither lose nor
//! double a resource.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_api::{cloudformation as api, ec2};
use standfast_core::host::Abilities;
use standfast_core::{Clock, Rng};
use standfast_dataplane::{SimAnswer, SimLb};
use standfast_host::sim::{SimConfig, SimHost};
use standfast_kernel::{Cloud, Config, Cx, Planes};
use standfast_store::engine::{Done, Engine, Outcome, Proposal};
use standfast_store::{Key, Store, StoreError};
use standfast_testkit::courier::TestCourier;
use standfast_testkit::{BEGINNING, REGION, TestCloud};
use tokio::sync::oneshot;

const TEMPLATE: &str = "
Parameters:
  Cidr: {Type: String, Default: 10.1.0.0/16}
Resources:
  Vpc:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: !Ref Cidr, EnableDnsHostnames: true}
  Table:
    Type: AWS::EC2::RouteTable
    Properties: {VpcId: !Ref Vpc}
  Subnet:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Vpc, CidrBlock: !Select [0, !Cidr [!GetAtt Vpc.CidrBlock, 1, 8]]}
  Routes:
    Type: AWS::EC2::SubnetRouteTableAssociation
    Properties: {SubnetId: !Ref Subnet, RouteTableId: !Ref Table}
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties:
      GroupDescription: web
      VpcId: !Ref Vpc
      SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 80, ToPort: 80, CidrIp: 0.0.0.0/0}]
  Template:
    Type: AWS::EC2::LaunchTemplate
    Properties: {LaunchTemplateData: {InstanceType: t3.micro, SecurityGroupIds: [!Ref Group]}}
";
/// What a replacement cannot have: the gateway is still attached to the old network when the new one wants it, as in
/// CloudFormation itself.
const GATEWAY: &str = "
  Gateway: {Type: AWS::EC2::InternetGateway}
  Attachment:
    Type: AWS::EC2::VPCGatewayAttachment
    Properties: {VpcId: !Ref Vpc, InternetGatewayId: !Ref Gateway}
  Route:
    Type: AWS::EC2::Route
    DependsOn: Attachment
    Properties: {RouteTableId: !Ref Table, DestinationCidrBlock: 0.0.0.0/0, GatewayId: !Ref Gateway}
";
/// More commits than any of these stories needs.
const COMMITS_MAX: usize = 2000;
/// Fewer cuts than any story takes.
const CUTS_MIN: usize = 10;

type Disk = Arc<Mutex<BTreeMap<Key, Arc<[u8]>>>>;

/// Keeps what is committed while it lives, and lives for so many commits.
struct Mortal {
    disk: Disk,
    left: Mutex<usize>,
}

impl Engine for Mortal {
    fn load(&self) -> Result<Vec<(Key, Arc<[u8]>)>, StoreError> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(disk.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, proposal: Proposal, done: Done) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if *left == 0 {
            return;
        }
        *left -= 1;
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        for write in proposal.writes {
            match write.new {
                Some(value) => disk.insert(write.key, value),
                None => disk.remove(&write.key),
            };
        }
        drop((disk, left));
        done.complete(Outcome::Committed);
    }

    fn close(&self, done: oneshot::Sender<()>) {
        let _ = done.send(());
    }
}

/// The world that outlives control planes.
pub struct World {
    clock: Clock,
    rng: Rng,
    seed: u64,
    host: Arc<SimHost>,
    lb: Arc<SimLb>,
    courier: Arc<TestCourier>,
    disk: Disk,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self::able(seed, Abilities::default())
    }

    /// One with hosts that say that they can do these things.
    pub fn able(seed: u64, abilities: Abilities) -> Self {
        let (clock, rng) = (Clock::starting_at(BEGINNING, 1.0), Rng::seeded(seed));
        let host = SimHost::start(SimConfig { abilities, ..SimConfig::new(clock.clone(), rng.clone()) });
        let lb = Arc::new(SimLb::new(clock.clone(), Arc::new(|_, _| SimAnswer::Status(200))));
        let courier = TestCourier::new(clock.clone());
        Self { clock, rng, seed, host, lb, courier, disk: Disk::default() }
    }

    /// The same, to call as clients do.
    pub fn cloud(&self, commits: usize) -> TestCloud {
        let (host, lb, courier) = (self.host.clone(), self.lb.clone(), self.courier.clone());
        TestCloud::of(self.control_plane(commits), host, lb, courier, self.seed)
    }

    /// One that dies after so many commits.
    pub fn control_plane(&self, commits: usize) -> Cloud {
        let engine = Mortal { disk: self.disk.clone(), left: Mutex::new(commits) };
        let store = Store::with_engine(Arc::new(engine)).expect("what was committed is sound");
        let planes = Planes { host: self.host.clone(), lb: self.lb.clone(), courier: self.courier.clone() };
        let (clock, rng) = (self.clock.clone(), self.rng.clone());
        Cloud::start(Config { clock, rng, store, planes, api_port: 4566 }, standfast::services())
    }
}

async fn create(cx: &Cx, template: String) {
    let (stack_name, template_body) = ("site".to_owned(), Some(template));
    let input = api::CreateStackInput { stack_name, template_body, ..Default::default() };
    cx.call(api::CreateStack, input).await.expect("the stack is accepted");
}

async fn replace(cx: &Cx) {
    let cidr = api::Parameter {
        parameter_key: Some("Cidr".into()),
        parameter_value: Some("10.2.0.0/16".into()),
        ..Default::default()
    };
    let input = api::UpdateStackInput {
        stack_name: "site".into(),
        template_body: Some(TEMPLATE.to_owned()),
        parameters: Some(vec![cidr]),
        ..Default::default()
    };
    cx.call(api::UpdateStack, input).await.expect("the update is accepted");
}

async fn delete(cx: &Cx) {
    let input = api::DeleteStackInput { stack_name: "site".into(), ..Default::default() };
    cx.call(api::DeleteStack, input).await.expect("the delete is accepted");
}

async fn status(cx: &Cx) -> String {
    let all = cx.call(api::ListStacks, api::ListStacksInput::default()).await.expect("stacks can be listed");
    all.stack_summaries.unwrap_or_default().remove(0).stack_status
}

/// Waits until the stack is at rest; `None` when the control plane is dead before that.
async fn rest(cloud: &Cloud) -> Option<String> {
    let cx = cloud.owner(REGION);
    for _ in 0..1000 {
        cloud.clock().sleep(Duration::from_millis(100)).await;
        if cx.txn(|_| Ok(())).await.is_err() {
            return None;
        }
        let status = status(&cx).await;
        if !status.ends_with("_IN_PROGRESS") {
            return Some(status);
        }
    }
    panic!("the stack does not come to rest: {}", status(&cx).await)
}

/// Why resources failed.
async fn failures(cx: &Cx) -> Vec<(String, String)> {
    let all = cx.call(api::ListStacks, api::ListStacksInput::default()).await.expect("stacks can be listed");
    let stack_name = all.stack_summaries.unwrap_or_default().remove(0).stack_id.expect("stacks have ids");
    let input = api::DescribeStackEventsInput { stack_name, next_token: None };
    let events = cx.call(api::DescribeStackEvents, input).await.expect("described").stack_events.unwrap_or_default();
    let failed =
        events.into_iter().filter(|event| event.resource_status.as_ref().is_some_and(|s| s.ends_with("FAILED")));
    let said = failed.map(|event| (event.logical_resource_id, event.resource_status_reason));
    said.map(|(id, reason)| (id.unwrap_or_default(), reason.unwrap_or_default())).collect()
}

/// VPCs, subnets, route tables, security groups, gateways and launch templates, besides the account's own.
async fn count(cx: &Cx) -> [usize; 6] {
    let vpcs = cx.call(ec2::DescribeVpcs, Default::default()).await.expect("described").vpcs.unwrap_or_default();
    let own = |id: Option<&String>| vpcs.iter().any(|vpc| vpc.is_default == Some(true) && vpc.vpc_id.as_ref() == id);
    let subnets = cx.call(ec2::DescribeSubnets, Default::default()).await.expect("described").subnets;
    let tables = cx.call(ec2::DescribeRouteTables, Default::default()).await.expect("described").route_tables;
    let groups = cx.call(ec2::DescribeSecurityGroups, Default::default()).await.expect("described").security_groups;
    let gateways = cx.call(ec2::DescribeInternetGateways, Default::default()).await.expect("described");
    let templates = cx.call(ec2::DescribeLaunchTemplates, Default::default()).await.expect("described");
    let gateways = gateways.internet_gateways.unwrap_or_default();
    let ours = |gateway: &&ec2::InternetGateway| gateway.tags.iter().flatten().next().is_some();
    [
        vpcs.iter().filter(|vpc| vpc.is_default != Some(true)).count(),
        subnets.unwrap_or_default().iter().filter(|s| !own(s.vpc_id.as_ref())).count(),
        tables.unwrap_or_default().iter().filter(|t| !own(t.vpc_id.as_ref())).count(),
        groups.unwrap_or_default().iter().filter(|g| !own(g.vpc_id.as_ref())).count(),
        gateways.iter().filter(ours).count(),
        templates.launch_templates.unwrap_or_default().len(),
    ]
}

const NOTHING: [usize; 6] = [0; 6];
/// With the main route table and the default group of the VPC.
const NETWORK: [usize; 6] = [1, 1, 2, 2, 0, 1];
const WHOLE: [usize; 6] = [1, 1, 2, 2, 1, 1];

/// What is cut: it begins, and then goes on by itself.
#[derive(Clone, Copy)]
enum Story {
    Create,
    Replace,
    Delete,
}

impl Story {
    async fn begin(self, cloud: &Cloud) {
        let cx = cloud.owner(REGION);
        let whole = format!("{TEMPLATE}{GATEWAY}");
        let before = match self {
            Story::Create => return create(&cx, whole).await,
            Story::Replace => TEMPLATE.to_owned(),
            Story::Delete => whole,
        };
        create(&cx, before).await;
        assert_eq!(rest(cloud).await.as_deref(), Some("CREATE_COMPLETE"));
        match self {
            Story::Create => (),
            Story::Replace => replace(&cx).await,
            Story::Delete => delete(&cx).await,
        }
    }

    /// How it ends, and what is there then.
    fn end(self) -> (&'static str, [usize; 6]) {
        match self {
            Story::Create => ("CREATE_COMPLETE", WHOLE),
            Story::Replace => ("UPDATE_COMPLETE", NETWORK),
            Story::Delete => ("DELETE_COMPLETE", NOTHING),
        }
    }

    /// Cuts it after every number of commits, until it ends without being cut.
    fn cut_anywhere(self, seed: u64) {
        let cuts = (0..COMMITS_MAX).take_while(|commits| self.cut(seed, *commits)).count();
        assert!(cuts > CUTS_MIN && cuts < COMMITS_MAX, "the story was cut {cuts} times");
    }

    /// Whether the control plane died before the end.
    fn cut(self, seed: u64, commits: usize) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime can be built").block_on(async {
            let world = World::new(seed);
            let first = world.control_plane(usize::MAX);
            self.begin(&first).await;
            first.supervisor().stop();
            let mortal = world.control_plane(commits);
            let died = rest(&mortal).await.is_none();
            mortal.supervisor().stop();
            let last = world.control_plane(usize::MAX);
            let cx = last.owner(REGION);
            let status = rest(&last).await.unwrap_or_default();
            let (ends, left) = self.end();
            assert_eq!(status, ends, "cut after {commits} commits: {:#?}", failures(&cx).await);
            assert_eq!(count(&cx).await, left, "cut after {commits} commits");
            died
        })
    }
}

#[test]
fn a_create_that_is_cut_short_anywhere_ends_with_everything_once() {
    Story::Create.cut_anywhere(61);
}

#[test]
fn a_replacement_that_is_cut_short_anywhere_leaves_nothing_old() {
    Story::Replace.cut_anywhere(62);
}

#[test]
fn a_delete_that_is_cut_short_anywhere_leaves_nothing() {
    Story::Delete.cut_anywhere(63);
}
