"""The life of a Lambda execution environment, and what each phase costs."""

from __future__ import annotations

from style import Figure


def draw() -> Figure:
    """Cold call above, warm call and burst below."""
    f = Figure(
        "lambda_cold_start", 760, 384,
        "Cold start, warm call, and a burst",
        "A cold call: download code, start the runtime, run the code outside the handler (imports, loading the "
        "model), then the handler. A warm call runs the handler only. In a burst of three simultaneous requests, "
        "each needs its own environment, so two of them are cold although one environment was warm.",
    )  # fmt: skip
    f.label(60, 54, "cold call")
    f.box(120, 28, 110, 52, "place, fetch\ncode", "people", bold=False)
    f.box(230, 28, 90, 52, "runtime\nstarts", "network", bold=False)
    f.box(320, 28, 240, 52, "your imports,\nload the model", "bad", bold=False)
    f.box(560, 28, 60, 52, "handler", "data", bold=False)
    f.label(175, 96, "not billed")
    f.label(395, 96, "Init: billed since 1 August 2025")
    f.label(590, 96, "billed")
    f.label(60, 158, "warm call")
    f.box(120, 132, 60, 52, "handler", "data", bold=False)
    f.label(390, 158, "same environment, imports and model still in memory")
    f.label(60, 226, "burst of 3")
    f.box(120, 208, 60, 36, "handler", "data", bold=False)
    f.label(272, 226, "the warm environment")
    for row in (0, 1):
        top = 256 + 48 * row
        f.box(120, top, 200, 36, "place, runtime", "people", bold=False)
        f.box(320, top, 240, 36, "imports, model", "bad", bold=False)
        f.box(560, top, 60, 36, "handler", "data", bold=False)
    f.arrow((120, 362), (740, 362), text="time")
    return f


if __name__ == "__main__":
    draw().save()
