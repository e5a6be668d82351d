//! Health check settings of a target group: defaults, bounds, and the codes that count as healthy. Pure.

use standfast_api::elbv2 as api;
use standfast_core::Result;

use super::errors::{given, unavailable, validation, within};
use super::model::HealthCheck;

const INTERVAL_S: (i32, i32) = (5, 300);
const TIMEOUT_S: (i32, i32) = (2, 120);
const THRESHOLD: (i32, i32) = (2, 10);
const PATH_LENGTH_MAX: usize = 1024;
/// The codes that a target of an application load balancer may be healthy with.
const HTTP_CODES: (u16, u16) = (200, 499);
const TRAFFIC_PORT: &str = "traffic-port";

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: "/".into(),
            port: None,
            interval_s: 30,
            timeout_s: 5,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        }
    }
}

/// What a request says; the rest stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Asked<'a> {
    pub protocol: Option<&'a str>,
    pub port: Option<&'a str>,
    pub enabled: Option<bool>,
    pub path: Option<&'a str>,
    pub interval_s: Option<i32>,
    pub timeout_s: Option<i32>,
    pub healthy_threshold: Option<i32>,
    pub unhealthy_threshold: Option<i32>,
    pub matcher: Option<&'a api::Matcher>,
}

impl<'a> From<&'a api::CreateTargetGroupInput> for Asked<'a> {
    fn from(input: &'a api::CreateTargetGroupInput) -> Self {
        Self {
            protocol: given(&input.health_check_protocol),
            port: given(&input.health_check_port),
            enabled: input.health_check_enabled,
            path: given(&input.health_check_path),
            interval_s: input.health_check_interval_seconds,
            timeout_s: input.health_check_timeout_seconds,
            healthy_threshold: input.healthy_threshold_count,
            unhealthy_threshold: input.unhealthy_threshold_count,
            matcher: input.matcher.as_ref(),
        }
    }
}

impl<'a> From<&'a api::ModifyTargetGroupInput> for Asked<'a> {
    fn from(input: &'a api::ModifyTargetGroupInput) -> Self {
        Self {
            protocol: given(&input.health_check_protocol),
            port: given(&input.health_check_port),
            enabled: input.health_check_enabled,
            path: given(&input.health_check_path),
            interval_s: input.health_check_interval_seconds,
            timeout_s: input.health_check_timeout_seconds,
            healthy_threshold: input.healthy_threshold_count,
            unhealthy_threshold: input.unhealthy_threshold_count,
            matcher: input.matcher.as_ref(),
        }
    }
}

/// The settings with what was asked for.
pub fn apply(mut check: HealthCheck, asked: &Asked<'_>) -> Result<HealthCheck> {
    match asked.protocol {
        None | Some("HTTP") => {}
        Some("HTTPS") => return Err(unavailable("HTTPS health checks")),
        Some(other) => {
            return Err(validation(format!("Health check protocol '{other}' must be one of 'HTTP, HTTPS'")));
        }
    }
    if asked.enabled == Some(false) {
        return Err(validation("Health checks must be enabled for target groups with target type 'instance' or 'ip'"));
    }
    if let Some(text) = asked.port {
        check.port = port(text)?;
    }
    if let Some(path) = asked.path {
        check.path = self::path(path)?;
    }
    let number = |member, asked: Option<i32>, (low, high), old: u32| {
        asked.map_or(Ok(old), |value| within(member, value, low, high).map(|value| value as u32))
    };
    check.interval_s = number("healthCheckIntervalSeconds", asked.interval_s, INTERVAL_S, check.interval_s)?;
    check.timeout_s = number("healthCheckTimeoutSeconds", asked.timeout_s, TIMEOUT_S, check.timeout_s)?;
    check.healthy_threshold =
        number("healthyThresholdCount", asked.healthy_threshold, THRESHOLD, check.healthy_threshold)?;
    check.unhealthy_threshold =
        number("unhealthyThresholdCount", asked.unhealthy_threshold, THRESHOLD, check.unhealthy_threshold)?;
    if check.timeout_s >= check.interval_s {
        return Err(validation(format!(
            "Health check timeout '{}' must be smaller than the interval '{}'",
            check.timeout_s, check.interval_s
        )));
    }
    if let Some(matcher) = asked.matcher {
        if given(&matcher.grpc_code).is_some() {
            return Err(unavailable("gRPC health checks"));
        }
        if let Some(codes) = given(&matcher.http_code) {
            codes_of(codes).ok_or_else(|| {
                let (low, high) = HTTP_CODES;
                validation(format!("Health check matcher HTTP code '{codes}' must be within '{low}-{high}' inclusive"))
            })?;
            check.matcher = codes.to_owned();
        }
    }
    Ok(check)
}

