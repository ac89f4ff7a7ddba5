"""AddTags, ListTags and DeleteTags, for every kind of resource. Tags live in the resource's body under `_tags`."""

from __future__ import annotations

from typing import Any, Final

from localcloud.aws.sagemaker.errors import not_found, validation
from localcloud.aws.sagemaker.listing import Listing, page
from localcloud.aws.sagemaker.naming import Scope, kind_of_arn
from localcloud.store import Key, Store

_LISTING: Final = Listing(answer="Tags", name="Key", default_sort="Key", default_page=50)
_MOST_TAGS: Final = 50


class Tags:
    """The operations on tags."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def AddTags(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Add tags or replace those with the same key; answers with all of them."""
        key = self._key(scope, request["ResourceArn"])

        def update(body: dict[str, Any]) -> None:
            body["_tags"] = merged(body.get("_tags", []), request["Tags"])

        changed = self._store.change(key, update)
        return {"Tags": changed.body["_tags"] if changed else []}

    def ListTags(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """One page of a resource's tags."""
        resource = self._store.get(self._key(scope, request["ResourceArn"]))
        return page(_LISTING, resource.body.get("_tags", []) if resource else [], request)

    def DeleteTags(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Remove tags by key; keys that are not there are ignored."""
        gone = set(request["TagKeys"])

        def update(body: dict[str, Any]) -> None:
            body["_tags"] = [tag for tag in body.get("_tags", []) if tag["Key"] not in gone]

        self._store.change(self._key(scope, request["ResourceArn"]), update)
        return {}

    def _key(self, scope: Scope, arn: str) -> Key:
        kind = kind_of_arn(arn)
        resource = scope.by_arn(self._store, kind, arn) if kind else None
        if resource is None:
            raise not_found(f"Could not find resource with ARN {arn}.")
        return resource.key


def merged(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """Old and new tags, the new ones winning; raises when there are too many."""
    by_key = {tag["Key"]: tag for tag in [*old, *new]}
    if len(by_key) > _MOST_TAGS:
        raise validation(f"The number of tags exceeds the limit of {_MOST_TAGS} for a resource.")
    return list(by_key.values())


def at_creation(request: dict[str, Any]) -> list[dict[str, str]]:
    """The tags of a Create request; a key given twice is refused, as on AWS."""
    tags: list[dict[str, str]] = request.get("Tags") or []
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise validation("Duplicate tag keys found. Tag keys must be unique.")
    return tags
