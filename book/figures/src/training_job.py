"""What a SageMaker training job does between S3 and S3."""

from __future__ import annotations

from style import Figure


def draw() -> Figure:
    """States above, folders below."""
    f = Figure(
        "training_job", 760, 372,
        "A training job from request to artifact",
        "CreateTrainingJob starts a sequence: Starting and pulling the image, Downloading the channels from S3 to "
        "/opt/ml/input/data, Training, Uploading /opt/ml/model as model.tar.gz to S3, Completed. Checkpoints are "
        "copied to S3 during training. Logs go to CloudWatch. Only Downloading to Uploading is billed.",
    )  # fmt: skip
    steps = (("Starting", "people"), ("Downloading", "network"), ("Training", "compute"), ("Uploading", "network"),
             ("Completed", "data"))  # fmt: skip
    f.box(12, 34, 112, 54, "your call\nstarts a job", "people")
    for index, (step, kind) in enumerate(steps):
        left = 150 + 122 * index
        f.box(left, 34, 104, 54, step, kind)
        f.arrow((left - (26 if index == 0 else 18), 61), (left, 61))
    f.group(262, 14, 362, 92, "billed per second and instance")
    f.group(150, 146, 592, 148, "instance: container from your image, execution role")
    f.box(168, 176, 176, 96, "/opt/ml/input\ndata/train, data/code\nhyperparameters.json", "data")
    f.box(364, 176, 160, 96, "train.py\nyour script\nprints metrics", "compute")
    f.box(544, 176, 180, 96, "/opt/ml/model\n/opt/ml/checkpoints\n/opt/ml/output/failure", "data")
    f.arrow((344, 224), (364, 224))
    f.arrow((524, 224), (544, 224))
    f.box(12, 188, 112, 72, "S3\ndata, code", "data")
    f.arrow((124, 224), (168, 224))
    f.box(544, 320, 180, 44, "S3: model.tar.gz", "data", bold=False)
    f.arrow((634, 272), (634, 320))
    f.box(364, 320, 160, 44, "CloudWatch: logs", "network", bold=False)
    f.arrow((444, 272), (444, 320))
    return f


if __name__ == "__main__":
    draw().save()
