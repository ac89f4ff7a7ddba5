"""Who asks and what things are called: scopes, store kinds and ARNs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from localcloud.store import Key, Resource, Store

SERVICE: Final = "sagemaker"


@dataclass(frozen=True)
class Kind:
    """A kind of resource: its name in ARNs (and in the store) and the member that names it in requests."""

    arn: str
    member: str
    missing: str
    """The real service's sentence about one that does not exist; `{arn}` is replaced."""

    @property
    def stored(self) -> str:
        """The kind in the store."""
        return f"{SERVICE}/{self.arn}"


TRAINING_JOB: Final = Kind("training-job", "TrainingJobName", "Requested resource not found.")
MODEL: Final = Kind("model", "ModelName", 'Could not find model "{arn}".')
ENDPOINT_CONFIG: Final = Kind("endpoint-config", "EndpointConfigName", 'Could not find endpoint configuration "{arn}".')
ENDPOINT: Final = Kind("endpoint", "EndpointName", 'Could not find endpoint "{arn}".')
PACKAGE_GROUP: Final = Kind("model-package-group", "ModelPackageGroupName", "ModelPackageGroup {arn} does not exist.")
PACKAGE: Final = Kind("model-package", "ModelPackageName", "ModelPackage {arn} does not exist.")

KINDS: Final = (TRAINING_JOB, MODEL, ENDPOINT_CONFIG, ENDPOINT, PACKAGE_GROUP, PACKAGE)


@dataclass(frozen=True)
class Scope:
    """The account and region a request is signed for."""

    account: str
    region: str

    def arn(self, kind: Kind, name: str) -> str:
        """The ARN; SageMaker writes names in lower case there."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind.arn}/{name.lower()}"

    def key(self, kind: Kind, name: str) -> Key:
        """Where the resource is stored."""
        return Key(kind.stored, self.account, self.region, name)

    def get(self, store: Store, kind: Kind, name: str) -> Resource | None:
        """The resource of that name or ARN."""
        if name.startswith("arn:"):
            return self.by_arn(store, kind, name)
        return store.get(self.key(kind, name))

    def by_arn(self, store: Store, kind: Kind, arn: str) -> Resource | None:
        """The resource whose ARN this is."""
        found = (resource for resource in store.list(kind.stored, self.account, self.region))
        return next((resource for resource in found if self.arn(kind, resource.key.name) == arn.lower()), None)


def scope_of(key: Key) -> Scope:
    """The account and region that own a stored resource."""
    return Scope(key.tenant, key.region)


def kind_of_arn(arn: str) -> Kind | None:
    """The kind of resource an ARN names, or None."""
    name = arn.rsplit(":", 1)[-1].split("/", 1)[0]
    return next((kind for kind in KINDS if kind.arn == name), None)


def public(body: dict[str, Any]) -> dict[str, Any]:
    """A stored body without the members that are ours alone (they begin with `_`)."""
    return {name: value for name, value in body.items() if not name.startswith("_")}
