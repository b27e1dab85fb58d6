"""What a report makes, what it leaves alone, and what its check finds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from made import answers, write_session, write_trial

from bench.errors import RequestError
from bench.events import Event, ReportProgress
from bench.files import PACKAGE, trial_folder, write_bytes, write_text
from bench.records.comparison import Comparison
from bench.records.evidence import Claim, Verdict
from bench.records.record import Record, write_record
from bench.report import figures
from bench.report.artifact import Artifact
from bench.report.make import report as reporting
from bench.report.make.manifest import NAME, code_digest, read_manifest, write_manifest
from bench.report.make.report import Outcome, check, make_report

Make = Callable[..., Record]


def drawing(model: str, seeds: Sequence[int]) -> bytes:
    """Stands in for a figure."""
    if model == "cannot-be-drawn":
        raise ValueError("no such colour")
    return (f"a figure of {model}" + f", {len(seeds)} seeds" * (len(seeds) > 1)).encode()


real_figures = figures.artifacts


def quick_figures(comparisons: Sequence[Comparison]) -> Iterator[Artifact]:
    """The real figures of all models together, and a stand-in of each model, made from its seeds."""
    for one in comparisons:
        yield from (figure for figure in real_figures([one]) if figure.file.stem in ("accuracy", "curves"))
        for contender in one.contenders:
            seeds = [trial.record.seed for trial in contender.trials]
            yield Artifact(one.folder / "figures" / f"{contender.model}.png", partial(drawing, contender.model, seeds))


def report(results: Path) -> Outcome:
    """As the command asks for it: with the texts of the working directory and of the results folder."""
    return make_report(results, texts=(results, Path.cwd()))


@pytest.fixture
def results(tmp_path: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with two models under one protocol; the working directory is beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "artifacts", quick_figures)
    for name, top1 in (("good", 0.9), ("bad", 0.1)):
        add(tmp_path / "results", make_record(name, top1))
    return tmp_path / "results"


def add(results: Path, record: Record) -> None:
    write_record(trial_folder(results / "quick", record.model.name, record.seed), record)


def problems(results: Path) -> dict[str, str]:
    found = check(results, texts=(results, Path.cwd())).problems
    return {one.file.relative_to(results.parent).as_posix(): one.what for one in found}


def test_everything_is_made_once_and_then_only_what_changed(results: Path, make_record: Make) -> None:
    first = report(results)
    assert {"quick/README.md", "quick/comparison.csv", "quick/classes.tex", "quick/figures/bad.png"} <= set(first.made)
    assert (results / "quick" / "figures" / "bad.png").read_bytes() == b"a figure of bad"
    second = report(results)
    assert (second.made, second.kept) == ([], len(first.made))
    add(results, make_record("bad", 0.2, seed=1))
    third = report(results)
    assert "quick/README.md" in third.made
    assert "quick/figures/bad.png" in third.made
    assert "quick/figures/good.png" not in third.made


@pytest.mark.slow
def test_what_is_made_is_as_it_should_be_and_the_same_each_time(results: Path) -> None:
    report(results)
    assert problems(results) == {}
    before = {file: file.read_bytes() for file in results.rglob("*") if file.is_file()}
    for file in before:
        if "seed0" not in file.parts:
            file.unlink()
    report(results)
    assert {file: file.read_bytes() for file in results.rglob("*") if file.is_file()} == before


@pytest.mark.slow
def test_a_check_finds_what_is_missing_edited_stale_and_left_over_and_writes_nothing(
    results: Path, make_record: Make
) -> None:
    report(results)
    (results / "quick" / "comparison.csv").unlink()
    for edited in ("README.md", "figures/good.png"):
        file = results / "quick" / edited
        file.write_bytes(file.read_bytes() + b" ")
    add(results, make_record("bad", 0.2, seed=1))
    (trial_folder(results / "quick", "good", 0) / "record.json").unlink()
    before = {file: file.read_bytes() for file in results.rglob("*") if file.is_file()}
    found = problems(results)
    assert found["results/quick/comparison.csv"] == "missing"
    assert found["results/quick/README.md"].startswith("changed since it was made")
    assert found["results/quick/comparison.tex"].startswith("stale")
    assert found["results/quick/figures/bad.png"].startswith("stale")
    assert found["results/quick/figures/good.png"].startswith("left over")
    assert {file: file.read_bytes() for file in results.rglob("*") if file.is_file()} == before
    report(results)
    assert problems(results) == {}
    assert not (results / "quick" / "figures" / "good.png").exists()


def test_a_problem_is_one_line_with_the_command_that_mends_it(results: Path) -> None:
    (one, *_) = check(results).problems
    assert str(one).endswith(f"; python -m bench report --results {results}")
    assert "\n" not in str(one)


def test_an_edited_figure_is_drawn_again(results: Path) -> None:
    report(results)
    figure = results / "quick" / "figures" / "good.png"
    figure.write_bytes(b"painted over")
    assert report(results).made == ["quick/figures/good.png"]
    assert figure.read_bytes() == b"a figure of good"


@pytest.mark.slow
def test_by_other_code_everything_is_made_anew_and_a_check_says_which_figures_are_not(results: Path) -> None:
    first = report(results)
    older = {path: replace(made, code="older") for path, made in read_manifest(results).items()}
    write_manifest(results, older)
    found = problems(results)  # texts are the same by this code: that is found by remaking them
    assert found == dict.fromkeys(
        (f"results/{path}" for path in older if path.endswith(("png", "svg", "pdf"))),
        "stale: made by other code than this",
    )
    assert found
    assert report(results).made == first.made
    assert problems(results) == {}


@pytest.mark.slow
def test_by_other_libraries_everything_is_made_anew_and_a_check_asks_nothing_of_them(results: Path) -> None:
    first = report(results)
    write_manifest(results, {path: replace(made, libraries="older") for path, made in read_manifest(results).items()})
    assert problems(results) == {}
    assert report(results).made == first.made


@pytest.mark.parametrize("source", ["report/judge/marks.py", "report/web/page.css", "records/record.py", "files.py"])
def test_all_code_that_decides_over_a_report_is_in_its_digest(source: str, tmp_path: Path) -> None:
    package = tmp_path / "bench"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_digest()
    (package / "train" / "loop.py").write_text("")
    assert code_digest(package) == before
    (package / source).write_text("")
    assert code_digest(package) != before


def test_each_file_is_told_as_it_is_made(results: Path) -> None:
    told: list[Event] = []
    made = make_report(results, tell=told.append).made
    assert [(one.done, one.total) for one in told if isinstance(one, ReportProgress)] == [
        (number, len(made)) for number in range(1, len(made) + 1)
    ]
    assert sorted(one.file for one in told if isinstance(one, ReportProgress)) == made


def test_claims_are_handed_in_and_nothing_is_taken_from_the_working_directory(results: Path) -> None:
    (results.parent / "plugins").mkdir()
    (results.parent / "plugins" / "mine.py").write_text("raise RuntimeError('was imported')")
    readme = results.parent / "README.md"
    readme.write_text(SECTION)
    claim = Claim("mine is best", "a paper", lambda evidence: Verdict("confirmed", f"{len(evidence.comparisons)} seen"))
    given: dict[str, Any] = {"claims": [claim], "problems": ["one plugin fails"]}
    make_report(results, **given)
    page = (results / "claims.md").read_text()
    assert "- mine is best. Here: 1 seen." in page
    assert "one plugin fails" in page
    assert readme.read_text() == SECTION
    assert check(results, **given).problems == []
    assert [one.file.name for one in check(results).problems] == ["findings.md", "claims.md"]


def test_a_folder_that_holds_no_figures_any_more_goes_with_them(results: Path, make_record: Make) -> None:
    report(results)
    for model in ("good", "bad"):
        (trial_folder(results / "quick", model, 0) / "record.json").unlink()
    write_record(trial_folder(results / "other", "m", 0), make_record())
    assert "quick/figures/bad.png" in report(results).removed
    assert not (results / "quick" / "figures").exists()


def test_a_figure_that_cannot_be_drawn_costs_no_other(results: Path, make_record: Make) -> None:
    add(results, make_record("cannot-be-drawn", 0.5))
    outcome = report(results)
    assert outcome.failed == {"quick/figures/cannot-be-drawn.png": "ValueError: no such colour"}
    assert "quick/figures/good.png" in outcome.made
    assert list(problems(results)) == ["results/quick/figures/cannot-be-drawn.png"]


def test_what_was_finished_before_an_interrupt_is_kept(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[object]:
        yield from list(make_all([one for one in collected if one.file.name == "README.md"], pooled=lambda one: False))
        raise KeyboardInterrupt

    make_all = reporting.make_all
    _, collected, _ = reporting.collect(results)
    with monkeypatch.context() as patch:
        patch.setattr(reporting, "make_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            report(results)
    again = report(results)
    assert again.kept == 1
    assert "quick/README.md" not in again.made


@pytest.mark.parametrize("written", [True, False], ids=["when a file is written", "before it is"])
def test_after_an_interrupt_the_manifest_is_right_about_the_file_that_was_being_written(
    results: Path, make_record: Make, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    def interrupted(file: Path, content: bytes) -> None:
        if written or file.name != "good.png":
            write_bytes(file, content)
        if file.name == "good.png":
            raise KeyboardInterrupt

    report(results)
    add(results, make_record("good", 0.5, seed=7))  # its figure is to be made anew
    with monkeypatch.context() as patch:
        patch.setattr(reporting, "write_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            report(results)
    assert ("results/quick/figures/good.png" in problems(results)) is (not written)
    assert all("by hand" not in what for what in problems(results).values())
    assert ("quick/figures/good.png" in report(results).made) is (not written)


def test_nothing_outside_the_results_is_ever_removed(results: Path) -> None:
    report(results)
    outside = results.parent / "mine.txt"
    outside.write_text("precious")
    manifest = json.loads((results / NAME).read_text())
    manifest["../mine.txt"] = next(iter(manifest.values()))
    (results / NAME).write_text(json.dumps(manifest))
    assert report(results).removed == []
    assert outside.exists()


@pytest.mark.slow
@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', '{"a": {"b": 1}}'])
def test_a_damaged_manifest_is_as_none(results: Path, content: str) -> None:
    made = report(results).made
    write_text(results / NAME, content)
    assert problems(results)
    assert report(results).made == made


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Trials of a, b and c that got as many pictures right, but not the same."""
    for seed, name in enumerate(("a", "b", "c")):
        write_trial(tmp_path / "results", name, answers(0.8, seed=seed))
    return tmp_path / "results"


