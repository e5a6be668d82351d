//! A courier that sends nothing and remembers everything, with endpoints that answer as a test says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use standfast_core::courier::{Courier, Mail, Post, Undelivered};
use standfast_core::{BoxFuture, Clock, Timestamp};

/// How an endpoint takes a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    Refused,
    /// Nobody listens there, on this machine.
    Nobody,
    /// The answer comes after this long.
    Late(Duration, u16),
}

type Endpoints = dyn Fn(&Post) -> Answer + Send + Sync;

pub struct TestCourier {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    endpoints: Arc<Endpoints>,
    posts: Vec<(Timestamp, Post)>,
    mails: Option<Vec<Mail>>,
}

impl TestCourier {
    /// Every endpoint answers 200; there is no mail server.
    pub fn new(clock: Clock) -> Arc<Self> {
        let state = State { endpoints: Arc::new(|_| Answer::Status(200)), posts: Vec::new(), mails: None };
        Arc::new(Self { clock, state: Mutex::new(state) })
    }

    /// From now on endpoints answer so.
    pub fn answer(&self, endpoints: impl Fn(&Post) -> Answer + Send + Sync + 'static) {
        self.state().endpoints = Arc::new(endpoints);
    }

    /// From now on there is a mail server.
    pub fn take_mail(&self) {
        self.state().mails.get_or_insert_default();
    }

    /// What was sent so far, with when it was.
    pub fn posts(&self) -> Vec<(Timestamp, Post)> {
        self.state().posts.clone()
    }

    /// What the mail server took.
    pub fn mails(&self) -> Vec<Mail> {
        self.state().mails.clone().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Courier for TestCourier {
    fn post(&self, post: Post) -> BoxFuture<'static, Result<u16, Undelivered>> {
        let clock = self.clock.clone();
        let endpoints = {
            let mut state = self.state();
            state.posts.push((clock.now(), post.clone()));
            state.endpoints.clone()
        };
        Box::pin(async move {
            match endpoints(&post) {
                Answer::Status(status) => Ok(status),
                Answer::Refused => Err(Undelivered::Passing("connection refused".into())),
                Answer::Nobody => Err(Undelivered::Nobody("connection refused".into())),
                Answer::Late(by, status) => {
                    clock.sleep(by).await;
                    Ok(status)
                }
            }
        })
    }

    fn takes_mail(&self) -> bool {
        self.state().mails.is_some()
    }

    fn mail(&self, mail: Mail) -> BoxFuture<'static, Result<(), Undelivered>> {
        let taken = self.state().mails.as_mut().map(|mails| mails.push(mail));
        Box::pin(async move { taken.ok_or_else(|| Undelivered::Final("there is no mail server".into())) })
    }
}
