"""Records survive being written and read; a damaged one is named; no two trials share a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.files import trial_folder, write_text
from bench.protocol import fingerprint_of, load_protocol
from bench.records.efficiency import others_alone
from bench.records.folder import load_records
from bench.records.quantities import BY_KEY
from bench.records.record import SCHEMA, Record, RecordError, read_record, write_record

# Every name the design fixes, part by part.
DESIGN = {
    "": "schema status error seed model protocol data environment accuracy training efficiency",
    "model": "name plugin family source options input_size params trainable_params weights",
    "protocol": "name fingerprint settings",
    "data": "name fingerprint classes train val test",
    "accuracy": "val_top1 test_top1 test_top5 test_loss macro_f1 ece per_class confusion",
    "training": "epochs best_epoch stopped_early seconds epoch_seconds images_per_second seconds_to_best history",
}


def minimal(**changes: Any) -> dict[str, Any]:
    """A record of a trial of which little is known."""
    return {
        "schema": SCHEMA,
        "status": "error",
        "seed": 0,
        "model": {"name": "m", "plugin": "p", "family": "f", "source": "s", "options": {}},
        "protocol": {"name": "quick", "fingerprint": "ab", "settings": {}, "description": ""},
        "data": {"name": "digits", "fingerprint": "cd", "classes": ["0", "1"], "train": 5, "val": 2, "test": 3},
        **changes,
    }


finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(codec="utf-8"), max_size=10)
share = st.floats(0, 1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
accuracies = st.fixed_dictionaries(
    dict.fromkeys(("val_top1", "test_top1", "test_top5", "test_loss", "macro_f1", "ece"), share)
    | {
        "per_class": st.dictionaries(text, st.dictionaries(text, share, max_size=2), max_size=2),
        "confusion": st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=3),
    }
)
histories = st.fixed_dictionaries(
    {name: st.lists(finite, max_size=3) for name in ("train_loss", "val_loss", "train_top1", "val_top1", "extra_loss")}
)
trainings = st.fixed_dictionaries(
    {
        "epochs": st.integers(0, 99),
        "best_epoch": st.integers(0, 99),
        "stopped_early": st.booleans(),
        "seconds": finite,
        "epoch_seconds": st.lists(finite, max_size=3),
        "images_per_second": finite,
        "seconds_to_best": finite,
        "history": histories,
        "frozen_prefix": st.none(),
        "tuning": st.none(),
    }
)
efficiencies = st.fixed_dictionaries(
    {},
    optional={
        "macs": st.integers(0, 2**53),
        "memory": st.fixed_dictionaries({"train_peak": st.integers(0, 2**40), "inference_peak": st.just({"8": 5})}),
        "latency_ms": st.fixed_dictionaries({"p50": st.floats(0, 1e6), "rounds": st.lists(st.floats(0, 1e6))}),
        "throughput": st.lists(
            st.fixed_dictionaries({"batch": st.integers(1, 99), "images_per_second": st.floats(0, 1e6)})
        ),
        "added_later": json_values,
    },
)
documents = st.builds(
    minimal,
    status=st.sampled_from(["ok", "oom", "diverged", "timeout", "crashed", "error", "interrupted"]),
    seed=st.integers(0, 2**40),
    error=st.none() | st.fixed_dictionaries({"type": text, "message": text}),
    environment=st.none() | st.dictionaries(text, json_values, max_size=3),
    efficiency=st.none() | efficiencies,
    accuracy=st.none() | accuracies,
    training=st.none() | trainings,
    plugins=st.dictionaries(text, json_values, max_size=2),
    added_later=json_values,
)


@given(documents)
def test_a_record_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("record")
    record = Record.model_validate(document)
    write_record(folder, record)
    assert read_record(folder / "record.json") == record


@given(documents)
def test_a_record_keeps_every_value_it_was_given(document: dict[str, Any]) -> None:
    assert holds(Record.model_validate(document).to_json(), document)


def holds(kept: Any, given: Any) -> bool:
    """Whether all that was given is kept; what was not given may be there as null or empty."""
    if isinstance(given, dict):
        return isinstance(kept, dict) and all(key in kept and holds(kept[key], own) for key, own in given.items())
    if isinstance(given, list):
        return len(kept) == len(given) and all(map(holds, kept, given))
    return bool(kept == given)


NONSENSE: list[dict[str, Any]] = [
    {"macs": -1},
    {"macs": "many"},
    {"latency_ms": {"p50": float("inf")}},
    {"latency_ms": {"ci95": [1.0]}},
    {"throughput": [{"batch": 8}]},
    {"memory": {"inference_peak": {"8": -5}}},
]


@pytest.mark.parametrize("efficiency", NONSENSE, ids=str)
def test_a_measurement_that_cannot_be_is_refused_and_named(efficiency: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"efficiency.{next(iter(efficiency))}"):
        Record.model_validate(minimal(efficiency=efficiency))


SCHEMAS = Path(__file__).parent / "schemas"


def test_a_record_of_schema_1_is_read_and_stays_valid() -> None:
    """Its fingerprint becomes that of today's rule, so that it is compared with new records under the same settings."""
    record = read_record(SCHEMAS / "record-1.json")
    assert record.schema_version == 1
    assert record.protocol.fingerprint == load_protocol(str(SCHEMAS / "quick-1.toml")).fingerprint
    assert record.accuracy is not None
    assert BY_KEY["accuracy"].value(record) == 100 * record.accuracy.test_top1
    for key in ("gmacs", "memory", "inference_memory", "epoch_seconds"):
        assert BY_KEY[key].value(record) is not None


