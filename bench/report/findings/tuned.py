"""How the order changes when each model has its own best settings: a sentence, and what each model chose."""

from __future__ import annotations

from bench.report.judge.tuned import ACCURACY, Effort, Gain, Swap
from bench.report.text.markup import markdown
from bench.report.text.numbers import counted, cut, listed
from bench.report.text.titles import title
from bench.report.text.verdicts import evidence, gap


def effort_answer(effort: Effort) -> str:
    """The sentence: the best under both, which pairs change places, and which of that is more than chance."""
    equal, tuned = (markdown(title(one)) for one in (effort.equal, effort.tuned))
    both = {gain.model for gain in effort.gains}
    before, after = (
        next(one.model for one in comparison.finished if one.model in both)
        for comparison in (effort.equal, effort.tuned)
    )
    head = f"**With each model's own best settings** ({tuned}: {_tries(effort)}; {equal}: one and the same) "
    if before == after:
        head += f"{markdown(after)} stays best"
    elif any((swap.ahead, swap.behind) == (after, before) for swap in effort.swaps):
        head += f"{markdown(after)} is best in place of {markdown(before)}"
    else:  # their order is another, and yet none has passed the other
        head += f"{markdown(after)} is best, level with {markdown(before)} under one of them"
    return f"{head}; {_order(effort)} {_gains(effort)}"


def _tries(effort: Effort) -> str:
    found = sorted({gain.tries for gain in effort.gains})
    return f"{' or '.join(map(str, found))} tries each"


def _order(effort: Effort) -> str:
    of = counted(effort.pairs, "pair")
    if not effort.swaps:
        return f"of {of} of models none changes its order."
    certain = effort.reversed_by_more_than_chance
    say = f"of {of} of models {len(effort.swaps)} {'changes its' if len(effort.swaps) == 1 else 'change their'} order"
    shown = "; ".join(cut([_swap(one) for one in certain or effort.swaps]))
    return f"{say}, {len(certain) or 'none'} of these by more than chance both ways: {shown}."


def _swap(swap: Swap) -> str:
    then, now = (f"{gap(ACCURACY, one)} points, {evidence(one)}" for one in (swap.equal, swap.tuned))
    return f"{markdown(swap.ahead)} against {markdown(swap.behind)} ({then}; then {now})"


def _gains(effort: Effort) -> str:
    told = [one for one in effort.gains if one.change.outcome in ("better", "worse")]
    rest = [one.model for one in effort.gains if one not in told]
    parts = [_gain(one) for one in told]
    parts += [f"no change beyond chance for {listed(rest)}"] if rest else []
    return f"Each model against itself, on the same pictures: {'; '.join(parts)}."


def _gain(gain: Gain) -> str:
    return f"{markdown(gain.model)} {gap(ACCURACY, gain.change)} points, {evidence(gain.change)}"


def effort_lines(effort: Effort) -> list[str]:
    """A line a model: what it chose, and what that changes."""
    return [f"{_gain(gain)}: it chose {_chosen(gain)}" for gain in effort.gains]


def _chosen(gain: Gain) -> str:
    said = dict.fromkeys(_said(rate, decay) for rate, decay in gain.chosen)
    return "; ".join(said)


def _said(rate: float, decay: float | None) -> str:
    return f"learning rate {rate:g}" + ("" if decay is None else f", weight decay {decay:g}")
