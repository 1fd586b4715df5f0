"""A program written against the provider's page: only the host is an argument.

Arguments: the URL, and optionally a value for the header ``Authorization``.
"""

import sys

import requests

url = sys.argv[1]
headers = {"Content-Type": "application/json"}
if len(sys.argv) > 2:
    headers["Authorization"] = sys.argv[2]

data = {"amount": 100.0, "currency": "USD", "description": "Pay"}

response = requests.post(url, headers=headers, json=data, timeout=60)

if response.status_code == 200:
    print("Sucesso:", response.json()["pay_url"])
else:
    print("Falha:", response.status_code, response.text)
