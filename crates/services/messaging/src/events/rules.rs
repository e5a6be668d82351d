//! Rules and their targets.

use standfast_api::events as api;
use standfast_core::page::page;
use standfast_core::{Arn, Error, Result};
use standfast_kernel::Cx;

use super::buses::limit;
use super::model::{self, Input, Rule, Target, rule_key, validation};
use super::schedule::Schedule;
use crate::pattern::{self, Dialect};

/// Quotas.
const RULES_MAX: usize = 300;
const TARGETS_MAX: usize = 5;
const INPUT_BYTES_MAX: usize = 8192;
const NAME_CHARS_MAX: usize = 64;

pub async fn put(cx: Cx, input: api::PutRuleRequest) -> Result<api::PutRuleResponse> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if input.name.is_empty() || input.name.len() > NAME_CHARS_MAX || !input.name.chars().all(plain) {
        return Err(validation(format!(
            "The name of a rule has 1 to {NAME_CHARS_MAX} letters, digits and .-_: {}",
            input.name
        )));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (pattern, schedule) = (given(input.event_pattern), given(input.schedule_expression));
    if pattern.is_none() && schedule.is_none() {
        return Err(validation("Parameter(s) EventPattern or ScheduleExpression must be specified."));
    }
    if let Some(pattern) = &pattern {
        check_pattern(pattern)?;
    }
    if let Some(schedule) = &schedule {
        Schedule::parse(schedule)
            .map_err(|why| validation(format!("Parameter ScheduleExpression is not valid: {schedule}: {why}")))?;
    }
    let state = input.state.unwrap_or_else(|| "ENABLED".into());
    let enabled = match state.as_str() {
        "ENABLED" | "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" => true,
        "DISABLED" => false,
        other => return Err(validation(format!("State must be ENABLED or DISABLED, not {other}."))),
    };
    let now = cx.now();
    let arn = cx
        .txn(|tx| {
            let bus = model::bus(tx, &cx, input.event_bus_name.as_deref())?;
            if schedule.is_some() && bus != model::DEFAULT_BUS {
                return Err(validation("ScheduleExpression is supported only on the default event bus."));
            }
            let key = rule_key(&bus, &input.name);
            let old = tx.get::<Rule>(cx.scope(), &key);
            if old.is_none() && tx.prefix::<Rule>(cx.scope(), &rule_key(&bus, "")).len() >= RULES_MAX {
                return Err(Error::client(
                    "LimitExceededException",
                    format!("An event bus has {RULES_MAX} rules at most."),
                ));
            }
            let mut tags = old.as_ref().map(|old| old.tags.clone()).unwrap_or_default();
            tags.extend(input.tags.iter().flatten().map(|tag| (tag.key.clone(), tag.value.clone())));
            let new = Rule {
                bus,
                name: input.name.clone(),
                pattern: pattern.clone(),
                schedule: schedule.clone(),
                enabled,
                state: state.clone(),
                description: input.description.clone(),
                role: input.role_arn.clone(),
                targets: old.map(|old| old.targets.clone()).unwrap_or_default(),
                tags,
                since: now,
            };
            let arn = model::rule_arn(cx.scope(), &new);
            tx.put(cx.scope(), &key, new);
            Ok(arn)
        })
        .await?;
    Ok(api::PutRuleResponse { rule_arn: Some(arn) })
}

fn check_pattern(text: &str) -> Result<pattern::Pattern> {
    let wrong =
        |why| Error::client("InvalidEventPatternException", format!("Event pattern is not valid. Reason: {why}"));
    pattern::parse(text, Dialect::Events).map_err(wrong)
}

pub async fn test_pattern(_: Cx, input: api::TestEventPatternRequest) -> Result<api::TestEventPatternResponse> {
    let pattern = check_pattern(&input.event_pattern)?;
    let event: serde_json::Value =
        serde_json::from_str(&input.event).map_err(|_| validation("Parameter Event is not valid: it is not JSON."))?;
    let needed = ["id", "account", "source", "time", "region", "resources", "detail-type"];
    if let Some(missing) = needed.iter().find(|name| event.get(**name).is_none()) {
        return Err(validation(format!("Parameter Event is not valid: it has no {missing}.")));
    }
    Ok(api::TestEventPatternResponse { result: Some(pattern.matches_value(&event)) })
}

/// Deletes a rule without targets; what is gone already is gone.
pub async fn delete(cx: Cx, input: api::DeleteRuleRequest) -> Result<api::DeleteRuleOutput> {
    cx.txn(|tx| {
        let bus = model::bus(tx, &cx, input.event_bus_name.as_deref())?;
        let key = rule_key(&bus, &input.name);
        if tx.get::<Rule>(cx.scope(), &key).is_some_and(|rule| !rule.targets.is_empty()) {
            return Err(validation("Rule can't be deleted since it has targets."));
        }
        tx.delete::<Rule>(cx.scope(), &key);
        Ok(api::DeleteRuleOutput {})
    })
    .await
}

