//! The network interfaces of load balancers: one in the subnet of each enabled zone.
//!
//! Owns `elbv2.nodes`. Invariant: a node's record is written before its interface is made and forgotten after that is
//! deleted, and an interface that was made and not recorded is found by its description, which names the load balancer.
//! So nothing leaks, wherever this is interrupted. The data plane is told of nodes in `snapshot`, not here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use standfast_core::{Result, Scope};
use standfast_kernel::{Cx, Wake};

use super::model::{Interface, LoadBalancer, Node};
use super::network::{self, NewInterface};

/// After how long a step that failed is tried again: a subnet without a free address may have one then.
const RETRY: Duration = Duration::from_secs(30);

pub type Rows<R> = Vec<(Scope, Arc<str>, Arc<R>)>;

/// What is to be done for one node.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Write down that it is to have an interface.
    Note(Node),
    Make(Node),
    /// Give its interface the load balancer's security groups.
    Regroup(Node, Interface),
    Remove(Node),
}

pub async fn run(cx: Cx) -> Result<Wake> {
    let (balancers, nodes) = cx.view(|view| (view.all::<LoadBalancer>(), view.all::<Node>()));
    let mut wake = Wake::OnChange;
    for (scope, id, step) in plan(&balancers, &nodes) {
        let balancer = balancers.iter().find(|(of, id, _)| *of == scope && **id == *step.node().load_balancer);
        let balancer = balancer.map(|(_, _, balancer)| &**balancer);
        // The others are not held up by one that fails.
        if let Err(error) = apply(&cx.at(&scope), &id, &step, balancer).await {
            let (node, error) = (step.node(), error.to_string());
            eprintln!(
                "level=warn event=lb_node_failed load_balancer={} subnet={} error={error:?}",
                node.load_balancer, node.subnet
            );
            wake = wake.or(Wake::At(cx.now() + RETRY));
        }
    }
    Ok(wake)
}

impl Step {
    fn node(&self) -> &Node {
        match self {
            Self::Note(node) | Self::Make(node) | Self::Regroup(node, _) | Self::Remove(node) => node,
        }
    }
}

/// What to do next, with the ids of the nodes' records.
fn plan(balancers: &Rows<LoadBalancer>, nodes: &Rows<Node>) -> Vec<(Scope, String, Step)> {
    let known: BTreeSet<(&Scope, &str)> = nodes.iter().map(|(scope, id, _)| (scope, &**id)).collect();
    let mut wanted: BTreeMap<(&Scope, String), &LoadBalancer> = BTreeMap::new();
    let mut steps = Vec::new();
    for (scope, balancer_id, balancer) in balancers {
        for mapping in &balancer.zones {
            let id = Node::record_id(balancer_id, &mapping.subnet);
            if !known.contains(&(scope, id.as_str())) {
                let (load_balancer, subnet) = (balancer_id.to_string(), mapping.subnet.clone());
                steps.push((scope.clone(), id.clone(), Step::Note(Node { load_balancer, subnet, interface: None })));
            }
            wanted.insert((scope, id), balancer);
        }
    }
    for (scope, id, node) in nodes {
        let step = match (wanted.get(&(scope, id.to_string())), &node.interface) {
            (None, _) => Step::Remove(Node::clone(node)),
            (Some(_), None) => Step::Make(Node::clone(node)),
            (Some(balancer), Some(interface)) if interface.security_groups != balancer.security_groups => {
                Step::Regroup(Node::clone(node), interface.clone())
            }
            _ => continue,
        };
        steps.push((scope.clone(), id.to_string(), step));
    }
    steps
}

async fn apply(cx: &Cx, id: &str, step: &Step, balancer: Option<&LoadBalancer>) -> Result<()> {
    match (step, balancer) {
        (Step::Note(node), _) => note(cx, id, node).await,
        (Step::Remove(node), _) => remove(cx, id, node).await,
        (Step::Make(node), Some(balancer)) => {
            let interface = make(cx, node, balancer).await?;
            record(cx, id, Some(interface)).await
        }
        (Step::Regroup(_, interface), Some(balancer)) => {
            let groups = &balancer.security_groups;
            if network::regroup(cx, &interface.id, groups).await? {
                record(cx, id, Some(Interface { security_groups: groups.clone(), ..interface.clone() })).await
            } else {
                record(cx, id, None).await // It is gone; the next run makes another.
            }
        }
        (Step::Make(_) | Step::Regroup(..), None) => Ok(()), // Planned only for a load balancer that is there.
    }
}

