//! The services' words for inputs that break the model's constraints.

use serde_json::json;
use standfast_wire::codec::validate;
use standfast_wire::{Protocol, ServiceSchema};

use super::schemas::{CLOUDWATCH, EC2, JSON, PUT_STRICT, QUERY, RDS, SQS, with};
use super::{refuses, value};

#[track_caller]
fn invalid(service: &'static ServiceSchema, input: serde_json::Value) -> (String, String) {
    let error = validate(service, &PUT_STRICT, &value(PUT_STRICT.input, input)).expect_err("it breaks a constraint");
    (error.code.into_owned(), error.message)
}

#[track_caller]
fn says(service: &'static ServiceSchema, input: serde_json::Value, code: &str, message: &str) {
    assert_eq!(invalid(service, input), (code.to_owned(), message.to_owned()));
}

const NULL_NAME: &str = "1 validation error detected: Value null at 'autoScalingGroupName' failed to satisfy \
                         constraint: Member must not be null";

#[test]
fn each_service_names_a_missing_member_in_its_own_words() {
    says(&QUERY, json!({}), "ValidationError", NULL_NAME);
    says(&JSON, json!({}), "ValidationException", NULL_NAME);
    let contain = "The request must contain the parameter AutoScalingGroupName";
    says(&EC2, json!({}), "MissingParameter", contain);
    says(&RDS, json!({}), "MissingParameter", contain);
    says(&SQS, json!({}), "MissingParameter", contain);
    says(&CLOUDWATCH, json!({}), "MissingParameter", "The parameter AutoScalingGroupName is required.");
}

#[test]
fn bounds_and_enums_are_checked() {
    for (member, bad, complaint) in [
        (
            "MaxRecords",
            json!(0),
            "Value '0' at 'maxRecords' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            "MaxRecords",
            json!(11),
            "Value '11' at 'maxRecords' failed to satisfy constraint: Member must have value less than or equal to 10",
        ),
        (
            "Share",
            json!(10.5),
            "Value '10.5' at 'share' failed to satisfy constraint: Member must have value less than or equal to 10",
        ),
        (
            "Label",
            json!("ééééé"),
            "Value 'ééééé' at 'label' failed to satisfy constraint: Member must have length less than or equal to 4",
        ),
        (
            "Label",
            json!(""),
            "Value '' at 'label' failed to satisfy constraint: Member must have length greater than or equal to 2",
        ),
        (
            "Data",
            json!("aGVsbG8="),
            "Value '5 bytes' at 'data' failed to satisfy constraint: Member must have length less than or equal to 4",
        ),
        (
            "Color",
            json!("BLUE"),
            "Value 'BLUE' at 'color' failed to satisfy constraint: Member must satisfy enum value set: [RED, GREEN]",
        ),
        (
            "Labels",
            json!([]),
            "Value '[]' at 'labels' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (
            "Labels",
            json!(["aa", "b"]),
            "Value '[aa, b]' at 'labels' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 4, Member must have length greater than or equal to 2]",
        ),
        (
            "Tags",
            json!([{"Key": "k"}, {"Value": "ok"}]),
            "Value null at 'tags.2.member.key' failed to satisfy constraint: Member must not be null",
        ),
        (
            "Colors",
            json!({"k": "RED"}),
            "Value '{k=RED}' at 'colors' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 4, Member must have length greater than or equal to 2]",
        ),
        (
            "Colors",
            json!({"kk": "red"}),
            "Value '{kk=red}' at 'colors' failed to satisfy constraint: Map value must satisfy constraint: [Member must satisfy enum value set: [RED, GREEN]]",
        ),
        (
            "Choice",
            json!({"A": "a", "B": "b"}),
            "Value '2 members' at 'choice' failed to satisfy constraint: Member must have exactly one member set",
        ),
    ] {
        let input = json!({"AutoScalingGroupName": "g", member: bad});
        says(&JSON, input, "ValidationException", &format!("1 validation error detected: {complaint}"));
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    says(
        &QUERY,
        json!({"MaxRecords": 0}),
        "ValidationError",
        "2 validation errors detected: Value null at 'autoScalingGroupName' failed to satisfy constraint: Member must \
         not be null; Value '0' at 'maxRecords' failed to satisfy constraint: Member must have value greater than or \
         equal to 1",
    );
    let (_, many) = invalid(&QUERY, json!({"Tags": vec![json!({}); 1000]}));
    assert!(many.starts_with("20 validation errors detected: "), "{many}");
}

#[test]
fn a_refused_value_is_repeated_in_part_only() {
    let (_, message) = invalid(&JSON, json!({"AutoScalingGroupName": "g", "Color": "é".repeat(100_000)}));
    assert!(message.contains(&format!("'{}...'", "é".repeat(256))));
}

#[test]
fn ec2_checks_enums_and_what_is_required_and_no_bounds() {
    let input = json!({"AutoScalingGroupName": "g", "MaxRecords": 0, "Label": "", "Labels": []});
    assert!(validate(&EC2, &PUT_STRICT, &value(PUT_STRICT.input, input)).is_ok());
    says(
        &EC2,
        json!({"AutoScalingGroupName": "g", "Color": "BLUE"}),
        "InvalidParameterValue",
        "Invalid value 'BLUE' for parameter Color. Member must satisfy enum value set: [RED, GREEN]",
    );
    says(
        &EC2,
        json!({"AutoScalingGroupName": "g", "Tags": [{}]}),
        "MissingParameter",
        "The request must contain the parameter Tags.1.Key",
    );
}

#[test]
fn decoding_validates() {
    let error = refuses(with(Protocol::Query, &PUT_STRICT), "Action=PutStrict");
    assert_eq!((&*error.code, &*error.message), ("ValidationError", NULL_NAME));
    let error = refuses(with(Protocol::Cbor, &PUT_STRICT), vec![0xa0]);
    assert_eq!(error.message, "The parameter AutoScalingGroupName is required.");
}