pub async fn describe(cx: Cx, input: api::DescribeRuleRequest) -> Result<api::DescribeRuleResponse> {
    let (_, rule) = cx.view(|view| model::rule(view, &cx, input.event_bus_name.as_deref(), &input.name))?;
    Ok(api::DescribeRuleResponse {
        arn: Some(model::rule_arn(cx.scope(), &rule)),
        name: Some(rule.name),
        event_pattern: rule.pattern,
        schedule_expression: rule.schedule,
        state: Some(rule.state),
        description: rule.description,
        role_arn: rule.role,
        event_bus_name: Some(rule.bus),
        created_by: Some(cx.account().to_owned()),
        ..Default::default()
    })
}

pub async fn list(cx: Cx, input: api::ListRulesRequest) -> Result<api::ListRulesResponse> {
    let prefix = input.name_prefix.unwrap_or_default();
    let all = cx.view(|view| {
        let bus = model::bus(view, &cx, input.event_bus_name.as_deref())?;
        Ok::<_, Error>(view.prefix::<Rule>(cx.scope(), &rule_key(&bus, &prefix)))
    })?;
    let page =
        page(all, |(key, _)| key.to_string(), input.next_token.as_deref(), limit(input.limit)?, "ValidationException")?;
    let shown = |(_, rule): (_, std::sync::Arc<Rule>)| api::Rule {
        arn: Some(model::rule_arn(cx.scope(), &rule)),
        name: Some(rule.name.clone()),
        event_pattern: rule.pattern.clone(),
        state: Some(rule.state.clone()),
        description: rule.description.clone(),
        schedule_expression: rule.schedule.clone(),
        role_arn: rule.role.clone(),
        event_bus_name: Some(rule.bus.clone()),
        ..Default::default()
    };
    Ok(api::ListRulesResponse { rules: Some(page.items.into_iter().map(shown).collect()), next_token: page.next })
}

pub async fn enable(cx: Cx, input: api::EnableRuleRequest) -> Result<api::EnableRuleOutput> {
    switch(&cx, input.event_bus_name, &input.name, true).await?;
    Ok(api::EnableRuleOutput {})
}

pub async fn disable(cx: Cx, input: api::DisableRuleRequest) -> Result<api::DisableRuleOutput> {
    switch(&cx, input.event_bus_name, &input.name, false).await?;
    Ok(api::DisableRuleOutput {})
}

async fn switch(cx: &Cx, bus: Option<String>, name: &str, enabled: bool) -> Result<()> {
    let now = cx.now();
    cx.txn(|tx| {
        let (key, rule) = model::rule(tx, cx, bus.as_deref(), name)?;
        let state = if enabled { "ENABLED" } else { "DISABLED" }.to_owned();
        tx.put(cx.scope(), &key, Rule { enabled, state, since: now, ..rule });
        Ok(())
    })
    .await
}

pub async fn put_targets(cx: Cx, input: api::PutTargetsRequest) -> Result<api::PutTargetsResponse> {
    let read: Vec<_> = input.targets.iter().map(|given| (given.id.clone(), target(given))).collect();
    if let Some((_, Err(error))) =
        read.iter().find(|(_, read)| read.as_ref().is_err_and(|e| e.is("ValidationException")))
    {
        return Err(error.clone());
    }
    cx.txn(|tx| {
        let (key, mut rule) = model::rule(tx, &cx, input.event_bus_name.as_deref(), &input.rule)?;
        for new in read.iter().filter_map(|(_, read)| read.as_ref().ok()) {
            rule.targets.retain(|old| old.id != new.id);
            rule.targets.push(new.clone());
        }
        if rule.targets.len() > TARGETS_MAX {
            return Err(Error::client("LimitExceededException", format!("A rule has {TARGETS_MAX} targets at most.")));
        }
        tx.put(cx.scope(), &key, rule);
        Ok(())
    })
    .await?;
    let failed = read.into_iter().filter_map(|(id, read)| Some((id, read.err()?)));
    let failed: Vec<_> = failed
        .map(|(id, error)| api::PutTargetsResultEntry {
            target_id: Some(id),
            error_code: Some(error.code.into_owned()),
            error_message: Some(error.message),
        })
        .collect();
    Ok(api::PutTargetsResponse { failed_entry_count: Some(failed.len() as i32), failed_entries: Some(failed) })
}

