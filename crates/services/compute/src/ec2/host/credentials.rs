//! The temporary keys of the roles of instances: had from sts, kept in records, renewed before they expire.
//!
//! Invariant: an instance has keys only while it has an instance profile with a role and is not on its way out. A role
//! that cannot be assumed leaves the instance without keys until something changes; what it had is used to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use standfast_api::{iam, sts};
use standfast_core::{Error, Fault, Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::Record;

use crate::ec2::model::{Instance, RoleCredentials};

/// How long keys are good for when the role says no less.
const SESSION: Duration = Duration::from_secs(3600);
/// How long before their end new keys are had: clients look for them five minutes before.
const RENEW_BEFORE: Duration = Duration::from_secs(900);

/// The tables that say who should have which keys. Those of iam are hints: a role may have come to a profile.
pub const TABLES: &[&str] = &[Instance::TABLE, RoleCredentials::TABLE, "iam.instance_profiles", "iam.roles"];

/// What should become of an instance's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    Renew,
    Forget,
    /// They are good until then.
    Wait(Timestamp),
    Nothing,
}

/// Where the instance's keys stand: pure.
fn next(instance: Option<&Instance>, keys: Option<&RoleCredentials>, now: Timestamp) -> Next {
    let wanted = instance.filter(|instance| !instance.state.is_ending()).and_then(|one| one.iam_profile.as_ref());
    match (wanted, keys) {
        (None, None) => Next::Nothing,
        (None, Some(_)) => Next::Forget,
        (Some(profile), Some(keys)) if keys.profile == profile.arn => {
            let due = keys.expires - RENEW_BEFORE;
            if now < due { Next::Wait(due) } else { Next::Renew }
        }
        (Some(_), _) => Next::Renew,
    }
}

pub async fn run(cx: Cx) -> Result<Wake> {
    if !cx.host().abilities().metadata {
        return Ok(Wake::OnChange);
    }
    let now = cx.now();
    let (instances, keys) = cx.view(|view| (view.all::<Instance>(), view.all::<RoleCredentials>()));
    let have: HashMap<&str, &RoleCredentials> = keys.iter().map(|(_, id, keys)| (&**id, &**keys)).collect();
    let there: HashMap<&str, &Instance> = instances.iter().map(|(_, id, instance)| (&**id, &**instance)).collect();
    let mut wake = Wake::OnChange;
    for (scope, id, keys) in &keys {
        if next(there.get(&**id).copied(), Some(keys), now) == Next::Forget {
            forget(&cx.at(scope), id).await?;
        }
    }
    for (scope, id, instance) in &instances {
        match next(Some(instance), have.get(&**id).copied(), now) {
            Next::Wait(due) => wake = wake.or(Wake::At(due)),
            Next::Renew => {
                if let Some(due) = renew(&cx.at(scope), scope, id, instance).await? {
                    wake = wake.or(Wake::At(due));
                }
            }
            Next::Forget | Next::Nothing => (),
        }
    }
    Ok(wake)
}

async fn forget(cx: &Cx, id: &str) -> Result<()> {
    cx.txn(|tx| {
        tx.delete::<RoleCredentials>(cx.scope(), id);
        Ok(())
    })
    .await
}

/// Gets new keys and says when they are due again; `None` when there is no role that ec2 may assume.
async fn renew(cx: &Cx, scope: &Scope, id: &Arc<str>, instance: &Instance) -> Result<Option<Timestamp>> {
    let Some(profile) = &instance.iam_profile else { return Ok(None) };
    let fresh = match assume(cx, id, &profile.arn).await {
        Ok(Some(fresh)) => fresh,
        // Something will change before it can be had: the profile, its role or the role's trust.
        Ok(None) => return Ok(None),
        Err(error) if error.fault == Fault::Client => return Ok(None),
        Err(error) => return Err(error),
    };
    let due = fresh.expires - RENEW_BEFORE;
    cx.txn(|tx| {
        tx.put(scope, id, fresh.clone());
        Ok(())
    })
    .await?;
    Ok(Some(due))
}

async fn assume(cx: &Cx, id: &str, profile: &str) -> Result<Option<RoleCredentials>> {
    let name = profile.rsplit('/').next().unwrap_or_default().to_owned();
    let input = iam::GetInstanceProfileRequest { instance_profile_name: name };
    let found = cx.call(iam::GetInstanceProfile, input).await?.instance_profile;
    let Some(role) = found.roles.into_iter().next() else { return Ok(None) };
    let input = sts::AssumeRoleInput {
        role_arn: role.arn,
        role_session_name: id.to_owned(),
        duration_seconds: Some(SESSION.as_secs() as i32),
        ..Default::default()
    };
    let answer = cx.call(sts::AssumeRole, input).await?;
    let keys = answer.credentials.ok_or_else(|| Error::internal("sts answered without credentials"))?;
    Ok(Some(RoleCredentials {
        profile: profile.to_owned(),
        role: role.role_name,
        access_key_id: keys.access_key_id,
        secret_access_key: keys.secret_access_key,
        token: keys.session_token,
        updated: cx.now(),
        expires: keys.expiration,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::model::IamProfile;
    use crate::ec2::model::State;
    use crate::ec2::plan::tests::instance;

    const NOW: Timestamp = Timestamp(10_000_000);

    fn keys(profile: &str, expires: Timestamp) -> RoleCredentials {
        RoleCredentials {
            profile: profile.to_owned(),
            role: "web".to_owned(),
            access_key_id: "ASIA1".to_owned(),
            secret_access_key: "secret".to_owned(),
            token: "token".to_owned(),
            updated: Timestamp(0),
            expires,
        }
    }

    #[test]
    fn keys_are_renewed_before_they_end_and_forgotten_with_their_profile() {
        let profile = IamProfile { arn: "front".into(), id: "AIPA1".into(), association: "iip-assoc-1".into() };
        let plain = instance(State::Running, 1);
        let with = Instance { iam_profile: Some(profile), ..plain.clone() };
        let gone = Instance { state: State::Terminated, ..with.clone() };
        let fresh = keys("front", NOW + SESSION);
        let due = NOW + SESSION - RENEW_BEFORE;
        for (instance, keys, now, expected) in [
            (Some(&plain), None, NOW, Next::Nothing),
            (Some(&with), None, NOW, Next::Renew),
            (Some(&with), Some(&fresh), NOW, Next::Wait(due)),
            (Some(&with), Some(&fresh), due, Next::Renew),
            (Some(&with), Some(&keys("other", NOW + SESSION)), NOW, Next::Renew),
            (Some(&plain), Some(&fresh), NOW, Next::Forget),
            (Some(&gone), Some(&fresh), NOW, Next::Forget),
            (None, Some(&fresh), NOW, Next::Forget),
        ] {
            assert_eq!(next(instance, keys, now), expected);
        }
    }
}
