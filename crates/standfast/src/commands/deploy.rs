//! `up` and `down`: a stack's way in and out, with its progress.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value as Json, json};
use standfast_api::cloudformation::MODEL as CLOUDFORMATION;
use standfast_core::{Clock, Timestamp};

use super::{items, outputs, text};
use crate::api_client::{ApiClient, api_error};
use crate::cli;
use crate::output;

/// How often events are read while a stack changes.
const POLL: Duration = Duration::from_millis(150);
/// A deployment or deletion that takes longer is given up on; the stack stays as it is.
const STACK_LIMIT: Duration = Duration::from_secs(30 * 60);

/// What `up` deploys.
pub struct Stack {
    name: String,
    body: String,
    parameters: Vec<Json>,
}

impl Stack {
    pub fn from_options(options: &cli::Up, body: String) -> Result<Self> {
        let name = match &options.stack_name {
            Some(name) => name.clone(),
            None => stack_name_of(&options.template),
        };
        let parameters = (options.parameters.iter())
            .map(|parameter| match parameter.split_once('=') {
                Some((key, value)) => Ok(json!({"ParameterKey": key, "ParameterValue": value})),
                None => bail!("--parameter {parameter} is not of the form KEY=VALUE"),
            })
            .collect::<Result<_>>()?;
        Ok(Self { name, body, parameters })
    }
}

/// The name of the template's folder, or of the file when it is called something telling.
pub fn stack_name_of(template: &std::path::Path) -> String {
    let stem = template.file_stem().and_then(|s| s.to_str()).unwrap_or("stack");
    let absolute = std::path::absolute(template).unwrap_or_else(|_| template.to_owned());
    let folder = absolute.parent().and_then(|p| p.file_name()).and_then(|s| s.to_str()).map(str::to_owned);
    let name = if stem == "template" { folder.unwrap_or_else(|| stem.into()) } else { stem.into() };
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-').to_owned();
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("stack-{name}") }
}

/// Creates the stack, or updates the one that is there.
pub async fn up(client: &ApiClient, stack: &Stack) -> Result<ExitCode> {
    let input = json!({
        "StackName": stack.name, "TemplateBody": stack.body, "Parameters": stack.parameters,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    });
    let created = client.call(&CLOUDFORMATION, "CreateStack", input.clone()).await;
    let (answer, verb) = match created {
        Err(error) if api_error(&error).is_some_and(|e| e.is("AlreadyExistsException")) => {
            match client.call(&CLOUDFORMATION, "UpdateStack", input).await {
                Err(error) if api_error(&error).is_some_and(|e| e.message.contains("No updates")) => {
                    output::line(format_args!("Stack {} is up to date.", stack.name));
                    outputs::print(client, &stack.name).await?;
                    return Ok(ExitCode::SUCCESS);
                }
                updated => (updated.with_context(|| format!("updating the stack {}", stack.name))?, "Updating"),
            }
        }
        created => (created.with_context(|| format!("creating the stack {}", stack.name))?, "Creating"),
    };
    output::line(format_args!("{verb} stack {}", stack.name));
    let id = text(&answer, "StackId").to_owned();
    let end = follow(client, &id, &stack.name).await?;
    if !matches!(end.as_str(), "CREATE_COMPLETE" | "UPDATE_COMPLETE") {
        eprintln!("\nThe stack {} ended as {end}; the first FAILED line above says why.", stack.name);
        return Ok(ExitCode::FAILURE);
    }
    outputs::print(client, &stack.name).await?;
    Ok(ExitCode::SUCCESS)
}

