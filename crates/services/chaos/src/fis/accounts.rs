//! Target account configurations: kept with their template and shown.
//!
//! // AWS-DIFF: what an experiment acts on is looked for in the own account only, also with multi-account targeting.

use standfast_api::fis as api;
use standfast_core::page::page;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::experiments;
use super::model::{Experiment, TargetAccount, Template};
use super::{parse, templates};

const PAGE_MAX: usize = 100;
/// The quota of FIS.
const ACCOUNTS_MAX: usize = 40;

fn missing(template: &str, account: &str) -> Error {
    let message = format!("Target account configuration for account {account} does not exist in {template}.");
    Error::client("ResourceNotFoundException", message)
}

fn shape(id: &str, account: &TargetAccount) -> api::TargetAccountConfiguration {
    api::TargetAccountConfiguration {
        role_arn: Some(account.role_arn.clone()),
        account_id: Some(id.to_owned()),
        description: account.description.clone(),
    }
}

/// Changes a template's account, or takes it away.
async fn change(
    cx: &Cx,
    template: &str,
    account: &str,
    change: impl Fn(Option<&TargetAccount>) -> Result<Option<TargetAccount>>,
) -> Result<TargetAccount> {
    let now = cx.now();
    cx.txn(|tx| {
        let old = tx.get::<Template>(cx.scope(), template).ok_or_else(|| templates::unknown(template))?;
        let mut new = (*old).clone();
        let was = new.accounts.remove(account);
        let now_is = change(was.as_ref())?;
        let shown = now_is.clone().or(was).ok_or_else(|| missing(template, account))?;
        new.accounts.extend(now_is.map(|one| (account.to_owned(), one)));
        if new.accounts.len() > ACCOUNTS_MAX {
            return Err(parse::too_many("target account configurations", ACCOUNTS_MAX));
        }
        new.updated = now;
        tx.put(cx.scope(), template, new);
        Ok(shown)
    })
    .await
}

pub async fn create(
    cx: Cx,
    input: api::CreateTargetAccountConfigurationInput,
) -> Result<api::CreateTargetAccountConfigurationOutput> {
    let (template, account) = (&input.experiment_template_id, &input.account_id);
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err(parse::invalid(format!("The accountId '{account}' is not 12 digits.")));
    }
    let new = TargetAccount { role_arn: input.role_arn, description: input.description };
    let made = change(&cx, template, account, |was| match was {
        Some(was) if *was != new => {
            let message = format!("Target account configuration for account {account} exists already in {template}.");
            Err(Error::client("ConflictException", message).with_status(409))
        }
        _ => Ok(Some(new.clone())),
    })
    .await?;
    Ok(api::CreateTargetAccountConfigurationOutput { target_account_configuration: Some(shape(account, &made)) })
}

pub async fn update(
    cx: Cx,
    input: api::UpdateTargetAccountConfigurationInput,
) -> Result<api::UpdateTargetAccountConfigurationOutput> {
    let (template, account) = (&input.experiment_template_id, &input.account_id);
    let made = change(&cx, template, account, |was| {
        let was = was.ok_or_else(|| missing(template, account))?;
        Ok(Some(TargetAccount {
            role_arn: input.role_arn.clone().unwrap_or_else(|| was.role_arn.clone()),
            description: input.description.clone().or_else(|| was.description.clone()),
        }))
    })
    .await?;
    Ok(api::UpdateTargetAccountConfigurationOutput { target_account_configuration: Some(shape(account, &made)) })
}

pub async fn delete(
    cx: Cx,
    input: api::DeleteTargetAccountConfigurationInput,
) -> Result<api::DeleteTargetAccountConfigurationOutput> {
    let (template, account) = (&input.experiment_template_id, &input.account_id);
    let gone = change(&cx, template, account, |_| Ok(None)).await?;
    Ok(api::DeleteTargetAccountConfigurationOutput { target_account_configuration: Some(shape(account, &gone)) })
}

fn template(cx: &Cx, id: &str) -> Result<std::sync::Arc<Template>> {
    cx.view(|v| v.get::<Template>(cx.scope(), id)).ok_or_else(|| templates::unknown(id))
}

pub async fn get(
    cx: Cx,
    input: api::GetTargetAccountConfigurationInput,
) -> Result<api::GetTargetAccountConfigurationOutput> {
    let (id, account) = (&input.experiment_template_id, &input.account_id);
    let template = template(&cx, id)?;
    let found = template.accounts.get(account).ok_or_else(|| missing(id, account))?;
    Ok(api::GetTargetAccountConfigurationOutput { target_account_configuration: Some(shape(account, found)) })
}

pub async fn list(
    cx: Cx,
    input: api::ListTargetAccountConfigurationsInput,
) -> Result<api::ListTargetAccountConfigurationsOutput> {
    let template = template(&cx, &input.experiment_template_id)?;
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let token = input.next_token.as_deref();
    let page = page(&template.accounts, |(id, _)| (*id).clone(), token, limit, "ValidationException")?;
    let each = |(id, one): (&String, &TargetAccount)| api::TargetAccountConfigurationSummary {
        role_arn: Some(one.role_arn.clone()),
        account_id: Some(id.clone()),
        description: one.description.clone(),
    };
    let all = page.items.into_iter().map(each).collect();
    Ok(api::ListTargetAccountConfigurationsOutput { target_account_configurations: Some(all), next_token: page.next })
}

fn experiment(cx: &Cx, id: &str) -> Result<std::sync::Arc<Experiment>> {
    cx.view(|v| v.get::<Experiment>(cx.scope(), id)).ok_or_else(|| experiments::unknown(id))
}

pub async fn get_of_experiment(
    cx: Cx,
    input: api::GetExperimentTargetAccountConfigurationInput,
) -> Result<api::GetExperimentTargetAccountConfigurationOutput> {
    let (id, account) = (&input.experiment_id, &input.account_id);
    let experiment = experiment(&cx, id)?;
    let found = experiment.template.accounts.get(account).ok_or_else(|| missing(id, account))?;
    let shape = api::ExperimentTargetAccountConfiguration {
        role_arn: Some(found.role_arn.clone()),
        account_id: Some(account.clone()),
        description: found.description.clone(),
    };
    Ok(api::GetExperimentTargetAccountConfigurationOutput { target_account_configuration: Some(shape) })
}

pub async fn list_of_experiment(
    cx: Cx,
    input: api::ListExperimentTargetAccountConfigurationsInput,
) -> Result<api::ListExperimentTargetAccountConfigurationsOutput> {
    let experiment = experiment(&cx, &input.experiment_id)?;
    let (all, token) = (&experiment.template.accounts, input.next_token.as_deref());
    let page = page(all, |(id, _)| (*id).clone(), token, PAGE_MAX, "ValidationException")?;
    let each = |(id, one): (&String, &TargetAccount)| api::ExperimentTargetAccountConfigurationSummary {
        role_arn: Some(one.role_arn.clone()),
        account_id: Some(id.clone()),
        description: one.description.clone(),
    };
    let all = page.items.into_iter().map(each).collect();
    Ok(api::ListExperimentTargetAccountConfigurationsOutput {
        target_account_configurations: Some(all),
        next_token: page.next,
    })
}