/// Writes a new node down, if its load balancer still wants it.
async fn note(cx: &Cx, id: &str, node: &Node) -> Result<()> {
    cx.txn(|tx| {
        let balancer = tx.get::<LoadBalancer>(cx.scope(), &node.load_balancer);
        if balancer.is_some_and(|balancer| balancer.zones.iter().any(|mapping| mapping.subnet == node.subnet)) {
            tx.put(cx.scope(), id, node.clone());
        }
        Ok(())
    })
    .await
}

/// The interface that an interrupted run has made, or a new one.
async fn make(cx: &Cx, node: &Node, balancer: &LoadBalancer) -> Result<Interface> {
    let description = node.description();
    if let Some(found) = network::interfaces(cx, &description, &node.subnet).await?.into_iter().next() {
        return Ok(found);
    }
    let (subnet, security_groups) = (&node.subnet, &balancer.security_groups);
    let new = NewInterface { description, subnet, security_groups, dns_name: &balancer.dns_name };
    network::create_interface(cx, new).await
}

async fn record(cx: &Cx, id: &str, interface: Option<Interface>) -> Result<()> {
    cx.txn(|tx| {
        if let Some(node) = tx.get::<Node>(cx.scope(), id) {
            tx.put(cx.scope(), id, Node { interface: interface.clone(), ..Node::clone(&node) });
        }
        Ok(())
    })
    .await
}

async fn remove(cx: &Cx, id: &str, node: &Node) -> Result<()> {
    for interface in network::interfaces(cx, &node.description(), &node.subnet).await? {
        network::delete_interface(cx, &interface.id).await?;
    }
    cx.txn(|tx| {
        tx.delete::<Node>(cx.scope(), id);
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elbv2::model::{State, ZoneMapping};
    use standfast_core::Timestamp;

    const WEB: &str = "app/web/50dc6c495c0c9188";

    fn scope() -> Scope {
        Scope::new("000000000000", "eu-west-1")
    }

    fn balancer(subnets: &[&str]) -> Rows<LoadBalancer> {
        let mapping = |subnet: &&str| ZoneMapping { zone: format!("zone of {subnet}"), subnet: (*subnet).into() };
        let balancer = LoadBalancer {
            name: "web".into(),
            internal: false,
            vpc: "vpc-1".into(),
            zones: subnets.iter().map(mapping).collect(),
            security_groups: vec!["sg-1".into()],
            dns_name: "web-0000000001.eu-west-1.elb.localhost".into(),
            state: State::Active,
            created: Timestamp(0),
            attributes: Default::default(),
            tags: Default::default(),
        };
        vec![(scope(), WEB.into(), Arc::new(balancer))]
    }

    fn node(subnet: &str, group: Option<&str>) -> Node {
        let interface = group.map(|group| Interface {
            id: format!("eni-{subnet}"),
            address: [10, 0, 0, 4].into(),
            security_groups: vec![group.into()],
        });
        Node { load_balancer: WEB.into(), subnet: subnet.into(), interface }
    }

    fn rows(nodes: &[Node]) -> Rows<Node> {
        let row = |node: &Node| (scope(), Node::record_id(WEB, &node.subnet).into(), Arc::new(node.clone()));
        nodes.iter().map(row).collect()
    }

    fn steps(balancers: &Rows<LoadBalancer>, nodes: &[Node]) -> Vec<Step> {
        plan(balancers, &rows(nodes)).into_iter().map(|(_, _, step)| step).collect()
    }

    #[test]
    fn a_node_is_noted_before_its_interface_is_made() {
        let (made, noted) = (node("a", Some("sg-1")), node("b", None));
        assert_eq!(steps(&balancer(&["a", "b"]), std::slice::from_ref(&made)), [Step::Note(noted.clone())]);
        assert_eq!(steps(&balancer(&["a", "b"]), &[made.clone(), noted.clone()]), [Step::Make(noted)]);
        assert_eq!(steps(&balancer(&["a"]), &[made]), []);
    }

    #[test]
    fn what_no_load_balancer_wants_is_removed_made_or_not() {
        let (made, noted) = (node("a", Some("sg-1")), node("b", None));
        let both = [made.clone(), noted.clone()];
        assert_eq!(steps(&Rows::new(), &both), [Step::Remove(made.clone()), Step::Remove(noted.clone())]);
        assert_eq!(steps(&balancer(&["a"]), &both), [Step::Remove(noted)]);
    }

    #[test]
    fn an_interface_gets_the_load_balancers_groups() {
        let old = node("a", Some("sg-old"));
        let interface = old.interface.clone().expect("made");
        assert_eq!(steps(&balancer(&["a"]), std::slice::from_ref(&old)), [Step::Regroup(old, interface)]);
    }
}
