"""Findings say what the numbers give, and carry them; what the records do not support is said as such."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from made import answers, write_failure, write_session, write_trial

from bench.records.comparison import read_comparisons
from bench.records.quantities import BY_KEY
from bench.report import findings
from bench.report.judge.paired import read_answers
from bench.report.judge.verdict import Verdicts
from bench.report.text.verdicts import ONE_SEED


def written(results: Path) -> str:
    """The page of that folder."""
    found, damaged = read_comparisons(results)
    (artifact,) = findings.artifacts(results, found)
    assert (artifact.file, damaged) == (results / "findings.md", [])
    return artifact.make().decode()


def line(text: str, *parts: str) -> str:
    """The one line that has all of the parts."""
    (found,) = [one for one in text.splitlines() if all(part in one for part in parts)]
    return found


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Good (90 %, small), bad (60 %, large) and near (89 %, as dear as good)."""
    write_trial(tmp_path, "good", answers(0.9))
    write_trial(tmp_path, "near", answers(0.89), efficiency={"macs": 2_000_000_000})
    write_trial(tmp_path, "bad", answers(0.6), model={"params": 9_000_000}, efficiency={"macs": 3_000_000_000})
    return tmp_path


def test_the_best_and_who_follows_are_named_with_their_figures(results: Path) -> None:
    text = written(results)
    top1 = line(text, "**test top-1 (%)**")
    assert "good has the best value, 90.00 [85.06, 93.43]; near follows with 89.00" in top1
    assert "(1.00 points behind); tie: within noise, p = " in top1
    assert "good has the best value, 1.000; near follows with 2.000 (100.0 % more); worse: counted." in line(
        text, "**GMACs**"
    )


def test_equal_values_are_a_tie(results: Path) -> None:
    assert "good and near share the best value, 2.00; bad follows with 9.00" in line(written(results), "**params (M)**")
    assert "share the best value, 100; all models have it" in line(written(results), "**peak MB**")


def test_the_order_of_times_is_left_open_where_the_machine_may_have_made_it(tmp_path: Path) -> None:
    times = {"quick": 10.0, "slow": 10.2, "slower": 90.0}
    for model in times:
        write_trial(tmp_path, model)
    write_session(tmp_path / "quick", times, share=0.05)
    said = line(written(tmp_path), "**latency (ms)**")
    assert "quick has the best value, 10.00 [9.50, 10.50]; slow follows with 10.20 [9.69, 10.71]" in said
    assert "tie: within noise, p = " in said
    assert "Pareto front of test top-1 against latency has 2 of 3 models: quick" in written(tmp_path)


def test_what_is_not_known_is_said_to_be_so_and_beats_nobody(results: Path) -> None:
    write_session(results / "quick", dict.fromkeys(("good", "near", "bad"), 10.0), others=1.0)
    text = written(results)
    assert "share the best value, 10.00; all models have it" in line(text, "**latency (ms)**")
    assert "There is no Pareto front of test top-1 against latency: disturbed." in text
    assert "Nothing is known of differences in latency (disturbed)." in text


def test_a_model_beaten_in_everything_is_dominated_and_off_the_front(results: Path) -> None:
    text = written(results)
    assert "bad (60.00 % test top-1, 9.00 M params, 3.000 GMACs, 100 peak MB)" in text
    assert "is dominated by good (90.00 % test top-1, 2.00 M params, 1.000 GMACs" in line(text, "- bad (60.00")
    assert "against GMACs has 1 of 3 models: good (1.000 GMACs, 90.00 %)." in text
    assert "good is dominated by no model" in text
    assert "near (89.00" in text  # a tie in accuracy, and dearer


def test_differences_within_noise_are_told_from_the_others(results: Path) -> None:
    text = written(results)
    assert "2 of 3 pairs are told apart" in text
    assert "within noise" in line(text, "Points by which good").partition("; bad")[0]
    rows = [one for one in text.partition("<details><summary>quick")[2].splitlines() if one.startswith("| ")]
    groups = {cells[1].strip(): cells[3].strip() for cells in (row.split("|") for row in rows)}
    assert {name: groups[name] for name in ("good", "near", "bad")} == {"good": "a", "near": "a", "bad": "b"}
    assert "McNemar" in text


