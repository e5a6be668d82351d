//! Single values as text: in forms, XML, headers, paths and query strings.

use std::fmt::Write;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use standfast_core::Timestamp;

use super::bad::Bad;
use super::limits;
use crate::schema::{TimeFormat, Type};
use crate::value::Value;

/// Base64 as clients send it: padded or not.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads a single value. Structures, lists and maps have no text.
pub(super) fn read(text: &str, ty: &Type, default_time: TimeFormat) -> Result<Value, Bad> {
    Ok(match ty {
        Type::String(_) => Value::String(text.to_owned()),
        Type::Bool => match text.trim() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(Bad::kind(text, "a boolean")),
        },
        Type::Int(_) => match text.trim().parse::<i32>() {
            Ok(i) => Value::Int(i64::from(i)),
            Err(_) => return Err(Bad::kind(text, "an integer")),
        },
        Type::Long(_) => match text.trim().parse() {
            Ok(i) => Value::Int(i),
            Err(_) => return Err(Bad::kind(text, "a long integer")),
        },
        Type::Float(_) => Value::Float(f64::from(read_float(text)? as f32)),
        Type::Double(_) => Value::Float(read_float(text)?),
        Type::Blob(_) => match BASE64.decode(text.trim()) {
            Ok(bytes) => Value::Blob(bytes),
            Err(_) => return Err(Bad::kind(text, "base64 text")),
        },
        Type::Timestamp(format) => Value::Time(read_time(text.trim(), format.unwrap_or(default_time))?),
        Type::Document => match serde_json::from_str(text) {
            Ok(json) => Value::Document(Box::new(json)),
            Err(_) => return Err(Bad::kind(text, "JSON")),
        },
        Type::List(_) => return Err(Bad::kind(text, "a list")),
        Type::Map(_) => return Err(Bad::kind(text, "a map")),
        Type::Struct(_) => return Err(Bad::kind(text, "a structure")),
    })
}

fn read_float(text: &str) -> Result<f64, Bad> {
    let text = text.trim();
    match text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        // Rust also reads "inf" and "nan", which no service does.
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => {
            text.parse().map_err(|_| Bad::kind(text, "a number"))
        }
        _ => Err(Bad::kind(text, "a number")),
    }
}

/// Reads a time. The format is what is expected; the other textual forms are understood as well.
pub(super) fn read_time(text: &str, format: TimeFormat) -> Result<Timestamp, Bad> {
    let parsed = match format {
        TimeFormat::Epoch => text.parse().ok().and_then(seconds).or_else(|| text.parse().ok()),
        TimeFormat::Iso8601 | TimeFormat::HttpDate => text.parse().ok(),
    };
    parsed.and_then(writable).ok_or_else(|| Bad::kind(text, "a timestamp"))
}

/// The time that is this many seconds after 1970, when it can be written in every format.
pub(super) fn seconds(seconds: f64) -> Option<Timestamp> {
    writable(Timestamp::from_seconds(seconds)).filter(|_| seconds.is_finite())
}

fn writable(time: Timestamp) -> Option<Timestamp> {
    limits::TIME_SECONDS.contains(&time.0.div_euclid(1000)).then_some(time)
}

/// Writes a single value as text, without escaping.
pub(super) fn write(out: &mut String, ty: &Type, value: &Value, default_time: TimeFormat) {
    match value {
        Value::Null => {}
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => write_int(out, *i),
        Value::Float(f) => write_float(out, *f, matches!(ty, Type::Float(_))),
        Value::String(s) => out.push_str(s),
        Value::Blob(bytes) => BASE64.encode_string(bytes, out),
        Value::Time(time) => write_time(out, *time, time_format(ty, default_time)),
        Value::Document(json) => write!(out, "{json}").expect("a string takes all text"),
        Value::List(_) | Value::Map(_) | Value::Struct(_) => panic!("not a single value: {value:?}"),
    }
}

/// The format in which a member's times are written.
pub(super) fn time_format(ty: &Type, default: TimeFormat) -> TimeFormat {
    match ty {
        Type::Timestamp(Some(format)) => *format,
        _ => default,
    }
}

pub(super) fn write_int(out: &mut String, value: i64) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// The shortest text that reads back as the same number. `single` is for 32-bit floats.
pub(super) fn write_float(out: &mut String, value: f64, single: bool) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if single {
        write!(out, "{:?}", value as f32).expect("a string takes all text");
    } else {
        write!(out, "{value:?}").expect("a string takes all text");
    }
}

pub(super) fn write_time(out: &mut String, time: Timestamp, format: TimeFormat) {
    match format {
        TimeFormat::Iso8601 => out.push_str(&time.iso8601()),
        TimeFormat::HttpDate => out.push_str(&time.http_date()),
        TimeFormat::Epoch => write_epoch(out, time),
    }
}

/// Seconds with as many decimals as the time has, at most three.
fn write_epoch(out: &mut String, time: Timestamp) {
    let (whole, millis) = (time.0.unsigned_abs() / 1000, time.0.unsigned_abs() % 1000);
    if time.0 < 0 {
        out.push('-');
    }
    write!(out, "{whole}").expect("a string takes all text");
    if millis != 0 {
        let decimals = format!(".{millis:03}");
        out.push_str(decimals.trim_end_matches('0'));
    }
}
