//! What user data consists of: one part, or a MIME message of several; either may be compressed.

use std::io::Read;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// What one part may unpack to.
const UNPACKED_BYTES_MAX: u64 = 16 << 20;
/// How deep messages may be in one another.
const DEPTH_MAX: usize = 4;

/// Something that is done at the first boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It begins with `#!`.
    Script(Vec<u8>),
    CloudConfig(String),
    /// A script for every boot, the first included; its name.
    PerBoot(String, Vec<u8>),
    /// Something that is not done; what it is.
    Unknown(String),
}

/// The parts of user data, in their order. Data that is no text of a known kind is only kept.
pub fn parts(data: &[u8]) -> Vec<Part> {
    let mut found = Vec::new();
    split(data, None, 0, &mut found);
    found
}

fn split(data: &[u8], declared: Option<(&str, &str)>, depth: usize, found: &mut Vec<Part>) {
    let data = unpacked(data);
    let text = String::from_utf8_lossy(&data);
    let begins = |start: &str| data.starts_with(start.as_bytes());
    let (kind, name) = declared.unwrap_or_default();
    if depth < DEPTH_MAX && is_message(&text) {
        message(&data, depth, found);
    } else if kind == "text/x-shellscript-per-boot" || begins("#cloud-boothook") {
        let name = if name.is_empty() { format!("part-{:03}", found.len() + 1) } else { name.to_owned() };
        // What makes it a hook is no interpreter's line.
        let body = data.strip_prefix(b"#cloud-boothook").map_or(data.clone(), <[u8]>::to_vec);
        let body = String::from_utf8_lossy(&body).trim_start().to_owned().into_bytes();
        found.push(Part::PerBoot(name, body));
    } else if begins("#!") {
        found.push(Part::Script(data));
    } else if begins("#cloud-config") || kind == "text/cloud-config" {
        found.push(Part::CloudConfig(text.into_owned()));
    } else if let Some(first) = text.lines().next().filter(|line| begins("#") && declared.is_none() && line.len() < 80)
    {
        found.push(Part::Unknown(first.to_owned()));
    } else if declared.is_some() {
        found.push(Part::Unknown(kind.to_owned()));
    }
}

fn is_message(text: &str) -> bool {
    let head = text.split("\n\n").next().unwrap_or_default().split("\r\n\r\n").next().unwrap_or_default();
    header(head, "content-type").is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/"))
}

fn unpacked(data: &[u8]) -> Vec<u8> {
    if !data.starts_with(&[0x1f, 0x8b]) {
        return data.to_vec();
    }
    let mut bytes = Vec::new();
    match flate2::read::MultiGzDecoder::new(data).take(UNPACKED_BYTES_MAX).read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(_) => data.to_vec(),
    }
}

/// Splits a MIME message at its boundary.
fn message(data: &[u8], depth: usize, found: &mut Vec<Part>) {
    let text = String::from_utf8_lossy(data).replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let Some(boundary) = header(head, "content-type").and_then(|value| parameter(&value, "boundary")) else {
        found.push(Part::Unknown("a MIME message without a boundary".into()));
        return;
    };
    let line = format!("--{boundary}");
    let end = format!("--{boundary}--");
    let mut part: Option<String> = None;
    for text in body.split_inclusive('\n') {
        let bare = text.trim_end();
        if bare == line || bare == end {
            if let Some(part) = part.take() {
                one(&part, depth, found);
            }
            if bare == end {
                return;
            }
            part = Some(String::new());
        } else if let Some(part) = &mut part {
            part.push_str(text);
        }
    }
    if let Some(part) = part {
        one(&part, depth, found);
    }
}

fn one(part: &str, depth: usize, found: &mut Vec<Part>) {
    let (head, body) = match part.strip_prefix('\n') {
        Some(body) => ("", body),
        None => part.split_once("\n\n").unwrap_or((part, "")),
    };
    let encoding = header(head, "content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
    let body = match encoding.trim() {
        "base64" => decode(body).unwrap_or_default(),
        _ => body.as_bytes().to_vec(),
    };
    let kind = header(head, "content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = header(head, "content-disposition").and_then(|value| parameter(&value, "filename")).unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    if kind.starts_with("multipart/") {
        split(part.as_bytes(), None, depth + 1, found);
    } else {
        split(&body, Some((&kind, name)), depth + 1, found);
    }
}

/// Base64 with white space in it.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bare: String = text.split_whitespace().collect();
    GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(bare).ok()
}

/// Unpacks what says that it is packed, and refuses what is not.
pub fn gunzip(data: &[u8]) -> Option<Vec<u8>> {
    data.starts_with(&[0x1f, 0x8b]).then(|| unpacked(data))
}

/// A header's value, with its continuation lines.
fn header(head: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in head.lines() {
        if let Some(value) = value.as_mut().filter(|_| line.starts_with([' ', '\t'])) {
            value.push(' ');
            value.push_str(line.trim());
            continue;
        }
        if value.is_some() {
            break;
        }
        value =
            line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned());
    }
    value
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_how_it_begins() {
        assert_eq!(parts(b"#!/bin/sh\ntrue"), [Part::Script(b"#!/bin/sh\ntrue".to_vec())]);
        assert_eq!(parts(b"#cloud-config\na: b"), [Part::CloudConfig("#cloud-config\na: b".into())]);
        assert_eq!(parts(b"#include\nhttp://x"), [Part::Unknown("#include".into())]);
        assert_eq!(parts(b"key=value"), []);
        assert_eq!(parts(b""), []);
    }

    #[test]
    fn a_message_has_its_parts_in_order() {
        let text = "Content-Type: multipart/mixed;\n boundary=\"==B==\"\nMIME-Version: 1.0\n\n--==B==\n\
             Content-Type: text/cloud-config; charset=\"us-ascii\"\n\nruncmd: [ls]\n--==B==\n\
             Content-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\nIyEvYmlu\nL3NoCg==\n--==B==\n\
             Content-Type: text/x-shellscript-per-boot\nContent-Disposition: attachment; filename=\"a.sh\"\n\n#!/bin/sh\n--==B==--\n";
        let expected = [
            Part::CloudConfig("runcmd: [ls]\n".into()),
            Part::Script(b"#!/bin/sh\n".to_vec()),
            Part::PerBoot("a.sh".into(), b"#!/bin/sh".to_vec()),
        ];
        let seen = parts(text.as_bytes());
        assert_eq!(seen[..2], expected[..2]);
        assert!(matches!(&seen[2], Part::PerBoot(name, _) if name == "a.sh"), "{seen:?}");
        assert_eq!(parts(text.replace('\n', "\r\n").as_bytes()), seen);
    }

    #[test]
    fn compressed_data_is_unpacked() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, b"#!/bin/sh\n").expect("memory");
        let data = packer.finish().expect("memory");
        assert_eq!(parts(&data), [Part::Script(b"#!/bin/sh\n".to_vec())]);
    }
}