def edited(results: Path, model: str, key: str, value: Any) -> None:
    """That record with another value in its accuracy."""
    file = trial_folder(results / "quick", model, 0) / "record.json"
    document = json.loads(file.read_text())
    document["accuracy"][key] = value
    write_text(file, json.dumps(document))


CONTRADICTIONS: dict[str, tuple[Any, str]] = {
    "test_top1": (0.805, "test_top1 is 0.8050, by predictions.npz 0.8000"),  # by one picture
    "test_top5": (0.5, "test_top5 is 0.5000"),
    "macro_f1": (0.9, "macro_f1 is 0.9000"),
    "ece": (0.01, "ece is 0.0100"),
    "confusion": ([[200, 0, 0], [0, 0, 0], [0, 0, 0]], "its confusion matrix is not that of predictions.npz"),
    "per_class": ({"cat": {"precision": 1.0}}, "the figures of class cat are not those of predictions.npz"),
}


def test_a_record_that_contradicts_its_predictions_is_refused_by_report_and_check(sound: Path) -> None:
    file = trial_folder(sound / "quick", "a", 0) / "record.json"
    whole = file.read_text()
    report(sound)
    for key, (value, says) in CONTRADICTIONS.items():
        assert problems(sound) == {}
        edited(sound, "a", key, value)
        (line,) = check(sound).damaged
        assert f"a/seed0/record.json: contradicts its predictions, and is left out: {says}" in line
        assert problems(sound)
        write_text(file, whole)
    edited(sound, "a", key, value)
    assert report(sound).damaged == [line]
    assert "| a " not in (sound / "quick" / "README.md").read_text()


