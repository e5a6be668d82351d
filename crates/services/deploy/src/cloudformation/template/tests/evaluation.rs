//! What functions and references come to.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use standfast_core::{Error, Result};

use super::super::eval::{Evaluation, External, Pseudo, Resolver};
use super::super::{invalid, language, model, rules};
use super::{load_error, loaded, tree, values};

/// Answers everything by a name that says what was asked.
struct Echo;

impl Resolver for Echo {
    fn reference(&self, resource: &str) -> Result<Value> {
        Ok(format!("id-{resource}").into())
    }
    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value> {
        if attribute == "Lists" { Ok(json!(["l1", "l2"])) } else { Ok(format!("{resource}.{attribute}").into()) }
    }
    fn external(&self, wanted: &External) -> Result<Value> {
        Ok(match wanted {
            External::Zones { region } => json!([format!("{region}a"), format!("{region}b")]),
            External::Import { name } if name == "gone" => {
                return Err(invalid(format!("No export named {name} found.")));
            }
            External::Import { name } => format!("import-{name}").into(),
            External::Ssm { name, version } => format!("ssm-{name}-{version:?}").into(),
            External::SsmSecure { name, .. } => format!("secure-{name}").into(),
            External::Secret { id, json_key, .. } => format!("secret-{id}-{json_key:?}").into(),
        })
    }
}

fn pseudo() -> Pseudo {
    Pseudo {
        account_id: "000000000000".into(),
        notification_arns: vec!["arn:1".into(), "arn:2".into()],
        partition: "aws".into(),
        region: "eu-west-1".into(),
        stack_id: "arn:stack".into(),
        stack_name: "demo".into(),
        url_suffix: "amazonaws.com".into(),
    }
}

const BASE: &str = "Transform: AWS::LanguageExtensions
Parameters:
  Name: {Type: String, Default: web}
  List: {Type: CommaDelimitedList, Default: 'a,b,c'}
Mappings:
  M: {eu-west-1: {image: ami-1, sizes: [1, 2]}}
Conditions:
  Web: !Equals [!Ref Name, web]
  Other: !Not [!Condition Web]
  Both: !And [!Condition Web, !Condition Other]
  Either: !Or [!Condition Other, !Condition Web]
  Texts: !Equals [true, 'true']
Resources:
  Vpc: {Type: AWS::EC2::VPC}
  Absent: {Type: AWS::EC2::VPC, Condition: Other}
";

/// The value of a property of a resource beside those of `BASE`; `None` when the property is left out.
fn property(node: &str) -> Result<Option<Value>> {
    let template = loaded(&format!("{BASE}  It:\n    Type: AWS::EC2::Subnet\n    Properties:\n      P: {node}\n"));
    let (parameters, pseudo) = (values(&template, &[])?, pseudo());
    let evaluation = Evaluation::new(&template, &parameters, &pseudo, &Echo)?;
    evaluation.check()?;
    Ok(evaluation.resource("It")?.properties.remove("P"))
}

