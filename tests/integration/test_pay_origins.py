"""A pay link of an unknown origin: one invoice however often the buyer clicks, and its link once it is allowed."""

import json


def test_five_clicks_make_one_invoice_and_its_link_is_delivered_once_its_origin_is_allowed(start_stack, fresh) -> None:
    stack = start_stack(parameters={"PayOrigins": "https://pay.example"})
    clicks = [stack.post({"amount": 1}, key=fresh) for _ in range(5)]
    assert [(click.status, click.problem["code"], click.problem["retryable"]) for click in clicks] == [
        (502, "pay_link_refused", False)
    ] * 5
    [invoice_id] = stack.seen()["invoices"]
    origin = stack.endpoints["provider_url"]
    lines = [json.loads(line) for line in stack.log_text().splitlines() if '"pay_link_refused"' in line]
    assert len(lines) == 5
    assert all(f"the pay link is of {origin}:" in line["reason"] for line in lines)

    # The next deployment: the table is the same, PayOrigins has the origin.
    after = start_stack(parameters={"PayOrigins": origin})
    for record in stack.table.scan()["Items"]:
        after.table.put_item(Item=record)
    answer = after.post({"amount": 1}, key=fresh)
    assert (answer.status, answer.payload["invoice_id"]) == (200, invoice_id)
    assert answer.payload["pay_url"] == f"{origin}/pay/{invoice_id}"
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert after.seen()["calls"] == []
