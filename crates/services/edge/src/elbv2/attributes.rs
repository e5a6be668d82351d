//! Attributes of load balancers, listeners and target groups: which there are, their defaults and their values.
//!
//! Invariant: what is stored are only the attributes that were set, each valid; a listing is the table with those laid
//! over it.
//!
//! AWS-DIFF: these are kept and shown but change nothing in the data plane: access, connection and health check logs,
//! HTTP/2, desync mitigation, client keep-alive, header options other than X-Forwarded-For's mode, WAF, zonal shift,
//! response headers of listeners, slow start, application cookies, `weighted_random`, zone and health thresholds of
//! target groups.

use standfast_core::Result;

use super::errors::validation;
use super::model::Attributes;

const VALUE_LENGTH_MAX: usize = 1024;

pub const DELETION_PROTECTION: &str = "deletion_protection.enabled";
pub const IDLE_TIMEOUT: &str = "idle_timeout.timeout_seconds";
pub const XFF_MODE: &str = "routing.http.xff_header_processing.mode";
pub const DEREGISTRATION_DELAY: &str = "deregistration_delay.timeout_seconds";
pub const STICKINESS_ENABLED: &str = "stickiness.enabled";
pub const STICKINESS_TYPE: &str = "stickiness.type";
pub const STICKINESS_DURATION: &str = "stickiness.lb_cookie.duration_seconds";
pub const ALGORITHM: &str = "load_balancing.algorithm.type";
const SLOW_START: &str = "slow_start.duration_seconds";

/// What a value may be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Bool,
    Number(u32, u32),
    /// A number within the bounds, or `off`.
    NumberOrOff(u32, u32),
    OneOf(&'static [&'static str]),
    Text,
}

/// The attributes of a kind of resource: key, default, kind.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    noun: &'static str,
    rows: &'static [(&'static str, &'static str, Kind)],
}

pub static LOAD_BALANCER: Table = Table {
    noun: "Load balancer",
    rows: &[
        ("access_logs.s3.enabled", "false", Kind::Bool),
        ("access_logs.s3.bucket", "", Kind::Text),
        ("access_logs.s3.prefix", "", Kind::Text),
        (IDLE_TIMEOUT, "60", Kind::Number(1, 4000)),
        (DELETION_PROTECTION, "false", Kind::Bool),
        ("routing.http2.enabled", "true", Kind::Bool),
        ("routing.http.drop_invalid_header_fields.enabled", "false", Kind::Bool),
        ("routing.http.xff_client_port.enabled", "false", Kind::Bool),
        ("routing.http.preserve_host_header.enabled", "false", Kind::Bool),
        (XFF_MODE, "append", Kind::OneOf(&["append", "preserve", "remove"])),
        // It cannot be turned off for an application load balancer.
        ("load_balancing.cross_zone.enabled", "true", Kind::OneOf(&["true"])),
        ("routing.http.desync_mitigation_mode", "defensive", Kind::OneOf(&["monitor", "defensive", "strictest"])),
        ("client_keep_alive.seconds", "3600", Kind::Number(60, 604_800)),
        ("waf.fail_open.enabled", "false", Kind::Bool),
        ("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", Kind::Bool),
        ("zonal_shift.config.enabled", "false", Kind::Bool),
        ("connection_logs.s3.enabled", "false", Kind::Bool),
        ("connection_logs.s3.bucket", "", Kind::Text),
        ("connection_logs.s3.prefix", "", Kind::Text),
        ("health_check_logs.s3.enabled", "false", Kind::Bool),
        ("health_check_logs.s3.bucket", "", Kind::Text),
        ("health_check_logs.s3.prefix", "", Kind::Text),
        ("ipv6.deny_all_igw_traffic", "false", Kind::Bool),
    ],
};

