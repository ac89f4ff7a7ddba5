"""`lab up`, `down`, `status`, `env`, `logs`, `coverage`, `spend`: the local cloud from the command line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from labs import cloud_process, control, home, local, show, target
from labs import spend as _spend

_NOT_FOR_A_SHELL: Final = ("PROXY", "proxy")
"""A shell is used for other things too; a notebook's leak guard stays in the notebook."""

AwsPort = Annotated[
    int | None, typer.Option("--aws-port", help="The port that AWS SDKs talk to; 0: any free.", min=0, max=65535)
]
TenantName = Annotated[
    str | None, typer.Option("--tenant", help="A tenant's name or account id, as `lab spend` lists them.")
]


def up(aws_port: AwsPort = None) -> int:
    """Start the local cloud, and return when it is ready.

    Example:  lab up --aws-port 4600
    """
    extra = [] if aws_port is None else ["--aws-port", str(aws_port)]
    return cloud_process.pass_through(["up", *extra])


def down() -> int:
    """Stop the local cloud. What is stored stays.

    Example:  lab down
    """
    return cloud_process.pass_through(["down"])


def status() -> int:
    """Show which parts run, on which ports, and which tenants there are; 1 when it is not ready.

    Example:  lab status
    """
    code = cloud_process.pass_through(["status"])
    if code == 0:
        tenants = control.connect().tenants()
        rows = [[each.name, each.account, each.lab, each.region] for each in tenants]
        typer.echo("\n" + show.text_table(["tenant", "account", "lab", "region"], rows) if rows else "\nno tenants yet")
    return code


def coverage(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> int:
    """Print which operations of which services are implemented, read from the code.

    Example:  lab coverage
    """
    return cloud_process.pass_through(["coverage", *(["--json"] if as_json else [])])


def env(
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant to be; made when there is none.")] = "default",
) -> int:
    """Print what aims the vendors' command lines (aws) at the local cloud, for your shell.

    Example:  eval "$(lab env)" && aws s3 ls
    """
    state = target.ready_cloud()
    account = target.local_tenant(state, tenant, target.slug(tenant.rpartition("/")[2]))
    variables = target.local_environment(state, account)
    for name in sorted({*local.to_remove(os.environ), "AWS_PROFILE", "AWS_SESSION_TOKEN"}):
        typer.echo(f"unset {name}")
    for name, value in sorted(variables.items()):
        if not name.endswith(_NOT_FOR_A_SHELL):
            typer.echo(f"export {name}={shlex.quote(value)}")
    return 0


def logs(
    part: Annotated[str | None, typer.Argument(help="A part of the cloud; all are listed when left out.")] = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many lines from the end.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come; Ctrl-C ends.")] = False,
) -> int:
    """Show the log of a part of the local cloud. (A job's log is in CloudWatch Logs, as on AWS.)

    Example:  lab logs controlplane -f
    """
    files = {path.stem: path for path in sorted((home.folder() / "logs").glob("*.log"))}
    if part is None:
        typer.echo("\n".join(f"{name:<14} {path}" for name, path in files.items()) or "No logs yet. Run: lab up")
        return 0
    if part not in files:
        raise typer.BadParameter(f"there is no log of {part!r}. Known: {', '.join(files) or 'none, run lab up first'}")
    return _tail(files[part], lines, follow)


def spend(tenant: TenantName = None) -> int:
    """Show what each tenant used, at list price; with --tenant every line.

    Example:  lab spend --tenant week1_aws/03_sagemaker_endpoint
    """
    api = control.connect()
    tenants = api.tenants()
    if tenant is not None:
        found = find_tenant(tenants, tenant)
        typer.echo(_spend.of_usage(api.usage(found.account), f"Spend of {found.name} so far"))
        return 0
    rows = []
    for each in tenants:
        total = _spend.of_usage(api.usage(each.account), each.name)
        rows.append([each.name, each.account, _spend.dollars(total.total_usd), ", ".join(total.unpriced) or "-"])
    typer.echo(show.text_table(["tenant", "account", "USD", "not priced"], rows) if rows else "Nothing was used yet.")
    return 0


def find_tenant(tenants: list[control.Tenant], wanted: str) -> control.Tenant:
    """The tenant of that name or account; BadParameter names those there are."""
    for each in tenants:
        if wanted in (each.name, each.account):
            return each
    raise typer.BadParameter(f"there is no tenant {wanted!r}. Known: {', '.join(t.name for t in tenants) or 'none'}")


def _tail(path: Path, lines: int, follow: bool) -> int:
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), str(path)]
    try:
        return subprocess.run(command, stdout=sys.stdout, check=False).returncode
    except KeyboardInterrupt:
        return 0
