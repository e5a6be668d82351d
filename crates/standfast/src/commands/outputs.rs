//! What a deployed stack shows: its outputs, where its site answers, and what to try next.

use std::time::Duration;

use anyhow::Result;
use http_body_util::Full;
use serde_json::json;
use standfast_api::cloudformation::MODEL as CLOUDFORMATION;
use standfast_core::Clock;

use super::{items, text};
use crate::api_client::ApiClient;
use crate::cli::DEFAULT_LISTEN;
use crate::http_client::{Connection, place, site_url};
use crate::output;

/// Instances boot and pass their first health check within this, or there is something to look into.
const SITE_LIMIT: Duration = Duration::from_secs(60);
const SITE_POLL: Duration = Duration::from_millis(100);

/// Prints the stack's outputs and, once a site among them answers, that it does.
pub async fn print(client: &ApiClient, stack: &str) -> Result<()> {
    let answer = client.call(&CLOUDFORMATION, "DescribeStacks", json!({"StackName": stack})).await?;
    let outputs = items(&answer, "Stacks").first().map_or(&[][..], |stack| items(stack, "Outputs"));
    output::line("");
    let mut site = None;
    for output in outputs {
        let value = site_url(text(output, "OutputValue"), client.endpoint());
        output::line(format_args!("  {:<14} {value}", text(output, "OutputKey")));
        if site.is_none() && value.starts_with("http://") && place(&value).is_ok() {
            site = Some(value);
        }
    }
    output::line(format_args!("  {:<14} {}", "API endpoint", client.endpoint()));
    if let Some(site) = &site {
        output::line("");
        output::line(arrival(site).await?);
    }
    next(client, site.as_deref());
    Ok(())
}

/// Waits until the site answers: instances may still be booting when a stack is complete.
async fn arrival(site: &str) -> Result<String> {
    let clock = Clock::system(1.0);
    let start = clock.now();
    loop {
        let last = match look(site).await {
            Ok(status) if status < 500 => return Ok("The site answers.".into()),
            Ok(status) => format!("with {status}"),
            Err(error) => format!("nothing: {error}"),
        };
        if clock.now().since(start) > SITE_LIMIT {
            return Ok(format!("The site does not answer yet ({last}); `standfast status` shows its targets' health."));
        }
        clock.sleep(SITE_POLL).await;
    }
}

async fn look(site: &str) -> Result<u16> {
    let place = place(site)?;
    let request = http::Request::get(&place.path).header("host", &place.host).body(Full::default())?;
    Ok(Connection::open(place.address).await?.send(request).await?.status().as_u16())
}

/// How the reader can call this program: by its name where the shell finds it, else by its path.
fn called() -> String {
    let own = std::env::current_exe().unwrap_or_default();
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("standfast") == own));
    let here = std::env::current_dir().unwrap_or_default();
    let path = own.strip_prefix(&here).unwrap_or(&own);
    match path.components().count() {
        _ if found => "standfast".into(),
        1 => format!("./{}", path.display()),
        _ => path.display().to_string(),
    }
}

fn next(client: &ApiClient, site: Option<&str>) {
    let (endpoint, region) = (client.endpoint(), client.region());
    let standfast = called();
    output::line("\nTry next, in a second terminal:");
    if endpoint != format!("http://{DEFAULT_LISTEN}") {
        output::line(format_args!("  export AWS_ENDPOINT_URL={endpoint}"));
    }
    output::line(format_args!("  {standfast} status"));
    if let Some(site) = site {
        output::line(format_args!("  curl {site}"));
        output::line(format_args!("  {standfast} probe {site} --rate 200 --duration 60s"));
    }
    output::line(format_args!("  {standfast} break zone {region}a      and, while it is dark, status and probe"));
    output::line(format_args!("  {standfast} heal zone {region}a"));
    output::line(format_args!(
        "  AWS_ENDPOINT_URL={endpoint} aws autoscaling describe-auto-scaling-groups --region {region}"
    ));
    output::line(format_args!("  {standfast} down"));
}
