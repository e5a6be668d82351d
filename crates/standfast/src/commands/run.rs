//! `server` and `up`: a cloud in the foreground.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::deploy;
use crate::api_client::ApiClient;
use crate::cli;
use crate::output;
use crate::server::Running;
use crate::signals;

/// Runs a cloud until it is told to stop.
pub async fn server(options: &cli::Server) -> Result<ExitCode> {
    let listen = match options.listen {
        Some(listen) => listen,
        None => cli::DEFAULT_LISTEN.parse().context("the default address")?,
    };
    let running = Running::start(options, listen).await?;
    output::line(format_args!("Standfast is ready: http://{} ({} driver)", running.address, running.driver));
    output::line(format_args!(
        "  export AWS_ENDPOINT_URL=http://{} and use any AWS client; Ctrl-C stops the cloud",
        running.address
    ));
    signals::stop_requested().await?;
    stop(running).await;
    Ok(ExitCode::SUCCESS)
}

/// Deploys a template; runs a cloud until told to stop when none answers.
pub async fn up(client: &ApiClient, options: &cli::Up) -> Result<ExitCode> {
    let body = std::fs::read_to_string(&options.template)
        .with_context(|| format!("reading the template {}", options.template.display()))?;
    let stack = deploy::Stack::from_options(options, body)?;
    // Where it should listen is also where a cloud that runs already would answer; a port of 0 is always a new one.
    let listen = match options.server.listen {
        Some(listen) => listen,
        None => crate::http_client::place(client.endpoint())?.address,
    };
    let there = client_of(listen, client.region())?;
    if listen.port() != 0 && there.is_up().await {
        output::line(format_args!("Deploying into the cloud at {}", there.endpoint()));
        return deploy::up(&there, &stack).await;
    }
    let running = Running::start(&options.server, listen).await?;
    let client = client_of(running.address, client.region())?;
    output::line(format_args!("Standfast is ready: {} ({} driver)", client.endpoint(), running.driver));
    let deployed = tokio::select! {
        deployed = deploy::up(&client, &stack) => Some(deployed),
        stopped = signals::stop_requested() => { stopped?; None }
    };
    match deployed {
        Some(Ok(code)) if code == ExitCode::SUCCESS => {
            output::line("\nCtrl-C stops the cloud and leaves nothing behind.");
            signals::stop_requested().await?;
            stop(running).await;
            Ok(ExitCode::SUCCESS)
        }
        Some(failed) => {
            stop(running).await;
            failed
        }
        None => {
            stop(running).await;
            Ok(ExitCode::from(130))
        }
    }
}

/// A client of a cloud that listens there; one that listens everywhere is called over loopback.
pub fn client_of(mut address: SocketAddr, region: &str) -> Result<ApiClient> {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    ApiClient::new(&format!("http://{address}"), region)
}

async fn stop(running: Running) {
    output::line("\nStopping the cloud ...");
    running.stop().await;
    output::line("Stopped; nothing is left behind.");
}