def test_several_seeds_are_tested_with_seeds_as_chance(tmp_path: Path) -> None:
    for seed in range(3):
        write_trial(tmp_path, "a", answers(0.9, seed=seed), seed=seed)
        write_trial(tmp_path, "b", answers(0.5, seed=9 + seed), seed=seed)
    text = written(tmp_path)
    assert "its variance pooled over all models" in text
    assert "McNemar" not in text
    assert "One seed" not in text
    assert "(3 seeds: 0, 1, 2)" in text


def test_confusions_are_counted_with_their_shares(tmp_path: Path) -> None:
    right = np.ones(30, dtype=bool)
    right[[0, 3, 6, 1]] = False  # three cats taken for dogs, one dog for a ship
    write_trial(tmp_path, "m", right)
    said = line(written(tmp_path), "4 mistakes in 30 answers")
    assert "cat → dog 3× (30.0 % of cat, 75.0 % of its mistakes)" in said
    assert "ship" not in said  # once is chance


def test_overfitting_and_unfinished_learning_are_said_with_the_gap(tmp_path: Path) -> None:
    history = {"train_top1": [0.5, 0.99], "val_top1": [0.6, 0.75]}
    write_trial(tmp_path, "greedy", training={"epochs": 2, "best_epoch": 2, "history": history})
    write_trial(tmp_path, "modest")
    text = written(tmp_path)
    assert (
        "1 of 2 models overfit by more than 5 points: greedy 24.0 points (training 99.0 %, validation 75.0 %)" in text
    )
    assert "greedy (epoch 2, +15.00 points in that epoch)" in line(text, "1 of 2 trials had the best validation")


def test_a_failed_trial_is_named_with_its_reason_whatever_it_says(tmp_path: Path) -> None:
    write_trial(tmp_path, "m")
    write_failure(tmp_path, "large", message="out of memory | <b>\n# not a heading")
    text = written(tmp_path)
    assert "large, seed 0: oom: out of memory \\| &lt;b&gt; # not a heading." in text
    assert "No trial of large ended well" in text


def test_only_failed_trials_are_findings_too(tmp_path: Path) -> None:
    write_failure(tmp_path, "large")
    text = written(tmp_path)
    assert "1 model, 1 trial, 0 of which ended well" in text
    assert "### Best" not in text


def test_caveats_are_what_the_records_give_cause_for(tmp_path: Path) -> None:
    write_trial(tmp_path, "a", environment={"device": "Other CPU", "git": {"commit": "def", "dirty": True}})
    write_trial(tmp_path, "b")
    write_trial(tmp_path, "c", efficiency={"macs_cross_check": {"agrees": False, "difference": 0.125}})
    write_session(tmp_path / "quick", {"b": 10.0, "c": 5.0}, others=1.0)
    text = written(tmp_path)
    assert ONE_SEED in text
    assert "one is 0.5 points" in line(text, "The test set has 200 pictures")
    assert "Trained under 2 conditions" in line(text, "Other CPU", "Some CPU")
    assert "b, c: other processes were at work" in line(text, "Latency is marked as disturbed for 2 of 3 models")
    assert "c: two counters of MACs differ by 12.50 %." in text
    assert "1 of 3 trials ran with changes that were not committed." in text
    assert "The trials come from 2 commits of the code." in text


def test_trials_without_predictions_are_left_out_of_tests_alone(results: Path) -> None:
    (results / "quick" / "bad" / "seed0" / "predictions.npz").write_bytes(b"torn")
    text = written(results)
    assert "Without predictions that can be read, and so without paired tests: bad/seed0." in text
    assert "bad unknown: no predictions" in text
    assert "bad (60.00" not in text  # beaten is who is known to be


