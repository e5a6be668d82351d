//! `logs` and `exec`: a look inside an instance.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use serde_json::json;
use standfast_api::{ec2, ssm};
use standfast_core::Clock;

use super::text;
use crate::api_client::ApiClient;
use crate::output;

const POLL: Duration = Duration::from_millis(50);
/// SSM ends a command after an hour by default; this client waits no longer.
const EXEC_LIMIT: Duration = Duration::from_secs(3600);

/// Prints the console output.
pub async fn logs(client: &ApiClient, id: &str) -> Result<ExitCode> {
    let answer = client.call(&ec2::MODEL, "GetConsoleOutput", json!({"InstanceId": id, "Latest": true})).await?;
    let output = base64::prelude::BASE64_STANDARD.decode(text(&answer, "Output")).context("the console output")?;
    output::bytes(&output);
    Ok(ExitCode::SUCCESS)
}

/// Runs a command through SSM's SendCommand; its exit code becomes ours.
pub async fn exec(client: &ApiClient, id: &str, command: &[String]) -> Result<ExitCode> {
    let line: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    let sent = client
        .call(
            &ssm::MODEL,
            "SendCommand",
            json!({
                "InstanceIds": [id], "DocumentName": "AWS-RunShellScript",
                "Parameters": {"commands": [line.join(" ")]},
            }),
        )
        .await?;
    let command_id = sent.get("Command").map(|command| text(command, "CommandId")).unwrap_or_default().to_owned();
    let clock = Clock::system(1.0);
    let deadline = clock.now() + EXEC_LIMIT;
    loop {
        let input = json!({"CommandId": command_id, "InstanceId": id});
        let answer = client.call(&ssm::MODEL, "GetCommandInvocation", input).await?;
        if !matches!(text(&answer, "Status"), "Pending" | "InProgress" | "Delayed") {
            output::text_of(format_args!("{}", text(&answer, "StandardOutputContent")));
            eprint!("{}", text(&answer, "StandardErrorContent"));
            let code = answer.get("ResponseCode").and_then(|code| code.as_i64()).unwrap_or(1);
            return Ok(ExitCode::from(code.clamp(0, 255) as u8));
        }
        if clock.now() > deadline {
            bail!("the command {command_id} has not ended within an hour");
        }
        clock.sleep(POLL).await;
    }
}

/// The word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("ls"), "ls");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
