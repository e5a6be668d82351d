//! Rules of listeners. The default rule has no priority and no conditions; it changes and goes with its listener.

use std::collections::{BTreeMap, BTreeSet};

use standfast_api::elbv2 as api;
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, Resource, given, not_permitted, too_many, validation, within};
use super::model::{Listener, LoadBalancer, Rule};
use super::{actions, conditions, convert, tags};

/// Of a load balancer, without default rules.
const RULES_MAX: usize = 100;
const PRIORITY: (i32, i32) = (1, 50_000);
const ID_DIGITS: usize = 16;

pub async fn create(cx: Cx, input: api::CreateRuleInput) -> Result<api::CreateRuleOutput> {
    conditions::refuse_transforms(&input.transforms)?;
    let priority = within("priority", input.priority, PRIORITY.0, PRIORITY.1)? as u32;
    let parsed = conditions::parse(&input.conditions)?;
    let action = actions::parse(&input.actions)?;
    let tags = tags::parse(&cx, input.tags.as_ref())?;
    let hex = cx.rng().hex(ID_DIGITS);
    let shape = cx
        .txn(|tx| {
            let scope = cx.scope();
            let (listener_id, listener) = errors::find::<Listener>(tx, scope, &input.listener_arn)?;
            let siblings = tx.by_index::<Rule>(scope, "listener", &listener_id);
            if siblings.iter().any(|(_, rule)| rule.priority == Some(priority)) {
                return Err(in_use(priority));
            }
            let all = tx.by_index::<Rule>(scope, "load_balancer", &listener.load_balancer);
            if all.iter().filter(|(_, rule)| rule.priority.is_some()).count() >= RULES_MAX {
                return Err(too_many("TooManyRules", "rules on the load balancer", RULES_MAX));
            }
            let balancer =
                tx.get::<LoadBalancer>(scope, &listener.load_balancer).ok_or_else(LoadBalancer::not_found)?;
            actions::check_groups(tx, scope, &listener.load_balancer, &balancer, &action)?;
            let id = format!("{listener_id}/{hex}");
            let rule = Rule {
                load_balancer: listener.load_balancer.clone(),
                listener: listener_id,
                priority: Some(priority),
                conditions: parsed.clone(),
                action: action.clone(),
                tags: tags.clone(),
            };
            let shape = convert::rule(scope, &id, &rule);
            tx.put(scope, &id, rule);
            Ok(shape)
        })
        .await?;
    Ok(api::CreateRuleOutput { rules: Some(vec![shape]) })
}

fn in_use(priority: u32) -> Error {
    Error::client("PriorityInUse", format!("Priority '{priority}' is currently in use"))
}

