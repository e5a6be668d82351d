//! What a parameter takes, and what it says of what it does not take.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::params::{Supplied, effective, ssm_names};
use super::{loaded, values};

fn template(parameters: &str) -> super::Template {
    loaded(&format!("Parameters:\n{parameters}\nResources: {{V: {{Type: AWS::EC2::VPC}}}}\n"))
}

#[test]
fn values_come_from_the_user_or_the_default() {
    let template = template(
        "  A: {Type: String}\n  B: {Type: Number, Default: 5}\n  C: {Type: CommaDelimitedList, Default: 'x, y'}\n  \
         D: {Type: List<Number>, Default: '1,2'}\n  E: {Type: AWS::EC2::Image::Id, Default: ami-1}\n  \
         F: {Type: 'List<AWS::EC2::Subnet::Id>', Default: 'subnet-1,subnet-2'}",
    );
    let got = values(&template, &[("A", "a"), ("B", "7")]).unwrap();
    let want =
        json!({"A": "a", "B": "7", "C": ["x", "y"], "D": ["1", "2"], "E": "ami-1", "F": ["subnet-1", "subnet-2"]});
    assert_eq!(json!(got), want);
}

#[test]
fn missing_and_unknown_parameters_are_named() {
    let template = template("  B: {Type: String}\n  A: {Type: String}\n  C: {Type: String, Default: ''}");
    assert_eq!(values(&template, &[]).unwrap_err().message, "Parameters: [A, B] must have values");
    let message = values(&template, &[("A", ""), ("B", ""), ("X", "1")]).unwrap_err().message;
    assert_eq!(message, "Parameters: [X] do not exist in the template");
}

#[test]
fn constraints_are_kept() {
    let template = template(
        "  Kind: {Type: String, Default: t3.micro, AllowedValues: [t3.micro, t3.small]}\n  \
         Flag: {Type: String, Default: true, AllowedValues: [true, false]}\n  \
         Name: {Type: String, Default: ab, AllowedPattern: '[a-z]+|[0-9]', MinLength: 2, MaxLength: 4}\n  \
         Size: {Type: Number, Default: 5, MinValue: 1, MaxValue: 9}\n  \
         Said: {Type: String, Default: a, AllowedPattern: a, ConstraintDescription: must be the letter a.}\n  \
         Many: {Type: CommaDelimitedList, Default: 'a,b', AllowedValues: [a, b]}\n  \
         Nums: {Type: List<Number>, Default: '1'}",
    );
    let good: &[(&str, &str)] = &[
        ("Kind", "t3.small"),
        ("Flag", "false"),
        ("Name", "abcd"),
        ("Size", "1"),
        ("Many", "b,a,b"),
        ("Nums", "1, 2.5"),
    ];
    for given in good {
        values(&template, &[*given]).unwrap_or_else(|error| panic!("{given:?}: {error}"));
    }
    let bad: &[(&str, &str, &str)] = &[
        ("Kind", "m5.large", "Parameter 'Kind' must be one of AllowedValues [t3.micro, t3.small]"),
        ("Name", "AB", "Parameter 'Name' must match pattern [a-z]+|[0-9]"),
        ("Name", "ab1", "Parameter 'Name' must match pattern [a-z]+|[0-9]"),
        ("Name", "a", "Parameter 'Name' must contain at least 2 characters"),
        ("Name", "abcde", "Parameter 'Name' must contain at most 4 characters"),
        ("Size", "0", "Parameter 'Size' must be a number not less than 1"),
        ("Size", "10", "Parameter 'Size' must be a number not greater than 9"),
        ("Size", "many", "Parameter 'Size' must be a number"),
        ("Said", "b", "Parameter 'Said' failed to satisfy constraint: must be the letter a."),
        ("Many", "a,c", "Parameter 'Many' must be one of AllowedValues [a, b]"),
        ("Nums", "1,x", "Parameter 'Nums' must be a number"),
    ];
    for (name, value, want) in bad {
        assert_eq!(values(&template, &[(name, value)]).unwrap_err().message, *want);
    }
    let long = "x".repeat(4097);
    assert!(values(&template, &[("Said", &long)]).unwrap_err().message.contains("at most 4096"));
}

#[test]
fn patterns_that_cannot_be_run_are_refused_by_name() {
    let template = template("  A: {Type: String, Default: x, AllowedPattern: '(?=x)x'}");
    let message = values(&template, &[]).unwrap_err().message;
    assert!(message.contains("'(?=x)x'") && message.contains("'A'"), "{message}");
}

#[test]
fn previous_values_are_kept_on_request() {
    let template = template("  A: {Type: String, Default: new}");
    let supplied = BTreeMap::from([("A".to_owned(), Supplied::UsePrevious)]);
    let none = |name: &str| panic!("asked for {name}");
    let previous = BTreeMap::from([("A".to_owned(), "old".to_owned())]);
    let got = effective(&template.parameters, &supplied, &previous, &none).unwrap();
    assert_eq!(got["A"].value, json!("old"));
    let error = effective(&template.parameters, &supplied, &BTreeMap::new(), &none).unwrap_err();
    assert!(error.message.contains("Cannot specify usePreviousValue as true for a parameter key"), "{error}");
}

#[test]
fn ssm_parameters_are_looked_up_and_secrets_hidden() {
    let template = template(
        "  Image: {Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>', Default: /a/image}\n  \
         Nets: {Type: 'AWS::SSM::Parameter::Value<List<String>>', Default: /nets}\n  \
         Name: {Type: AWS::SSM::Parameter::Name, Default: /name}\n  \
         Secret: {Type: String, Default: hush, NoEcho: true}",
    );
    let none = BTreeMap::new();
    assert_eq!(ssm_names(&template.parameters, &BTreeMap::new(), &none).unwrap(), ["/a/image", "/nets"]);
    let ssm = |name: &str| Ok(if name == "/nets" { "n1,n2".to_owned() } else { "ami-7".to_owned() });
    let got = effective(&template.parameters, &BTreeMap::new(), &none, &ssm).unwrap();
    assert_eq!((&got["Image"].value, got["Image"].shown()), (&json!("ami-7"), "/a/image"));
    assert_eq!(got["Image"].resolved.as_deref(), Some("ami-7"));
    assert_eq!(got["Nets"].value, json!(["n1", "n2"]));
    assert_eq!(got["Name"].value, json!("/name"));
    assert_eq!((&got["Secret"].value, got["Secret"].shown()), (&json!("hush"), "****"));
}
