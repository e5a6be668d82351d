//! Who a caller is, and what a request that fits nothing gets.

use bytes::Bytes;
use http::Request;
use serde_json::{Value as Json, json};
use standfast_api::{ec2, iam, sts};
use standfast_core::Result;
use standfast_testkit::{REGION, TestCloud};
use standfast_wire::sigv4::{self, Credentials};
use standfast_wire::{ServiceSchema, Struct, Value, codec};

use crate::site::text;

/// Sends a call signed with these credentials.
async fn call(
    cloud: &TestCloud,
    keys: &Credentials,
    service: &'static ServiceSchema,
    op: &str,
    input: Json,
) -> Result<Json> {
    let op = service.operation(op).expect("the operation is in the model");
    let input = Struct::from_json(&input, op.input).expect("the input fits");
    let mut request = codec::encode_request(service.protocols[0], service, op, &input);
    request.headers_mut().insert("host", http::HeaderValue::from_static("127.0.0.1:4566"));
    sigv4::sign(&mut request, keys, REGION, service.signing_name, cloud.now()).expect("it can be signed");
    let answer = cloud.cloud.handle(request).await;
    Ok(Value::Struct(codec::decode_response(service.protocols[0], service, op, &answer)?).to_json())
}

fn keys(access_key: &str, secret_key: &str, session_token: Option<&str>) -> Credentials {
    let session_token = session_token.map(str::to_owned);
    Credentials { access_key: access_key.into(), secret_key: secret_key.into(), session_token }
}

async fn identity(cloud: &TestCloud, keys: &Credentials) -> Result<Json> {
    call(cloud, keys, &sts::MODEL, "GetCallerIdentity", json!({})).await
}

#[test]
fn a_key_of_twelve_digits_is_the_account_and_accounts_do_not_see_each_other() {
    standfast_testkit::run(31, |cloud| async move {
        let (one, other) = (keys("111122223333", "any", None), keys("AKIAEXAMPLE", "any", None));
        let caller = identity(&cloud, &one).await.expect("any key may ask");
        assert_eq!(text(&caller, "Arn"), "arn:aws:iam::111122223333:root");
        assert_eq!(text(&identity(&cloud, &other).await.expect("any key may ask"), "Account"), "000000000000");
        let vpc = call(&cloud, &one, &ec2::MODEL, "CreateVpc", json!({"CidrBlock": "10.1.0.0/16"})).await;
        let id = vpc.expect("a valid block")["Vpc"]["VpcId"].clone();
        let seen = call(&cloud, &other, &ec2::MODEL, "DescribeVpcs", json!({"VpcIds": [id]})).await;
        assert!(seen.is_err_and(|error| error.is("InvalidVpcID.NotFound")));
    });
}

#[test]
fn a_key_that_iam_knows_must_sign_with_its_secret() {
    standfast_testkit::run(32, |cloud| async move {
        cloud.send(&iam::MODEL, "CreateUser", json!({"UserName": "ada"})).await.expect("a new name");
        let made = cloud.send(&iam::MODEL, "CreateAccessKey", json!({"UserName": "ada"})).await.expect("a first key");
        let (id, secret) = (text(&made["AccessKey"], "AccessKeyId"), text(&made["AccessKey"], "SecretAccessKey"));
        let caller = identity(&cloud, &keys(id, secret, None)).await.expect("signed with the secret");
        assert_eq!(text(&caller, "Arn"), "arn:aws:iam::000000000000:user/ada");
        let refused = identity(&cloud, &keys(id, "wrong", None)).await.expect_err("signed with another secret");
        assert_eq!((&*refused.code, refused.status), ("SignatureDoesNotMatch", Some(403)));
        let inactive = json!({"UserName": "ada", "AccessKeyId": id, "Status": "Inactive"});
        cloud.send(&iam::MODEL, "UpdateAccessKey", inactive).await.expect("it is hers");
        let refused = identity(&cloud, &keys(id, secret, None)).await.expect_err("the key is inactive");
        assert!(refused.is("InvalidClientTokenId"), "{refused}");
    });
}

