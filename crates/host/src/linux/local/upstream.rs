//! Asks the machine's resolvers for names that no VPC knows, where a cloud is open to the real internet.
//!
//! Questions and answers pass as they are: what is not understood here (new kinds of records) is passed too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::dns::Transport;
use super::egress::Outside;

/// Where the machine says who its resolvers are, and which one is meant when it does not.
const RESOLVERS_FILE: &str = "/etc/resolv.conf";
const RESOLVER_DEFAULT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PORT: u16 = 53;

/// As many as the machine's own programs ask, and how long each may take: clients wait for 5 s before they ask again.
const RESOLVERS_MAX: usize = 3;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

const HEADER_BYTES: usize = 12;
const ANSWER_BYTES_MAX: usize = u16::MAX as usize;

/// The machine's resolvers, as they are now.
pub fn of_machine() -> Vec<SocketAddr> {
    resolvers(&std::fs::read_to_string(RESOLVERS_FILE).unwrap_or_default())
}

fn resolvers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let mut found: Vec<IpAddr> = lines.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect();
    if found.is_empty() {
        found.push(RESOLVER_DEFAULT);
    }
    found.into_iter().map(|address| (address, PORT).into()).collect()
}

/// The answer of the first resolver that has one.
pub async fn ask(outside: &Outside, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
    for resolver in (outside.resolvers)().into_iter().take(RESOLVERS_MAX) {
        let asked = async {
            match transport {
                Transport::Udp => over_udp(resolver, question).await,
                Transport::Tcp => over_tcp(resolver, question).await,
            }
        };
        if let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_LIMIT, asked).await {
            return Some(answer);
        }
    }
    None
}

async fn over_udp(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answers(&answer[..length], question) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(resolver: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    stream.write_all(&framed(question)?).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answers(&answer, question) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A message as it goes over TCP.
pub fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut framed = u16::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    framed.extend(message);
    Ok(framed)
}

/// Whether one message is the answer to another, and no stranger's guess.
fn answers(answer: &[u8], question: &[u8]) -> bool {
    let is_reply = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let same_question = match (asked(answer), asked(question)) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        _ => false,
    };
    is_reply && answer.get(..2) == question.get(..2) && same_question
}

/// A message's first question: name, type and class.
fn asked(message: &[u8]) -> Option<&[u8]> {
    const LABEL_BYTES_MAX: u8 = 63;
    const TYPE_AND_CLASS_BYTES: usize = 4;
    let mut at = HEADER_BYTES;
    loop {
        match *message.get(at)? {
            0 => return message.get(HEADER_BYTES..at + 1 + TYPE_AND_CLASS_BYTES),
            length if length <= LABEL_BYTES_MAX => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::linux::local::Dial;

    #[test]
    fn resolvers_are_those_that_the_machine_names() {
        let text = "# nameserver 9.9.9.9\nsearch example.net\nnameserver 127.0.0.53\n nameserver\t192.168.1.1 # home\n\
                    nameserver fe80::1%eth0\nnameserver 2001:db8::1\n";
        let expected = ["127.0.0.53:53", "192.168.1.1:53", "[2001:db8::1]:53"];
        assert_eq!(resolvers(text), expected.map(|text| text.parse().expect("an address")));
        assert_eq!(resolvers(""), [SocketAddr::from(([127, 0, 0, 1], 53))]);
    }

    #[test]
    fn answers_are_to_the_question_that_was_asked() {
        let question = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02ab\x00\x00\x01\x00\x01";
        let mut answer = question.to_vec();
        assert!(!answers(&answer, question), "a question is none");
        answer[2] |= 0x80;
        answer.extend(b"and records");
        assert!(answers(&answer, question));
        for (at, what) in [(1, "another id"), (13, "another name"), (17, "another type")] {
            let mut other = answer.clone();
            other[at] ^= 1;
            assert!(!answers(&other, question), "{what}");
        }
        assert!(!answers(&answer[..19], question), "cut off");
    }

    #[tokio::test]
    async fn the_next_resolver_is_asked_when_one_does_not_answer() {
        const QUESTION: &[u8] = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02ab\x00\x00\x01\x00\x01";
        let loopback = (Ipv4Addr::LOCALHOST, 0);
        // One that nobody listens on any more, and one port for both transports.
        let closed = UdpSocket::bind(loopback).await.and_then(|socket| socket.local_addr()).expect("a free port");
        let tcp = tokio::net::TcpListener::bind(loopback).await.expect("a free port");
        let address = tcp.local_addr().expect("it is bound");
        let Ok(udp) = UdpSocket::bind(address).await else { return eprintln!("SKIPPED: the port is another's") };
        let answer = |question: &[u8]| [&question[..2], &[0x81], &question[3..], b"records"].concat();
        tokio::spawn(async move {
            let mut question = [0; 512];
            let (length, client) = udp.recv_from(&mut question).await?;
            // What is no answer to the question is not taken for one.
            udp.send_to(b"nonsense", client).await?;
            udp.send_to(&answer(&question[..length]), client).await?;
            let (mut stream, _) = tcp.accept().await?;
            let length = usize::from(stream.read_u16().await?);
            stream.read_exact(&mut question[..length]).await?;
            stream.write_all(&framed(&answer(&question[..length]))?).await
        });
        let dial: Dial = Arc::new(|_| Box::pin(async { unreachable!("names are not dialled") }));
        let outside = Outside { dial, resolvers: Arc::new(move || vec![closed, address]) };
        for transport in [Transport::Udp, Transport::Tcp] {
            let said = ask(&outside, QUESTION, transport).await.expect("the second one answers");
            assert!(said.ends_with(b"records"), "{transport:?}: {said:?}");
        }
        let nobody = Outside { resolvers: Arc::new(move || vec![closed]), ..outside };
        assert_eq!(ask(&nobody, QUESTION, Transport::Udp).await, None);
    }
}
