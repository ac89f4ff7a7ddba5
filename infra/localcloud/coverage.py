"""Which operations of which service the local cloud implements, read from the code; nothing is started."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any, Final

from localcloud.aws.functions import fidelity
from localcloud.aws.sagemaker import facade

EXECUTED: Final = {"sagemaker": facade.OPERATIONS, "sagemaker-runtime": facade.RUNTIME_OPERATIONS}
"""Services that run here, by us."""
MINISTACK: Final = {
    "s3": "s3", "sqs": "sqs", "sns": "sns", "iam": "iam", "sts": "sts", "logs": "cloudwatch_logs",
    "cloudwatch": "cloudwatch", "dynamodb": "dynamodb", "lambda": "lambda_svc", "events": "eventbridge",
    "secretsmanager": "secretsmanager", "ssm": "ssm", "kms": "kms", "stepfunctions": "stepfunctions",
    "apigateway": "apigateway_v1", "apigatewayv2": "apigateway", "cloudformation": "cloudformation",
    "bedrock-runtime": "bedrock_runtime",
}  # fmt: skip
"""Services that MiniStack emulates behind the same endpoint, by the module that holds them."""
_WORD: Final = re.compile(r"[\"'](?:[a-z0-9-]+:)?([A-Z][A-Za-z0-9]+)[\"']|def _([a-z0-9_]+)\(")


def implemented() -> dict[str, dict[str, Any]]:
    """Per service: who implements it, the operations, and how many the vendor has."""
    table = {}
    for service, operations in EXECUTED.items():
        table[service] = _entry("localcloud", operations, _operations(service))
    for service, module in MINISTACK.items():
        names = _operations(service)
        table[service] = _entry("ministack", sorted(names & _mentioned(module)), names)
    for service, notes in fidelity.NOTES.items():
        table[service]["notes"] = list(notes)
    return table


def as_text(table: dict[str, dict[str, Any]]) -> str:
    """For people: a line per service, and the operations below those that we execute."""
    lines = []
    for service, entry in table.items():
        count = f"{len(entry['operations'])} of {entry['vendor_total']} operations"
        lines.append(f"{service:<18} {count:<24} {entry['by']}")
        if entry["by"] == "localcloud":
            lines += [f"    {name}" for name in entry["operations"]]
        lines += [f"    - {note}" for note in entry.get("notes", ())]
    return "\n".join(lines)


def _entry(by: str, operations: Any, names: set[str]) -> dict[str, Any]:
    return {"by": by, "operations": sorted(operations), "vendor_total": len(names)}


def _operations(service: str) -> set[str]:
    """The vendor's operation names, from botocore's own model."""
    from botocore.loaders import Loader

    model = Loader().load_service_model(service, "service-2")
    return set(model["operations"])


def _mentioned(module: str) -> set[str]:
    """Names that a MiniStack service dispatches on, or has a function for (`_put_object` for PutObject)."""
    spec = importlib.util.find_spec("ministack")
    if spec is None or spec.origin is None:
        return set()
    base = Path(spec.origin).parent / "services"
    files = [base / f"{module}.py"] if (base / f"{module}.py").exists() else sorted((base / module).glob("*.py"))
    found: set[str] = set()
    for file in files:
        for literal, function in _WORD.findall(file.read_text()):
            found.add(literal or "".join(word.capitalize() for word in function.split("_")))
    return found
