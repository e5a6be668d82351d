//! Client tokens: a request that is sent again is answered again and done once.

use std::fmt::{Debug, Write};

use standfast_core::{Error, Result};

use super::errors;
use super::model::ClientToken;

const LENGTH_MAX: usize = 64;

/// A request's token, with a digest of everything that the request says.
pub fn read(token: Option<&str>, request: &impl Debug) -> Result<Option<ClientToken>> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
    if token.len() > LENGTH_MAX {
        return Err(errors::invalid(format!("A client token has at most {LENGTH_MAX} characters.")));
    }
    let mut digest = Fnv::default();
    write!(digest, "{request:?}").expect("a digest takes any text");
    Ok(Some(ClientToken { token: token.to_owned(), digest: digest.0 }))
}

/// Refuses a request whose token came with another request before.
pub fn same_request(now: &ClientToken, before: Option<&ClientToken>) -> Result<()> {
    if before.is_none_or(|before| before.digest == now.digest) {
        return Ok(());
    }
    let message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
    Err(Error::client("IdempotentParameterMismatch", message))
}

/// FNV-1a, 64 bits: tells requests apart, protects nothing.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
