//! Stacks: how they come, change, fail and go, through the API.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{cloudformation as api, ec2, ssm};
use standfast_testkit::TestCloud;

use crate::site::{STACK, Site, TEMPLATE, deploy, list, rest, text};

/// A small network with a parameter of the parameter store that others can be made of.
const NETWORK: &str = "
Parameters:
  Cidr: {Type: String, Default: 10.1.0.0/16}
  Label: {Type: String, Default: one}
Resources:
  Vpc:
    Type: AWS::EC2::VPC
    Properties:
      CidrBlock: !Ref Cidr
      Tags: [{Key: Label, Value: !Ref Label}]
  Subnet:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Vpc, CidrBlock: !Select [0, !Cidr [!GetAtt Vpc.CidrBlock, 1, 8]]}
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties: {GroupDescription: all, VpcId: !Ref Vpc}
Outputs:
  VpcId: {Value: !Ref Vpc, Export: {Name: !Sub '${AWS::StackName}-vpc'}}
";

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let answer = cloud.send(&api::MODEL, operation, input.clone()).await;
    answer.unwrap_or_else(|error| panic!("{operation} {input}: {error}"))
}

async fn refused(cloud: &TestCloud, operation: &str, input: Json) -> String {
    cloud.refused(&api::MODEL, operation, input).await.message
}

/// The status and reason of every event of a logical id, of an oldest-first list.
fn of(events: &[Json], logical: &str) -> Vec<String> {
    let events = events.iter().filter(|event| text(event, "LogicalResourceId") == logical);
    let said = events.map(|event| format!("{} {}", text(event, "ResourceStatus"), text(event, "ResourceStatusReason")));
    said.map(|said| said.trim_end().to_owned()).collect()
}

fn parameters(pairs: &[(&str, &str)]) -> Json {
    pairs.iter().map(|(key, value)| json!({"ParameterKey": key, "ParameterValue": value})).collect()
}

async fn update(cloud: &TestCloud, body: &str, pairs: &[(&str, &str)]) -> (String, Vec<Json>) {
    let input = json!({"StackName": STACK, "TemplateBody": body, "Parameters": parameters(pairs)});
    call(cloud, "UpdateStack", input).await;
    rest(cloud).await
}

async fn physical(cloud: &TestCloud, logical: &str) -> String {
    let input = json!({"StackName": STACK, "LogicalResourceId": logical});
    let answer = call(cloud, "DescribeStackResource", input).await;
    text(&answer["StackResourceDetail"], "PhysicalResourceId").to_owned()
}

async fn vpcs(cloud: &TestCloud) -> Vec<Json> {
    let input = json!({"Filters": [{"Name": "is-default", "Values": ["false"]}]});
    let answer = cloud.send(&ec2::MODEL, "DescribeVpcs", input).await.expect("vpcs can be described");
    list(&answer, "Vpcs").to_vec()
}

/// The value of a tag of the stack's only VPC.
async fn vpc_tag(cloud: &TestCloud, key: &str) -> Option<String> {
    let vpcs = vpcs(cloud).await;
    assert_eq!(vpcs.len(), 1, "{vpcs:#?}");
    let tag = list(&vpcs[0], "Tags").iter().find(|tag| text(tag, "Key") == key);
    tag.map(|tag| text(tag, "Value").to_owned())
}

#[test]
fn events_tell_the_story_in_order_and_pages_hold_it_all() {
    standfast_testkit::run(31, |cloud| async move {
        let (status, events) = deploy(&cloud, NETWORK, json!([])).await;
        assert_eq!(status, "CREATE_COMPLETE");
        assert_eq!(of(&events, STACK), ["CREATE_IN_PROGRESS User Initiated", "CREATE_COMPLETE"]);
        let story = ["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS Resource creation Initiated", "CREATE_COMPLETE"];
        for logical in ["Vpc", "Subnet", "Group"] {
            assert_eq!(of(&events, logical), story, "{logical}");
        }
        let place = |logical: &str, status: &str| {
            events.iter().position(|e| text(e, "LogicalResourceId") == logical && text(e, "ResourceStatus") == status)
        };
        assert!(place("Vpc", "CREATE_COMPLETE") < place("Subnet", "CREATE_IN_PROGRESS"));
        let ids: std::collections::BTreeSet<&str> = events.iter().map(|event| text(event, "EventId")).collect();
        assert_eq!(ids.len(), events.len());
        assert_eq!(vpc_tag(&cloud, "aws:cloudformation:logical-id").await.as_deref(), Some("Vpc"));
        assert_eq!(vpc_tag(&cloud, "aws:cloudformation:stack-name").await.as_deref(), Some(STACK));
    });
}

