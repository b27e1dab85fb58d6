"""Accuracy against cost: no bar goes through a name, what leaves the frame says so, only what is drawn is spoken of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import write_session, write_trial
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from bench.records.comparison import Comparison, read_comparisons
from bench.records.quantities import BY_KEY
from bench.report.figures.labels import place
from bench.report.figures.pareto import AgainstCost, Pareto, Point, costs
from bench.report.figures.scatter import draw_pareto
from bench.report.figures.style import COLUMN, STYLE, WIDTH
from bench.report.judge.verdict import Verdicts

OPTIONS = [f"token_learner_vit_tiny:after={after},tokens=4" for after in (0.25, 0.5, 0.75)]


def drawn(values: Pareto, width: float = WIDTH) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = draw_pareto(values, width)
        figure.draw_without_rendering()
        return figure


def crowded(interval: float = 12.0) -> Pareto:
    """Six models nearly alike, of wide intervals, as of times on a busy machine."""
    names = [*OPTIONS, "vit_tiny", "fdvit_ti", "fdvit_ti:mask_weight=0"]
    points = tuple(
        Point(name, "transformer", cost, (cost / 1.6, cost * 1.8), top1, (top1 - 2, top1 + 2))
        for name, cost, top1 in zip(
            names, (12.5, 8.6, 11.6, 15.5, 12.8, 15.2), (37.3, 37.7, 38.0, 37.8, 44.5, 45.0), strict=True
        )
    )
    return Pareto("digits", (AgainstCost("latency (ms)", "median time of one picture", points, (1, 4, 5)),) * 2)


def published() -> list[Pareto]:
    found, _ = read_comparisons(Path(__file__).resolve().parents[2] / "copies")
    keys = ("", "gmacs", "latency_ms")
    return [values for comparison in found for key, values in costs(comparison).items() if key in keys]


def lines(figure: Figure) -> list[Bbox]:
    """The bars and the front's steps, piece by piece, in pixels; no grid, and no way to a name."""
    found = []
    for axes in figure.axes:
        for bars in axes.collections:
            if isinstance(bars, LineCollection) and bars.get_zorder() > 1:
                found += [axes.transData.transform(piece) for piece in bars.get_segments()]
        for step in axes.lines:
            if step.get_drawstyle() == "steps-post":
                x, y = step.get_data()
                corners = [point for at in range(len(x) - 1) for point in ((x[at], y[at]), (x[at + 1], y[at]))]
                corners.append((x[-1], y[-1]))
                pixels = axes.transData.transform(corners)
                found += [pixels[at : at + 2] for at in range(len(pixels) - 1)]
    return [Bbox([piece.min(axis=0), piece.max(axis=0)]) for piece in found]


def named(figure: Figure) -> dict[str, Bbox]:
    """The names beside the points, and where they stand, in pixels."""
    texts = [text for text in figure.texts if text.get_va() == "baseline"]
    return {f"{number} {text.get_text()}": text.get_window_extent() for number, text in enumerate(texts)}


def meet(one: Bbox, other: Bbox) -> bool:
    return one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1


@pytest.mark.parametrize("width", [WIDTH, COLUMN])
def test_no_bar_and_no_front_goes_through_a_name_and_no_name_through_another(width: float) -> None:
    for values in (*published(), crowded()):
        figure = drawn(values, width)
        names = list(named(figure).items())
        if len(names) < sum(len(one.points) for one in values.panels):
            assert width == COLUMN and values == crowded(), "a name is missing"
            notes = [note.get_text() for axes in figure.axes for note in axes.texts]
            assert any("left out for want of room" in note for note in notes)
        for number, (name, box) in enumerate(names):
            assert not [other for other, place in names[:number] if meet(box, place)], name
            assert not [line for line in lines(figure) if meet(box, line)], f"{name}: {values.panels[0].label}"
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, f"{name} leaves the figure"


def arrows(figure: Figure) -> list[str]:
    return [str(line.get_marker()) for axes in figure.axes for line in axes.lines if line.get_marker() in list("<>^v")]


def test_an_interval_that_leaves_the_frame_ends_in_an_arrow_even_below_zero_on_a_logarithmic_axis() -> None:
    one, *others = crowded().panels[0].points
    wide = replace(one, cost_interval=(0.0, 500.0), top1_interval=(0.0, 100.0))
    values = Pareto("digits", (AgainstCost("latency (ms)", "time", (wide, *others), ()),))
    figure = drawn(values)
    assert figure.axes[0].get_xscale() == "log"
    assert set(arrows(figure)) == {"<", ">", "^", "v"}
    assert not arrows(drawn(crowded()))


def test_a_narrow_axis_still_has_three_ticks() -> None:
    points = tuple(Point(name, "cnn", cost, None, top1, None) for name, cost, top1 in (("a", 8.1, 42), ("b", 9.7, 50)))
    for width in (WIDTH, COLUMN):
        axes = drawn(Pareto("", (AgainstCost("latency (ms)", "time", points, ()),)), width).axes[0]
        written = [text.get_text() for text in axes.texts]
        assert len(written) == len(set(written)) >= 6, written


def legend(figure: Figure) -> str:
    return "; ".join(text.get_text() for text in figure.legends[0].get_texts())


def compared(tmp_path: Path, models: Sequence[dict[str, Any]]) -> Comparison:
    for parts in models:
        write_trial(tmp_path, parts.pop("name"), **parts)
    ((comparison,), _) = read_comparisons(tmp_path)
    return comparison


