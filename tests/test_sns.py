"""Topics with boto3: real endpoints on this machine, a mail server of the test's own."""

import base64
import datetime
import http.server
import ipaddress
import json
import queue
import ssl
import threading
import urllib.request

import pytest
from botocore.exceptions import ClientError

LIMIT_S = 30


@pytest.fixture
def endpoint():
    """An HTTP endpoint: its URL, and a queue of (headers, body) that it got. While `got.down` it answers 503."""
    got = queue.Queue()
    got.down = False

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if not got.down:
                got.put((dict(self.headers), body))
            self.send_response(503 if got.down else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    got.server = server
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    server.server_close()


def verify(message: dict) -> None:
    """Checks a notification's signature with the certificate that it names."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    pem = urllib.request.urlopen(message["SigningCertURL"], timeout=LIMIT_S).read()
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    digest = hashes.SHA256() if message["SignatureVersion"] == "2" else hashes.SHA1()
    signature = base64.b64decode(message["Signature"])
    key = x509.load_pem_x509_certificate(pem).public_key()
    key.verify(signature, text.encode(), padding.PKCS1v15(), digest)


@pytest.mark.parametrize("version", ["1", "2"])
def test_endpoint_confirms_and_gets_signed_messages(client, endpoint, version):
    sns, (url, got) = client("sns"), endpoint
    topic = sns.create_topic(Name=f"signed-{version}", Attributes={"SignatureVersion": version})["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=url)
    question = json.loads(got.get(timeout=LIMIT_S)[1])
    assert question["Type"] == "SubscriptionConfirmation"
    urllib.request.urlopen(question["SubscribeURL"], timeout=LIMIT_S).read()
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert subscription["Endpoint"] == url and subscription["SubscriptionArn"].startswith(topic)
    # As a program would, and a second time: it is the same subscription.
    confirmed = sns.confirm_subscription(TopicArn=topic, Token=question["Token"])
    assert confirmed["SubscriptionArn"] == subscription["SubscriptionArn"]
    sns.publish(TopicArn=topic, Subject="s", Message="hello", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    headers, body = got.get(timeout=LIMIT_S)
    message = json.loads(body)
    assert message["Message"] == "hello" and message["SignatureVersion"] == version
    assert {name.lower(): value for name, value in headers.items()}["x-amz-sns-topic-arn"] == topic
    verify(message)
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    sns.delete_topic(TopicArn=topic)


def test_topics_keep_what_they_are_told(client, refused):
    sns = client("sns")
    topic = sns.create_topic(Name="kept", Tags=[{"Key": "a", "Value": "b"}])["TopicArn"]
    assert topic in [one["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for one in page["Topics"]]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="Kept")
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "Kept"
    sns.add_permission(TopicArn=topic, Label="other", AWSAccountId=["111111111111"], ActionName=["Publish"])
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert [statement["Sid"] for statement in policy["Statement"]] == ["__default_statement_ID", "other"]
    sns.remove_permission(TopicArn=topic, Label="other")
    sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "c", "Value": "d"}])
    sns.untag_resource(ResourceArn=topic, TagKeys=["a"])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "c", "Value": "d"}]
    assert not sns.get_data_protection_policy(ResourceArn=topic).get("DataProtectionPolicy")
    with refused("InvalidParameter", naming="SQS"):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:eu-west-1:000000000000:q")
    with refused("InvalidParameter", naming="Token"):
        sns.confirm_subscription(TopicArn=topic, Token="wrong")
    batch = [{"Id": "1", "Message": "a"}, {"Id": "2", "Message": "b"}]
    assert len(sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=batch)["Successful"]) == 2
    with pytest.raises(ClientError) as error:
        sns.publish(TopicArn=topic + "x", Message="m")
    assert error.value.response["Error"]["Code"] == "NotFound"


def test_subscriptions_keep_what_they_are_told(client):
    sns = client("sns")
    topic = sns.create_topic(Name="filtered")["TopicArn"]
    arn = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.com", ReturnSubscriptionArn=True)["SubscriptionArn"]
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue='{"a": ["b"]}')
    attributes = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert (attributes["FilterPolicy"], attributes["PendingConfirmation"]) == ('{"a": ["b"]}', "true")
    pages = sns.get_paginator("list_subscriptions").paginate()
    assert "a@example.com" in [one["Endpoint"] for page in pages for one in page["Subscriptions"]]


def test_what_was_published_arrives_after_a_crash(new_cloud, tmp_path, endpoint):
    cloud, (url, got) = new_cloud("server", "--data", str(tmp_path / "data")).start(), endpoint
    sns = cloud.client("sns")
    topic = sns.create_topic(Name="durable")["TopicArn"]
    policy = {"minDelayTarget": 1, "maxDelayTarget": 1, "numRetries": 100, "numNoDelayRetries": 0}
    subscription = sns.subscribe(
        TopicArn=topic, Protocol="http", Endpoint=url, ReturnSubscriptionArn=True,
        Attributes={"DeliveryPolicy": json.dumps({"healthyRetryPolicy": policy}), "RawMessageDelivery": "true"},
    )["SubscriptionArn"]  # fmt: skip
    token = json.loads(got.get(timeout=LIMIT_S)[1])["Token"]
    assert sns.confirm_subscription(TopicArn=topic, Token=token)["SubscriptionArn"] == subscription
    got.down = True
    sent = {f"message {number}" for number in range(50)}
    for message in sent:
        sns.publish(TopicArn=topic, Message=message)
    # No wait between the last answer and the end: what was acknowledged is durable.
    cloud.kill_all()
    got.down = False
    cloud.start()
    arrived = set()
    while arrived < sent:
        arrived.add(got.get(timeout=LIMIT_S)[1])
    assert arrived == sent
    assert cloud.stop() == 0


def self_signed(folder) -> tuple[str, str]:
    """Files with a certificate for 127.0.0.1 and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook")])
    now = datetime.datetime.now(datetime.timezone.utc)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=2)).add_extension(alternative, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    pem, encoding = folder / "hook.pem", serialization.Encoding.PEM
    pem.write_bytes(certificate.public_bytes(encoding))
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "hook.key").write_bytes(secret)
    return str(pem), str(folder / "hook.key")


@pytest.mark.parametrize("trusted", [True, False])
def test_an_https_endpoint_gets_messages_when_its_certificate_is_trusted(new_cloud, tmp_path, monkeypatch, endpoint, trusted):
    (url, got), (pem, key) = endpoint, self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    got.server.socket = context.wrap_socket(got.server.socket, server_side=True)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", pem)
    sns = new_cloud("server").start().client("sns")
    topic = sns.create_topic(Name="secure")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="https", Endpoint=url.replace("http://", "https://"))
    if trusted:
        token = json.loads(got.get(timeout=LIMIT_S)[1])["Token"]
        sns.confirm_subscription(TopicArn=topic, Token=token)
        sns.publish(TopicArn=topic, Message="in secret")
        assert json.loads(got.get(timeout=LIMIT_S)[1])["Message"] == "in secret"
    else:
        with pytest.raises(queue.Empty):
            got.get(timeout=2)
