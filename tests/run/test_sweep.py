"""A run is the trials that are not yet recorded, in folders that never mix what must not be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from bench import RequestError
from bench.data.cache import Stored
from bench.events import Event, Note, Tell, tell_nobody
from bench.files import trial_folder
from bench.hookspecs import ExecutorSpec
from bench.plugins import Model, Registry, load_plugins
from bench.protocol import Protocol
from bench.records.identity import Terms, Way
from bench.records.record import Record, Status, read_record, write_record
from bench.request import Ready, RunRequest, TrialSpec, request_from
from bench.run import sweep
from bench.run.executors import work
from bench.run.sweep import Sweep
from bench.run.trial import outline

WAY = Way("cpu", threads=2)


@pytest.fixture
def finished(registry: Registry) -> Callable[..., Record]:
    """`finished(spec)`: as if that trial had been run: its record, written."""

    def make(spec: TrialSpec, status: str = "ok", way: Way = WAY) -> Record:
        environment = {"device_kind": way.device, "threads": way.threads, "options": {"compile": way.compiled}}
        ended = {"status": status, "environment": environment}
        record = outline(spec, registry.model(spec.model)).model_copy(update=ended)
        write_record(spec.folder, record)
        return record

    return make


@pytest.fixture
def is_recorded(registry: Registry) -> Callable[..., bool]:
    """Whether the trial's folder holds its record."""

    def ask(spec: TrialSpec, model: Model | None = None, way: Way = WAY) -> bool:
        return sweep.recorded(spec.folder, spec.identity(model or registry.model(spec.model), way)) is not None

    return ask


def test_a_trial_that_ended_well_is_recorded(
    tiny_trial: Callable[..., TrialSpec], finished: Callable[..., Record], is_recorded: Callable[..., bool]
) -> None:
    spec = tiny_trial(model="tiny:width=4")
    assert not is_recorded(spec)
    finished(spec)
    assert is_recorded(spec)


@pytest.mark.parametrize("status", ["oom", "diverged", "timeout", "crashed", "error", "interrupted"])
def test_a_trial_that_did_not_end_well_is_run_again(
    status: str, tiny_trial: Callable[..., TrialSpec], finished: Callable[..., Record], is_recorded: Callable[..., bool]
) -> None:
    spec = tiny_trial()
    finished(spec, status)
    assert not is_recorded(spec)


def test_a_trial_is_run_again_where_anything_that_decides_over_it_has_changed(
    tiny_trial: Callable[..., TrialSpec],
    finished: Callable[..., Record],
    is_recorded: Callable[..., bool],
    registry: Registry,
) -> None:
    spec, model = tiny_trial(), registry.model("tiny")
    finished(spec)
    other_data = dataclasses.replace(spec, stored=dataclasses.replace(spec.stored, fingerprint="other"))
    other_code = dataclasses.replace(model, plugin=dataclasses.replace(model.plugin, code="other"))
    assert is_recorded(spec, model)
    assert not is_recorded(tiny_trial("train.epochs=9"), model)
    assert not is_recorded(other_data, model)
    assert not is_recorded(spec, other_code)
    assert not is_recorded(spec, registry.model("tiny:width=4"))
    assert not is_recorded(dataclasses.replace(spec, seed=1), model)


@pytest.mark.parametrize("way", [Way("cuda", None), Way("cpu", 4), Way("cpu", 2, compiled=True)])
def test_a_trial_is_run_again_where_it_runs_another_way(
    way: Way, tiny_trial: Callable[..., TrialSpec], finished: Callable[..., Record], is_recorded: Callable[..., bool]
) -> None:
    spec = tiny_trial()
    finished(spec)
    assert not is_recorded(spec, way=way)


def test_a_damaged_record_is_run_again(
    tiny_trial: Callable[..., TrialSpec], finished: Callable[..., Record], is_recorded: Callable[..., bool]
) -> None:
    spec = tiny_trial()
    finished(spec)
    (spec.folder / "record.json").write_text("{")
    assert not is_recorded(spec)


# Where results go


def terms(protocol: Protocol, stored: Stored, way: Way = WAY) -> Terms:
    return Terms(protocol.fingerprint, stored.fingerprint, way)


def test_results_go_to_a_folder_of_the_protocol_s_name(
    tiny_protocol: Callable[..., Protocol], digits: Stored, tmp_path: Path
) -> None:
    own = terms(tiny_protocol(), digits)
    assert sweep.results_folder(tmp_path, "quick", own, changed=False) == tmp_path / "quick"


