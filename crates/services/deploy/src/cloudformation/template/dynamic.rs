//! Dynamic references: `{{resolve:ssm:name:version}}` and their like inside text.
//!
//! Invariant: text without such a reference comes back as it is; a malformed one is refused by CloudFormation's words.
//! Not here: who answers them.

use standfast_core::{Error, Result};

use super::eval::External;
use super::invalid;

const OPENING: &str = "{{resolve:";
const CLOSING: &str = "}}";
/// The longest text that a replacement may grow to.
pub const TEXT_BYTES_MAX: usize = 1_048_576;

/// Replaces every reference of a text by what `answer` gives. A reference that `answer` has no text for stays.
pub fn replace(text: &str, answer: &mut dyn FnMut(External) -> Result<Option<String>>) -> Result<String> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPENING) {
        let Some((inside, behind)) = after.split_once(CLOSING) else { break };
        done.push_str(before);
        match answer(reference(inside)?)? {
            Some(value) => done.push_str(&value),
            None => [OPENING, inside, CLOSING].into_iter().for_each(|part| done.push_str(part)),
        }
        if done.len() > TEXT_BYTES_MAX {
            return Err(invalid("Template error: dynamic references expand to too much text"));
        }
        rest = behind;
    }
    done.push_str(rest);
    Ok(done)
}

/// Whether a text holds a reference.
pub fn is_in(text: &str) -> bool {
    text.contains(OPENING)
}

fn reference(inside: &str) -> Result<External> {
    let bad = || malformed(inside);
    let (service, rest) = inside.split_once(':').ok_or_else(bad)?;
    match service {
        "ssm" | "ssm-secure" => {
            let (name, version) = match rest.split_once(':') {
                Some((name, version)) => (name, Some(version.parse::<u64>().map_err(|_| bad())?)),
                None => (rest, None),
            };
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
            if name.is_empty() || !name.chars().all(allowed) {
                return Err(bad());
            }
            let name = name.to_owned();
            Ok(if service == "ssm" { External::Ssm { name, version } } else { External::SsmSecure { name, version } })
        }
        "secretsmanager" => secret(rest).ok_or_else(bad),
        _ => Err(bad()),
    }
}

/// `id:SecretString:key:stage:version`, all but the id optional; the id may be an ARN, which has colons of its own.
fn secret(rest: &str) -> Option<External> {
    const ARN_PARTS: usize = 7;
    let parts: Vec<&str> = rest.split(':').collect();
    let id_parts = if parts[0] == "arn" { ARN_PARTS } else { 1 };
    let id = parts.get(..id_parts)?.join(":");
    let mut options = parts[id_parts..].iter().copied();
    if !matches!(options.next(), None | Some("" | "SecretString")) || id.is_empty() {
        return None;
    }
    let mut option = || options.next().filter(|text| !text.is_empty()).map(str::to_owned);
    let found = External::Secret { id, json_key: option(), version_stage: option(), version_id: option() };
    options.next().is_none().then_some(found)
}

fn malformed(inside: &str) -> Error {
    let service = inside.split(':').next().unwrap_or_default();
    let kind = match service {
        "ssm" | "ssm-secure" => "SSM",
        "secretsmanager" => "Secrets Manager",
        _ => "dynamic",
    };
    invalid(format!("Incorrect format is used in the following {kind} reference: [{OPENING}{inside}{CLOSING}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let ssm = |name: &str, version| External::Ssm { name: name.into(), version };
        assert_eq!(reference("ssm:/a/b").unwrap(), ssm("/a/b", None));
        assert_eq!(reference("ssm:x:3").unwrap(), ssm("x", Some(3)));
        assert_eq!(reference("ssm-secure:x").unwrap(), External::SsmSecure { name: "x".into(), version: None });
        let arn = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:db-AbCdEf";
        for (text, id, key, stage) in [
            ("db", "db", None, None),
            ("db:SecretString:password", "db", Some("password"), None),
            ("db:SecretString:password:AWSPREVIOUS", "db", Some("password"), Some("AWSPREVIOUS")),
            (&format!("{arn}:SecretString:user::"), arn, Some("user"), None),
            (arn, arn, None, None),
        ] {
            let want = External::Secret {
                id: id.into(),
                json_key: key.map(Into::into),
                version_stage: stage.map(Into::into),
                version_id: None,
            };
            assert_eq!(reference(&format!("secretsmanager:{text}")).unwrap(), want, "{text}");
        }
        for bad in [
            "ssm",
            "ssm:",
            "ssm:a:b",
            "ssm:a b",
            "vault:a",
            "secretsmanager:",
            "secretsmanager:a:Binary",
            "secretsmanager:arn:x",
        ] {
            assert!(reference(bad).unwrap_err().message.starts_with("Incorrect format"), "{bad}");
        }
    }
}
