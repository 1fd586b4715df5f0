"""The page of an invoice at the provider, where a buyer would pay. Here a button takes the place of money."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from infra.local.provider_postbacks import Postback, Project


class Action(NamedTuple):
    """What a buyer, or time, does to an invoice.

    Args:
        label: On its button.
        status: The status that it leads to.
        possible_in: The statuses in which it can happen. Money may also come after the end.
    """

    label: str
    status: str
    possible_in: tuple[str, ...]


ACTIONS = {
    "pay": Action("Pay", "paid", ("created", "partial", "canceled")),
    "pay-part": Action("Pay part", "partial", ("created",)),
    "pay-too-much": Action("Pay too much", "overpaid", ("created", "partial", "canceled")),
    "cancel": Action("Cancel", "canceled", ("created",)),
    "expire": Action("Let it expire", "canceled", ("created", "partial")),
}
_MEANINGS = {
    "created": "nothing was paid yet",
    "partial": "a part was paid",
    "paid": "all was paid",
    "overpaid": "more than all was paid",
    "canceled": "it has ended",
}
_STYLE = """<style>
:root { color-scheme: light dark; font: 1.125rem/1.6 system-ui, sans-serif; }
body { display: grid; grid-template-columns: minmax(0, 1fr); place-items: center; }
body { min-height: 90vh; margin: 0; padding: 1rem; text-align: center; }
main { box-sizing: border-box; width: min(32rem, 100%); padding: 1rem 1.5rem; overflow-wrap: anywhere; }
main { border: 1px solid #8888; border-radius: 1rem; }
h1 { font-size: 1.25rem; font-weight: 400; }
form { display: flex; flex-wrap: wrap; gap: .75rem; justify-content: center; }
button { min-height: 44px; padding: .25rem 1rem; font: inherit; cursor: pointer; }
ul { padding: 0; list-style: none; }
strong { font-size: 2.25rem; }
</style>"""


def pay_page(invoice_id: str, invoice: Mapping[str, Any], project: Project, postbacks: Sequence[Postback]) -> str:
    """Returns the page, in HTML that needs no script.

    Args:
        invoice_id: The bare id.
        invoice: Its request and status.
        project: The settings of its project.
        postbacks: Those of this invoice, the oldest first.
    """
    status = invoice["status_invoice"]
    order = invoice.get("order_id")
    buttons = "".join(
        f'<button name="action" value="{name}">{action.label}</button>'
        for name, action in ACTIONS.items()
        if status in action.possible_in
    )
    parts = [
        "<p>This page belongs to a sandbox: no money is moved. The buttons do what a buyer, or time, would do.</p>",
        f"<h1>Invoice {escape(invoice_id)}</h1>",
        f"<p><strong>{escape(str(invoice['amount']))} {escape(str(invoice.get('currency', 'USD')))}</strong></p>",
        f"<p>Order {escape(str(order))}</p>" if order else "",
        f'<p role="status">Status: {status} ({_MEANINGS[status]})</p>',
        f'<form method="post">{buttons}</form>' if buttons else "",
        _news_of(invoice_id, postbacks, project) if status in ("paid", "overpaid") else "",
        _way_back(status, project),
    ]
    return _page(f"Invoice {invoice_id}: {status}", "".join(parts))


def plain_page(title: str) -> str:
    """Returns a page that says one thing."""
    return _page(title, f"<h1>{escape(title)}</h1>")


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>{_STYLE}<main>{content}</main></html>"
    )


def _news_of(invoice_id: str, postbacks: Sequence[Postback], project: Project) -> str:
    if project.notification_url is None:
        return "<p>No postback: the project has no notification URL.</p>"
    news = "".join(f"<li>Postback {escape(_outcome(postback))}</li>" for postback in postbacks)
    under_way = any(postback.state == "on its way" for postback in postbacks)
    look_again = f'<p><a href="/pay/{escape(invoice_id)}">Look again</a></p>' if under_way else ""
    return f"<ul>{news}</ul>{look_again}" if news else ""


def _outcome(postback: Postback) -> str:
    match postback.state:
        case "answered":
            return f"answered with {postback.status}"
        case "failed":
            return f"not answered: {postback.error}"
    return postback.state


def _way_back(status: str, project: Project) -> str:
    if status in ("paid", "overpaid") and project.success_url:
        return f'<p><a href="{escape(project.success_url)}">Back to the shop</a></p>'
    if status == "canceled" and project.fail_url:
        return f'<p><a href="{escape(project.fail_url)}">Back to the shop</a></p>'
    return ""
