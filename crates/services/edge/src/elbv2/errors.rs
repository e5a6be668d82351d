//! The service's errors, and how ARNs lead to records.
//!
//! Invariant: text that is no ARN of the kind is a ValidationError; an ARN of nothing that exists (or of another account
//! or region) is the kind's NotFound, which clients wait for to the letter.

use std::fmt::Display;
use std::sync::Arc;

use standfast_core::page::page;
use standfast_core::{Arn, Error, Result, Scope};
use standfast_store::{Record, View};

use super::model::{Listener, LoadBalancer, Rule, Tags, TargetGroup};

/// The service's name in ARNs.
const SERVICE: &str = "elasticloadbalancing";
/// The most that one page holds, and what it holds when nothing is asked for.
const PAGE_MAX: usize = 400;

/// A record that an ARN speaks of.
pub trait Resource: Record + Clone {
    /// What stands before the id in its ARN.
    const TYPE: &'static str;
    const NOUN: &'static str;
    const NOT_FOUND: &'static str;
    const NOT_FOUND_MESSAGE: &'static str;

    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;

    fn not_found() -> Error {
        Error::client(Self::NOT_FOUND, Self::NOT_FOUND_MESSAGE)
    }
}

macro_rules! resources {
    ($($record:ident $kind:literal $noun:literal $code:literal $message:literal;)*) => {$(
        impl Resource for $record {
            const TYPE: &'static str = $kind;
            const NOUN: &'static str = $noun;
            const NOT_FOUND: &'static str = $code;
            const NOT_FOUND_MESSAGE: &'static str = $message;
            fn tags(&self) -> &Tags {
                &self.tags
            }
            fn tags_mut(&mut self) -> &mut Tags {
                &mut self.tags
            }
        }
    )*};
}

resources! {
    LoadBalancer "loadbalancer" "load balancer" "LoadBalancerNotFound" "One or more load balancers not found";
    TargetGroup "targetgroup" "target group" "TargetGroupNotFound" "One or more target groups not found";
    Listener "listener" "listener" "ListenerNotFound" "One or more listeners not found";
    Rule "listener-rule" "listener rule" "RuleNotFound" "One or more rules not found";
}

/// The ARN of a record.
pub fn arn<R: Resource>(scope: &Scope, id: &str) -> String {
    Arn::new(SERVICE, scope, format!("{}/{id}", R::TYPE)).to_string()
}

/// The id in an ARN of a record's type; `None` when the text is another thing.
pub fn id_in<R: Resource>(arn: &Arn) -> Option<&str> {
    let id = arn.resource.strip_prefix(R::TYPE)?.strip_prefix('/')?;
    (arn.service == SERVICE && !id.is_empty()).then_some(id)
}

/// The id that an ARN of this scope speaks of, whether or not its record exists.
pub fn id<R: Resource>(scope: &Scope, text: &str) -> Result<String> {
    let invalid = || validation(format!("'{text}' is not a valid {} ARN", R::NOUN));
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    let id = id_in::<R>(&arn).ok_or_else(invalid)?;
    if arn.scope() == *scope { Ok(id.to_owned()) } else { Err(R::not_found()) }
}

/// The record of an ARN.
pub fn find<R: Resource>(view: &View, scope: &Scope, text: &str) -> Result<(String, Arc<R>)> {
    let id = id::<R>(scope, text)?;
    let record = view.get::<R>(scope, &id).ok_or_else(R::not_found)?;
    Ok((id, record))
}

/// The records of these ARNs, each once.
pub fn find_all<R: Resource>(view: &View, scope: &Scope, arns: &[String]) -> Result<Vec<(Arc<str>, Arc<R>)>> {
    let mut found = std::collections::BTreeMap::new();
    for arn in arns {
        let (id, record) = find::<R>(view, scope, arn)?;
        found.insert(Arc::from(id), record);
    }
    Ok(found.into_iter().collect())
}

/// A page of rows that are sorted by their key.
pub fn paged<T>(rows: Vec<(String, T)>, marker: Option<&str>, size: Option<i32>) -> Result<(Vec<T>, Option<String>)> {
    let limit = match size {
        None => PAGE_MAX,
        Some(size) => within("pageSize", size, 1, PAGE_MAX as i32)? as usize,
    };
    let marker = marker.filter(|marker| !marker.is_empty());
    let page = page(rows, |(key, _)| key.clone(), marker, limit, "ValidationError")?;
    Ok((page.items.into_iter().map(|(_, item)| item).collect(), page.next))
}

pub fn validation(message: impl Into<String>) -> Error {
    Error::client("ValidationError", message)
}

pub fn configuration(message: impl Into<String>) -> Error {
    Error::client("InvalidConfigurationRequest", message)
}

pub fn not_permitted(message: impl Into<String>) -> Error {
    Error::client("OperationNotPermitted", message)
}

/// Something that AWS has and this cloud does not: said plainly, never half done.
pub fn unavailable(what: impl Display) -> Error {
    not_permitted(format!("{what} are not available in this version of Standfast"))
}

/// A limit that has been reached.
pub fn too_many(code: &'static str, what: &str, limit: usize) -> Error {
    Error::client(code, format!("The maximum number of {what} has been reached: {limit}"))
}

/// The value, when it is within its bounds.
pub fn within<N: PartialOrd + Display + Copy>(member: &str, value: N, low: N, high: N) -> Result<N> {
    let (relation, bound) = if value < low {
        ("greater than or equal to", low)
    } else if value > high {
        ("less than or equal to", high)
    } else {
        return Ok(value);
    };
    Err(validation(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must have value {relation} {bound}"
    )))
}

/// The member's value, when it is there and not empty. Terraform sends some members empty.
pub fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

/// A name of a load balancer or a target group, as `noun` says.
pub fn check_name(noun: &str, name: &str) -> Result<()> {
    const NAME_LENGTH_MAX: usize = 32;
    if name.is_empty() {
        return Err(validation(format!("{noun} name must be specified")));
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err(validation(format!("{noun} name '{name}' cannot be longer than '{NAME_LENGTH_MAX}' characters")));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(validation(format!(
            "{noun} name '{name}' can only contain characters that are alphanumeric characters or hyphens(-)"
        )));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err(validation(format!("{noun} name '{name}' cannot begin or end with a hyphen(-)")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_read_only_when_of_their_kind_and_place() {
        let scope = Scope::new("000000000000", "eu-west-1");
        let good = arn::<LoadBalancer>(&scope, "app/web/50dc6c495c0c9188");
        assert_eq!(good, "arn:aws:elasticloadbalancing:eu-west-1:000000000000:loadbalancer/app/web/50dc6c495c0c9188");
        assert_eq!(id::<LoadBalancer>(&scope, &good).expect("its own"), "app/web/50dc6c495c0c9188");
        assert!(id::<TargetGroup>(&scope, &good).is_err_and(|e| e.is("ValidationError")));
        assert!(
            id::<Listener>(&scope, "arn:aws:elasticloadbalancing:eu-west-1:000000000000:listener-rule/a/b")
                .is_err_and(|e| e.message.contains("is not a valid listener ARN"))
        );
        let elsewhere = good.replace("eu-west-1", "us-east-1");
        assert!(id::<LoadBalancer>(&scope, &elsewhere).is_err_and(|e| e.is("LoadBalancerNotFound")));
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "web-1", &"x".repeat(32)] {
            assert!(check_name("Load balancer", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a_b", &"x".repeat(33)] {
            assert!(check_name("Load balancer", bad).is_err(), "{bad}");
        }
    }
}
