"""Translates production variants into pools of replicas, and an endpoint's name into a route."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from localcloud.aws.instances import find
from localcloud.aws.sagemaker import python_environment
from localcloud.aws.sagemaker.model_data import ModelFolder, package_path
from localcloud.aws.sagemaker.naming import Scope
from localcloud.aws.sagemaker.setting import Setting
from localcloud.gateway.spec import Reply, Route
from localcloud.runtime.serving import sagemaker as serving
from localcloud.runtime.spec import Billing, Limits, Pool

TARGET_VARIANT: Final = "x-amzn-sagemaker-target-variant"
INVOKED_VARIANT: Final = "x-amzn-invoked-production-variant"
MOST_BODY_BYTES: Final = 6_291_456
"""https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""
RESPONSE_SECONDS: Final = 60.0
START_SECONDS: Final = 60
_WEIGHT_UNIT: Final = 1000
"""Variant weights are fractions, the gateway's are whole numbers."""
_LONGEST_SLUG: Final = 40


@dataclass(frozen=True)
class Variant:
    """A production variant as it should run now."""

    name: str
    instance_type: str
    count: int
    weight: float
    container: dict[str, Any]
    start_seconds: int = START_SECONDS


def deployment_id(scope: Scope, name: str, created: float) -> str:
    """A name for the deployment: unique on this machine, also when an endpoint is made again."""
    digest = sha256(f"{scope.account}/{scope.region}/{name}/{created}".encode()).hexdigest()[:10]
    return f"sm-{scope.account}-{scope.region}-{name.lower()[:_LONGEST_SLUG].rstrip('-')}-{digest}"


def weight_units(weight: float) -> int:
    """A variant's weight as the gateway counts it; small weights stay above 0."""
    return max(1, round(weight * _WEIGHT_UNIT)) if weight > 0 else 0


def log_folder(setting: Setting, scope: Scope, endpoint: str) -> Path:
    """One folder per variant, one file per replica."""
    return setting.home.logs / "endpoints" / scope.account / scope.region / endpoint


def route(scope: Scope, endpoint: str) -> Route:
    """How InvokeEndpoint finds the replicas."""
    return Route(
        listener="aws",
        path=f"/endpoints/{endpoint}/invocations",
        header_prefixes={"authorization": f"AWS4-HMAC-SHA256 Credential={scope.account}/"},
        header_contains={"authorization": f"/{scope.region}/sagemaker/aws4_request"},
        pin_header=TARGET_VARIANT,
        rewrite_path=serving.INVOCATIONS_PATH,
        timeout_seconds=RESPONSE_SECONDS,
        max_body_bytes=MOST_BODY_BYTES,
        too_large=_reply(413, f"HTTP content length exceeded {MOST_BODY_BYTES} bytes."),
        unknown_pin=_reply(
            400,
            f"The TargetVariant is not a production variant of endpoint {endpoint}."
            " Describe the endpoint to see their names.",
            "ValidationError",
        ),
        labels={
            "tenant": scope.account,
            "region": scope.region,
            "service": "sagemaker-runtime",
            "resource": endpoint,
        },
    )


def _reply(status: int, message: str, code: str = "") -> Reply:
    headers = {"content-type": "application/json", **({"x-amzn-errortype": code} if code else {})}
    return Reply(status, json.dumps({"Message": message, "message": message}), headers)


def pool(setting: Setting, scope: Scope, endpoint: str, variant: Variant, model: ModelFolder) -> Pool:
    """The replicas of one variant."""
    instance = find(variant.instance_type)
    logs = log_folder(setting, scope, endpoint) / variant.name
    logs.mkdir(parents=True, exist_ok=True)
    return Pool(
        name=variant.name,
        command=_command(model),
        env=_environment(setting, scope, endpoint, variant, model),
        replicas=variant.count,
        weight=weight_units(variant.weight),
        health_path=serving.PING_PATH,
        billing=Billing("aws", "SageMaker AI", f"{variant.instance_type} Hosting", endpoint),
        log=logs,
        limits=Limits(memory_bytes=instance.memory_here),
        start_seconds=float(variant.start_seconds),
        response_headers={INVOKED_VARIANT: variant.name},
    )


def _command(model: ModelFolder) -> tuple[str, ...]:
    interpreter, *rest = serving.command(model.model)
    own = model.environment / "bin" / "python3"
    return (str(own) if own.exists() else interpreter, *rest)


def _environment(setting: Setting, scope: Scope, endpoint: str, variant: Variant, model: ModelFolder) -> dict[str, str]:
    scripts = model.environment / "bin" if model.environment.exists() else Path(sys.executable).parent
    threads = find(variant.instance_type).threads_here
    return {
        **python_environment.minimal_variables(scripts, model.root, threads),
        **python_environment.aws_variables(setting.endpoint, scope.account, scope.region),
        **serving.environment(scope.account, scope.region, endpoint),
        "PYTHONPATH": package_path(),
        **model.variables(variant.container),
    }
