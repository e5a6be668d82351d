//! Conditions of rules: what a request may say, as records; and back. Pure.

use std::net::Ipv6Addr;

use standfast_api::elbv2 as api;
use standfast_core::{Cidr, Result};

use super::errors::{unavailable, validation};
use super::model::Condition;

/// Over all conditions of a rule.
const VALUES_MAX: usize = 5;
const WILDCARDS_MAX: usize = 5;
const VALUE_LENGTH_MAX: usize = 128;
const HEADER_NAME_LENGTH_MAX: usize = 40;
const METHOD_LENGTH_MAX: usize = 40;
/// What a path pattern may hold besides letters and digits.
const PATH_CHARACTERS: &str = "_-.$/~\"'@:+&*?()!,;=%\\";
const HOST_CHARACTERS: &str = "-.*?_";
const HEADER_NAME_CHARACTERS: &str = "!#$%&'*+-.^_`|~";

/// The conditions of a rule that is not the default.
pub fn parse(given: &[api::RuleCondition]) -> Result<Vec<Condition>> {
    if given.is_empty() {
        return Err(validation("A condition must be specified"));
    }
    let parsed = given.iter().map(one).collect::<Result<Vec<_>>>()?;
    let values: usize = parsed.iter().map(values_count).sum();
    if values > VALUES_MAX {
        return Err(validation(format!("A rule can only have '{VALUES_MAX}' condition values")));
    }
    if parsed.iter().map(wildcards).sum::<usize>() > WILDCARDS_MAX {
        return Err(validation(format!("A rule can only have '{WILDCARDS_MAX}' condition wildcards")));
    }
    for field in ["path-pattern", "host-header", "http-request-method", "source-ip"] {
        if parsed.iter().filter(|condition| self::field(condition) == field).count() > 1 {
            return Err(validation(format!("A rule can only have one '{field}' condition")));
        }
    }
    Ok(parsed)
}

fn one(given: &api::RuleCondition) -> Result<Condition> {
    let regex = |values: &Option<Vec<String>>| values.as_ref().is_some_and(|values| !values.is_empty());
    if regex(&given.regex_values)
        || given.path_pattern_config.as_ref().is_some_and(|config| regex(&config.regex_values))
        || given.host_header_config.as_ref().is_some_and(|config| regex(&config.regex_values))
        || given.http_header_config.as_ref().is_some_and(|config| regex(&config.regex_values))
    {
        return Err(unavailable("Regular expressions in conditions"));
    }
    let field = given.field.as_deref().unwrap_or_default();
    let values = |configured: Option<&Option<Vec<String>>>| {
        let configured = configured.and_then(|values| values.clone());
        configured.or_else(|| given.values.clone()).unwrap_or_default()
    };
    let condition = match field {
        "path-pattern" => Condition::Path(values(given.path_pattern_config.as_ref().map(|config| &config.values))),
        "host-header" => Condition::Host(values(given.host_header_config.as_ref().map(|config| &config.values))),
        "http-request-method" => {
            Condition::Method(values(given.http_request_method_config.as_ref().map(|config| &config.values)))
        }
        "source-ip" => Condition::SourceIp(values(given.source_ip_config.as_ref().map(|config| &config.values))),
        "http-header" => {
            let config = given.http_header_config.clone().unwrap_or_default();
            let name = config.http_header_name.unwrap_or_default();
            Condition::Header { name, values: config.values.unwrap_or_default() }
        }
        "query-string" => {
            let config = given.query_string_config.clone().unwrap_or_default();
            let pair = |pair: api::QueryStringKeyValuePair| (pair.key, pair.value.unwrap_or_default());
            Condition::Query(config.values.unwrap_or_default().into_iter().map(pair).collect())
        }
        "" => return Err(validation("A condition field must be specified")),
        other => {
            return Err(validation(format!(
                "Condition field '{other}' must be one of '[path-pattern, host-header, http-header, \
                 http-request-method, query-string, source-ip]'"
            )));
        }
    };
    check(&condition)?;
    Ok(condition)
}

