"""Week 1, lab 01: what a budget cannot do, versions, lifecycle rules, signed links, policies."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from math import isclose
from typing import Any, Final

from labs.checks.grading import Check, Misconception, called

Version = Mapping[str, Any]
Document = Mapping[str, Any]

_DAYS: Final = 30
_FULL: Final = 1_000


def _near(value: float, wanted: float, tolerance: float = 0.02) -> bool:
    return isclose(float(value), wanted, rel_tol=tolerance)


budget = Check(
    id="week1_storage.01.budget",
    question="The limit is `limit` USD. Somebody starts a machine at `usd_per_hour`, and the budget's data is renewed "
    "`hours` later. How many USD are gone before the first mail can leave?",
    is_right=lambda usd, usd_per_hour, hours, **_: _near(usd, usd_per_hour * hours),
    right=lambda _, usd_per_hour, hours, limit: (
        f"Yes: {usd_per_hour:g} · {hours:g} = {usd_per_hour * hours:.2f} USD, {usd_per_hour * hours / limit:.0f} times "
        "the limit. A budget is a late letter. What stops a machine is a quota, a time limit on the job, or you."
    ),
    wrong="Price per hour, times the hours in which nobody looks.",
    misconceptions=(
        Misconception(
            "a budget is a limit",
            lambda usd, limit, **_: float(usd) <= limit,
            "Nothing happens at the limit except that a message is sent, and the message knows what the data knows. "
            "The machine runs on.",
        ),
        Misconception(
            "one hour",
            lambda usd, usd_per_hour, **_: _near(usd, usd_per_hour),
            "That is one hour. Read again how often a budget's data is renewed.",
        ),
        Misconception(
            "a whole day",
            lambda usd, usd_per_hour, **_: _near(usd, usd_per_hour * 24),
            "That is a day. The data is renewed up to three times in a day.",
        ),
    ),
    hints=("When does the budget learn that the machine exists?", "usd_per_hour · hours"),
)

versions = Check(
    id="week1_storage.01.versions",
    question="`full` bytes were uploaded, then overwritten by `broken` bytes, then the file was deleted. For how many "
    "bytes does the bucket, with versioning on, cost money now?",
    is_right=lambda answer, full, broken: int(answer) == full + broken,
    right=lambda _, full, broken: (
        f"Yes: {full:,} + {broken:,}. Overwriting and deleting took nothing away; the list only looks empty. Without a "
        "lifecycle rule a bucket with versions can only grow."
    ),
    wrong="Count every version that is still there, whether the list shows it or not.",
    misconceptions=(
        Misconception(
            "deleted is gone",
            lambda answer, **_: int(answer) == 0,
            "Delete put a marker on top. Below it everything is still there, and paid for.",
        ),
        Misconception(
            "the newest version counts",
            lambda answer, broken, **_: int(answer) == broken,
            "That is the newest version. The one before it was not replaced, it was covered.",
        ),
        Misconception(
            "the old one was replaced",
            lambda answer, full, **_: int(answer) == full,
            "And the second upload? It made a version of its own; deleting did not remove it.",
        ),
    ),
    hints=(
        "What did overwriting do to the first upload?",
        "Three things lie in the bucket: two versions and a marker. A marker has no bytes.",
    ),
)


def _version(name: str, size: int, minute: int) -> Version:
    return {"VersionId": name, "Size": size, "LastModified": minute, "IsLatest": False}


_HISTORIES: Final[tuple[tuple[Version, ...], ...]] = (
    (_version("d", 2, 40), _version("c", 5_000, 30), _version("b", 9_000, 20), _version("a", 8_000, 10)),
    (_version("a", 4_000, 10), _version("c", 10, 30), _version("b", 3_000, 20)),
    (_version("b", 0, 20), _version("a", 1_000, 10)),
)
_GOOD: Final = ("c", "b", "a")


def _picked(function: Callable[..., str]) -> tuple[str, ...]:
    return tuple(called(function, list(history), _FULL) for history in _HISTORIES)


def _by(key: Callable[[Version], Any]) -> tuple[str, ...]:
    return tuple(str(max(history, key=key)["VersionId"]) for history in _HISTORIES)


recover = Check(
    id="week1_storage.01.recover",
    question="Write good_version(versions, at_least): the VersionId of the newest version with at least so many bytes.",
    is_right=lambda function: _picked(function) == _GOOD,
    right="Yes. Recovery is a choice, not an undo: somebody has to know what a good version looks like. A size, a row "
    "count or a checksum that is written down at upload makes that choice easy.",
    wrong=lambda function: (
        f"For three histories your function picks {_picked(function)}. Of those that are large enough, which was "
        "written last?"
    ),
    misconceptions=(
        Misconception(
            "the newest, good or not",
            lambda function: _picked(function) == _by(lambda version: version["LastModified"]),
            "You pick the newest of all: that is the broken upload you want to get rid of. Leave out what is too "
            "small first.",
        ),
        Misconception(
            "the largest",
            lambda function: _picked(function) == _by(lambda version: version["Size"]),
            "The largest is not the newest good one: an older file may be larger and out of date.",
        ),
        Misconception(
            "trusting the order",
            lambda function: (
                _picked(function) == tuple(next(v["VersionId"] for v in h if v["Size"] >= _FULL) for h in _HISTORIES)
            ),
            "You take the first that is large enough, in the order of the list. S3 lists the newest first, but a list "
            "that was joined or sorted since is in another order: compare LastModified.",
        ),
    ),
    hints=(
        "Two steps: keep those with Size >= at_least, then take the newest of them.",
        "max(…, key=lambda version: version['LastModified'])",
    ),
)


def _rule(rule: Document) -> Document:
    if not isinstance(rule, Mapping):
        raise TypeError("give one rule, a dict with ID, Status, Filter and what it does")
    return rule


def _days(rule: Document) -> Any:
    return rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays")


lifecycle = Check(
    id="week1_storage.01.lifecycle",
    question=f"Write one lifecycle rule: what was covered by a newer version disappears after {_DAYS} days; what is "
    "current stays for ever.",
    is_right=lambda rule: (
        _days(_rule(rule)) == _DAYS
        and rule.get("Status") == "Enabled"
        and "Filter" in rule
        and not {"Days", "Date"} & set(rule.get("Expiration", {}))
    ),
    right=f"Yes. For {_DAYS} days every mistake can be undone; after that its bytes stop costing. That is a promise to "
    "people: write the number down where they will look for it.",
    wrong="A rule needs an ID, Status, a Filter (an empty prefix means all), and what becomes of noncurrent versions.",
    misconceptions=(
        Misconception(
            "expiring what is current",
            lambda rule: bool({"Days", "Date"} & set(_rule(rule).get("Expiration", {}))),
            "Expiration is about current versions: after that time your data would be deleted. What was covered is "
            "called noncurrent.",
        ),
        Misconception(
            "a rule that is off",
            lambda rule: _days(_rule(rule)) == _DAYS and rule.get("Status") != "Enabled",
            'The rule says the right thing and does nothing: its Status is not "Enabled".',
        ),
        Misconception(
            "a rule for everything needs a filter too",
            lambda rule: _days(_rule(rule)) == _DAYS and "Filter" not in rule,
            'S3 wants to know which objects: {"Prefix": ""} says all.',
        ),
        Misconception(
            "counting in another unit",
            lambda rule: _days(_rule(rule)) in (1, 720, 43_200, 2_592_000),
            "NoncurrentDays is in days.",
        ),
    ),
    hints=(
        "Look at the parameters of put_bucket_lifecycle_configuration: which of them speaks of noncurrent versions?",
        '{"ID": …, "Status": "Enabled", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {…}}',
    ),
)

_WAYS: Final = frozenset({"as it is", "from a stranger", "another file", "a longer life", "to write", "after expiry"})
_OPEN: Final = {"as it is", "from a stranger"}


def _ways(answer: Collection[str]) -> set[str]:
    if isinstance(answer, str):
        raise TypeError('give a set of names, such as {"as it is"}')
    unknown = set(answer) - _WAYS
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is not among: {', '.join(sorted(_WAYS))}")
    return set(answer)


link = Check(
    id="week1_storage.01.link",
    question="Which of the six ways of using the link will be answered with 200? Answer with a set of names.",
    is_right=lambda ways: _ways(ways) == _OPEN,
    right="Yes. The signature covers method, file and expiry, so none of them can be changed. It does not cover who "
    "asks: whoever has the link is let in. Treat it like a key, and keep its life short.",
    wrong="Which parts of the request went into the signature? And which could not, because S3 does not know them?",
    misconceptions=(
        Misconception(
            "the link knows its reader",
            lambda ways: _ways(ways) == {"as it is"},
            "A stranger sends exactly the same request. There is no name in it that could differ.",
        ),
        Misconception(
            "a key to the bucket",
            lambda ways: "another file" in _ways(ways),
            "The path is part of what was signed. Another path needs another signature.",
        ),
        Misconception(
            "the browser keeps the time",
            lambda ways: bool({"a longer life", "after expiry"} & _ways(ways)),
            "The expiry is signed too, and the clock that counts is the server's.",
        ),
        Misconception(
            "may read, may write",
            lambda ways: "to write" in _ways(ways),
            "The method is signed: a link for GET is refused for PUT. For uploads one signs a link of its own.",
        ),
    ),
    hints=(
        "The signature is a checksum over method, path, expiry and signer, with the signer's secret.",
        "Two of the six send the very same request.",
    ),
)


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _statements(policy: Document) -> list[Document]:
    if not isinstance(policy, Mapping):
        raise TypeError("give the policy as a dict, not as text")
    found = policy["Statement"]
    return [found] if isinstance(found, Mapping) else list(found)


def _allows(policy: Document, action: str, resource: str) -> bool:
    """Whether a policy without conditions allows it: some Allow fits and no Deny does."""
    fitting = [
        each["Effect"]
        for each in _statements(policy)
        if any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _as_list(each.get("Action")))
        and any(fnmatchcase(resource, pattern) for pattern in _as_list(each.get("Resource")))
    ]
    return "Allow" in fitting and "Deny" not in fitting


def _reads(policy: Document, bucket: str, key: str) -> bool:
    return _allows(policy, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}")


def _too_much(policy: Document, bucket: str) -> list[str]:
    """What it allows beyond reading the flights, in words."""
    asked = {
        "reading the payroll": ("s3:GetObject", f"{bucket}/payroll/crew.csv"),
        "overwriting flights": ("s3:PutObject", f"{bucket}/flights/2013/01.csv"),
        "deleting flights": ("s3:DeleteObject", f"{bucket}/flights/2013/01.csv"),
        "deleting the bucket": ("s3:DeleteBucket", bucket),
        "reading other buckets": ("s3:GetObject", "somebody-elses-bucket/flights/2013/01.csv"),
        "reading what only begins like flights": ("s3:GetObject", f"{bucket}/flights-internal/plan.csv"),
    }
    return [words for words, (action, where) in asked.items() if _allows(policy, action, f"arn:aws:s3:::{where}")]


def _is_complete(policy: Document) -> bool:
    return policy.get("Version") == "2012-10-17" and all("Effect" in each for each in _statements(policy))


policy = Check(
    id="week1_storage.01.policy",
    question="Write the policy that lets a role read every file under flights/ in `bucket`, and nothing else.",
    is_right=lambda policy, bucket: (
        _is_complete(policy)
        and _reads(policy, bucket, "flights/2013/01.csv")
        and _reads(policy, bucket, "flights/2014/12.csv")
        and not _too_much(policy, bucket)
    ),
    right="Yes: one action on one prefix, and everything that is not allowed is denied without saying so. When the "
    "reader needs a list of names as well, that is another action (s3:ListBucket) on another resource, the bucket.",
    wrong=lambda policy, bucket: (
        f"It allows too much: {', '.join(_too_much(policy, bucket))}."
        if _too_much(policy, bucket)
        else "It does not allow s3:GetObject on every file under flights/, or its Version is not 2012-10-17."
    ),
    misconceptions=(
        Misconception(
            "the bucket instead of what is in it",
            lambda policy, bucket: any(
                _as_list(each.get("Resource")) == [f"arn:aws:s3:::{bucket}"] for each in _statements(policy)
            ),
            "That is the ARN of the bucket itself. Files have the bucket's name, a slash and their key: …/flights/*",
        ),
        Misconception(
            "a star is quicker",
            lambda policy, **_: any(
                {"*", "s3:*"} & {*_as_list(each.get("Action")), *_as_list(each.get("Resource"))}
                for each in _statements(policy)
            ),
            lambda policy, bucket: (
                f"A star works, today and for whoever steals the role: it also allows {_too_much(policy, bucket)[0]}."
                if _too_much(policy, bucket)
                else "Name the action instead of a star: what S3 adds next year would be allowed as well."
            ),
        ),
        Misconception(
            "the whole bucket",
            lambda policy, bucket: _reads(policy, bucket, "payroll/crew.csv"),
            "It lets the role read payroll/crew.csv too. Say flights/ in the resource.",
        ),
        Misconception(
            "one folder deep",
            lambda policy, bucket: (
                _reads(policy, bucket, "flights/2013/01.csv") and not _reads(policy, bucket, "flights/2014/12.csv")
            ),
            "Only one year can be read. A star at the end of the resource stands for any rest, slashes included.",
        ),
        Misconception(
            "a prefix without its slash",
            lambda policy, bucket: _reads(policy, bucket, "flights-internal/plan.csv"),
            "flights* also fits flights-internal/plan.csv. End the prefix with its slash.",
        ),
        Misconception(
            "a path like in a file system",
            lambda policy, **_: any(
                re.search(r":::[^/]+//|^/|s3://", where)
                for each in _statements(policy)
                for where in _as_list(each.get("Resource"))
            ),
            "A resource is an ARN, arn:aws:s3:::bucket/key: no s3://, and no slash in front of the key.",
        ),
    ),
    hints=(
        "A statement has Effect, Action and Resource.",
        "The action that reads an object is s3:GetObject.",
        '"Resource": f"arn:aws:s3:::{bucket}/flights/*"',
    ),
)

CHECKS: Final[Sequence[Check]] = (budget, versions, recover, lifecycle, link, policy)
