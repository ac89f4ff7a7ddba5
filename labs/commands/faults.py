"""`lab fault`: break things on purpose."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from labs import control, show
from labs.commands.cloud import TenantName, find_tenant

app: Final = typer.Typer(help="Break things on purpose: errors, latency, outages, kills.", no_args_is_help=True)


@app.command("add")
def add(
    service: Annotated[
        str | None, typer.Option(help="SigV4 name (s3, sagemaker; sagemaker-runtime for invocations); all if left out.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="Only this region.")] = None,
    error: Annotated[int | None, typer.Option(min=400, max=599, help="Answer this status.")] = None,
    percent: Annotated[float, typer.Option(min=0, max=100, help="To this share of requests.")] = 100.0,
    latency: Annotated[float | None, typer.Option(min=0, help="Delay requests by this many seconds.")] = None,
    outage: Annotated[bool, typer.Option("--outage", help="Everything fails.")] = False,
    kill: Annotated[str | None, typer.Option(help="Kill this job, or a replica of this endpoint.")] = None,
    spot_reclaim: Annotated[str | None, typer.Option(help="Take the spot capacity of this job away.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="End by itself after this long.")] = None,
    tenant: TenantName = None,
) -> int:
    """Add a fault; says its id.

    Example:  lab fault add --region us-east-1 --service sagemaker --error 503 --percent 30
    """
    wanted = _kind(error, latency, outage, kill, spot_reclaim)
    api = control.connect()
    account = find_tenant(api.tenants(), tenant).account if tenant else None
    now = time.time()
    wanted |= {
        "service": service, "region": region, "tenant": account, "percent": percent, "start": now,
        "end": None if seconds is None else now + seconds,
    }  # fmt: skip
    added = api.add_fault(wanted)
    typer.echo(f"{added['id']}  {_words(added)}\nEnd it with: lab fault clear {added['id']}")
    return 0


@app.command("list")
def list_() -> int:
    """List the faults in force.

    Example:  lab fault list
    """
    rows = [[each["id"], _words(each)] for each in control.connect().faults()]
    typer.echo(show.text_table(["id", "fault"], rows) if rows else "Nothing is broken on purpose.")
    return 0


@app.command("clear")
def clear(id: Annotated[str | None, typer.Argument(help="The fault's id; all when left out.")] = None) -> int:
    """End one fault, or all.

    Example:  lab fault clear
    """
    api = control.connect()
    known = [each["id"] for each in api.faults()]
    if id is not None and id not in known:
        raise typer.BadParameter(f"there is no fault {id!r}. Known: {', '.join(known) or 'none'}")
    api.clear_fault(id)
    typer.echo(f"Cleared {1 if id else len(known)}.")
    return 0


def _kind(
    error: int | None, latency: float | None, outage: bool, kill: str | None, spot_reclaim: str | None
) -> dict[str, Any]:
    chosen: list[dict[str, Any]] = []
    if error is not None:
        chosen.append({"kind": "error", "status": error})
    if latency is not None:
        chosen.append({"kind": "latency", "delay_seconds": latency})
    if outage:
        chosen.append({"kind": "outage"})
    if kill is not None:
        chosen.append({"kind": "kill", "target": kill})
    if spot_reclaim is not None:
        chosen.append({"kind": "spot-reclaim", "target": spot_reclaim})
    if len(chosen) != 1:
        raise typer.BadParameter("give exactly one of --error, --latency, --outage, --kill, --spot-reclaim")
    return chosen[0]


def _words(fault: dict[str, Any]) -> str:
    what = {
        "error": f"error {fault.get('status')} on {fault.get('percent', 100):g}% of requests",
        "latency": f"latency +{fault.get('delay_seconds', 0):g} s on {fault.get('percent', 100):g}% of requests",
        "outage": "outage",
    }.get(fault["kind"], f"{fault['kind']} {fault.get('target')}")
    where = f"{fault.get('service') or 'all services'} in {fault.get('region') or 'all regions'}"
    until = "until cleared" if fault.get("end") is None else f"{max(0.0, fault['end'] - time.time()):.0f} s more"
    return f"{what}: {where}, {fault.get('tenant') or 'all tenants'}, {until}"
