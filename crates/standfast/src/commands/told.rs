//! `mail` and `events`: what the cloud would have mailed, and what its services tell.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value as Json;
use standfast_core::Clock;

use super::{items, text};
use crate::api_client::ApiClient;
use crate::cli::{Events, Mail};
use crate::output;

/// How often new events are asked for.
const PAUSE: Duration = Duration::from_millis(500);

/// Lists mails, or shows one.
pub async fn mail(client: &ApiClient, options: &Mail) -> Result<ExitCode> {
    let answer = client.own(&format!("mail?region={}", client.region())).await?;
    let answer = serde_json::json!({ "Mails": serde_json::from_slice::<Json>(&answer)? });
    let all = items(&answer, "Mails");
    match options.number {
        None => {
            for (at, mail) in all.iter().enumerate() {
                let (time, to, subject) = (text(mail, "At"), text(mail, "To"), text(mail, "Subject"));
                output::line(format_args!("{:>4}  {time}  {to:<32}  {subject}", at + 1));
            }
        }
        Some(number) => {
            let Some(mail) = number.checked_sub(1).and_then(|at| all.get(at)) else {
                bail!("there is no mail {number}: there are {}", all.len());
            };
            for name in ["From", "To", "Subject"] {
                output::line(format_args!("{name}: {}", text(mail, name)));
            }
            output::line(format_args!("\n{}", text(mail, "Body")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints events, a line of JSON each, and goes on with new ones.
pub async fn events(client: &ApiClient, options: &Events) -> Result<ExitCode> {
    let clock = Clock::system(1.0);
    let mut after = String::new();
    loop {
        let answer = client.own(&format!("events?region={}&after={after}", client.region())).await?;
        let answer = serde_json::json!({ "Events": serde_json::from_slice::<Json>(&answer)? });
        for seen in items(&answer, "Events") {
            output::line(&seen["Event"]);
            text(seen, "Key").clone_into(&mut after);
        }
        if options.once {
            return Ok(ExitCode::SUCCESS);
        }
        clock.sleep(PAUSE).await;
    }
}