pub static TARGET_GROUP: Table = Table {
    noun: "Target group",
    rows: &[
        (DEREGISTRATION_DELAY, "300", Kind::Number(0, 3600)),
        (STICKINESS_ENABLED, "false", Kind::Bool),
        (STICKINESS_TYPE, "lb_cookie", Kind::OneOf(&["lb_cookie", "app_cookie"])),
        (STICKINESS_DURATION, "86400", Kind::Number(1, 604_800)),
        ("stickiness.app_cookie.cookie_name", "", Kind::Text),
        ("stickiness.app_cookie.duration_seconds", "86400", Kind::Number(1, 604_800)),
        (SLOW_START, "0", Kind::Number(0, 900)),
        (ALGORITHM, "round_robin", Kind::OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"])),
        ("load_balancing.algorithm.anomaly_mitigation", "off", Kind::OneOf(&["on", "off"])),
        (
            "load_balancing.cross_zone.enabled",
            "use_load_balancer_configuration",
            Kind::OneOf(&["true", "false", "use_load_balancer_configuration"]),
        ),
        ("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Kind::NumberOrOff(1, 1000)),
        ("target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", Kind::NumberOrOff(1, 100)),
        ("target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", Kind::Number(1, 1000)),
        (
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
            "off",
            Kind::NumberOrOff(1, 100),
        ),
    ],
};

pub static LISTENER: Table = Table {
    noun: "Listener",
    rows: &[
        ("routing.http.response.server.enabled", "true", Kind::Bool),
        ("routing.http.response.strict_transport_security.header_value", "", Kind::Text),
        ("routing.http.response.access_control_allow_origin.header_value", "", Kind::Text),
        ("routing.http.response.access_control_allow_methods.header_value", "", Kind::Text),
        ("routing.http.response.access_control_allow_headers.header_value", "", Kind::Text),
        ("routing.http.response.access_control_allow_credentials.header_value", "", Kind::Text),
        ("routing.http.response.access_control_expose_headers.header_value", "", Kind::Text),
        ("routing.http.response.access_control_max_age.header_value", "", Kind::Text),
        ("routing.http.response.content_security_policy.header_value", "", Kind::Text),
        ("routing.http.response.x_content_type_options.header_value", "", Kind::Text),
        ("routing.http.response.x_frame_options.header_value", "", Kind::Text),
    ],
};

impl Table {
    /// All attributes with their values.
    pub fn list<'a>(&self, set: &'a Attributes) -> impl Iterator<Item = (&'static str, &'a str)>
    where
        Self: 'static,
    {
        self.rows.iter().map(|(key, default, _)| (*key, set.get(*key).map_or(*default, String::as_str)))
    }

    /// An attribute's value.
    pub fn get<'a>(&self, set: &'a Attributes, key: &'static str) -> &'a str {
        let default = self.rows.iter().find(|(known, ..)| *known == key).map_or("", |(_, default, _)| default);
        set.get(key).map_or(default, String::as_str)
    }

    pub fn is_on(&self, set: &Attributes, key: &'static str) -> bool {
        self.get(set, key) == "true"
    }

    pub fn number(&self, set: &Attributes, key: &'static str) -> u32 {
        self.get(set, key).parse().expect("numbers are checked when they are set, and so are the table's defaults")
    }

    /// The pairs of a request, checked.
    pub fn parse(&self, given: impl IntoIterator<Item = (Option<String>, Option<String>)>) -> Result<Attributes> {
        let mut parsed = Attributes::new();
        for (key, value) in given {
            let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
            let Some((_, _, kind)) = self.rows.iter().find(|(known, ..)| *known == key) else {
                return Err(validation(format!("{} attribute key '{key}' is not recognized", self.noun)));
            };
            if !kind.takes(&value) || key == SLOW_START && (1..30).contains(&value.parse::<u32>().unwrap_or(0)) {
                return Err(validation(format!("{} attribute '{key}' cannot have the value '{value}'", self.noun)));
            }
            if parsed.insert(key.clone(), value).is_some() {
                return Err(validation(format!("{} attribute key '{key}' is specified more than once", self.noun)));
            }
        }
        Ok(parsed)
    }
}

impl Kind {
    fn takes(self, value: &str) -> bool {
        let within = |low, high| value.parse::<u32>().is_ok_and(|number| (low..=high).contains(&number));
        match self {
            Kind::Bool => matches!(value, "true" | "false"),
            Kind::Number(low, high) => within(low, high),
            Kind::NumberOrOff(low, high) => value == "off" || within(low, high),
            Kind::OneOf(values) => values.contains(&value),
            Kind::Text => value.len() <= VALUE_LENGTH_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(table: &Table, key: &str, value: &str) -> Result<Attributes> {
        table.parse([(Some(key.into()), Some(value.into()))])
    }

    #[test]
    fn every_default_is_a_value_it_takes() {
        for table in [LOAD_BALANCER, TARGET_GROUP, LISTENER] {
            for (key, default, kind) in table.rows {
                assert!(kind.takes(default), "{key}={default}");
            }
        }
    }

    #[test]
    fn values_are_checked_and_laid_over_defaults() {
        let set = one(&TARGET_GROUP, DEREGISTRATION_DELAY, "20").expect("valid");
        assert_eq!(TARGET_GROUP.number(&set, DEREGISTRATION_DELAY), 20);
        assert_eq!(TARGET_GROUP.get(&set, STICKINESS_TYPE), "lb_cookie");
        assert_eq!(TARGET_GROUP.list(&set).count(), TARGET_GROUP.rows.len());
        for (key, value) in [
            (DEREGISTRATION_DELAY, "3601"),
            (DEREGISTRATION_DELAY, "-1"),
            (STICKINESS_ENABLED, "yes"),
            (ALGORITHM, "random"),
            (SLOW_START, "29"),
            ("nonsense", "1"),
        ] {
            assert!(one(&TARGET_GROUP, key, value).is_err_and(|e| e.is("ValidationError")), "{key}={value}");
        }
    }
}
