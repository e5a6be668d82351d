//! Listeners. Each has a default rule, which holds its default actions.

use standfast_api::elbv2 as api;
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::attributes::LISTENER;
use super::errors::{self, Resource, given, too_many, validation, within};
use super::model::{Action, Listener, LoadBalancer, Rule, Secure, Tags};
use super::{actions, convert, secure, tags};

const LISTENERS_MAX: usize = 50;
const ID_DIGITS: usize = 16;

pub async fn create(cx: Cx, input: api::CreateListenerInput) -> Result<api::CreateListenerOutput> {
    let protocol = given(&input.protocol).ok_or_else(|| validation("A listener protocol must be specified"))?;
    secure::check_protocol(protocol)?;
    let port = input.port.ok_or_else(|| validation("A listener port must be specified"))?;
    let port = within("port", port, 1, i32::from(u16::MAX))? as u16;
    secure::refuse_mutual(input.mutual_authentication.as_ref())?;
    let asked = secure::Asked {
        protocol: Some(protocol),
        policy: input.ssl_policy.as_deref(),
        certificates: input.certificates.as_deref(),
    };
    let action = actions::parse(&input.default_actions)?;
    let tags = tags::parse(&cx, input.tags.as_ref())?;
    let (listener_hex, rule_hex) = (cx.rng().hex(ID_DIGITS), cx.rng().hex(ID_DIGITS));
    let shape = cx
        .txn(|tx| {
            let scope = cx.scope();
            let (balancer_id, balancer) = find_balancer(tx, scope, &input.load_balancer_arn)?;
            let secure = asked.settle(tx, scope, None)?;
            if let Some(found) = same_port(tx, scope, &balancer_id, port, None) {
                return existing(tx, scope, &found, (&action, &tags, &secure), &input.load_balancer_arn);
            }
            if tx.by_index::<Listener>(scope, "load_balancer", &balancer_id).len() >= LISTENERS_MAX {
                return Err(too_many("TooManyListeners", "listeners on the load balancer", LISTENERS_MAX));
            }
            actions::check_groups(tx, scope, &balancer_id, &balancer, &action)?;
            let id = format!("{balancer_id}/{listener_hex}");
            let listener = Listener {
                load_balancer: balancer_id.clone(),
                port,
                secure,
                attributes: Default::default(),
                tags: tags.clone(),
            };
            let default = Rule {
                load_balancer: balancer_id,
                listener: id.clone(),
                priority: None,
                conditions: Vec::new(),
                action: action.clone(),
                tags: Tags::new(),
            };
            tx.put(scope, &format!("{id}/{rule_hex}"), default);
            tx.put(scope, &id, listener.clone());
            Ok(convert::listener(tx, scope, &id, &listener))
        })
        .await?;
    Ok(api::CreateListenerOutput { listeners: Some(vec![shape]) })
}

fn find_balancer(view: &View, scope: &Scope, arn: &str) -> Result<(String, std::sync::Arc<LoadBalancer>)> {
    errors::find::<LoadBalancer>(view, scope, arn).map_err(|error| {
        let absent = error.is(LoadBalancer::NOT_FOUND);
        if absent { Error::client(LoadBalancer::NOT_FOUND, format!("Load balancer '{arn}' not found")) } else { error }
    })
}

/// The id of another listener of the load balancer on this port.
fn same_port(view: &View, scope: &Scope, balancer: &str, port: u16, but: Option<&str>) -> Option<String> {
    let listeners = view.by_index::<Listener>(scope, "load_balancer", balancer);
    let mut others = listeners.iter().filter(|(id, _)| but != Some(id));
    others.find(|(_, listener)| listener.port == port).map(|(id, _)| id.to_string())
}

fn duplicate(balancer_arn: &str) -> Error {
    let message = format!("A listener already exists on this port for this load balancer '{balancer_arn}'");
    Error::client("DuplicateListener", message)
}

/// The answer to a request that was answered before, or the error when it asks for something else.
fn existing(
    view: &View,
    scope: &Scope,
    id: &str,
    (action, tags, secure): (&Action, &Tags, &Option<Secure>),
    balancer_arn: &str,
) -> Result<api::Listener> {
    let listener = view.get::<Listener>(scope, id).ok_or_else(Listener::not_found)?;
    let (_, default) = default_rule(view, scope, id)?;
    if default.action == *action && listener.tags == *tags && listener.secure == *secure {
        return Ok(convert::listener(view, scope, id, &listener));
    }
    Err(duplicate(balancer_arn))
}

fn default_rule(view: &View, scope: &Scope, listener: &str) -> Result<(String, Rule)> {
    let rules = view.by_index::<Rule>(scope, "listener", listener);
    let default = rules.into_iter().find(|(_, rule)| rule.priority.is_none());
    let (id, rule) = default.ok_or_else(|| Error::internal(format!("listener {listener} has no default rule")))?;
    Ok((id.to_string(), Rule::clone(&rule)))
}

