//! What is refused before anything is created.

use super::{load, load_error, loaded};

/// A template with one VPC and more lines behind the Resources section.
fn vpc_and(more: &str) -> String {
    format!("Resources:\n  Vpc: {{Type: AWS::EC2::VPC}}\n{more}")
}

/// A template whose one subnet has a property.
fn with_property(value: &str) -> String {
    format!(
        "Conditions: {{Big: !Equals [a, b]}}\nMappings: {{M: {{a: {{b: c}}}}}}\nParameters: {{P: {{Type: String}}}}\n\
         Resources:\n  Vpc: {{Type: AWS::EC2::VPC}}\n  Net:\n    Type: AWS::EC2::Subnet\n    Properties:\n      Name: {value}\n"
    )
}

#[test]
fn an_undefined_parameter_is_named_and_its_definition_heals_the_template() {
    let broken = "Resources:\n  Vpc:\n    Type: AWS::EC2::VPC\n    Properties:\n      CidrBlock: !Ref VpcCidr\n";
    assert_eq!(
        load_error(broken),
        "Template format error: Unresolved resource dependencies [VpcCidr] in the Resources block of the template"
    );
    let healed = format!("Parameters:\n  VpcCidr: {{Type: String, Default: 10.0.0.0/16}}\n{broken}");
    assert!(loaded(&healed).parameters.contains_key("VpcCidr"));
}

#[test]
fn unresolved_names_are_gathered_by_block() {
    let text = with_property("[!Ref Zed, !Ref Abc, !Sub '${Mid}', !Sub ['${Own}', {Own: !Ref Zed}]]");
    assert_eq!(
        load_error(&text),
        "Template format error: Unresolved resource dependencies [Abc, Mid, Zed] in the Resources block of the template"
    );
    assert_eq!(
        load_error(&vpc_and("Outputs:\n  O: {Value: !Ref Nope}\n")),
        "Template format error: Unresolved resource dependencies [Nope] in the Outputs block of the template"
    );
    assert_eq!(
        load_error("Resources:\n  Vpc: {Type: AWS::EC2::VPC, DependsOn: [Gone]}\n"),
        "Template format error: Unresolved resource dependencies [Gone] in the Resources block of the template"
    );
    assert_eq!(
        load_error(&vpc_and("Conditions: {C: !Equals [!Ref Vpc, a]}\n")),
        "Template format error: Unresolved dependencies [Vpc]. Cannot reference resources in the Conditions block of the \
         template"
    );
}