def test_the_same_records_give_the_same_bytes_and_digest_in_any_folder(tmp_path: Path) -> None:
    pages = []
    for folder in ("one", "other"):
        models = ["a", "b", "c"]
        random.Random(folder).shuffle(models)
        for model in models:
            write_trial(tmp_path / folder, model, answers(0.5, seed=ord(model)))
        found, _ = read_comparisons(tmp_path / folder)
        (artifact,) = findings.artifacts(tmp_path / folder, found)
        pages.append((artifact.inputs, artifact.make()))
    assert pages[0] == pages[1]


def test_changed_predictions_change_the_digest(results: Path) -> None:
    def digest() -> str:
        (artifact,) = findings.artifacts(results, read_comparisons(results)[0])
        return artifact.inputs

    before = digest()
    folder = results / "quick" / "bad" / "seed0"
    old = dict(np.load(folder / "predictions.npz"))
    np.savez_compressed(folder / "predictions.npz", **{**old, "probabilities": old["probabilities"][::-1]})
    assert digest() != before


def test_pictures_are_matched_by_their_index(tmp_path: Path) -> None:
    for model in ("a", "b"):
        write_trial(tmp_path, model, answers(0.7))
    file = tmp_path / "quick" / "b" / "seed0" / "predictions.npz"
    order = np.random.default_rng(0).permutation(200)[:150]  # shuffled, and some missing
    (comparison,), _ = read_comparisons(tmp_path)
    np.savez_compressed(file, **{key: value[order] for key, value in np.load(file).items()})
    found = read_answers([trial for one in comparison.finished for trial in one.finished])
    assert found.right.shape == (2, 150)
    assert (found.right[0] == found.right[1]).all()


