"""What the published results have to show whatever they are made anew with."""

from __future__ import annotations

from pathlib import Path

from bench.plugins import load_plugins
from bench.protocol import load_protocol
from bench.records.folder import record_files
from bench.records.record import read_record

REFERENCE = Path(__file__).resolve().parents[1] / "results" / "reference"


def test_quick_trains_every_model_to_ninety_per_cent_and_one_of_each_family_at_least() -> None:
    records = [read_record(file) for file in record_files(REFERENCE / "quick")]
    protocol, registry = load_protocol("quick"), load_plugins()
    assert {record.protocol.fingerprint for record in records} == {protocol.fingerprint}  # those are of quick as it is
    short = {one.model.name: one.accuracy.test_top1 for one in records if one.accuracy and one.accuracy.test_top1 < 0.9}
    assert short == {}
    run = {name for name in registry.models if protocol.why_excluded(name) is None}
    assert run <= {record.model.name for record in records}
    assert {registry.models[name][1].name for name in run} == {plugin.name for _, plugin in registry.models.values()}
