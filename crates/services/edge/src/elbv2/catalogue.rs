//! What is the same for everybody: hosted zones, limits, security policies.

use standfast_api::elbv2 as api;
use standfast_core::{Error, Result, lb};
use standfast_kernel::Cx;

use super::errors;

/// The hosted zones of application load balancers' DNS names, by region.
const HOSTED_ZONES: &[(&str, &str)] = &[
    ("af-south-1", "Z268VQBMOI5EKX"),
    ("ap-east-1", "Z3DQVH9N71FHZ0"),
    ("ap-east-2", "Z02789141MW7T1WBU19PO"),
    ("ap-northeast-1", "Z14GRHDCWA56QT"),
    ("ap-northeast-2", "ZWKZPGTI48KDX"),
    ("ap-northeast-3", "Z5LXEXXYW11ES"),
    ("ap-south-1", "ZP97RAFLXTNZK"),
    ("ap-south-2", "Z0173938T07WNTVAEPZN"),
    ("ap-southeast-1", "Z1LMS91P8CMLE5"),
    ("ap-southeast-2", "Z1GM3OXH4ZPM65"),
    ("ap-southeast-3", "Z08888821HLRG5A9ZRTER"),
    ("ap-southeast-4", "Z09517862IB2WZLPXG76F"),
    ("ap-southeast-5", "Z06010284QMVVW7WO5J"),
    ("ap-southeast-7", "Z0390008CMBRTHFGWBCB"),
    ("ca-central-1", "ZQSVJUPU6J1EY"),
    ("ca-west-1", "Z06473681N0SF6OS049SD"),
    ("eu-central-1", "Z215JYRZR1TBD5"),
    ("eu-central-2", "Z06391101F2ZOEP8P5EB3"),
    ("eu-north-1", "Z23TAZ6LKFMNIO"),
    ("eu-south-1", "Z3ULH7SSC9OV64"),
    ("eu-south-2", "Z0956581394HF5D5LXGAP"),
    ("eu-west-1", "Z32O12XQLNTSW2"),
    ("eu-west-2", "ZHURV8PSTC4K8"),
    ("eu-west-3", "Z3Q77PNBQS71R4"),
    ("il-central-1", "Z09170902867EHPV2DABU"),
    ("me-central-1", "Z08230872XQRWHG2XF6I"),
    ("me-south-1", "ZS929ML54UICD"),
    ("mx-central-1", "Z023552324OKD1BB28BH5"),
    ("sa-east-1", "Z2P70J7HTTTPLU"),
    ("us-east-1", "Z35SXDOTRQ7X7K"),
    ("us-east-2", "Z3AADJGX6KTTL2"),
    ("us-west-1", "Z368ELLRRE2KJ0"),
    ("us-west-2", "Z1H1FL5HABSF5"),
];
/// Of a region that is not in the list.
const HOSTED_ZONE_ELSEWHERE: &str = "Z0STANDFASTELB";

pub fn hosted_zone(region: &str) -> &'static str {
    HOSTED_ZONES.iter().find(|(name, _)| *name == region).map_or(HOSTED_ZONE_ELSEWHERE, |(_, zone)| zone)
}

/// AWS's names of limits. The handlers hold the same figures.
const LIMITS: &[(&str, &str)] = &[
    ("application-load-balancers", "50"),
    ("listeners-per-application-load-balancer", "50"),
    ("rules-per-application-load-balancer", "100"),
    ("condition-values-per-alb-rule", "5"),
    ("condition-wildcards-per-alb-rule", "5"),
    ("target-groups", "3000"),
    ("target-groups-per-application-load-balancer", "100"),
    ("target-groups-per-action-on-application-load-balancer", "5"),
    ("targets-per-application-load-balancer", "1000"),
    ("target-id-registrations-per-application-load-balancer", "1000"),
];

pub async fn describe_account_limits(
    _: Cx,
    input: api::DescribeAccountLimitsInput,
) -> Result<api::DescribeAccountLimitsOutput> {
    let limit = |index: usize, (name, max): (&str, &str)| {
        (format!("{index:03}"), api::Limit { name: Some(name.to_owned()), max: Some(max.to_owned()) })
    };
    let rows = LIMITS.iter().enumerate().map(|(index, row)| limit(index, *row)).collect();
    let (limits, next_marker) = errors::paged(rows, input.marker.as_deref(), input.page_size)?;
    Ok(api::DescribeAccountLimitsOutput { limits: Some(limits), next_marker })
}

struct Policy {
    name: &'static str,
    protocols: &'static [&'static str],
    ciphers: &'static [&'static [&'static str]],
}

const TLS_1_3: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const FORWARD_SECRET: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];
const FORWARD_SECRET_CBC: &[&str] =
    &["ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384"];
const FORWARD_SECRET_SHA1: &[&str] =
    &["ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA", "ECDHE-ECDSA-AES256-SHA"];
const RSA: &[&str] = &["AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"];
const RSA_SHA1: &[&str] = &["AES128-SHA", "AES256-SHA"];