fn target(given: &api::Target) -> Result<Target> {
    let id = &given.id;
    let arn: Arn = given.arn.parse().map_err(|_| {
        validation(format!("Parameter {} is not valid. Reason: Provided Arn is not in correct format.", given.arn))
    })?;
    if arn.service != "sns" {
        let message = format!(
            "Targets of {} are not available in this version of Standfast, only topics of SNS are: {arn}",
            arn.service
        );
        return Err(Error::client("UnsupportedTarget", message));
    }
    let input = match (&given.input, &given.input_path, &given.input_transformer) {
        (None, None, None) => Input::Event,
        (Some(text), None, None) if serde_json::from_str::<serde_json::Value>(text).is_ok() => {
            Input::Constant(text.clone())
        }
        (Some(_), None, None) => return Err(validation(format!("JSON syntax error in input for target {id}."))),
        (None, Some(path), None) if path.starts_with('$') => Input::Path(path.clone()),
        (None, Some(path), None) => {
            return Err(validation(format!("Parameter InputPath is not valid for target {id}: {path}")));
        }
        (None, None, Some(transformer)) => Input::Transformed {
            paths: transformer.input_paths_map.clone().unwrap_or_default(),
            template: transformer.input_template.clone(),
        },
        _ => {
            return Err(validation(format!(
                "Only one of Input, InputPath, or InputTransformer must be provided for target {id}."
            )));
        }
    };
    if matches!(&input, Input::Constant(text) if text.len() > INPUT_BYTES_MAX) {
        return Err(validation(format!("Input of target {id} is longer than {INPUT_BYTES_MAX} bytes.")));
    }
    Ok(Target { id: id.clone(), arn: given.arn.clone(), role: given.role_arn.clone(), input })
}

pub async fn remove_targets(cx: Cx, input: api::RemoveTargetsRequest) -> Result<api::RemoveTargetsResponse> {
    let failed = cx
        .txn(|tx| {
            let (key, mut rule) = model::rule(tx, &cx, input.event_bus_name.as_deref(), &input.rule)?;
            let there: Vec<String> = rule.targets.iter().map(|target| target.id.clone()).collect();
            rule.targets.retain(|target| !input.ids.contains(&target.id));
            tx.put(cx.scope(), &key, rule);
            let missing = input.ids.iter().filter(|id| !there.contains(id));
            Ok(missing
                .map(|id| api::RemoveTargetsResultEntry {
                    target_id: Some(id.clone()),
                    error_code: Some("ResourceNotFoundException".into()),
                    error_message: Some(format!("Rule {} does not have target {id}.", input.rule)),
                })
                .collect::<Vec<_>>())
        })
        .await?;
    Ok(api::RemoveTargetsResponse { failed_entry_count: Some(failed.len() as i32), failed_entries: Some(failed) })
}

pub async fn list_targets(cx: Cx, input: api::ListTargetsByRuleRequest) -> Result<api::ListTargetsByRuleResponse> {
    let (_, rule) = cx.view(|view| model::rule(view, &cx, input.event_bus_name.as_deref(), &input.rule))?;
    let mut all = rule.targets;
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let page =
        page(all, |target| target.id.clone(), input.next_token.as_deref(), limit(input.limit)?, "ValidationException")?;
    let shown = |target: Target| {
        let mut shown = api::Target { id: target.id, arn: target.arn, role_arn: target.role, ..Default::default() };
        match target.input {
            Input::Event => {}
            Input::Constant(text) => shown.input = Some(text),
            Input::Path(path) => shown.input_path = Some(path),
            Input::Transformed { paths, template } => {
                let input_paths_map = Some(paths).filter(|paths| !paths.is_empty());
                shown.input_transformer = Some(api::InputTransformer { input_paths_map, input_template: template });
            }
        }
        shown
    };
    let targets = Some(page.items.into_iter().map(shown).collect());
    Ok(api::ListTargetsByRuleResponse { targets, next_token: page.next })
}

pub async fn list_by_target(
    cx: Cx,
    input: api::ListRuleNamesByTargetRequest,
) -> Result<api::ListRuleNamesByTargetResponse> {
    let all = cx.view(|view| {
        let bus = model::bus(view, &cx, input.event_bus_name.as_deref())?;
        Ok::<_, Error>(view.prefix::<Rule>(cx.scope(), &rule_key(&bus, "")))
    })?;
    let has = all.into_iter().filter(|(_, rule)| rule.targets.iter().any(|target| target.arn == input.target_arn));
    let page =
        page(has, |(key, _)| key.to_string(), input.next_token.as_deref(), limit(input.limit)?, "ValidationException")?;
    let rule_names = Some(page.items.into_iter().map(|(_, rule)| rule.name.clone()).collect());
    Ok(api::ListRuleNamesByTargetResponse { rule_names, next_token: page.next })
}
