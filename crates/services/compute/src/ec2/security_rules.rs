//! Rules of security groups: reading them from requests, adding, taking away, changing.
//!
//! Invariant: a group has no two rules of the same direction, traffic and peer, and at most 60 of a direction.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Arn, Error, Result, Rng, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{Peer, Rule, SecurityGroup, Traffic};
use super::security_groups::{by_name, named};
use super::vpcs::{anywhere, cidr};
use super::{defaults, prefix_lists, tags};

/// How many rules of a direction a group may have.
const RULES_MAX: usize = 60;
const DESCRIPTION_LENGTH_MAX: usize = 255;
const PORT_MAX: i32 = 65_535;
const ICMP_MAX: i32 = 255;

impl Traffic {
    pub fn all() -> Self {
        Self { protocol: "-1".into(), from: None, to: None }
    }

    /// Reads protocol and ports as a request gives them.
    pub fn parse(protocol: Option<&str>, from: Option<i32>, to: Option<i32>) -> Result<Self> {
        let protocol = match protocol.filter(|protocol| !protocol.is_empty()) {
            None => return Err(errors::missing("ipProtocol")),
            Some("6") => "tcp".to_owned(),
            Some("17") => "udp".to_owned(),
            Some("1") => "icmp".to_owned(),
            Some("58") => "icmpv6".to_owned(),
            Some("all") => "-1".to_owned(),
            Some(other) => other.to_ascii_lowercase(),
        };
        match protocol.as_str() {
            "tcp" | "udp" => {
                let (Some(from), Some(to)) = (from, to) else {
                    let message = "Must specify both from and to ports with TCP/UDP.";
                    return Err(errors::invalid(format!("Invalid value '{message}' for portRange.")));
                };
                if !(0..=PORT_MAX).contains(&from) || !(0..=PORT_MAX).contains(&to) || from > to {
                    return Err(errors::invalid(format!("Invalid TCP/UDP port range ({from}:{to})")));
                }
                Ok(Self { protocol, from: Some(from), to: Some(to) })
            }
            "icmp" | "icmpv6" => {
                let (from, to) = (from.unwrap_or(-1), to.unwrap_or(-1));
                if !(-1..=ICMP_MAX).contains(&from) || !(-1..=ICMP_MAX).contains(&to) {
                    return Err(errors::invalid(format!("ICMP type ({from}) or code ({to}) out of range")));
                }
                Ok(Self { protocol, from: Some(from), to: Some(to) })
            }
            "-1" => Ok(Self::all()),
            other if other.parse::<u8>().is_ok() => Ok(Self { protocol, from: None, to: None }),
            other => Err(errors::invalid(format!("Invalid value '{other}' for IP protocol. Unknown protocol."))),
        }
    }
}

impl Rule {
    /// The rule that every new group has.
    pub fn allow_all_out(id: Id<id::SecurityGroupRule>) -> Self {
        Self { id, egress: true, traffic: Traffic::all(), peer: Peer::V4(anywhere()), description: None }
    }

    fn same(&self, other: &Rule) -> bool {
        self.egress == other.egress && self.traffic == other.traffic && self.peer == other.peer
    }
}

/// A permission with nothing but its traffic.
pub fn permission(traffic: &Traffic) -> api::IpPermission {
    api::IpPermission {
        ip_protocol: Some(traffic.protocol.clone()),
        from_port: traffic.from,
        to_port: traffic.to,
        user_id_group_pairs: Some(Vec::new()),
        ip_ranges: Some(Vec::new()),
        ipv6_ranges: Some(Vec::new()),
        prefix_list_ids: Some(Vec::new()),
    }
}

/// What a request says about rules: permissions, or the same as members of its own.
#[derive(Default)]
struct Asked<'a> {
    egress: bool,
    permissions: Option<&'a Vec<api::IpPermission>>,
    protocol: Option<&'a str>,
    from: Option<i32>,
    to: Option<i32>,
    cidr: Option<&'a str>,
    group_name: Option<&'a str>,
}

