//! What the generator promises, seen through the crates it generated and through its command line.

use std::process::Command;

use standfast_api::{SERVICES, cloudwatch, ec2, elbv2, fis, ssm};
use standfast_wire::convert::{decode, encode};
use standfast_wire::schema::{Location, Protocol, StructSchema, Type};
use standfast_wire::{Decode, Operation, Struct};

fn member<'a>(schema: &'a StructSchema, name: &str) -> &'a standfast_wire::Member {
    schema.members.iter().find(|member| member.name == name).expect("the model has this member")
}

#[test]
fn generated_code_is_up_to_date() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["codegen", "--check"]).output().expect("xtask runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_operation_is_found_by_its_name() {
    for service in SERVICES {
        for operation in service.operations {
            let found = service.operation(operation.name).expect("operations are sorted by name");
            assert!(std::ptr::eq(found, *operation), "{}.{}", service.name, operation.name);
        }
    }
}

#[test]
fn a_structure_survives_the_way_in_and_out() {
    let json: serde_json::Value = serde_json::from_str(
        r#"{"Type": "forward", "Order": 3, "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "arn", "Weight": 7}]}}"#,
    )
    .expect("a literal");
    let value = Struct::from_json(&json, <elbv2::Action as Decode>::SCHEMA).expect("it fits the schema");
    let action: elbv2::Action = decode(value.clone());
    assert_eq!(action.r#type, "forward");
    assert_eq!(
        action.forward_config.clone().and_then(|config| config.target_groups).map(|groups| groups.len()),
        Some(1)
    );
    assert_eq!(encode(action), value);
}

#[test]
fn names_on_the_wire_follow_each_protocol() {
    let interface = member(ec2::RunInstances::SCHEMA.input, "NetworkInterfaces");
    assert_eq!((interface.wire, interface.ec2), ("networkInterface", "NetworkInterface"));
    let Type::List(interfaces) = interface.ty else { panic!("a list") };
    let Type::Struct(specification) = interfaces.item else { panic!("a list of structures") };
    let addresses = member(specification, "Ipv6Addresses");
    assert_eq!((addresses.wire, addresses.ec2), ("ipv6AddressesSet", "Ipv6Addresses"));
    assert_eq!(interfaces.wire, "item");

    let Type::List(subnets) = member(elbv2::CreateLoadBalancer::SCHEMA.input, "Subnets").ty else { panic!("a list") };
    assert_eq!(subnets.wire, "member");
    assert_eq!(member(fis::GetExperiment::SCHEMA.input, "id").location, Location::Uri);
}

#[test]
fn services_know_their_names_and_protocols() {
    assert_eq!(cloudwatch::MODEL.protocols, [Protocol::Json10, Protocol::Query, Protocol::Cbor]);
    assert_eq!(cloudwatch::MODEL.signing_name, "monitoring");
    assert_eq!(cloudwatch::MODEL.cbor_name, "GraniteServiceVersion20100801");
    assert_eq!(elbv2::MODEL.signing_name, "elasticloadbalancing");
    assert_eq!(ssm::MODEL.protocols, [Protocol::Json11]);
    assert_eq!(fis::MODEL.protocols, [Protocol::RestJson]);
}

#[test]
fn errors_carry_the_code_and_status_of_the_model() {
    let not_found = &elbv2::errors::LOAD_BALANCER_NOT_FOUND_EXCEPTION;
    assert_eq!((not_found.shape, not_found.code), ("LoadBalancerNotFoundException", "LoadBalancerNotFound"));
    assert_eq!(not_found.status, 400);
    assert_eq!(ssm::errors::INTERNAL_SERVER_ERROR.status, 500);
}