#[test]
fn references_and_functions_are_checked_where_they_stand() {
    let table = [
        ("!GetAtt Nope.Arn", "Template error: instance of Fn::GetAtt references undefined resource Nope"),
        ("!Sub '${Nope.Arn}'", "Template error: instance of Fn::Sub references invalid resource attribute Nope.Arn"),
        ("!GetAtt Vpc.Colour", "Template error: resource Vpc does not support attribute type Colour in Fn::GetAtt"),
        ("!Sub '${Vpc.Colour}'", "Template error: resource Vpc does not support attribute type Colour in Fn::Sub"),
        ("!If [Small, a, b]", "Template error: unresolved condition dependency Small in Fn::If"),
        (
            "!Bogus x",
            "Template error: Encountered unsupported function: Fn::Bogus Supported functions are: [Fn::Base64,",
        ),
        (
            "!Join [a]",
            "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list",
        ),
        ("!Join [a, b]", "Template error: every Fn::Join object"),
        ("!Select [x, [a]]", "Template error: Fn::Select requires a list argument with two elements: an integer index"),
        ("!Select [0]", "Template error: Fn::Select requires a list argument with two elements"),
        ("!Split [a]", "Template error: every Fn::Split object requires two parameters"),
        ("!Sub [a]", "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments."),
        ("!Sub '${a b}'", "Template error: variable names in Fn::Sub syntax must contain only alphanumeric"),
        ("!GetAtt Vpc", "Template error: every Fn::GetAtt object requires two non-empty parameters"),
        ("!Ref [a]", "Template error: every Ref object must have a single String value."),
        ("!If [Big, a]", "Template error: Fn::If requires a list argument with three elements"),
        ("!FindInMap [M, a]", "Template error: every Fn::FindInMap object requires three parameters"),
        ("!FindInMap [M, a, z]", "Template error: Unable to get mapping for M::a::z"),
        ("!FindInMap [M, z, b]", "Template error: Unable to get mapping for M::z::b"),
        (
            "!FindInMap [N, a, b]",
            "Template error: Mapping named 'N' is not present in the 'Mappings' section of template.",
        ),
        ("!Base64 [a]", "Template error: every Fn::Base64 object must have a String-typed value."),
        ("!Cidr [a]", "Template error: every Fn::Cidr object requires two or three parameters"),
        ("!ImportValue [a]", "Template error: the attribute in Fn::ImportValue must be a string"),
        (
            "!ImportValue {Ref: Vpc}",
            "Template error: the attribute in Fn::ImportValue must not depend on any resources",
        ),
        ("!Equals [a, b]", "Template error: Fn::Equals is only allowed in the Conditions block"),
        ("!Transform {Name: AWS::Include}", "Template error: Fn::Transform is not supported: the macro AWS::Include"),
        ("!Length [a]", "Template error: Fn::Length requires the AWS::LanguageExtensions transform"),
        ("{'Fn::Join': ['', []], a: b}", "Template error: Fn::Join must be the only member of its object"),
    ];
    for (value, want) in table {
        let got = load_error(&with_property(value));
        assert!(got.starts_with(want), "{value}: {got}");
    }
    for value in
        ["!FindInMap [M, !Ref P, b]", "!If [Big, !Ref AWS::NoValue, !Ref P]", "{Ref: a, b: c}", "{Condition: {a: b}}"]
    {
        load(&with_property(value)).unwrap_or_else(|error| panic!("{value}: {error}"));
    }
}

#[test]
fn conditions_are_checked() {
    let in_template =
        |condition: &str| format!("Conditions:\n  A: {condition}\n  B: !Not [!Condition A]\n{}", vpc_and(""));
    let table = [
        ("!Condition Nope", "Template format error: Unresolved condition dependency Nope in the Conditions block"),
        ("!Condition B", "Template error: Circular dependency between conditions: [A, B]"),
        ("!Equals [a]", "Template error: every Fn::Equals object requires a list of 2 string parameters."),
        ("!And [!Condition B]", "Template error: every Fn::And object requires a list of at least 2 and at most 10"),
        ("!Not [!Condition B, !Condition B]", "Template error: every Fn::Not object requires one boolean parameter."),
        ("!Equals [!GetAtt Vpc.Arn, a]", "Template error: Cannot use Fn::GetAtt in Conditions."),
        ("!Equals [!ImportValue x, a]", "Template error: Cannot use Fn::ImportValue in Conditions."),
        ("yes", "Template format error: Every Conditions member must be a condition function"),
    ];
    for (condition, want) in table {
        let got = load_error(&in_template(condition));
        assert!(got.starts_with(want), "{condition}: {got}");
    }
    assert_eq!(
        load_error("Resources:\n  V: {Type: AWS::EC2::VPC, Condition: Nope}\n"),
        "Template format error: Unresolved condition dependency Nope in the Resources block of the template"
    );
    assert_eq!(
        load_error(&vpc_and("Outputs: {O: {Value: a, Condition: Nope}}\n")),
        "Template format error: Unresolved condition dependency Nope in the Outputs block of the template"
    );
}

#[test]
fn cycles_are_named_without_what_hangs_on_them() {
    let text = "Resources:\n  A: {Type: AWS::EC2::VPC, Properties: {X: !Ref B}}\n  B: {Type: AWS::EC2::VPC, Properties: {X: \
                !Sub '${A.Arn}'}}\n  C: {Type: AWS::EC2::VPC, DependsOn: A}\n  D: {Type: AWS::EC2::VPC}\n";
    assert_eq!(load_error(text), "Circular dependency between resources: [A, B]");
    let oneself = "Resources:\n  A: {Type: AWS::EC2::VPC, DependsOn: A}\n";
    assert_eq!(load_error(oneself), "Circular dependency between resources: [A]");
}

