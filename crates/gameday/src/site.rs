//! The stack under test: deployed through the API, and what it is made of.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_core::{Error, Result};

use crate::World;
use crate::aim::belongs;
use crate::answers::{instances, items, list, tag, text};
use crate::world::{pass, patience};

/// How often a stack that changes is looked at.
const POLL: Duration = Duration::from_millis(200);
/// A deployment that takes longer is given up on.
const DEPLOY_LIMIT: Duration = Duration::from_secs(30 * 60);

/// A resource of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub logical: String,
    pub physical: String,
    pub kind: String,
}

/// A stack that is there.
#[derive(Clone, Debug, Default)]
pub struct Site {
    pub account: String,
    pub name: String,
    pub outputs: BTreeMap<String, String>,
    pub resources: Vec<Resource>,
    /// Public addresses by the names that `read_addresses` gives them.
    pub addresses: BTreeMap<String, String>,
    pub metadata: Json,
}

/// Makes the stack, or brings the one that is there up to date; waits until it has come to rest.
pub async fn deploy(world: &dyn World, name: &str, body: &str, parameters: &BTreeMap<String, String>) -> Result<()> {
    let parameters: Vec<Json> =
        (parameters.iter()).map(|(key, value)| json!({"ParameterKey": key, "ParameterValue": value})).collect();
    let input = json!({
        "StackName": name, "TemplateBody": body, "Parameters": parameters,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    });
    let answer = match world.call("cloudformation", "CreateStack", input.clone()).await {
        Err(error) if error.is("AlreadyExistsException") => {
            match world.call("cloudformation", "UpdateStack", input).await {
                Err(error) if error.message.contains("No updates") => return Ok(()),
                answer => answer?,
            }
        }
        answer => answer?,
    };
    rest(world, text(&answer, "StackId")).await
}

async fn rest(world: &dyn World, id: &str) -> Result<()> {
    let limit = world.elapsed() + patience(world, DEPLOY_LIMIT);
    loop {
        let stacks = world.call("cloudformation", "DescribeStacks", json!({"StackName": id})).await?;
        let status = items(&stacks, "Stacks").first().map_or("", |stack| text(stack, "StackStatus"));
        match status {
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" => return Ok(()),
            _ if !status.ends_with("_IN_PROGRESS") => return Err(failure(world, id, status).await?),
            _ if world.elapsed() > limit => {
                return Err(Error::unavailable(format!("the stack is still {status} after half an hour")));
            }
            _ => pass(world, POLL).await,
        }
    }
}

/// The first failure of a stack's last change, oldest first.
async fn failure(world: &dyn World, id: &str, status: &str) -> Result<Error> {
    let failed = failures(world, id).await?;
    let why = failed.first().map_or(String::new(), |failed| format!(": {} ({})", failed.reason, failed.logical));
    Ok(Error::client("StackFailed", format!("the stack ended as {status}{why}")))
}

/// A resource that could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub logical: String,
    pub reason: String,
}

/// What failed in a stack by itself, oldest first: not what was given up on because of it.
pub async fn failures(world: &dyn World, stack: &str) -> Result<Vec<Failure>> {
    let input = json!({"StackName": stack});
    let events = list(world, "cloudformation", "DescribeStackEvents", input, "StackEvents").await?;
    let failed = events.iter().rev().filter(|event| text(event, "ResourceStatus").ends_with("_FAILED"));
    let own = failed.filter(|event| !text(event, "ResourceStatusReason").ends_with("cancelled"));
    let failure = |event: &Json| Failure {
        logical: text(event, "LogicalResourceId").into(),
        reason: text(event, "ResourceStatusReason").into(),
    };
    Ok(own.map(failure).collect())
}

impl Site {
    /// Reads what a stack is made of.
    pub async fn read(world: &dyn World, name: &str) -> Result<Self> {
        let caller = world.call("sts", "GetCallerIdentity", json!({})).await?;
        let stacks = world.call("cloudformation", "DescribeStacks", json!({"StackName": name})).await?;
        let stack = items(&stacks, "Stacks").first().cloned().unwrap_or_default();
        let summary = world.call("cloudformation", "GetTemplateSummary", json!({"StackName": name})).await?;
        let resources = world.call("cloudformation", "DescribeStackResources", json!({"StackName": name})).await?;
        let resource = |resource: &Json| Resource {
            logical: text(resource, "LogicalResourceId").into(),
            physical: text(resource, "PhysicalResourceId").into(),
            kind: text(resource, "ResourceType").into(),
        };
        Ok(Self {
            account: text(&caller, "Account").into(),
            name: name.into(),
            outputs: (items(&stack, "Outputs").iter())
                .map(|output| (text(output, "OutputKey").to_owned(), text(output, "OutputValue").to_owned()))
                .collect(),
            resources: items(&resources, "StackResources").iter().map(resource).collect(),
            addresses: BTreeMap::new(),
            metadata: serde_json::from_str(text(&summary, "Metadata")).unwrap_or_default(),
        })
    }