/// Deletes a stack.
pub async fn down(client: &ApiClient, name: Option<&str>) -> Result<ExitCode> {
    let stacks = client.list(&CLOUDFORMATION, "DescribeStacks", json!({}), "Stacks").await?;
    let stack = match name {
        Some(name) => stacks.iter().find(|stack| text(stack, "StackName") == name),
        None if stacks.len() > 1 => {
            let names: Vec<_> = stacks.iter().map(|stack| text(stack, "StackName")).collect();
            bail!("there are several stacks; name one of: {}", names.join(", "));
        }
        None => stacks.first(),
    };
    let Some(stack) = stack else {
        match name {
            Some(name) => bail!("there is no stack {name} in {}", client.region()),
            None => output::line("There is no stack."),
        }
        return Ok(ExitCode::SUCCESS);
    };
    let (id, name) = (text(stack, "StackId"), text(stack, "StackName"));
    output::line(format_args!("Deleting stack {name}"));
    client.call(&CLOUDFORMATION, "DeleteStack", json!({"StackName": id})).await?;
    let end = follow(client, id, name).await?;
    if end != "DELETE_COMPLETE" {
        eprintln!("\nThe stack {name} ended as {end}; the first FAILED line above says why.");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the stack's new events until it has come to rest; gives its last status.
async fn follow(client: &ApiClient, id: &str, name: &str) -> Result<String> {
    let clock = Clock::system(1.0);
    let start = clock.now();
    let mut seen: HashSet<String> = HashSet::new();
    // Events of an earlier change of this stack are not news.
    let mut begun: Option<Timestamp> = None;
    loop {
        let events =
            client.list(&CLOUDFORMATION, "DescribeStackEvents", json!({"StackName": id}), "StackEvents").await?;
        let current = events.iter().position(|event| is_beginning(event, name)).map_or(0, |i| i + 1);
        for event in events[..current].iter().rev().filter(|event| is_news(event)) {
            let at = time(event).unwrap_or(start);
            let since = at.since(*begun.get_or_insert(at));
            if seen.insert(text(event, "EventId").to_owned()) {
                output::line(line(event, since));
            }
        }
        let stacks = client.call(&CLOUDFORMATION, "DescribeStacks", json!({"StackName": id})).await?;
        let status = items(&stacks, "Stacks").first().map(|stack| text(stack, "StackStatus").to_owned());
        let status = status.unwrap_or_else(|| "DELETE_COMPLETE".into());
        let newest = events.first().map(|event| text(event, "ResourceStatus"));
        if begun.is_some() && !status.ends_with("_IN_PROGRESS") && newest == Some(status.as_str()) {
            return Ok(status);
        }
        if clock.now().since(start) > STACK_LIMIT {
            bail!("the stack {name} is still {status} after {} minutes", STACK_LIMIT.as_secs() / 60);
        }
        clock.sleep(POLL).await;
    }
}

fn is_beginning(event: &Json, name: &str) -> bool {
    text(event, "ResourceType") == "AWS::CloudFormation::Stack"
        && text(event, "LogicalResourceId") == name
        && matches!(text(event, "ResourceStatus"), "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS" | "DELETE_IN_PROGRESS")
}

/// The second event of a resource that is being made says only that its name is known now.
fn is_news(event: &Json) -> bool {
    text(event, "ResourceStatusReason") != "Resource creation Initiated"
}

fn time(event: &Json) -> Option<Timestamp> {
    text(event, "Timestamp").parse().ok()
}

fn line(event: &Json, at: Duration) -> String {
    let status = text(event, "ResourceStatus");
    let colour = match status {
        _ if !std::io::stdout().is_terminal() => None,
        s if s.ends_with("_FAILED") || s.contains("ROLLBACK") => Some(31),
        s if s.ends_with("_COMPLETE") => Some(32),
        _ => Some(36),
    };
    let shown = match colour {
        Some(code) => format!("\x1b[{code}m{status:<20}\x1b[0m"),
        None => format!("{status:<20}"),
    };
    let reason = match text(event, "ResourceStatusReason") {
        "" => String::new(),
        reason => format!("  {reason}"),
    };
    let (logical, kind) = (text(event, "LogicalResourceId"), text(event, "ResourceType"));
    format!("{:>7.2}s  {shown} {logical:<28} {kind}{reason}", at.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_named_for_its_folder() {
        assert_eq!(stack_name_of("examples/what-is-the-time/template.yaml".as_ref()), "what-is-the-time");
        assert_eq!(stack_name_of("my_site.yaml".as_ref()), "my-site");
        assert_eq!(stack_name_of("1.yaml".as_ref()), "stack-1");
    }
}
