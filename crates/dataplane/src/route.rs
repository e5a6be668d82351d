//! Which rule of a listener a request falls under.
//!
//! Pure: a request's facts in, an answer out. The case rules are ELB's: paths and methods are compared as they are;
//! hosts, header values and query strings without regard to case. Nothing is percent-decoded.

use std::net::Ipv4Addr;

use httparse::Header;
use standfast_core::lb::Condition;

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// As in the Host header; a port is ignored.
    pub host: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    pub headers: &'a [Header<'a>],
    pub source: Ipv4Addr,
}

/// Whether every one of `conditions` holds; no conditions hold always.
pub fn holds_all(conditions: &[Condition], request: &Request<'_>) -> bool {
    conditions.iter().all(|condition| holds(condition, request))
}

fn holds(condition: &Condition, request: &Request<'_>) -> bool {
    match condition {
        Condition::Path(patterns) => any(patterns, request.path, Case::Exact),
        Condition::Host(patterns) => any(patterns, without_port(request.host), Case::Ignored),
        Condition::Method(methods) => methods.iter().any(|method| method == request.method),
        Condition::Header { name, values } => request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .any(|header| values.iter().any(|value| matches(value.as_bytes(), header.value, Case::Ignored))),
        Condition::Query(wanted) => wanted.iter().any(|(key, value)| query_holds(key.as_deref(), value, request.query)),
        Condition::SourceIp(blocks) => blocks.iter().any(|block| block.contains(request.source)),
    }
}

fn any(patterns: &[String], text: &str, case: Case) -> bool {
    patterns.iter().any(|pattern| matches(pattern.as_bytes(), text.as_bytes(), case))
}

fn query_holds(key: Option<&str>, value: &str, query: &str) -> bool {
    query.split('&').filter(|pair| !pair.is_empty()).any(|pair| {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        key.is_none_or(|key| matches(key.as_bytes(), name.as_bytes(), Case::Ignored))
            && matches(value.as_bytes(), text.as_bytes(), Case::Ignored)
    })
}

/// The host of a Host header, without its port.
pub fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()) => &host[..at],
        _ => host,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Exact,
    Ignored,
}

enum Piece {
    Many,
    One,
    Byte(u8),
}

/// The piece of `pattern` that begins at `at`, and how long it is. A backslash makes the next `*` or `?` stand for
/// itself.
fn piece(pattern: &[u8], at: usize) -> (Piece, usize) {
    match (pattern[at], pattern.get(at + 1)) {
        (b'*', _) => (Piece::Many, 1),
        (b'?', _) => (Piece::One, 1),
        (b'\\', Some(&byte @ (b'*' | b'?' | b'\\'))) => (Piece::Byte(byte), 2),
        (byte, _) => (Piece::Byte(byte), 1),
    }
}

/// Matches with one point of return: the last `*` seen. Time is at most the product of both lengths.
fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() {
            match piece(pattern, p) {
                (Piece::Many, width) => {
                    p += width;
                    retry = Some((p, t));
                    continue;
                }
                (Piece::One, width) if t < text.len() => {
                    (p, t) = (p + width, t + 1);
                    continue;
                }
                (Piece::Byte(byte), width) if text.get(t).is_some_and(|&other| same(byte, other, case)) => {
                    (p, t) = (p + width, t + 1);
                    continue;
                }
                _ => {}
            }
        } else if t == text.len() {
            return true;
        }
        match retry {
            Some((after, from)) if from < text.len() => {
                retry = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

fn same(a: u8, b: u8, case: Case) -> bool {
    a == b || case == Case::Ignored && a.eq_ignore_ascii_case(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(headers: &'a [Header<'a>]) -> Request<'a> {
        Request {
            method: "GET",
            host: "Shop.Example.com:8080",
            path: "/img/cat.png",
            query: "color=Red&size=&flag",
            headers,
            source: Ipv4Addr::new(10, 0, 3, 7),
        }
    }

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn wildcards_stand_for_any_characters_or_one() {
        let cases = [
            ("/img/*", "/img/cat.png", true),
            ("/img/*", "/img", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/ac", false),
            ("*.png", "/a.png.png", true),
            ("*a*b*c", "xxaxxbxxbxxc", true),
            ("*a*b*c", "xxaxxbxxbxx", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\?b", "a?b", true),
            ("a\\", "a\\", true),
            ("**", "anything", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), Case::Exact), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn each_condition_has_the_services_case_rules() {
        let headers = [Header { name: "X-Kind", value: b"Beta tester" }];
        let request = request(&headers);
        let cases = [
            (Condition::Path(list(&["/nope", "/img/*"])), true),
            (Condition::Path(list(&["/IMG/*"])), false),
            (Condition::Host(list(&["*.EXAMPLE.com"])), true),
            (Condition::Host(list(&["example.com"])), false),
            (Condition::Method(list(&["POST", "GET"])), true),
            (Condition::Method(list(&["get"])), false),
            (Condition::Header { name: "x-kind".into(), values: list(&["beta*"]) }, true),
            (Condition::Header { name: "x-other".into(), values: list(&["*"]) }, false),
            (Condition::Query(vec![(Some("color".into()), "red".into())]), true),
            (Condition::Query(vec![(Some("size".into()), "?*".into())]), false),
            (Condition::Query(vec![(Some("flag".into()), "*".into())]), true),
            (Condition::Query(vec![(None, "r?d".into())]), true),
            (Condition::SourceIp(vec!["10.0.0.0/16".parse().expect("cidr")]), true),
            (Condition::SourceIp(vec!["10.1.0.0/16".parse().expect("cidr")]), false),
        ];
        for (condition, expected) in &cases {
            assert_eq!(holds(condition, &request), *expected, "{condition:?}");
        }
        let both = [cases[0].0.clone(), cases[1].0.clone()];
        assert!(!holds_all(&both, &request), "all conditions must hold");
        assert!(holds_all(&[], &request), "the default rule has none");
    }

    #[test]
    fn hosts_lose_their_port() {
        for (host, expected) in [("a:80", "a"), ("a", "a"), ("a:", "a"), ("[::1]:80", "[::1]"), ("a:b", "a:b")] {
            assert_eq!(without_port(host), expected);
        }
    }
}