def test_a_record_of_schema_2_keeps_its_fingerprint() -> None:
    document = json.loads((SCHEMAS / "record-2.json").read_bytes())
    record = read_record(SCHEMAS / "record-2.json")
    assert record.schema_version == SCHEMA == 2
    assert (
        record.protocol.fingerprint == document["protocol"]["fingerprint"] == fingerprint_of(record.protocol.settings)
    )
    assert holds(record.to_json(), document)


@pytest.mark.parametrize("part", DESIGN)
def test_a_record_has_the_keys_of_the_design(part: str) -> None:
    accuracy = dict.fromkeys(("val_top1", "test_top1", "test_top5", "test_loss", "macro_f1", "ece"), 0.5)
    training = dict.fromkeys(("epochs", "best_epoch", "seconds", "images_per_second", "seconds_to_best"), 1)
    whole = Record.model_validate(
        minimal(
            accuracy={**accuracy, "per_class": {}, "confusion": []},
            training={**training, "stopped_early": False, "epoch_seconds": [], "history": {}},
        )
    ).to_json()
    found = whole[part] if part else whole
    assert set(DESIGN[part].split()) <= set(found)


def test_a_status_that_the_design_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="status"):
        Record.model_validate(minimal(status="fine"))


BROKEN = {
    "empty": "",
    "cut off": '{"schema": 1, "status": "o',
    "something else": "[1, 2]",
    "without a seed": json.dumps({key: value for key, value in minimal().items() if key != "seed"}),
    "of a newer schema": json.dumps(minimal(schema=SCHEMA + 1)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
def test_a_damaged_record_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "m" / "seed0" / "record.json"
    write_text(file, content)
    with pytest.raises(RecordError, match=r"seed0.record\.json"):
        load_records(tmp_path)


def test_records_are_loaded_from_below_a_folder_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for model, seed in (("b", 0), ("a", 1), ("a", 0)):
        part = {**minimal()["model"], "name": model}
        write_record(trial_folder(tmp_path, model, seed), Record.model_validate(minimal(model=part, seed=seed)))
    (tmp_path / "a" / "seed0" / "notes.json").write_text("{}")
    loaded = [(record.model.name, record.seed) for record in load_records(tmp_path)]
    assert loaded == [("a", 0), ("a", 1), ("b", 0)]


def test_rounds_that_differed_are_no_disturbance() -> None:
    """Older benches marked a measurement that was too short as if something else had worked on the machine."""
    assert others_alone("rounds differ by 40%") is None
    both = "other processes kept 0.6 of 2 cores busy; rounds differ by 40%"
    assert others_alone(both) == "other processes kept 0.6 of 2 cores busy"
    assert others_alone(None) is None
