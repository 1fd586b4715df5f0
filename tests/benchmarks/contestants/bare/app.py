"""The least that does the job: a Secrets Manager client, the secret read once, one pooled POST, nothing checked."""

import json
import os

import boto3
import urllib3

_SECRET = json.loads(
    boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["CRYPTOCLOUD_SECRET_ARN"])["SecretString"]
)
_URL = os.environ["CRYPTOCLOUD_API_URL"] + "/v1/invoice/create"
_http = urllib3.PoolManager()


def lambda_handler(event, context):
    request = json.loads(event["body"])
    reply = _http.request(
        "POST",
        _URL,
        json={**request, "shop_id": _SECRET["shop_id"]},
        headers={"Authorization": f"Token {_SECRET['api_key']}"},
    )
    return {"statusCode": reply.status, "headers": {"Content-Type": "application/json"}, "body": reply.data.decode()}
