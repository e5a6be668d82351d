//! Any request finds an operation or gets a client's error, and framing and compression come off or are refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use standfast_api::SERVICES;
use standfast_core::Fault;
use standfast_wire::chunked::{GZIP_BYTES_MAX, plain_body};
use standfast_wire::route::{path_style, route};

fuzz_target!(|data: &[u8]| {
    let Some(req) = standfast_wire_fuzz::request(data) else { return };
    let length = req.body().len();
    if let Err(misrouted) = route(SERVICES, &req) {
        assert_eq!(misrouted.error.fault, Fault::Client);
        assert!(misrouted.error.status.is_some_and(|status| (400..500).contains(&status)));
    }
    match plain_body(path_style(req, &["localhost"])) {
        Ok(plain) => assert!(plain.body().len() <= length.max(GZIP_BYTES_MAX)),
        Err(error) => assert_eq!(error.fault, Fault::Client),
    }
});