def test_swapped_predictions_are_caught_though_as_many_are_right(sound: Path) -> None:
    a, b = (trial_folder(sound / "quick", name, 0) / "predictions.npz" for name in "ab")
    a.rename(a.with_name("aside"))
    b.rename(a)
    a.with_name("aside").rename(b)
    assert len(check(sound).damaged) == 2


def test_predictions_that_say_the_same_but_are_not_those_of_the_trial_are_caught(sound: Path) -> None:
    file = trial_folder(sound / "quick", "a", 0) / "record.json"
    document = json.loads(file.read_text())
    write_text(file, json.dumps(document | {"predictions_sha256": "0" * 64}))
    assert "predictions.npz is not the file that the trial wrote" in check(sound).damaged[0]


def test_a_figure_of_a_model_that_is_gone_is_found_though_no_report_is_known_to_have_made_it(sound: Path) -> None:
    report(sound)
    stray = sound / "quick" / "figures" / "confusion-gone.png"
    write_bytes(stray, b"a figure")
    assert [one.file for one in check(sound).problems] == [stray]
    report(sound)
    assert stray.exists()  # a stranger's may be anything


def test_a_folder_may_be_given_as_where_one_is(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results / "quick")
    assert "README.md" in report(Path()).made
    assert (results / "quick" / "README.md").read_text().startswith("# quick\n")