def test_a_protocol_changed_on_the_command_line_gets_a_folder_of_its_own(
    tiny_protocol: Callable[..., Protocol], digits: Stored, tmp_path: Path
) -> None:
    changed = [terms(tiny_protocol(f"train.epochs={epochs}"), digits) for epochs in (1, 2)]
    folders = {sweep.results_folder(tmp_path, "quick", one, changed=True) for one in changed}
    assert len(folders) == 2
    assert all(folder.name.startswith("quick-") for folder in folders)


@pytest.mark.parametrize("change", ["protocol", "data", "way"])
def test_a_folder_that_holds_other_records_is_not_mixed_into(
    change: str,
    tiny_protocol: Callable[..., Protocol],
    digits: Stored,
    tiny_trial: Callable[..., TrialSpec],
    finished: Callable[..., Record],
    tmp_path: Path,
) -> None:
    finished(dataclasses.replace(tiny_trial(), folder=trial_folder(tmp_path / "quick", "tiny", 0)))
    others = {
        "protocol": terms(tiny_protocol("train.epochs=9"), digits),
        "data": terms(tiny_protocol(), dataclasses.replace(digits, fingerprint="other")),
        "way": terms(tiny_protocol(), digits, Way("cuda", None)),
    }
    own = terms(tiny_protocol(), digits)
    assert sweep.results_folder(tmp_path, "quick", own, changed=False) == tmp_path / "quick"
    apart = sweep.results_folder(tmp_path, "quick", others[change], changed=False)
    assert apart.name.startswith("quick-")
    assert apart == sweep.results_folder(tmp_path, "quick", others[change], changed=False)


# The run, with a stand-in for the processes


