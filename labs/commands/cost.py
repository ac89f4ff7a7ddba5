"""`lab cost`: a tenant's bill at list price, with the source of every price."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from labs import control, show
from labs import cost as prices
from labs.commands.cloud import find_tenant
from labs.spend import amount, dollars

_COLUMNS: Final = ["service", "what", "quantity", "USD", "price of", "source"]


def cost(
    tenant: Annotated[str, typer.Option("--tenant", help="A tenant's name or account id, as `lab spend` lists them.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Price what a tenant has used: every line with the date and source of its price.

    Example:  lab cost --tenant week1_aws/05_aws_cost --json
    """
    api = control.connect()
    found = find_tenant(api.tenants(), tenant)
    bill = prices.bill(api.usage(found.account))
    if as_json:
        typer.echo(json.dumps(as_object(bill, found), indent=2))
        return 0
    typer.echo(f"{found.name}, account {found.account}, {found.region}")
    typer.echo(show.text_table(_COLUMNS, [_cells(line) for line in bill.lines]) if bill.lines else "Nothing was used.")
    typer.echo(f"Total at list price: {dollars(bill.total_usd)}")
    if bill.unpriced:
        names = ", ".join(f"{line.service} {line.sku}" for line in bill.unpriced)
        typer.echo(f"Not in the total, for want of a price: {names}")
    return 0


def as_object(bill: prices.Bill, tenant: control.Tenant) -> dict[str, Any]:
    """The bill for other programs; `usd` and `price` of a line are null when the price book has no row for it."""
    return {
        "tenant": tenant.name,
        "account": tenant.account,
        "currency": "USD",
        "total_usd": bill.total_usd,
        "lines": [_line(line) for line in bill.lines],
        "unpriced": [f"{line.service} {line.sku}" for line in bill.unpriced],
    }


def _line(line: prices.Line) -> dict[str, Any]:
    price = line.price and {
        "usd": line.price.usd, "per": line.price.unit, "source": line.price.source,
        "source_date": line.price.source_date.isoformat(), "assumption": line.price.assumption,
        "note": line.price.note,
    }  # fmt: skip
    return {
        "provider": line.provider, "region": line.region, "service": line.service, "sku": line.sku,
        "quantity": line.quantity, "unit": line.unit, "usd": line.usd, "price": price,
    }  # fmt: skip


def _cells(line: prices.Line) -> list[str]:
    quantity = amount(line.quantity, line.unit)
    if line.price is None or line.usd is None:
        return [line.service, line.sku, quantity, "not priced", "-", "add a row to labs/cost/prices.csv"]
    dated = f"{line.price.source_date}{' (assumed)' if line.price.assumption else ''}"
    return [line.service, line.sku, quantity, dollars(line.usd), dated, line.price.source]
