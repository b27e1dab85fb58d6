"""What each model confuses, who overfits, and who had not finished learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.records.classes import confusion_counts
from bench.records.comparison import Contender
from bench.records.quantities import BY_KEY
from bench.records.record import Training
from bench.report.judge.intervals import estimate
from bench.report.text.markup import markdown
from bench.report.text.numbers import counted, cut, listed, number

PAIRS = 3  # confusions named of each model
OVERFITS = 5.0  # points of training top-1 above validation top-1


def confusion_lines(contenders: Sequence[Contender]) -> list[str]:
    """Of each model the classes that it confuses most often, more than once, over all its seeds."""
    lines = []
    for contender in contenders:
        counts = confusion_counts(contender)
        if counts is not None:
            lines.append(_confusions(contender.model, counts, contender.first.data.classes, len(contender.finished)))
    return ["True class → class it was taken for, and how often.", *cut(lines)] if lines else []


def _confusions(model: str, total: np.ndarray, classes: Sequence[str], trials: int) -> str:
    wrong = total.copy()
    np.fill_diagonal(wrong, 0)
    mistakes, pictures = int(wrong.sum()), int(total.sum())
    head = f"{markdown(model)}: {counted(mistakes, 'mistake')} in {pictures:,} answers"
    head += f" ({counted(trials, 'seed')})" if trials > 1 else ""
    if not mistakes:
        return f"{head}."
    flat = wrong.ravel()
    most = np.argsort(-flat, kind="stable")[:PAIRS]
    shown = []
    for place in most[flat[most] > 1]:
        true, taken = divmod(int(place), len(classes))
        share = flat[place] / total[true].sum()
        shown.append(
            f"{markdown(classes[true])} → {markdown(classes[taken])} {flat[place]:,}× ({100 * share:.1f} % of "
            f"{markdown(classes[true])}, {100 * flat[place] / mistakes:.1f} % of its mistakes)"
        )
    if not shown:
        return f"{head}; no two classes more than once."
    return f"{head}; {'; '.join(shown)}."


def overfitting_lines(contenders: Sequence[Contender]) -> list[str]:
    """Training minus validation top-1 at the best epoch: who is above OVERFITS, or the largest."""
    quantity = BY_KEY["overfitting"]
    found = [(known, contender) for contender in contenders if (known := estimate(quantity, contender)) is not None]
    if not found:
        return []
    found.sort(key=lambda pair: (-pair[0].mean, pair[1].model))
    above = [(known, contender) for known, contender in found if known.mean > OVERFITS]
    count = found[0][1].first.data.val
    about = (
        "The gap is training minus validation top-1 at the best epoch; training top-1 is what the model reached during "
        f"the epoch, under the protocol's augmentation and dropout; validation is of {count:,} pictures."
    )

    def gap(mean: float, contender: Contender) -> str:
        trainings = [trial.record.training for trial in contender.finished if trial.record.training]
        train, val = (
            100 * float(np.mean([getattr(one.history, name)[one.best_epoch - 1] for one in trainings]))
            for name in ("train_top1", "val_top1")
        )
        shares = f"training {train:.1f} %, validation {val:.1f} %"
        return f"{markdown(contender.model)} {number(quantity, mean)} points ({shares})"

    if not above:
        largest = gap(found[0][0].mean, found[0][1])
        return [f"No model's gap is above {OVERFITS:g} points; the largest: {largest}. {about}"]
    shown = "; ".join(cut([gap(known.mean, contender) for known, contender in above]))
    return [
        f"{len(above)} of {counted(len(found), 'model')} overfit by more than {OVERFITS:g} points: {shown}. {about}"
    ]


def unfinished_lines(contenders: Sequence[Contender]) -> list[str]:
    """Trials whose best epoch was the last one, by model, with what that epoch still gained."""
    shown, trained, count = [], 0, 0
    for contender in contenders:
        trainings = [trial.record.training for trial in contender.finished if trial.record.training]
        if (contender.first.protocol.settings.get("train") or {}).get("what") == "probe":
            continue  # the best fit, which no further epoch betters
        trained += len(trainings)
        late = [one for one in trainings if one.best_epoch == one.epochs]
        count += len(late)
        if not late:
            continue
        seeds = f" in {len(late)} of {len(trainings)} seeds" if len(trainings) > 1 else ""
        gains = [gain for one in late if (gain := _last_gain(one)) is not None]
        gained = f", {100 * float(np.mean(gains)):+.2f} points in that epoch".replace("-", "−") if gains else ""
        epochs = sorted({one.epochs for one in late})
        shown.append(f"{markdown(contender.model)} (epoch {'/'.join(map(str, epochs))}{seeds}{gained})")
    if not trained:
        return []
    if not shown:
        return ["Every trial's best epoch came before the last one: none was cut off while validation still improved."]
    return [
        f"{count} of {counted(trained, 'trial')} had the best validation top-1 in the last epoch, and may not "
        f"have finished learning: {'; '.join(cut(shown))}.{_schedule(contenders[0])}"
    ]


def _schedule(contender: Contender) -> str:
    name = (contender.first.protocol.settings.get("schedule") or {}).get("name")
    if name != "one-cycle":
        return ""
    return (
        " The one-cycle schedule ends at small learning rates, which by itself makes the last epoch the likeliest best."
    )


def _last_gain(training: Training) -> float | None:
    """The validation top-1 of the last epoch minus the best before it."""
    top1 = training.history.val_top1
    return top1[-1] - max(top1[:-1]) if len(top1) > 1 else None


def failure_lines(contenders: Sequence[Contender]) -> list[str]:
    """Each trial that did not end well, with its reason."""
    lines = [
        f"{markdown(contender.model)}, seed {trial.record.seed}: {markdown(trial.ended)}."
        for contender in contenders
        for trial in contender.trials
        if trial.record.status != "ok"
    ]
    if not lines:
        return []
    without = [contender.model for contender in contenders if not contender.finished]
    head = [f"No trial of {listed(without)} ended well."] if without else []
    return [*head, *cut(lines)]
