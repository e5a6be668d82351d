//! Amazon resource names: `arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::place::Scope;

/// A resource name. The region and the account are empty for global resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Arn {
    pub service: String,
    pub region: String,
    pub account: String,
    /// All that follows the account, for example `loadbalancer/app/web/50dc6c495c0c9188`.
    pub resource: String,
}

impl Arn {
    pub fn new(service: &str, scope: &Scope, resource: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            region: scope.region.to_string(),
            account: scope.account.to_string(),
            resource: resource.into(),
        }
    }

    /// A name in a global service: no region.
    pub fn global(service: &str, account: &str, resource: impl Into<String>) -> Self {
        Self { service: service.into(), region: String::new(), account: account.into(), resource: resource.into() }
    }

    /// The scope that the name belongs to.
    pub fn scope(&self) -> Scope {
        Scope::new(&self.account, &self.region)
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:{}:{}:{}:{}", self.service, self.region, self.account, self.resource)
    }
}

/// The text is not a resource name.
#[derive(Debug)]
pub struct NotAnArn(pub String);

impl fmt::Display for NotAnArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not an ARN", self.0)
    }
}

impl FromStr for Arn {
    type Err = NotAnArn;
    fn from_str(text: &str) -> Result<Self, NotAnArn> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        match parts[..] {
            ["arn", "aws", service, region, account, resource] if !service.is_empty() && !resource.is_empty() => {
                Ok(Self {
                    service: service.into(),
                    region: region.into(),
                    account: account.into(),
                    resource: resource.into(),
                })
            }
            _ => Err(NotAnArn(text.into())),
        }
    }
}

impl TryFrom<String> for Arn {
    type Error = NotAnArn;
    fn try_from(text: String) -> Result<Self, NotAnArn> {
        text.parse()
    }
}

impl From<Arn> for String {
    fn from(arn: Arn) -> String {
        arn.to_string()
    }
}