/// The rules that a request speaks of, with new ids from the generator given before the transaction.
fn rules(view: &View, scope: &Scope, vpc: &Id<id::Vpc>, asked: &Asked) -> Result<Vec<Rule>> {
    let mut out = Vec::new();
    let mut add = |traffic: &Traffic, peer: Peer, description: &Option<String>| {
        let description = description.clone().filter(|text| !text.is_empty());
        if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_LENGTH_MAX) {
            let message = format!("A rule's description has at most {DESCRIPTION_LENGTH_MAX} characters.");
            return Err(errors::invalid(message));
        }
        let traffic = traffic.clone();
        out.push(Rule { id: Id::from_text(""), egress: asked.egress, traffic, peer, description });
        Ok(())
    };
    for permission in asked.permissions.into_iter().flatten() {
        let traffic = Traffic::parse(permission.ip_protocol.as_deref(), permission.from_port, permission.to_port)?;
        for range in permission.ip_ranges.iter().flatten() {
            let text = errors::required(range.cidr_ip.as_deref(), "cidrIp")?;
            add(&traffic, Peer::V4(block(text)?), &range.description)?;
        }
        for range in permission.ipv6_ranges.iter().flatten() {
            let text = errors::required(range.cidr_ipv6.as_deref(), "cidrIpv6")?;
            add(&traffic, Peer::V6(block_v6(text)?), &range.description)?;
        }
        for list in permission.prefix_list_ids.iter().flatten() {
            let id = errors::required(list.prefix_list_id.clone(), "prefixListId")?;
            prefix_lists::find_any(view, scope, &errors::id(&id)?)?;
            add(&traffic, Peer::PrefixList(id), &list.description)?;
        }
        for pair in permission.user_id_group_pairs.iter().flatten() {
            let group = match (pair.group_id.as_deref(), pair.group_name.as_deref()) {
                (None, Some(name)) => by_name(view, scope, vpc, name)?,
                (id, name) => named(view, scope, id, name)?,
            };
            add(&traffic, Peer::Group(group), &pair.description)?;
        }
    }
    if asked.protocol.is_some() || asked.cidr.is_some() || asked.group_name.is_some() {
        let protocol = asked.protocol.or(asked.group_name.map(|_| "-1"));
        let traffic = Traffic::parse(protocol, asked.from, asked.to)?;
        match (asked.cidr, asked.group_name) {
            (Some(text), _) => add(&traffic, Peer::V4(block(text)?), &None)?,
            (None, Some(name)) => add(&traffic, Peer::Group(by_name(view, scope, vpc, name)?), &None)?,
            (None, None) => return Err(errors::missing("cidrIp")),
        }
    }
    Ok(out)
}

fn block(text: &str) -> Result<standfast_core::Cidr> {
    cidr(text, "cidrIp").map_err(|_| errors::invalid(format!("CIDR block {text} is malformed")))
}

fn block_v6(text: &str) -> Result<String> {
    let well_formed = text.split_once('/').is_some_and(|(address, prefix)| {
        address.parse::<std::net::Ipv6Addr>().is_ok() && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= 128)
    });
    if well_formed { Ok(text.to_owned()) } else { Err(errors::invalid(format!("CIDR block {text} is malformed"))) }
}

fn describe_rule(rule: &Rule) -> String {
    let peer = match &rule.peer {
        Peer::V4(block) => block.to_string(),
        Peer::V6(block) => block.clone(),
        Peer::Group(group) => group.to_string(),
        Peer::PrefixList(list) => list.clone(),
    };
    let protocol = match rule.traffic.protocol.as_str() {
        "-1" => "ALL".to_owned(),
        other => other.to_uppercase(),
    };
    match (rule.traffic.from, rule.traffic.to) {
        (Some(from), Some(to)) => format!("peer: {peer}, {protocol}, from port: {from}, to port: {to}, ALLOW"),
        _ => format!("peer: {peer}, {protocol}, ALLOW"),
    }
}

/// Adds new rules to a group's; none when one of them is there already.
fn add_rules(group: &mut SecurityGroup, new: Vec<Rule>) -> Result<()> {
    for rule in new {
        if group.rules.iter().any(|old| old.same(&rule)) {
            let message = format!("the specified rule \"{}\" already exists", describe_rule(&rule));
            return Err(Error::client("InvalidPermission.Duplicate", message));
        }
        group.rules.push(rule);
    }
    let over = |egress| group.rules.iter().filter(|rule| rule.egress == egress).count() > RULES_MAX;
    if over(true) || over(false) {
        let message = "The maximum number of rules per security group has been reached.";
        return Err(Error::client("RulesPerSecurityGroupLimitExceeded", message));
    }
    Ok(())
}

