"""acm through boto3, and HTTPS listeners that really end TLS with what was imported."""

import http.client
import json
import pathlib
import socket
import ssl
import urllib.request

import pytest
from botocore.exceptions import ClientError

from waiting import eventually

CERTIFICATES = pathlib.Path(__file__).parent / "certificates"
POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"


@pytest.fixture(scope="module")
def acm(client):
    return client("acm")


@pytest.fixture(scope="module")
def elbv2(client):
    return client("elbv2")


def pem(name: str) -> bytes:
    return (CERTIFICATES / name).read_bytes()


def imported(acm, name: str, **more) -> str:
    return acm.import_certificate(Certificate=pem(f"{name}.pem"), PrivateKey=pem(f"{name}.key"), **more)[
        "CertificateArn"
    ]


def test_a_certificate_is_imported_described_tagged_and_deleted(acm):
    arn = imported(acm, "shop", Tags=[{"Key": "Team", "Value": "shop"}])
    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (shown["DomainName"], shown["Type"], shown["Status"]) == ("shop.example", "IMPORTED", "ISSUED")
    assert shown["SubjectAlternativeNames"] == ["shop.example", "www.shop.example"]
    assert (shown["KeyAlgorithm"], shown["SignatureAlgorithm"]) == ("RSA-2048", "SHA256WITHRSA")
    assert shown["Issuer"] == "Standfast tests" and "CN=shop.example" in shown["Subject"]
    assert shown["NotBefore"] < shown["ImportedAt"] < shown["NotAfter"] and shown["InUseBy"] == []
    got = acm.get_certificate(CertificateArn=arn)
    assert got["Certificate"].encode() == pem("shop.pem") and "PrivateKey" not in got
    acm.add_tags_to_certificate(CertificateArn=arn, Tags=[{"Key": "Stage", "Value": "test"}])
    acm.remove_tags_from_certificate(CertificateArn=arn, Tags=[{"Key": "Team"}])
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "Stage", "Value": "test"}]
    listed = acm.list_certificates(CertificateStatuses=["ISSUED"])["CertificateSummaryList"]
    assert [one["DomainName"] for one in listed if one["CertificateArn"] == arn] == ["shop.example"]
    again = imported(acm, "other", CertificateArn=arn)
    assert again == arn
    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (shown["DomainName"], shown["KeyAlgorithm"]) == ("*.other.example", "EC-prime256v1")
    acm.delete_certificate(CertificateArn=arn)
    with pytest.raises(acm.exceptions.ResourceNotFoundException):
        acm.describe_certificate(CertificateArn=arn)


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        (b"nonsense", pem("shop.key"), "not in PEM format"),
        (pem("shop.pem"), b"nonsense", "private key is not in PEM format"),
        (pem("shop.pem"), pem("other.key"), "does not match"),
        (pem("shop.pem") + pem("other.pem"), pem("shop.key"), "more than one certificate"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(acm, certificate, key, says):
    with pytest.raises(ClientError, match=says) as refused:
        acm.import_certificate(Certificate=certificate, PrivateKey=key)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_a_request_says_what_would_prove_the_domain_and_stays_pending(acm, elbv2):
    asked = {"DomainName": "shop.example", "SubjectAlternativeNames": ["*.shop.example"], "IdempotencyToken": "once"}
    arn = acm.request_certificate(**asked, ValidationMethod="DNS")["CertificateArn"]
    assert acm.request_certificate(**asked, ValidationMethod="DNS")["CertificateArn"] == arn
    shown = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (shown["Status"], shown["Type"]) == ("PENDING_VALIDATION", "AMAZON_ISSUED")
    records = [one["ResourceRecord"] for one in shown["DomainValidationOptions"]]
    assert records[0] == records[1] and records[0]["Type"] == "CNAME", "a wildcard is proved as its domain is"
    with pytest.raises(acm.exceptions.RequestInProgressException):
        acm.get_certificate(CertificateArn=arn)
    with pytest.raises(ClientError, match="not a domain name"):
        acm.request_certificate(DomainName="no domain")
    acm.delete_certificate(CertificateArn=arn)


@pytest.fixture(scope="module")
def site(client, cloud, acm, elbv2):
    """A load balancer with an HTTPS listener that answers by itself, and the certificates of it."""
    ec2 = client("ec2")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    made = elbv2.create_load_balancer(Name="secure", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    elbv2.get_waiter("load_balancer_available").wait(LoadBalancerArns=[made], WaiterConfig={"Delay": 1})
    shop, other = imported(acm, "shop"), imported(acm, "other")
    fixed = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "secure"}
    listener = elbv2.create_listener(
        LoadBalancerArn=made, Protocol="HTTPS", Port=8443, SslPolicy=POLICY, Certificates=[{"CertificateArn": shop}],
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": fixed}],
    )["Listeners"][0]  # fmt: skip

    def address() -> tuple[str, int] | None:
        with urllib.request.urlopen(f"{cloud.endpoint}/_standfast/listeners", timeout=10) as answer:
            sockets = [one["socket"] for one in json.load(answer) if one["load_balancer"] == made]
        host, _, port = sockets[0].partition(":") if sockets else ("", "", "")
        return (host, int(port)) if sockets else None

    where = eventually(address, what="the listener is there", limit_s=30)
    yield {"load_balancer": made, "listener": listener, "shop": shop, "other": other, "address": where}
    elbv2.delete_load_balancer(LoadBalancerArn=made)
    for arn in (shop, other):
        acm.delete_certificate(CertificateArn=arn)


def fetch(address: tuple[str, int], name: str, trusted: str, **limits) -> tuple[int, str, dict]:
    """The answer of a server that has to be `name`, by a certificate that is trusted; and whose certificate it was."""
    context = ssl.create_default_context(cafile=str(CERTIFICATES / trusted))
    for limit, value in limits.items():
        setattr(context, limit, value)
    with socket.create_connection(address, timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secure:
            connection = http.client.HTTPConnection(name)
            connection.sock = secure
            connection.request("GET", "/")
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), secure.getpeercert()


def test_a_listener_ends_tls_with_the_certificate_that_the_client_names(elbv2, acm, site):
    listener = site["listener"]
    assert (listener["Protocol"], listener["SslPolicy"]) == ("HTTPS", POLICY)
    assert listener["Certificates"] == [{"CertificateArn": site["shop"]}]
    status, body, _ = fetch(site["address"], "www.shop.example", "shop.pem")
    assert (status, body) == (200, "secure")
    arn = listener["ListenerArn"]
    elbv2.add_listener_certificates(ListenerArn=arn, Certificates=[{"CertificateArn": site["other"]}])
    listed = elbv2.describe_listener_certificates(ListenerArn=arn)["Certificates"]
    assert [(one["CertificateArn"], one["IsDefault"]) for one in listed] == [(site["shop"], True), (site["other"], False)]

    def of_the_other() -> bool:
        try:
            return fetch(site["address"], "www.other.example", "other.pem")[0] == 200
        except ssl.SSLCertVerificationError:
            return False

    assert eventually(of_the_other, what="the other certificate is given", limit_s=10)
    assert fetch(site["address"], "www.shop.example", "shop.pem")[0] == 200
    assert acm.describe_certificate(CertificateArn=site["other"])["Certificate"]["InUseBy"] == [site["load_balancer"]]
    with pytest.raises(acm.exceptions.ResourceInUseException):
        acm.delete_certificate(CertificateArn=site["other"])
    with pytest.raises(ClientError, match="default certificate"):
        elbv2.remove_listener_certificates(ListenerArn=arn, Certificates=[{"CertificateArn": site["shop"]}])
    elbv2.remove_listener_certificates(ListenerArn=arn, Certificates=[{"CertificateArn": site["other"]}])


def test_the_policy_says_which_versions_are_spoken(elbv2, site):
    arn = site["listener"]["ListenerArn"]
    elbv2.modify_listener(ListenerArn=arn, SslPolicy="ELBSecurityPolicy-TLS13-1-3-2021-06")

    def is_refused() -> bool:
        try:
            fetch(site["address"], "shop.example", "shop.pem", maximum_version=ssl.TLSVersion.TLSv1_2)
        except ssl.SSLError:
            return True
        return False

    assert eventually(is_refused, what="TLS 1.2 is refused", limit_s=10)
    assert fetch(site["address"], "shop.example", "shop.pem")[0] == 200
    with pytest.raises(ClientError, match="not found") as unknown:
        elbv2.modify_listener(ListenerArn=arn, SslPolicy="ELBSecurityPolicy-None")
    assert unknown.value.response["Error"]["Code"] == "SSLPolicyNotFound"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Certificates": []}, "ValidationError"),
        ({"Protocol": "HTTP"}, "ValidationError"),
        ({"Certificates": [{"CertificateArn": "arn:aws:acm:eu-west-1:000000000000:certificate/none"}]}, "CertificateNotFound"),
        ({"MutualAuthentication": {"Mode": "verify"}}, "OperationNotPermitted"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_listener_is_said(elbv2, site, change, code):
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}
    asked = {
        "LoadBalancerArn": site["load_balancer"], "Protocol": "HTTPS", "Port": 9443, "DefaultActions": [fixed],
        "Certificates": [{"CertificateArn": site["shop"]}],
    } | change  # fmt: skip
    with pytest.raises(ClientError) as refused:
        elbv2.create_listener(**asked)
    assert refused.value.response["Error"]["Code"] == code