#[test]
fn an_update_changes_in_place_and_one_without_changes_is_refused() {
    standfast_testkit::run(32, |cloud| async move {
        deploy(&cloud, NETWORK, json!([])).await;
        let vpc = physical(&cloud, "Vpc").await;
        let (status, events) = update(&cloud, NETWORK, &[("Label", "two")]).await;
        assert_eq!(status, "UPDATE_COMPLETE");
        assert_eq!(
            of(&events, STACK)[2..],
            ["UPDATE_IN_PROGRESS User Initiated", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"]
        );
        assert_eq!(of(&events, "Vpc")[3..], ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]);
        assert_eq!(of(&events, "Subnet").len(), 3, "what does not change is left alone");
        assert_eq!(physical(&cloud, "Vpc").await, vpc);
        assert_eq!(vpc_tag(&cloud, "Label").await.as_deref(), Some("two"));
        let previous = json!([{"ParameterKey": "Label", "UsePreviousValue": true}]);
        let input = json!({"StackName": STACK, "UsePreviousTemplate": true, "Parameters": previous});
        assert_eq!(refused(&cloud, "UpdateStack", input).await, "No updates are to be performed.");
    });
}

#[test]
fn a_replacement_is_made_before_the_old_one_goes_and_dependants_follow() {
    standfast_testkit::run(33, |cloud| async move {
        deploy(&cloud, NETWORK, json!([])).await;
        let (vpc, subnet) = (physical(&cloud, "Vpc").await, physical(&cloud, "Subnet").await);
        let (status, events) = update(&cloud, NETWORK, &[("Cidr", "10.2.0.0/16")]).await;
        assert_eq!(status, "UPDATE_COMPLETE", "{events:#?}");
        assert_eq!(
            of(&events, "Vpc")[3..],
            [
                "UPDATE_IN_PROGRESS Requested update requires the creation of a new physical resource; hence creating \
                 one.",
                "UPDATE_IN_PROGRESS Resource creation Initiated",
                "UPDATE_COMPLETE",
                "DELETE_IN_PROGRESS",
                "DELETE_COMPLETE"
            ]
        );
        assert_ne!(physical(&cloud, "Vpc").await, vpc);
        assert_ne!(physical(&cloud, "Subnet").await, subnet);
        let left = vpcs(&cloud).await;
        assert_eq!(left.iter().map(|vpc| text(vpc, "CidrBlock")).collect::<Vec<_>>(), ["10.2.0.0/16"]);
        let outputs = call(&cloud, "DescribeStacks", json!({"StackName": STACK})).await;
        let output = &list(&list(&outputs, "Stacks")[0], "Outputs")[0];
        assert_eq!(text(output, "OutputValue"), physical(&cloud, "Vpc").await);
    });
}

