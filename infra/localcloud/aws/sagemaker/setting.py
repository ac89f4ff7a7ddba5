"""What SageMaker's parts need of the cloud they run in."""

from __future__ import annotations

from dataclasses import dataclass

from localcloud.aws.logs import AwsClients
from localcloud.home import Home
from localcloud.store import Store


@dataclass(frozen=True)
class Setting:
    """The store, clients of S3, Logs and CloudWatch, the folders, and the address that jobs call."""

    store: Store
    clients: AwsClients
    home: Home
    endpoint: str
    """The gateway's URL, for AWS_ENDPOINT_URL inside jobs and replicas."""
