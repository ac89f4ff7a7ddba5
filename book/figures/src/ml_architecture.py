"""The planes of a machine-learning system and the four paths through it."""

from __future__ import annotations

from style import Figure


def draw() -> Figure:
    """Data, training, registry and serving from left to right; control and observation below."""
    f = Figure(
        "ml_architecture", 760, 412,
        "The parts of a machine-learning system",
        "Data in object storage feeds features, then a training job that appears for minutes and leaves an artifact. "
        "The artifact goes to a registry with an approval. A deployment makes replicas behind one endpoint that "
        "answers clients online; a batch job reads the same artifact. Predictions, later outcomes and logs flow to "
        "monitoring, which starts the next training. Identity, network and budget lie under all of it.",
    )  # fmt: skip
    f.box(16, 40, 118, 66, "raw data\nobject store", "data")
    f.box(168, 40, 118, 66, "features\nsame code for\ntrain and serve", "data")
    f.box(320, 40, 118, 66, "training job\nminutes, then\ngone", "compute")
    f.box(472, 40, 118, 66, "registry\nversions and\napproval", "model")
    f.box(624, 40, 120, 66, "deployment\nrevision and\ntraffic", "model")
    for left in (134, 286, 438, 590):
        f.arrow((left, 73), (left + 34, 73))
    f.box(624, 176, 120, 66, "endpoint\nreplicas,\nalways on", "compute")
    f.box(472, 176, 118, 66, "batch job\nmany rows\nat once", "compute")
    f.box(320, 176, 118, 66, "function\non demand", "compute")
    f.arrow((684, 106), (684, 176), text="serve")
    f.arrow((531, 106), (531, 176), text="score")
    f.arrow((500, 106), (500, 140), (379, 140), (379, 176))
    f.box(16, 176, 270, 66, "monitoring\nlatency, errors, drift,\nlate labels, spend", "network")
    f.arrow((320, 209), (286, 209), dashed=True)
    f.arrow((684, 242), (684, 272), (151, 272), (151, 242), text="predictions and outcomes", dashed=True)
    f.arrow((200, 176), (200, 140), (340, 140), (340, 106), text="retrain", dashed=True)
    f.box(16, 306, 728, 40, "control: pipelines, infrastructure as code, quotas", "people", bold=False)
    f.box(16, 356, 728, 40, "ground: identity and permissions · network · budget and tags", "people", bold=False)
    return f


if __name__ == "__main__":
    draw().save()
