"""How a training job's status moves, in the words of the real service.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_SecondaryStatusTransition.html
"""

from __future__ import annotations

import math
import time
from typing import Any, Final

from labs.cost.pricebook import default_book

REASON_LENGTH: Final = 1024
_BEGIN_LENGTH: Final = 320
_END_LENGTH: Final = REASON_LENGTH - _BEGIN_LENGTH - len(" … ")

MESSAGES: Final = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Interrupted": "Training job interrupted: the spot capacity was reclaimed. It restarts from the last checkpoint",
    "Stopping": "Stopping the training job",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}
_FINAL: Final = {
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "MaxWaitTimeExceeded": "Stopped",
}


def move(body: dict[str, Any], secondary: str, message: str = "") -> None:
    """Enter a secondary status, unless the job is in it; the one before ends now."""
    now = time.time()
    history: list[dict[str, Any]] = body.setdefault("SecondaryStatusTransitions", [])
    if history and history[-1]["Status"] == secondary:
        return
    if history:
        history[-1]["EndTime"] = now
    entry = {"Status": secondary, "StartTime": now, "StatusMessage": message or MESSAGES[secondary]}
    if secondary in _FINAL:
        entry["EndTime"] = now
    history.append(entry)
    body.update(SecondaryStatus=secondary, LastModifiedTime=now)
    if secondary in _FINAL:
        body["TrainingJobStatus"] = _FINAL[secondary]
    elif body.get("TrainingJobStatus") != "Stopping":
        body["TrainingJobStatus"] = "InProgress"


def is_final(body: dict[str, Any]) -> bool:
    """True when the job is Completed, Failed or Stopped."""
    return body["TrainingJobStatus"] in ("Completed", "Failed", "Stopped")


def seconds(started: float, ended: float) -> int:
    """Whole seconds of one attempt, at least one."""
    return max(1, math.ceil(ended - started))


def set_times(body: dict[str, Any]) -> None:
    """Set TrainingTimeInSeconds and BillableTimeInSeconds from the attempts."""
    total = sum(seconds(each["started"], each["ended"]) for each in body["_attempts"] if each.get("ended"))
    if not total:
        return
    share = _spot_share() if body.get("EnableManagedSpotTraining") else 1.0
    body.update(TrainingTimeInSeconds=total, BillableTimeInSeconds=max(1, math.ceil(total * share)))


def _spot_share() -> float:
    """Billable share of the time on spot capacity, so that it agrees with what the seconds are billed at."""
    discount = default_book().find("aws", "SageMaker AI", "Managed spot discount", "us-east-1")
    return 1.0 - discount.usd if discount else 1.0


def clipped(reason: str) -> str:
    """A FailureReason of at most 1024 characters: how it begins and how it ends, for the cause is at one of them."""
    return reason if len(reason) <= REASON_LENGTH else f"{reason[:_BEGIN_LENGTH]} … {reason[-_END_LENGTH:]}"
