//! The wire, through its public functions: bytes in, bytes and errors out.

mod chunked;
mod codec;
mod garbage;
mod route;
mod sigv4;
