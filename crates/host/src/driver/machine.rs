//! The life of one instance: a task that asks the rules what to do next and does it, from first boot to removal.
//!
//! Invariant: the task is the only one that changes its instance's phase, and it waits for the init's end (and for
//! proof that nothing of the instance lives) before it shows the instance as down.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions};
use standfast_core::host::{InstanceSpec, NO_CAPACITY, Phase};
use standfast_core::{Id, id::Instance};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::cloud::Cloud;
use super::protocol::{FromInit, Line, Plug, ToInit};
use super::{Start, Verdict};
use crate::rules::{self, Step, Target, ZONE_DARK};

/// How long processes may take to end after SIGTERM, in real time.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// The same when the whole cloud ends and a person waits for it.
pub const CLOUD_SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// How long an init may take until it says that it is up.
const BOOT_LIMIT: Duration = Duration::from_secs(30);
/// How long an init may take to exit after its power was cut, before it is killed itself.
const CUT_LIMIT: Duration = Duration::from_secs(5);
/// How long an init may take beyond the grace.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);
/// Between looks whether an init that closed its socket has exited, which takes microseconds.
const EXIT_POLL: Duration = Duration::from_millis(1);
/// How long to wait before a directory that could not be removed is removed again.
const REMOVE_RETRY: Duration = Duration::from_secs(1);
/// Commands that may wait to be handed to an init.
const REQUESTS_MAX: usize = 16;

/// What the rest of the driver needs of an instance that is up.
pub(crate) struct Live {
    /// Its process, until it is waited for: from then on the number may be a stranger's.
    pub init: Option<Pid>,
    pub plug: Plug,
    pub requests: mpsc::Sender<Request>,
}

/// A command for the init, with who wants to hear of it.
pub(crate) enum Request {
    Exec { n: u64, argv: Vec<String>, started: oneshot::Sender<Started>, ended: oneshot::Sender<i32> },
    EndExec { n: u64 },
}

pub(crate) enum Started {
    Yes,
    No { code: i32, reason: String },
}

