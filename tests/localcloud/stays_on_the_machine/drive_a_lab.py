"""What a notebook does, from nothing to nothing, with the vendors' SDKs; run by test_stays_on_the_machine.py."""

import fcntl
import io
import json
import os
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

TRAIN = """
import json, os, pathlib
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps({"late": 0.25}))
print("validation:auc=0.5;")
"""
INFERENCE = """
import json, pathlib
def model_fn(folder): return json.loads(pathlib.Path(folder, "model.json").read_text())
def input_fn(body, content_type): return json.loads(body)
def predict_fn(rows, model): return [model["late"] for _ in rows]
def output_fn(prediction, accept): return json.dumps(prediction), "application/json"
"""


def raise_loopback() -> None:
    """A new network namespace begins with loopback down."""
    flags = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, flags)  # SIOCSIFFLAGS


def packets_without_route() -> int:
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:"))
    return int(dict(zip(names, values, strict=True))["OutNoRoutes"])


def train(lab, folder: Path) -> str:
    from sagemaker.core.training.configs import Compute, SourceCode
    from sagemaker.train import ModelTrainer

    (folder / "train.py").write_text(TRAIN)
    trainer = ModelTrainer(
        training_image=lab.image("sklearn"),
        role=lab.role,
        base_job_name="stays",
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        source_code=SourceCode(source_dir=str(folder), entry_script="train.py"),
    )
    trainer.train(wait=True, logs=False)
    return trainer._latest_training_job.model_artifacts.s3_model_artifacts


def with_inference_code(lab, artifact: str) -> str:
    bucket, key = artifact.removeprefix("s3://").split("/", 1)
    body = lab.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    packed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(body)) as old, tarfile.open(fileobj=packed, mode="w:gz") as new:
        for member in old.getmembers():
            new.addfile(member, old.extractfile(member))
        code = tarfile.TarInfo("code/inference.py")
        code.size = len(INFERENCE)
        new.addfile(code, io.BytesIO(INFERENCE.encode()))
    lab.client("s3").put_object(Bucket=bucket, Key="served/model.tar.gz", Body=packed.getvalue())
    return f"s3://{bucket}/served/model.tar.gz"


def serve_and_ask(lab, artifact: str) -> list[float]:
    sagemaker, name = lab.client("sagemaker"), lab.name("stays")
    container = {"Image": lab.image("sklearn"), "ModelDataUrl": artifact}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=lab.role, PrimaryContainer=container)
    variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    waiter = {"Delay": 1, "MaxAttempts": 60}
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig=waiter)
    runtime = lab.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body="[[1], [2]]")
    return json.loads(answer["Body"].read())


def main() -> None:
    counting = bool(os.environ.get("COUNT_PACKETS"))
    if counting:
        raise_loopback()
    import labs

    try:
        lab = labs.connect("local")
        with tempfile.TemporaryDirectory() as folder:
            artifact = train(lab, Path(folder))
        assert serve_and_ask(lab, with_inference_code(lab, artifact)) == [0.25, 0.25]
        lab.spend()
        lab.cleanup()
        assert not lab.leftovers()
    finally:
        subprocess.run([sys.executable, "-m", "localcloud", "down"], check=True)
    if counting:
        print("packets without a route:", packets_without_route())


if __name__ == "__main__":
    main()
