"""List operations: filters, order and pages, the same for every kind of resource."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from localcloud.aws.sagemaker.errors import validation

DEFAULT_PAGE: Final = 10

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Listing:
    """How one List operation names things."""

    answer: str
    """Member of the answer that holds the entries."""
    name: str
    """Member of an entry that holds its name; NameContains looks there."""
    status: str | None = None
    """Member of an entry that StatusEquals is compared with."""
    sort_by: Mapping[str, str] = field(default_factory=dict)
    """SortBy value to member, besides CreationTime."""
    default_sort: str = "CreationTime"
    default_order: str = "Ascending"
    default_page: int = DEFAULT_PAGE
    equals: Mapping[str, str] = field(default_factory=dict)
    """Request member to the entry's member that must equal it."""


def page(listing: Listing, entries: Iterable[Entry], request: Mapping[str, Any]) -> dict[str, Any]:
    """The page of entries that the request asks for, with NextToken when there are more."""
    order = _sort_key(listing, request)
    kept = sorted((entry for entry in entries if _matches(listing, entry, request)), key=order)
    descending = request.get("SortOrder", listing.default_order) == "Descending"
    if descending:
        kept.reverse()
    start = _start(kept, order, request.get("NextToken"), descending)
    size = request.get("MaxResults") or listing.default_page
    answer: dict[str, Any] = {listing.answer: kept[start : start + size]}
    if start + size < len(kept):
        answer["NextToken"] = _token(order(kept[start + size - 1]))
    return answer


def _sort_key(listing: Listing, request: Mapping[str, Any]) -> Callable[[Entry], list[Any]]:
    by = request.get("SortBy") or listing.default_sort
    member = listing.sort_by.get(by, by)
    name = listing.name
    return lambda entry: [entry.get(member, 0 if member.endswith("Time") else ""), str(entry.get(name, ""))]


def _matches(listing: Listing, entry: Entry, request: Mapping[str, Any]) -> bool:
    created = entry.get("CreationTime", 0)
    modified = entry.get("LastModifiedTime", created)
    wanted = request.get("StatusEquals")
    after, before = request.get("LastModifiedTimeAfter", modified), request.get("LastModifiedTimeBefore", modified)
    return (
        request.get("NameContains", "").lower() in str(entry.get(listing.name, "")).lower()
        and request.get("CreationTimeAfter", created) <= created <= request.get("CreationTimeBefore", created)
        and after <= modified <= before
        and (not wanted or not listing.status or entry.get(listing.status) == wanted)
        and all(entry.get(mine) == request[asked] for asked, mine in listing.equals.items() if request.get(asked))
    )


def _start(kept: list[Entry], order: Callable[[Entry], list[Any]], token: str | None, descending: bool) -> int:
    """The index after the last entry of the page before; what was deleted or added since does not shift it."""
    if not token:
        return 0
    last = _decoded(token)
    return sum((order(entry) >= last) if descending else (order(entry) <= last) for entry in kept)


def _token(last: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode()


def _decoded(token: str) -> list[Any]:
    try:
        last = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError):
        last = None
    if not isinstance(last, list):
        raise validation("Invalid NextToken. Use the NextToken of the page before, unchanged.")
    return last
