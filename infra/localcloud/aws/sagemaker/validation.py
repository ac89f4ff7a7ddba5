"""Checks requests against botocore's shapes, and complains in the words of the real service.

The sentences are those of AWS's Coral framework, for example: 1 validation error detected: Value 'a_b' at
'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern: ...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from localcloud.aws.sagemaker.errors import SageMakerError, validation

AnyShape = Any
"""A botocore.model.Shape; what it holds depends on its type_name."""

_JSON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "boolean": (bool,),
    "blob": (str,),
}


def check(shape: AnyShape | None, request: Any) -> None:
    """Raise what the real service answers to a malformed request; do nothing for a good one."""
    if shape is None:
        return
    _check_types(shape, request)
    violations = list(_structure(shape, request, ""))
    if violations:
        noun = "error" if len(violations) == 1 else "errors"
        raise validation(f"{len(violations)} validation {noun} detected: " + "; ".join(violations))


def _check_types(shape: AnyShape, value: Any) -> None:
    """Raise SerializationException when a JSON value has the wrong type. Unknown members are ignored, as on AWS."""
    if value is None:
        return
    wrong_boolean = isinstance(value, bool) and shape.type_name != "boolean"
    right_type = isinstance(value, _JSON_TYPES.get(shape.type_name, (object,)))
    if wrong_boolean or not right_type:
        raise SageMakerError(
            "SerializationException", f"{_json_name(value)} can not be converted to {_article(shape.type_name)}"
        )
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            _check_types(member, value.get(name))
    elif shape.type_name == "list":
        for item in value:
            _check_types(shape.member, item)
    elif shape.type_name == "map":
        for item in value.values():
            _check_types(shape.value, item)


def _json_name(value: Any) -> str:
    if isinstance(value, bool):
        return f"{str(value).upper()}_VALUE"
    if isinstance(value, dict | list):
        return "START_OBJECT" if isinstance(value, dict) else "START_ARRAY"
    return "STRING_VALUE" if isinstance(value, str) else "NUMBER_VALUE"


def _article(type_name: str) -> str:
    return f"an {type_name.title()}" if type_name[0] in "aeiou" else f"a {type_name.title()}"


def _violations(shape: AnyShape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    checker: Callable[[AnyShape, Any, str], Iterator[str]] | None = {
        "structure": _structure, "list": _list, "map": _map, "string": _string,
    }.get(shape.type_name, _number)  # fmt: skip
    if checker is not None:
        yield from checker(shape, value, path)


def _structure(shape: AnyShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _sentence(None, _join(path, name), "Member must not be null")
    for name, member in shape.members.items():
        yield from _violations(member, value.get(name), _join(path, name))


def _list(shape: AnyShape, value: list[Any], path: str) -> Iterator[str]:
    yield from _length(shape, value, path)
    if shape.member.type_name == "string":
        if any(_string_constraints(shape.member, item) for item in value):
            yield _sentence(value, path, f"Member must satisfy constraint: [{_all_constraints(shape.member)}]")
        return
    for index, item in enumerate(value, start=1):
        yield from _violations(shape.member, item, f"{path}.{index}.member")


def _map(shape: AnyShape, value: dict[str, Any], path: str) -> Iterator[str]:
    yield from _length(shape, value, path)
    if any(_string_constraints(shape.key, name) for name in value):
        yield _sentence(value, path, f"Map keys must satisfy constraint: [{_all_constraints(shape.key)}]")
    if shape.value.type_name != "string":
        for name, item in value.items():
            yield from _violations(shape.value, item, f"{path}.{name}.member")
    elif any(_string_constraints(shape.value, item) for item in value.values()):
        yield _sentence(value, path, f"Map value must satisfy constraint: [{_all_constraints(shape.value)}]")


def _string(shape: AnyShape, value: str, path: str) -> Iterator[str]:
    for constraint in _string_constraints(shape, value):
        yield _sentence(value, path, constraint)


def _number(shape: AnyShape, value: Any, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        yield _sentence(value, path, f"Member must have value greater than or equal to {low}")
    if high is not None and value > high:
        yield _sentence(value, path, f"Member must have value less than or equal to {high}")


def _length(shape: AnyShape, value: Any, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and len(value) < low:
        yield _sentence(value, path, f"Member must have length greater than or equal to {low}")
    if high is not None and len(value) > high:
        yield _sentence(value, path, f"Member must have length less than or equal to {high}")


def _string_constraints(shape: AnyShape, value: Any) -> list[str]:
    if value is None or shape.type_name != "string":
        return []
    metadata, broken = shape.metadata, []
    if len(value) > metadata.get("max", len(value)):
        broken.append(f"Member must have length less than or equal to {metadata['max']}")
    if len(value) < metadata.get("min", 0):
        broken.append(f"Member must have length greater than or equal to {metadata['min']}")
    if metadata.get("enum") and value not in metadata["enum"]:
        broken.append(f"Member must satisfy enum value set: [{', '.join(metadata['enum'])}]")
    pattern = metadata.get("pattern")
    if pattern and (compiled := _compiled(pattern)) and not compiled.fullmatch(value):
        broken.append(f"Member must satisfy regular expression pattern: {pattern}")
    return broken


def _all_constraints(shape: AnyShape) -> str:
    metadata = shape.metadata
    parts = []
    if "max" in metadata:
        parts.append(f"Member must have length less than or equal to {metadata['max']}")
    if "min" in metadata:
        parts.append(f"Member must have length greater than or equal to {metadata['min']}")
    if "enum" in metadata:
        parts.append(f"Member must satisfy enum value set: [{', '.join(metadata['enum'])}]")
    if "pattern" in metadata:
        parts.append(f"Member must satisfy regular expression pattern: {metadata['pattern']}")
    return ", ".join(parts)


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern, or None where it uses Java's Unicode classes, which Python's re does not know."""
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        return None


def _sentence(value: Any, path: str, constraint: str) -> str:
    shown = "null" if value is None else f"'{_shown(value)}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return str(value)


def _join(path: str, name: str) -> str:
    member = name[0].lower() + name[1:]
    return f"{path}.{member}" if path else member