async fn authorize(
    cx: &Cx,
    group: (Option<&str>, Option<&str>),
    asked: Asked<'_>,
    specifications: Option<&Vec<api::TagSpecification>>,
    dry_run: Option<bool>,
) -> Result<Vec<api::SecurityGroupRule>> {
    defaults::ready(cx).await?;
    let given = tags::specified(cx, specifications, "security-group-rule", &[])?;
    let (scope, seed) = (cx.scope(), cx.rng().u64());
    cx.txn(|tx| {
        let id = named(tx, scope, group.0, group.1)?;
        let mut record = (*find::<SecurityGroup>(tx, scope, &id)?).clone();
        let mut new = rules(tx, scope, &record.vpc, &asked)?;
        if new.is_empty() {
            return Err(errors::missing("ipPermissions"));
        }
        // The closure may run twice: the same seed gives the same ids.
        let ids = Rng::seeded(seed);
        new.iter_mut().for_each(|rule| rule.id = Id::new(&ids));
        add_rules(&mut record, new.clone())?;
        errors::dry_run(dry_run)?;
        tx.put(scope, &id, record);
        new.iter().for_each(|rule| tags::put(tx, scope, &rule.id, &given));
        Ok(new.iter().map(|rule| shape(tx, scope, &id, rule)).collect())
    })
    .await
}

