"""The operations on training jobs. What happens to a job after its creation is in job_driver.py."""

from __future__ import annotations

import time
from typing import Any, Final

from localcloud.aws.logs import AwsClients
from localcloud.aws.sagemaker import training_request
from localcloud.aws.sagemaker.errors import in_use, not_found, validation
from localcloud.aws.sagemaker.job_driver import Drivers
from localcloud.aws.sagemaker.listing import Listing, page
from localcloud.aws.sagemaker.naming import TRAINING_JOB, Scope, public
from localcloud.aws.sagemaker.s3_transfer import Location, TransferError, items_of_prefix, require
from localcloud.aws.sagemaker.tags import at_creation
from localcloud.aws.sagemaker.training_status import is_final, move
from localcloud.store import Resource, ResourceExistsError, Store

_LISTING: Final = Listing(
    answer="TrainingJobSummaries",
    name="TrainingJobName",
    status="TrainingJobStatus",
    sort_by={"Name": "TrainingJobName", "Status": "TrainingJobStatus"},
)
_SUMMARY: Final = (
    "TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime", "TrainingJobStatus",
    "SecondaryStatus",
)  # fmt: skip


class TrainingJobs:
    """The operations on training jobs."""

    def __init__(self, store: Store, clients: AwsClients, drivers: Drivers) -> None:
        self._store = store
        self._clients = clients
        self._drivers = drivers

    def CreateTrainingJob(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Accept a job and start it."""
        training_request.check(request)
        name = request["TrainingJobName"]
        key, arn = scope.key(TRAINING_JOB, name), scope.arn(TRAINING_JOB, name)
        if self._store.get(key) is not None:
            raise _name_taken(arn)
        self._check_inputs(scope, request)
        try:
            self._store.insert(key, {**_new_body(request, arn), "_attempt": self._first_attempt(scope, name)})
        except ResourceExistsError:
            raise _name_taken(arn) from None
        self._drivers.drive(key)
        return {"TrainingJobArn": arn}

    def DescribeTrainingJob(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """A job as it is now."""
        return public(self._job(scope, request["TrainingJobName"]).body)

    def StopTrainingJob(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Ask a job to stop: SIGTERM, 120 seconds of grace, then its artifacts are uploaded."""
        job = self._job(scope, request["TrainingJobName"])
        if is_final(job.body):
            raise validation(
                "The request was rejected because the training job is in status "
                f"{job.body['TrainingJobStatus']}. Only jobs in progress can be stopped."
            )

        def update(body: dict[str, Any]) -> None:
            if not is_final(body):
                body.update(TrainingJobStatus="Stopping", _stop=True)
                move(body, "Stopping")

        self._store.change(job.key, update)
        self._drivers.wake(job.key)
        return {}

    def DeleteTrainingJob(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a job that has ended, with its log file."""
        job = self._job(scope, request["TrainingJobName"])
        if not is_final(job.body):
            raise in_use(f"Training job {job.key.name} is {job.body['TrainingJobStatus']}. Stop it first.")
        self._drivers.forget(job.key)
        return {}

    def ListTrainingJobs(self, scope: Scope, request: dict[str, Any]) -> dict[str, Any]:
        """One page of jobs."""
        entries: list[dict[str, Any]] = [
            {member: resource.body[member] for member in _SUMMARY if member in resource.body}
            for resource in self._store.list(TRAINING_JOB.stored, scope.account, scope.region)
        ]
        if request.get("WarmPoolStatusEquals") or request.get("TrainingPlanArnEquals"):
            entries = []
        return page(_LISTING, entries, request)

    def _first_attempt(self, scope: Scope, name: str) -> int:
        """1, or the number after those of a deleted job of that name: the ledger must keep both."""
        prefix = f"job:{scope.account}:{scope.region}:{name}:"
        rows = self._store.read().execute("SELECT id FROM usage WHERE tenant=?", (scope.account,))
        return 1 + max((int(row[0].split(":")[4]) for row in rows if row[0].startswith(prefix)), default=0)

    def _job(self, scope: Scope, name: str) -> Resource:
        resource = self._store.get(scope.key(TRAINING_JOB, name))
        if resource is None:
            raise not_found(TRAINING_JOB.missing)
        return resource

    def _check_inputs(self, scope: Scope, request: dict[str, Any]) -> None:
        """Refuse channels without data at once, as the real service does."""
        s3 = self._clients.aws("s3", scope.account, scope.region)
        for channel in request.get("InputDataConfig") or []:
            source = channel["DataSource"]["S3DataSource"]
            try:
                location = Location.parse(source["S3Uri"])
                require(items_of_prefix(s3, location), location)
            except TransferError as error:
                raise validation(str(error)) from None


def _name_taken(arn: str) -> Exception:
    return in_use(
        "Training job names must be unique within an AWS account and region, but a training job with this name already"
        f" exists ({arn})"
    )


def _new_body(request: dict[str, Any], arn: str) -> dict[str, Any]:
    now = time.time()
    output = request["OutputDataConfig"]
    archive = "model" if output.get("CompressionType") == "NONE" else "model.tar.gz"
    base = f"{output['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output"
    body = {
        **{member: value for member, value in request.items() if member != "Tags" and value is not None},
        "OutputDataConfig": {"CompressionType": "GZIP", **output},
        "TrainingJobArn": arn,
        "ModelArtifacts": {"S3ModelArtifacts": f"{base}/{archive}"},
        "CreationTime": now,
        "LastModifiedTime": now,
        "EnableNetworkIsolation": bool(request.get("EnableNetworkIsolation")),
        "EnableInterContainerTrafficEncryption": bool(request.get("EnableInterContainerTrafficEncryption")),
        "EnableManagedSpotTraining": bool(request.get("EnableManagedSpotTraining")),
        "_tags": at_creation(request),
        "_phase": "starting",
        "_attempts": [],
        "_output": base,
    }
    move(body, "Starting")
    return body
