"""Data-parallel training: four workers, one ring."""

from __future__ import annotations

from style import Figure


def draw() -> Figure:
    """Workers on a ring with their shards."""
    f = Figure(
        "data_parallel", 760, 360,
        "Data-parallel training with a ring all-reduce",
        "Four workers each hold the whole model and a quarter of the batch. Each computes its own gradient. Around "
        "a ring they pass pieces of the gradient twice, once to sum and once to share, so that each ends with the "
        "average; the bytes each worker sends hardly grow with the number of workers. Then all take the same step.",
    )  # fmt: skip
    places = ((150, 40), (490, 40), (490, 230), (150, 230))
    for index, (x, y) in enumerate(places):
        f.box(x, y, 120, 76, f"worker {index}\nwhole model\nown gradient", "compute")
    f.box(20, 50, 96, 56, "shard 0", "data", bold=False)
    f.box(644, 50, 96, 56, "shard 1", "data", bold=False)
    f.box(644, 240, 96, 56, "shard 2", "data", bold=False)
    f.box(20, 240, 96, 56, "shard 3", "data", bold=False)
    f.arrow((116, 78), (150, 78))
    f.arrow((644, 78), (610, 78))
    f.arrow((644, 268), (610, 268))
    f.arrow((116, 268), (150, 268))
    f.arrow((270, 78), (490, 78), text="pieces of the gradient")
    f.arrow((550, 116), (550, 230), text="sum, then share")
    f.arrow((490, 268), (270, 268), text="2 (N - 1) / N of its bytes")
    f.arrow((210, 230), (210, 116), text="N workers")
    f.label(372, 174, "after the ring:\nthe same average,\nthe same step", "data")
    f.label(380, 336, "slowest link and slowest worker set the pace", "bad")
    return f


if __name__ == "__main__":
    draw().save()
