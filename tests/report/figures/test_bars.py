"""A training step's parts: totals, intervals and disturbance are the judge's, and nothing is drawn over a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import pytest
from made import write_session, write_trial
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from bench.records.comparison import Comparison, read_comparisons
from bench.records.quantities import BY_KEY
from bench.report.figures.bars import Bar, Bars, step_memory, step_time
from bench.report.figures.stacks import draw_bars
from bench.report.figures.style import COLUMN, STYLE, WIDTH
from bench.report.judge.verdict import Verdicts

STEP: dict[str, Any] = {
    "batch": 8, "seconds": 0.1, "phases": {"data": 0.01, "forward": 0.03, "backward": 0.05, "optimizer": 0.01},
}  # fmt: skip
PARTS = {"parameters": 40, "activations": 60}


def compared(results: Path) -> Comparison:
    ((comparison,), _) = read_comparisons(results)
    return comparison


def write(results: Path, name: str, seed: int = 0, peak: int = 100_000_000) -> None:
    memory = {"train_peak": peak, "train_batch": 8, "train_breakdown": PARTS}
    write_trial(results, name, seed=seed, efficiency={"train_step": STEP, "memory": memory})


def drawn(values: Bars, width: float = WIDTH) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = draw_bars(values, width)
        figure.draw_without_rendering()
        return figure


def test_how_long_a_step_takes_is_the_judges_to_say(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, name)
    alone = step_time(compared(tmp_path))
    assert alone and [bar.total for bar in alone.models] == [None, None]
    assert alone.models[0].shares == pytest.approx((10, 30, 50, 10))
    assert "ms" not in "".join(axes.get_xlabel() for axes in drawn(alone).axes)

    write_session(tmp_path / "quick", {"a": 30.0, "b": 20.0}, series="step", share=0.1)
    comparison = compared(tmp_path)
    timed = step_time(comparison)
    values = Verdicts.of(comparison).on(BY_KEY["step_ms"]).values
    assert timed and [bar.name for bar in timed.models] == ["b", "a"]
    assert [bar.span for bar in timed.models] == [(one.low, one.high) for one in reversed(values) if one]
    assert timed.conditions.endswith("lines: 95 % intervals")


def test_a_disturbed_step_has_a_mark_and_the_heading_says_what_it_is(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, name)
    write_session(tmp_path / "quick", {"a": 30.0, "b": 20.0}, series="step", others=4.0)
    values = step_time(compared(tmp_path))
    assert values and [bar.name for bar in values.models] == ["b †", "a †"]
    assert "†: other work disturbed the measurement" in values.conditions and "lines" not in values.conditions


def test_memory_that_differs_between_seeds_has_a_line_from_the_least_to_the_most(tmp_path: Path) -> None:
    write(tmp_path, "a")
    plain = step_memory(compared(tmp_path))
    assert plain and plain.models[0].span is None and "lines" not in plain.conditions
    write(tmp_path, "a", seed=1, peak=120_000_000)
    values = step_memory(compared(tmp_path))
    assert values and values.models[0].span == pytest.approx((100, 120))
    assert values.conditions.endswith("lines: from the lowest seed to the highest")


PHASES = (("forward", "#56B4E9", ""), ("backward", "#0072B2", ""))
MODELS = (
    Bar("a", (40.0, 60.0), 80.0, (70.0, 95.0)),
    Bar("token_learner_vit_tiny:after=…", (20.0, 80.0), 240.0, (200.0, 900.0), disturbed=True),
    Bar("b", (50.0, 50.0)),
)


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
def test_no_line_and_no_bar_goes_through_a_number(width: float) -> None:
    figure = drawn(Bars("Time", "digits", "ms", PHASES, MODELS, True), width)
    axes = figure.axes[0]
    texts = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert {"a", "80", "240", "not timed side by side"} <= texts.keys()
    assert any(text.endswith(" †") for text in texts)
    ends = [axes.transData.transform(vertex) for found in axes.collections for path in found.get_paths()
            for vertex in path.vertices]  # fmt: skip
    for text, box in texts.items():
        inside = [x for x, y in ends if box.x0 < x < box.x1 and box.y0 < y < box.y1]
        assert not inside, text
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, f"{text} leaves the figure"
    lines = [one for one in axes.collections if isinstance(one, LineCollection)]
    assert sum(len(one.get_segments()) for one in lines) == 2
    assert [line.get_marker() for line in axes.lines] == [">"]  # one goes on beyond the frame


def test_stacked_bars_begin_where_the_last_one_ended_and_add_up_to_the_total() -> None:
    axes = drawn(Bars("Time", "digits", "ms", PHASES, MODELS[:2], False)).axes[0]
    stacks = [one for one in axes.collections if isinstance(one, PolyCollection)]
    for number, bar in enumerate(MODELS[:2]):
        edges = [(own[:, 0].min(), own[:, 0].max()) for own in (one.get_paths()[number].vertices for one in stacks)]
        assert edges[0][0] == 0 and edges[-1][1] == pytest.approx(bar.total)
        assert [end for _, end in edges[:-1]] == pytest.approx([start for start, _ in edges[1:]])