def test_a_damaged_record_is_named_and_left_out(results: Path) -> None:
    write_text(trial_folder(results / "quick", "broken", 0) / "record.json", "{}")
    (line,) = report(results).damaged
    assert "broken/seed0/record.json" in line
    assert check(results).damaged == [line]
    assert "broken" not in (results / "quick" / "README.md").read_text()


@pytest.mark.parametrize("prepare", ["nothing", "damaged", "deeper"])
def test_without_records_the_request_is_wrong_and_the_line_says_what_to_do(
    tmp_path: Path, make_record: Make, prepare: str
) -> None:
    results = tmp_path / "results"
    if prepare == "damaged":
        write_text(trial_folder(results / "quick", "m", 0) / "record.json", "{}")
    elif prepare == "deeper":
        add(results / "reference", make_record())
    expected = {"nothing": "no such folder", "damaged": "no record can be read", "deeper": "reference: name that"}
    for action in (report, check):
        with pytest.raises(RequestError, match=expected[prepare]):
            action(results)


SECTION = "# Mine\n\n<!-- bench report results/quick comparison: accuracy, gmacs -->\nold\n<!-- end -->\n\nrest"


@pytest.mark.parametrize(("place", "folder"), [("README.md", "results/quick"), ("results/README.md", "quick")])
def test_a_marked_section_is_renewed_and_checked_and_the_rest_is_left_alone(
    results: Path, place: str, folder: str
) -> None:
    readme = results.parent / place
    readme.write_text(SECTION.replace("results/quick", folder))
    report(results)
    assert report(results).sections == []
    text = readme.read_text()
    assert text.startswith(f"# Mine\n\n<!-- bench report {folder} comparison: accuracy, gmacs -->\n")
    assert text.endswith("<!-- end -->\n\nrest")
    assert "| good " in text
    assert "test top-1 (%) |" in text
    assert "macro F1" not in text
    assert problems(results) == {}
    readme.write_text(text.replace("90.00", "95.00"))
    assert problems(results) == {place: "line 3: the marked section is not what the records give"}
    assert report(results).sections == [str(readme)]
    assert readme.read_text() == text


def test_a_section_names_the_machine_of_its_times_where_its_trials_ran_otherwise(results: Path) -> None:
    readme = results.parent / "README.md"

    def section(columns: str) -> str:
        readme.write_text(SECTION.replace("accuracy, gmacs", columns))
        report(results)
        return readme.read_text()

    write_session(results / "quick", {"good": 10.0, "bad": 20.0})
    assert "timed on" not in section("accuracy, latency_ms")
    write_session(
        results / "quick", {"good": 10.0, "bad": 20.0},
        environment={"device": "Other CPU", "device_kind": "cpu", "threads": 4, "precision": "bf16"},
    )  # fmt: skip
    assert "; timed on Other CPU, 4 threads, bf16, torch 2.13.\n" in section("accuracy, latency_ms")
    assert "timed on" not in section("accuracy, gmacs")


def test_a_section_of_another_results_folder_and_an_example_in_a_text_are_left_alone(results: Path) -> None:
    readme = results.parent / "README.md"
    text = SECTION.replace("results/quick", "other/quick") + "\n    <!-- bench report results/none comparison -->\n"
    readme.write_text(text)
    report(results)
    assert readme.read_text() == text
    assert problems(results) == {}


@pytest.mark.parametrize(
    "section, expected",
    [
        ("<!-- bench report results/quick -->\n<!-- end -->", "line 1: not a marker"),
        ("<!-- bench report results/quick comparison -->\n", "line 1: the section has no <!-- end -->"),
        ("<!-- bench report results/quick comparison -->\n" * 2, "line 1: the section has no <!-- end -->"),
        ("<!-- bench report results/none comparison -->\n<!-- end -->", "results/none has no records"),
        ("<!-- bench report results/quick comparison: acuracy -->\n<!-- end -->", "did you mean accuracy"),
    ],
)
def test_a_malformed_marker_is_refused_before_anything_is_made(results: Path, section: str, expected: str) -> None:
    (results.parent / "README.md").write_text(section)
    for action in (make_report, check):
        with pytest.raises(RequestError, match=expected):
            action(results, texts=[results.parent / "README.md"])
    assert not (results / NAME).exists()
