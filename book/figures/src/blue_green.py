"""Blue/green with a canary: shares of traffic over time."""

from __future__ import annotations

from style import Figure


def draw() -> Figure:
    """Two fleets over a time axis."""
    f = Figure(
        "blue_green", 760, 330,
        "Blue/green update of an endpoint with a canary",
        "Over time: the blue fleet serves all requests while the green fleet starts and passes its health checks. "
        "Then ten percent of requests go to green during a baking period. If no alarm fires, all requests go to "
        "green, and blue is kept for a waiting time before it ends. If an alarm fires, all requests return to blue.",
    )  # fmt: skip
    f.label(52, 66, "blue\nrevision 1")
    f.label(52, 166, "green\nrevision 2")
    f.box(110, 36, 240, 60, "100%", "compute")
    f.box(350, 36, 150, 60, "90%", "compute")
    f.box(500, 36, 110, 60, "0%, still warm", "people", bold=False)
    f.box(200, 136, 150, 60, "starting, checked", "people", bold=False)
    f.box(350, 136, 150, 60, "10%: canary", "data")
    f.box(500, 136, 244, 60, "100%", "data")
    f.arrow((110, 226), (744, 226))
    f.label(275, 226, "UpdateEndpoint")
    f.label(425, 226, "baking period")
    f.label(555, 226, "termination wait")
    f.label(700, 226, "blue ends")
    f.arrow((425, 196), (425, 214))
    said = "alarm during baking: all traffic back to blue\nat once, because blue is still there"
    f.box(350, 262, 394, 48, said, "bad", bold=False)
    f.arrow((425, 238), (425, 262), dashed=True)
    return f


if __name__ == "__main__":
    draw().save()
