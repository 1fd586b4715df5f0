"""Sends the events of the dead-letter queue again, and deletes those that got their invoice.

INVOICE_FUNCTION=FunctionAliasArn PYTHONPATH=functions python3 resend_failed_events.py FailedEventsQueueUrl
"""

import argparse
import json
import os
import sys
from decimal import Decimal

import boto3
from invoices import InvoiceError, create_invoice


def main(queue_url: str) -> int:
    """Returns the exit status: 1 if an event failed again and stays in the queue."""
    sqs = boto3.client("sqs")
    failed: set[str] = set()
    # What fails again is hidden for five minutes, then comes back: everything else has had its turn by then.
    while messages := sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=1, VisibilityTimeout=300).get("Messages"):
        if messages[0]["MessageId"] in failed:
            break
        record = json.loads(messages[0]["Body"], parse_float=Decimal)
        request = record["requestPayload"]
        name = f"{record['timestamp']} order {request.get('order_id') if isinstance(request, dict) else None}"
        try:
            invoice = create_invoice(request)
        except InvoiceError as error:
            failed.add(messages[0]["MessageId"])
            print(f"{name}: {error} {error.problem.get('errors', '')}")
            continue
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=messages[0]["ReceiptHandle"])
        print(f"{name}: {invoice['pay_url']}")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sends the events of the dead-letter queue again.")
    parser.add_argument("queue_url", help="FailedEventsQueueUrl of the invoices stack")
    arguments = parser.parse_args()
    if "INVOICE_FUNCTION" not in os.environ:
        parser.error("set the environment variable INVOICE_FUNCTION to the stack's FunctionAliasArn")
    sys.exit(main(arguments.queue_url))