#[test]
fn functions_give_their_values() {
    let table = [
        ("!Ref Name", json!("web")),
        ("!Ref List", json!(["a", "b", "c"])),
        ("!Ref Vpc", json!("id-Vpc")),
        ("!Ref AWS::AccountId", json!("000000000000")),
        ("!Ref AWS::NotificationARNs", json!(["arn:1", "arn:2"])),
        ("!Ref AWS::StackName", json!("demo")),
        (
            "!Sub '${AWS::Partition} ${AWS::Region} ${AWS::StackId} ${AWS::URLSuffix}'",
            json!("aws eu-west-1 arn:stack amazonaws.com"),
        ),
        ("!GetAtt Vpc.Arn", json!("Vpc.Arn")),
        ("!GetAtt Vpc.Endpoint.Address", json!("Vpc.Endpoint.Address")),
        ("!GetAtt [Vpc, !Sub 'Arn']", json!("Vpc.Arn")),
        ("!Sub '${Name}-${Vpc}-${Vpc.Arn}-${!Name}-$Name'", json!("web-id-Vpc-Vpc.Arn-${Name}-$Name")),
        ("!Sub ['${Name}${n}', {Name: x, n: 5}]", json!("x5")),
        ("!Join ['-', [a, !Ref Name, 5, true, !Ref AWS::NoValue]]", json!("a-web-5-true")),
        ("!Join [',', !Ref List]", json!("a,b,c")),
        ("!Select [1, !Ref List]", json!("b")),
        ("!Select ['0', !GetAZs '']", json!("eu-west-1a")),
        ("!GetAZs us-east-1", json!(["us-east-1a", "us-east-1b"])),
        ("!Split ['-', a-b-c]", json!(["a", "b", "c"])),
        ("!Select [1, !Split ['.', !GetAtt Vpc.Arn]]", json!("Arn")),
        ("!If [Web, a, b]", json!("a")),
        ("!If [Either, !If [Both, x, y], z]", json!("y")),
        ("!If [Texts, same, other]", json!("same")),
        ("!If [Other, !Ref Absent, none]", json!("none")),
        ("{a: !If [Other, x, !Ref AWS::NoValue], b: [1, !Ref AWS::NoValue, 2]}", json!({"b": [1, 2]})),
        ("!FindInMap [M, !Ref AWS::Region, image]", json!("ami-1")),
        ("!FindInMap [M, !Ref AWS::Region, sizes]", json!([1, 2])),
        ("!FindInMap [M, mars, image, {DefaultValue: !Ref Name}]", json!("web")),
        ("!Base64 abc", json!("YWJj")),
        ("{'Fn::Base64': !Sub '${Name}'}", json!("d2Vi")),
        ("!Cidr [10.0.0.0/16, 2, 8]", json!(["10.0.0.0/24", "10.0.1.0/24"])),
        ("!Select [2, !Cidr [10.0.0.0/16, '3']]", json!("10.0.2.0/24")),
        ("!ImportValue x", json!("import-x")),
        ("{'Fn::ImportValue': !Sub '${Name}-vpc'}", json!("import-web-vpc")),
        ("!Length [a, b]", json!(2)),
        ("!Length {Ref: List}", json!(3)),
        ("!ToJsonString {a: [1, !Ref Name]}", json!("{\"a\":[1,\"web\"]}")),
        ("'{{resolve:ssm:/a/b:3}}'", json!("ssm-/a/b-Some(3)")),
        ("!Sub 'x {{resolve:ssm:/${Name}}} y {{resolve:ssm-secure:s:1}}'", json!("x ssm-/web-None y secure-s")),
        ("'{{resolve:secretsmanager:db:SecretString:pw}}'", json!("secret-db-Some(\"pw\")")),
        ("[5, true, text, {a: {Condition: x}}]", json!([5, true, "text", {"a": {"Condition": "x"}}])),
    ];
    for (node, want) in table {
        let got = property(node).unwrap_or_else(|error| panic!("{node}: {error}"));
        assert_eq!(got, Some(want), "{node}");
    }
    assert_eq!(property("!Ref AWS::NoValue").unwrap(), None);
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let table = [
        ("!Select [3, !Ref List]", "Template error: Fn::Select cannot select nonexistent value at index 3"),
        ("!Select [0, !Ref Name]", "Template error: Fn::Select was given what is not a list"),
        ("!Select [!Ref Name, [a]]", "Template error: Fn::Select requires an integer index, got 'web'"),
        ("!Sub '${List}'", "Template error: variable List in Fn::Sub expression does not resolve to a string"),
        ("!Sub ['${v}', {v: [a]}]", "Template error: variable v in Fn::Sub expression does not resolve to a string"),
        ("!Join ['', [[a]]]", "Template error: Fn::Join was given a list that holds more than strings"),
        ("!Split ['', a]", "Template error: every Fn::Split object requires a delimiter that is not empty"),
        ("!FindInMap [M, !Ref Name, image]", "Template error: Unable to get mapping for M::web::image"),
        ("!FindInMap [!Ref Name, a, b]", "Template error: Mapping named 'web' is not present"),
        ("!Cidr [10.0.0.0/24, 2, 8]", "Template error: Fn::Cidr cannot cut 2 blocks of 8 bits from '10.0.0.0/24'"),
        ("!ImportValue gone", "No export named gone found."),
        ("!Ref Absent", "Template format error: Unresolved resource dependencies [Absent] in the Resources block"),
        (
            "!GetAtt Absent.Arn",
            "Template format error: Unresolved resource dependencies [Absent] in the Resources block",
        ),
        ("'{{resolve:ssm}}'", "Incorrect format is used in the following SSM reference: [{{resolve:ssm}}]"),
        ("'{{resolve:vault:x}}'", "Incorrect format is used in the following dynamic reference"),
    ];
    for (node, want) in table {
        let got = property(node).expect_err(node).message;
        assert!(got.starts_with(want), "{node}: {got}");
    }
}

