"""A trial's curves and numbers as TensorBoard reads them, so that `tensorboard --logdir results` compares trials.

They are made from the record in one go, when the trial has ended: a trial that was interrupted and went on, or that ran
again, has them once.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.files import write_bytes
from bench.records.dotted import dotted
from bench.records.quantities import QUANTITIES
from bench.records.record import Record

FILE = "events.out.tfevents.bench"  # TensorBoard looks for "tfevents" in a file's name


def write_scalars(folder: Path, record: Record) -> None:
    """Write the record's curves (step: the epoch, from 1), final quantities and hyperparameters into its folder.

    The trial's folder is one run of TensorBoard, with its hyperparameters and the quantities as their metrics.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboard.plugins.hparams.metadata import NULL_TENSOR, SESSION_END_INFO_TAG, create_summary_metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    started = datetime.fromisoformat(record.started).timestamp() if record.started else 0.0
    ended = started + (record.seconds or 0.0)
    # TensorBoard's own function for this needs TensorFlow.
    end = SessionEndInfo(
        status=STATUS_SUCCESS if record.status == "ok" else STATUS_FAILURE,
        end_time_secs=ended,
    )
    metadata = create_summary_metadata(HParamsPluginData(session_end_info=end))
    session_end = Summary(value=[Summary.Value(tag=SESSION_END_INFO_TAG, metadata=metadata, tensor=NULL_TENSOR)])
    events = [
        Event(wall_time=started, file_version="brain.Event:2"),
        Event(wall_time=started, summary=hparams_pb(hyperparameters(record), start_time_secs=started)),
        *(
            Event(wall_time=started + seconds, step=step, summary=scalar_pb(tag, value))
            for tag, step, seconds, value in scalars(record)
        ),
        Event(wall_time=ended, summary=session_end),
    ]
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    write_bytes(folder / FILE, buffer.getvalue())


def scalars(record: Record) -> Iterator[tuple[str, int, float, float]]:
    """Tag, step, seconds since the trial's start, value: the curves by epoch, and what the trial came to."""
    if record.training is not None:
        ended, seconds = [], 0.0
        for epoch_seconds in record.training.epoch_seconds:
            seconds += epoch_seconds
            ended.append(seconds)
        history = record.training.history
        curves = {
            "loss/train": history.train_loss,
            "loss/validation": history.val_loss,
            "top1/train": history.train_top1,
            "top1/validation": history.val_top1,
        }
        for tag, values in curves.items():
            for step, (at, value) in enumerate(zip(ended, values, strict=False), start=1):
                yield tag, step, at, value
    epochs = record.training.epochs if record.training else 0
    for quantity in QUANTITIES:
        value_of = quantity.value(record)
        if value_of is not None:
            yield f"final/{quantity.key}", epochs, record.seconds or 0.0, value_of


def hyperparameters(record: Record) -> dict[str, str | float | bool]:
    """What distinguishes trials: model, options, seed, and the protocol's settings, by dotted names."""
    found: dict[str, str | float | bool] = {"model": record.model.name, "family": record.model.family}
    if record.model.extensions:
        found |= {"base": record.model.base, "extensions": "+".join(one.name for one in record.model.extensions)}
    found |= {"seed": float(record.seed), "data": record.data.name, "protocol": record.protocol.name}
    settings = dotted(record.protocol.settings, whole={"model.options"})
    return found | {name: _plain(value) for name, value in settings if "." in name}


def _plain(value: Any) -> str | float | bool:
    """TensorBoard has texts, numbers and switches; lists and tables are written as JSON."""
    if isinstance(value, bool | str):
        return value
    return float(value) if isinstance(value, int | float) else json.dumps(value)
