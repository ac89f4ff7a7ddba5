"""Standing on the local cloud: the environment that aims every AWS SDK at it, and what the control API knows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labs import cleanup
from labs.cloud_process import CloudState
from labs.control import Control, Leftover, Tenant

if TYPE_CHECKING:
    from labs.aws import Lab

_NOWHERE: Final = "http://127.0.0.1:9"
"""The discard port: a call that would leave the machine fails at once instead."""
_LOOPBACK: Final = "127.0.0.1,localhost"
_REAL_CREDENTIALS: Final = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)  # fmt: skip


class LocalGround:
    """One tenant of the local cloud."""

    target = "local"

    def __init__(self, control: Control, account: str) -> None:
        self.control = control
        self._account = account

    def usage(self) -> list[dict[str, Any]]:
        """The tenant's rows of the usage ledger."""
        return self.control.usage(self._account)

    def leftovers(self) -> list[Leftover]:
        """What the control API says this tenant still has."""
        return self.control.leftovers(self._account)

    def to_delete(self, lab: Lab) -> Iterable[cleanup.Thing]:
        """Everything: the whole account belongs to the lab."""
        return cleanup.everything(lab)

    def track(self, service: str, kind: str, name: str, detail: Mapping[str, Any]) -> None:
        """Nothing to do: the local cloud knows what a tenant has."""

    def deleted(self, service: str, kind: str, name: str) -> None:
        """Nothing to do."""


def environment(state: CloudState, tenant: Tenant, config: Path) -> dict[str, str]:
    """The variables that aim the vendors' SDKs and command lines at this tenant."""
    proxies = {
        name: _NOWHERE
        for word in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        for name in (word, word.lower())
    }  # fmt: skip
    return {
        "AWS_ENDPOINT_URL": state.aws_url,
        "AWS_ACCESS_KEY_ID": tenant.account,
        "AWS_SECRET_ACCESS_KEY": tenant.secret or "local",
        "AWS_DEFAULT_REGION": tenant.region,
        "AWS_REGION": tenant.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(config),
        **proxies,
        "NO_PROXY": _LOOPBACK,
        "no_proxy": _LOOPBACK,
    }


def to_remove(names: Iterable[str]) -> list[str]:
    """Of these variables, those through which real credentials or other endpoints could be used."""
    return [name for name in names if name in _REAL_CREDENTIALS or name.startswith("AWS_ENDPOINT_URL_")]


def apply(variables: Mapping[str, str]) -> None:
    """Set this process's environment, and make boto3 forget sessions made before."""
    for name in to_remove(list(os.environ)):
        del os.environ[name]
    os.environ.update(variables)
    import boto3

    boto3.DEFAULT_SESSION = None


def write_sagemaker_config(folder: Path, account: str, bucket: str, prefix: str) -> Path:
    """Write the SageMaker SDK's configuration for a tenant: telemetry off, its own default bucket and prefix.

    The format is https://sagemaker.readthedocs.io/en/stable/overview.html#configuring-and-using-defaults
    """
    path = folder / "sagemaker" / f"{account}.yaml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(
        "SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n      Session:\n"
        f"        DefaultS3Bucket: {bucket}\n        DefaultS3ObjectKeyPrefix: {prefix}\n"
    )
    temporary.replace(path)
    return path
