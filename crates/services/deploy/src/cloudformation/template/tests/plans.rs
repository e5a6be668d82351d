//! Orders of creation, and differences between two versions of a template.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::super::diff::{Change, differences};
use super::super::eval::EvaluatedResource;
use super::super::graph::Graph;
use super::super::model::DeletionPolicy;
use super::loaded;

fn edges(table: &[(&str, &[&str])]) -> Graph {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    Graph::from_needs(table.iter().map(|(name, needs)| ((*name).to_owned(), set(needs))).collect())
}

#[test]
fn every_way_of_naming_a_resource_is_an_edge() {
    let template = loaded(
        "Conditions: {C: !Equals [a, b]}\nParameters: {P: {Type: String, Default: x}}\nResources:
  A: {Type: AWS::EC2::VPC}
  B: {Type: AWS::EC2::VPC}
  C: {Type: AWS::EC2::VPC, Condition: C}
  ByRef: {Type: AWS::EC2::VPC, Properties: {X: [!Ref A, !Ref P]}}
  ByAtt: {Type: AWS::EC2::VPC, Properties: {X: {Y: !GetAtt A.Arn}}}
  BySub: {Type: AWS::EC2::VPC, Properties: {X: !Sub ['${A} ${own} ${AWS::Region}', {own: !Ref B}]}}
  ByName: {Type: AWS::EC2::VPC, DependsOn: [A, B]}
  ByIf: {Type: AWS::EC2::VPC, Properties: {X: !If [C, !Ref C, !Ref B]}}
  ByMeta: {Type: AWS::EC2::VPC, Metadata: {X: !Ref A}}
",
    );
    let graph = Graph::of(&template, |_| true).unwrap();
    let needs = |name: &str| graph.needs(name).collect::<Vec<_>>().join(" ");
    let table = [
        ("A", ""),
        ("ByRef", "A"),
        ("ByAtt", "A"),
        ("BySub", "A B"),
        ("ByName", "A B"),
        ("ByIf", "B C"),
        ("ByMeta", "A"),
    ];
    for (name, want) in table {
        assert_eq!(needs(name), want, "{name}");
    }
    let active = Graph::of(&template, |name| name != "C").unwrap();
    assert_eq!(active.needs("ByIf").collect::<Vec<_>>(), ["B"]);
}

#[test]
fn waves_are_as_early_as_can_be() {
    let graph =
        edges(&[("Vpc", &[]), ("Net", &["Vpc"]), ("Gate", &["Vpc"]), ("Route", &["Gate", "Net"]), ("Queue", &[])]);
    assert_eq!(graph.waves().unwrap(), [vec!["Queue", "Vpc"], vec!["Gate", "Net"], vec!["Route"]]);
    assert_eq!(graph.reversed().waves().unwrap(), [vec!["Queue", "Route"], vec!["Gate", "Net"], vec!["Vpc"]]);
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(graph.ready(&set(&["Vpc", "Gate"]), &set(&["Net"])), ["Queue"]);
    assert_eq!(graph.ready(&set(&["Vpc", "Gate", "Net", "Queue"]), &set(&[])), ["Route"]);
    let cycle = edges(&[("A", &["B"]), ("B", &["C"]), ("C", &["A"]), ("Before", &[]), ("After", &["A"])]);
    assert_eq!(cycle.waves().unwrap_err().message, "Circular dependency between resources: [A, B, C]");
    assert!(edges(&[("A", &["Gone"])]).waves().is_ok());
}

fn resource(kind: &str, properties: serde_json::Value) -> EvaluatedResource {
    EvaluatedResource {
        kind: kind.into(),
        properties: properties.as_object().unwrap().clone(),
        metadata: None,
        creation_policy: None,
        update_policy: None,
        deletion_policy: DeletionPolicy::Delete,
        update_replace_policy: DeletionPolicy::Delete,
    }
}

/// The pointers of what changed between two property sets.
fn changed(old: serde_json::Value, new: serde_json::Value) -> Vec<String> {
    let set = |properties| BTreeMap::from([("A".to_owned(), resource("T", properties))]);
    match differences(&set(old), &set(new)).as_slice() {
        [] => Vec::new(),
        [one] => match &one.change {
            Change::Changed(paths) => paths.iter().map(|path| path.pointer()).collect(),
            other => panic!("{other:?}"),
        },
        more => panic!("{more:?}"),
    }
}

#[test]
fn changed_properties_are_named_by_path() {
    assert!(changed(json!({"A": 1, "B": [true]}), json!({"B": ["true"], "A": "1"})).is_empty());
    assert_eq!(changed(json!({"A": 1}), json!({"A": 2, "B": 1})), ["/Properties/A", "/Properties/B"]);
    assert_eq!(
        changed(json!({"A": {"B": [1, 2], "C": 1}}), json!({"A": {"B": [1, 3]}})),
        ["/Properties/A/B/1", "/Properties/A/C"]
    );
    assert_eq!(changed(json!({"A": [1]}), json!({"A": [1, 2]})), ["/Properties/A"]);
    assert_eq!(changed(json!({"A": [1]}), json!({"A": {"B": 1}})), ["/Properties/A"]);
}

#[test]
fn resources_come_go_and_change_type() {
    let set = |names: &[(&str, &str)]| -> BTreeMap<String, EvaluatedResource> {
        names.iter().map(|(name, kind)| ((*name).to_owned(), resource(kind, json!({})))).collect()
    };
    let got = differences(
        &set(&[("Gone", "T"), ("Same", "T"), ("Turned", "T")]),
        &set(&[("New", "T"), ("Same", "T"), ("Turned", "U")]),
    );
    let shown: Vec<String> = got
        .iter()
        .map(|difference| match &difference.change {
            Change::Changed(paths) => format!("{} {}", difference.logical_id, paths[0].part.name()),
            other => format!("{} {other:?}", difference.logical_id),
        })
        .collect();
    assert_eq!(shown, ["Gone Removed", "New Added", "Turned Type"]);
}