#[test]
fn sections_have_their_form() {
    let table = [
        ("Parameters: {}\n", "Template format error: At least one Resources member must be defined."),
        ("Resources: {}\n", "Template format error: At least one Resources member must be defined."),
        ("Resources: []\n", "Template format error: Resources must be an object."),
        (&vpc_and("Foo: 1\nBar: 2\n"), "Invalid template property or properties [Bar, Foo]"),
        (
            &vpc_and("AWSTemplateFormatVersion: 2011-01-01\n"),
            "Template format error: unsupported value for AWSTemplateFormatVersion.",
        ),
        (&vpc_and("Transform: AWS::Serverless-2016-10-31\n"), "No transform named AWS::Serverless-2016-10-31 found."),
        ("Resources: {a-b: {Type: AWS::EC2::VPC}}\n", "Template format error: Resource name a-b is non alphanumeric."),
        ("Resources: {A: x}\n", "Template format error: [/Resources/A] Any Resources member must be an object."),
        (
            "Resources: {A: {}}\n",
            "Template format error: [/Resources/A] Every Resources object must contain a Type member.",
        ),
        ("Resources: {A: {Type: AWS::EC2::VPC, Colour: x}}\n", "Invalid template resource property 'Colour'"),
        (
            "Resources: {A: {Type: AWS::EC2::VPC, DependsOn: {a: b}}}\n",
            "Template format error: [/Resources/A] DependsOn must be",
        ),
        (
            "Resources: {A: {Type: AWS::EC2::VPC, DeletionPolicy: Keep}}\n",
            "Template format error: Unrecognized DeletionPolicy Keep for resource A",
        ),
        (
            "Resources: {A: {Type: AWS::Foo::Bar}, B: {Type: X::Y}}\n",
            "Template format error: Unrecognized resource types: [AWS::Foo::Bar, X::Y]",
        ),
        (
            &vpc_and("Parameters: {P: {Default: x}}\n"),
            "Template format error: [/Parameters/P] Every Parameters object must contain a Type",
        ),
        (&vpc_and("Parameters: {P: {Type: Text}}\n"), "Template format error: Unrecognized parameter type: Text"),
        (
            &vpc_and("Parameters: {P: {Type: String, Default: [a]}}\n"),
            "Template format error: Every Default member must be a string.",
        ),
        (&vpc_and("Parameters: {P: {Type: String, Size: 1}}\n"), "Invalid template parameter property 'Size'"),
        (&vpc_and("Mappings: {M: {a: b}}\n"), "Template format error: [/Mappings/M/a] Every Mappings member must be"),
        (
            &vpc_and("Mappings: {M: {a: {b: {c: d}}}}\n"),
            "Template format error: [/Mappings/M/a/b] Every Mappings attribute",
        ),
        (
            &vpc_and("Outputs: {O: {Description: x}}\n"),
            "Template format error: [/Outputs/O] Every Outputs member must contain a Value",
        ),
        (&vpc_and("Rules: {R: {Assertions: x}}\n"), "Template format error: [/Rules/R] Assertions must be a list"),
    ];
    for (text, want) in table {
        let got = load_error(text);
        assert!(got.starts_with(want), "{text}: {got}");
    }
}

#[test]
fn sections_are_limited() {
    let many = |section: &str, count: usize, member: &str| {
        let members = (0..count).map(|n| format!("  X{n}: {member}\n"));
        format!("{section}:\n{}", members.collect::<String>())
    };
    let resources = |count| many("Resources", count, "{Type: AWS::EC2::VPC}");
    loaded(&resources(500));
    assert_eq!(
        load_error(&resources(501)),
        "Template format error: Number of resources, 501, is greater than maximum allowed, 500"
    );
    for (section, member) in [("Parameters", "{Type: String}"), ("Mappings", "{a: {b: c}}"), ("Outputs", "{Value: a}")]
    {
        loaded(&vpc_and(&many(section, 200, member)));
        let want = format!("Number of {}, 201, is greater than maximum allowed, 200", section.to_lowercase());
        assert!(load_error(&vpc_and(&many(section, 201, member))).ends_with(&want));
    }
    assert!(load_error(&vpc_and(&format!("Description: {}\n", "x".repeat(1025)))).contains("greater than 1024"));
}
