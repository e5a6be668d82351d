//! Instance profiles of instances. They are recorded and shown; what a role may do is for the metadata service and iam.

use std::sync::Arc;

use standfast_api::{ec2 as api, iam};
use standfast_core::id::{self, Id};
use standfast_core::{Error, Fault, Result, Rng, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{IamProfile, Instance};

/// The profile that a request names, when there is one of that name.
pub async fn known(cx: &Cx, given: Option<&api::IamInstanceProfileSpecification>) -> Result<Option<IamProfile>> {
    let Some(profile) = read(cx.account(), cx.rng(), given)? else { return Ok(None) };
    let name = profile.arn.rsplit('/').next().unwrap_or_default().to_owned();
    match cx.call(iam::GetInstanceProfile, iam::GetInstanceProfileRequest { instance_profile_name: name }).await {
        Ok(found) if found.instance_profile.arn == profile.arn || given.is_some_and(|given| given.arn.is_none()) => {
            let found = found.instance_profile;
            Ok(Some(IamProfile { arn: found.arn, id: found.instance_profile_id, ..profile }))
        }
        Err(error) if error.fault != Fault::Client => Err(error),
        _ => Err(unknown(given)),
    }
}

fn unknown(given: Option<&api::IamInstanceProfileSpecification>) -> Error {
    let given = given.cloned().unwrap_or_default();
    let (member, what, value) = match given.name.filter(|name| !name.is_empty()) {
        Some(name) => ("name", "name", name),
        None => ("arn", "ARN", given.arn.unwrap_or_default()),
    };
    errors::invalid(format!(
        "Value ({value}) for parameter iamInstanceProfile.{member} is invalid. Invalid IAM Instance Profile {what}"
    ))
}

fn read(account: &str, rng: &Rng, given: Option<&api::IamInstanceProfileSpecification>) -> Result<Option<IamProfile>> {
    let Some(given) = given else { return Ok(None) };
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let arn = match (text(&given.arn), text(&given.name)) {
        (Some(_), Some(_)) => {
            let message =
                "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'";
            return Err(errors::combination(message));
        }
        (Some(arn), None) => arn,
        (None, Some(name)) => format!("arn:aws:iam::{account}:instance-profile/{name}"),
        (None, None) => return Ok(None),
    };
    let (id, association) = (rng.hex(17).to_uppercase(), rng.hex(17));
    Ok(Some(IamProfile { arn, id: format!("AIPA{id}"), association: format!("iip-assoc-{association}") }))
}

pub async fn associate(
    cx: Cx,
    input: api::AssociateIamInstanceProfileInput,
) -> Result<api::AssociateIamInstanceProfileOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Instance>(&input.instance_id)?);
    let profile = known(&cx, Some(&input.iam_instance_profile)).await?;
    let profile = errors::required(profile, "iamInstanceProfile")?;
    let association = cx
        .txn(|tx| {
            let instance = find::<Instance>(tx, scope, &id)?;
            if instance.iam_profile.is_some() {
                let message = format!("There is an existing association for instance {id}");
                return Err(Error::client("IncorrectState", message));
            }
            let instance = Instance { iam_profile: Some(profile.clone()), ..(*instance).clone() };
            tx.put(scope, &id, instance);
            Ok(shape(&id, &profile, "associating"))
        })
        .await?;
    Ok(api::AssociateIamInstanceProfileOutput { iam_instance_profile_association: Some(association) })
}

/// Gives an instance another profile, under a new association.
pub async fn replace(
    cx: Cx,
    input: api::ReplaceIamInstanceProfileAssociationInput,
) -> Result<api::ReplaceIamInstanceProfileAssociationOutput> {
    let scope = cx.scope();
    let profile = known(&cx, Some(&input.iam_instance_profile)).await?;
    let profile = errors::required(profile, "iamInstanceProfile")?;
    let association = cx
        .txn(|tx| {
            let (id, instance) = associated(tx, scope, &input.association_id)?;
            tx.put(scope, &id, Instance { iam_profile: Some(profile.clone()), ..(*instance).clone() });
            Ok(shape(&Id::from_text(&id), &profile, "associating"))
        })
        .await?;
    Ok(api::ReplaceIamInstanceProfileAssociationOutput { iam_instance_profile_association: Some(association) })
}

/// The instance that an association speaks of.
fn associated(view: &View, scope: &Scope, association: &str) -> Result<(Arc<str>, Arc<Instance>)> {
    view.by_index::<Instance>(scope, "profile", association).into_iter().next().ok_or_else(|| {
        let message = format!("An invalid association-id of '{association}' was given");
        Error::client("NoSuchAssociation", message)
    })
}

pub async fn disassociate(
    cx: Cx,
    input: api::DisassociateIamInstanceProfileInput,
) -> Result<api::DisassociateIamInstanceProfileOutput> {
    let scope = cx.scope();
    let association = cx
        .txn(|tx| {
            let (id, instance) = associated(tx, scope, &input.association_id)?;
            let profile = instance.iam_profile.as_ref().expect("indexed by it");
            let answer = shape(&Id::from_text(&id), profile, "disassociating");
            tx.put(scope, &id, Instance { iam_profile: None, ..(*instance).clone() });
            Ok(answer)
        })
        .await?;
    Ok(api::DisassociateIamInstanceProfileOutput { iam_instance_profile_association: Some(association) })
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeIamInstanceProfileAssociationsInput,
) -> Result<api::DescribeIamInstanceProfileAssociationsOutput> {
    let all = cx.view(|view| view.list::<Instance>(cx.scope()));
    let asked = |profile: &IamProfile| {
        let ids = input.association_ids.as_ref();
        ids.is_none_or(|ids| ids.is_empty() || ids.contains(&profile.association))
    };
    let rows = all.iter().filter(|(_, instance)| !instance.state.is_ending()).filter_map(|(id, instance)| {
        let profile = instance.iam_profile.as_ref().filter(|profile| asked(profile))?;
        Some(shape(&Id::from_text(id), profile, "associated"))
    });
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
    let (associations, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    let iam_instance_profile_associations = Some(associations);
    Ok(api::DescribeIamInstanceProfileAssociationsOutput { iam_instance_profile_associations, next_token })
}

fn shape(instance: &Id<id::Instance>, profile: &IamProfile, state: &str) -> api::IamInstanceProfileAssociation {
    api::IamInstanceProfileAssociation {
        association_id: Some(profile.association.clone()),
        instance_id: Some(instance.into()),
        iam_instance_profile: Some(api::IamInstanceProfile {
            arn: Some(profile.arn.clone()),
            id: Some(profile.id.clone()),
        }),
        state: Some(state.to_owned()),
        ..Default::default()
    }
}

impl Described for api::IamInstanceProfileAssociation {
    const FIELDS: &'static [Field<Self>] = &[
        ("instance-id", |association| filters::one(&association.instance_id)),
        ("state", |association| filters::one(&association.state)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    /// The order of the records.
    fn key(&self) -> String {
        self.instance_id.clone().unwrap_or_default()
    }
}