#[test]
fn an_update_that_fails_brings_everything_back() {
    const FAILING: &str = "
  Late:
    Type: AWS::EC2::Subnet
    DependsOn: [Subnet, Group]
    Properties: {VpcId: !Ref Vpc, CidrBlock: 192.168.0.0/24}
";
    standfast_testkit::run(34, |cloud| async move {
        deploy(&cloud, NETWORK, json!([])).await;
        let (vpc, subnet) = (physical(&cloud, "Vpc").await, physical(&cloud, "Subnet").await);
        let broken = NETWORK.replace("Outputs:", &format!("{}Outputs:", &FAILING[1..]));
        for (change, value) in [("Label", "two"), ("Cidr", "10.2.0.0/16")] {
            let (status, events) = update(&cloud, &broken, &[(change, value)]).await;
            assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE", "{events:#?}");
            let stack = of(&events, STACK);
            assert_eq!(
                stack[stack.len() - 3..],
                [
                    "UPDATE_ROLLBACK_IN_PROGRESS The following resource(s) failed to create: [Late].",
                    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
                    "UPDATE_ROLLBACK_COMPLETE"
                ]
            );
            let late = of(&events, "Late");
            assert!(late.iter().any(|said| said.starts_with("CREATE_FAILED Resource handler returned message: \"")));
            assert_eq!(
                (physical(&cloud, "Vpc").await, physical(&cloud, "Subnet").await),
                (vpc.clone(), subnet.clone())
            );
            assert_eq!(vpc_tag(&cloud, "Label").await.as_deref(), Some("one"));
        }
        let (status, _) = update(&cloud, NETWORK, &[("Label", "three")]).await;
        assert_eq!(status, "UPDATE_COMPLETE");
    });
}

#[test]
fn resources_that_a_template_drops_go_and_those_to_be_retained_stay() {
    standfast_testkit::run(35, |cloud| async move {
        let retained = NETWORK.replace("Type: AWS::EC2::VPC\n", "Type: AWS::EC2::VPC\n    DeletionPolicy: Retain\n");
        deploy(&cloud, &retained, json!([])).await;
        let without = retained.replace(
            "  Group:\n    Type: AWS::EC2::SecurityGroup\n    Properties: {GroupDescription: all, VpcId: !Ref Vpc}\n",
            "",
        );
        let (status, events) = update(&cloud, &without, &[]).await;
        assert_eq!(status, "UPDATE_COMPLETE");
        assert_eq!(of(&events, "Group")[3..], ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]);
        let stacks = call(&cloud, "DescribeStacks", json!({"StackName": STACK})).await;
        let id = text(&list(&stacks, "Stacks")[0], "StackId").to_owned();
        call(&cloud, "DeleteStack", json!({"StackName": STACK})).await;
        cloud
            .until("the stack to go", Duration::from_secs(60), || async {
                let stacks = call(&cloud, "DescribeStacks", json!({"StackName": id})).await;
                (text(&list(&stacks, "Stacks")[0], "StackStatus") == "DELETE_COMPLETE").then_some(())
            })
            .await;
        let gone = refused(&cloud, "DescribeStacks", json!({"StackName": STACK})).await;
        assert_eq!(gone, format!("Stack with id {STACK} does not exist"));
        let events = call(&cloud, "DescribeStackEvents", json!({"StackName": id})).await;
        let mut events = list(&events, "StackEvents").to_vec();
        events.reverse();
        assert_eq!(of(&events, "Vpc")[3..], ["DELETE_SKIPPED"]);
        assert_eq!(vpcs(&cloud).await.len(), 1);
        let again = call(&cloud, "CreateStack", json!({"StackName": STACK, "TemplateBody": NETWORK})).await;
        assert_ne!(text(&again, "StackId"), id, "the name is free again");
    });
}