pub async fn delete(cx: Cx, input: api::DeleteRuleInput) -> Result<api::DeleteRuleOutput> {
    cx.txn(|tx| {
        let (id, rule) = errors::find::<Rule>(tx, cx.scope(), &input.rule_arn)?;
        if rule.priority.is_none() {
            return Err(not_permitted(format!("Default rule '{}' cannot be deleted", input.rule_arn)));
        }
        tx.delete::<Rule>(cx.scope(), &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteRuleOutput {})
}

pub async fn modify(cx: Cx, input: api::ModifyRuleInput) -> Result<api::ModifyRuleOutput> {
    conditions::refuse_transforms(&input.transforms)?;
    // An empty list of the query protocol is no list.
    let asked = input.conditions.as_ref().filter(|conditions| !conditions.is_empty());
    let parsed = asked.map(|asked| conditions::parse(asked)).transpose()?;
    let asked = input.actions.as_ref().filter(|actions| !actions.is_empty());
    let action = asked.map(|asked| actions::parse(asked)).transpose()?;
    let shape = cx
        .txn(|tx| {
            let scope = cx.scope();
            let (id, rule) = errors::find::<Rule>(tx, scope, &input.rule_arn)?;
            if rule.priority.is_none() {
                return Err(not_permitted(format!("Default rule '{}' cannot be modified", input.rule_arn)));
            }
            let mut rule = Rule::clone(&rule);
            if let Some(action) = &action {
                let balancer =
                    tx.get::<LoadBalancer>(scope, &rule.load_balancer).ok_or_else(LoadBalancer::not_found)?;
                actions::check_groups(tx, scope, &rule.load_balancer, &balancer, action)?;
                rule.action = action.clone();
            }
            if let Some(parsed) = &parsed {
                rule.conditions = parsed.clone();
            }
            let shape = convert::rule(scope, &id, &rule);
            tx.put(scope, &id, rule);
            Ok(shape)
        })
        .await?;
    Ok(api::ModifyRuleOutput { rules: Some(vec![shape]) })
}

pub async fn describe(cx: Cx, input: api::DescribeRulesInput) -> Result<api::DescribeRulesOutput> {
    let scope = cx.scope();
    let arns = input.rule_arns.unwrap_or_default();
    let rows = cx.view(|view| match (given(&input.listener_arn), arns.is_empty()) {
        (Some(arn), true) => {
            let (id, _) = errors::find::<Listener>(view, scope, arn)?;
            Ok(view.by_index::<Rule>(scope, "listener", &id))
        }
        (None, false) => errors::find_all::<Rule>(view, scope, &arns),
        _ => Err(validation("You must specify either listener rule ARNs or a listener ARN")),
    })?;
    let mut shapes: Vec<_> = rows.iter().map(|(id, rule)| (key(id, rule), convert::rule(scope, id, rule))).collect();
    shapes.sort_by(|a, b| a.0.cmp(&b.0));
    let (items, next_marker) = errors::paged(shapes, input.marker.as_deref(), input.page_size)?;
    Ok(api::DescribeRulesOutput { rules: Some(items), next_marker })
}

/// Orders rules as requests meet them: by priority, the default last.
fn key(id: &str, rule: &Rule) -> String {
    format!("{:010} {id}", rule.priority.unwrap_or(u32::MAX))
}

pub async fn set_priorities(cx: Cx, input: api::SetRulePrioritiesInput) -> Result<api::SetRulePrioritiesOutput> {
    let mut asked: BTreeMap<&str, u32> = BTreeMap::new();
    for pair in &input.rule_priorities {
        let arn = given(&pair.rule_arn).ok_or_else(|| validation("A rule ARN must be specified"))?;
        let priority = pair.priority.ok_or_else(|| validation("A rule priority must be specified"))?;
        asked.insert(arn, within("priority", priority, PRIORITY.0, PRIORITY.1)? as u32);
    }
    if asked.is_empty() {
        return Err(validation("A rule priority must be specified"));
    }
    let shapes = cx
        .txn(|tx| {
            let scope = cx.scope();
            let changed = reorder(tx, scope, &asked)?;
            let shapes = changed.iter().map(|(id, rule)| convert::rule(scope, id, rule)).collect();
            for (id, rule) in changed {
                tx.put(scope, &id, rule);
            }
            Ok(shapes)
        })
        .await?;
    Ok(api::SetRulePrioritiesOutput { rules: Some(shapes) })
}

/// The rules with their new priorities, when no two of their listener's would be the same.
fn reorder(view: &View, scope: &Scope, asked: &BTreeMap<&str, u32>) -> Result<Vec<(String, Rule)>> {
    let mut changed: Vec<(String, Rule)> = Vec::new();
    for (arn, priority) in asked {
        let (id, rule) = errors::find::<Rule>(view, scope, arn)?;
        if rule.priority.is_none() {
            return Err(not_permitted(format!("Priority of default rule '{arn}' cannot be modified")));
        }
        changed.push((id, Rule { priority: Some(*priority), ..Rule::clone(&rule) }));
    }
    let listener = changed[0].1.listener.clone();
    if changed.iter().any(|(_, rule)| rule.listener != listener) {
        return Err(validation("All rules must belong to the same listener"));
    }
    let siblings = view.by_index::<Rule>(scope, "listener", &listener);
    let unchanged = siblings.iter().filter(|(id, _)| !changed.iter().any(|(changed, _)| **changed == **id));
    let mut taken: BTreeSet<u32> = unchanged.filter_map(|(_, rule)| rule.priority).collect();
    for (_, rule) in &changed {
        let priority = rule.priority.unwrap_or_default();
        if !taken.insert(priority) {
            return Err(in_use(priority));
        }
    }
    Ok(changed)
}