def test_many_models_are_each_tested_with_the_best_alone(tmp_path: Path) -> None:
    for number in range(52):
        write_trial(tmp_path, f"m{number}", answers(0.5, 20, seed=number))
    (comparison,), _ = read_comparisons(tmp_path)
    standing = Verdicts.of(comparison).on(BY_KEY["accuracy"])
    assert list(standing.tested) == [(0, other) for other in range(1, 52)]
    # Another pair is corrected for all that there are.
    assert {standing.between(3, other).pairs for other in range(52) if other not in (0, 3)} == {52 * 51 // 2}
    assert "each model with the best" in written(tmp_path)
    assert "… and 31 more." in written(tmp_path)


def test_counts_are_of_trials_not_of_models_that_had_one(tmp_path: Path) -> None:
    """Of a's three trials one ended at its best epoch: that is 1 of 4 trials, and not 1 of 2 models."""
    history = {"train_top1": [0.5, 0.6, 0.7], "val_top1": [0.6, 0.7, 0.8]}
    for seed in range(3):
        best = {"best_epoch": 3, "history": history} if seed == 1 else {}
        write_trial(tmp_path, "a", answers(0.9, seed=seed), seed=seed, training=best)
    write_trial(tmp_path, "b", answers(0.5))
    text = written(tmp_path)
    assert "a (epoch 3 in 1 of 3 seeds" in line(text, "1 of 4 trials had the best validation top-1 in the last epoch")


def test_no_gap_is_said_to_be_more_than_chance_in_the_other_direction(tmp_path: Path) -> None:
    """The best by all its seeds is the worse one on the seed that both have: no verdict, whatever p would be."""
    write_trial(tmp_path, "steady", answers(0.8))
    write_trial(tmp_path, "lucky", answers(0.6))
    write_trial(tmp_path, "lucky", answers(0.99), seed=1)
    write_trial(tmp_path, "lucky", answers(0.99), seed=2)
    said = line(written(tmp_path), "Points by which lucky, the best, is ahead of each")
    assert "steady −20.00" in said and "more than chance" not in said


def test_the_answer_leads_and_fits_on_two_screens(tmp_path: Path) -> None:
    for number in range(5):
        for model, share in (("best", 0.9), ("near", 0.89), ("poor", 0.4)):
            efficiency = {"macs": 10**9 if model == "near" else 2 * 10**9}
            write_trial(tmp_path, model, answers(share), protocol=f"p{number}", efficiency=efficiency)
    write_session(tmp_path / "p0", {"best": 3.0, "near": 2.0, "poor": 1.0})
    text = written(tmp_path)
    before, _, _ = text.partition("<details>")
    assert len(before.splitlines()) < 90
    said = line(text, "- **p0** (3 models, one seed)")
    assert "best is best with 90.00 [85.06, 93.43] % of the test pictures; near cannot be told from it" in said
    assert re.search(r"poor, the next, is 50\.00 \[[\d.]+, [\d.]+\] points behind, p < 0\.0001", said)
    assert said.endswith("The cheapest of both is near.")
    row = [cell.strip() for cell in line(text, "| p0 ").split("|")[1:-1]]
    assert row == ["p0", "best", "90.00 [85.06, 93.43]", "near", "near (1.000)", "near (2.00)", "one seed"]
    assert [cell.strip() for cell in line(text, "| p1 ").split("|")][-3] == "not known"
    assert ONE_SEED in line(before, "which model is better in general")
    assert "the models were not timed side by side" in line(before, "any order of times")
    assert before.count('<img src="p') == 5
    assert text.count("<details>") == text.count("</details>") == 6


def test_what_the_command_line_changed_is_in_the_titles(tmp_path: Path) -> None:
    """Of a record of an older bench, whose description is the protocol's own, the name stands alone."""
    for protocol, description in (("changed", "changed with train.epochs=1"), ("plain", "embedded digits")):
        for model in ("a", "b"):
            write_trial(tmp_path, model, protocol=protocol, settings={"of": protocol})
            file = tmp_path / protocol / model / "seed0" / "record.json"
            document = json.loads(file.read_text())
            document["protocol"]["description"] = description
            file.write_text(json.dumps(document))
    text = written(tmp_path)
    for title in ("changed with train.epochs=1", "plain"):
        assert f"- **{title}** (2 models" in text
        assert f"<summary>{title}: all that" in text and f"\n## {title}\n" in text
        assert line(text, f"| {title} ")


def test_what_to_choose_for_a_use_is_said_with_what_it_loses(results: Path) -> None:
    write_session(results / "quick", {"good": 5.0, "near": 3.0, "bad": 1.0})
    text = written(results)
    assert "- Accuracy above all: good, or near, which cannot be told from it." in text
    assert "2 models may be chosen from: good and near. By their intervals it is not certain" in text
    said = line(text, "Inference on a small device")
    assert "least GMACs: good (1.000 GMACs)" in said
    assert "least latency: near (3.00 ms latency, −1.00 [" in said and "points, tie: within noise" in said
    assert "bad" not in said  # the fastest, and 30 points behind


def test_who_is_as_cheap_is_named_as_well(tmp_path: Path) -> None:
    """The best two have the same GMACs, and times that no test tells apart; the third is dearer and slower."""
    for model, share, macs in (("best", 0.9, 10**9), ("near", 0.89, 10**9), ("far", 0.88, 2 * 10**9)):
        write_trial(tmp_path, model, answers(share), efficiency={"macs": macs})
    write_session(tmp_path / "quick", {"best": 2.0, "near": 2.01, "far": 9.0})
    text = written(tmp_path)
    assert line(text, "- **quick**").endswith("The cheapest of these are best and near.")
    row = [cell.strip() for cell in line(text, "| quick ").split("|")[1:-1]]
    assert row[4:6] == ["best (1.000), near (1.000)", "best (2.00), near (2.01)"]


def test_where_all_are_as_cheap_none_is_called_the_cheapest(tmp_path: Path) -> None:
    for model, share in (("best", 0.9), ("near", 0.89)):
        write_trial(tmp_path, model, answers(share))
    assert line(written(tmp_path), "- **quick**").endswith("By GMACs both are equally cheap.")
