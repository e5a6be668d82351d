//! Actions of rules and listeners: what a request may say, as records; and back.

use standfast_api::elbv2 as api;
use standfast_core::{Error, Result, Scope};
use standfast_store::View;

use super::errors::{self, Resource, configuration, given, too_many, unavailable, validation, within};
use super::model::{Action, Does, LoadBalancer, Rule, Stickiness, TargetGroup};

const GROUPS_PER_ACTION_MAX: usize = 5;
const GROUPS_PER_LOAD_BALANCER_MAX: usize = 100;
const WEIGHT_MAX: i32 = 999;
const ORDER: (i32, i32) = (1, 50_000);
const STICKINESS_S: (i32, i32) = (1, 604_800);
const BODY_LENGTH_MAX: usize = 1024;
const REDIRECT_PART_LENGTH_MAX: usize = 128;
const CONTENT_TYPES: [&str; 5] = ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];

/// The one action of a rule. Pure: whether its target groups may be used is `check_groups`'s question.
pub fn parse(actions: &[api::Action]) -> Result<Action> {
    for action in actions {
        if matches!(action.r#type.as_str(), "authenticate-oidc" | "authenticate-cognito" | "jwt-validation") {
            return Err(unavailable(format!("'{}' actions", action.r#type)));
        }
    }
    let [action] = actions else {
        return Err(match actions.len() {
            0 => validation("An action must be specified"),
            n => Error::client("TooManyActions", format!("A rule can only have one action; {n} are specified")),
        });
    };
    let order = action.order.map(|order| within("actions.order", order, ORDER.0, ORDER.1)).transpose()?;
    let does = match action.r#type.as_str() {
        "forward" => forward(action)?,
        "fixed-response" => fixed_response(action.fixed_response_config.as_ref())?,
        "redirect" => redirect(action.redirect_config.as_ref())?,
        other => {
            return Err(validation(format!(
                "Action type '{other}' must be one of 'forward, redirect, fixed-response'"
            )));
        }
    };
    Ok(Action { order, does })
}

fn forward(action: &api::Action) -> Result<Does> {
    let alone = given(&action.target_group_arn);
    let config = action.forward_config.clone().unwrap_or_default();
    let mut groups: Vec<(String, u32)> = Vec::new();
    for tuple in config.target_groups.iter().flatten() {
        let arn = given(&tuple.target_group_arn).ok_or_else(|| validation("A target group ARN must be specified"))?;
        let weight = within("targetGroups.weight", tuple.weight.unwrap_or(1), 0, WEIGHT_MAX)?;
        if groups.iter().any(|(known, _)| known == arn) {
            return Err(validation(format!("Target group '{arn}' is specified more than once in an action")));
        }
        groups.push((arn.to_owned(), weight as u32));
    }
    match alone {
        Some(arn) if groups.is_empty() => groups.push((arn.to_owned(), 1)),
        Some(arn) if groups.len() != 1 || groups[0].0 != arn => {
            return Err(validation(
                "You can specify both a target group ARN and a forward config only if the forward config \
                 has that target group alone",
            ));
        }
        _ => {}
    }
    if groups.is_empty() {
        return Err(validation("A target group ARN must be specified"));
    }
    if groups.len() > GROUPS_PER_ACTION_MAX {
        return Err(validation(format!("A forward action can only have '{GROUPS_PER_ACTION_MAX}' target groups")));
    }
    Ok(Does::Forward { groups, stickiness: stickiness(config.target_group_stickiness_config)? })
}

fn stickiness(config: Option<api::TargetGroupStickinessConfig>) -> Result<Stickiness> {
    let config = config.unwrap_or_default();
    let enabled = config.enabled.unwrap_or(false);
    let duration_s = config
        .duration_seconds
        .map(|seconds| within("durationSeconds", seconds, STICKINESS_S.0, STICKINESS_S.1))
        .transpose()?;
    if enabled && duration_s.is_none() {
        return Err(validation("A stickiness duration must be specified when target group stickiness is enabled"));
    }
    Ok(Stickiness { enabled, duration_s })
}

fn fixed_response(config: Option<&api::FixedResponseActionConfig>) -> Result<Does> {
    let config = config.ok_or_else(|| validation("A fixed-response action must have a fixed response config"))?;
    let code = &config.status_code;
    let status = code.parse().ok().filter(|status| matches!(status, 200..=299 | 400..=599));
    let status = status
        .filter(|_| code.len() == 3)
        .ok_or_else(|| validation(format!("The fixed-response status code '{code}' must be '2XX', '4XX' or '5XX'")))?;
    let content_type = given(&config.content_type);
    if let Some(unknown) = content_type.filter(|name| !CONTENT_TYPES.contains(name)) {
        let known = CONTENT_TYPES.join(", ");
        return Err(validation(format!("The fixed-response content type '{unknown}' must be one of '{known}'")));
    }
    if config.message_body.as_ref().is_some_and(|body| body.chars().count() > BODY_LENGTH_MAX) {
        return Err(validation(format!(
            "The fixed-response message body cannot be longer than '{BODY_LENGTH_MAX}' characters"
        )));
    }
    Ok(Does::FixedResponse { status, content_type: content_type.map(str::to_owned), body: config.message_body.clone() })
}

fn redirect(config: Option<&api::RedirectActionConfig>) -> Result<Does> {
    let config = config.ok_or_else(|| validation("A redirect action must have a redirect config"))?;
    let permanent = match config.status_code.as_str() {
        "HTTP_301" => true,
        "HTTP_302" => false,
        other => {
            return Err(validation(format!("The redirect status code '{other}' must be 'HTTP_301' or 'HTTP_302'")));
        }
    };
    let part = |name: &str, value: &Option<String>, default: &str| {
        let value = value.clone().unwrap_or_else(|| default.to_owned());
        if value.chars().count() > REDIRECT_PART_LENGTH_MAX {
            return Err(validation(format!(
                "The redirect {name} '{value}' cannot be longer than '{REDIRECT_PART_LENGTH_MAX}' characters"
            )));
        }
        Ok(value)
    };
    let protocol = part("protocol", &config.protocol, "#{protocol}")?;
    if !matches!(protocol.as_str(), "HTTP" | "HTTPS" | "#{protocol}") {
        return Err(validation(format!(
            "The redirect protocol '{protocol}' must be 'HTTP', 'HTTPS' or '#{{protocol}}'"
        )));
    }
    let port = part("port", &config.port, "#{port}")?;
    if port != "#{port}" && !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(validation(format!("The redirect port '{port}' must be a port from 1 to 65535 or '#{{port}}'")));
    }
    let host = part("host", &config.host, "#{host}")?;
    let path = part("path", &config.path, "/#{path}")?;
    if host.is_empty() || !path.starts_with('/') {
        return Err(validation(format!("The redirect host '{host}' or path '{path}' is not valid")));
    }
    let query = part("query", &config.query, "#{query}")?;
    if (protocol.as_str(), port.as_str(), host.as_str(), path.as_str())
        == ("#{protocol}", "#{port}", "#{host}", "/#{path}")
    {
        return Err(Error::client(
            "InvalidLoadBalancerAction",
            "The redirect configuration is not valid because it creates a loop. You must modify at least one of the \
             following components: protocol, port, hostname or path.",
        ));
    }
    Ok(Does::Redirect { permanent, protocol, host, port, path, query })
}

/// Whether a load balancer may forward to the groups of an action.
pub fn check_groups(view: &View, scope: &Scope, id: &str, balancer: &LoadBalancer, action: &Action) -> Result<()> {
    for arn in action.target_groups() {
        let (_, group) = errors::find::<TargetGroup>(view, scope, arn).map_err(|error| match error {
            error if error.is(TargetGroup::NOT_FOUND) => {
                Error::client(TargetGroup::NOT_FOUND, format!("Target groups '{arn}' not found"))
            }
            error => error,
        })?;
        if group.vpc != balancer.vpc {
            return Err(configuration(format!(
                "The target group '{arn}' is not in the same VPC as the load balancer: '{}' and '{}'",
                group.vpc, balancer.vpc
            )));
        }
        let rules = view.by_index::<Rule>(scope, "target_group", arn);
        if rules.iter().any(|(_, rule)| rule.load_balancer != id) {
            return Err(Error::client(
                "TargetGroupAssociationLimit",
                format!("The following target groups cannot be associated with more than one load balancer: {arn}"),
            ));
        }
    }
    let rules = view.by_index::<Rule>(scope, "load_balancer", id);
    let mut used: std::collections::BTreeSet<&str> =
        rules.iter().flat_map(|(_, rule)| rule.action.target_groups()).collect();
    used.extend(action.target_groups());
    if used.len() > GROUPS_PER_LOAD_BALANCER_MAX {
        let what = "unique target groups on the load balancer";
        return Err(too_many("TooManyUniqueTargetGroupsPerLoadBalancer", what, GROUPS_PER_LOAD_BALANCER_MAX));
    }
    Ok(())
}

/// An action as answers have it.
pub fn shape(action: &Action) -> api::Action {
    let mut shape = api::Action { order: action.order, ..Default::default() };
    match &action.does {
        Does::Forward { groups, stickiness } => {
            shape.r#type = "forward".into();
            if let [(arn, _)] = groups.as_slice() {
                shape.target_group_arn = Some(arn.clone());
            }
            let tuple = |(arn, weight): &(String, u32)| api::TargetGroupTuple {
                target_group_arn: Some(arn.clone()),
                weight: Some(*weight as i32),
            };
            shape.forward_config = Some(api::ForwardActionConfig {
                target_groups: Some(groups.iter().map(tuple).collect()),
                target_group_stickiness_config: Some(api::TargetGroupStickinessConfig {
                    enabled: Some(stickiness.enabled),
                    duration_seconds: stickiness.duration_s,
                }),
            });
        }
        Does::FixedResponse { status, content_type, body } => {
            shape.r#type = "fixed-response".into();
            shape.fixed_response_config = Some(api::FixedResponseActionConfig {
                message_body: body.clone(),
                status_code: status.to_string(),
                content_type: content_type.clone(),
            });
        }
        Does::Redirect { permanent, protocol, host, port, path, query } => {
            shape.r#type = "redirect".into();
            shape.redirect_config = Some(api::RedirectActionConfig {
                protocol: Some(protocol.clone()),
                port: Some(port.clone()),
                host: Some(host.clone()),
                path: Some(path.clone()),
                query: Some(query.clone()),
                status_code: if *permanent { "HTTP_301" } else { "HTTP_302" }.into(),
            });
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward_to(groups: &[(&str, i32)]) -> api::Action {
        let tuple = |(arn, weight): &(&str, i32)| api::TargetGroupTuple {
            target_group_arn: Some((*arn).into()),
            weight: Some(*weight),
        };
        api::Action {
            r#type: "forward".into(),
            forward_config: Some(api::ForwardActionConfig {
                target_groups: Some(groups.iter().map(tuple).collect()),
                target_group_stickiness_config: None,
            }),
            ..Default::default()
        }
    }

    fn redirect_with(change: impl Fn(&mut api::RedirectActionConfig)) -> api::Action {
        let mut config = api::RedirectActionConfig { status_code: "HTTP_301".into(), ..Default::default() };
        change(&mut config);
        api::Action { r#type: "redirect".into(), redirect_config: Some(config), ..Default::default() }
    }

    fn fixed(code: &str) -> api::Action {
        let config = api::FixedResponseActionConfig { status_code: code.into(), ..Default::default() };
        api::Action { r#type: "fixed-response".into(), fixed_response_config: Some(config), ..Default::default() }
    }

    #[test]
    fn a_forward_is_shown_in_both_forms_when_it_has_one_group() {
        let alone = api::Action { r#type: "forward".into(), target_group_arn: Some("tg".into()), ..Default::default() };
        let shown = shape(&parse(&[alone]).expect("valid"));
        assert_eq!(shown.target_group_arn.as_deref(), Some("tg"));
        let groups = shown.forward_config.and_then(|config| config.target_groups).expect("the other form");
        assert_eq!((groups.len(), groups[0].weight), (1, Some(1)));
        let shown = shape(&parse(&[forward_to(&[("a", 90), ("b", 0)])]).expect("valid"));
        assert_eq!(shown.target_group_arn, None);
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_change() {
        let shown = shape(&parse(&[redirect_with(|c| c.port = Some("443".into()))]).expect("valid"));
        let config = shown.redirect_config.expect("redirect");
        assert_eq!((config.path.as_deref(), config.host.as_deref()), (Some("/#{path}"), Some("#{host}")));
    }

    #[test]
    fn bad_actions_are_refused() {
        let both = api::Action { target_group_arn: Some("x".into()), ..forward_to(&[("a", 1)]) };
        let six = forward_to(&[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1)]);
        let oidc = api::Action { r#type: "authenticate-oidc".into(), ..Default::default() };
        let cases = [
            (vec![], "ValidationError"),
            (vec![fixed("200"), fixed("200")], "TooManyActions"),
            (vec![fixed("301")], "ValidationError"),
            (vec![fixed("20")], "ValidationError"),
            (vec![forward_to(&[])], "ValidationError"),
            (vec![forward_to(&[("a", 1000)])], "ValidationError"),
            (vec![forward_to(&[("a", 1), ("a", 2)])], "ValidationError"),
            (vec![six], "ValidationError"),
            (vec![both], "ValidationError"),
            (vec![redirect_with(|_| ())], "InvalidLoadBalancerAction"),
            (vec![redirect_with(|c| c.query = Some("a=1".into()))], "InvalidLoadBalancerAction"),
            (vec![redirect_with(|c| c.port = Some("0".into()))], "ValidationError"),
            (vec![oidc], "OperationNotPermitted"),
        ];
        for (actions, code) in cases {
            let error = parse(&actions).expect_err(code);
            assert!(error.is(code), "{actions:?}: {error}");
        }
    }
}
