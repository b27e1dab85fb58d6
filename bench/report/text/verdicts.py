"""How a verdict is said, in the same words wherever it is shown, and how values and marks are to be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.records.comparison import Comparison
from bench.records.quantities import Quantity
from bench.report.judge.calibration import error_by_chance
from bench.report.judge.extended import Ratio
from bench.report.judge.verdict import Standing, Verdict
from bench.report.text.numbers import chance, estimated, with_interval

DISTURBED = (
    "†: other processes were at work on the machine while it was timed; the value has no interval, and no order is "
    "drawn from it."
)
GROUP = "group"  # the heading of the letters
LETTERS = f"{GROUP}: models that share a letter cannot be told apart in test top-1; others can."

ONE_SEED = (
    "One seed: the test says whether these trained models differ on further pictures, not whether the models would "
    "with other seeds, which can move top-1 by more than the choice of pictures does."
)


def said(verdict: Verdict) -> str:
    """Outcome and evidence: `tie: within noise, p = 0.15`, `worse: counted`, `unknown: disturbed`."""
    return f"{verdict.outcome}: {evidence(verdict)}"


def evidence(verdict: Verdict) -> str:
    """What the outcome stands on."""
    if verdict.outcome == "unknown" or verdict.p is None:
        return verdict.reason or "counted"
    found = f"{'within noise' if verdict.outcome == 'tie' else 'more than chance'}, {chance(verdict.p)}"
    return f"{found}, one seed" if verdict.seeds == 1 else found


def gap(quantity: Quantity, verdict: Verdict) -> str:
    """The difference, or of times the ratio, with its 95 % interval where one is known; empty where one lacks it."""
    if verdict.value is None:
        return ""
    if not verdict.ratio:
        return with_interval(quantity, verdict.value, verdict.low, verdict.high, sign=True)
    interval = "" if verdict.low is None else f" [{verdict.low:.3g}, {verdict.high:.3g}]"
    return f"× {verdict.value:.3g}{interval}"


def ratio_said(ratio: Ratio | None) -> str:
    """`0.71`, `0.83 [0.80, 0.86]`, `0.90 †`; empty for none."""
    if ratio is None:
        return ""
    ends = "" if ratio.low is None or ratio.high is None else f" [{ratio.low:.2f}, {ratio.high:.2f}]"
    return f"{ratio.value:.2f}{ends}{' †' if ratio.disturbed else ''}"


def known(standing: Standing, place: int) -> str:
    """The model's value with its interval, and † where it was disturbed; empty where it has none."""
    value = standing.values[place]
    if value is None:
        return ""
    text = estimated(standing.quantity, value)
    return f"{text} †" if standing.disturbed[place] else text


def intervals_read(comparison: Comparison, quantities: Sequence[Quantity]) -> Iterator[str]:
    """What ± and brackets are, of these quantities."""
    counts = {len(contender.finished) for contender in comparison.finished}
    if counts - {1}:
        yield (
            "± is half of the 95 % interval of the mean over seeds (Student's t); brackets instead: the lowest and the "
            "highest seed, where there are two, or t would leave the scale."
        )
    if 1 in counts:
        yield (
            "Brackets after a top-1 of one seed: Wilson's 95 % interval for so many pictures "
            f"({comparison.first.data.test:,} for testing). {ONE_SEED}"
        )
    if any(quantity.key == "ece" for quantity in quantities):
        yield from _calibration(comparison)
    if any(quantity.series for quantity in quantities):
        yield (
            "Brackets after a time: the 95 % interval of its median over blocks of rounds (order statistics); of "
            "several sessions from the lowest end to the highest."
        )
    if alone := [quantity.label for quantity in quantities if quantity.kind == "time" and not quantity.series]:
        several = ", of several trials the geometric mean, from lowest to highest" if counts - {1} else ""
        yield f"{', '.join(alone)}: of each trial by itself{several}; no order is drawn from these."


def _calibration(comparison: Comparison) -> Iterator[str]:
    """Beside ECE, what chance gives."""
    found = [error_by_chance(trial.folder) for one in comparison.finished for trial in one.finished]
    known = sorted(one for one in found if one is not None)
    if known:
        ends = f"{known[0]:.4f}" if len(known) == 1 else f"{known[0]:.4f} to {known[-1]:.4f}"
        yield (
            f"ECE: perfectly calibrated models with these confidences would show {ends} on "
            f"{comparison.first.data.test:,} pictures; differences of that size are chance, and no order is drawn."
        )


def marks_read(best: str, quantities: Sequence[Quantity]) -> Iterator[str]:
    """What the marks of a column say; `best` is how the best is marked."""
    yield (
        f"{best}: the best of its column. ≈: the test cannot tell it from the best, or it is printed alike. ?: "
        "nothing is known of its difference from the best: it was disturbed, not timed side by side with it, "
        "without predictions or an interval. Neither: it is worse, by more than chance. A column in which nothing is "
        "known of any difference has no best; bold alone claims nothing, for it is not corrected for the number of "
        "columns. Top-1 is tested on the same test pictures, times by their ratios; p is corrected for all pairs of "
        "models (Holm)."
    )