pub async fn authorize_ingress(
    cx: Cx,
    input: api::AuthorizeSecurityGroupIngressInput,
) -> Result<api::AuthorizeSecurityGroupIngressOutput> {
    let asked = Asked {
        egress: false,
        permissions: input.ip_permissions.as_ref(),
        protocol: input.ip_protocol.as_deref(),
        from: input.from_port,
        to: input.to_port,
        cidr: input.cidr_ip.as_deref(),
        group_name: input.source_security_group_name.as_deref(),
    };
    let group = (input.group_id.as_deref(), input.group_name.as_deref());
    let rules = authorize(&cx, group, asked, input.tag_specifications.as_ref(), input.dry_run).await?;
    Ok(api::AuthorizeSecurityGroupIngressOutput { r#return: Some(true), security_group_rules: Some(rules) })
}

pub async fn authorize_egress(
    cx: Cx,
    input: api::AuthorizeSecurityGroupEgressInput,
) -> Result<api::AuthorizeSecurityGroupEgressOutput> {
    let asked = Asked {
        egress: true,
        permissions: input.ip_permissions.as_ref(),
        protocol: input.ip_protocol.as_deref(),
        from: input.from_port,
        to: input.to_port,
        cidr: input.cidr_ip.as_deref(),
        group_name: input.source_security_group_name.as_deref(),
    };
    let group = (Some(input.group_id.as_str()), None);
    let rules = authorize(&cx, group, asked, input.tag_specifications.as_ref(), input.dry_run).await?;
    Ok(api::AuthorizeSecurityGroupEgressOutput { r#return: Some(true), security_group_rules: Some(rules) })
}

/// What a revocation took away, and what it did not find (only where that is no error).
#[derive(Default)]
struct Revoked {
    rules: Vec<api::RevokedSecurityGroupRule>,
    unknown: Vec<api::IpPermission>,
}

async fn revoke(
    cx: &Cx,
    group: (Option<&str>, Option<&str>),
    asked: Asked<'_>,
    rule_ids: Option<&Vec<String>>,
    dry_run: Option<bool>,
) -> Result<Revoked> {
    defaults::ready(cx).await?;
    let scope = cx.scope();
    let rule_ids: Vec<Id<id::SecurityGroupRule>> =
        rule_ids.into_iter().flatten().map(|text| errors::id(text)).collect::<Result<_>>()?;
    cx.txn(|tx| {
        let id = named(tx, scope, group.0, group.1)?;
        let mut record = (*find::<SecurityGroup>(tx, scope, &id)?).clone();
        let wanted = rules(tx, scope, &record.vpc, &asked)?;
        if wanted.is_empty() && rule_ids.is_empty() {
            return Err(errors::missing("ipPermissions"));
        }
        let mut revoked = Revoked::default();
        let mut gone = Vec::new();
        for rule_id in &rule_ids {
            let at = record.rules.iter().position(|rule| rule.id == *rule_id && rule.egress == asked.egress);
            gone.push(record.rules.remove(at.ok_or_else(|| errors::not_found::<id::SecurityGroupRule>(rule_id))?));
        }
        for rule in &wanted {
            match record.rules.iter().position(|old| old.same(rule)) {
                Some(at) => gone.push(record.rules.remove(at)),
                None => revoked.unknown.push(permission(&rule.traffic)),
            }
        }
        let forgiving = tx.get::<super::model::Vpc>(scope, &record.vpc).is_some_and(|vpc| vpc.is_default);
        if !revoked.unknown.is_empty() && !forgiving {
            let message = "The specified rule does not exist in this security group.";
            return Err(Error::client("InvalidPermission.NotFound", message));
        }
        errors::dry_run(dry_run)?;
        tx.put(scope, &id, record);
        gone.iter().for_each(|rule| tags::forget(tx, scope, &rule.id));
        revoked.rules = gone.iter().map(|rule| revoked_shape(&id, rule)).collect();
        Ok(revoked)
    })
    .await
}

pub async fn revoke_ingress(
    cx: Cx,
    input: api::RevokeSecurityGroupIngressInput,
) -> Result<api::RevokeSecurityGroupIngressOutput> {
    let asked = Asked {
        egress: false,
        permissions: input.ip_permissions.as_ref(),
        protocol: input.ip_protocol.as_deref(),
        from: input.from_port,
        to: input.to_port,
        cidr: input.cidr_ip.as_deref(),
        group_name: input.source_security_group_name.as_deref(),
    };
    let group = (input.group_id.as_deref(), input.group_name.as_deref());
    let revoked = revoke(&cx, group, asked, input.security_group_rule_ids.as_ref(), input.dry_run).await?;
    Ok(api::RevokeSecurityGroupIngressOutput {
        r#return: Some(true),
        unknown_ip_permissions: Some(revoked.unknown),
        revoked_security_group_rules: Some(revoked.rules),
    })
}

pub async fn revoke_egress(
    cx: Cx,
    input: api::RevokeSecurityGroupEgressInput,
) -> Result<api::RevokeSecurityGroupEgressOutput> {
    let asked = Asked {
        egress: true,
        permissions: input.ip_permissions.as_ref(),
        protocol: input.ip_protocol.as_deref(),
        from: input.from_port,
        to: input.to_port,
        cidr: input.cidr_ip.as_deref(),
        group_name: input.source_security_group_name.as_deref(),
    };
    let group = (Some(input.group_id.as_str()), None);
    let revoked = revoke(&cx, group, asked, input.security_group_rule_ids.as_ref(), input.dry_run).await?;
    Ok(api::RevokeSecurityGroupEgressOutput {
        r#return: Some(true),
        unknown_ip_permissions: Some(revoked.unknown),
        revoked_security_group_rules: Some(revoked.rules),
    })
}

pub async fn modify(cx: Cx, input: api::ModifySecurityGroupRulesInput) -> Result<api::ModifySecurityGroupRulesOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::SecurityGroup>(&input.group_id)?);
    cx.txn(|tx| {
        let mut record = (*find::<SecurityGroup>(tx, scope, &id)?).clone();
        for update in &input.security_group_rules {
            let rule_id = errors::id::<id::SecurityGroupRule>(&update.security_group_rule_id)?;
            let at = record.rules.iter().position(|rule| rule.id == rule_id);
            let at = at.ok_or_else(|| errors::not_found::<id::SecurityGroupRule>(&rule_id))?;
            let old = record.rules.remove(at);
            let new = changed(tx, scope, &old, update.security_group_rule.as_ref())?;
            add_rules(&mut record, vec![new])?;
        }
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, record);
        Ok(())
    })
    .await?;
    Ok(api::ModifySecurityGroupRulesOutput { r#return: Some(true) })
}

/// The rule as an update wants it: its id and direction stay.
fn changed(view: &View, scope: &Scope, old: &Rule, to: Option<&api::SecurityGroupRuleRequest>) -> Result<Rule> {
    let to = errors::required(to, "securityGroupRule")?;
    let traffic = Traffic::parse(to.ip_protocol.as_deref(), to.from_port, to.to_port)?;
    let peer = match to {
        api::SecurityGroupRuleRequest { cidr_ipv4: Some(text), .. } => Peer::V4(block(text)?),
        api::SecurityGroupRuleRequest { cidr_ipv6: Some(text), .. } => Peer::V6(block_v6(text)?),
        api::SecurityGroupRuleRequest { prefix_list_id: Some(id), .. } => Peer::PrefixList(id.clone()),
        api::SecurityGroupRuleRequest { referenced_group_id, .. } => {
            Peer::Group(named(view, scope, referenced_group_id.as_deref(), None)?)
        }
    };
    let description = to.description.clone().filter(|text| !text.is_empty());
    Ok(Rule { id: old.id.clone(), egress: old.egress, traffic, peer, description })
}

/// What UpdateSecurityGroupRuleDescriptions* are given.
struct Descriptions<'a> {
    asked: Asked<'a>,
    by_id: Option<&'a Vec<api::SecurityGroupRuleDescription>>,
}

async fn update_descriptions(
    cx: &Cx,
    group: (Option<&str>, Option<&str>),
    to: Descriptions<'_>,
    dry_run: Option<bool>,
) -> Result<()> {
    let scope = cx.scope();
    cx.txn(|tx| {
        let id = named(tx, scope, group.0, group.1)?;
        let mut record = (*find::<SecurityGroup>(tx, scope, &id)?).clone();
        for wanted in rules(tx, scope, &record.vpc, &to.asked)? {
            let found = record.rules.iter_mut().find(|rule| rule.same(&wanted)).ok_or_else(|| {
                let message = "The specified rule does not exist in this security group.";
                Error::client("InvalidPermission.NotFound", message)
            })?;
            found.description = wanted.description;
        }
        for update in to.by_id.into_iter().flatten() {
            let text = update.security_group_rule_id.as_deref().unwrap_or_default();
            let rule_id = errors::id::<id::SecurityGroupRule>(text)?;
            let found = record.rules.iter_mut().find(|rule| rule.id == rule_id && rule.egress == to.asked.egress);
            let found = found.ok_or_else(|| errors::not_found::<id::SecurityGroupRule>(text))?;
            found.description = update.description.clone().filter(|text| !text.is_empty());
        }
        errors::dry_run(dry_run)?;
        tx.put(scope, &id, record);
        Ok(())
    })
    .await
}

pub async fn update_ingress_descriptions(
    cx: Cx,
    input: api::UpdateSecurityGroupRuleDescriptionsIngressInput,
) -> Result<api::UpdateSecurityGroupRuleDescriptionsIngressOutput> {
    let asked = Asked { permissions: input.ip_permissions.as_ref(), ..Asked::default() };
    let to = Descriptions { asked, by_id: input.security_group_rule_descriptions.as_ref() };
    let group = (input.group_id.as_deref(), input.group_name.as_deref());
    update_descriptions(&cx, group, to, input.dry_run).await?;
    Ok(api::UpdateSecurityGroupRuleDescriptionsIngressOutput { r#return: Some(true) })
}

pub async fn update_egress_descriptions(
    cx: Cx,
    input: api::UpdateSecurityGroupRuleDescriptionsEgressInput,
) -> Result<api::UpdateSecurityGroupRuleDescriptionsEgressOutput> {
    let asked = Asked { egress: true, permissions: input.ip_permissions.as_ref(), ..Asked::default() };
    let to = Descriptions { asked, by_id: input.security_group_rule_descriptions.as_ref() };
    let group = (input.group_id.as_deref(), input.group_name.as_deref());
    update_descriptions(&cx, group, to, input.dry_run).await?;
    Ok(api::UpdateSecurityGroupRuleDescriptionsEgressOutput { r#return: Some(true) })
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeSecurityGroupRulesInput,
) -> Result<api::DescribeSecurityGroupRulesOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let scope = cx.scope();
        let mut rows = Vec::new();
        match input.security_group_rule_ids.as_ref().filter(|ids| !ids.is_empty()) {
            Some(ids) => {
                for text in ids {
                    let rule_id = errors::id::<id::SecurityGroupRule>(text)?;
                    let groups = view.by_index::<SecurityGroup>(scope, "rule", &rule_id);
                    let (id, group) = groups.first().ok_or_else(|| errors::not_found::<id::SecurityGroupRule>(text))?;
                    let found = group.rules.iter().filter(|rule| rule.id == rule_id);
                    rows.extend(found.map(|rule| shape(view, scope, id, rule)));
                }
            }
            None => {
                for (id, group) in view.list::<SecurityGroup>(scope) {
                    rows.extend(group.rules.iter().map(|rule| shape(view, scope, &id, rule)));
                }
                rows.sort_by_key(Described::key);
            }
        }
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (rules, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeSecurityGroupRulesOutput { security_group_rules: Some(rules), next_token })
    })
}

/// The ports as rules (not permissions) show them: -1 where there are none.
fn ports(traffic: &Traffic) -> (Option<i32>, Option<i32>) {
    (traffic.from.or(Some(-1)), traffic.to.or(Some(-1)))
}

fn shape(view: &View, scope: &Scope, group: &str, rule: &Rule) -> api::SecurityGroupRule {
    let (from_port, to_port) = ports(&rule.traffic);
    let mut out = api::SecurityGroupRule {
        security_group_rule_id: Some((&rule.id).into()),
        group_id: Some(group.to_owned()),
        group_owner_id: Some(scope.account.to_string()),
        is_egress: Some(rule.egress),
        ip_protocol: Some(rule.traffic.protocol.clone()),
        from_port,
        to_port,
        description: rule.description.clone(),
        tags: tags::of(view, scope, &rule.id),
        security_group_rule_arn: Some(Arn::new("ec2", scope, format!("security-group-rule/{}", rule.id)).to_string()),
        ..Default::default()
    };
    match &rule.peer {
        Peer::V4(block) => out.cidr_ipv4 = Some(block.to_string()),
        Peer::V6(block) => out.cidr_ipv6 = Some(block.clone()),
        Peer::PrefixList(list) => out.prefix_list_id = Some(list.clone()),
        Peer::Group(peer) => {
            out.referenced_group_info = Some(api::ReferencedSecurityGroup {
                group_id: Some(peer.into()),
                user_id: Some(scope.account.to_string()),
                ..Default::default()
            });
        }
    }
    out
}

fn revoked_shape(group: &str, rule: &Rule) -> api::RevokedSecurityGroupRule {
    let (from_port, to_port) = ports(&rule.traffic);
    let mut out = api::RevokedSecurityGroupRule {
        security_group_rule_id: Some((&rule.id).into()),
        group_id: Some(group.to_owned()),
        is_egress: Some(rule.egress),
        ip_protocol: Some(rule.traffic.protocol.clone()),
        from_port,
        to_port,
        description: rule.description.clone(),
        ..Default::default()
    };
    match &rule.peer {
        Peer::V4(block) => out.cidr_ipv4 = Some(block.to_string()),
        Peer::V6(block) => out.cidr_ipv6 = Some(block.clone()),
        Peer::PrefixList(list) => out.prefix_list_id = Some(list.clone()),
        Peer::Group(peer) => out.referenced_group_id = Some(peer.into()),
    }
    out
}

impl Described for api::SecurityGroupRule {
    const FIELDS: &'static [Field<Self>] = &[
        ("group-id", |rule| filters::one(&rule.group_id)),
        ("security-group-rule-id", |rule| filters::one(&rule.security_group_rule_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.security_group_rule_id.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_read_as_ec2_reads_it() {
        let parse = |protocol, from, to| Traffic::parse(Some(protocol), from, to).map(|t| (t.protocol, t.from, t.to));
        assert_eq!(parse("6", Some(80), Some(81)).ok(), Some(("tcp".into(), Some(80), Some(81))));
        assert_eq!(parse("-1", Some(0), Some(0)).ok(), Some(("-1".into(), None, None)));
        assert_eq!(parse("ICMP", None, None).ok(), Some(("icmp".into(), Some(-1), Some(-1))));
        assert_eq!(parse("50", Some(1), Some(2)).ok(), Some(("50".into(), None, None)));
        for (protocol, from, to) in
            [("tcp", None, None), ("tcp", Some(81), Some(80)), ("udp", Some(0), Some(65_536)), ("nonsense", None, None)]
        {
            let error = parse(protocol, from, to).expect_err("refused");
            assert_eq!(error.code, "InvalidParameterValue", "{protocol} {from:?} {to:?}");
        }
    }
}
