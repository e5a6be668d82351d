//! Sessions: who am I, and temporary keys.

use std::time::Duration;

use serde_json::Value as Json;
use standfast_api::sts::{
    self as api, AssumeRoleInput, AssumeRoleOutput, AssumedRoleUser, Credentials, GetAccessKeyInfoInput,
    GetAccessKeyInfoOutput, GetCallerIdentityInput, GetCallerIdentityOutput, GetSessionTokenInput,
    GetSessionTokenOutput,
};
use standfast_core::{Arn, Error, Result};
use standfast_kernel::{Cx, Principal, Service};

use crate::iam::model::Role;
use crate::keys::{self, AccessKey, Session};

const ROLE_SESSION_S: i32 = 3600;
const USER_SESSION_S: i32 = 43_200;
/// Sessions that have expired are dropped when a new one is made; this many live ones are kept at most.
const SESSIONS_MAX: usize = 10_000;

/// The service's table. It also knows access keys for the kernel.
pub fn service() -> Service {
    Service::new(&api::MODEL)
        .op(api::GetCallerIdentity, get_caller_identity)
        .op(api::AssumeRole, assume_role)
        .op(api::GetSessionToken, get_session_token)
        .op(api::GetAccessKeyInfo, get_access_key_info)
        .credentials(keys::find)
}

/// The caller's ARN and unique id.
fn caller(cx: &Cx) -> (String, String) {
    match cx.principal() {
        Principal::Known { arn, user_id } => (arn.to_string(), user_id.to_string()),
        Principal::Root => (Arn::global("iam", cx.account(), "root").to_string(), cx.account().to_owned()),
        Principal::Service(name) => (format!("{name}.amazonaws.com"), (*name).to_owned()),
    }
}

async fn get_caller_identity(cx: Cx, _: GetCallerIdentityInput) -> Result<GetCallerIdentityOutput> {
    let (arn, user_id) = caller(&cx);
    Ok(GetCallerIdentityOutput { user_id: Some(user_id), account: Some(cx.account().to_owned()), arn: Some(arn) })
}

async fn assume_role(cx: Cx, input: AssumeRoleInput) -> Result<AssumeRoleOutput> {
    let denied = || {
        let (caller, role) = (caller(&cx).0, &input.role_arn);
        let message = format!("User: {caller} is not authorized to perform: sts:AssumeRole on resource: {role}");
        Error::client("AccessDenied", message).with_status(403)
    };
    let arn: Arn = input
        .role_arn
        .parse()
        .map_err(|_| Error::client("ValidationError", format!("{} is invalid", input.role_arn)))?;
    let name = arn.resource.rsplit('/').next().unwrap_or_default().to_owned();
    let role = cx.view(|v| v.get::<Role>(&arn.scope().global(), &name)).ok_or_else(denied)?;
    if let Principal::Service(service) = cx.principal()
        && !trusts(&role.trust, service)
    {
        return Err(denied());
    }
    let seconds = input.duration_seconds.unwrap_or(ROLE_SESSION_S);
    if seconds > role.max_session_s {
        let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(Error::client("ValidationError", message));
    }
    let session_name = &input.role_session_name;
    let session_arn = Arn::global("sts", &arn.account, format!("assumed-role/{name}/{session_name}")).to_string();
    let user_id = format!("{}:{session_name}", role.id);
    let credentials = session(&cx, arn.account.clone(), session_arn.clone(), user_id.clone(), seconds).await?;
    Ok(AssumeRoleOutput {
        credentials: Some(credentials),
        assumed_role_user: Some(AssumedRoleUser { assumed_role_id: user_id, arn: session_arn }),
        packed_policy_size: None,
        source_identity: input.source_identity,
    })
}

/// Whether a trust policy lets a service assume its role.
///
/// AWS-DIFF: conditions are not evaluated, and other callers than services may assume every role.
fn trusts(policy: &str, service: &str) -> bool {
    let Ok(policy) = serde_json::from_str::<Json>(policy) else { return false };
    let name = format!("{service}.amazonaws.com");
    let names = |value: &Json| match value {
        Json::String(one) => *one == name || one == "*",
        Json::Array(all) => all.iter().any(|one| one == name.as_str()),
        _ => false,
    };
    let action = |value: &Json| matches!(value.as_str(), Some("sts:AssumeRole" | "sts:*" | "*"));
    let holds = |statement: &Json| {
        statement["Effect"] == "Allow"
            && (names(&statement["Principal"]) || names(&statement["Principal"]["Service"]))
            && (action(&statement["Action"])
                || statement["Action"].as_array().is_some_and(|all| all.iter().any(action)))
    };
    match &policy["Statement"] {
        Json::Array(all) => all.iter().any(holds),
        one => holds(one),
    }
}

async fn get_session_token(cx: Cx, input: GetSessionTokenInput) -> Result<GetSessionTokenOutput> {
    let (arn, user_id) = caller(&cx);
    let seconds = input.duration_seconds.unwrap_or(USER_SESSION_S);
    let credentials = session(&cx, cx.account().to_owned(), arn, user_id, seconds).await?;
    Ok(GetSessionTokenOutput { credentials: Some(credentials) })
}

async fn session(cx: &Cx, account: String, arn: String, user_id: String, seconds: i32) -> Result<Credentials> {
    let now = cx.now();
    let id = keys::new_id(cx.rng(), "ASIA");
    let expires = now + Duration::from_secs(seconds.max(0) as u64);
    let session =
        Session { account, arn, user_id, secret: keys::new_secret(cx.rng()), token: cx.rng().hex(128), expires };
    cx.txn(|tx| {
        let all = tx.list::<Session>(&keys::scope());
        for (old, _) in all.iter().filter(|(_, session)| session.expires <= now) {
            tx.delete::<Session>(&keys::scope(), old);
        }
        if tx.count::<Session>(&keys::scope()) >= SESSIONS_MAX {
            return Err(Error::client("Throttling", format!("There are over {SESSIONS_MAX} live sessions.")));
        }
        tx.put(&keys::scope(), &id, session.clone());
        Ok(())
    })
    .await?;
    Ok(Credentials {
        access_key_id: id,
        secret_access_key: session.secret,
        session_token: session.token,
        expiration: expires,
    })
}

async fn get_access_key_info(cx: Cx, input: GetAccessKeyInfoInput) -> Result<GetAccessKeyInfoOutput> {
    let id = &input.access_key_id;
    let account = cx.view(|v| {
        let key = v.get::<AccessKey>(&keys::scope(), id).map(|key| key.account.clone());
        key.or_else(|| v.get::<Session>(&keys::scope(), id).map(|session| session.account.clone()))
    });
    match account {
        Some(account) => Ok(GetAccessKeyInfoOutput { account: Some(account) }),
        None => Err(Error::client("ValidationError", format!("The access key {id} is not known."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_trusted_when_the_policy_names_it() {
        let policy = |principal: &str| {
            format!(r#"{{"Statement":[{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}]}}"#)
        };
        assert!(trusts(&policy(r#"{"Service":"ec2.amazonaws.com"}"#), "ec2"));
        assert!(trusts(&policy(r#"{"Service":["ecs.amazonaws.com","ec2.amazonaws.com"]}"#), "ec2"));
        assert!(!trusts(&policy(r#"{"Service":"lambda.amazonaws.com"}"#), "ec2"));
        assert!(!trusts("no policy", "ec2"));
    }
}
