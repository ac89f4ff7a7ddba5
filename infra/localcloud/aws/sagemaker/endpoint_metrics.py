"""An endpoint's metrics in CloudWatch, from the gateway's access log and from its processes.

https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
Latencies are in microseconds. A 424 is counted as a model's 5xx: the access log does not say what the model answered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psutil

from localcloud.aws.logs import AwsClients
from localcloud.gateway.log_entry import Entry

NAMESPACE: Final = "AWS/SageMaker"
INSTANCE_NAMESPACE: Final = "/aws/sagemaker/Endpoints"
RUNTIME_SERVICE: Final = "sagemaker-runtime"
_MODEL_ERROR: Final = 424
_MOST_SINGLE_VALUES: Final = 20
_PERIOD_SECONDS: Final = 60


@dataclass(frozen=True)
class Variant:
    """A production variant of somebody's endpoint."""

    tenant: str
    region: str
    endpoint: str
    name: str

    @property
    def dimensions(self) -> list[dict[str, str]]:
        """CloudWatch's dimensions of its metrics."""
        return [{"Name": "EndpointName", "Value": self.endpoint}, {"Name": "VariantName", "Value": self.name}]


class RequestMetrics:
    """A listener of the access log that keeps CloudWatch up to date."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    def __call__(self, batch: Sequence[Entry]) -> None:
        """Put one batch: a set of data for each variant and minute."""
        groups: dict[tuple[Variant, int], list[Entry]] = defaultdict(list)
        for entry in batch:
            if entry.service == RUNTIME_SERVICE and entry.pool and entry.resource and entry.tenant:
                variant = Variant(entry.tenant, entry.region, entry.resource, entry.pool)
                groups[variant, int(entry.time // _PERIOD_SECONDS)].append(entry)
        for (variant, _), entries in groups.items():
            client = self._clients.aws("cloudwatch", variant.tenant, variant.region)
            client.put_metric_data(Namespace=NAMESPACE, MetricData=_request_data(variant, entries))


def _request_data(variant: Variant, entries: list[Entry]) -> list[dict[str, Any]]:
    def data(name: str, unit: str, values: Iterable[float]) -> dict[str, Any]:
        base = {"MetricName": name, "Unit": unit, "Dimensions": variant.dimensions, "Timestamp": entries[-1].time}
        return {**base, **_values(list(values))}

    return [
        data("Invocations", "None", [1.0] * len(entries)),
        data("Invocation4XXErrors", "None", [float(_is_4xx(each)) for each in entries]),
        data("Invocation5XXErrors", "None", [float(_is_5xx(each)) for each in entries]),
        data("ModelLatency", "Microseconds", [each.upstream_seconds * 1e6 for each in entries]),
        data("OverheadLatency", "Microseconds", [(each.seconds - each.upstream_seconds) * 1e6 for each in entries]),
    ]


def _is_4xx(entry: Entry) -> bool:
    return 400 <= entry.status < 500 and entry.status != _MODEL_ERROR


def _is_5xx(entry: Entry) -> bool:
    return entry.status >= 500 or entry.status == _MODEL_ERROR


def _values(values: list[float]) -> dict[str, Any]:
    """Few values one by one, so that percentiles are right; many as a statistic set, so that memory stays small."""
    if len(values) <= _MOST_SINGLE_VALUES:
        return {"Values": values}
    statistics = {
        "SampleCount": len(values),
        "Sum": sum(values),
        "Minimum": min(values),
        "Maximum": max(values),
    }
    return {"StatisticValues": statistics}


class InstanceMetrics:
    """CPU and memory of replicas. `CPUUtilization` is a sum over cores, as on SageMaker: 200 means two busy cores."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients
        self._processes: dict[int, psutil.Process] = {}

    def sample(self, replicas: Iterable[tuple[Variant, int, int]]) -> None:
        """Put the utilisation of replicas, each given by its variant, pid and memory limit in bytes."""
        seen: set[int] = set()
        groups: dict[Variant, list[tuple[float, float]]] = defaultdict(list)
        for variant, pid, memory in replicas:
            seen.add(pid)
            used = self._used(pid, memory)
            if used is not None:
                groups[variant].append(used)
        self._processes = {pid: process for pid, process in self._processes.items() if pid in seen}
        for variant, samples in groups.items():
            client = self._clients.aws("cloudwatch", variant.tenant, variant.region)
            client.put_metric_data(Namespace=INSTANCE_NAMESPACE, MetricData=_instance_data(variant, samples))

    def _used(self, pid: int, memory: int) -> tuple[float, float] | None:
        """CPU percent since the last sample and memory percent; None at first sight or when the process is gone."""
        try:
            known = pid in self._processes
            process = self._processes.setdefault(pid, psutil.Process(pid))
            cpu = process.cpu_percent()
            share = 100.0 * process.memory_info().rss / memory
        except psutil.Error:
            return None
        return (cpu, share) if known else None


def _instance_data(variant: Variant, samples: list[tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        {"MetricName": name, "Unit": "Percent", "Dimensions": variant.dimensions, "Values": list(values)}
        for name, values in zip(("CPUUtilization", "MemoryUtilization"), zip(*samples, strict=True), strict=True)
    ]
