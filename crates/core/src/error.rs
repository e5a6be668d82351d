//! The one error a caller can see: AWS's code, a message that names the member and the value, and whose fault it is.

use std::borrow::Cow;
use std::fmt;

/// The result of every handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose mistake it is: the caller's (4xx) or ours (5xx).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Client,
    Server,
}

/// An error in AWS's terms. The pipeline puts it into the envelope of the request's protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code on the wire, for example `InvalidInstanceID.NotFound`.
    pub code: Cow<'static, str>,
    pub message: String,
    pub fault: Fault,
    /// The HTTP status where it is not the model's (or 400 and 500).
    pub status: Option<u16>,
}

impl Error {
    /// A mistake of the caller.
    pub fn client(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), fault: Fault::Client, status: None }
    }

    /// A broken invariant of ours: answered with 500 `InternalFailure`.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { code: "InternalFailure".into(), message: message.into(), fault: Fault::Server, status: None }
    }

    /// A passing condition: answered with 503, clients retry.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: "ServiceUnavailable".into(), message: message.into(), fault: Fault::Server, status: Some(503) }
    }

    /// The same error with another HTTP status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Whether the code is this one.
    pub fn is(&self, code: &str) -> bool {
        self.code == code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}