def test_the_legend_and_the_heading_speak_of_what_is_drawn_and_of_nothing_else(tmp_path: Path) -> None:
    comparison = compared(
        tmp_path / "tested",
        [{"name": name, "model": {"params": params}} for name, params in (("a", 1_000_000), ("b", 9_000_000))],
    )
    found = costs(comparison)
    assert "Pareto front" in legend(drawn(found["params"])) and "†" not in found["params"].conditions
    assert found["params"].conditions.endswith("bars: 95 % intervals")
    untested = costs(compared(tmp_path / "untested", [{"name": name, "predictions": False} for name in "ab"]))
    assert "no front: nothing is known of the differences" in untested["params"].conditions
    assert legend(drawn(untested["params"])) == "cnn"


def test_what_was_disturbed_is_hollow_has_a_mark_and_stands_on_no_front() -> None:
    a = Point("a", "cnn", 1.0, None, 80.0, None)
    b = Point("b", "cnn", 2.0, None, 70.0, None)
    c = Point("c", "cnn", 3.0, None, 75.0, None, disturbed=True)
    figure = drawn(Pareto("", (AgainstCost("latency (ms)", "time", (a, b, c), (0,)),)))
    assert [name.split(" ", 1)[1] for name in named(figure)] == ["a", "b", "c †"]
    assert legend(figure) == "cnn; Pareto front (filled); pale: not on it; hollow: disturbed (†)"
    faces = {
        (float(line.get_xdata()[0]), str(line.get_markerfacecolor()))
        for line in figure.axes[0].lines
        if line.get_marker() == "o" and len(line.get_xdata()) == 1
    }
    assert (3.0, "white") in faces and len({face for _, face in faces}) == 3
    assert legend(drawn(Pareto("", (AgainstCost("x", "y", (a, b), (0, 1)),)))) == "cnn; Pareto front (filled)"
    assert legend(drawn(Pareto("", (AgainstCost("x", "y", (a, b), ()),)))) == "cnn"


def test_disturbance_intervals_and_fronts_are_the_judges(tmp_path: Path) -> None:
    for name in "ab":
        write_trial(tmp_path, name)
    write_session(tmp_path / "quick", {"a": 10.0, "b": 20.0}, others=4.0)
    ((comparison,), _) = read_comparisons(tmp_path)
    disturbed = costs(comparison)["latency_ms"]
    assert all(point.disturbed for point in disturbed.panels[0].points) and not disturbed.panels[0].front
    assert "†: other work disturbed the measurement" in disturbed.conditions

    write_session(tmp_path / "quick", {"a": 10.0, "b": 20.0}, share=0.1, settings={"again": True})
    ((comparison,), _) = read_comparisons(tmp_path)
    quiet = costs(comparison)["latency_ms"]
    values = Verdicts.of(comparison).on(BY_KEY["latency_ms"]).values
    assert quiet.panels[0].front and not any(point.disturbed for point in quiet.panels[0].points)
    assert [point.cost_interval for point in quiet.panels[0].points] == [(one.low, one.high) for one in values if one]
    assert "†" not in quiet.conditions


points = st.lists(st.tuples(st.integers(0, 20).map(float), st.integers(0, 20).map(float)), max_size=30)


@given(points, st.floats(5, 60))
def test_no_name_covers_another_or_a_point_or_leaves_the_frame(found: list[tuple[float, float]], width: float) -> None:
    centres = [(15 * x, 15 * y) for x, y in found]
    boxes = place(centres, [(width, 8.0)] * len(centres), (0, 0, 300, 300))
    kept = [box for box in boxes if box is not None]
    assert kept or len(set(centres)) != 1  # a point alone is always named
    for number, (left, bottom, right, top) in enumerate(kept):
        assert left >= 0 and bottom >= 0 and right <= 300 and top <= 300
        assert not any(left < x < right and bottom < y < top for x, y in centres)
        for other in kept[:number]:
            assert left >= other[2] or other[0] >= right or bottom >= other[3] or other[1] >= top


@given(st.lists(st.integers(0, 95), max_size=12))
def test_no_name_covers_a_line(heights: list[int]) -> None:
    bars = [(0.0, y - 0.5, 100.0, y + 0.5) for y in map(float, heights)]
    (box,) = place([(50.0, 50.0)], [(30.0, 8.0)], (0, 0, 100, 100), bars)
    assert box is None or not [bar for bar in bars if box[1] < bar[3] and bar[1] < box[3]]


def test_an_important_name_covers_points_rather_than_be_left_out() -> None:
    crowd = [(float(x), float(y)) for x in range(0, 100, 10) for y in range(0, 100, 10)]
    sizes = [(60.0, 8.0)] * len(crowd)
    assert place(crowd, sizes, (0, 0, 100, 100))[0] is None
    assert place(crowd, sizes, (0, 0, 100, 100), important=1)[0] is not None


def test_costs_without_any_value_have_no_figure_and_intervals_are_the_judges(tmp_path: Path) -> None:
    comparison = compared(
        tmp_path, [{"name": "a", "seed": seed, "accuracy": {"test_top1": 0.7 + seed / 100}} for seed in (0, 1, 2)]
    )
    found = costs(comparison)
    assert "energy" not in found
    (point,) = found["gmacs"].panels[0].points
    (value,) = Verdicts.of(comparison).on(BY_KEY["accuracy"]).values
    assert value and point.top1 == value.mean and point.top1_interval == (value.low, value.high)
