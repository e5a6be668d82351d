//! Managed policies: the customer's own, and those that AWS manages.

use std::sync::Arc;

use standfast_api::iam::{
    self as api, CreatePolicyInput, CreatePolicyOutput, DeletePolicyInput, DeletePolicyOutput, GetPolicyInput,
    GetPolicyOutput, GetPolicyVersionInput, GetPolicyVersionOutput, ListPoliciesInput, ListPoliciesOutput,
    ListPolicyVersionsInput, ListPolicyVersionsOutput, PolicyVersion,
};
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::Cx;

use super::model::{self, Policy, Role};
use super::{check_document, check_path, conflict, encoded, exists, page};
use crate::keys;

/// A managed policy of AWS: path, name, and the actions that it allows (`-` before one: all but it).
type Managed = (&'static str, &'static str, &'static [&'static str]);

/// The managed policies that stacks of this project's scenarios attach.
///
/// AWS-DIFF: their actions are those that matter here, without resources and conditions.
const AWS_MANAGED: &[Managed] = &[
    ("/", "AdministratorAccess", &["*"]),
    ("/", "AmazonEC2FullAccess", &["ec2:*", "elasticloadbalancing:*", "cloudwatch:*", "autoscaling:*"]),
    (
        "/",
        "AmazonEC2ReadOnlyAccess",
        &["ec2:Describe*", "ec2:Get*", "elasticloadbalancing:Describe*", "cloudwatch:Get*", "autoscaling:Describe*"],
    ),
    ("/", "AmazonS3FullAccess", &["s3:*", "s3-object-lambda:*"]),
    ("/", "AmazonS3ReadOnlyAccess", &["s3:Get*", "s3:List*", "s3:Describe*"]),
    ("/", "AmazonSSMManagedInstanceCore", &["ssm:*", "ssmmessages:*", "ec2messages:*"]),
    ("/", "AutoScalingFullAccess", &["autoscaling:*", "cloudwatch:PutMetricAlarm", "ec2:*", "elasticloadbalancing:*"]),
    (
        "/",
        "CloudWatchAgentServerPolicy",
        &["cloudwatch:PutMetricData", "ec2:DescribeVolumes", "ec2:DescribeTags", "logs:*", "ssm:GetParameter"],
    ),
    ("/", "ElasticLoadBalancingFullAccess", &["elasticloadbalancing:*", "ec2:Describe*"]),
    ("/", "IAMFullAccess", &["iam:*"]),
    ("/", "PowerUserAccess", &["-iam:*", "-organizations:*", "-account:*"]),
    ("/", "ReadOnlyAccess", &["*:Describe*", "*:Get*", "*:List*"]),
    ("/service-role/", "AWSLambdaBasicExecutionRole", &["logs:*"]),
    ("/service-role/", "AmazonEC2RoleforSSM", &["ssm:*", "ec2messages:*", "cloudwatch:PutMetricData", "logs:*"]),
];
const VERSION: &str = "v1";

/// A policy that an ARN names.
pub struct Found {
    name: String,
    account: String,
    policy: Arc<Policy>,
}

impl Found {
    fn arn(&self) -> String {
        model::arn(&self.account, "policy", &self.policy.path, &self.name)
    }
}

/// The policy of this ARN.
pub fn find(cx: &Cx, arn: &str) -> Result<Found> {
    let unknown = || Error::client("NoSuchEntity", format!("Policy {arn} does not exist or is not attachable."));
    let parsed: standfast_core::Arn =
        arn.parse().map_err(|_| Error::client("InvalidInput", format!("ARN {arn} is not valid.")))?;
    let (path, name) = parsed.resource.strip_prefix("policy").and_then(|r| r.rsplit_once('/')).ok_or_else(unknown)?;
    let path = format!("{path}/");
    let policy = if parsed.account == "aws" {
        AWS_MANAGED
            .iter()
            .find(|known| (known.0, known.1) == (path.as_str(), name))
            .map(|known| Arc::new(aws_managed(known)))
    } else {
        let stored = cx.view(|v| v.get::<Policy>(&cx.scope().global(), name));
        stored.filter(|policy| policy.path == path && parsed.account == cx.account())
    };
    Ok(Found { name: name.to_owned(), account: parsed.account, policy: policy.ok_or_else(unknown)? })
}

/// The document of a managed policy of AWS.
pub fn aws_managed_document(arn: &str) -> Option<String> {
    let rest = arn.strip_prefix("arn:aws:iam::aws:policy")?;
    AWS_MANAGED.iter().find(|(path, name, _)| rest.strip_prefix(path) == Some(*name)).map(document)
}