fn check(condition: &Condition) -> Result<()> {
    if values_count(condition) == 0 {
        return Err(validation("A condition value must be specified"));
    }
    match condition {
        Condition::Path(values) => texts(values, |c| c.is_ascii_alphanumeric() || PATH_CHARACTERS.contains(c)),
        Condition::Host(values) => texts(values, |c| c.is_ascii_alphanumeric() || HOST_CHARACTERS.contains(c)),
        Condition::Method(values) => {
            texts(values, |c| c.is_ascii_uppercase() || matches!(c, '-' | '_'))?;
            values.iter().try_for_each(|value| length("http-request-method", value, METHOD_LENGTH_MAX))
        }
        Condition::Header { name, values } => {
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || HEADER_NAME_CHARACTERS.contains(c))
            {
                return Err(validation(format!("The HTTP header name '{name}' is not valid")));
            }
            length("HTTP header name", name, HEADER_NAME_LENGTH_MAX)?;
            if name.eq_ignore_ascii_case("host") {
                return Err(validation("Use a host-header condition to match the Host header"));
            }
            texts(values, printable)
        }
        Condition::Query(pairs) => {
            let parts = pairs.iter().flat_map(|(key, value)| key.iter().chain([value]));
            texts(parts, printable)
        }
        Condition::SourceIp(blocks) => match blocks.iter().find(|block| !is_block(block)) {
            Some(bad) => Err(validation(format!("The source-ip condition value '{bad}' must be a valid CIDR block"))),
            None => Ok(()),
        },
    }
}

fn printable(c: char) -> bool {
    matches!(c, ' '..='~')
}

fn texts<'a>(values: impl IntoIterator<Item = &'a String>, allowed: impl Fn(char) -> bool) -> Result<()> {
    for value in values {
        if value.is_empty() {
            return Err(validation("A condition value must be specified"));
        }
        length("condition value", value, VALUE_LENGTH_MAX)?;
        if !value.chars().all(&allowed) {
            return Err(validation(format!("Condition value '{value}' contains a character that is not valid")));
        }
    }
    Ok(())
}

fn length(what: &str, value: &str, max: usize) -> Result<()> {
    if value.chars().count() > max {
        return Err(validation(format!("The {what} '{value}' cannot be longer than '{max}' characters")));
    }
    Ok(())
}

fn is_block(text: &str) -> bool {
    let v6 = || {
        let (address, prefix) = text.split_once('/')?;
        Some(address.parse::<Ipv6Addr>().is_ok() && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= 128))
    };
    text.parse::<Cidr>().is_ok() || v6() == Some(true)
}

fn values_count(condition: &Condition) -> usize {
    match condition {
        Condition::Path(values) | Condition::Host(values) | Condition::Method(values) => values.len(),
        Condition::Header { values, .. } | Condition::SourceIp(values) => values.len(),
        Condition::Query(pairs) => pairs.len(),
    }
}

fn wildcards(condition: &Condition) -> usize {
    let count = |text: &String| text.matches(['*', '?']).count();
    match condition {
        Condition::Path(values) | Condition::Host(values) | Condition::Header { values, .. } => {
            values.iter().map(count).sum()
        }
        Condition::Query(pairs) => pairs.iter().map(|(key, value)| key.as_ref().map_or(0, count) + count(value)).sum(),
        Condition::Method(_) | Condition::SourceIp(_) => 0,
    }
}

fn field(condition: &Condition) -> &'static str {
    match condition {
        Condition::Path(_) => "path-pattern",
        Condition::Host(_) => "host-header",
        Condition::Header { .. } => "http-header",
        Condition::Method(_) => "http-request-method",
        Condition::Query(_) => "query-string",
        Condition::SourceIp(_) => "source-ip",
    }
}

