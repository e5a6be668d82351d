//! The commands. Each one is a client of the API; `server` and `up` also run a cloud.

mod addresses;
mod agent;
mod deploy;
mod doctor;
mod experiments;
mod faults;
mod game_day;
mod instance;
mod lint;
mod load;
mod monkey;
mod outputs;
mod probe;
mod run;
mod scenarios;
mod status;
mod stress;
mod told;
mod top;

use std::process::ExitCode;

use anyhow::Result;

use crate::api_client::ApiClient;
use crate::cli::{Cli, Command};
use crate::output;
use crate::processes;

/// Runs the command; the exit code is 0 when it did what it says.
pub async fn run(cli: Cli) -> Result<ExitCode> {
    let client = ApiClient::new(&cli.endpoint, &cli.region)?;
    match cli.command {
        Command::Server(options) => run::server(&options).await,
        Command::Host(options) => processes::host(&options).await,
        Command::Dataplane(options) => processes::dataplane(&options).await,
        Command::Up(options) => run::up(&client, &options).await,
        Command::Down(options) => deploy::down(&client, options.stack_name.as_deref()).await,
        Command::Top(options) => top::run(&client, &options).await,
        Command::Status(options) => status::run(&client, options.json).await,
        Command::Addresses(options) => addresses::run(&client, options.json).await,
        Command::Mail(options) => told::mail(&client, &options).await,
        Command::Events(options) => told::events(&client, &options).await,
        Command::Doctor(options) => doctor::run(options.json),
        Command::Probe(options) => probe::run(&options, &client).await,
        Command::GameDay(options) => game_day::run(&client, &options.what).await,
        Command::Lint(options) => lint::run(&options).await,
        Command::Load(options) => load::run(&options, client.endpoint()).await,
        Command::Agent(options) => agent::run(&options, &client).await,
        Command::Stress(options) => stress::run(&options),
        Command::Break(options) => faults::break_it(&client, &options.what).await,
        Command::Heal(options) => faults::heal(&client, &options.what).await,
        Command::Monkey(options) => monkey::run(&options, &client).await,
        Command::Logs(options) => instance::logs(&client, &options.id).await,
        Command::Coverage => coverage(),
        Command::Exec(options) => instance::exec(&client, &options.id, &options.command).await,
    }
}

/// Which operations have a handler and which are only known.
fn coverage() -> Result<ExitCode> {
    let mut all = serde_json::Map::new();
    for service in standfast::services() {
        let bound = service.bound_operations();
        let known = service.model.operations.iter().map(|operation| operation.name);
        let unbound: Vec<_> = known.filter(|name| !bound.contains(name)).collect();
        all.insert(service.model.name.to_owned(), serde_json::json!({"bound": bound, "unbound": unbound}));
    }
    output::line(format_args!("{}", serde_json::Value::Object(all)));
    Ok(ExitCode::SUCCESS)
}

/// A text member of an answer; empty when it is not there.
fn text<'a>(json: &'a serde_json::Value, name: &str) -> &'a str {
    json.get(name).and_then(|value| value.as_str()).unwrap_or_default()
}

/// A list member of an answer; empty when it is not there.
fn items<'a>(json: &'a serde_json::Value, name: &str) -> &'a [serde_json::Value] {
    json.get(name).and_then(|value| value.as_array()).map_or(&[], Vec::as_slice)
}