/// Lives the life of an instance. Ends when the instance is removed, or off at the end of the cloud.
pub(crate) async fn live(cloud: Arc<Cloud>, id: Id<Instance>, mut target: watch::Receiver<Target>) {
    loop {
        let wanted = *target.borrow_and_update();
        let Some(status) = cloud.status(&id) else { return };
        match rules::next(&status, &wanted) {
            Step::Boot(boot) => {
                let phase = power_on(&cloud, &id, boot, &mut target).await;
                cloud.down(&id, phase);
            }
            Step::Refuse(boot) => {
                // Without the note a cloud that is started again would try the same boot once more, which is harmless.
                let _ = cloud.directory(&id).refuse(cloud.address(&id), boot);
                cloud.show(&id, Phase::Crashed(ZONE_DARK.into()), boot);
            }
            Step::SwitchOff => cloud.show(&id, Phase::Off, status.boot.unwrap_or(0)),
            Step::Remove => {
                let directory = cloud.directory(&id);
                match tokio::task::spawn_blocking(move || directory.remove()).await {
                    // The machine may be short of something. The next cloud with this directory finds it too.
                    Ok(Err(error)) if !cloud.is_closing() => {
                        eprintln!("level=warn event=remove_failed instance={id} error={error:?}");
                        let _ = tokio::time::timeout(REMOVE_RETRY, target.changed()).await;
                    }
                    _ if cloud.forget(&id) => return,
                    _ => {}
                }
            }
            Step::Stay | Step::ShutDown | Step::Cut if cloud.is_closing() => return,
            Step::Stay | Step::ShutDown | Step::Cut => {
                if target.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Boots the instance and stays with it until it is down. Returns the phase that it is down in.
async fn power_on(cloud: &Arc<Cloud>, id: &Id<Instance>, boot: u64, target: &mut watch::Receiver<Target>) -> Phase {
    loop {
        if let Some(phase) = run(cloud, id, boot, target).await {
            return phase;
        }
    }
}

/// One boot. `None` when the instance itself wants to boot again.
async fn run(cloud: &Arc<Cloud>, id: &Id<Instance>, boot: u64, target: &mut watch::Receiver<Target>) -> Option<Phase> {
    let Some(spec) = cloud.spec(id) else { return Some(Phase::Off) };
    cloud.show(id, Phase::Booting, boot);
    let (mut child, line) = match begin(cloud, id, spec, boot).await {
        Ok(begun) => begun,
        Err(error) => {
            let (backend, id) = (cloud.backend.clone(), id.clone());
            let _ = tokio::task::spawn_blocking(move || backend.clean(&id)).await;
            return Some(Phase::Failed(failure(&error)));
        }
    };
    let Some(init) = Pid::from_raw(child.id() as i32) else { return Some(Phase::Failed("no process id".into())) };
    let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
    cloud.up(id, Live { init: Some(init), plug: line.plug(), requests });
    let how = attend(cloud, id, boot, line, inbox, target).await;
    let status = bury(cloud, id, init, &mut child).await;
    Some(match (cloud.cut_reason(id), how) {
        (Some(reason), _) => Phase::Crashed(reason.into()),
        (None, End::Asked) => Phase::Off,
        (None, End::Unasked) => match cloud.backend.verdict(status) {
            Verdict::Reboot => return None,
            Verdict::Off => Phase::Off,
            Verdict::Crashed => Phase::Crashed(format!("its init ended: {}", text(status))),
        },
        (None, End::Early) => Phase::Failed(format!("its init ended before it was up: {}", text(status))),
        (None, End::TooSlow) => Phase::Failed(format!("it was not up within {} s", BOOT_LIMIT.as_secs())),
    })
}

/// Whether an error says that the machine has too little left: memory, processes, descriptors, disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let kinds = [io::ErrorKind::OutOfMemory, io::ErrorKind::StorageFull, io::ErrorKind::WouldBlock];
    let codes = [Errno::MFILE, Errno::NFILE, Errno::USERS];
    kinds.contains(&error.kind()) || Errno::from_io_error(error).is_some_and(|code| codes.contains(&code))
}

/// The text of a boot that failed. What the machine has too little of is told apart from all else.
fn failure(error: &io::Error) -> String {
    let text = error.to_string();
    match text.starts_with(NO_CAPACITY) {
        true => text,
        false if is_full(error) => format!("{NO_CAPACITY}: {text}"),
        false => format!("the instance could not be started: {text}"),
    }
}

fn text(status: Option<ExitStatus>) -> String {
    match status {
        Some(status) if status.signal() == Some(9) => "killed".into(),
        Some(status) => status.to_string(),
        None => "it does not exit".into(),
    }
}

/// Starts the init and tells it what to boot.
async fn begin(cloud: &Arc<Cloud>, id: &Id<Instance>, spec: InstanceSpec, boot: u64) -> io::Result<(Child, Line)> {
    // Few at a time: starting processes is work for the machine, and the rest of the cloud is to stay responsive.
    let _turn = cloud.boots.acquire().await;
    let (directory, address, mark) = (cloud.directory(id), cloud.address(id), cloud.mark(id));
    let start = Start { id: id.clone(), spec, boot, directory, address, mark };
    let begun = cloud.backend.clone().begin(start).await?;
    let line = Line::new(begun.stream)?;
    line.send(&begun.message).await;
    Ok((begun.child, line))
}

/// How an init came to its end.
enum End {
    /// It was told to shut down.
    Asked,
    Unasked,
    /// Before it was up.
    Early,
    /// It was not up in time.
    TooSlow,
}

/// Stays with an instance that is on, until its init closes the socket.
async fn attend(
    cloud: &Arc<Cloud>,
    id: &Id<Instance>,
    boot: u64,
    mut line: Line,
    mut inbox: mpsc::Receiver<Request>,
    target: &mut watch::Receiver<Target>,
) -> End {
    let mut execs = Execs::default();
    let mut up = false;
    let mut asked = false;
    let mut too_slow = false;
    let mut deadline = Some(Instant::now() + BOOT_LIMIT);
    loop {
        let wanted = *target.borrow_and_update();
        if up && !asked && cloud.status(id).is_some_and(|s| rules::next(&s, &wanted) == Step::ShutDown) {
            asked = true;
            let grace = if cloud.is_closing() { CLOUD_SHUTDOWN_GRACE } else { SHUTDOWN_GRACE };
            deadline = Some(Instant::now() + grace + SHUTDOWN_MARGIN);
            cloud.show(id, Phase::ShuttingDown, boot);
            line.send(&ToInit::ShutDown { grace_ms: grace.as_millis() as u64 }).await;
        }
        tokio::select! {
            message = line.next() => match message {
                None => break,
                Some(FromInit::Ready) => {
                    (up, deadline) = (true, None);
                    cloud.show(id, Phase::Running, boot);
                }
                Some(message) => execs.hear(message),
            },
            Some(request) = inbox.recv() => line.send(&execs.take(request)).await,
            Ok(()) = target.changed() => {}
            () = until(deadline) => {
                too_slow = !up;
                deadline = None;
                line.plug().pull();
            }
        }
    }
    match (up, asked) {
        _ if too_slow => End::TooSlow,
        (false, _) => End::Early,
        (true, true) => End::Asked,
        (true, false) => End::Unasked,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The commands that an init is running, and who waits for them.
#[derive(Default)]
struct Execs(HashMap<u64, (Option<oneshot::Sender<Started>>, oneshot::Sender<i32>)>);

impl Execs {
    fn take(&mut self, request: Request) -> ToInit {
        match request {
            Request::EndExec { n } => ToInit::EndExec { n },
            Request::Exec { n, argv, started, ended } => {
                self.0.insert(n, (Some(started), ended));
                ToInit::Exec { n, argv }
            }
        }
    }

    /// A receiver that has gone away no longer wants to hear.
    fn hear(&mut self, message: FromInit) {
        match message {
            FromInit::Ready => {}
            FromInit::ExecStarted { n } => {
                if let Some(started) = self.0.get_mut(&n).and_then(|(started, _)| started.take()) {
                    let _ = started.send(Started::Yes);
                }
            }
            FromInit::ExecRefused { n, code, reason } => {
                if let Some((Some(started), _)) = self.0.remove(&n) {
                    let _ = started.send(Started::No { code, reason });
                }
            }
            FromInit::ExecEnded { n, code } => {
                if let Some((_, ended)) = self.0.remove(&n) {
                    let _ = ended.send(code);
                }
            }
        }
    }
}

/// Waits for the init's exit, makes sure that nothing of the instance is left, and lets go of the process id.
async fn bury(cloud: &Arc<Cloud>, id: &Id<Instance>, init: Pid, child: &mut Child) -> Option<ExitStatus> {
    cloud.backend.leave(id);
    let clean = exit_code(init, CUT_LIMIT).await == Some(0);
    if !clean {
        // It was killed itself, or hangs. Its process id is still ours here, because nobody has waited for it.
        let _ = child.kill();
        let (backend, mark) = (cloud.backend.clone(), cloud.mark(id));
        let _ = tokio::task::spawn_blocking(move || backend.hunt(mark, init)).await;
        exit_code(init, CUT_LIMIT).await;
    }
    cloud.let_go(id);
    let (backend, id) = (cloud.backend.clone(), id.clone());
    let _ = tokio::task::spawn_blocking(move || backend.clean(&id)).await;
    child.try_wait().ok().flatten()
}

/// The exit code of a process that is about to exit, without waiting for it in the kernel's sense; `None` when a
/// signal ended it or it does not exit in time.
async fn exit_code(pid: Pid, limit: Duration) -> Option<i32> {
    let end = Instant::now() + limit;
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), peek) {
            Ok(Some(status)) => return status.exit_status(),
            Ok(None) if Instant::now() < end => tokio::time::sleep_until(Instant::now() + EXIT_POLL).await,
            _ => return None,
        }
    }
}
