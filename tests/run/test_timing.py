"""Which models are timed side by side, from what, and what becomes of one that cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import answers, write_session, write_trial

from bench import RequestError
from bench.events import Event, Note, TimingTogether
from bench.files import trial_folder
from bench.models.kept import TENSORS
from bench.records.comparison import Comparison, read_comparisons
from bench.records.sessions import read_sessions
from bench.report.tables.times import times_text
from bench.request import Place, TimingRequest, TrialSpec
from bench.run import side_by_side, trial
from bench.run.side_by_side import grouped, time_models
from bench.run.timing import lacks_timing


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of a tenth of a second a model: as long as it takes to fill six blocks."""
    whole = side_by_side.time_together
    monkeypatch.setattr(
        side_by_side, "time_together", lambda runs, device, told: whole(runs, device, most_seconds=0.3, told=told)
    )


def comparison(results: Path) -> Comparison:
    ((one,), _) = read_comparisons(results)
    return one


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_trained_models_are_timed_from_their_kept_weights_and_others_with_random_ones(
    tiny_trial: Callable[..., TrialSpec], tiny_plugins: Path
) -> None:
    specs = [tiny_trial("train.epochs=1", model=name) for name in ("tiny", "tiny:width=4", "tiny:width=2")]
    for spec in specs:
        assert trial.run(spec).status == "ok"
    (specs[1].folder / TENSORS).unlink()
    (specs[1].folder / "model.json").unlink()
    protocol_folder = specs[0].folder.parents[1]
    told: list[Event] = []
    place = Place(device="cpu", plugins=(tiny_plugins,))
    files = time_models(TimingRequest(protocol_folder, tuple(spec.folder for spec in specs), place), told.append)
    ((kept,), damaged) = read_sessions(protocol_folder)
    assert files == [kept.file] == [protocol_folder / "timing" / "1.json"] and not damaged
    session = kept.session
    assert [model.name for model in session.models] == ["tiny", "tiny:width=4", "tiny:width=2"]
    assert [model.weights is None for model in session.models] == [False, True, False]
    assert all(set(model.series) == {"latency", "throughput", "step"} for model in session.models)
    assert len({len(model.series["step"].rounds) for model in session.models}) == 1
    batch = specs[0].protocol.train.batch_size
    assert session.models[0].series["throughput"].images == session.settings["batch"] == batch
    assert session.environment["threads"] and session.settings["precision"] == "fp32"
    assert next((one.series, one.share) for one in told if isinstance(one, TimingTogether)) == ("latency", 0.0)
    # And the report takes them from there.
    found = comparison(protocol_folder.parent)
    assert not lacks_timing(found)
    assert [len(one.sessions) for one in found.contenders] == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_a_model_that_cannot_be_timed_is_left_out_and_named(
    tiny_trial: Callable[..., TrialSpec], tiny_plugins: Path
) -> None:
    specs = [tiny_trial("train.epochs=1", model=name) for name in ("tiny", "tiny:width=4")]
    for spec in specs:
        assert trial.run(spec).status == "ok"
    file = specs[1].folder / "record.json"
    document = json.loads(file.read_text())
    document["model"]["params"] += 1
    file.write_text(json.dumps(document))
    other = specs[0].folder / "record.json"
    other.write_text(other.read_text().replace('"code": "', '"code": "0'))
    told: list[Event] = []
    request = TimingRequest(
        specs[0].folder.parents[1],
        tuple(spec.folder for spec in specs),
        Place(device="cpu", plugins=(tiny_plugins,)),
    )
    time_models(request, told.append)
    (note,) = [one.text for one in told if isinstance(one, Note)]
    assert note.startswith("tiny:width=4 is not timed: its plugin builds another model by now, of ")
    (kept,), _ = read_sessions(request.folder)
    (timed,) = kept.session.models
    assert (timed.name, timed.code) == ("tiny", f"0{timed.code_now}")
    assert "plugins whose code has changed since the training: tiny." in times_text(comparison(request.folder.parent))


def test_what_ran_elsewhere_is_not_timed_here(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "m", environment={"device_kind": "cuda"})
    with pytest.raises(RequestError, match="was run on cuda: name it by --device"):
        time_models(TimingRequest(folder.parents[1], (folder,), Place(device="cpu")), lambda event: None)


def test_a_session_is_lacking_until_one_has_timed_all_models_as_they_are(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_trial(tmp_path, name, answers(0.5))
    assert lacks_timing(comparison(tmp_path))
    write_session(tmp_path / "quick", {"a": 1.0})
    write_session(tmp_path / "quick", {"b": 1.0})
    assert lacks_timing(comparison(tmp_path))
    write_session(tmp_path / "quick", {"a": 1.0, "b": 1.0})
    assert not lacks_timing(comparison(tmp_path))
    write_trial(tmp_path, "a", answers(0.5), model={"code": "changed"})
    assert lacks_timing(comparison(tmp_path))
    assert trial_folder(tmp_path / "quick", "a", 0).is_dir()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 30))
def test_models_that_do_not_fit_together_share_the_first_one(sizes: list[int], room: int) -> None:
    names = list(range(len(sizes)))
    groups = list(grouped(names, sizes, lambda size: size <= room))
    assert all(group[0] == 0 for group in groups)
    assert [name for group in groups for name in group[1:]] == names[1:]
    assert all(sum(sizes[name] for name in group) <= room or len(group) <= 2 for group in groups)