    /// Physical ids of this type's resources.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.resources.iter().filter(move |resource| resource.kind == kind).map(|resource| resource.physical.as_str())
    }

    pub fn groups(&self) -> Vec<&str> {
        self.of_type("AWS::AutoScaling::AutoScalingGroup").collect()
    }

    pub fn target_groups(&self) -> Vec<&str> {
        self.of_type("AWS::ElasticLoadBalancingV2::TargetGroup").collect()
    }

    pub fn alarms(&self) -> Vec<&str> {
        self.of_type("AWS::CloudWatch::Alarm").collect()
    }

    /// The resource of this logical or physical id.
    pub fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.logical == id || resource.physical == id)
    }

    /// How people call a resource: by its logical id where it has one.
    pub fn called<'a>(&'a self, physical: &'a str) -> &'a str {
        self.resources.iter().find(|one| one.physical == physical).map_or(physical, |one| one.logical.as_str())
    }

    /// Reads who has which public address: `${Server.PublicIp}` of an instance of the stack, `${Group.PublicIp}` and
    /// `${Group.ZONE.PublicIp}` of the first member of a group, there and in a zone.
    pub async fn read_addresses(&mut self, world: &dyn World) -> Result<()> {
        let mut all = instances(world).await?;
        all.sort_by_key(|one| {
            (text(&one["Placement"], "AvailabilityZone").to_owned(), text(one, "LaunchTime").to_owned())
        });
        let has_one = |one: &&Json| belongs(self, one) && !text(one, "PublicIpAddress").is_empty();
        let mut addresses = BTreeMap::new();
        for one in all.iter().filter(has_one) {
            let (id, group) = (text(one, "InstanceId"), tag(one, "aws:autoscaling:groupName"));
            let (zone, address) = (text(&one["Placement"], "AvailabilityZone"), text(one, "PublicIpAddress"));
            let called = self.called(if group.is_empty() { id } else { group }).to_owned();
            for name in [format!("{called}.PublicIp"), format!("{called}.{zone}.PublicIp")] {
                addresses.entry(name).or_insert_with(|| address.to_owned());
            }
        }
        self.addresses = addresses;
        Ok(())
    }

    /// Puts in what `${...}` names: an output, a resource's physical id, or a public address.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(|| format!("'{text}' has ${{ without }}"))?;
            let known = || self.outputs.keys().cloned().collect::<Vec<_>>().join(", ");
            let resource = || self.resources.iter().find(|one| one.logical == name).map(|one| &one.physical);
            let value = (self.outputs.get(name))
                .or_else(|| self.addresses.get(name))
                .or_else(resource)
                .ok_or_else(|| format!("'{text}': the stack has no output '{name}' (it has: {})", known()))?;
            out = out + before + value;
            rest = after;
        }
        Ok(out + rest)
    }

    /// The same in every text of a tree.
    pub fn fill_in(&self, tree: &Json) -> Result<Json, String> {
        Ok(match tree {
            Json::String(text) => self.fill(text)?.into(),
            Json::Array(items) => items.iter().map(|one| self.fill_in(one)).collect::<Result<_, _>>()?,
            Json::Object(members) => {
                let filled = members.iter().map(|(name, one)| Ok((name.clone(), self.fill_in(one)?)));
                Json::Object(filled.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_put_in() {
        let outputs = [("URL".to_owned(), "http://x".to_owned())].into();
        let site = Site { outputs, ..Site::default() };
        assert_eq!(site.fill("${URL}/a"), Ok("http://x/a".into()));
        assert_eq!(site.fill("plain"), Ok("plain".into()));
        assert!(site.fill("${Url}").expect_err("unknown").contains("no output 'Url' (it has: URL)"));
        assert!(site.fill("${URL").is_err());
    }

    #[test]
    fn resources_and_addresses_are_put_in_wherever_text_is() {
        let resource = Resource { logical: "Server".into(), physical: "i-1".into(), kind: "AWS::EC2::Instance".into() };
        let addresses = [("Server.PublicIp".to_owned(), "127.9.9.9".to_owned())].into();
        let site = Site { resources: vec![resource], addresses, ..Site::default() };
        let tree = json!({"Ids": ["${Server}"], "Address": {"Ip": "${Server.PublicIp}"}, "Count": 1});
        let filled = json!({"Ids": ["i-1"], "Address": {"Ip": "127.9.9.9"}, "Count": 1});
        assert_eq!(site.fill_in(&tree), Ok(filled));
        assert!(site.fill("${Server.PrivateIp}").is_err());
    }
}