#[test]
fn a_session_is_its_role_until_it_ends() {
    standfast_testkit::run(33, |cloud| async move {
        let role = json!({"RoleName": "deploy", "AssumeRolePolicyDocument": "{}"});
        cloud.send(&iam::MODEL, "CreateRole", role).await.expect("a new name");
        let arn = "arn:aws:iam::000000000000:role/deploy";
        let input = json!({"RoleArn": arn, "RoleSessionName": "ci", "DurationSeconds": 900});
        let session = cloud.send(&sts::MODEL, "AssumeRole", input).await.expect("the role exists");
        let given = |name: &str| text(&session["Credentials"], name).to_owned();
        let (id, secret, token) = (given("AccessKeyId"), given("SecretAccessKey"), given("SessionToken"));
        let caller = identity(&cloud, &keys(&id, &secret, Some(&token))).await.expect("a live session");
        assert_eq!(text(&caller, "Arn"), "arn:aws:sts::000000000000:assumed-role/deploy/ci");
        let mine = keys(&id, &secret, Some(&token));
        let refused = call(&cloud, &mine, &ec2::MODEL, "DescribeVpcs", json!({})).await.expect_err("it has no policy");
        assert_eq!((&*refused.code, refused.status), ("UnauthorizedOperation", Some(403)));
        assert!(refused.message.contains("ec2:DescribeVpcs"), "{refused}");
        let arn = "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess";
        let attach = json!({"RoleName": "deploy", "PolicyArn": arn});
        cloud.send(&iam::MODEL, "AttachRolePolicy", attach).await.expect("both exist");
        call(&cloud, &mine, &ec2::MODEL, "DescribeVpcs", json!({})).await.expect("its policy allows it");
        let launch = json!({"CidrBlock": "10.1.0.0/16"});
        let refused = call(&cloud, &mine, &ec2::MODEL, "CreateVpc", launch).await.expect_err("it may only read");
        assert!(refused.is("UnauthorizedOperation"), "{refused}");
        let refused = identity(&cloud, &keys(&id, &secret, Some("another"))).await.expect_err("not its token");
        assert!(refused.is("InvalidClientTokenId"), "{refused}");
        cloud.pass(std::time::Duration::from_secs(901)).await;
        let refused = identity(&cloud, &keys(&id, &secret, Some(&token))).await.expect_err("it has ended");
        assert!(refused.is("ExpiredToken"), "{refused}");
    });
}

async fn form(cloud: &TestCloud, service: &ServiceSchema, body: &'static str) -> (u16, String) {
    let request = Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from_static(body.as_bytes()))
        .expect("a request");
    cloud.raw(cloud.signed(service, request)).await
}

#[test]
fn what_is_not_there_is_said_in_the_protocol_s_own_words() {
    standfast_testkit::run(34, |cloud| async move {
        let (status, body) =
            form(&cloud, &ec2::MODEL, "Action=CreateFlowLogs&ResourceType=VPC&ResourceId.1=vpc-1&Version=2016-11-15")
                .await;
        assert_eq!(status, 400);
        assert!(body.contains("<Response><Errors><Error><Code>NotImplemented</Code>"), "{body}");
        assert!(body.contains("CreateFlowLogs"), "{body}");
        let (status, body) = form(&cloud, &iam::MODEL, "Action=NoSuchThing&Version=2010-05-08").await;
        assert_eq!(status, 400);
        assert!(body.contains("<ErrorResponse") && body.contains("<Code>InvalidAction</Code>"), "{body}");
        let (status, body) = cloud.raw(Request::get("/").body(Bytes::new()).expect("a request")).await;
        assert!((400..500).contains(&status), "{status} {body}");
    });
}

#[test]
fn every_commercial_region_has_its_zones_and_no_other_name_is_one() {
    standfast_testkit::run(35, |cloud| async move {
        for (region, zones) in [("us-east-1", 6), ("eu-west-2", 3), ("ap-northeast-1", 3)] {
            let answer = cloud.cloud.owner(region).call(ec2::DescribeAvailabilityZones, Default::default()).await;
            let found = answer.expect("a region").availability_zones.unwrap_or_default();
            assert_eq!(found.len(), zones, "{region}");
            assert!(found.iter().all(|zone| zone.zone_name.as_deref().is_some_and(|name| name.starts_with(region))));
        }
        let op = ec2::MODEL.operation("DescribeVpcs").expect("in the model");
        let mut request = codec::encode_request(ec2::MODEL.protocols[0], &ec2::MODEL, op, &Struct::new(op.input));
        request.headers_mut().insert("host", http::HeaderValue::from_static("127.0.0.1:4566"));
        sigv4::sign(&mut request, &keys("test", "test", None), "mars-north-1", "ec2", cloud.now()).expect("signed");
        let (status, body) = cloud.raw(request).await;
        assert!(status == 400 && body.contains("mars-north-1"), "{status} {body}");
    });
}