#[test]
fn exports_are_imported_and_held() {
    const IMPORTING: &str = "
Resources:
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties: {GroupDescription: g, VpcId: !ImportValue site-vpc}
";
    standfast_testkit::run(36, |cloud| async move {
        deploy(&cloud, NETWORK, json!([])).await;
        let input = json!({"StackName": "user", "TemplateBody": IMPORTING});
        call(&cloud, "CreateStack", input).await;
        cloud
            .until("the importing stack", Duration::from_secs(60), || async {
                let stacks = call(&cloud, "DescribeStacks", json!({"StackName": "user"})).await;
                (text(&list(&stacks, "Stacks")[0], "StackStatus") == "CREATE_COMPLETE").then_some(())
            })
            .await;
        let users = call(&cloud, "ListImports", json!({"ExportName": "site-vpc"})).await;
        assert_eq!(users["Imports"], json!(["user"]));
        assert_eq!(text(&list(&call(&cloud, "ListExports", json!({})).await, "Exports")[0], "Name"), "site-vpc");
        let said = refused(&cloud, "DeleteStack", json!({"StackName": STACK})).await;
        assert_eq!(said, "Export site-vpc cannot be deleted as it is in use by user");
        // Its value would change: the update is undone.
        let (status, events) = update(&cloud, NETWORK, &[("Cidr", "10.2.0.0/16")]).await;
        assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE", "{events:#?}");
        assert!(
            of(&events, STACK).iter().any(|said| said.contains("Export site-vpc cannot be updated")),
            "{events:#?}"
        );
        assert_eq!(text(&vpcs(&cloud).await[0], "CidrBlock"), "10.1.0.0/16");
    });
}

#[test]
fn a_change_set_says_what_it_would_do_and_does_it() {
    standfast_testkit::run(37, |cloud| async move {
        let make = async |name: &str, kind: &str, pairs: &[(&str, &str)]| {
            let input = json!({"StackName": STACK, "ChangeSetName": name, "ChangeSetType": kind,
                               "TemplateBody": NETWORK, "Parameters": parameters(pairs)});
            call(&cloud, "CreateChangeSet", input).await;
            call(&cloud, "DescribeChangeSet", json!({"StackName": STACK, "ChangeSetName": name})).await
        };
        let first = make("first", "CREATE", &[]).await;
        assert_eq!((text(&first, "Status"), text(&first, "ExecutionStatus")), ("CREATE_COMPLETE", "AVAILABLE"));
        let actions = |set: &Json| -> Vec<(String, String, String)> {
            let changes = list(set, "Changes").iter().map(|change| &change["ResourceChange"]);
            let say = |change: &Json, name: &str| text(change, name).to_owned();
            changes.map(|c| (say(c, "LogicalResourceId"), say(c, "Action"), say(c, "Replacement"))).collect()
        };
        let is = |logical: &str, action: &str, replacement: &str| (logical.into(), action.into(), replacement.into());
        assert_eq!(actions(&first), [is("Group", "Add", ""), is("Subnet", "Add", ""), is("Vpc", "Add", "")]);
        let stacks = call(&cloud, "DescribeStacks", json!({"StackName": STACK})).await;
        assert_eq!(text(&list(&stacks, "Stacks")[0], "StackStatus"), "REVIEW_IN_PROGRESS");
        assert!(vpcs(&cloud).await.is_empty());
        let execute = async |name: &str| {
            call(&cloud, "ExecuteChangeSet", json!({"StackName": STACK, "ChangeSetName": name})).await;
            rest(&cloud).await.0
        };
        assert_eq!(execute("first").await, "CREATE_COMPLETE");
        let nothing = make("nothing", "UPDATE", &[]).await;
        assert_eq!((text(&nothing, "Status"), text(&nothing, "ExecutionStatus")), ("FAILED", "UNAVAILABLE"));
        assert!(text(&nothing, "StatusReason").starts_with("The submitted information didn't contain changes."));
        let moved = make("moved", "UPDATE", &[("Cidr", "10.2.0.0/16"), ("Label", "two")]).await;
        assert_eq!(
            actions(&moved),
            [is("Group", "Modify", "Conditional"), is("Subnet", "Modify", "Conditional"), is("Vpc", "Modify", "True")]
        );
        assert_eq!(execute("moved").await, "UPDATE_COMPLETE");
        assert_eq!(text(&vpcs(&cloud).await[0], "CidrBlock"), "10.2.0.0/16");
        let left = call(&cloud, "ListChangeSets", json!({"StackName": STACK})).await;
        let names: Vec<&str> = list(&left, "Summaries").iter().map(|set| text(set, "ChangeSetName")).collect();
        assert_eq!(names, ["moved"], "what was made for another state of the stack is void");
    });
}

#[test]
fn a_stack_with_iam_resources_must_be_acknowledged() {
    const ROLES: &str = "
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: sts:AssumeRole}]
      Policies:
        - PolicyName: read
          PolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Action: 's3:Get*', Resource: '*'}]}
  Profile:
    Type: AWS::IAM::InstanceProfile
    Properties: {Roles: [!Ref Role]}
  Told:
    Type: AWS::SSM::Parameter
    Properties: {Type: String, Value: !GetAtt Role.Arn, Name: /role}
";
    standfast_testkit::run(38, |cloud| async move {
        let input = json!({"StackName": STACK, "TemplateBody": ROLES});
        let error = cloud.refused(&api::MODEL, "CreateStack", input.clone()).await;
        assert!(error.is("InsufficientCapabilitiesException"), "{error}");
        assert_eq!(error.message, "Requires capabilities : [CAPABILITY_IAM]");
        let mut input = input;
        input["Capabilities"] = json!(["CAPABILITY_IAM"]);
        call(&cloud, "CreateStack", input).await;
        let (status, events) = rest(&cloud).await;
        assert_eq!(status, "CREATE_COMPLETE", "{events:#?}");
        let told = cloud.send(&ssm::MODEL, "GetParameter", json!({"Name": "/role"})).await.expect("it was put");
        assert!(text(&told["Parameter"], "Value").starts_with("arn:aws:iam::000000000000:role/site-Role-"), "{told}");
        call(&cloud, "DeleteStack", json!({"StackName": STACK})).await;
        cloud
            .until("the stack to go", Duration::from_secs(60), || async {
                cloud.send(&api::MODEL, "DescribeStacks", json!({"StackName": STACK})).await.err()
            })
            .await;
    });
}

