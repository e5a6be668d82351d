//! Bytes that mean harm: the loop answers or closes, and serves the next one.

use std::io::{Read, Write};
use std::net::TcpStream;

use standfast_core::Rng;

use crate::support::*;

const SEED: u64 = 0x5eed;
const ROUNDS: usize = 300;
/// Pieces that bring random input further than random bytes alone.
const PIECES: [&str; 16] = [
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "HEAD * HTTP/1.0\r\n",
    "Host: a\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: upgrade, x\r\n",
    "Upgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "\n",
    ": \r\n",
    "HTTP/1.1 200 OK\r\n",
];

fn noise(rng: &Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.below(12) {
        match rng.below(4) {
            0 => bytes.extend((0..rng.below(20)).map(|_| rng.below(256) as u8)),
            _ => bytes.extend_from_slice(PIECES[rng.below(PIECES.len())].as_bytes()),
        }
    }
    bytes
}

fn throw(cloud: &Cloud, bytes: &[u8], cut: usize) {
    let mut stream = TcpStream::connect(cloud.address(0)).expect("the loop lives");
    for piece in bytes.chunks(cut.max(1)) {
        if stream.write_all(piece).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn garbage_from_clients_harms_nobody_else() {
    let backend = Backend::named("a");
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let rng = Rng::seeded(SEED);
    for round in 0..ROUNDS {
        let bytes = noise(&rng);
        throw(&cloud, &bytes, rng.below(bytes.len() + 1));
        assert_eq!(cloud.get("/").text(), "a", "seed {SEED}, round {round}: {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn garbage_from_targets_harms_nobody_else() {
    let rng = Rng::seeded(SEED + 1);
    let backend = Backend::start(move |got, stream| {
        if got.path() == "/good" {
            return answer(stream, 200, b"good");
        }
        let mut bytes = noise(&rng);
        if rng.below(2) == 0 {
            bytes.splice(0..0, *b"HTTP/1.1 200 OK\r\n");
        }
        let _ = stream.write_all(&bytes);
        After::Close
    });
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    for round in 0..ROUNDS {
        throw(&cloud, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 1000);
        assert_eq!(cloud.get("/good").text(), "good", "seed {}, round {round}", SEED + 1);
    }
}
