"""Figures in one restrained style, readable on light and dark pages; each takes the text for people who cannot see it.

The text is kept in the figure's metadata (and written into saved files); in the book it comes from the cell's
`mystnb: {image: {alt: …}}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, cast

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from labs.load import LoadResult
    from labs.spend import Spend

COLOURS: Final = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#66CCEE", "#CCBB44")
"""Paul Tol's bright scheme, distinguishable with colour-blindness: https://personal.sron.nl/~pault/"""
_HATCHES: Final = ("", "//", "..", "xx", "\\\\", "++")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P")
_INK: Final = "#555B63"
"""Grey with enough contrast on white and on near-black."""
_LABEL_BOX: Final = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0}
_STYLE: Final[dict[str, Any]] = {
    "figure.figsize": (8.0, 3.6), "figure.dpi": 110, "savefig.bbox": "tight",
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white",
    "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left",
    "axes.edgecolor": _INK, "axes.labelcolor": _INK, "text.color": "#24292F", "xtick.color": _INK, "ytick.color": _INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#E4E7EB",
    "axes.axisbelow": True, "legend.frameon": False, "lines.linewidth": 1.6, "svg.hashsalt": "labs",
}  # fmt: skip


def style() -> AbstractContextManager[None]:
    """The style of the labs, for figures of your own: `with labs.plots.style(): …`."""
    return mpl.rc_context(cast("Any", _STYLE))  # the stub wants every key as a literal


def latency_over_time(
    result: LoadResult, *, alt: str, events: Mapping[str, float] | None = None, title: str = "Latency of each request"
) -> Figure:
    """One point per request: milliseconds by seconds since the first; failures as crosses at the top.

    `events` maps a label to a moment in unix seconds; each is drawn as a labelled line.
    """
    frame = result.frame
    with style():
        figure, axes = _axes(title, "seconds since the first request", "milliseconds")
        good, bad = frame[frame["status"] == 200], frame[frame["status"] != 200]
        axes.scatter(good["elapsed"], good["latency_ms"], s=5, alpha=0.45, color=COLOURS[0], label="answered")
        if len(bad):
            top = float(good["latency_ms"].max()) if len(good) else 1.0
            axes.scatter(bad["elapsed"], [top] * len(bad), marker="x", color=COLOURS[1], label=f"{len(bad)} failed")
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
        _mark(axes, {name: at - float(frame["started"].min()) for name, at in (events or {}).items()})
        _legend(axes)
    return _finish(figure, alt)


def latency_distribution(results: Mapping[str, LoadResult], *, alt: str, column: str = "latency_ms") -> Figure:
    """Which share of the requests was answered within how many milliseconds, one curve per load."""
    with style():
        figure, axes = _axes("Answered within", "milliseconds (logarithmic)", "share of requests")
        for number, (name, result) in enumerate(results.items()):
            values = result.frame.loc[result.frame["status"] == 200, column]
            axes.ecdf(values, label=name, color=_colour(number), linestyle=("-", "--", "-.", ":")[number % 4])
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        _legend(axes)
    return _finish(figure, alt)


def latency_histogram(result: LoadResult, *, alt: str, bins: int = 60) -> Figure:
    """How many requests took how many milliseconds, with p50, p95 and p99 marked."""
    values = result.frame.loc[result.frame["status"] == 200, "latency_ms"]
    with style():
        figure, axes = _axes("Latencies", "milliseconds", "requests")
        axes.hist(values, bins=bins, range=(0, float(values.quantile(0.995))), color=COLOURS[0])
        _mark(axes, {f"{name}: {value:.1f}": value for name, value in result.percentiles(50, 95, 99).items()})
    return _finish(figure, alt)


