//! Values as XML, written straight into the answer.

use super::text;
use crate::schema::{Location, MapSchema, Member, TimeFormat, Type};
use crate::value::{Struct, Value};

/// The namespace of `xsi:type` attributes, the only ones with a prefix.
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// `<name>`, and `xmlns` when there is one.
pub(super) fn open(out: &mut String, name: &str, namespace: &str) {
    out.push('<');
    out.push_str(name);
    if !namespace.is_empty() {
        out.push_str(" xmlns=\"");
        escape_attribute(out, namespace);
        out.push('"');
    }
    out.push('>');
}

pub(super) fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// `<name>text</name>`
pub(super) fn element(out: &mut String, name: &str, content: &str) {
    open(out, name, "");
    escape(out, content);
    close(out, name);
}

/// A structure as an element of this name.
pub(super) fn root(out: &mut String, name: &str, namespace: &str, value: &Struct) {
    open(out, name, namespace);
    let inside = out.len() - 1;
    attributes(out, inside, value);
    members(out, value);
    close(out, name);
}

/// The elements of a structure's members, other than those that travel outside the body.
pub(super) fn members(out: &mut String, value: &Struct) {
    for (member, value) in value.schema.members.iter().zip(&value.slots) {
        if !value.is_null() && member.location == Location::Body && !member.xml_attribute {
            write_member(out, member, value);
        }
    }
}

fn write_member(out: &mut String, member: &Member, value: &Value) {
    match (&member.ty, value) {
        (Type::List(list), Value::List(items)) if list.flattened => {
            for item in items {
                write_value(out, member.wire, &list.item, item);
            }
        }
        (Type::Map(map), Value::Map(entries)) if map.flattened => write_entries(out, member.wire, map, entries),
        (ty, value) => write_value(out, member.wire, ty, value),
    }
}

fn write_value(out: &mut String, name: &str, ty: &Type, value: &Value) {
    match (ty, value) {
        (_, Value::Null) => {}
        (Type::Struct(_), Value::Struct(inner)) => root(out, name, "", inner),
        (Type::List(list), Value::List(items)) => {
            if items.is_empty() {
                return empty(out, name);
            }
            open(out, name, "");
            for item in items {
                write_value(out, list.wire, &list.item, item);
            }
            close(out, name);
        }
        (Type::Map(map), Value::Map(entries)) => {
            if entries.is_empty() {
                return empty(out, name);
            }
            open(out, name, "");
            write_entries(out, "entry", map, entries);
            close(out, name);
        }
        (_, Value::String(content)) => element(out, name, content),
        (Type::Document, value) => {
            let mut json = String::new();
            text::write(&mut json, ty, value, TimeFormat::Iso8601);
            element(out, name, &json);
        }
        (ty, value) => {
            open(out, name, "");
            // Numbers, booleans, times and base64 hold nothing to escape.
            text::write(out, ty, value, TimeFormat::Iso8601);
            close(out, name);
        }
    }
}

fn write_entries(out: &mut String, name: &str, map: &MapSchema, entries: &[(String, Value)]) {
    for (key, value) in entries {
        open(out, name, "");
        element(out, map.key_wire, key);
        write_value(out, map.value_wire, &map.value, value);
        close(out, name);
    }
}

fn empty(out: &mut String, name: &str) {
    out.push('<');
    out.push_str(name);
    out.push_str("/>");
}

/// Puts the members that are attributes into the tag that ends at `end`.
fn attributes(out: &mut String, end: usize, value: &Struct) {
    let mut tag = String::new();
    for (member, value) in value.schema.members.iter().zip(&value.slots) {
        if value.is_null() || !member.xml_attribute {
            continue;
        }
        if member.wire.starts_with("xsi:") && !tag.contains("xmlns:xsi") {
            tag.push_str(" xmlns:xsi=\"");
            tag.push_str(XSI);
            tag.push('"');
        }
        let mut content = String::new();
        text::write(&mut content, &member.ty, value, TimeFormat::Iso8601);
        tag.push(' ');
        tag.push_str(member.wire);
        tag.push_str("=\"");
        escape_attribute(&mut tag, &content);
        tag.push('"');
    }
    if !tag.is_empty() {
        out.insert_str(end, &tag);
    }
}

/// Escapes text between tags. Characters that XML 1.0 has no way to write become U+FFFD.
pub(super) fn escape(out: &mut String, text: &str) {
    escape_where(out, text, |c| match c {
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '&' => Some("&amp;"),
        '"' => Some("&quot;"),
        // A reader would turn it into a line feed.
        '\r' => Some("&#xD;"),
        '\n' | '\t' => None,
        '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => Some("\u{fffd}"),
        _ => None,
    });
}

/// Escapes text between quotes, where readers also turn line feeds and tabs into spaces.
fn escape_attribute(out: &mut String, text: &str) {
    escape_where(out, text, |c| match c {
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '&' => Some("&amp;"),
        '"' => Some("&quot;"),
        '\r' => Some("&#xD;"),
        '\n' => Some("&#xA;"),
        '\t' => Some("&#x9;"),
        '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => Some("\u{fffd}"),
        _ => None,
    });
}

/// All that is replaced is in ASCII or begins with 0xEF, so most text is passed over by bytes.
static MAY_NEED_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = byte < b' ' as usize || matches!(byte as u8, b'<' | b'>' | b'&' | b'"' | 0xEF);
        byte += 1;
    }
    table
};

fn escape_where(out: &mut String, text: &str, replacement: impl Fn(char) -> Option<&'static str>) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !MAY_NEED_ESCAPE[usize::from(byte)] {
            continue;
        }
        let c = text[at..].chars().next().expect("a character begins at this byte");
        if let Some(instead) = replacement(c) {
            out.push_str(&text[from..at]);
            out.push_str(instead);
            from = at + c.len_utf8();
        }
    }
    out.push_str(&text[from..]);
}