/// A condition as answers have it.
pub fn shape(condition: &Condition) -> api::RuleCondition {
    let mut shape = api::RuleCondition { field: Some(field(condition).into()), ..Default::default() };
    match condition {
        Condition::Path(values) => {
            shape.values = Some(values.clone());
            shape.path_pattern_config =
                Some(api::PathPatternConditionConfig { values: Some(values.clone()), ..Default::default() });
        }
        Condition::Host(values) => {
            shape.values = Some(values.clone());
            shape.host_header_config =
                Some(api::HostHeaderConditionConfig { values: Some(values.clone()), ..Default::default() });
        }
        Condition::Header { name, values } => {
            shape.http_header_config = Some(api::HttpHeaderConditionConfig {
                http_header_name: Some(name.clone()),
                values: Some(values.clone()),
                ..Default::default()
            });
        }
        Condition::Method(values) => {
            shape.http_request_method_config =
                Some(api::HttpRequestMethodConditionConfig { values: Some(values.clone()) });
        }
        Condition::Query(pairs) => {
            let pair = |(key, value): &(Option<String>, String)| api::QueryStringKeyValuePair {
                key: key.clone(),
                value: Some(value.clone()),
            };
            shape.query_string_config =
                Some(api::QueryStringConditionConfig { values: Some(pairs.iter().map(pair).collect()) });
        }
        Condition::SourceIp(values) => {
            shape.source_ip_config = Some(api::SourceIpConditionConfig { values: Some(values.clone()) });
        }
    }
    shape
}

/// Refuses rewrites of requests, which the data plane does not have.
pub fn refuse_transforms(transforms: &Option<Vec<api::RuleTransform>>) -> Result<()> {
    match transforms.as_ref().and_then(|transforms| transforms.first()) {
        Some(transform) => Err(unavailable(format!("'{}' transforms", transform.r#type))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(field: &str, values: &[&str]) -> api::RuleCondition {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        api::RuleCondition { field: Some(field.into()), values: Some(values), ..Default::default() }
    }

    #[test]
    fn conditions_come_back_as_they_were_set() {
        let header = api::RuleCondition {
            field: Some("http-header".into()),
            http_header_config: Some(api::HttpHeaderConditionConfig {
                http_header_name: Some("X-Maint".into()),
                values: Some(vec!["1".into()]),
                regex_values: None,
            }),
            ..Default::default()
        };
        let query = api::RuleCondition {
            field: Some("query-string".into()),
            query_string_config: Some(api::QueryStringConditionConfig {
                values: Some(vec![api::QueryStringKeyValuePair { key: None, value: Some("a*".into()) }]),
            }),
            ..Default::default()
        };
        let parsed = parse(&[header.clone(), query.clone(), plain("host-header", &["*.example.com"])]).expect("valid");
        assert_eq!(parsed.iter().map(shape).take(2).collect::<Vec<_>>(), [header, query]);
        let host = shape(&parsed[2]);
        assert_eq!(host.values, host.host_header_config.expect("both forms").values);
    }

    #[test]
    fn bad_conditions_are_refused() {
        let long = "x".repeat(129);
        let cases = [
            (vec![], "A condition must be specified"),
            (vec![plain("path", &["/"])], "must be one of"),
            (vec![plain("path-pattern", &[])], "A condition value must be specified"),
            (vec![plain("path-pattern", &[""])], "A condition value must be specified"),
            (vec![plain("path-pattern", &["/a b"])], "not valid"),
            (vec![plain("path-pattern", &[&long])], "longer"),
            (vec![plain("path-pattern", &["/1", "/2", "/3", "/4", "/5", "/6"])], "'5' condition values"),
            (vec![plain("path-pattern", &["/******"])], "'5' condition wildcards"),
            (vec![plain("host-header", &["a/b"])], "not valid"),
            (vec![plain("http-request-method", &["get"])], "not valid"),
            (vec![plain("source-ip", &["10.0.0.1"])], "CIDR"),
            (vec![plain("path-pattern", &["/a"]), plain("path-pattern", &["/b"])], "only have one 'path-pattern'"),
        ];
        for (given, text) in cases {
            let error = parse(&given).expect_err(text);
            assert!(error.is("ValidationError") && error.message.contains(text), "{error}");
        }
        for good in ["10.0.0.0/8", "2001:db8::/32"] {
            assert!(parse(&[plain("source-ip", &[good])]).is_ok(), "{good}");
        }
    }
}