#[test]
fn nested_text_cannot_grow_without_limit() {
    let mut node = "aaaaaaaaaaaaaaaa".to_owned();
    for _ in 0..25 {
        node = format!("!Sub ['${{v}}${{v}}', {{v: {node}}}]");
    }
    assert!(property(&node).unwrap_err().message.contains("Fn::Sub gives more than"));
}

#[test]
fn conditions_decide_resources_and_outputs() {
    let text = format!(
        "{BASE}Outputs:\n  Id: {{Value: !Ref Vpc, Description: the VPC, Export: {{Name: !Sub '${{AWS::StackName}}-vpc'}}}}\n  \
         Gone: {{Value: !Ref Absent, Condition: Other}}\n  Count: {{Value: !Length {{Ref: List}}}}\n  \
         Secret: {{Value: '{{{{resolve:ssm-secure:s}}}}'}}\n"
    );
    let template = loaded(&text);
    let (parameters, pseudo) = (values(&template, &[]).unwrap(), pseudo());
    let evaluation = Evaluation::new(&template, &parameters, &pseudo, &Echo).unwrap();
    evaluation.check().unwrap();
    assert_eq!(evaluation.active(), ["Vpc"]);
    assert_eq!((evaluation.condition("Both"), evaluation.condition("Nope")), (Some(false), None));
    let outputs = evaluation.outputs().unwrap();
    let shown: Vec<_> = outputs.iter().map(|o| (o.key.as_str(), o.value.as_str(), o.export_name.as_deref())).collect();
    assert_eq!(
        shown,
        [("Count", "3", None), ("Id", "id-Vpc", Some("demo-vpc")), ("Secret", "{{resolve:ssm-secure:s}}", None)]
    );
    let other = values(&template, &[("Name", "db")]).unwrap();
    let evaluation = Evaluation::new(&template, &other, &pseudo, &Echo).unwrap();
    assert_eq!(evaluation.active(), ["Absent", "Vpc"]);
}

#[test]
fn attributes_of_resources_are_evaluated_too() {
    let template = loaded(&format!(
        "{BASE}  It:\n    Type: AWS::EC2::Subnet\n    DeletionPolicy: Retain\n    Metadata: {{a: !Ref Name}}\n    \
         UpdatePolicy: {{AutoScalingRollingUpdate: {{MinInstancesInService: !Length [a, b]}}}}\n"
    ));
    let (parameters, pseudo) = (values(&template, &[]).unwrap(), pseudo());
    let it = Evaluation::new(&template, &parameters, &pseudo, &Echo).unwrap().resource("It").unwrap();
    assert_eq!(it.metadata, Some(json!({"a": "web"})));
    assert_eq!(it.update_policy, Some(json!({"AutoScalingRollingUpdate": {"MinInstancesInService": 2}})));
    assert_eq!((it.kind.as_str(), it.deletion_policy), ("AWS::EC2::Subnet", model::DeletionPolicy::Retain));
}

