//! YAML and JSON, and what is not well-formed.

use serde_json::{Value, json};

use super::super::parse::{BODY_BYTES_MAX, DEPTH_MAX, Origin, URL_BODY_BYTES_MAX, parse};
use super::{refused, tree};

/// The tree of a YAML node under the key `a`.
fn node(yaml: &str) -> Value {
    tree(&format!("a: {yaml}\n"))["a"].take()
}

#[test]
fn short_forms_become_their_long_forms() {
    let table = [
        ("!Ref Vpc", json!({"Ref": "Vpc"})),
        ("!Condition Big", json!({"Condition": "Big"})),
        ("!GetAtt A.B", json!({"Fn::GetAtt": ["A", "B"]})),
        ("!GetAtt A.B.C", json!({"Fn::GetAtt": ["A", "B.C"]})),
        ("!GetAtt [A, B]", json!({"Fn::GetAtt": ["A", "B"]})),
        ("!GetAtt [A, !Ref B]", json!({"Fn::GetAtt": ["A", {"Ref": "B"}]})),
        ("!Sub '${A}-x'", json!({"Fn::Sub": "${A}-x"})),
        ("!Sub 8080", json!({"Fn::Sub": "8080"})),
        ("!Sub ['${A}', {A: 1}]", json!({"Fn::Sub": ["${A}", {"A": 1}]})),
        ("!Join ['', [a, !Ref B]]", json!({"Fn::Join": ["", ["a", {"Ref": "B"}]]})),
        ("!Select [0, !GetAZs '']", json!({"Fn::Select": [0, {"Fn::GetAZs": ""}]})),
        ("!GetAZs", json!({"Fn::GetAZs": ""})),
        ("!Split [',', 'a,b']", json!({"Fn::Split": [",", "a,b"]})),
        ("!If [C, 1, !Ref AWS::NoValue]", json!({"Fn::If": ["C", 1, {"Ref": "AWS::NoValue"}]})),
        ("!Equals [a, b]", json!({"Fn::Equals": ["a", "b"]})),
        (
            "!And [!Condition A, !Not [!Condition B]]",
            json!({"Fn::And": [{"Condition": "A"}, {"Fn::Not": [{"Condition": "B"}]}]}),
        ),
        ("!Or [!Condition A, !Condition B]", json!({"Fn::Or": [{"Condition": "A"}, {"Condition": "B"}]})),
        ("!FindInMap [M, a, b]", json!({"Fn::FindInMap": ["M", "a", "b"]})),
        ("!Base64 x", json!({"Fn::Base64": "x"})),
        ("!Cidr [10.0.0.0/16, 3, 8]", json!({"Fn::Cidr": ["10.0.0.0/16", 3, 8]})),
        ("!ImportValue x", json!({"Fn::ImportValue": "x"})),
        ("!Transform {Name: AWS::Include}", json!({"Fn::Transform": {"Name": "AWS::Include"}})),
        ("!Length [a]", json!({"Fn::Length": ["a"]})),
        ("!ToJsonString {a: b}", json!({"Fn::ToJsonString": {"a": "b"}})),
        ("!Bogus x", json!({"Fn::Bogus": "x"})),
        (
            "\n  Fn::Base64: !Sub |\n    #!/bin/sh\n    echo ${A}\n",
            json!({"Fn::Base64": {"Fn::Sub": "#!/bin/sh\necho ${A}\n"}}),
        ),
    ];
    for (yaml, want) in table {
        assert_eq!(node(yaml), want, "{yaml}");
    }
}

#[test]
fn scalars_are_read_as_cloudformation_reads_them() {
    let table = [
        ("2012-10-17", json!("2012-10-17")),
        ("2010-09-09", json!("2010-09-09")),
        ("000000000000", json!("000000000000")),
        ("0123", json!("0123")),
        ("123456789012", json!(123_456_789_012_u64)),
        ("-5", json!(-5)),
        ("1.5", json!(1.5)),
        ("1.10", json!("1.10")),
        ("1e3", json!("1e3")),
        ("0x1F", json!("0x1F")),
        ("10:30", json!("10:30")),
        ("99999999999999999999", json!("99999999999999999999")),
        ("'80'", json!("80")),
        ("\"true\"", json!("true")),
        ("!!str 80", json!("80")),
        ("! 80", json!("80")),
        ("true", json!(true)),
        ("Yes", json!(true)),
        ("on", json!(true)),
        ("NO", json!(false)),
        ("off", json!(false)),
        ("y", json!("y")),
        ("''", json!("")),
        ("|\n  a\n   b\n  c\n", json!("a\n b\nc\n")),
        (">-\n  a\n  b\n", json!("a b")),
        ("|-\n  a\n", json!("a")),
        (".5", json!(".5")),
        ("10.0.0.0/16", json!("10.0.0.0/16")),
    ];
    for (yaml, want) in table {
        assert_eq!(node(yaml), want, "{yaml}");
    }
}

