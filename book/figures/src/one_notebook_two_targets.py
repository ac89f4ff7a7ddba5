"""One notebook, two targets: the local cloud or a real account."""

from __future__ import annotations

from style import Figure


def draw() -> Figure:
    """The way of a call from a notebook to what answers it."""
    f = Figure(
        "one_notebook_two_targets", 760, 392,
        "One notebook, two targets",
        "A notebook calls the vendor's SDK. With target local the SDK talks to the gateway on this machine, which "
        "sends prediction requests straight to replica processes, SageMaker calls to the control plane, and S3, "
        "Lambda and other calls to an emulator. With target aws the same SDK talks to Amazon.",
    )  # fmt: skip
    f.box(20, 150, 150, 84, 'notebook\ntarget = "local"', "people")
    f.box(200, 150, 140, 84, "vendor SDK\nboto3, sagemaker,\nunchanged", "paper")
    f.arrow((170, 192), (200, 192))
    f.group(384, 22, 358, 250, "local cloud (this machine)")
    f.box(400, 112, 112, 84, "gateway\nEnvoy: routes\nand meters", "network")
    f.box(560, 46, 166, 60, "replicas and jobs\nreal processes", "compute")
    f.box(560, 124, 166, 60, "control plane\nSageMaker, tenants", "model")
    f.box(560, 198, 166, 60, "emulator\nS3, Lambda, IAM, SQS", "data")
    f.arrow((340, 178), (400, 154))
    f.arrow((512, 134), (560, 76))
    f.label(500, 88, "predict")
    f.arrow((512, 154), (560, 154))
    f.arrow((512, 174), (560, 228))
    f.box(400, 304, 326, 66, "a real AWS account\nthe same cells, real money, a budget first", "network")
    f.arrow((266, 234), (266, 337), (400, 337), text='target = "aws"', dashed=True)
    return f


if __name__ == "__main__":
    draw().save()
