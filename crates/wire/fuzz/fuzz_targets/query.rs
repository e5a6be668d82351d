#![no_main]

mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| common::read(standfast_wire::Protocol::Query, data));