pub async fn delete(cx: Cx, input: api::DeleteListenerInput) -> Result<api::DeleteListenerOutput> {
    cx.txn(|tx| {
        let (id, _) = errors::find::<Listener>(tx, cx.scope(), &input.listener_arn)?;
        for (rule, _) in tx.by_index::<Rule>(cx.scope(), "listener", &id) {
            tx.delete::<Rule>(cx.scope(), &rule);
        }
        tx.delete::<Listener>(cx.scope(), &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteListenerOutput {})
}

pub async fn modify(cx: Cx, input: api::ModifyListenerInput) -> Result<api::ModifyListenerOutput> {
    let protocol = given(&input.protocol);
    protocol.map(secure::check_protocol).transpose()?;
    let asked =
        secure::Asked { protocol, policy: input.ssl_policy.as_deref(), certificates: input.certificates.as_deref() };
    let port = input.port.map(|port| within("port", port, 1, i32::from(u16::MAX))).transpose()?;
    secure::refuse_mutual(input.mutual_authentication.as_ref())?;
    let actions = input.default_actions.as_ref().filter(|actions| !actions.is_empty());
    let action = actions.map(|actions| actions::parse(actions)).transpose()?;
    let shape = cx
        .txn(|tx| {
            let scope = cx.scope();
            let (id, listener) = errors::find::<Listener>(tx, scope, &input.listener_arn)?;
            let mut listener = Listener::clone(&listener);
            if let Some(port) = port {
                listener.port = port as u16;
                if same_port(tx, scope, &listener.load_balancer, listener.port, Some(&id)).is_some() {
                    return Err(duplicate(&errors::arn::<LoadBalancer>(scope, &listener.load_balancer)));
                }
            }
            listener.secure = asked.settle(tx, scope, Some(&listener))?;
            if let Some(action) = &action {
                set_default(tx, scope, &id, &listener.load_balancer, action)?;
            }
            tx.put(scope, &id, listener.clone());
            Ok(convert::listener(tx, scope, &id, &listener))
        })
        .await?;
    Ok(api::ModifyListenerOutput { listeners: Some(vec![shape]) })
}

fn set_default(tx: &mut Txn, scope: &Scope, listener: &str, balancer_id: &str, action: &Action) -> Result<()> {
    let balancer = tx.get::<LoadBalancer>(scope, balancer_id).ok_or_else(LoadBalancer::not_found)?;
    actions::check_groups(tx, scope, balancer_id, &balancer, action)?;
    let (id, mut rule) = default_rule(tx, scope, listener)?;
    rule.action = action.clone();
    tx.put(scope, &id, rule);
    Ok(())
}

pub async fn describe(cx: Cx, input: api::DescribeListenersInput) -> Result<api::DescribeListenersOutput> {
    let scope = cx.scope();
    let arns = input.listener_arns.unwrap_or_default();
    let shapes = cx.view(|view| {
        let rows = match (given(&input.load_balancer_arn), arns.is_empty()) {
            (Some(arn), true) => {
                let (id, _) = find_balancer(view, scope, arn)?;
                view.by_index::<Listener>(scope, "load_balancer", &id)
            }
            (None, false) => errors::find_all::<Listener>(view, scope, &arns)?,
            _ => return Err(validation("You must specify either listener ARNs or a load balancer ARN")),
        };
        let shape = |(id, row): &(std::sync::Arc<str>, std::sync::Arc<Listener>)| {
            (id.to_string(), convert::listener(view, scope, id, row))
        };
        Ok(rows.iter().map(shape).collect())
    })?;
    let (items, next_marker) = errors::paged(shapes, input.marker.as_deref(), input.page_size)?;
    Ok(api::DescribeListenersOutput { listeners: Some(items), next_marker })
}

fn attribute_shapes(listener: &Listener) -> Vec<api::ListenerAttribute> {
    let shape = |(key, value): (&str, &str)| api::ListenerAttribute {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    LISTENER.list(&listener.attributes).map(shape).collect()
}

pub async fn describe_attributes(
    cx: Cx,
    input: api::DescribeListenerAttributesInput,
) -> Result<api::DescribeListenerAttributesOutput> {
    let (_, listener) = cx.view(|view| errors::find::<Listener>(view, cx.scope(), &input.listener_arn))?;
    Ok(api::DescribeListenerAttributesOutput { attributes: Some(attribute_shapes(&listener)) })
}

pub async fn modify_attributes(
    cx: Cx,
    input: api::ModifyListenerAttributesInput,
) -> Result<api::ModifyListenerAttributesOutput> {
    let set = LISTENER.parse(input.attributes.into_iter().map(|attribute| (attribute.key, attribute.value)))?;
    let listener = cx
        .txn(|tx| {
            let (id, listener) = errors::find::<Listener>(tx, cx.scope(), &input.listener_arn)?;
            let mut listener = Listener::clone(&listener);
            listener.attributes.extend(set.clone());
            tx.put(cx.scope(), &id, listener.clone());
            Ok(listener)
        })
        .await?;
    Ok(api::ModifyListenerAttributesOutput { attributes: Some(attribute_shapes(&listener)) })
}