fn document((_, _, actions): &Managed) -> String {
    let but: Vec<_> = actions.iter().filter_map(|action| action.strip_prefix('-')).collect();
    let mut statement = serde_json::json!({"Effect": "Allow", "Resource": "*"});
    match &but[..] {
        [] => statement["Action"] = serde_json::json!(actions),
        but => statement["NotAction"] = serde_json::json!(but),
    }
    serde_json::json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

fn aws_managed(managed: &Managed) -> Policy {
    let (path, name, _) = managed;
    Policy {
        id: format!("ANPA{:0<17}", name.to_ascii_uppercase().chars().take(17).collect::<String>()),
        path: (*path).to_owned(),
        created: Timestamp(1_423_159_200_000),
        description: None,
        document: document(managed),
        tags: Default::default(),
    }
}

fn shape(cx: &Cx, found: &Found) -> api::Policy {
    let arn = found.arn();
    let roles = cx.view(|v| v.list::<Role>(&cx.scope().global()));
    let attached = roles.iter().filter(|(_, role)| role.attached.contains(&arn)).count();
    api::Policy {
        policy_name: Some(found.name.clone()),
        policy_id: Some(found.policy.id.clone()),
        arn: Some(arn),
        path: Some(found.policy.path.clone()),
        default_version_id: Some(VERSION.into()),
        attachment_count: Some(attached as i32),
        permissions_boundary_usage_count: Some(0),
        is_attachable: Some(true),
        description: found.policy.description.clone(),
        create_date: Some(found.policy.created),
        update_date: Some(found.policy.created),
        tags: model::some_tags(&found.policy.tags),
    }
}

pub async fn create(cx: Cx, input: CreatePolicyInput) -> Result<CreatePolicyOutput> {
    check_document(&input.policy_document)?;
    let policy = Policy {
        id: keys::new_id(cx.rng(), "ANPA"),
        path: check_path(input.path.as_deref())?,
        created: cx.now(),
        description: input.description,
        document: input.policy_document,
        tags: model::tags_in(input.tags),
    };
    let scope = cx.scope().global();
    cx.txn(|tx| {
        if tx.get::<Policy>(&scope, &input.policy_name).is_some() {
            return Err(exists("A policy", &input.policy_name));
        }
        tx.put(&scope, &input.policy_name, policy.clone());
        Ok(())
    })
    .await?;
    let found = Found { name: input.policy_name, account: cx.account().to_owned(), policy: Arc::new(policy) };
    Ok(CreatePolicyOutput { policy: Some(shape(&cx, &found)) })
}

pub async fn get(cx: Cx, input: GetPolicyInput) -> Result<GetPolicyOutput> {
    let found = find(&cx, &input.policy_arn)?;
    Ok(GetPolicyOutput { policy: Some(shape(&cx, &found)) })
}

pub async fn list(cx: Cx, input: ListPoliciesInput) -> Result<ListPoliciesOutput> {
    let scope = input.scope.as_deref().unwrap_or("All");
    let mut all: Vec<Found> = Vec::new();
    if scope != "AWS" {
        let stored = cx.view(|v| v.list::<Policy>(&cx.scope().global()));
        let own =
            |(name, policy): (Arc<str>, _)| Found { name: name.to_string(), account: cx.account().into(), policy };
        all.extend(stored.into_iter().map(own));
    }
    if scope != "Local" {
        let managed = |known: &Managed| Found {
            name: known.1.to_owned(),
            account: "aws".into(),
            policy: Arc::new(aws_managed(known)),
        };
        all.extend(AWS_MANAGED.iter().map(managed));
    }
    all.retain(|found| found.policy.path.starts_with(input.path_prefix.as_deref().unwrap_or("/")));
    if input.only_attached == Some(true) {
        all.retain(|found| shape(&cx, found).attachment_count != Some(0));
    }
    all.sort_by_key(Found::arn);
    let page = page(all, Found::arn, input.marker.as_deref(), input.max_items)?;
    Ok(ListPoliciesOutput {
        policies: Some(page.items.iter().map(|found| shape(&cx, found)).collect()),
        is_truncated: Some(page.next.is_some()),
        marker: page.next,
    })
}

pub async fn delete(cx: Cx, input: DeletePolicyInput) -> Result<DeletePolicyOutput> {
    let found = find(&cx, &input.policy_arn)?;
    if found.account == "aws" {
        let message = format!("Policy {} is managed by AWS and cannot be deleted.", input.policy_arn);
        return Err(Error::client("AccessDenied", message).with_status(403));
    }
    let scope = cx.scope().global();
    cx.txn(|tx| {
        if tx.list::<Role>(&scope).iter().any(|(_, role)| role.attached.contains(&input.policy_arn)) {
            return Err(conflict("Cannot delete a policy attached to entities."));
        }
        tx.delete::<Policy>(&scope, &found.name);
        Ok(DeletePolicyOutput::default())
    })
    .await
}

fn version(found: &Found, document: bool) -> PolicyVersion {
    PolicyVersion {
        document: document.then(|| encoded(&found.policy.document)),
        version_id: Some(VERSION.into()),
        is_default_version: Some(true),
        create_date: Some(found.policy.created),
    }
}

pub async fn get_version(cx: Cx, input: GetPolicyVersionInput) -> Result<GetPolicyVersionOutput> {
    let found = find(&cx, &input.policy_arn)?;
    if input.version_id != VERSION {
        let message =
            format!("Policy {} version {} does not exist or is not attachable.", input.policy_arn, input.version_id);
        return Err(Error::client("NoSuchEntity", message));
    }
    Ok(GetPolicyVersionOutput { policy_version: Some(version(&found, true)) })
}

pub async fn list_versions(cx: Cx, input: ListPolicyVersionsInput) -> Result<ListPolicyVersionsOutput> {
    let found = find(&cx, &input.policy_arn)?;
    let versions = Some(vec![version(&found, false)]);
    Ok(ListPolicyVersionsOutput { versions, is_truncated: Some(false), marker: None })
}