/// AWS-DIFF: TLS before 1.2 is not spoken, nor are ciphers without forward secrecy or authenticated encryption, also where a
/// policy allows them.
const POLICIES: &[Policy] = &[
    Policy {
        name: "ELBSecurityPolicy-2016-08",
        protocols: &["TLSv1", "TLSv1.1", "TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1, RSA, RSA_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-2015-05",
        protocols: &["TLSv1", "TLSv1.1", "TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1, RSA, RSA_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-TLS-1-1-2017-01",
        protocols: &["TLSv1.1", "TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1, RSA, RSA_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-TLS-1-2-2017-01",
        protocols: &["TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC, RSA],
    },
    Policy {
        name: "ELBSecurityPolicy-TLS-1-2-Ext-2018-06",
        protocols: &["TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1, RSA, RSA_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-FS-2018-06",
        protocols: &["TLSv1", "TLSv1.1", "TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-FS-1-1-2019-08",
        protocols: &["TLSv1.1", "TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-FS-1-2-2019-08",
        protocols: &["TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-FS-1-2-Res-2019-08",
        protocols: &["TLSv1.2"],
        ciphers: &[FORWARD_SECRET, FORWARD_SECRET_CBC],
    },
    Policy { name: "ELBSecurityPolicy-FS-1-2-Res-2020-10", protocols: &["TLSv1.2"], ciphers: &[FORWARD_SECRET] },
    Policy {
        name: "ELBSecurityPolicy-TLS13-1-0-2021-06",
        protocols: &["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"],
        ciphers: &[TLS_1_3, FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1, RSA, RSA_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-TLS13-1-1-2021-06",
        protocols: &["TLSv1.1", "TLSv1.2", "TLSv1.3"],
        ciphers: &[TLS_1_3, FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1, RSA, RSA_SHA1],
    },
    Policy {
        name: "ELBSecurityPolicy-TLS13-1-2-2021-06",
        protocols: &["TLSv1.2", "TLSv1.3"],
        ciphers: &[TLS_1_3, FORWARD_SECRET, FORWARD_SECRET_CBC],
    },
    Policy {
        name: "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
        protocols: &["TLSv1.2", "TLSv1.3"],
        ciphers: &[TLS_1_3, FORWARD_SECRET],
    },
    Policy {
        name: "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06",
        protocols: &["TLSv1.2", "TLSv1.3"],
        ciphers: &[TLS_1_3, FORWARD_SECRET, FORWARD_SECRET_CBC, RSA],
    },
    Policy {
        name: "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06",
        protocols: &["TLSv1.2", "TLSv1.3"],
        ciphers: &[TLS_1_3, FORWARD_SECRET, FORWARD_SECRET_CBC, FORWARD_SECRET_SHA1, RSA, RSA_SHA1],
    },
    Policy { name: "ELBSecurityPolicy-TLS13-1-3-2021-06", protocols: &["TLSv1.3"], ciphers: &[TLS_1_3] },
];

fn unknown_policy(name: &str) -> Error {
    Error::client("SSLPolicyNotFound", format!("SSL policy '{name}' not found"))
}

/// The versions of TLS that a policy allows and the data plane speaks.
pub fn versions(policy: &str) -> Result<lb::TlsVersions> {
    let found = POLICIES.iter().find(|known| known.name == policy).ok_or_else(|| unknown_policy(policy))?;
    Ok(match (found.protocols.contains(&"TLSv1.2"), found.protocols.contains(&"TLSv1.3")) {
        (true, true) => lb::TlsVersions::Both,
        (false, true) => lb::TlsVersions::Only13,
        _ => lb::TlsVersions::Only12,
    })
}

pub async fn describe_ssl_policies(
    _: Cx,
    input: api::DescribeSSLPoliciesInput,
) -> Result<api::DescribeSSLPoliciesOutput> {
    let names = input.names.unwrap_or_default();
    if let Some(unknown) = names.iter().find(|name| POLICIES.iter().all(|policy| policy.name != name.as_str())) {
        return Err(unknown_policy(unknown));
    }
    let wanted = POLICIES
        .iter()
        .enumerate()
        .filter(|(_, policy)| names.is_empty() || names.iter().any(|name| name == policy.name));
    let rows = wanted.map(|(index, policy)| (format!("{index:03}"), shape(policy))).collect();
    let (policies, next_marker) = errors::paged(rows, input.marker.as_deref(), input.page_size)?;
    Ok(api::DescribeSSLPoliciesOutput { ssl_policies: Some(policies), next_marker })
}

fn shape(policy: &Policy) -> api::SslPolicy {
    let cipher = |(index, name): (usize, &&str)| api::Cipher {
        name: Some((*name).to_owned()),
        priority: Some(index as i32 + 1),
    };
    api::SslPolicy {
        ssl_protocols: Some(policy.protocols.iter().map(|name| (*name).to_owned()).collect()),
        ciphers: Some(policy.ciphers.iter().copied().flatten().enumerate().map(cipher).collect()),
        name: Some(policy.name.to_owned()),
        supported_load_balancer_types: Some(vec!["application".into()]),
    }
}
