//! Any bytes as a request in cbor are read or refused.
#![no_main]

mod reading;

libfuzzer_sys::fuzz_target!(|data: &[u8]| reading::read(standfast_wire::Protocol::Cbor, data));
