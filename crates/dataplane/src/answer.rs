//! Answers that the load balancer gives itself: errors, fixed responses and redirects.

use standfast_core::Timestamp;

use crate::table::Redirect;

/// What an answer needs to know of its request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub host: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    /// The listener's port.
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'a str,
}

/// How the answer is sent.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub keep_alive: bool,
    /// The request was HEAD: no body follows.
    pub head_only: bool,
    pub now: Timestamp,
}

/// An error page in the shape that ELB gives it.
pub fn error(out: &mut Vec<u8>, status: u16, manner: Manner) {
    let reason = reason(status);
    let body = format!(
        "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<center><h1>{status} {reason}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    write(out, status, "text/html", None, body.as_bytes(), manner);
}

pub fn fixed(out: &mut Vec<u8>, status: u16, content_type: &str, body: &str, manner: Manner) {
    let content_type = if content_type.is_empty() { "text/plain; charset=utf-8" } else { content_type };
    write(out, status, content_type, None, body.as_bytes(), manner);
}

pub fn redirect(out: &mut Vec<u8>, redirect: &Redirect, asked: Asked<'_>, manner: Manner) {
    let location = location(redirect, asked);
    let reason = reason(redirect.status);
    let body = format!(
        "<html>\r\n<head><title>{0} {reason}</title></head>\r\n<body>\r\n<center><h1>{0} {reason}</h1></center>\r\n</body>\r\n</html>\r\n",
        redirect.status
    );
    write(out, redirect.status, "text/html", Some(&location), body.as_bytes(), manner);
}

fn write(out: &mut Vec<u8>, status: u16, content_type: &str, location: Option<&str>, body: &[u8], manner: Manner) {
    let mut line = |text: &str| out.extend_from_slice(text.as_bytes());
    line(&format!(
        "HTTP/1.1 {status} {}\r\nServer: awselb/2.0\r\nDate: {}\r\n",
        reason(status),
        manner.now.http_date()
    ));
    if let Some(location) = location {
        line(&format!("Location: {location}\r\n"));
    }
    if status != 204 && status != 304 {
        line(&format!("Content-Type: {}\r\nContent-Length: {}\r\n", clean(content_type), body.len()));
    }
    line(if manner.keep_alive { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" });
    if !manner.head_only && status != 204 && status != 304 {
        out.extend_from_slice(body);
    }
}

/// The URL that a redirect leads to. Parts that are empty stay as they were asked for.
fn location(redirect: &Redirect, asked: Asked<'_>) -> String {
    let host = crate::route::without_port(asked.host);
    let port = asked.port.to_string();
    let path = asked.path.strip_prefix('/').unwrap_or(asked.path);
    let fill = |template: &str, default: &str| {
        let template = if template.is_empty() { default } else { template };
        template
            .replace("#{protocol}", asked.scheme)
            .replace("#{host}", host)
            .replace("#{port}", &port)
            .replace("#{path}", path)
            .replace("#{query}", asked.query)
    };
    let protocol = fill(&redirect.protocol, "#{protocol}").to_ascii_lowercase();
    let host = fill(&redirect.host, "#{host}");
    let port = fill(&redirect.port, "#{port}");
    let path = fill(&redirect.path, "/#{path}");
    let query = fill(&redirect.query, "");
    let mark = if query.is_empty() { "" } else { "?" };
    clean(&format!("{protocol}://{host}:{port}{path}{mark}{query}"))
}

/// Without control characters, so that no value can end its header.
fn clean(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(parts: [&str; 5]) -> Redirect {
        let [protocol, host, port, path, query] = parts.map(str::to_owned);
        Redirect { status: 301, protocol, host, port, path, query }
    }

    #[test]
    fn redirects_fill_in_the_parts_of_the_request() {
        let asked = Asked { host: "shop.example:8080", path: "/a/b", query: "x=1", port: 80, scheme: "http" };
        let cases = [
            (["HTTPS", "#{host}", "443", "/#{path}", "#{query}"], "https://shop.example:443/a/b?x=1"),
            (["#{protocol}", "other.example", "#{port}", "/new/#{path}", ""], "http://other.example:80/new/a/b"),
            (["", "", "", "", ""], "http://shop.example:80/a/b"),
            (["http", "h\r\nX: 1", "80", "/", ""], "http://hX: 1:80/"),
        ];
        for (parts, expected) in cases {
            assert_eq!(location(&template(parts), asked), expected);
        }
    }

    #[test]
    fn errors_have_the_services_shape() {
        let mut out = Vec::new();
        let manner = Manner { keep_alive: true, head_only: false, now: Timestamp(0) };
        error(&mut out, 502, manner);
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("HTTP/1.1 502 Bad Gateway\r\nServer: awselb/2.0\r\n"), "{text}");
        assert!(text.contains("\r\n\r\n<html>\r\n<head><title>502 Bad Gateway</title></head>"), "{text}");
        let mut out = Vec::new();
        fixed(&mut out, 204, "", "ignored", manner);
        assert!(out.ends_with(b"\r\n\r\n"), "204 has no body");
    }
}
