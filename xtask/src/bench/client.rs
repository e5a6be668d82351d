//! Requests as bytes, and one request at a time.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The bytes of a call of the query protocols. Its key is one that no iam knows, so the signature is never looked at.
pub fn call(service: &str, version: &str, action: &str, parameters: &str) -> Vec<u8> {
    let body = format!("Action={action}&Version={version}{parameters}");
    let credential = format!("AKIDBENCH/20260101/eu-west-1/{service}/aws4_request");
    format!(
        "POST / HTTP/1.1\r\nHost: {service}.eu-west-1.amazonaws.com\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={}\r\n\r\n\
         {body}",
        body.len(),
        "0".repeat(64)
    )
    .into_bytes()
}

/// The call that answers with the least work.
pub fn first_call() -> Vec<u8> {
    call("sts", "2011-06-15", "GetCallerIdentity", "")
}

pub fn ec2(action: &str, parameters: &str) -> Vec<u8> {
    call("ec2", "2016-11-15", action, parameters)
}

/// The bytes of a call with a JSON body and a path.
pub fn rest(service: &str, method: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {service}.eu-west-1.amazonaws.com\r\nContent-Type: application/json\r\n\
         X-Amz-Date: 20260101T000000Z\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKIDBENCH/20260101/eu-west-1/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={}\r\n\r\n{body}",
        body.len(),
        "0".repeat(64)
    )
    .into_bytes()
}

/// Sends a request on a connection of its own; the answer's body.
pub fn ask(address: SocketAddrV4, request: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(body) = whole(&answer) {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if !text.starts_with("HTTP/1.1 200") && !text.starts_with("HTTP/1.0 200") {
                bail!("a call failed: {text}");
            }
            return Ok(String::from_utf8_lossy(body).into_owned());
        }
        match stream.read(&mut buffer)? {
            0 => bail!("cut off: {}", String::from_utf8_lossy(&answer)),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
}

/// The body of an answer that is all there.
pub fn whole(answer: &[u8]) -> Option<&[u8]> {
    let head = head_len(answer)?;
    let length = content_length(&answer[..head])?;
    answer.get(head..head + length)
}

/// How long the head is, its empty line included, when it is all there.
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

pub fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\ncontent-length:";
    let at = head.windows(NAME.len()).position(|part| part.eq_ignore_ascii_case(NAME))? + NAME.len();
    let digits = head[at..].iter().skip_while(|b| **b == b' ').take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

/// The text of an XML element that begins with this name.
pub fn element(xml: &str, name: &str) -> Result<String> {
    let found = xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once('<'));
    Ok(found.with_context(|| format!("no <{name}> in {:.300}", xml))?.0.to_owned())
}

/// The texts of all elements of this name.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let begin = format!("<{name}>");
    xml.split(&begin).skip(1).filter_map(|rest| Some(rest.split_once('<')?.0.to_owned())).collect()
}

/// The id of what an answer of fis shows.
pub fn json_id(text: &str) -> Result<String> {
    let answer: serde_json::Value = serde_json::from_str(text)?;
    let shown = answer.as_object().and_then(|object| object.values().next()).context("an empty answer")?;
    Ok(shown["id"].as_str().with_context(|| format!("no id in {text}"))?.to_owned())
}
