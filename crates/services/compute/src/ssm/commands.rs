//! Commands: sent to instances, and what became of them.

use std::collections::BTreeSet;
use std::time::Duration;

use standfast_api::ec2;
use standfast_api::ssm::{
    self as api, CancelCommandInput, CancelCommandOutput, DescribeInstanceInformationInput,
    DescribeInstanceInformationOutput, GetCommandInvocationInput, GetCommandInvocationOutput, ListCommandsInput,
    ListCommandsOutput, SendCommandInput, SendCommandOutput,
};
use standfast_core::page::page;
use standfast_core::{Error, Id, Result};
use standfast_kernel::Cx;

use super::documents;
use super::model::{Command, Invocation, State};

const INSTANCES_MAX: usize = 50;
const TIMEOUT_S: i32 = 3600;
/// How long it may take to end a command inside an instance.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
const PAGE_MAX: usize = 50;
/// What GetCommandInvocation shows of an output.
const OUTPUT_CHARS_MAX: usize = 24_000;

pub async fn send(cx: Cx, input: SendCommandInput) -> Result<SendCommandOutput> {
    if input.targets.is_some() {
        return Err(Error::client("ValidationException", "Targets are not available here; name InstanceIds."));
    }
    let parameters = input.parameters.unwrap_or_default();
    let ids = input.instance_ids.unwrap_or_default();
    if ids.is_empty() || ids.len() > INSTANCES_MAX {
        let message = format!("InstanceIds names {} instances; 1 to {INSTANCES_MAX} are allowed.", ids.len());
        return Err(Error::client("ValidationException", message));
    }
    let vpcs = check_running(&cx, &ids).await?;
    let id = cx.rng().uuid();
    let work = documents::parse(&cx, &input.document_name, &parameters, &vpcs, &id).await?;
    let command = Command {
        document: input.document_name,
        comment: input.comment,
        parameters,
        instance_ids: ids.clone(),
        requested: cx.now(),
        timeout_s: input.timeout_seconds.unwrap_or(TIMEOUT_S),
    };
    cx.txn(|tx| {
        tx.put(cx.scope(), &id, command.clone());
        for instance in &ids {
            let invocation = Invocation { work: work.clone(), state: State::Pending };
            tx.put(cx.scope(), &format!("{id}/{instance}"), invocation);
        }
        Ok(())
    })
    .await?;
    Ok(SendCommandOutput { command: Some(shape(&cx, &id, &command)) })
}

/// The VPCs of instances, all of which run.
async fn check_running(cx: &Cx, ids: &[String]) -> Result<Vec<String>> {
    let invalid = |id: &str| {
        let message = format!("Instances [[{id}]] not in a valid state for account {}", cx.account());
        Error::client("InvalidInstanceId", message)
    };
    let mut vpcs = BTreeSet::new();
    for id in ids {
        let input = ec2::DescribeInstancesInput { instance_ids: Some(vec![id.clone()]), ..Default::default() };
        let found = cx.call(ec2::DescribeInstances, input).await.map_err(|_| invalid(id))?;
        let all = found.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
        let running = |instance: &ec2::Instance| {
            instance.state.as_ref().and_then(|state| state.name.as_deref()) == Some("running")
        };
        let instance = all.into_iter().find(running).ok_or_else(|| invalid(id))?;
        vpcs.extend(instance.vpc_id);
    }
    Ok(vpcs.into_iter().collect())
}

/// Ends what a command does on these instances, or on all that it was sent to. What is done stays done.
pub async fn cancel(cx: Cx, input: CancelCommandInput) -> Result<CancelCommandOutput> {
    let id = input.command_id;
    let Some(command) = cx.view(|v| v.get::<Command>(cx.scope(), &id)) else {
        return Err(Error::client("InvalidCommandId", format!("The command {id} does not exist.")));
    };
    let wanted = input.instance_ids.filter(|ids| !ids.is_empty());
    if let Some(stranger) = wanted.iter().flatten().find(|one| !command.instance_ids.contains(one)) {
        let message = format!("The command {id} was not sent to the instance {stranger}.");
        return Err(Error::client("InvalidInstanceId", message));
    }
    let ids = wanted.unwrap_or_else(|| command.instance_ids.clone());
    let now = cx.now();
    let ended = cx
        .txn(|tx| {
            let mut ended = Vec::new();
            for instance in &ids {
                let key = format!("{id}/{instance}");
                let Some(invocation) = tx.get::<Invocation>(cx.scope(), &key) else { continue };
                let since = match invocation.state {
                    State::Done { .. } => continue,
                    State::InProgress { since } => since,
                    State::Pending => now,
                };
                tx.put(cx.scope(), &key, Invocation { state: State::cancelled(since, now), ..(*invocation).clone() });
                ended.push(instance.clone());
            }
            Ok(ended)
        })
        .await?;
    // What a script started ends at its own time in any case; an instance that does not answer has nothing to end.
    for instance in ended {
        let argv = ["standfast", "stress", "end", &id].map(str::to_owned).to_vec();
        let _ = cx.host().exec(&Id::from_text(&instance), argv, CANCEL_LIMIT).await;
    }
    Ok(CancelCommandOutput {})
}

