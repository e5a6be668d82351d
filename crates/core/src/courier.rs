//! What carries notifications out of a cloud: requests to people's endpoints, and e-mail.
//!
//! Not here: what is sent, and whether it is tried again.

use crate::BoxFuture;

/// A request to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// `http://` or `https://`
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// An e-mail, of plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// An address, or a name and an address in angle brackets.
    pub from: String,
    pub to: String,
    pub subject: String,
    pub body: String,
}

/// Why something did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// It may arrive another time.
    Passing(String),
    /// Nobody listens there, on this very machine; it may arrive another time.
    Nobody(String),
    /// It never will.
    Final(String),
}

pub trait Courier: Send + Sync + 'static {
    /// Sends a request and gives the status of the answer.
    fn post(&self, post: Post) -> BoxFuture<'static, Result<u16, Undelivered>>;

    /// Whether there is a server that takes e-mail; without one it stays in the cloud.
    fn takes_mail(&self) -> bool;

    fn mail(&self, mail: Mail) -> BoxFuture<'static, Result<(), Undelivered>>;
}