#[test]
fn rules_hold_or_say_why() {
    let check = |condition: &str, assert: &str| {
        let rule =
            format!("Rules: {{R: {{{condition}Assertions: [{{Assert: {assert}, AssertDescription: because}}]}}}}\n");
        let template = loaded(&format!("{rule}{BASE}"));
        let (parameters, pseudo) = (values(&template, &[]).unwrap(), pseudo());
        let evaluation = Evaluation::new(&template, &parameters, &pseudo, &Echo).unwrap();
        rules::check(&template, &evaluation).map_err(|error| error.message)
    };
    let failed = Err("Template validation error: the assertion of rule R failed: because".to_owned());
    for (assert, holds) in [
        ("!Equals [!Ref Name, web]", true),
        ("!Not [!Equals [!Ref Name, web]]", false),
        ("!And [!Equals [a, a], !Equals [a, b]]", false),
        ("!Or [!Equals [a, a], !Equals [a, b]]", true),
        ("{'Fn::Contains': [[db, web], !Ref Name]}", true),
        ("{'Fn::Contains': [[db], !Ref Name]}", false),
        ("{'Fn::EachMemberIn': [!Ref List, [a, b, c, d]]}", true),
        ("{'Fn::EachMemberIn': [!Ref List, [a, b]]}", false),
        ("{'Fn::EachMemberEquals': [[x, x], x]}", true),
        ("{'Fn::EachMemberEquals': [[x, y], x]}", false),
    ] {
        assert_eq!(check("", assert), if holds { Ok(()) } else { failed.clone() }, "{assert}");
    }
    let never = "RuleCondition: !Equals [a, b], ";
    assert_eq!(check(never, "!Equals [a, b]"), Ok(()));
    assert!(check("", "{'Fn::RefAll': [x]}").unwrap_err().contains("Fn::RefAll is not supported in Rules"));
    assert!(check("", "!Equals [a]").unwrap_err().contains("Fn::Equals was given arguments of the wrong form"));
}

#[test]
fn loops_are_written_out() {
    let text = "Transform: AWS::LanguageExtensions
Parameters:
  Names: {Type: CommaDelimitedList, Default: 'x,y'}
Resources:
  Fn::ForEach::Vpcs:
    - Name
    - !Ref Names
    - Vpc${Name}:
        Type: AWS::EC2::VPC
        Properties:
          Tag: !Ref Name
          Fn::ForEach::Inner:
            - Bit
            - [a-1, b]
            - ${Name}&{Bit}: !Sub '${Bit}-${AWS::Region}'
";
    let list = |name: &str| (name == "Names").then(|| vec!["x".to_owned(), "y".to_owned()]);
    let expanded = language::expand(tree(text), &list).unwrap();
    let vpc = |name: &str| {
        json!({"Type": "AWS::EC2::VPC", "Properties": {
            "Tag": name,
            format!("{name}a1"): {"Fn::Sub": "a-1-${AWS::Region}"},
            format!("{name}b"): {"Fn::Sub": "b-${AWS::Region}"},
        }})
    };
    assert_eq!(expanded["Resources"], json!({"Vpcx": vpc("x"), "Vpcy": vpc("y")}));
    let without = text.replace("Transform: AWS::LanguageExtensions\n", "");
    assert_eq!(
        load_error(&without),
        "Template error: Fn::ForEach::Vpcs requires the AWS::LanguageExtensions transform"
    );
    let refused = |text: &str| -> Error { language::expand(tree(text), &|_| None).unwrap_err() };
    assert!(refused(text).message.contains("the collection of Fn::ForEach::Vpcs"));
    let twice = "Transform: AWS::LanguageExtensions\nResources:\n  Fn::ForEach::A: [X, [a, a], {'V${X}': {Type: T}}]\n";
    assert!(refused(twice).message.contains("gives the key Va twice"));
}

#[test]
fn a_mistake_in_conditions_is_answered_even_unvalidated() {
    let tree = tree("Conditions: {A: !Condition B, B: !Condition A}\nResources: {V: {Type: T}}\n");
    let template = model::Template::read(&tree).unwrap();
    let error = Evaluation::new(&template, &BTreeMap::new(), &pseudo(), &Echo).err().unwrap();
    assert_eq!(error.message, "Template error: Circular dependency between conditions: [A, B]");
}
