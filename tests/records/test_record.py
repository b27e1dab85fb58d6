"""Records survive being written and read; a damaged one is named; no two trials share a folder."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import changed, document, write_trial

from bench.files import trial_folder, write_text
from bench.protocol import fingerprint_of, load_protocol
from bench.records.comparison import read_comparisons
from bench.records.efficiency import others_alone
from bench.records.folder import load_records
from bench.records.quantities import BY_KEY
from bench.records.record import SCHEMA, Failure, Record, RecordError, as_read, read_record, write_record

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
positive = st.floats(0, 1e300)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
accuracies = st.fixed_dictionaries(
    dict.fromkeys(("val_top1", "test_top1", "test_top5", "test_loss", "macro_f1", "ece"), share)
    | {
        "per_class": st.dictionaries(text, st.dictionaries(text, share, max_size=2), max_size=2),
        "confusion": st.just([])
        | st.lists(st.lists(st.integers(0, 99), min_size=2, max_size=2), min_size=2, max_size=2),
    }
)
histories = st.fixed_dictionaries(
    {name: st.lists(finite, max_size=3) for name in ("train_loss", "val_loss", "extra_loss")}
    | {name: st.lists(share, max_size=3) for name in ("train_top1", "val_top1")}
)
trainings = st.fixed_dictionaries(
    {
        "epochs": st.integers(50, 99),
        "best_epoch": st.integers(0, 50),
        "stopped_early": st.booleans(),
        "seconds": positive,
        "epoch_seconds": st.lists(positive, max_size=3),
        "images_per_second": positive,
        "seconds_to_best": positive,
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


# What a plugin may return, and what may stand in an error: more than JSON has, and more than a file can hold.
wild = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(wild, st.text(st.characters(), max_size=20))
def test_a_record_that_bench_writes_bench_can_read(
    tmp_path_factory: pytest.TempPathFactory, answer: Any, said: str
) -> None:
    """Whatever a plugin measures is refused when it is measured, or comes out as it went in."""
    record = Record.model_validate(minimal(error={"type": "ValueError", "message": "m"}))
    record.error = Failure.of(ValueError(said))
    try:
        record.plugins = {"mine": as_read(answer)}
    except ValueError:
        assert "nan" in repr(answer).lower() or "inf" in repr(answer).lower() or _lone(repr(answer))
    folder = tmp_path_factory.mktemp("record")
    write_record(folder, record)
    found = read_record(folder / "record.json")
    assert found.plugins == record.plugins
    assert found.error is not None and found.error.message


def _lone(text: str) -> bool:
    return "\\ud" in text.lower()


@pytest.mark.parametrize(
    "answer", [{"x": "\ud800"}, {"x": float("nan")}, {"x": {1, 2}}, {"x": b"no text"}, "x" * 11_000_000]
)
def test_what_could_not_be_read_back_is_refused(answer: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        as_read(answer)


def test_what_is_nested_too_deeply_is_refused() -> None:
    answer: Any = 1
    for _ in range(300):
        answer = [answer]
    with pytest.raises(ValueError, match="recursion"):
        as_read(answer)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"accuracy": {"test_top1": 7.5}}, "accuracy.test_top1"),
        ({"accuracy": {"test_top1": -3}}, "accuracy.test_top1"),
        ({"accuracy": {"test_loss": math.inf}}, "accuracy.test_loss"),
        ({"accuracy": {"confusion": [[1, 2], [3]]}}, "confusion has not as many columns as rows"),
        ({"accuracy": {"confusion": [[10**30]]}}, "accuracy.confusion"),
        ({"accuracy": {"confusion": [[1, 0], [0, 1]]}}, "confusion has 2 rows, of 3 classes"),
        ({"training": {"best_epoch": 999}}, "best_epoch is 999, of 3"),
        ({"training": {"seconds": -1}}, "training.seconds"),
        ({"training": {"history": {"val_top1": [1.5]}}}, "training.history.val_top1.0"),
        ({"data": {"test": -100}}, "data.test"),
        ({"model": {"name": "n" * 1_000_000}}, "model.name"),
        ({"efficiency": {"macs": "many"}}, "efficiency.macs"),
        ({"efficiency": {"latency_ms": {"p50": "1.5"}}}, "efficiency.latency_ms.p50"),
        ({"efficiency": {"memory": {"train_peak": 10**400}}}, "efficiency.memory.train_peak"),
        ({"seed": 10**30}, "seed"),
    ],
)
def test_numbers_out_of_range_are_named_with_their_place(part: dict[str, Any], says: str, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text(json.dumps(changed(document(), part)).replace("Infinity", "1e400"))
    with pytest.raises(RecordError, match=re.escape(says)) as error:
        read_record(file)
    assert str(file) in str(error.value) and len(str(error.value)) < 500


def test_a_pipe_in_a_record_s_place_is_no_record_and_makes_nobody_wait(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, "m")
    other = tmp_path / "quick" / "n" / "seed0"
    other.mkdir(parents=True)
    os.mkfifo(other / "record.json")
    (found,), damaged = read_comparisons(tmp_path)
    assert [trial.folder for contender in found.contenders for trial in contender.trials] == [folder]
    assert damaged == [f"{other / 'record.json'}: cannot be read: it is no regular file"]


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