fn shape(cx: &Cx, id: &str, command: &Command) -> api::Command {
    let states: Vec<State> = cx.view(|v| {
        let invocations = v.prefix::<Invocation>(cx.scope(), &format!("{id}/"));
        invocations.into_iter().map(|(_, invocation)| invocation.state.clone()).collect()
    });
    let count = |f: &dyn Fn(&State) -> bool| states.iter().filter(|state| f(state)).count() as i32;
    let done = count(&|state| matches!(state, State::Done { .. }));
    let failed = count(&|state| matches!(state, State::Done { .. }) && state.status() != "Success");
    let status = match () {
        () if done < states.len() as i32 && states.iter().all(|state| *state == State::Pending) => "Pending",
        () if done < states.len() as i32 => "InProgress",
        () if states.iter().any(|state| state.status() == "Cancelled") => "Cancelled",
        () if failed > 0 => "Failed",
        () => "Success",
    };
    api::Command {
        command_id: Some(id.to_owned()),
        document_name: Some(command.document.clone()),
        document_version: Some("$DEFAULT".into()),
        comment: Some(command.comment.clone().unwrap_or_default()),
        expires_after: Some(command.requested + std::time::Duration::from_secs(command.timeout_s.max(0) as u64)),
        parameters: Some(command.parameters.clone()),
        instance_ids: Some(command.instance_ids.clone()),
        targets: Some(Vec::new()),
        requested_date_time: Some(command.requested),
        status: Some(status.into()),
        status_details: Some(status.into()),
        max_concurrency: Some("50".into()),
        max_errors: Some("0".into()),
        target_count: Some(states.len() as i32),
        completed_count: Some(done),
        error_count: Some(failed),
        delivery_timed_out_count: Some(0),
        timeout_seconds: Some(command.timeout_s),
        ..Default::default()
    }
}

pub async fn get_invocation(cx: Cx, input: GetCommandInvocationInput) -> Result<GetCommandInvocationOutput> {
    let id = format!("{}/{}", input.command_id, input.instance_id);
    let (command, invocation) =
        cx.view(|v| (v.get::<Command>(cx.scope(), &input.command_id), v.get::<Invocation>(cx.scope(), &id)));
    let (Some(command), Some(invocation)) = (command, invocation) else {
        let message = format!("The command {} has no invocation on {}.", input.command_id, input.instance_id);
        return Err(Error::client("InvocationDoesNotExist", message));
    };
    let mut out = GetCommandInvocationOutput {
        command_id: Some(input.command_id),
        instance_id: Some(input.instance_id),
        comment: Some(command.comment.clone().unwrap_or_default()),
        document_name: Some(command.document.clone()),
        document_version: Some("$DEFAULT".into()),
        plugin_name: Some("aws:runShellScript".into()),
        response_code: Some(-1),
        status: Some(invocation.state.status().into()),
        status_details: Some(invocation.state.status().into()),
        standard_output_content: Some(String::new()),
        standard_error_content: Some(String::new()),
        standard_output_url: Some(String::new()),
        standard_error_url: Some(String::new()),
        ..Default::default()
    };
    match &invocation.state {
        State::Pending => (),
        State::InProgress { since } => out.execution_start_date_time = Some(since.iso8601()),
        State::Done { since, ended, code, stdout, stderr, .. } => {
            out.execution_start_date_time = Some(since.iso8601());
            out.execution_end_date_time = Some(ended.iso8601());
            out.execution_elapsed_time = Some(format!("PT{:.3}S", ended.since(*since).as_secs_f64()));
            out.response_code = Some(*code);
            out.standard_output_content = Some(stdout.chars().take(OUTPUT_CHARS_MAX).collect());
            out.standard_error_content = Some(stderr.chars().take(OUTPUT_CHARS_MAX).collect());
        }
    }
    Ok(out)
}

pub async fn list(cx: Cx, input: ListCommandsInput) -> Result<ListCommandsOutput> {
    let all = cx.view(|v| v.list::<Command>(cx.scope()));
    let wanted = all.into_iter().filter(|(id, command)| {
        input.command_id.as_deref().is_none_or(|wanted| wanted == &**id)
            && input.instance_id.as_ref().is_none_or(|wanted| command.instance_ids.contains(wanted))
    });
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let page = page(wanted, |(id, _)| id.to_string(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let commands = page.items.iter().map(|(id, command)| shape(&cx, id, command)).collect();
    Ok(ListCommandsOutput { commands: Some(commands), next_token: page.next })
}

/// Every running instance answers commands here: no agent is needed.
pub async fn instances(cx: Cx, input: DescribeInstanceInformationInput) -> Result<DescribeInstanceInformationOutput> {
    let running = ec2::Filter { name: Some("instance-state-name".into()), values: Some(vec!["running".into()]) };
    let describe = ec2::DescribeInstancesInput { filters: Some(vec![running]), ..Default::default() };
    let answer = cx.call(ec2::DescribeInstances, describe).await?;
    let all = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let mut all: Vec<_> = all.collect();
    all.sort_by(|a, b| a.instance_id.cmp(&b.instance_id));
    let key = |instance: &ec2::Instance| instance.instance_id.clone().unwrap_or_default();
    let page = page(all, key, input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let list = (page.items.into_iter())
        .map(|instance| api::InstanceInformation {
            instance_id: instance.instance_id,
            ping_status: Some("Online".into()),
            last_ping_date_time: Some(cx.now()),
            platform_type: Some("Linux".into()),
            ip_address: instance.private_ip_address,
            computer_name: instance.private_dns_name,
            resource_type: Some("EC2Instance".into()),
            ..Default::default()
        })
        .collect();
    Ok(DescribeInstanceInformationOutput { instance_information_list: Some(list), next_token: page.next })
}
