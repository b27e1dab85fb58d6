"""Claims are judged by the numbers alone, and a plugin's claims stand beside the project's."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from made import answers, write_failure, write_measurement, write_trial

from bench import Claim
from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.records.comparison import read_comparisons
from bench.records.evidence import Evidence, Verdict
from bench.records.measurement import read_measurements
from bench.records.quantities import BY_KEY
from bench.records.trainable import Trainable, read_trainable, write_trainable
from bench.report.claims import checks, published
from bench.report.claims import page as claims
from bench.report.judge.intervals import estimate

COMMAND = "python -m bench run …"
LAST_BLOCK = {"train": {"what": "last-block"}, "data": {"image_size": 224}}


def evidence(results: Path) -> Evidence:
    return Evidence(read_comparisons(results)[0], read_measurements(results / "measure")[0])


def test_counts_agree_within_a_percent_or_the_last_figure_published(tmp_path: Path) -> None:
    write_measurement(tmp_path, "m", macs={"conv": 1_008_000_000, "attention": 500_000_000}, params=4_549_000)
    found = evidence(tmp_path)
    verdict = checks.counts_are("m", {"params": 4.5}, decimals=1)(found)
    assert verdict == Verdict("confirmed", "4.55 M parameters (rounds to 4.5)", places=("measure",))
    assert checks.counts_are("m", {"params": 4.5})(found).outcome == "refuted"
    assert checks.counts_are("m", {"gmacs": 1.0}, operators=["conv"])(found).outcome == "confirmed"
    assert checks.counts_are("m", {"gmacs": 1.0})(found) == Verdict(
        "refuted", "1.51 GMACs (+50.8 %)", places=("measure",)
    )
    # Of a model that bench built anew after the paper, a difference refutes nothing.
    assert checks.counts_are("m", {"gmacs": 1.0}, rebuilt=True)(found).outcome == "not reproduced"


def test_what_bench_leaves_out_of_a_model_is_added_and_said(tmp_path: Path) -> None:
    write_measurement(tmp_path, "m", macs={"conv": 10**9}, params=3_000_000)
    left_out = {"what": "a second head", "params": 1_000_000}
    verdict = checks.counts_are("m", {"params": 4.0}, left_out=left_out)(evidence(tmp_path))
    assert verdict.outcome == "confirmed"
    assert "with a second head added" in verdict.numbers


def test_what_was_not_measured_is_answered_with_the_command_that_would(tmp_path: Path) -> None:
    write_measurement(tmp_path, "m", macs={"conv": 10**9}, image_size=32)  # at another size
    verdict = checks.counts_are("m", {"params": 1.0})(evidence(tmp_path))
    assert (verdict.outcome, verdict.command) == ("not testable", "python -m bench measure m --only macs")


def test_savings_are_told_by_the_operators_counted(tmp_path: Path) -> None:
    write_measurement(tmp_path, "base", macs={"conv": 400, "linear": 400, "attention": 200})
    write_measurement(tmp_path, "thrifty", macs={"conv": 300, "linear": 300, "attention": 150})
    found = evidence(tmp_path)
    assert checks.computes_less(["thrifty"], "base", 0.25)(found).outcome == "confirmed"
    assert checks.computes_less(["thrifty"], "base", 0.40)(found).outcome == "refuted"
    counts = {"by theirs": (checks.LAYERS_ONLY, ()), "whole": ((), ())}
    mixed = checks.saves_by_a_count("thrifty", "base", 0.40, counts)(found)
    assert mixed == Verdict("confirmed", "by theirs: 40.0 % saved; whole: 25.0 % saved", places=("measure",))
    assert checks.saves_by_a_count("thrifty", "base", 0.25, counts)(found).outcome == "not reproduced"


def test_up_to_is_shown_by_one_and_refuted_where_even_the_most_is_less(tmp_path: Path) -> None:
    write_measurement(tmp_path, "base", macs={"linear": 1000})
    write_measurement(tmp_path, "learner:after=0.5", macs={"linear": 500})
    up_to = checks.computes_less(["learner:after=0.25", "learner*"], "base", 0.67, at_least=True)
    assert up_to(evidence(tmp_path)).outcome == "refuted"
    write_measurement(tmp_path, "learner:after=0.25", macs={"linear": 250})
    verdict = up_to(evidence(tmp_path))
    assert verdict.outcome == "confirmed" and verdict.numbers.endswith("75.0 % saved, the most of 2 measured")


def test_trainable_parameters_are_counted_without_training(tmp_path: Path) -> None:
    protocol = load_protocol("cifar10")
    file = write_trainable(tmp_path, Trainable.of("m", protocol, 10, 20, 7))
    under = {"train.what": "last-block", "head.hidden": [256, 256], "classes": 10}
    found = Evidence((), (), read_trainable(tmp_path)[0])
    check = checks.trains("m", 7, under=under, command=COMMAND)
    assert check(found) == Verdict("confirmed", "7 counted under cifar10", places=("trainable",))
    assert checks.trains("m", 8, under=under, command=COMMAND)(found).outcome == "refuted"
    assert checks.trains("m", 7, under=under | {"classes": 100}, command=COMMAND)(found).outcome == "not testable"
    file.write_text("{")
    assert str(file) in read_trainable(tmp_path)[1][0]


def test_trainable_parameters_are_known_even_of_a_trial_that_failed_later(tmp_path: Path) -> None:
    write_failure(tmp_path, "m", settings=LAST_BLOCK)
    check = checks.trains("m", 1_000_000, under={"train.what": "last-block"}, command=COMMAND)
    assert check(evidence(tmp_path)) == Verdict("confirmed", "1,000,000 in quick", places=("quick",))
    other = checks.trains("m", 1_000_001, under={"train.what": "last-block"}, command=COMMAND)
    assert other(evidence(tmp_path)).outcome == "refuted"


def test_accuracy_counts_only_under_the_claims_conditions(tmp_path: Path) -> None:
    for seed, share in enumerate((0.78, 0.8, 0.82)):
        write_trial(tmp_path, "m", answers(share), seed=seed, settings=LAST_BLOCK, data="digits")
    conditions = {"train.what": "last-block", "dataset": "digits", "classes": 3, "test": 200}
    (comparison,) = read_comparisons(tmp_path)[0]
    found = estimate(BY_KEY["accuracy"], comparison.finished[0])
    assert found is not None and found.low is not None and found.high is not None

    def verdict(top1: float, within: float) -> Verdict:
        return checks.reaches("m", top1, within=within, under=conditions, command=COMMAND)(evidence(tmp_path))

    assert verdict(80.6, within=20).outcome == "confirmed"
    assert verdict(found.low, within=1).outcome == "undecided"  # the interval holds both
    assert verdict(found.high + 1.1, within=1).outcome == "not reproduced"
    assert verdict(found.low - 1.1, within=1).outcome == "not reproduced"
    assert verdict(found.mean + 0.6, within=20).numbers == (
        f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] % in quick, mean of 3 seeds: −0.60 points"
    )
    for key, value in (("dataset", "cifar10"), ("train.what", "full"), ("data.image_size", 32), ("nowhere.at.all", 1)):
        check = checks.reaches("m", 80, within=1.0, under={key: value}, command=COMMAND)
        other = check(evidence(tmp_path))
        assert (other.outcome, other.command) == ("not testable", COMMAND)
        assert f"{key} = {value}" in other.numbers


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_decide_no_published_accuracy(count: int, tmp_path: Path) -> None:
    for seed in range(count):
        write_trial(tmp_path, "m", answers(0.8), seed=seed)
    for top1 in (80.0, 40.0):
        verdict = checks.reaches("m", top1, within=1.0, under={}, command=COMMAND)(evidence(tmp_path))
        assert (verdict.outcome, verdict.command) == ("undecided", COMMAND)
        assert "three seeds would tell" in verdict.numbers


def test_training_steps_are_compared_each_at_its_own_size(tmp_path: Path) -> None:
    check = checks.steps_take_longer("slow", "fast", 7, tolerance=0.25, baseline_size=32)
    write_measurement(tmp_path, "slow", macs={"conv": 1}, step_seconds=1.8)
    write_measurement(tmp_path, "fast", macs={"conv": 1}, step_seconds=1.0)  # at another size than the claim's
    verdict = check(evidence(tmp_path))
    assert verdict.outcome == "not testable"
    assert "measure fast --image-size 32 --only step" in verdict.command
    write_measurement(tmp_path, "fast", macs={"conv": 1}, step_seconds=0.25, image_size=32)
    verdict = check(evidence(tmp_path))
    assert verdict.outcome == "confirmed"
    assert verdict.numbers.startswith("1.80 s at 224 pixels against 0.25 s at 32, a step of 8 pictures on Some CPU")
    far = checks.steps_take_longer("slow", "fast", 70, tolerance=0.25, baseline_size=32)
    assert far(evidence(tmp_path)).outcome == "not reproduced"
    unlike = checks.steps_take_longer(
        "slow", "fast", 7, tolerance=0.25, baseline_size=32, otherwise="there on the moon"
    )(evidence(tmp_path))
    assert unlike.outcome == "other conditions" and unlike.numbers.endswith("7.20 times; there on the moon")


def test_a_sentence_that_says_several_things_is_one_claim_and_the_gravest_answer_decides(tmp_path: Path) -> None:
    write_measurement(tmp_path, "base", macs={"linear": 1000})
    write_measurement(tmp_path, "half", macs={"linear": 500})
    half, third = (checks.computes_less([name], "base", 0.5) for name in ("half", "third"))
    verdict = checks.each(half, third)(evidence(tmp_path))
    assert verdict.outcome == "confirmed"  # what was not measured decides nothing, and is said
    assert verdict.numbers.endswith("50.0 % saved; third: not measured at 224 pixels and 1,000 classes")
    assert verdict.command == "python -m bench measure third --only macs"
    write_measurement(tmp_path, "third", macs={"linear": 333})
    assert checks.each(half, third)(evidence(tmp_path)).outcome == "refuted"


def seeds(results: Path, model: str, share: float, macs: int, first: int = 0) -> None:
    for seed in range(3):
        write_trial(results, model, answers(share, 2000, seed=first + seed), seed=seed, efficiency={"macs": macs})


def test_no_loss_is_an_equivalence_test_with_a_margin(tmp_path: Path) -> None:
    seeds(tmp_path, "base", 0.9, 100)
    seeds(tmp_path, "thrifty", 0.9, 50, first=9)

    def outcome(model: str, margin: float) -> Verdict:
        check = checks.loses_no_accuracy([model], "base", margin=margin, under={}, command=COMMAND)
        return check(evidence(tmp_path))

    verdict = outcome("thrifty", 5)
    assert verdict.outcome == "confirmed"
    assert verdict.numbers.startswith("against base: thrifty 50 % of the MACs, ")
    assert outcome("thrifty", 0.001).outcome == "undecided"
    seeds(tmp_path, "poor", 0.7, 50)
    assert outcome("poor", 5).outcome == "not reproduced"
    seeds(tmp_path, "dear", 0.9, 100, first=9)
    assert outcome("dear", 5).outcome == "not reproduced"  # it saves nothing
    for model in ("single", "single_poor"):
        write_trial(tmp_path, model, answers(0.9 if model == "single" else 0.3, 2000), efficiency={"macs": 1})
        assert outcome(model, 5).outcome == "undecided"


def test_more_accurate_and_cheaper_must_both_hold_and_one_seed_says_nothing(tmp_path: Path) -> None:
    seeds(tmp_path, "old", 0.7, 100)
    seeds(tmp_path, "new", 0.9, 50)
    seeds(tmp_path, "dear", 0.9, 200)
    write_trial(tmp_path, "single", answers(0.99, 2000), efficiency={"macs": 1})

    def outcome(model: str, baseline: str) -> str:
        check = checks.is_more_accurate(model, baseline, under={}, command=COMMAND, cheaper=True)
        return check(evidence(tmp_path)).outcome

    assert (outcome("new", "old"), outcome("dear", "old"), outcome("old", "new")) == (
        "confirmed", "not reproduced", "not reproduced",
    )  # fmt: skip
    assert outcome("new", "dear") == "undecided"
    assert (outcome("single", "old"), outcome("old", "single")) == ("undecided", "undecided")
    assert outcome("single", "nobody") == "not testable"


def test_a_claim_may_write_a_models_options_in_any_order(tmp_path: Path) -> None:
    seeds(tmp_path, "m:a=1,b=2", 0.9, 50)
    seeds(tmp_path, "m:a=1", 0.7, 100)
    write_measurement(tmp_path, "m:a=1,b=2", macs={"conv": 5})
    found = evidence(tmp_path)
    assert checks.is_more_accurate("m:b=2,a=1", "m:a=1", under={}, command=COMMAND)(found).outcome == "confirmed"
    assert checks.trains("m:b=2,a=1", 1_000_000, under={}, command=COMMAND)(found).outcome == "confirmed"
    measured = found.measured("m:b=2,a=1")
    assert measured is not None and measured.efficiency.macs == 5


@pytest.mark.parametrize(
    ("share", "trainable", "outcome"),
    [
        (0.95, 500_000, "confirmed"), (0.95, 2_000_000, "refuted"), (0.5, 500_000, "refuted"),
        (0.81, 500_000, "undecided"),
    ],
)  # fmt: skip
def test_fewer_parameters_and_more_accuracy_must_both_hold(
    share: float, trainable: int, outcome: str, tmp_path: Path
) -> None:
    for seed in range(3):
        new = answers(share, 2000, seed=seed)
        write_trial(tmp_path, "new", new, seed=seed, model={"trainable_params": trainable})
        write_trial(tmp_path, "old", answers(0.8, 2000, seed=9 + seed), seed=seed)
    check = checks.trains_less_and_is_better("new", "old", under={}, command=COMMAND)
    verdict = check(evidence(tmp_path))
    assert verdict.outcome == outcome
    assert f"{trainable / 1e6:.2f} M against 1.00 M trainable parameters" in verdict.numbers


def test_one_seed_is_not_asked_where_there_are_more(tmp_path: Path) -> None:
    for protocol, count in (("more", 3), ("single", 1)):
        for seed in range(count):
            cost = {"macs": 50 if protocol == "more" else 200}
            new = answers(0.9, 2000, seed=seed)
            write_trial(tmp_path, "new", new, protocol=protocol, seed=seed, efficiency=cost)
            old = answers(0.7, 2000, seed=9 + seed)
            write_trial(tmp_path, "old", old, protocol=protocol, seed=seed, efficiency={"macs": 100})
    verdict = checks.is_more_accurate("new", "old", under={}, command=COMMAND, cheaper=True)(evidence(tmp_path))
    assert (verdict.outcome, verdict.places) == ("confirmed", ("more",))
    assert "single" not in verdict.numbers


def test_the_gravest_answer_of_several_comparisons_decides(tmp_path: Path) -> None:
    for protocol, share in (("a", 0.8), ("b", 0.5)):
        for seed in range(3):
            write_trial(tmp_path, "m", answers(share, 2000, seed=seed), seed=seed, protocol=protocol)
    verdict = checks.reaches("m", 80, within=10, under={}, command=COMMAND)(evidence(tmp_path))
    assert verdict.outcome == "not reproduced"
    assert "% in a" in verdict.numbers and "% in b" in verdict.numbers


def test_the_projects_claims_have_sources_and_say_without_any_results_how_to_test_them() -> None:
    found = list(published.published_claims())
    sources = {table["source"] for table in tomllib.loads(published.FILE.read_text()).values()}
    assert {claim.source for claim in found} == sources
    verdicts = [claim.check(Evidence((), ())) for claim in found]
    assert {verdict.outcome for verdict in verdicts} == {"not testable"}
    without = [verdict.numbers for verdict in verdicts if not verdict.command.startswith("python -m bench ")]
    assert all(one.startswith("needs ImageNet's pictures") for one in without) and without  # which nothing here gives
    assert len({claim.text for claim in found}) == len(found)


@pytest.fixture
def page_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The page of a results folder, with a plugin of that source in the working directory."""

    def make(source: str) -> str:
        (tmp_path / "plugins").mkdir()
        (tmp_path / "plugins" / "mine.py").write_text(source)
        monkeypatch.chdir(tmp_path)
        write_trial(tmp_path / "results", "m")
        file = tmp_path / "results" / "claims.md"
        own, problems = load_plugins().claims()
        (artifact,) = claims.artifacts(file, claims.judged(own, evidence(tmp_path / "results")), problems)
        assert artifact.file == file
        return artifact.make().decode()

    return make


