//! Security groups, their rules, key pairs.

use serde_json::{Map, Value, json};
use standfast_api::ec2;
use standfast_core::Result;

use super::ec2_network::{gone, identified, ready, retag, retag_id, tag_specifications, vanished};
use super::job::{Job, said};
use super::{BASE, ResourceType, State, attributes};

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::EC2::SecurityGroup",
        required: &["GroupDescription"],
        replaced: &["GroupDescription", "GroupName", "VpcId"],
        updated: &["SecurityGroupEgress", "SecurityGroupIngress", "Tags"],
        attributes: &["GroupId", "Id", "VpcId"],
        create: |job| Box::pin(create_group(job)),
        equip: |job| Box::pin(first_rules(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeSecurityGroups, "SecurityGroups", "GroupId")),
        read: |job| Box::pin(read_group(job)),
        update: |job| Box::pin(update_group(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteSecurityGroup, "GroupId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::SecurityGroupIngress",
        required: &["IpProtocol"],
        replaced: &[
            "CidrIp",
            "CidrIpv6",
            "FromPort",
            "GroupId",
            "GroupName",
            "IpProtocol",
            "SourcePrefixListId",
            "SourceSecurityGroupId",
            "SourceSecurityGroupName",
            "SourceSecurityGroupOwnerId",
            "ToPort",
        ],
        updated: &["Description"],
        attributes: &["Id"],
        create: |job| Box::pin(create_ingress(job)),
        find: |job| Box::pin(find_rule(job, false)),
        read: |job| Box::pin(async { Ok(identified(job, "Id")) }),
        update: |job| Box::pin(describe_rule(job)),
        delete: |job| Box::pin(delete_ingress(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::SecurityGroupEgress",
        required: &["GroupId", "IpProtocol"],
        replaced: &[
            "CidrIp",
            "CidrIpv6",
            "DestinationPrefixListId",
            "DestinationSecurityGroupId",
            "FromPort",
            "GroupId",
            "IpProtocol",
            "ToPort",
        ],
        updated: &["Description"],
        attributes: &["Id"],
        create: |job| Box::pin(create_egress(job)),
        find: |job| Box::pin(find_rule(job, true)),
        read: |job| Box::pin(async { Ok(identified(job, "Id")) }),
        update: |job| Box::pin(describe_rule(job)),
        delete: |job| Box::pin(delete_egress(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::KeyPair",
        required: &["KeyName"],
        replaced: &["KeyFormat", "KeyName", "KeyType", "PublicKeyMaterial"],
        updated: &["Tags"],
        attributes: &["KeyFingerprint", "KeyPairId"],
        create: |job| Box::pin(create_key_pair(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeKeyPairs, "KeyPairs", "KeyName")),
        read: |job| Box::pin(read_key_pair(job)),
        update: |job| Box::pin(update_key_pair(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteKeyPair, "KeyName")),
        ..BASE
    },
];

/// The longest name of a group.
const GROUP_NAME_CHARS_MAX: usize = 255;

/// A rule of a template as a permission of the API.
fn permission(rule: &Value) -> Value {
    let mut permission = Map::new();
    for member in ["IpProtocol", "FromPort", "ToPort"] {
        if let Some(value) = rule.get(member) {
            permission.insert(member.into(), value.clone());
        }
    }
    let described = |mut source: Value| {
        if let (Some(text), Some(source)) = (rule.get("Description"), source.as_object_mut()) {
            source.insert("Description".into(), text.clone());
        }
        Value::from(vec![source])
    };
    let get = |names: &[&str]| names.iter().find_map(|name| rule.get(*name));
    if let Some(cidr) = get(&["CidrIp"]) {
        permission.insert("IpRanges".into(), described(json!({"CidrIp": cidr})));
    }
    if let Some(cidr) = get(&["CidrIpv6"]) {
        permission.insert("Ipv6Ranges".into(), described(json!({"CidrIpv6": cidr})));
    }
    if let Some(list) = get(&["SourcePrefixListId", "DestinationPrefixListId"]) {
        permission.insert("PrefixListIds".into(), described(json!({"PrefixListId": list})));
    }
    let mut pair = Map::new();
    for (member, value) in [
        ("GroupId", get(&["SourceSecurityGroupId", "DestinationSecurityGroupId"])),
        ("GroupName", get(&["SourceSecurityGroupName"])),
        ("UserId", get(&["SourceSecurityGroupOwnerId"])),
    ] {
        pair.extend(value.map(|value| (member.to_owned(), value.clone())));
    }
    if !pair.is_empty() {
        permission.insert("UserIdGroupPairs".into(), described(pair.into()));
    }
    permission.into()
}

fn permissions(rules: Option<&Value>) -> Vec<Value> {
    rules.and_then(Value::as_array).into_iter().flatten().map(permission).collect()
}

/// What a group lets out when nothing is said.
fn everything() -> Vec<Value> {
    vec![json!({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]})]
}

fn outward(rules: Option<&Value>) -> Vec<Value> {
    rules.map_or_else(everything, |rules| permissions(Some(rules)))
}

async fn create_group(job: &Job) -> Result<String> {
    let mut input = job.only(&["VpcId"]);
    input.insert("GroupName".into(), job.name("GroupName", GROUP_NAME_CHARS_MAX).into());
    input.insert("Description".into(), job.need("GroupDescription")?.into());
    input.insert("TagSpecifications".into(), tag_specifications(job, "security-group"));
    said(&job.ask(ec2::CreateSecurityGroup, input.into()).await?, "/GroupId")
}

async fn first_rules(job: &Job) -> Result<()> {
    change_rules(job, &Rules::default(), &Rules::wanted(job)).await
}

/// The permissions of a group.
struct Rules {
    inward: Vec<Value>,
    outward: Vec<Value>,
}

impl Default for Rules {
    /// Those of a new group.
    fn default() -> Self {
        Self { inward: Vec::new(), outward: everything() }
    }
}

impl Rules {
    fn wanted(job: &Job) -> Self {
        Self { inward: permissions(job.get("SecurityGroupIngress")), outward: outward(job.get("SecurityGroupEgress")) }
    }

    fn before(job: &Job) -> Self {
        let old = job.old.as_ref().map(|old| &old.evaluated.properties);
        let get = |property: &str| old.and_then(|old| old.get(property));
        Self { inward: permissions(get("SecurityGroupIngress")), outward: outward(get("SecurityGroupEgress")) }
    }
}

/// Takes away what is no longer wanted and adds what is; a rule that is there already, or gone already, is fine.
async fn change_rules(job: &Job, from: &Rules, to: &Rules) -> Result<()> {
    for (egress, from, to) in [(false, &from.inward, &to.inward), (true, &from.outward, &to.outward)] {
        for rule in from.iter().filter(|rule| !to.contains(rule)) {
            let input = json!({"GroupId": job.id(), "IpPermissions": [rule]});
            if egress {
                job.forget(ec2::RevokeSecurityGroupEgress, input).await?;
            } else {
                job.forget(ec2::RevokeSecurityGroupIngress, input).await?;
            }
        }
        for rule in to.iter().filter(|rule| !from.contains(rule)) {
            let input = json!({"GroupId": job.id(), "IpPermissions": [rule]});
            let answer = if egress {
                job.ask(ec2::AuthorizeSecurityGroupEgress, input).await
            } else {
                job.ask(ec2::AuthorizeSecurityGroupIngress, input).await
            };
            answer
                .map(drop)
                .or_else(|error| if error.is("InvalidPermission.Duplicate") { Ok(()) } else { Err(error) })?;
        }
    }
    Ok(())
}

async fn update_group(job: &Job) -> Result<()> {
    change_rules(job, &Rules::before(job), &Rules::wanted(job)).await?;
    retag(job).await
}

async fn read_group(job: &Job) -> Result<State> {
    let groups = json!({"GroupIds": [job.id()]});
    let Some(group) = job.look(ec2::DescribeSecurityGroups, groups, "SecurityGroups").await? else {
        return Ok(vanished(job));
    };
    Ok(ready(json!({"GroupId": job.id(), "Id": job.id(), "VpcId": group["VpcId"]})))
}

fn rule_input(job: &Job) -> Value {
    let mut input = job.only(&["GroupId", "GroupName"]);
    input.insert("IpPermissions".into(), json!([permission(&job.properties().clone().into())]));
    input.into()
}

async fn create_ingress(job: &Job) -> Result<String> {
    let answer = job.ask(ec2::AuthorizeSecurityGroupIngress, rule_input(job)).await?;
    said(&answer, "/SecurityGroupRules/0/SecurityGroupRuleId")
}

async fn create_egress(job: &Job) -> Result<String> {
    let answer = job.ask(ec2::AuthorizeSecurityGroupEgress, rule_input(job)).await?;
    said(&answer, "/SecurityGroupRules/0/SecurityGroupRuleId")
}

/// The rule of the group that an earlier attempt made: the one that says the same.
async fn find_rule(job: &Job, egress: bool) -> Result<Option<String>> {
    let Some(group) = job.text("GroupId") else { return Ok(None) };
    let filters = json!({"Filters": [{"Name": "group-id", "Values": [group]}]});
    let answer = job.ask(ec2::DescribeSecurityGroupRules, filters).await?;
    let same = |rule: &&Value| {
        let text = |value: &Value| crate::cloudformation::template::text(value);
        let is = |member: &str, property: &str| text(&rule[member]) == job.text(property);
        let other = ["SourceSecurityGroupId", "DestinationSecurityGroupId"].into_iter().find_map(|p| job.text(p));
        rule["IsEgress"] == egress
            && is("IpProtocol", "IpProtocol")
            && is("FromPort", "FromPort")
            && is("ToPort", "ToPort")
            && is("CidrIpv4", "CidrIp")
            && is("CidrIpv6", "CidrIpv6")
            && text(&rule["ReferencedGroupInfo"]["GroupId"]) == other
    };
    let found = answer["SecurityGroupRules"].as_array().into_iter().flatten().find(same);
    Ok(found.and_then(|rule| rule["SecurityGroupRuleId"].as_str()).map(str::to_owned))
}

async fn describe_rule(job: &Job) -> Result<()> {
    let rule = json!({"SecurityGroupRuleId": job.id(), "Description": job.text("Description").unwrap_or_default()});
    let input = json!({"GroupId": job.need("GroupId")?, "SecurityGroupRuleDescriptions": [rule]});
    if job.spec.evaluated.kind.ends_with("Egress") {
        job.ask(ec2::UpdateSecurityGroupRuleDescriptionsEgress, input).await.map(drop)
    } else {
        job.ask(ec2::UpdateSecurityGroupRuleDescriptionsIngress, input).await.map(drop)
    }
}

fn rule_id(job: &Job) -> Value {
    let mut input = job.only(&["GroupId", "GroupName"]);
    input.insert("SecurityGroupRuleIds".into(), json!([job.id()]));
    input.into()
}

async fn delete_ingress(job: &Job) -> Result<bool> {
    job.forget(ec2::RevokeSecurityGroupIngress, rule_id(job)).await.map(|_| true)
}

async fn delete_egress(job: &Job) -> Result<bool> {
    job.forget(ec2::RevokeSecurityGroupEgress, rule_id(job)).await.map(|_| true)
}

// AWS-DIFF: the private half of a generated key is not put into the parameter store.
async fn create_key_pair(job: &Job) -> Result<String> {
    let mut input = job.only(&["KeyName"]);
    input.insert("TagSpecifications".into(), tag_specifications(job, "key-pair"));
    match job.get("PublicKeyMaterial") {
        Some(material) => {
            input.insert("PublicKeyMaterial".into(), material.clone());
            said(&job.ask(ec2::ImportKeyPair, input.into()).await?, "/KeyName")
        }
        None => {
            input.extend(job.only(&["KeyFormat", "KeyType"]));
            said(&job.ask(ec2::CreateKeyPair, input.into()).await?, "/KeyName")
        }
    }
}

async fn key_pair(job: &Job) -> Result<Option<Value>> {
    job.look(ec2::DescribeKeyPairs, json!({"KeyNames": [job.id()]}), "KeyPairs").await
}

async fn read_key_pair(job: &Job) -> Result<State> {
    let found = key_pair(job).await?;
    let names = ["KeyFingerprint", "KeyPairId"];
    Ok(found.map_or_else(|| vanished(job), |found| State::Ready(attributes(&found, &names))))
}

async fn update_key_pair(job: &Job) -> Result<()> {
    let found = key_pair(job).await?.unwrap_or_default();
    retag_id(job, &said(&found, "/KeyPairId")?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_templates_become_permissions() {
        let rule =
            json!({"IpProtocol": "tcp", "FromPort": 80, "ToPort": "80", "CidrIp": "0.0.0.0/0", "Description": "w"});
        assert_eq!(
            permission(&rule),
            json!({"IpProtocol": "tcp", "FromPort": 80, "ToPort": "80",
                   "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "w"}]})
        );
        let rule = json!({"IpProtocol": "-1", "SourceSecurityGroupId": "sg-1"});
        assert_eq!(permission(&rule), json!({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-1"}]}));
    }
}
