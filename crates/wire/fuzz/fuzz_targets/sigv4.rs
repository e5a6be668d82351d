//! Nothing is accepted that was not signed with the secret, and whatever we sign is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use standfast_core::{Fault, Timestamp};
use standfast_wire::sigv4::{Credentials, read_credential, sign, verify};

/// 2026-11-20T00:00:00Z
const NOW: Timestamp = Timestamp(1_795_132_800_000);

fuzz_target!(|data: &[u8]| {
    let Some(mut req) = standfast_wire_fuzz::request(data) else { return };
    let error = verify(&req, "a secret that the fuzzer does not know", NOW).expect_err("nobody signed this");
    assert_eq!(error.fault, Fault::Client);

    // What is left of another signature would be a second one; a hash that the request says may be wrong.
    req.headers_mut().remove("authorization");
    req.headers_mut().remove("x-amz-content-sha256");
    let is_free = matches!(read_credential(&req), Ok(None));
    let own = Credentials { access_key: "AKID".into(), secret_key: "secret".into(), session_token: None };
    for service in ["s3", "ec2"] {
        if is_free && sign(&mut req, &own, "eu-west-1", service, NOW).is_ok() {
            verify(&req, "secret", NOW).expect("signed just now");
        }
    }
});
