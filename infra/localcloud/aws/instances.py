"""SageMaker's instance types: vCPUs and memory. https://aws.amazon.com/sagemaker/ai/pricing/

Most families have a fixed memory per vCPU, so the table holds families and the sizes follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psutil

_SIZES: Final = {
    "medium": 2, "large": 2, "xlarge": 4, "2xlarge": 8, "3xlarge": 12, "4xlarge": 16, "6xlarge": 24, "8xlarge": 32,
    "9xlarge": 36, "12xlarge": 48, "16xlarge": 64, "18xlarge": 72, "24xlarge": 96, "32xlarge": 128, "48xlarge": 192,
}  # fmt: skip

_GIB_PER_VCPU: Final = {
    "t2": 4.0, "t3": 4.0, "m4": 4.0, "m5": 4.0, "m5d": 4.0, "m6g": 4.0, "m6gd": 4.0, "m6i": 4.0, "m6id": 4.0,
    "m7i": 4.0, "m7g": 4.0, "m8g": 4.0, "c4": 1.875, "c5": 2.0, "c5d": 2.0, "c5n": 2.625, "c6g": 2.0, "c6gd": 2.0,
    "c6gn": 2.0, "c6i": 2.0, "c6id": 2.0, "c6in": 2.0, "c7i": 2.0, "c7g": 2.0, "c8g": 2.0, "r5": 8.0, "r5d": 8.0,
    "r5n": 8.0, "r6g": 8.0, "r6gd": 8.0, "r6i": 8.0, "r6id": 8.0, "r7i": 8.0, "r7g": 8.0, "r8g": 8.0, "x1": 15.25,
    "g4dn": 4.0, "g5": 4.0, "g6": 4.0, "g6e": 8.0, "p2": 15.25, "p3": 7.625, "p3dn": 8.0, "p4d": 12.0, "p4de": 12.0,
    "p5": 10.667, "p5e": 10.667, "inf1": 2.0, "inf2": 4.0, "trn1": 4.0, "trn1n": 4.0,
}  # fmt: skip

_EXCEPTIONS: Final = {
    "ml.t2.medium": (2, 4.0), "ml.t3.medium": (2, 4.0), "ml.t2.large": (2, 8.0), "ml.t3.large": (2, 8.0),
    "ml.c4.8xlarge": (36, 60.0), "ml.m4.10xlarge": (40, 160.0), "ml.m6g.medium": (1, 4.0), "ml.c6g.medium": (1, 2.0),
    "ml.p3.2xlarge": (8, 61.0), "ml.p3.8xlarge": (32, 244.0), "ml.p3.16xlarge": (64, 488.0),
    "ml.inf1.2xlarge": (8, 16.0),
}  # fmt: skip

_SHARE_OF_MACHINE: Final = 0.8


@dataclass(frozen=True)
class Instance:
    """An instance type."""

    name: str
    vcpus: int
    memory_bytes: int

    @property
    def memory_here(self) -> int:
        """What a process group may use on this machine: the instance's memory, or 80% of the machine's if less."""
        return min(self.memory_bytes, int(psutil.virtual_memory().total * _SHARE_OF_MACHINE))

    @property
    def threads_here(self) -> int:
        """Threads for numeric libraries: the instance's vCPUs, or the machine's if fewer."""
        return max(1, min(self.vcpus, psutil.cpu_count() or 1))


def find(name: str) -> Instance:
    """The instance type of that name; an unlisted one is taken for a general-purpose one of its size."""
    if name in _EXCEPTIONS:
        vcpus, gib = _EXCEPTIONS[name]
        return Instance(name, vcpus, int(gib * 2**30))
    _, _, rest = name.partition(".")
    family, _, size = rest.partition(".")
    vcpus = _SIZES.get(size, 2)
    return Instance(name, vcpus, int(vcpus * _GIB_PER_VCPU.get(family, 4.0) * 2**30))