class StandIn:
    """An executor that checks nothing, and ends every trial with the status it is told."""

    def __init__(self, stored: Stored, registry: Registry) -> None:
        self.stored, self.registry = stored, registry
        self.status: Status = "ok"
        self.ran: list[tuple[str, int]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def run(self, work_given: Any, **_: Any) -> Generator[Event, None, Any]:
        yield from ()
        answers: dict[Any, Callable[..., Any]] = {
            work.default_protocol: lambda device: "quick",
            work.check: lambda request: Ready(self.stored, {}, request.options.way("cpu", 2)),
            work.run_trial: self.trial,
        }
        return answers[work_given.func](*work_given.args)

    def trial(self, spec: TrialSpec) -> Record:
        self.ran.append((spec.model, spec.seed))
        self.meanwhile()
        environment = {"device_kind": "cpu", "threads": 2, "options": spec.options.record()}
        ended = {"status": self.status, "environment": environment}
        record = outline(spec, self.registry.model(spec.model)).model_copy(update=ended)
        write_record(spec.folder, record)
        return record


@pytest.fixture
def stand_in(digits: Stored, tiny_plugins: Path) -> StandIn:
    """The stand-in, registered as the executor `stand-in` of a registry with the tiny model."""
    registry = load_plugins([tiny_plugins])
    made = StandIn(digits, registry)
    registry.executors["stand-in"] = (ExecutorSpec("stand-in", lambda: made), registry.plugins["tiny_model"])
    return made


@pytest.fixture
def run(stand_in: StandIn, tmp_path: Path) -> Callable[..., Sweep]:
    """`run("tiny", …)`: all trials of that request run, with results in a temporary folder."""

    def call(*models: str, tell: Tell = tell_nobody, **parameters: Any) -> Sweep:
        given = {"executor": "stand-in", "results": tmp_path / "results", **parameters}
        with sweep.opened(request_from(RunRequest, models, given), stand_in.registry, tell) as found:
            list(found.run(tell))
        return found

    return call


def test_every_model_runs_once_for_every_seed(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    outcome = run("tiny", "tiny:width=4", "tiny", seeds=[0, 3])
    assert stand_in.ran == [("tiny", 0), ("tiny:width=4", 0), ("tiny", 3), ("tiny:width=4", 3)]
    assert len(outcome.records) == 4
    assert outcome.ok


def test_a_seed_that_is_named_twice_runs_once(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    assert len(run("tiny", seeds=[1, 1]).records) == 1
    assert stand_in.ran == [("tiny", 1)]


def test_what_is_recorded_is_not_run_again_unless_afresh(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    run("tiny")
    told: list[Event] = []
    outcome = run("tiny", "tiny:width=4", tell=told.append)
    assert stand_in.ran == [("tiny", 0), ("tiny:width=4", 0)]
    assert [record.model.name for record in outcome.records] == ["tiny", "tiny:width=4"]
    assert any("already recorded" in event.text for event in told if isinstance(event, Note))
    run("tiny", fresh=True)
    assert stand_in.ran[2:] == [("tiny", 0)]


def test_a_fresh_run_does_not_go_on_from_a_checkpoint(run: Callable[..., Sweep]) -> None:
    checkpoint = run("tiny").folder / "tiny" / "seed0" / "checkpoint-abc.pt"
    checkpoint.write_bytes(b"")
    run("tiny")
    assert checkpoint.exists()
    run("tiny", fresh=True)
    assert not checkpoint.exists()


def test_a_run_of_which_one_trial_failed_is_not_ok(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    stand_in.status = "crashed"
    assert not run("tiny").ok


def test_all_means_every_model_that_the_protocol_does_not_leave_out_and_says_which_and_why(
    run: Callable[..., Sweep], stand_in: StandIn
) -> None:
    told: list[Event] = []
    run(all_models=True, protocol="quick", tell=told.append)
    names = [model for model, _ in stand_in.ran]
    assert len(names) >= 8
    assert {"tiny", "vgg19", "densenet121", "deit_tiny_distilled", "vit_tiny"} <= set(names)
    assert "vit_base" not in names
    notes = [event.text for event in told if isinstance(event, Note)]
    assert any("left out: vit_base (86 M" in note and "name it" in note for note in notes)


def test_a_model_that_is_named_runs_though_the_protocol_leaves_it_out(
    run: Callable[..., Sweep], stand_in: StandIn
) -> None:
    run("vit_base", all_models=True, protocol="quick")
    assert stand_in.ran[0] == ("vit_base", 0)
    assert ("deit_base_distilled", 0) not in stand_in.ran


def test_the_first_line_says_which_protocol_was_chosen_and_how_to_choose_another(
    run: Callable[..., Sweep],
) -> None:
    told: list[Event] = []
    run("tiny", tell=told.append)
    assert isinstance(told[0], Note)
    assert told[0].text.startswith("protocol quick")
    assert "--protocol cifar10" in told[0].text


def test_a_run_without_models_is_told_what_to_name(run: Callable[..., Sweep]) -> None:
    with pytest.raises(RequestError, match="--all"):
        run()


def test_published_results_are_never_taken_for_one_s_own(
    run: Callable[..., Sweep], stand_in: StandIn, tmp_path: Path
) -> None:
    run("tiny", results=tmp_path / "results" / "reference")
    stand_in.ran.clear()
    run("tiny")
    assert stand_in.ran == [("tiny", 0)]


def test_two_runs_do_not_work_in_one_folder(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    refused: list[str] = []

    def run_again() -> None:
        with pytest.raises(RequestError, match="another run") as error:
            run("tiny")
        refused.append(str(error.value))

    stand_in.meanwhile = run_again
    run("tiny")
    assert len(refused) == 1
    stand_in.meanwhile = lambda: None
    run("tiny", fresh=True)


def test_a_results_folder_that_cannot_be_written_is_refused(
    run: Callable[..., Sweep], stand_in: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written"):
        run("tiny", results=tmp_path / "file" / "results")
    assert stand_in.ran == []


def test_the_outcome_as_json_holds_every_record(run: Callable[..., Sweep]) -> None:
    outcome = run("tiny")
    document = outcome.to_json()
    assert document["protocol"] == "quick"
    assert document["fingerprint"] == outcome.protocol.fingerprint
    assert [record["model"]["name"] for record in document["records"]] == ["tiny"]
    assert read_record(outcome.folder / "tiny" / "seed0" / "record.json").to_json() == document["records"][0]


def test_an_unknown_executor_is_answered_with_the_nearest(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    with pytest.raises(RequestError, match="unknown executor 'locl': did you mean local"):
        run("tiny", executor="locl")
    assert stand_in.ran == []


def test_how_a_trial_is_run_elsewhere_is_no_part_of_what_it_is(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    run("tiny")
    run("tiny", keep_weights=False, feature_memory=5)
    assert stand_in.ran == [("tiny", 0)]
    run("tiny", frozen_prefix=False)
    assert stand_in.ran == 2 * [("tiny", 0)]
