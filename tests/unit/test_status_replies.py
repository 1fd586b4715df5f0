"""What the provider's replies say of the status of invoices, in both versions of its API."""

import json
from typing import Any

import pytest

from invoicing.contract.errors import InvoicingError, OutcomeUnknown, ProviderCredentialsRejected, ProviderUnavailable
from invoicing.provider.dialects import chosen_api
from invoicing.provider.outcomes import Reply

API = {name: chosen_api(name) for name in ("v1", "v2")}


def judged(api: str, status: int, content: object, *invoice_ids: str) -> Any:
    return API[api].info(invoice_ids or ("AAAA",)).judge(Reply(status, json.dumps(content).encode()))


@pytest.mark.parametrize("said", ["created", "partial", "canceled", "paid", "overpaid"])
def test_a_status_that_the_provider_documents_is_that_status(said) -> None:
    assert judged("v1", 200, {"status": "success", "status_invoice": said}) == {"AAAA": said}
    assert judged("v2", 200, {"status": "success", "result": [{"uuid": "INV-AAAA", "status": said}]}) == {"AAAA": said}


@pytest.mark.parametrize("said", ["PAID", "success", "", None, 1, ["paid"], True])
def test_any_other_status_is_none_that_can_be_believed(said) -> None:
    assert judged("v1", 200, {"status_invoice": said}) == {"AAAA": None}
    assert judged("v2", 200, {"result": [{"uuid": "AAAA", "status": said}]}) == {"AAAA": None}


def test_an_invoice_that_the_provider_does_not_know_is_left_out() -> None:
    assert judged("v1", 400, {"status": "error"}) == {}
    assert judged("v2", 200, {"result": []}) == {}
    answer = {"result": [{"uuid": "INV-BBBB", "status": "paid"}, {"uuid": None, "status": "paid"}]}
    assert judged("v2", 200, answer, "AAAA", "BBBB") == {"BBBB": "paid"}


@pytest.mark.parametrize(
    ("api", "content"),
    [
        ("v1", {}),
        ("v1", {"status": "success"}),
        ("v1", []),
        ("v2", {}),
        ("v2", {"result": {}}),
        ("v2", {"result": None}),
        ("v2", {"result": [{"uuid": "AAAA", "status": "paid"}, "AAAA"]}),
        ("v2", []),
    ],
)
def test_a_reply_without_a_status_says_nothing_of_any_invoice(api, content) -> None:
    with pytest.raises(OutcomeUnknown):
        judged(api, 200, content)


@pytest.mark.parametrize(
    ("api", "status", "content", "error"),
    [
        ("v1", 401, {}, ProviderCredentialsRejected),
        ("v1", 503, {}, ProviderUnavailable),
        ("v1", 500, {"status_invoice": "paid"}, OutcomeUnknown),
        ("v1", 201, {"status_invoice": "paid"}, OutcomeUnknown),
        ("v2", 401, {}, ProviderCredentialsRejected),
        ("v2", 403, {"detail": "no"}, ProviderCredentialsRejected),
        ("v2", 400, {"result": {"authorization": "no"}}, ProviderCredentialsRejected),
        ("v2", 400, {"result": {"uuids": "no"}}, OutcomeUnknown),
        ("v2", 429, {}, ProviderUnavailable),
        ("v2", 201, {"result": [{"uuid": "AAAA", "status": "paid"}]}, OutcomeUnknown),
    ],
)
def test_only_a_200_says_a_status(api, status, content, error: type[InvoicingError]) -> None:
    with pytest.raises(error):
        judged(api, status, content)
