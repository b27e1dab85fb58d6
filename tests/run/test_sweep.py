"""A run is the trials that are not yet recorded, in folders that never mix what must not be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from bench import RequestError, UnreachableError
from bench.data.cache import Stored
from bench.events import Event, Note, Tell, TrialEnded, tell_nobody
from bench.files import trial_folder
from bench.hookspecs import ExecutorSpec
from bench.plugins import Model, Registry, load_plugins
from bench.records.efficiency import Efficiency
from bench.records.identity import Terms, Way
from bench.records.record import Record, Status, read_record, write_record
from bench.request import CheckRequest, Devices, Ready, RunRequest, TrialSpec, request_from
from bench.run import sweep
from bench.run.executors import work
from bench.run.outline import known_of, outline
from bench.run.seeds import Enough
from bench.run.sweep import Sweep


def ran(spec: TrialSpec, registry: Registry, status: Status = "ok") -> Record:
    """The record of a trial, written, as if it had been run as its spec says."""
    way = spec.way
    assert way is not None
    environment = {"device_kind": way.device, "threads": way.threads, "options": spec.options.record()}
    changes = {"status": status, "environment": environment, "efficiency": Efficiency()}
    known = known_of(registry.model(spec.model), spec.protocol)
    record = outline(spec, known).model_copy(update=changes)
    write_record(spec.folder, record)
    return record


@pytest.fixture
def finished(registry: Registry) -> Callable[..., Record]:
    """`finished(spec)`: as if that trial had been run: its record, written."""

    return lambda spec, status="ok": ran(spec, registry, status)


def test_a_trial_that_ended_well_is_recorded(
    tiny_trial: Callable[..., TrialSpec], finished: Callable[..., Record], registry: Registry
) -> None:
    spec = tiny_trial(model="tiny:width=4", timed=True)
    assert sweep.recorded(spec, registry.model(spec.model)) == (None, "")
    record = finished(spec)
    assert sweep.recorded(spec, registry.model(spec.model)) == (record, "")


def test_what_was_asked_for_and_is_not_in_a_record_gets_the_command_that_takes_it(
    make_record: Callable[..., Record],
) -> None:
    """What is measured decides not which trial it is: none is run again."""
    given = [{}, {"robustness": {"mean": 0.5}}, {"robustness": {"error": "killed"}}, {"robustness": None}]
    records = [make_record("tiny", seed=seed, plugins=own) for seed, own in enumerate(given)]
    (line,) = sweep.unmeasured(records, ["robustness"], Path("results/quick"))
    assert line == (
        "2 of them without robustness: python -m bench measure "
        "results/quick/tiny/seed0 results/quick/tiny/seed2 --only robustness"
    )
    assert not list(sweep.unmeasured(records[1:2], ["robustness"], Path("results/quick")))
    assert not list(sweep.unmeasured(records, [], Path("results/quick")))


@pytest.mark.parametrize("status", ["oom", "diverged", "timeout", "crashed", "error", "interrupted"])
def test_a_trial_that_did_not_end_well_is_run_again(
    status: str, tiny_trial: Callable[..., TrialSpec], finished: Callable[..., Record], registry: Registry
) -> None:
    spec = tiny_trial(timed=True)
    finished(spec, status)
    assert sweep.recorded(spec, registry.model("tiny")) == (None, "")


def test_a_trial_is_run_again_where_anything_that_decides_over_it_has_changed_and_says_what(
    tiny_trial: Callable[..., TrialSpec], finished: Callable[..., Record], registry: Registry
) -> None:
    spec, model = tiny_trial(timed=True), registry.model("tiny")
    finished(spec)
    assert spec.way is not None

    def why(changed: TrialSpec, changed_model: Model = model) -> str:
        found, says = sweep.recorded(dataclasses.replace(changed, folder=spec.folder), changed_model)
        assert found is None
        return says

    assert why(tiny_trial("train.epochs=9", timed=True)) == "another protocol"
    other_data = dataclasses.replace(spec.stored, fingerprint="other")
    assert why(dataclasses.replace(spec, stored=other_data)) == "other pictures"
    other_code = dataclasses.replace(model, plugin=dataclasses.replace(model.plugin, code="other"))
    assert why(spec, other_code) == "the plugin's code has changed"
    wider = "tiny:width=4"
    assert why(dataclasses.replace(spec, model=wider), registry.model(wider)) == "another model, another options"
    assert why(dataclasses.replace(spec, seed=1)) == "another seed"
    compiled = dataclasses.replace(spec, way=dataclasses.replace(spec.way, compiled=True))
    assert why(compiled).startswith("it ran otherwise (cpu")
    assert why(dataclasses.replace(spec, way=Way("cuda", None))).endswith("/ cuda)")


def test_a_damaged_record_is_run_again(
    tiny_trial: Callable[..., TrialSpec], finished: Callable[..., Record], registry: Registry
) -> None:
    spec = tiny_trial(timed=True)
    finished(spec)
    (spec.folder / "record.json").write_text("{")
    assert sweep.recorded(spec, registry.model("tiny")) == (None, "")


# Where results go

TERMS = Terms("p" * 64, "d" * 64, Way("cpu", 2))


def test_results_go_to_a_folder_of_the_protocol_s_name(tmp_path: Path) -> None:
    assert sweep.results_folder(tmp_path, "quick", TERMS, changed=False) == tmp_path / "quick"


def test_a_protocol_changed_on_the_command_line_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    several = [dataclasses.replace(TERMS, protocol=fingerprint) for fingerprint in ("q" * 64, "r" * 64)]
    folders = {sweep.results_folder(tmp_path, "quick", terms, changed=True) for terms in several}
    assert len(folders) == 2
    assert all(folder.name.startswith("quick-") for folder in folders)


OTHER = {
    "protocol": {"protocol": "q" * 64},
    "data": {"data": "e" * 64},
    "compiled": {"way": Way("cpu", 2, compiled=True)},
    "device": {"way": Way("cuda", None)},
    "threads": {"way": Way("cpu", 4)},
}


@pytest.mark.parametrize("change", OTHER)
def test_a_folder_that_holds_other_records_is_not_mixed_into(
    change: str, make_record: Callable[..., Record], tmp_path: Path
) -> None:
    write_record(trial_folder(tmp_path / "quick", "m", 0), make_record())
    assert sweep.results_folder(tmp_path, "quick", TERMS, changed=False) == tmp_path / "quick"
    other = dataclasses.replace(TERMS, **OTHER[change])
    apart = sweep.results_folder(tmp_path, "quick", other, changed=False)
    assert apart.name.startswith("quick-")
    assert apart == sweep.results_folder(tmp_path, "quick", other, changed=False)


# The run, with a stand-in for the processes


class StandIn:
    """An executor that checks nothing, and ends every trial with the status it is told."""

    def __init__(self, stored: Stored, registry: Registry) -> None:
        self.stored, self.registry = stored, registry
        self.status: Status = "ok"
        self.threads, self.devices = 2, ("cpu",)
        self.ran: list[tuple[str, int]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.default, self.without = "quick", set[str]()  # the protocol by default; those that need a network

    def data(self, request: CheckRequest) -> Ready:
        if request.protocol.name in self.without:
            raise UnreachableError("CIFAR10 cannot be downloaded")
        return Ready(self.stored, {})

    def run(self, work_given: Any, **_: Any) -> Generator[Event, None, Any]:
        yield from ()
        answers: dict[Any, Callable[..., Any]] = {
            work.default_protocol: lambda device: self.default,
            work.find_devices: lambda name, precision: Devices("cpu", self.devices, self.threads),
            work.check_models: lambda request: {},
            work.prepare_data: self.data,
            work.run_trial: self.trial,
        }
        return answers[work_given.func](*work_given.args)

    def trial(self, spec: TrialSpec) -> Record:
        self.ran.append((spec.model, spec.seed))
        self.meanwhile()
        return ran(spec, self.registry, self.status)


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

    def call(*models: str, tell: Tell = tell_nobody, enough: Enough | None = None, **parameters: Any) -> Sweep:
        given = {"executor": "stand-in", "results": tmp_path / "results", **parameters}
        with sweep.opened(request_from(RunRequest, models, given), stand_in.registry, tell, enough) as found:
            list(found.run(tell))
        return found

    return call


def test_every_model_runs_once_for_every_seed(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    outcome = run("tiny", "tiny:width=4", "tiny", seeds=[0, 3])
    assert stand_in.ran == [("tiny", 0), ("tiny:width=4", 0), ("tiny", 3), ("tiny:width=4", 3)]
    assert len(outcome.records) == 4
    assert outcome.ok


def test_the_default_without_a_network_is_quick_and_says_why(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    stand_in.default, stand_in.without = "cifar10", {"cifar10"}
    told: list[Event] = []
    outcome = run("tiny", tell=told.append)
    assert (outcome.protocol.name, outcome.ok) == ("quick", True)
    lines = [event.text for event in told if isinstance(event, Note)]
    (line,) = [line for line in lines if "CIFAR10 cannot be downloaded" in line]
    assert "quick needs no network, and runs in the place of cifar10" in line
    with pytest.raises(UnreachableError):
        run("tiny", protocol="cifar10")
    stand_in.without.add("quick")
    with pytest.raises(UnreachableError):
        run("tiny")


def narrow_after(count: int, most: int = 20) -> Enough:
    """Enough once every model has so many seeds, three at least."""
    return Enough(3, most, lambda records: len(records) >= count, {"accuracy": 0.5})


def test_seeds_are_added_to_each_model_until_they_are_enough(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    told: list[Event] = []
    outcome = run("tiny", "tiny:width=4", seeds=[7], enough=narrow_after(5), tell=told.append)
    own = [[seed for model, seed in stand_in.ran if model == name] for name in ("tiny", "tiny:width=4")]
    assert own == [[7, 0, 1, 2, 3]] * 2
    assert len(outcome.records) == 10
    last = [event for event in told if isinstance(event, TrialEnded)][-1]
    assert (last.index, last.total) == (10, 10)
    said = [event.text for event in told if isinstance(event, Note) and "enough" in event.text]
    assert said == [f"{model}: 5 seeds are enough for accuracy ± 0.5" for model in ("tiny", "tiny:width=4")]


def test_seeds_that_are_recorded_count_and_no_more_than_the_most_are_run(
    run: Callable[..., Sweep], stand_in: StandIn
) -> None:
    run("tiny", enough=narrow_after(4))
    stand_in.ran.clear()
    told: list[Event] = []
    outcome = run("tiny", enough=narrow_after(99, most=6), tell=told.append)
    assert stand_in.ran == [("tiny", 4), ("tiny", 5)]
    assert len(outcome.records) == 6
    said = [event.text for event in told if isinstance(event, Note)]
    assert "tiny: 6 seeds are not enough for accuracy ± 0.5; --max-seeds allows more" in said


def test_a_model_that_fails_gets_no_further_seeds(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    stand_in.status = "diverged"
    assert len(run("tiny", enough=narrow_after(5)).records) == 3


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


def test_another_way_of_running_runs_anew_and_overwrites_nothing(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    first = run("tiny")
    compiled = run("tiny", compile=True)
    stand_in.threads += 1
    threads = run("tiny")
    assert stand_in.ran == [("tiny", 0)] * 3
    assert len({first.folder, compiled.folder, threads.folder}) == 3
    assert all((one.folder / "tiny" / "seed0" / "record.json").exists() for one in (first, compiled, threads))


def test_a_record_whose_trial_was_cut_short_while_it_was_measured_is_completed(
    run: Callable[..., Sweep], stand_in: StandIn
) -> None:
    folder = run("tiny").folder / "tiny" / "seed0"
    record = read_record(folder / "record.json")
    write_record(folder, record.model_copy(update={"efficiency": None}))
    told: list[Event] = []
    run("tiny", tell=told.append)
    assert stand_in.ran == [("tiny", 0)] * 2
    assert Note("tiny, seed 0, is run again: it was cut short while it was measured") in told


def test_a_run_of_which_one_trial_failed_is_not_ok(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    stand_in.status = "crashed"
    assert not run("tiny").ok


def test_all_means_every_model_that_the_protocol_does_not_leave_out_and_says_which_and_why(
    run: Callable[..., Sweep], stand_in: StandIn
) -> None:
    told: list[Event] = []
    run(all_models=True, protocol="quick", tell=told.append)
    names = [model for model, _ in stand_in.ran]
    one_of_each = {"vgg19_bn", "densenet121", "efficientnet_lite0", "deit_tiny_distilled", "vit_tiny", "fdvit_ti"}
    assert {"tiny", *one_of_each} == set(names)
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


def test_a_trial_that_another_run_has_done_meanwhile_is_not_done_again(
    run: Callable[..., Sweep], stand_in: StandIn
) -> None:
    def run_again() -> None:
        stand_in.meanwhile = lambda: None
        assert run("tiny").ok

    stand_in.meanwhile = run_again  # while the first trial of this run is under way
    told: list[Event] = []
    outcome = run("tiny:width=4", "tiny", tell=told.append)
    assert stand_in.ran == [("tiny:width=4", 0), ("tiny", 0)]
    assert [record.model.name for record in outcome.records] == ["tiny:width=4", "tiny"]
    assert Note("tiny, seed 0: another run has done it") in told
    stand_in.meanwhile = lambda: None
    run("tiny", fresh=True)
    assert len(stand_in.ran) == 3


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


def test_a_mode_of_compiling_is_one_of_torch_s_and_needs_compiling(run: Callable[..., Sweep]) -> None:
    with pytest.raises(RequestError, match="did you mean reduce-overhead"):
        run("tiny", compile=True, compile_mode="reduce_overhead")
    with pytest.raises(RequestError, match="say compile, too"):
        run("tiny", compile_mode="max-autotune")


def test_an_unknown_executor_is_answered_with_the_nearest(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    with pytest.raises(RequestError, match="unknown executor 'locl': did you mean local"):
        run("tiny", executor="locl")
    assert stand_in.ran == []


def test_how_a_trial_is_run_elsewhere_is_no_part_of_what_it_is(run: Callable[..., Sweep], stand_in: StandIn) -> None:
    run("tiny")
    run("tiny", keep_weights=False)
    assert stand_in.ran == [("tiny", 0)]
