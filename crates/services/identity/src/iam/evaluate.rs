//! Whether a role's policies allow a call.
//!
//! Owns the evaluation of identity-based policies: an explicit deny wins, then an allow, and what nothing allows is denied.
//! Asked by the kernel for every request that comes with the temporary credentials of a role. Callers whose key iam does not
//! know are the account's root and are never asked about.
//!
//! AWS-DIFF: policies of roles only; users have no policies here and may do everything.
//! AWS-DIFF: of a statement's resources, service, region and account are compared, and not the resource itself, which no
//! operation tells the kernel.
//! AWS-DIFF: conditions are not evaluated: a statement with conditions never allows and always denies.

use serde_json::Value as Json;
use standfast_core::{Error, Result, Scope};
use standfast_kernel::{Cloud, Principal};

use super::model::{Policy, Role};
use super::policies;

/// Allowed to everyone, whatever the policies say.
const ALWAYS: &str = "sts:GetCallerIdentity";

/// What the policies say of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    Silent,
}

/// Refuses what the caller's role does not allow. `action` is `ec2:AssociateAddress`.
pub fn authorize(cloud: &Cloud, scope: &Scope, principal: &Principal, action: &str) -> Result<()> {
    let Principal::Known { arn, .. } = principal else { return Ok(()) };
    let Some(role) = role_of(arn) else { return Ok(()) };
    if action == ALWAYS {
        return Ok(());
    }
    let why = match verdict(&documents(cloud, scope, role), action, scope) {
        Verdict::Allowed => return Ok(()),
        Verdict::Denied => format!("with an explicit deny in an identity-based policy of the role {role}"),
        Verdict::Silent => format!("because no identity-based policy allows the {action} action"),
    };
    let text = format!("User: {arn} is not authorized to perform: {action} {why}");
    let error = if action.starts_with("ec2:") {
        Error::client("UnauthorizedOperation", format!("You are not authorized to perform this operation. {text}"))
    } else {
        Error::client("AccessDenied", text)
    };
    Err(error.with_status(403))
}

/// The role's name in `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`.
fn role_of(arn: &str) -> Option<&str> {
    arn.split_once(":assumed-role/")?.1.split('/').next()
}

/// All policy documents of the role; none when it is gone.
fn documents(cloud: &Cloud, scope: &Scope, role: &str) -> Vec<String> {
    let scope = scope.global();
    cloud.store().view(|view| {
        let Some(role) = view.get::<Role>(&scope, role) else { return Vec::new() };
        let managed = role.attached.iter().filter_map(|arn| match policies::aws_managed_document(arn) {
            Some(document) => Some(document),
            None => view.get::<Policy>(&scope, arn.rsplit('/').next()?).map(|policy| policy.document.clone()),
        });
        role.inline.values().cloned().chain(managed).collect()
    })
}

fn verdict(documents: &[String], action: &str, scope: &Scope) -> Verdict {
    let mut verdict = Verdict::Silent;
    // Documents were checked when they were put; one that is not JSON says nothing.
    for document in documents.iter().filter_map(|text| serde_json::from_str::<Json>(text).ok()) {
        for statement in many(&document["Statement"]) {
            let conditional = statement.get("Condition").is_some_and(|c| c.as_object().is_none_or(|c| !c.is_empty()));
            if !is_about(statement, "Action", "NotAction", |pattern| matches(&pattern.to_lowercase(), action))
                || !is_about(statement, "Resource", "NotResource", |pattern| may_be(pattern, action, scope))
            {
                continue;
            }
            match statement["Effect"].as_str() {
                Some("Deny") => return Verdict::Denied,
                Some("Allow") if !conditional => verdict = Verdict::Allowed,
                _ => {}
            }
        }
    }
    verdict
}

fn many(value: &Json) -> &[Json] {
    match value {
        Json::Array(all) => all,
        Json::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// Whether one of the statement's patterns holds, or none of the excluding ones does.
fn is_about(statement: &Json, positive: &str, negative: &str, holds: impl Fn(&str) -> bool) -> bool {
    match statement.get(positive) {
        Some(patterns) => many(patterns).iter().filter_map(Json::as_str).any(holds),
        // A resource that is excluded is not known to be the one of the call.
        None if negative == "NotResource" => statement.get(negative).is_some(),
        None => match statement.get(negative) {
            Some(patterns) => !many(patterns).iter().filter_map(Json::as_str).any(holds),
            None => false,
        },
    }
}

/// Whether an ARN pattern can name a resource of the action's service in this scope.
fn may_be(pattern: &str, action: &str, scope: &Scope) -> bool {
    if pattern == "*" {
        return true;
    }
    let mut parts = pattern.splitn(6, ':').skip(2);
    let mut part = |value: &str| parts.next().is_some_and(|pattern| pattern.is_empty() || wild(pattern, value));
    let service = action.split(':').next().unwrap_or_default();
    part(service) && part(&scope.region) && part(&scope.account)
}

/// Actions are compared without regard to case.
fn matches(pattern: &str, action: &str) -> bool {
    wild(pattern, &action.to_lowercase())
}

/// `*` stands for any characters and `?` for exactly one.
fn wild(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                // The star takes one more character.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(statements: &str, action: &str) -> Verdict {
        let document = format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#);
        verdict(&[document], action, &Scope::new("000000000000", "eu-west-1"))
    }

    #[test]
    fn a_deny_wins_and_silence_is_no_permission() {
        use Verdict::*;
        let allow = r#"{"Effect":"Allow","Action":["ec2:Associate*","s3:GetObject"],"Resource":"*"}"#;
        let deny = r#"{"Effect":"Deny","Action":"ec2:AssociateAddress","Resource":"*"}"#;
        for (statements, action, expected) in [
            (allow.to_owned(), "ec2:AssociateAddress", Allowed),
            (allow.to_owned(), "ec2:ReleaseAddress", Silent),
            (format!("[{allow},{deny}]"), "ec2:AssociateAddress", Denied),
            (format!("[{allow},{deny}]"), "ec2:AssociateRouteTable", Allowed),
            (r#"{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}"#.into(), "ec2:RunInstances", Allowed),
            (r#"{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}"#.into(), "iam:GetRole", Silent),
            (r#"{"Effect":"Allow","Action":"EC2:runinstances","Resource":"*"}"#.into(), "ec2:RunInstances", Allowed),
            (r#"{"Effect":"Allow","Action":"ec2:R?nInstances","Resource":"*"}"#.into(), "ec2:RunInstances", Allowed),
            (r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b"}"#.into(), "ec2:RunInstances", Silent),
            (r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:*:*:x/*"}"#.into(), "ec2:RunInstances", Allowed),
            (
                r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:us-east-1:*:x/*"}"#.into(),
                "ec2:RunInstances",
                Silent,
            ),
            (
                r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"a":"b"}}}"#.into(),
                "ec2:RunInstances",
                Silent,
            ),
        ] {
            assert_eq!(asked(&statements, action), expected, "{statements} {action}");
        }
    }

    #[test]
    fn a_session_names_its_role() {
        assert_eq!(role_of("arn:aws:sts::000000000000:assumed-role/web/i-1"), Some("web"));
        assert_eq!(role_of("arn:aws:iam::000000000000:user/ann"), None);
    }
}
