"""Checks raw answers against botocore's own output shapes: known members, required ones, JSON types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
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
}


def violations(shape: Any, value: Any, path: str = "answer") -> Iterator[str]:
    """What is wrong with an answer."""
    is_bool = isinstance(value, bool) and shape.type_name != "boolean"
    if is_bool or not isinstance(value, TYPES[shape.type_name]):
        yield f"{path}: {value!r} is not a {shape.type_name}"
    elif shape.type_name == "structure":
        yield from (f"{path}.{name} is unknown" for name in set(value) - set(shape.members))
        yield from (f"{path}.{name} is missing" for name in set(shape.required_members) - set(value))
        for name in set(value) & set(shape.members):
            yield from violations(shape.members[name], value[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from violations(shape.member, item, f"{path}[{index}]")
    elif shape.type_name == "map":
        for name, item in value.items():
            yield from violations(shape.value, item, f"{path}[{name!r}]")
    elif shape.metadata.get("enum") and value not in shape.metadata["enum"]:
        yield f"{path}: {value!r} is not one of {shape.metadata['enum']}"


def check_answers(client: Any) -> None:
    """Make a SageMaker client check each good answer it receives, before botocore drops what it does not know."""
    client.meta.events.register("before-parse.sagemaker.*", _check)


def _check(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    if response_dict["status_code"] != 200:
        return
    body = response_dict["body"]
    shape = operation_model.output_shape
    if shape is None:
        assert not body, f"{operation_model.name} answers without a body, not {body!r}"
        return
    found = list(violations(shape, json.loads(body or b"{}")))
    assert not found, f"{operation_model.name}: {found}"
