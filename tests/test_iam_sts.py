"""iam and sts through boto3: users with keys, roles, policies, instance profiles, and who one is."""

import json

import pytest

from cloud import DEFAULT_ACCOUNT

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
READ = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}],
}


@pytest.fixture(scope="module")
def iam(client):
    return client("iam")


@pytest.fixture(scope="module")
def sts(client):
    return client("sts")


@pytest.fixture
def role(iam):
    """A role that EC2 may take; deleted after the test, which has to empty it."""
    iam.create_role(RoleName="web", AssumeRolePolicyDocument=json.dumps(TRUST))
    yield "web"
    iam.delete_role(RoleName="web")


def test_a_key_of_twelve_digits_is_the_account(cloud, sts, account):
    me = sts.get_caller_identity()
    assert (me["Account"], me["Arn"]) == (account, f"arn:aws:iam::{account}:root")
    assert cloud.client("sts", account="anything").get_caller_identity()["Account"] == DEFAULT_ACCOUNT


def test_sessions_have_keys_of_their_own(sts, role, account):
    session = sts.get_session_token()["Credentials"]
    assert session["AccessKeyId"].startswith("ASIA") and session["SessionToken"]
    assert sts.get_access_key_info(AccessKeyId=session["AccessKeyId"])["Account"] == account
    taken = sts.assume_role(RoleArn=f"arn:aws:iam::{account}:role/{role}", RoleSessionName="me")
    assert taken["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/{role}/me"
    assert taken["Credentials"]["AccessKeyId"].startswith("ASIA")


def test_a_users_key_is_known_and_its_signature_checked(cloud, iam, refused, account):
    iam.create_user(UserName="ann")
    with refused("EntityAlreadyExists", naming="ann"):
        iam.create_user(UserName="ann")
    assert iam.get_user(UserName="ann")["User"]["Arn"] == f"arn:aws:iam::{account}:user/ann"
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    with refused("SignatureDoesNotMatch"):
        cloud.client("sts", account=key["AccessKeyId"]).get_caller_identity()
    iam.update_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    (shown,) = iam.list_access_keys(UserName="ann")["AccessKeyMetadata"]
    assert shown["Status"] == "Inactive"
    with refused("DeleteConflict"):
        iam.delete_user(UserName="ann")
    iam.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
    assert iam.list_groups_for_user(UserName="ann")["Groups"] == []
    assert [user["UserName"] for user in iam.list_users()["Users"]] == ["ann"]
    iam.delete_user(UserName="ann")
    with refused("NoSuchEntity", naming="ann"):
        iam.get_user(UserName="ann")


def test_a_role_keeps_its_trust_policy_and_tags(iam, role, refused):
    with refused("EntityAlreadyExists", naming=role):
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
    assert iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"] == TRUST
    other = json.loads(json.dumps(TRUST).replace("ec2", "lambda"))
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(other))
    assert iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"] == other
    iam.update_role(RoleName=role, Description="serves", MaxSessionDuration=7200)
    assert iam.get_role(RoleName=role)["Role"]["Description"] == "serves"
    iam.tag_role(RoleName=role, Tags=[{"Key": "team", "Value": "blue"}])
    assert iam.list_role_tags(RoleName=role)["Tags"] == [{"Key": "team", "Value": "blue"}]
    iam.untag_role(RoleName=role, TagKeys=["team"])
    assert iam.list_role_tags(RoleName=role)["Tags"] == []
    assert role in [one["RoleName"] for one in iam.list_roles()["Roles"]]
    with refused("NoSuchEntity", naming="nobody"):
        iam.get_role(RoleName="nobody")


def test_policies_are_written_into_roles_and_attached(iam, role, refused):
    iam.put_role_policy(RoleName=role, PolicyName="read", PolicyDocument=json.dumps(READ))
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["read"]
    assert iam.get_role_policy(RoleName=role, PolicyName="read")["PolicyDocument"] == READ
    iam.delete_role_policy(RoleName=role, PolicyName="read")
    with refused("NoSuchEntity"):
        iam.get_role_policy(RoleName=role, PolicyName="read")
    arn = iam.create_policy(PolicyName="mine", PolicyDocument=json.dumps(READ))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    managed = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    iam.attach_role_policy(RoleName=role, PolicyArn=managed)
    attached = [one["PolicyArn"] for one in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]]
    assert sorted(attached) == sorted([arn, managed])
    with refused("DeleteConflict"):
        iam.delete_policy(PolicyArn=arn)
    for one in attached:
        iam.detach_role_policy(RoleName=role, PolicyArn=one)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v1"
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == READ
    assert len(iam.list_policy_versions(PolicyArn=arn)["Versions"]) == 1
    assert [one["Arn"] for one in iam.list_policies(Scope="Local")["Policies"]] == [arn]
    iam.delete_policy(PolicyArn=arn)


def test_a_document_that_is_none_is_refused(iam, refused):
    with refused("MalformedPolicyDocument"):
        iam.create_policy(PolicyName="bad", PolicyDocument="{")
    with refused("MalformedPolicyDocument"):
        iam.create_role(RoleName="bad", AssumeRolePolicyDocument="not JSON")


def test_an_instance_profile_holds_a_role(iam, role, refused):
    iam.create_instance_profile(InstanceProfileName="web")
    iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName=role)
    with refused("LimitExceeded"):
        iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName=role)
    profile = iam.get_instance_profile(InstanceProfileName="web")["InstanceProfile"]
    assert [one["RoleName"] for one in profile["Roles"]] == [role]
    assert len(iam.list_instance_profiles()["InstanceProfiles"]) == 1
    assert len(iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]) == 1
    with refused("DeleteConflict"):
        iam.delete_role(RoleName=role)
    iam.remove_role_from_instance_profile(InstanceProfileName="web", RoleName=role)
    iam.delete_instance_profile(InstanceProfileName="web")
    with refused("NoSuchEntity", naming="web"):
        iam.get_instance_profile(InstanceProfileName="web")
