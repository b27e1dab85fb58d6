"""Pictures of a run, from its records: accuracy against what it costs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from bench.records import Record, write_bytes

# Okabe and Ito's colours, which colour-blind readers tell apart; markers do it in black and white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def draw_accuracy(records: Sequence[Record], file: Path) -> bool:
    """Draw each model's test top-1 against its GMACs and its seconds an epoch (PNG); False where no trial ended well.

    With several seeds, the mean, and a bar from the worst to the best.
    """
    by_model: dict[str, list[Record]] = {}
    for record in records:
        if record.status == "ok" and record.accuracy:
            by_model.setdefault(record.model.name, []).append(record)
    if not by_model:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    for number, (name, trials) in enumerate(sorted(by_model.items())):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        top1 = [100 * trial.accuracy.test_top1 for trial in trials if trial.accuracy]
        mean = sum(top1) / len(top1)
        spread = [[mean - min(top1)], [max(top1) - mean]]
        for axes, cost in ((left, _gmacs(trials)), (right, _seconds(trials))):
            if cost is not None:
                axes.errorbar(
                    cost, mean, yerr=spread, color=colour, marker=marker, markersize=8, linestyle="none", label=name
                )
    left.set(xscale="log", xlabel="GMACs of one picture", ylabel="test top-1 (%)")
    right.set(xscale="log", xlabel="seconds of a training epoch")
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    first = next(iter(by_model.values()))[0]
    size = f", {first.model.input_size[-1]} pixels" if first.model.input_size else ""
    figure.suptitle(f"{first.data.name}{size}, {first.data.train:,} training pictures", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_bytes(file, buffer.getvalue())
    return True


def _gmacs(trials: Sequence[Record]) -> float | None:
    macs = (trials[0].efficiency or {}).get("macs")
    return None if macs is None else macs / 1e9


def _seconds(trials: Sequence[Record]) -> float | None:
    seconds = [second for trial in trials if trial.training for second in trial.training.epoch_seconds]
    return sum(seconds) / len(seconds) if seconds else None
