"""The same as tutorials write it: requests, and a client and the secret anew for each call."""

import json
import os

import boto3
import requests


def lambda_handler(event, context):
    client = boto3.client("secretsmanager")
    secret = json.loads(client.get_secret_value(SecretId=os.environ["CRYPTOCLOUD_SECRET_ARN"])["SecretString"])
    request = json.loads(event["body"])
    reply = requests.post(
        os.environ["CRYPTOCLOUD_API_URL"] + "/v1/invoice/create",
        json={**request, "shop_id": secret["shop_id"]},
        headers={"Authorization": f"Token {secret['api_key']}"},
        timeout=20,
    )
    return {"statusCode": reply.status_code, "headers": {"Content-Type": "application/json"}, "body": reply.text}
