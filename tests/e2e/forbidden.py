"""What must be refused: to every function, and to a session with one client's objects."""

from __future__ import annotations

from typing import Any


def item(partition: str, sort: str = "x") -> dict[str, Any]:
    return {"pk": {"S": partition}, "sk": {"S": sort}}


def put(table: str, partition: str) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": item(partition)}}


# What no function may do: service, words, call with (client, own stage, other stage).
FORBIDDEN: list[tuple[str, str, Any]] = [
    (
        "s3",
        "another stage's object",
        lambda c, _own, far: c.get_object(Bucket=far.BucketName, Key="clients/acme/studies/a.pdf"),
    ),
    (
        "s3",
        "an object into another stage",
        lambda c, _own, far: c.put_object(Bucket=far.BucketName, Key="clients/acme/x", Body=b"x"),
    ),
    (
        "s3",
        "its own stage's object, without a client's session",
        lambda c, own, _far: c.get_object(Bucket=own.BucketName, Key="clients/acme/studies/a.pdf"),
    ),
    ("s3", "a list of all objects", lambda c, own, _far: c.list_objects_v2(Bucket=own.BucketName)),
    ("s3", "a list of all buckets", lambda c, _own, _far: c.list_buckets()),
    (
        "s3",
        "the bucket's policy",
        lambda c, own, _far: c.delete_bucket_policy(Bucket=own.BucketName),
    ),
    (
        "s3",
        "the bucket's lifecycle",
        lambda c, own, _far: c.delete_bucket_lifecycle(Bucket=own.BucketName),
    ),
    (
        "dynamodb",
        "another stage's table",
        lambda c, _own, far: c.get_item(TableName=far.TableName, Key=item("CLIENT#acme")),
    ),
    (
        "dynamodb",
        "a record of another stage",
        lambda c, _own, far: c.put_item(TableName=far.TableName, Item=item("CLIENT#acme")),
    ),
    ("dynamodb", "a scan", lambda c, own, _far: c.scan(TableName=own.TableName)),
    ("dynamodb", "the table's end", lambda c, own, _far: c.delete_table(TableName=own.TableName)),
    (
        "dynamodb",
        "the table's recovery",
        lambda c, own, _far: c.update_continuous_backups(
            TableName=own.TableName,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
        ),
    ),
    (
        "dynamodb",
        "a line of the audit trail",
        lambda c, own, _far: c.put_item(
            TableName=own.TableName, Item=item("AUDIT", "ENTRY#000000000001")
        ),
    ),
    (
        "dynamodb",
        "the audit trail's head",
        lambda c, own, _far: c.update_item(TableName=own.TableName, Key=item("AUDIT", "HEAD")),
    ),
    (
        "dynamodb",
        "a line of the audit trail within a transaction",
        lambda c, own, _far: c.transact_write_items(
            TransactItems=[put(own.TableName, "CLIENT#acme"), put(own.TableName, "AUDIT")]
        ),
    ),
    (
        "dynamodb",
        "the audit trail, to read",
        lambda c, own, _far: c.query(
            TableName=own.TableName,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": "AUDIT"}},
        ),
    ),
    (
        "dynamodb",
        "the audit trail of one client, to read",
        lambda c, own, _far: c.query(
            TableName=own.TableName,
            IndexName="gsi1",
            KeyConditionExpression="#k = :k",
            ExpressionAttributeNames={"#k": "gsi1pk"},
            ExpressionAttributeValues={":k": {"S": "AUDIT#acme"}},
        ),
    ),
    (
        "dynamodb",
        "a secret of its own making",
        lambda c, own, _far: c.put_item(
            TableName=own.TableName, Item=item("HASH#" + "0" * 64, "HASH")
        ),
    ),
    (
        "dynamodb",
        "another owner for a key",
        lambda c, own, _far: c.update_item(TableName=own.TableName, Key=item("KEY#key_1", "KEY")),
    ),
    (
        "sqs",
        "the dead letters, to empty them",
        lambda c, own, _far: c.purge_queue(QueueUrl=own.DeadLetterQueueUrl),
    ),
    (
        "sqs",
        "a message for another stage",
        lambda c, _own, far: c.send_message(QueueUrl=far.QueueUrl, MessageBody="{}"),
    ),
    ("sqs", "the queue's end", lambda c, own, _far: c.delete_queue(QueueUrl=own.QueueUrl)),
    (
        "sesv2",
        "a mail from another's address",
        lambda c, _own, _far: c.send_email(
            FromEmailAddress="radgate@another.example",
            Destination={"ToAddresses": ["reader@acme.example"]},
            Content={"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "x"}}}},
        ),
    ),
    ("apigateway", "a key", lambda c, _own, _far: c.create_api_key(name="mine", enabled=True)),
    (
        "apigateway",
        "all keys with their values",
        lambda c, _own, _far: c.get_api_keys(includeValues=True),
    ),
    ("apigateway", "a usage plan", lambda c, _own, _far: c.create_usage_plan(name="free")),
    ("iam", "a user", lambda c, _own, _far: c.create_user(UserName="mine")),
    (
        "iam",
        "more for itself",
        lambda c, _own, _far: c.put_role_policy(
            RoleName="radgate-local-worker",
            PolicyName="more",
            PolicyDocument='{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
        ),
    ),
    ("iam", "the roles", lambda c, _own, _far: c.list_roles()),
    ("lambda", "the functions", lambda c, _own, _far: c.list_functions()),
    (
        "lambda",
        "other code",
        lambda c, _own, _far: c.update_function_code(FunctionName="radgate-local", ZipFile=b"x"),
    ),
    ("lambda", "another function", lambda c, _own, _far: c.invoke(FunctionName="radgate-local")),
    (
        "sts",
        "another function's role",
        lambda c, own, _far: c.assume_role(
            RoleArn=own.DataRoleArn.replace("-data", "-api_handler"), RoleSessionName="mine"
        ),
    ),
    (
        "sts",
        "the other stage's objects",
        lambda c, _own, far: c.assume_role(RoleArn=far.DataRoleArn, RoleSessionName="mine"),
    ),
    (
        "cloudformation",
        "the stack",
        lambda c, _own, _far: c.delete_stack(StackName="radgate-local"),
    ),
    ("kms", "a key", lambda c, _own, _far: c.create_key()),
    (
        "logs",
        "another function's log",
        lambda c, _own, _far: c.delete_log_group(logGroupName="/aws/lambda/radgate-local"),
    ),
    ("secretsmanager", "secrets", lambda c, _own, _far: c.list_secrets()),
    ("ssm", "parameters", lambda c, _own, _far: c.get_parameters_by_path(Path="/")),
]

BEYOND: list[tuple[str, Any]] = [
    (
        "read another's object",
        lambda c, own: c.get_object(Bucket=own, Key="clients/rival/studies/b.pdf"),
    ),
    (
        "write another's object",
        lambda c, own: c.put_object(Bucket=own, Key="clients/rival/studies/b.pdf", Body=b""),
    ),
    (
        "erase another's object",
        lambda c, own: c.delete_object(Bucket=own, Key="clients/rival/studies/b.pdf"),
    ),
    ("take another's upload", lambda c, own: c.get_object(Bucket=own, Key="uploads/rival/image")),
    (
        "copy another's object",
        lambda c, own: c.copy_object(
            Bucket=own,
            Key="clients/acme/mine",
            CopySource={"Bucket": own, "Key": "clients/rival/studies/b.pdf"},
        ),
    ),
    (
        "see who has the same beginning",
        lambda c, own: c.get_object(Bucket=own, Key="clients/acme-two/studies/b.pdf"),
    ),
    (
        "list another's objects",
        lambda c, own: c.list_objects_v2(Bucket=own, Prefix="clients/rival/"),
    ),
    ("list all clients", lambda c, own: c.list_objects_v2(Bucket=own, Prefix="clients/")),
    ("list everything", lambda c, own: c.list_objects_v2(Bucket=own)),
    (
        "make its objects public",
        lambda c, own: c.put_object_acl(
            Bucket=own, Key="clients/acme/studies/a.pdf", ACL="public-read"
        ),
    ),
]