fn port(text: &str) -> Result<Option<u16>> {
    if text == TRAFFIC_PORT {
        return Ok(None);
    }
    match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(Some(port)),
        _ => Err(validation(format!("Health check port '{text}' must be '{TRAFFIC_PORT}' or a port from 1 to 65535"))),
    }
}

fn path(path: &str) -> Result<String> {
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
    if !path.starts_with('/') || !plain || path.len() > PATH_LENGTH_MAX {
        return Err(validation(format!(
            "Health check path '{path}' must begin with '/' and have at most {PATH_LENGTH_MAX} printable characters"
        )));
    }
    Ok(path.to_owned())
}

/// The port as answers name it.
pub fn port_text(check: &HealthCheck) -> String {
    check.port.map_or_else(|| TRAFFIC_PORT.to_owned(), |port| port.to_string())
}

/// The ranges of a matcher such as `200,202-204`; `None` when it is none.
pub fn codes_of(matcher: &str) -> Option<Vec<(u16, u16)>> {
    let code = |text: &str| {
        let code: u16 = text.trim().parse().ok()?;
        (HTTP_CODES.0..=HTTP_CODES.1).contains(&code).then_some(code)
    };
    let range = |text: &str| match text.split_once('-') {
        None => code(text).map(|code| (code, code)),
        Some((low, high)) => Some((code(low)?, code(high)?)).filter(|(low, high)| low <= high),
    };
    matcher.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_codes_and_ranges() {
        assert_eq!(codes_of("200"), Some(vec![(200, 200)]));
        assert_eq!(codes_of("200-299,404"), Some(vec![(200, 299), (404, 404)]));
        for bad in ["", "199", "500", "299-200", "200-", "a", "200;201"] {
            assert_eq!(codes_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_timeout_is_smaller_than_the_interval() {
        let asked = Asked { interval_s: Some(5), timeout_s: Some(10), ..Asked::default() };
        let error = apply(HealthCheck::default(), &asked).expect_err("too long");
        assert_eq!(error.message, "Health check timeout '10' must be smaller than the interval '5'");
        // The default timeout of 5 counts too.
        let asked = Asked { interval_s: Some(5), ..Asked::default() };
        assert!(apply(HealthCheck::default(), &asked).is_err());
    }

    #[test]
    fn settings_have_bounds() {
        let bad = [
            Asked { interval_s: Some(4), ..Asked::default() },
            Asked { interval_s: Some(301), ..Asked::default() },
            Asked { timeout_s: Some(1), ..Asked::default() },
            Asked { healthy_threshold: Some(1), ..Asked::default() },
            Asked { unhealthy_threshold: Some(11), ..Asked::default() },
            Asked { path: Some("healthz"), ..Asked::default() },
            Asked { port: Some("0"), ..Asked::default() },
            Asked { protocol: Some("TCP"), ..Asked::default() },
            Asked { enabled: Some(false), ..Asked::default() },
        ];
        for asked in bad {
            let error = apply(HealthCheck::default(), &asked).expect_err("out of bounds");
            assert!(error.is("ValidationError"), "{asked:?}");
        }
        let asked = Asked { port: Some("8081"), path: Some("/healthz?x=1"), interval_s: Some(10), ..Asked::default() };
        let check = apply(HealthCheck::default(), &asked).expect("valid");
        assert_eq!((check.port, check.path.as_str(), check.interval_s), (Some(8081), "/healthz?x=1", 10));
        let back = apply(check, &Asked { port: Some("traffic-port"), ..Asked::default() }).expect("valid");
        assert_eq!(port_text(&back), "traffic-port");
    }
}
