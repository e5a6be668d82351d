//! The application as its users meet it: a process and a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct App {
    process: Child,
    address: SocketAddr,
}

impl App {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_what-is-the-time"))
            .envs([("STANDFAST_ADDRESS", "127.0.0.1"), ("PORT", "0")])
            .envs([("INSTANCE_ID", "i-0123456789abcdef0"), ("AVAILABILITY_ZONE", "eu-west-1b")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("it speaks");
        let address = line.trim().rsplit('/').next().and_then(|text| text.parse().ok()).expect("an address");
        Self { process, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid time");
        stream
    }

    /// Sends what is given and reads to the end of the connection.
    fn talk(&self, text: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers and closes");
        answer
    }

    fn get(&self, path: &str, headers: &str) -> String {
        self.talk(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn it_tells_the_time_and_who_tells_it() {
    let app = App::start();
    let text = app.get("/", "User-Agent: curl/8\r\nAccept: */*\r\n");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("text/plain"), "{text}");
    assert!(text.ends_with(" UTC from i-0123456789abcdef0 in eu-west-1b\n"), "{text}");
    let page = app.get("/", "User-Agent: Mozilla/5.0\r\nAccept: text/html,*/*\r\n");
    assert!(page.contains("text/html") && page.contains("i-0123456789abcdef0") && page.contains("eu-west-1b"));
}

#[test]
fn it_is_healthy_burns_and_knows_what_it_does_not_have() {
    let app = App::start();
    assert!(app.get("/health", "").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(app.get("/burn?ms=5", "").ends_with("burned 5 ms on i-0123456789abcdef0 in eu-west-1b\n"));
    assert!(app.get("/burn?ms=much", "").starts_with("HTTP/1.1 400 "));
    assert!(app.get("/nothing", "").starts_with("HTTP/1.1 404 "));
    assert!(app.talk("PUT / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 405 "));
}

#[test]
fn bad_requests_get_their_status_and_the_end_of_the_connection() {
    let app = App::start();
    assert!(app.talk("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    assert!(app.talk("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").starts_with("HTTP/1.1 411 "));
    assert!(app.talk("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n").starts_with("HTTP/1.1 413 "));
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(17_000));
    assert!(app.talk(&long).starts_with("HTTP/1.1 431 "));
}

#[test]
fn a_connection_is_kept_and_requests_may_come_in_one_piece() {
    let app = App::start();
    let get = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let put = "PUT /health HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
    let head = "HEAD /health HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answers = app.talk(&format!("{get}{get}{put}{head}"));
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "405", "200"]);
    assert!(answers.ends_with("Connection: close\r\n\r\n"), "HEAD has no body: {answers}");
}

#[test]
fn hundreds_of_connections_are_held_at_the_same_time() {
    let app = App::start();
    let mut streams: Vec<TcpStream> = (0..300).map(|_| app.connect()).collect();
    for _ in 0..2 {
        for stream in &mut streams {
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        }
        for stream in &mut streams {
            let mut start = [0; 15];
            stream.read_exact(&mut start).expect("it answers");
            assert_eq!(&start, b"HTTP/1.1 200 OK");
            read_rest(stream);
        }
    }
}

/// Reads to the end of the answer to `/health`, whose body is `ok` and a line feed.
fn read_rest(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n\r\nok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        rest.push(byte[0]);
    }
}