#[test]
fn both_syntaxes_give_one_tree_in_the_order_of_the_text() {
    let yaml = tree("Resources:\n  B: {Type: AWS::EC2::VPC}\n  A:\n    Type: 'AWS::EC2::VPC'\n");
    let json = tree(r#" {"Resources": {"B": {"Type": "AWS::EC2::VPC"}, "A": {"Type": "AWS::EC2::VPC"}}} "#);
    assert_eq!(yaml, json);
    assert_eq!(json["Resources"].as_object().unwrap().keys().collect::<Vec<_>>(), ["B", "A"]);
    assert_eq!(tree("\u{feff}{\"a\": 1}"), tree("\u{feff}a: 1"));
}

#[test]
fn what_is_not_well_formed_is_refused_where_it_breaks() {
    assert_eq!(refused("a: 1\nb: [1, 2\n"), "Template format error: YAML not well-formed. (line 3, column 1)");
    assert_eq!(refused("a:\n  b: 1\n c: 2\n"), "Template format error: YAML not well-formed. (line 3, column 2)");
    assert_eq!(refused("{\n \"a\": }"), "Template format error: JSON not well-formed. (line 2, column 7)");
    assert_eq!(refused("{"), "Template format error: JSON not well-formed. (line 1, column 1)");
    assert_eq!(refused("{} x"), "Template format error: JSON not well-formed. (line 1, column 4)");
    for text in ["", "  \n", "# nothing\n", "text", "- a\n- b\n", "[1]", "\"a\""] {
        assert_eq!(refused(text), "Template format error: unsupported structure.", "{text}");
    }
}

#[test]
fn repeated_keys_are_refused_with_their_line() {
    let message = refused("Resources:\n  A: {}\n  B: {}\n  A: {}\n");
    assert_eq!(message, "Template format error: YAML not well-formed. (line 4, column 3) Duplicate key 'A'.");
    let message = refused("{\"a\": {\"b\": 1,\n\"b\": 2}}");
    assert!(message.starts_with("Template format error: JSON not well-formed. (line 2, column "), "{message}");
    assert!(message.ends_with(" Duplicate key 'b'."), "{message}");
}

#[test]
fn keys_must_be_text() {
    let path = "Template format error: [/Resources/A] map keys must be strings; received";
    assert_eq!(refused("Resources:\n  A:\n    1: x\n"), format!("{path} numeric [1] instead"));
    assert_eq!(refused("Resources:\n  A:\n    !Sub x: y\n"), format!("{path} a map instead"));
    assert_eq!(refused("Resources:\n  A:\n    ? [a]\n    : y\n"), format!("{path} a map instead"));
    assert_eq!(tree("a:\n  '1': x\n  000000000000: y\n"), json!({"a": {"1": "x", "000000000000": "y"}}));
}

#[test]
fn null_is_refused_with_its_path() {
    let message = "[/Resources/A/Properties] 'null' values are not allowed in templates";
    assert_eq!(refused("Resources:\n  A:\n    Properties:\n"), message);
    assert_eq!(refused(r#"{"Resources": {"A": {"Properties": [1, null]}}}"#), message);
    assert!(refused("Parameters:\nResources: {}\n").starts_with("[/Parameters]"));
}

#[test]
fn aliases_repeat_their_anchor() {
    let got = tree("a: &x {k: [1, &y two]}\nb: *x\nc: [*y, *y]\n*y : d\n");
    assert_eq!(got, json!({"a": {"k": [1, "two"]}, "b": {"k": [1, "two"]}, "c": ["two", "two"], "two": "d"}));
    assert!(refused("a: *nothing\n").contains("YAML not well-formed"));
    assert!(refused("a: &x [*x]\n").contains("YAML not well-formed"));
    assert!(refused("a: &x {b: 1}\nc:\n  <<: *x\n").contains("Hash merges (<<) are not supported"));
}

#[test]
fn aliases_cannot_grow_without_limit() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..30 {
        let before = n - 1;
        laughs += &format!("a{n}: &a{n} [*a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}]\n");
    }
    assert!(refused(&laughs).contains("expand to too much"));
    let mut chain = String::from("a0: &a0 [x]\n");
    for n in 1..=DEPTH_MAX {
        chain += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
    }
    assert!(refused(&chain).contains("nest 100 levels"));
}

#[test]
fn lengths_and_depths_are_limited() {
    let long = format!("a: {}\n", "x".repeat(BODY_BYTES_MAX));
    let message = refused(&long);
    assert!(message.starts_with("1 validation error detected: Value '"), "{message}");
    assert!(message.ends_with(
        "at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to 51200"
    ));
    assert!(parse(&long, Origin::Url).is_ok());
    assert!(parse(&"x".repeat(URL_BODY_BYTES_MAX + 1), Origin::Url).is_err());
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let nested = |depth: usize| format!("a: {}x{}\n", open.repeat(depth), close.repeat(depth));
        assert!(parse(&nested(DEPTH_MAX - 1), Origin::Body).is_ok());
        assert!(refused(&nested(DEPTH_MAX)).contains("nest 100 levels"));
        // The scanner has a limit of its own, beyond ours.
        assert!(refused(&nested(10_000)).contains("YAML not well-formed"));
    }
    let nested = |depth: usize| format!("{{\"a\": {}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX - 1), Origin::Body).is_ok());
    assert!(refused(&nested(DEPTH_MAX)).contains("nest 100 levels"));
}

#[test]
fn only_one_document_and_only_known_tags() {
    assert!(refused("a: 1\n---\nb: 2\n").contains("single document"));
    assert_eq!(tree("---\na: 1\n...\n"), json!({"a": 1}));
    for tag in ["!!binary", "!!set", "!!timestamp", "!<tag:x,2000:y>"] {
        assert!(refused(&format!("a: {tag} x\n")).contains("is not supported"), "{tag}");
    }
}