def traffic_split(
    result: LoadResult,
    *,
    alt: str,
    events: Mapping[str, float] | None = None,
    seconds: float = 1.0,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Requests per second answered by each variant, stacked over time in steps of `seconds`; failures on top."""
    counts = _per_step(result.frame, seconds, labels or {})
    with style():
        figure, axes = _axes("Who answered", "seconds since the first request", "requests per second")
        stacks = axes.stackplot(
            counts.index, (counts / seconds).T.to_numpy(), labels=list(counts.columns), colors=_colours(counts),
            step="post",
        )  # fmt: skip
        for stack, hatch in zip(stacks, _HATCHES * len(stacks), strict=False):
            stack.set_hatch(hatch)
            stack.set_edgecolor("white")
        _mark(axes, {name: at - float(result.frame["started"].min()) for name, at in (events or {}).items()})
        _legend(axes)
    return _finish(figure, alt)


def spend_bars(spend: Spend, *, alt: str) -> Figure:
    """US dollars by SKU at list price; what is not priced is named, not drawn as zero."""
    priced = [row for row in spend.rows() if row["usd"] is not None]
    names = [f"{row['service']}: {row['sku']}" for row in priced]
    with style():
        figure, axes = _axes("Spend at list price", "US dollars", "")
        bars = axes.barh(names, [row["usd"] for row in priced], height=0.5, color=COLOURS[0])
        axes.set_ylim(-0.75, max(len(names), 3) - 0.25)
        axes.bar_label(bars, fmt="$%.6f", padding=3)
        axes.margins(x=0.2)
        axes.grid(visible=False, axis="y")
        if spend.unpriced:
            axes.text(0, -0.32, f"Not priced: {', '.join(spend.unpriced)}", transform=axes.transAxes, fontsize=9)
    return _finish(figure, alt)


def curves(
    series: Mapping[str, Sequence[float]],
    *,
    alt: str,
    x: Sequence[float] | None = None,
    title: str = "",
    x_label: str = "step",
    y_label: str = "",
) -> Figure:
    """Metric curves by name, such as a loss by step; markers as well as colours tell them apart."""
    with style():
        figure, axes = _axes(title, x_label, y_label)
        for number, (name, values) in enumerate(series.items()):
            where = list(x) if x is not None else list(range(1, len(values) + 1))
            every = max(1, len(values) // 12)
            marker = _MARKERS[number % len(_MARKERS)]
            axes.plot(where, list(values), label=name, color=_colour(number), marker=marker, markevery=every)
        if x is None:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes)
    return _finish(figure, alt)


def boxes(
    values: Mapping[str, Sequence[float]],
    *,
    alt: str,
    target: float | None = None,
    title: str = "",
    x_label: str = "milliseconds",
) -> Figure:
    """A box and all its points per name, from top to bottom, on a logarithmic axis; `target` is drawn as a line.

    The box holds the middle half, its line is the median, the whiskers reach to the 5th and the 95th percentile.
    """
    names = list(values)
    with style():
        figure, axes = _axes(title, f"{x_label} (logarithmic)", "")
        figure.set_figheight(0.9 + 0.45 * len(names))
        axes.boxplot(
            [list(values[name]) for name in names], orientation="horizontal", tick_labels=names, whis=(5, 95),
            showfliers=False, widths=0.6, medianprops={"color": COLOURS[1], "linewidth": 2}, boxprops={"color": _INK},
        )  # fmt: skip
        for place, name in enumerate(names, start=1):
            points = list(values[name])
            axes.scatter(points, [place] * len(points), s=14, alpha=0.5, color=COLOURS[0], zorder=3)
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        if target is not None:
            axes.axvline(target, color=COLOURS[2], linestyle="--", label=f"target {target:g}")
            _legend(axes)
    return _finish(figure, alt)


def cost_curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    alt: str,
    marks: Mapping[str, float] | None = None,
    title: str = "List price a month",
    x_label: str = "requests a day",
    y_label: str = "USD a month",
) -> Figure:
    """Cost by traffic on logarithmic axes, one curve per way of serving; `marks` label amounts of traffic."""
    with style():
        figure, axes = _axes(title, f"{x_label} (logarithmic)", f"{y_label} (logarithmic)")
        for number, (name, values) in enumerate(series.items()):
            line = ("-", "--", "-.", ":")[number % 4]
            axes.plot(list(x), list(values), label=name, color=_colour(number), linestyle=line)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        _mark(axes, marks or {})
        _legend(axes)
    return _finish(figure, alt)


def factors(values: Mapping[str, float], *, alt: str, title: str = "", x_label: str = "times as much") -> Figure:
    """By which factor each change moves a number, as bars to both sides of 1 on a logarithmic axis."""
    names = sorted(values, key=lambda name: values[name])
    with style():
        figure, axes = _axes(title, x_label, "")
        bars = axes.barh(names, [values[name] - 1 for name in names], left=1, height=0.55, color=COLOURS[0])
        axes.bar_label(bars, labels=[f" {values[name]:.2f} " for name in names], padding=2)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.axvline(1, color=_INK, linewidth=1)
        axes.margins(x=0.15)
        axes.grid(visible=False, axis="y")
    return _finish(figure, alt)


def alt_of(figure: Figure) -> str:
    """The text that was given with a figure."""
    return str(figure.get_label())


def _axes(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(layout="constrained")
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return figure, axes


def _finish(figure: Figure, alt: str) -> Figure:
    if not alt.strip():
        plt.close(figure)
        raise ValueError("Say in alt= what the figure shows: many people cannot see it.")
    figure.set_label(alt)
    # Only the returned figure is shown: not a second time by the notebook's own hook.
    plt.close(figure)
    return figure


def _legend(axes: Axes) -> None:
    """Above the plot, so that it hides nothing."""
    handles, _ = axes.get_legend_handles_labels()
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=max(1, len(handles)), borderaxespad=0.2)


def _plain_ticks(axis: Axis) -> None:
    """1, 2, 5, 10 … instead of powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _mark(axes: Axes, events: Mapping[str, float]) -> None:
    for number, (name, at) in enumerate(events.items()):
        axes.axvline(at, color=_INK, linewidth=1, linestyle=":")
        height = 0.97 - 0.09 * (number % 4)
        axes.text(at, height, f" {name}", transform=axes.get_xaxis_transform(), va="top", fontsize=9, bbox=_LABEL_BOX)


def _per_step(frame: pd.DataFrame, seconds: float, labels: Mapping[str, str]) -> pd.DataFrame:
    who = frame["variant"].where(frame["status"] == 200, "failed").replace(dict(labels))
    step = (frame["elapsed"] // seconds) * seconds
    counts = frame.groupby([step, who]).size().unstack(fill_value=0)
    ordered = [name for name in counts.columns if name != "failed"]
    return counts[ordered + (["failed"] if "failed" in counts.columns else [])]


def _colours(counts: pd.DataFrame) -> list[str]:
    names = [name for name in counts.columns if name != "failed"]
    usual = [colour for colour in COLOURS if colour != COLOURS[1]]
    return [usual[number % len(usual)] for number in range(len(names))] + [COLOURS[1]] * (
        len(counts.columns) - len(names)
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
