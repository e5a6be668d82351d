//! The types a parameter can have: text, numbers, lists, identifiers that EC2 and Route 53 know, and SSM parameters
//! that hold any of them.
//!
//! Invariant: a name round-trips. Not here: whether an identifier exists; services are asked by whoever creates a stack.

use std::fmt;

/// The identifiers that a parameter type can ask for.
const IDENTIFIERS: &[&str] = &[
    "AWS::EC2::AvailabilityZone::Name",
    "AWS::EC2::Image::Id",
    "AWS::EC2::Instance::Id",
    "AWS::EC2::KeyPair::KeyName",
    "AWS::EC2::SecurityGroup::GroupName",
    "AWS::EC2::SecurityGroup::Id",
    "AWS::EC2::Subnet::Id",
    "AWS::EC2::VPC::Id",
    "AWS::EC2::Volume::Id",
    "AWS::Route53::HostedZone::Id",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterType {
    Text,
    Number,
    NumberList,
    CommaDelimitedList,
    Identifier(&'static str),
    IdentifierList(&'static str),
    /// The name of an SSM parameter; the name itself is the value.
    SsmName,
    /// The name of an SSM parameter whose value has the inner type, which is not an SSM type itself.
    Ssm(Box<ParameterType>),
    /// `List<String>`, which only SSM parameters have.
    TextList,
}

impl ParameterType {
    /// Reads a type's name; `None` when there is no such type.
    pub fn named(name: &str) -> Option<Self> {
        if name == "AWS::SSM::Parameter::Name" {
            return Some(Self::SsmName);
        }
        match name.strip_prefix("AWS::SSM::Parameter::Value<").and_then(|rest| rest.strip_suffix('>')) {
            Some("List<String>") => Some(Self::Ssm(Box::new(Self::TextList))),
            Some("Number" | "List<Number>") => None,
            Some(inner) => Self::plain(inner).map(|inner| Self::Ssm(Box::new(inner))),
            None => Self::plain(name),
        }
    }

    fn plain(name: &str) -> Option<Self> {
        let identifier = |name: &str| IDENTIFIERS.iter().find(|known| **known == name).copied();
        Some(match name {
            "String" => Self::Text,
            "Number" => Self::Number,
            "List<Number>" => Self::NumberList,
            "CommaDelimitedList" => Self::CommaDelimitedList,
            _ => match name.strip_prefix("List<").and_then(|rest| rest.strip_suffix('>')) {
                Some(inner) => Self::IdentifierList(identifier(inner)?),
                None => Self::Identifier(identifier(name)?),
            },
        })
    }

    /// Whether the value is a list of what commas separate.
    pub fn is_list(&self) -> bool {
        match self {
            Self::NumberList | Self::CommaDelimitedList | Self::IdentifierList(_) | Self::TextList => true,
            Self::Ssm(inner) => inner.is_list(),
            Self::Text | Self::Number | Self::Identifier(_) | Self::SsmName => false,
        }
    }

    /// Whether the value given by the user must consist of numbers.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Self::Number | Self::NumberList)
    }

    /// The kind of identifier that a service must know, if the type asks for one.
    pub fn identifier(&self) -> Option<&'static str> {
        match self {
            Self::Identifier(name) | Self::IdentifierList(name) => Some(name),
            Self::Ssm(inner) => inner.identifier(),
            _ => None,
        }
    }
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("String"),
            Self::Number => f.write_str("Number"),
            Self::NumberList => f.write_str("List<Number>"),
            Self::CommaDelimitedList => f.write_str("CommaDelimitedList"),
            Self::Identifier(name) => f.write_str(name),
            Self::IdentifierList(name) => write!(f, "List<{name}>"),
            Self::SsmName => f.write_str("AWS::SSM::Parameter::Name"),
            Self::Ssm(inner) => write!(f, "AWS::SSM::Parameter::Value<{inner}>"),
            Self::TextList => f.write_str("List<String>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "String",
            "Number",
            "List<Number>",
            "CommaDelimitedList",
            "AWS::EC2::Image::Id",
            "List<AWS::EC2::Subnet::Id>",
            "AWS::SSM::Parameter::Name",
            "AWS::SSM::Parameter::Value<String>",
            "AWS::SSM::Parameter::Value<List<String>>",
            "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
            "AWS::SSM::Parameter::Value<List<AWS::EC2::Subnet::Id>>",
        ] {
            assert_eq!(ParameterType::named(name).expect(name).to_string(), name);
        }
        for name in ["", "string", "List<String>", "List<>", "AWS::EC2::Nope::Id", "AWS::SSM::Parameter::Value<Number>"]
        {
            assert_eq!(ParameterType::named(name), None, "{name}");
        }
    }
}
