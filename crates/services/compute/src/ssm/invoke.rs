//! The controller that runs pending commands on their instances.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_core::host::ExecOutput;
use standfast_core::network::PacketFault;
use standfast_core::{Id, Result, Scope, Timestamp};
use standfast_kernel::faults::{self, Fault};
use standfast_kernel::{Cx, Wake};

use super::model::{Command, How, Invocation, State, Work};

/// Commands that are done are forgotten beyond this many a scope, oldest first.
const COMMANDS_MAX: usize = 200;
/// The code of a command that the host could not run.
const NOT_RUN: i32 = 127;
const TIMED_OUT: i32 = 124;

/// The commands that this process is running. One that the records call running and that is not here was cut off by a
/// restart of the cloud.
pub type Running = Arc<Mutex<HashSet<(Scope, String)>>>;

pub async fn run(cx: Cx, running: Running) -> Result<Wake> {
    let mut wake = Wake::OnChange;
    for (scope, id, invocation) in cx.view(|v| v.all::<Invocation>()) {
        if let Work::Packets { faults, duration_s } = &invocation.work {
            let due = harm(&cx.at(&scope), &id, &invocation.state, faults, Duration::from_secs(*duration_s)).await?;
            wake = due.map_or(wake, |due| wake.or(Wake::At(due)));
            continue;
        }
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
                let lasts = match invocation.work {
                    Work::Script { lasts_s: Some(lasts_s), .. } => Some(since + Duration::from_secs(lasts_s)),
                    _ => None,
                };
                if let Some(due) = lasts.filter(|due| *due > cx.now()) {
                    wake = wake.or(Wake::At(due));
                    continue;
                }
                let state = State::Done {
                    since,
                    ended: cx.now(),
                    code: if lasts.is_some() { 0 } else { NOT_RUN },
                    stdout: String::new(),
                    stderr: "The cloud was restarted while the command ran.\n".into(),
                    how: How::ByItself,
                };
                set(&cx, &scope, &id, state).await?;
            }
            _ => (),
        }
    }
    forget_old(&cx).await?;
    Ok(wake)
}

/// Keeps the fault of an instance's packets as its command says, and ends the command at its time; gives when that is.
async fn harm(
    cx: &Cx,
    id: &str,
    state: &State,
    packets: &[PacketFault],
    duration: Duration,
) -> Result<Option<Timestamp>> {
    let key = format!("ssm/{id}");
    let instance = id.rsplit_once('/').map_or("", |(_, instance)| instance);
    let since = match state {
        State::Pending => cx.now(),
        State::InProgress { since } => *since,
        State::Done { .. } => return faults::set(cx, &key, None).await.map(|()| None),
    };
    let now = cx.now();
    if now >= since + duration {
        faults::set(cx, &key, None).await?;
        let how = How::ByItself;
        let (stdout, stderr) = (String::new(), String::new());
        set(cx, cx.scope(), id, State::Done { since, ended: now, code: 0, stdout, stderr, how }).await?;
        return Ok(None);
    }
    let fault = Fault::Packets { instances: [instance.to_owned()].into(), faults: packets.to_vec() };
    faults::set(cx, &key, Some(fault)).await?;
    if *state == State::Pending {
        set(cx, cx.scope(), id, State::InProgress { since }).await?;
    }
    Ok(Some(since + duration))
}

async fn execute(cx: Cx, key: (Scope, String), invocation: Arc<Invocation>, since: Timestamp, running: Running) {
    let (scope, id) = &key;
    let instance = id.rsplit_once('/').map_or("", |(_, instance)| instance);
    let Work::Script { script, limit_s, .. } = &invocation.work else { return };
    // The command's id is the shell's name, by which it is found when it is cancelled.
    let command = id.split('/').next().unwrap_or_default();
    let argv = ["/bin/sh", "-c", script, command].map(str::to_owned).to_vec();
    let limit = Duration::from_secs(*limit_s);
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
        how: if output.code == TIMED_OUT && cx.now().since(since) >= limit { How::TimedOut } else { How::ByItself },
    };
    if let Err(error) = set(&cx, scope, id, state).await {
        eprintln!("level=error event=command_result_lost command={id} error={:?}", error.to_string());
    }
    running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
}

async fn set(cx: &Cx, scope: &Scope, id: &str, state: State) -> Result<()> {
    cx.txn(|tx| {
        // One that was cancelled meanwhile stays so.
        if let Some(invocation) = tx.get::<Invocation>(scope, id).filter(|one| !matches!(one.state, State::Done { .. }))
        {
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
                    tx.delete::<faults::Faulty>(&scope, &format!("ssm/{invocation}"));
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
