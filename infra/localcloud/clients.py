"""boto3 clients that the control plane itself uses, aimed at MiniStack's own port."""

from __future__ import annotations

import threading
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config

from localcloud.tenants import SECRET

_CONFIG: Final = Config(
    retries={"mode": "standard", "max_attempts": 10},  # rides out a restart of MiniStack
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=16,
    s3={"addressing_style": "path"},
)


class Clients:
    """Makes clients once per service, account and region; safe to share between threads."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._guard = threading.Lock()
        self._made: dict[tuple[str, str, str], Any] = {}
        # One botocore session: its loader keeps each service model once, whatever the number of accounts.
        self._session = boto3.Session(botocore_session=botocore.session.Session())

    def aws(self, service: str, account: str, region: str) -> Any:
        """A cached client of a service that MiniStack offers, acting as the account."""
        key = (service, account, region)
        with self._guard:
            if key not in self._made:
                self._made[key] = self._session.client(
                    service, region_name=region, endpoint_url=self._endpoint, aws_access_key_id=account,
                    aws_secret_access_key=SECRET, config=_CONFIG,
                )  # fmt: skip
            return self._made[key]

    def forget(self, account: str) -> None:
        """Drop the clients of an account that is gone."""
        with self._guard:
            self._made = {key: client for key, client in self._made.items() if key[1] != account}
