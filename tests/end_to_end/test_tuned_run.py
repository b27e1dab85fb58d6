"""A sweep in which each model has its own best rate, and what the report says of the order then."""

from __future__ import annotations

from pathlib import Path

from faulted import RUN, Bench, record

from bench.records.record import read_record


def test_a_tuned_run_records_each_try_and_the_report_says_how_the_order_changes(place: Path, bench: Bench) -> None:
    models = ("tiny", "other")
    assert bench(*RUN, *models, in_folder=place).returncode == 0
    rates = "tuning.learning_rates=[1e-4, 3e-2]"
    done = bench(*RUN, *models, "--set", "name=tuned", "--set", rates, in_folder=place)
    assert done.returncode == 0, done.stderr
    for model in models:
        equal, tuned = record(place, model), read_record(place / "results" / "tuned" / model / "seed0" / "record.json")
        assert equal.training is not None and tuned.training is not None and tuned.training.tuning is not None
        assert equal.training.tuning is None
        tries = {one["learning_rate"]: one["val_top1"] for one in tuned.training.tuning["tries"]}
        assert list(tries) == [1e-4, 3e-2]
        assert tuned.training.tuning["chosen"] == max(tries, key=lambda rate: tries[rate])
        assert tuned.training.tuning["seconds"] > 0
    assert bench("report", in_folder=place).returncode == 0
    findings = (place / "results" / "findings.md").read_text()
    assert "**With each model's own best settings** (tuned: 2 tries each; small: one and the same)" in findings
