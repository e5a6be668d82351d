//! The server's end of a conversation with a process, whoever is at the other end at the moment.
//!
//! Invariant: only the newest level is sent, and none twice over the same connection unless it changed in between; what
//! is shown is the newest observation, or what `Kind::lost` makes of it while nobody is connected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standfast_core::{BoxFuture, Clock};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use super::protocol::{self, Down, Hello, Kind, Up};

/// Calls that may wait for their turn.
const CALLS_MAX: usize = 1024;
/// How long a process may take to end beyond the grace that it was told.
pub const STOP_LIMIT: Duration = Duration::from_secs(20);

type Reply<A> = Box<dyn FnOnce(A) + Send>;

/// A call and who waits for its answer.
pub struct Asked<K: Kind> {
    call: K::Call,
    reply: Reply<K::Answer>,
}

/// See the module's documentation.
pub struct Line<K: Kind> {
    level: watch::Sender<Option<Arc<K::Level>>>,
    observation: Mutex<Arc<K::Observation>>,
    hello: Mutex<Option<Hello>>,
    changes: watch::Sender<()>,
    calls: mpsc::Sender<Asked<K>>,
    /// The grace, once the process is to end.
    stopping: watch::Sender<Option<Duration>>,
    ended: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Kind> Line<K> {
    /// The receiver is for `talk`.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<Asked<K>>) {
        let (calls, inbox) = mpsc::channel(CALLS_MAX);
        let line = Self {
            level: watch::Sender::new(None),
            observation: Mutex::default(),
            hello: Mutex::default(),
            changes: watch::Sender::new(()),
            calls,
            stopping: watch::Sender::new(None),
            ended: watch::Sender::new(false),
        };
        (Arc::new(line), inbox)
    }

    pub fn obey(&self, level: Arc<K::Level>) {
        self.level.send_if_modified(|old| {
            let new = old.as_ref().is_none_or(|old| **old != *level);
            if new {
                *old = Some(level);
            }
            new
        });
    }

    pub fn observe(&self) -> Arc<K::Observation> {
        lock(&self.observation).clone()
    }

    pub fn hello(&self) -> Option<Hello> {
        lock(&self.hello).clone()
    }

    pub fn changed(&self) -> BoxFuture<'static, ()> {
        let mut changes = self.changes.subscribe();
        Box::pin(async move {
            // An error means that the line is gone: nothing will change any more.
            let _ = changes.changed().await;
        })
    }

    /// Asks; an error when the process ends before it answers, or too many calls wait.
    pub fn ask(&self, call: K::Call) -> oneshot::Receiver<K::Answer> {
        let (sender, receiver) = oneshot::channel();
        // Who no longer waits needs no answer.
        self.tell(call, Box::new(move |answer| drop(sender.send(answer))));
        receiver
    }

    /// Asks and blocks the thread, for this long at most. The line must be served by another thread.
    pub fn ask_blocking(&self, call: K::Call, limit: Duration) -> Option<K::Answer> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.tell(call, Box::new(move |answer| drop(sender.send(answer))));
        receiver.recv_timeout(limit).ok()
    }

    /// Asks and waits for nothing.
    pub fn send(&self, call: K::Call) {
        self.tell(call, Box::new(drop));
    }

    fn tell(&self, call: K::Call, reply: Reply<K::Answer>) {
        // A call that is dropped drops its reply, and who waits for it sees that.
        let _ = self.calls.try_send(Asked { call, reply });
    }

    /// Ends the process; resolves when it is gone.
    pub fn stop(&self, grace: Duration) -> BoxFuture<'static, ()> {
        self.stopping.send_replace(Some(grace));
        self.send(K::stop(grace));
        let mut ended = self.ended.subscribe();
        Box::pin(async move {
            // The limit holds when whoever serves the line is gone.
            let _ = tokio::time::timeout(grace + 2 * STOP_LIMIT, ended.wait_for(|ended| *ended)).await;
        })
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Resolves when the process is to end.
    pub async fn stop_asked(&self) -> Duration {
        let mut stopping = self.stopping.subscribe();
        match stopping.wait_for(Option::is_some).await.map(|grace| *grace) {
            Ok(grace) => grace.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Nobody will be connected any more.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Who is connected from now on, and what it shows.
    pub fn greet(&self, hello: Hello, observation: K::Observation) {
        *lock(&self.hello) = Some(hello);
        self.show(observation, true);
    }

    /// The process has died.
    pub fn lose(&self) {
        let last = self.observe();
        let lost = K::lost(&last);
        if lost != *last {
            self.show(lost, true);
        }
    }

    fn show(&self, observation: K::Observation, wake: bool) {
        *lock(&self.observation) = Arc::new(observation);
        if wake {
            self.changes.send_replace(());
        }
    }

    /// Speaks over this connection until it ends, or until the process has not ended in time.
    pub async fn talk(&self, stream: UnixStream, inbox: &mut mpsc::Receiver<Asked<K>>) {
        let (read, write) = stream.into_split();
        // Dropped with the connection, and with it the replies: who waits for them is not left waiting.
        let pending = Mutex::new(HashMap::new());
        let overdue = async {
            let grace = self.stop_asked().await;
            Clock::system(1.0).sleep(grace + STOP_LIMIT).await;
        };
        tokio::select! {
            () = self.hear(read, &pending) => {}
            () = self.speak(write, &pending, inbox) => {}
            () = overdue => {}
        }
    }

    async fn hear(&self, mut read: OwnedReadHalf, pending: &Mutex<HashMap<u64, Reply<K::Answer>>>) {
        loop {
            match protocol::read::<Up<K::Observation, K::Answer>>(&mut read).await {
                Ok(Up::Hello(hello)) => *lock(&self.hello) = Some(hello),
                Ok(Up::Observation(observation)) => self.show(observation, true),
                Ok(Up::Refresh(observation)) => self.show(observation, false),
                Ok(Up::Answer(number, answer)) => {
                    let reply = lock(pending).remove(&number);
                    if let Some(reply) = reply {
                        reply(answer);
                    }
                }
                Err(_) => return,
            }
        }
    }

    async fn speak(
        &self,
        mut write: OwnedWriteHalf,
        pending: &Mutex<HashMap<u64, Reply<K::Answer>>>,
        inbox: &mut mpsc::Receiver<Asked<K>>,
    ) {
        let mut levels = self.level.subscribe();
        levels.mark_changed();
        for number in 0.. {
            let sent = tokio::select! {
                biased; // A call may be about what was published just before it.
                Ok(()) = levels.changed() => {
                    let newest = levels.borrow_and_update().clone();
                    match newest {
                        Some(level) => protocol::write(&mut write, &Down::<&K::Level, K::Call>::Level(&level)).await,
                        None => Ok(()),
                    }
                }
                Some(Asked { call, reply }) = inbox.recv() => {
                    lock(pending).insert(number, reply);
                    protocol::write(&mut write, &Down::<&K::Level, K::Call>::Call(number, call)).await
                }
                else => return,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}