PLUGIN = """
from bench import Claim, Verdict, hookimpl

def check(evidence):
    return Verdict("refuted", f"{len(evidence.comparisons)} comparison", places=("quick",))

def broken(evidence):
    raise KeyError("nothing")

@hookimpl
def bench_claims():
    yield Claim("mine is <best>", "a paper", check)
    yield Claim("mine breaks", "a paper", broken)
    yield Claim("mine says nothing", "a paper", lambda evidence: None)
"""


def test_a_plugins_claims_are_judged_and_its_mistakes_reported(page_with: Callable[[str], str]) -> None:
    text = page_with(PLUGIN)
    assert "## Refuted (1)\n\n### a paper\n\n- mine is &lt;best&gt;. Here: 1 comparison ([quick](quick/))." in text
    assert "## Could not be checked (2)\n\n### a paper\n\n- mine breaks. Its check raised KeyError: 'nothing'." in text
    assert "the check gives NoneType, not Verdict" in text
    assert "1 refuted" in text
    assert "2 could not be checked" in text
    assert "densenet121 at 224 pixels" in text  # the project's own


@pytest.mark.parametrize(
    ("body", "says"),
    [("raise ValueError('no')", "ValueError: no"), ("return ['x']", "TypeError: bench_claims gives str, not Claim")],
)
def test_a_plugin_whose_claims_cannot_be_had_costs_no_others(
    body: str, says: str, page_with: Callable[[str], str]
) -> None:
    text = page_with(f"from bench import hookimpl\n\n@hookimpl\ndef bench_claims():\n    {body}\n")
    assert f"plugin mine is asked no more, for its bench_claims: {says}" in text
    assert "densenet121 at 224 pixels" in text


def test_a_claim_is_of_the_public_names() -> None:
    verdict = Verdict("confirmed", "1")
    assert Claim("a", "b", lambda evidence: verdict).check(Evidence((), ())) is verdict
    assert load_plugins().claims()[1] == []
