"""Sends the events of the dead-letter queue again, and deletes those that got their invoice.

INVOICE_FUNCTION=FunctionAliasArn PYTHONPATH=functions python3 resend_failed_events.py FailedEventsQueueUrl
"""

import json
import sys
from decimal import Decimal

import boto3
from invoices import InvoiceError, create_invoice


def main(queue_url: str) -> int:
    """Returns the exit status: 1 if an event failed again and stays in the queue."""
    sqs = boto3.client("sqs")
    failed = 0
    # What fails again is hidden for five minutes, so that this comes to an end.
    while messages := sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=1, VisibilityTimeout=300).get("Messages"):
        record = json.loads(messages[0]["Body"], parse_float=Decimal)
        request = record["requestPayload"]
        name = f"{record['timestamp']} order {request.get('order_id') if isinstance(request, dict) else None}"
        try:
            invoice = create_invoice(request)
        except InvoiceError as error:
            failed += 1
            print(f"{name}: {error} {error.problem.get('errors', '')}")
            continue
        sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=messages[0]["ReceiptHandle"])
        print(f"{name}: {invoice['pay_url']}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
