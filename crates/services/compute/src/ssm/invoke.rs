//! The controller that runs pending commands on their instances.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_core::host::ExecOutput;
use standfast_core::{Id, Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};

use super::model::{Command, Invocation, State};

/// Commands that are done are forgotten beyond this many a scope, oldest first.
const COMMANDS_MAX: usize = 200;
/// The code of a command that the host could not run.
const NOT_RUN: i32 = 127;
const TIMED_OUT: i32 = 124;

/// The commands that this process is running. One that the records call running and that is not here was cut off by a
/// restart of the cloud.
pub type Running = Arc<Mutex<HashSet<(Scope, String)>>>;

pub async fn run(cx: Cx, running: Running) -> Result<Wake> {
    for (scope, id, invocation) in cx.view(|v| v.all::<Invocation>()) {
        let key = (scope.clone(), id.to_string());
        let here = running.lock().unwrap_or_else(PoisonError::into_inner).contains(&key);
        match invocation.state {
            State::Pending if !here => {
                let since = cx.now();
                set(&cx, &scope, &id, State::InProgress { since }).await?;
                running.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
                let task = execute(cx.clone(), key, invocation, since, running.clone());
                cx.cloud().supervisor().spawn(format!("ssm/{id}"), task);
            }
            State::InProgress { since } if !here => {
                let state = State::Done {
                    since,
                    ended: cx.now(),
                    code: NOT_RUN,
                    stdout: String::new(),
                    stderr: "The cloud was restarted while the command ran.\n".into(),
                    timed_out: false,
                };
                set(&cx, &scope, &id, state).await?;
            }
            _ => (),
        }
    }
    forget_old(&cx).await?;
    Ok(Wake::OnChange)
}

async fn execute(cx: Cx, key: (Scope, String), invocation: Arc<Invocation>, since: Timestamp, running: Running) {
    let (scope, id) = &key;
    let instance = id.rsplit_once('/').map_or("", |(_, instance)| instance);
    let argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), invocation.script.clone()];
    let limit = Duration::from_secs(invocation.limit_s);
    let output = cx.host().exec(&Id::from_text(instance), argv, limit).await.unwrap_or_else(|error| ExecOutput {
        code: NOT_RUN,
        stderr: format!("{}\n", error.message).into_bytes(),
        ..Default::default()
    });
    let state = State::Done {
        since,
        ended: cx.now(),
        code: output.code,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        timed_out: output.code == TIMED_OUT && cx.now().since(since) >= limit,
    };
    if let Err(error) = set(&cx, scope, id, state).await {
        eprintln!("level=error event=command_result_lost command={id} error={:?}", error.to_string());
    }
    running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
}

async fn set(cx: &Cx, scope: &Scope, id: &str, state: State) -> Result<()> {
    cx.txn(|tx| {
        if let Some(invocation) = tx.get::<Invocation>(scope, id) {
            tx.put(scope, id, Invocation { state: state.clone(), ..(*invocation).clone() });
        }
        Ok(())
    })
    .await
}

async fn forget_old(cx: &Cx) -> Result<()> {
    let mut scopes: Vec<(Scope, Vec<(Timestamp, String)>)> = Vec::new();
    for (scope, id, command) in cx.view(|v| v.all::<Command>()) {
        match scopes.last_mut() {
            Some((last, commands)) if *last == scope => commands.push((command.requested, id.to_string())),
            _ => scopes.push((scope, vec![(command.requested, id.to_string())])),
        }
    }
    for (scope, mut commands) in scopes {
        if commands.len() <= COMMANDS_MAX {
            continue;
        }
        commands.sort();
        commands.truncate(commands.len() - COMMANDS_MAX);
        cx.txn(|tx| {
            for (_, id) in &commands {
                for (invocation, _) in tx.prefix::<Invocation>(&scope, &format!("{id}/")) {
                    tx.delete::<Invocation>(&scope, &invocation);
                }
                tx.delete::<Command>(&scope, id);
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}