#[test]
fn what_cannot_be_is_refused_in_cloudformations_words() {
    standfast_testkit::run(39, |cloud| async move {
        let unknown = NETWORK.replace("GroupDescription: all", "GroupDescription: all, Colour: red");
        let (status, events) = deploy(&cloud, &unknown, json!([])).await;
        assert_eq!(status, "ROLLBACK_COMPLETE");
        let failed = of(&events, "Group").into_iter().find(|said| said.starts_with("CREATE_FAILED"));
        assert_eq!(failed.as_deref(), Some("CREATE_FAILED Encountered unsupported property Colour"));
        assert!(vpcs(&cloud).await.is_empty(), "nothing is left of it");
        let arn = call(&cloud, "DescribeStacks", json!({"StackName": STACK})).await;
        let arn = text(&list(&arn, "Stacks")[0], "StackId").to_owned();
        let input = json!({"StackName": STACK, "TemplateBody": NETWORK});
        assert_eq!(refused(&cloud, "CreateStack", input.clone()).await, format!("Stack [{STACK}] already exists"));
        assert_eq!(
            refused(&cloud, "UpdateStack", input).await,
            format!("Stack:{arn} is in ROLLBACK_COMPLETE state and can not be updated.")
        );
        let other = json!({"StackName": "other", "TemplateBody": "Resources: {A: {Type: 'AWS::X::Y'}}"});
        assert_eq!(
            refused(&cloud, "CreateStack", other).await,
            "Template format error: Unrecognized resource types: [AWS::X::Y]"
        );
    });
}

#[test]
fn a_failed_stack_stays_when_its_user_wants_to_look_at_it() {
    standfast_testkit::run(40, |cloud| async move {
        let broken = NETWORK.replace("GroupDescription: all", "GroupDescription: all, Colour: red");
        let input = json!({"StackName": STACK, "TemplateBody": broken, "OnFailure": "DO_NOTHING"});
        call(&cloud, "CreateStack", input).await;
        let (status, _) = rest(&cloud).await;
        assert_eq!(status, "CREATE_FAILED");
        assert_eq!(vpcs(&cloud).await.len(), 1);
        let (status, events) = update(&cloud, NETWORK, &[]).await;
        assert_eq!(status, "UPDATE_COMPLETE", "{events:#?}");
        call(&cloud, "UpdateTerminationProtection", json!({"StackName": STACK, "EnableTerminationProtection": true}))
            .await;
        assert_eq!(
            refused(&cloud, "DeleteStack", json!({"StackName": STACK})).await,
            format!("Stack [{STACK}] cannot be deleted while TerminationProtection is enabled")
        );
    });
}

#[test]
fn a_rolling_update_replaces_every_instance_and_no_request_fails() {
    let rolling = TEMPLATE.replace(
        "    Type: AWS::AutoScaling::AutoScalingGroup\n",
        "    Type: AWS::AutoScaling::AutoScalingGroup\n    UpdatePolicy:\n      AutoScalingRollingUpdate: \
         {MinInstancesInService: 3, MaxBatchSize: 2}\n",
    );
    standfast_testkit::run(41, |cloud| async move {
        let site = Site::up(&cloud).await;
        let before: Vec<String> = site.members(&cloud).await.into_iter().map(|(id, ..)| id).collect();
        let input = json!({"StackName": STACK, "TemplateBody": rolling,
                           "Parameters": parameters(&[("InstanceType", "t3.small")])});
        call(&cloud, "UpdateStack", input).await;
        let (failed, (status, events)) = tokio::join!(site.load(&cloud, 100, Duration::from_secs(180)), rest(&cloud));
        assert_eq!(status, "UPDATE_COMPLETE", "{events:#?}");
        assert_eq!(failed, []);
        site.settled(&cloud, 5).await;
        let after = site.members(&cloud).await;
        assert!(after.iter().all(|(id, ..)| !before.contains(id)), "{before:?} {after:?}");
        let group = of(&events, "Group");
        assert_eq!(group[group.len() - 2..], ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]);
    });
}
