"""What a hurried reader takes away: who is best in each comparison, how sure that is, what not to conclude."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.records.comparison import Comparison
from bench.records.quantities import BY_KEY
from bench.report.judge.verdict import Standing, Verdicts
from bench.report.text.markup import Cell, Table, markdown
from bench.report.text.numbers import chance, counted, estimated, listed, number, with_interval
from bench.report.text.titles import title
from bench.report.text.verdicts import ONE_SEED

ACCURACY, GMACS, LATENCY = (BY_KEY[key] for key in ("accuracy", "gmacs", "latency_ms"))


def answer(comparison: Comparison) -> str:
    """The comparison's answer: the best, what it cannot be told from, and by how much the next is behind."""
    verdicts = Verdicts.of(comparison)
    names = [markdown(one.model) for one in comparison.finished]
    standing = verdicts.on(ACCURACY)
    head = f"**{markdown(title(comparison))}** ({counted(len(names), 'model')}, {_seeds(comparison)}): "
    if not standing.order:
        return f"{head}no trial ended well."
    best = standing.order[0]
    value = standing.values[best]
    assert value is not None  # of a model in the order
    reached = f"{estimated(ACCURACY, value)} % of the test pictures"
    if len(names) == 1:
        return f"{head}{names[0]} gets {reached} right; there is nothing to compare it with."
    head += f"{names[best]} is best with {reached}"
    ties = tied(standing)
    if ties:
        head += f"; {listed([comparison.finished[place].model for place in ties])} cannot be told from it"
    behind = [place for place in standing.order[1:] if standing.between(place, best).outcome == "worse"]
    if behind:
        verdict = standing.between(best, behind[0])
        p = f", {chance(verdict.p)}" if verdict.p is not None else ""
        assert verdict.value is not None  # of one that is worse
        by = with_interval(ACCURACY, verdict.value, verdict.low, verdict.high)
        head += f"; {names[behind[0]]}, the next, is {by} points behind{p}"
    elif not ties:
        head += "; nothing is known of the differences to the others"
    cheapest = least([best, *ties], verdicts.on(GMACS))
    if ties and cheapest:
        head += f". {_cheapest([comparison.finished[place].model for place in cheapest], len(ties) + 1)}"
    return f"{head}."


def _cheapest(models: Sequence[str], count: int) -> str:
    """Which of so many models that cannot be told apart in top-1 need the least GMACs."""
    these = "both" if count == 2 else "these"
    if len(models) == count:
        return f"By GMACs {these} are equally cheap"
    return f"The cheapest of {these} {'is' if len(models) == 1 else 'are'} {listed(models)}"


def tied(standing: Standing) -> list[int]:
    """The places of the models that the test cannot tell from the best, best first."""
    best, *others = standing.order
    return [place for place in others if standing.between(place, best).outcome == "tie"]


def least(places: Sequence[int], standing: Standing) -> list[int]:
    """Of these models the one with the least cost, then those that cannot be told from it in that.

    None where one of them lacks it or was disturbed, or where it is not known how they stand to each other.
    """
    if any(standing.values[place] is None or standing.disturbed[place] for place in places):
        return []
    first = max(places, key=lambda place: (standing.scores[place], -place))
    outcomes = {place: standing.between(first, place).outcome for place in places if place != first}
    if not set(outcomes.values()) <= {"better", "tie"}:
        return []
    return [first, *(place for place in places if outcomes.get(place) == "tie")]


def winners(comparisons: Sequence[Comparison]) -> Table:
    """A row a comparison of two models or more: the best, what it cannot be told from, the cheapest and fastest."""
    rows = []
    for comparison in comparisons:
        verdicts, names = Verdicts.of(comparison), [one.model for one in comparison.finished]
        standing = verdicts.on(ACCURACY)
        if len(standing.order) < 2:
            continue
        best = standing.order[0]
        group = [best, *tied(standing)]
        value = standing.values[best]
        assert value is not None  # of a model in the order
        rows.append(
            [
                Cell(title(comparison)),
                Cell(names[best]),
                Cell(estimated(ACCURACY, value)),
                Cell(", ".join(names[place] for place in group[1:]) or "none"),
                *(Cell(_least(group, verdicts.on(cost), names)) for cost in (GMACS, LATENCY)),
                Cell(_seeds(comparison)),
            ]
        )
    headers = ["comparison", "best", "test top-1 (%)", "cannot be told from it", "least GMACs of these",
               "least latency of these (ms)", "seeds"]  # fmt: skip
    return Table(headers, rows, frozenset({0, 1, 3, 4, 5, 6}))


def _least(group: Sequence[int], standing: Standing, names: Sequence[str]) -> str:
    shown = []
    for place in least(group, standing):
        value = standing.values[place]
        assert value is not None  # of a model in `least`
        shown.append(f"{names[place]} ({number(standing.quantity, value.mean)})")
    return ", ".join(shown) or "not known"


def _seeds(comparison: Comparison) -> str:
    counts = sorted({len(one.finished) for one in comparison.finished})
    if counts == [1]:
        return "one seed"
    return f"{'–'.join(map(str, counts))} seeds" if counts else "no seed"


def limits(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What must not be concluded, of all comparisons together."""
    several = [one for one in comparisons if len(one.finished) > 1]
    single = [one for one in several if any(len(own.finished) == 1 for own in one.finished)]
    if single:
        yield f"Of {_named(single)}, which model is better in general. {ONE_SEED}"
    untimed = [one for one in several if not Verdicts.of(one).on(LATENCY).order]
    if untimed:
        yield f"Of {_named(untimed)}, any order of times: the models were not timed side by side."
    noisy = [one for one in several if any(Verdicts.of(one).on(LATENCY).disturbed)]
    if noisy:
        yield f"Of {_named(noisy)}, any order of latency: other processes were at work while it was timed."
    for one in comparisons:
        trainings = [trial.record.training for own in one.finished for trial in own.finished if trial.record.training]
        late = sum(training.best_epoch == training.epochs for training in trainings)
        if trainings and late / len(trainings) > 0.5:
            yield (
                f"Of {_named([one])}, what longer training would give: {late} of "
                f"{counted(len(trainings), 'trial')} were best in their last epoch."
            )
    small = [one for one in comparisons if one.first.data.test < 1000]
    if small:
        yield (
            f"Of {_named(small)}, differences of a few points: there are "
            f"{' and '.join(sorted({f'{one.first.data.test:,}' for one in small}))} test pictures."
        )


def _named(comparisons: Sequence[Comparison]) -> str:
    return listed([title(one) for one in comparisons])
