"""What TensorBoard shows of a trial, read back with TensorBoard's own code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS, ListSessionGroupsRequest
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from bench.files import trial_folder
from bench.records.record import Record
from bench.records.tensorboard import write_scalars
from bench.request import TrialSpec
from bench.run import trial

Make = Callable[..., Record]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every tag with its steps and values."""
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return {
        tag: [(event.step, float(event.tensor_proto.float_val[0])) for event in found.Tensors(tag)]
        for tag in found.Tags()["tensors"]
        if not tag.startswith("_hparams_")
    }


def test_curves_are_by_epoch_and_final_numbers_are_at_the_last(make_record: Make, tmp_path: Path) -> None:
    write_scalars(tmp_path, make_record("m", 0.9))
    found = scalars(tmp_path)
    assert found["loss/train"] == [(1, 3), (2, 2), (3, 1)]
    assert found["top1/validation"] == [(1, 0.5), (2, 0.5), (3, 0.25)]
    assert found["final/accuracy"] == [(3, 90)]
    assert found["final/gmacs"] == [(3, pytest.approx(2.345))]
    assert "final/energy" not in found


def test_trials_are_compared_by_their_hyperparameters(make_record: Make, tmp_path: Path) -> None:
    for record in (make_record("a", 0.9), make_record("a", 0.8, seed=1), make_record("b", None)):
        write_scalars(trial_folder(tmp_path / "quick", record.model.name, record.seed), record)
    multiplexer = EventMultiplexer(tensor_size_guidance={"tensors": 0})
    multiplexer.AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(tmp_path))
    context = Context(base_plugin.TBContext(data_provider=provider, logdir=str(tmp_path)))
    asked = RequestContext()
    experiment = context.experiment_from_metadata(asked, "", True, context.hparams_metadata(asked, ""), [])
    names = {one.name for one in experiment.hparam_infos}
    assert {"model", "seed"} <= names
    assert "accuracy" in {one.name.tag.rpartition("/")[2] for one in experiment.metric_infos}
    request = ListSessionGroupsRequest(start_index=0, slice_size=10, allowed_statuses=[STATUS_SUCCESS, STATUS_FAILURE])
    groups = Handler(asked, context, "", request).run().session_groups
    sessions = {session.name: session for group in groups for session in group.sessions}
    assert set(sessions) == {"quick/a/seed0", "quick/a/seed1", "quick/b/seed0"}
    assert sessions["quick/b/seed0"].status == STATUS_FAILURE
    values = {one.name.tag: one.value for one in sessions["quick/a/seed1"].metric_values}
    assert values["final/accuracy"] == pytest.approx(80)


@pytest.mark.slow
def test_a_trial_that_runs_again_has_its_curves_once(tiny_trial: Callable[..., TrialSpec]) -> None:
    spec = tiny_trial("train.epochs=2")
    for _ in range(2):
        assert trial.run(spec).status == "ok"
    assert len(list(spec.folder.glob("*tfevents*"))) == 1
    assert [step for step, _ in scalars(spec.folder)["loss/train"]] == [1, 2]
