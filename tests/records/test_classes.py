"""What is said of the classes is over all of a model's finished trials, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.records.classes import class_rows, confusion_counts
from bench.records.comparison import Contender, Trial
from bench.records.record import Record

Make = Callable[..., Record]


def contender(records: Sequence[Record]) -> Contender:
    return Contender("m", tuple(Trial(Path(f"m/seed{record.seed}"), record) for record in records))


def test_metrics_are_means_and_confusions_sums_over_the_finished_trials(make_record: Make) -> None:
    records = [make_record("m", 0.8), make_record("m", 0.4, seed=1), make_record("m", None, seed=2)]
    known = [record.accuracy for record in records if record.accuracy]
    rows = class_rows(contender(records))
    assert [row.name for row in rows] == records[0].data.classes
    precision, *_, support = rows[0].values
    of_first = [accuracy.per_class[rows[0].name] for accuracy in known]
    assert precision == sum(one["precision"] for one in of_first) / 2
    assert support == sum(one["support"] for one in of_first) / 2
    counts = confusion_counts(contender(records))
    assert counts is not None
    assert counts[0, 1] == sum(accuracy.confusion[0][1] for accuracy in known)


def test_nothing_is_said_where_a_record_lacks_it(make_record: Make) -> None:
    whole, lacking = make_record("m", 0.8), make_record("m", 0.4, seed=1)
    assert lacking.accuracy is not None
    lacking.accuracy.confusion, lacking.accuracy.per_class = [], {}
    for records in ([whole, lacking], [make_record("m", None)]):
        assert confusion_counts(contender(records)) is None
        assert class_rows(contender(records)) == []
