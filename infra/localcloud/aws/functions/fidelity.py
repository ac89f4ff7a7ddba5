"""What is as on AWS and what is not, for `lab coverage`. Read it next to a REPORT line."""

from __future__ import annotations

from typing import Final

LAMBDA: Final = (
    "Init Duration, Duration, Billed Duration, Max Memory Used are measured on the function's own process.",
    "INIT is billed, as AWS does since 2025-08-01.",
    "Memory: enforced (resident memory, sampled every 10 ms and checked against the kernel's peak after each call).",
    "CPU by memory: NOT emulated. A function of 128 MB gets a whole core here; on AWS 1,769 MB buy one.",
    "Runtimes: python3.11, python3.12, python3.13, all executed by this kit's own Python.",
    "On the path: the code, its layers, boto3 and what boto3 needs; nothing else that is installed here.",
    "No bytecode is written: what comes without .pyc is compiled at each cold start, as on AWS.",
    "The folder /tmp is this machine's; TMPDIR is the environment's own. The code folder is not write-protected.",
    "Free environments end after 5 minutes, and beyond 32 of them the least recently used.",
    "Asynchronous retries come after 1 and 2 s (AWS: 1 and 2 minutes). Events may be delivered twice after a crash.",
    "Starting is as fast as this machine: no download of the package, no micro virtual machine.",
    "Refused: container images, SnapStart, file systems, durable functions, the JSON log format, other runtimes.",
    "Accepted and ignored: VpcConfig, TracingConfig beyond the trace id, KMSKeyArn.",
)
API_GATEWAY: Final = (
    "URLs: /restapis/<id>/<stage>/_user_request_/<path> (REST), /_aws/execute-api/<id>/<stage>/<path> (HTTP API).",
    "Refused: WebSocket APIs, stage throttling of HTTP APIs. What a key has used of its quota is forgotten when"
    " MiniStack restarts.",
)
NOTES: Final = {"lambda": LAMBDA, "apigateway": API_GATEWAY}
