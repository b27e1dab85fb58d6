"""A protocol is validated, and fingerprinted over what it chooses."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from made import write_trial

from bench import api
from bench.errors import RequestError
from bench.protocol import (
    TAKEN,
    Protocol,
    Train,
    fingerprint_of,
    load_protocol,
    protocol_files,
    setting_names,
    toml_value,
)

NAMES = ["cifar10", "cifar10-scratch", "imagenet-finetune", "probe", "quick"]


def altered(*overrides: str) -> Protocol:
    return load_protocol("quick", overrides)


def shuffled(settings: Any, order: Any) -> Any:
    """The same settings, the keys of every section in another order."""
    if not isinstance(settings, dict):
        return settings
    keys = order.draw(st.permutations(sorted(settings)))
    return {key: shuffled(settings[key], order) for key in keys}


# Zero has two signs, equal but written differently; hence the added 0.0.
shares = st.floats(0, 0.49).map(lambda value: value + 0.0)
settings = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["one", "two"]),
        "description": st.text(max_size=5),
        "seeds": st.lists(st.integers(0, 9), min_size=1, max_size=3),
        "data": st.fixed_dictionaries(
            {
                "dataset": st.sampled_from(["digits", "cifar10"]),
                "image_size": st.integers(8, 64),
                "validation": st.floats(0.01, 0.99),
                "split_seed": st.integers(0, 3),
            }
        ),
        "augmentation": st.fixed_dictionaries({"flip": st.booleans(), "crop": shares}),
        "model": st.fixed_dictionaries(
            {
                "weights": st.sampled_from(["pretrained", "scratch"]),
                "options": st.dictionaries(st.sampled_from("abc"), st.text(max_size=3), max_size=3),
            }
        ),
        "head": st.fixed_dictionaries({"hidden": st.lists(st.integers(1, 99), max_size=2), "dropout": shares}),
        "optimizer": st.fixed_dictionaries(
            {"name": st.sampled_from(["adam", "sgd", "muon"]), "learning_rate": st.floats(1e-6, 1)}
        ),
        "schedule": st.fixed_dictionaries({"name": st.sampled_from(["constant", "cosine", "one-cycle"])}),
        "train": st.fixed_dictionaries(
            {
                "what": st.sampled_from(["full", "last-block", "head"]),
                "epochs": st.integers(1, 9),
                "batch_size": st.integers(2, 9),
                "precision": st.sampled_from(["auto", "fp32"]),
            }
        ),
    }
)


def test_the_bundled_protocols_are_those_of_the_design() -> None:
    assert sorted(protocol_files()) == NAMES
    cifar10 = load_protocol("cifar10")
    assert (cifar10.data.dataset, cifar10.data.image_size, cifar10.data.validation) == ("cifar10", 224, 5000)
    assert (cifar10.model.weights, cifar10.train.what) == ("pretrained", "last-block")
    assert (cifar10.head.hidden, cifar10.head.dropout) == ((256, 256), 0.5)
    assert (cifar10.optimizer.name, cifar10.optimizer.learning_rate) == ("adam", 1e-4)
    assert (cifar10.schedule.name, cifar10.schedule.gamma) == ("exponential", 0.9)
    assert (cifar10.train.batch_size, cifar10.train.epochs, cifar10.train.patience) == (64, 50, 5)
    assert cifar10.seeds == (0, 1, 2)
    quick = load_protocol("quick")
    assert (quick.data.dataset, quick.data.image_size, quick.model.weights) == ("digits", 32, "scratch")
    scratch = load_protocol("cifar10-scratch")
    assert (scratch.data.dataset, scratch.data.image_size, scratch.model.weights) == ("cifar10", 32, "scratch")
    tuned = load_protocol("imagenet-finetune")
    assert (tuned.data.image_size, tuned.model.weights, tuned.train.what) == (224, "pretrained", "full")


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_protocol_bears_the_name_of_its_file_and_says_what_it_is_for(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.name == name
    assert protocol.description


@given(settings, st.data())
def test_the_order_of_keys_does_not_change_the_fingerprint(values: dict[str, Any], order: st.DataObject) -> None:
    assert Protocol.model_validate(shuffled(values, order)).fingerprint == Protocol.model_validate(values).fingerprint


@given(settings, settings)
def test_fingerprints_are_equal_exactly_if_all_that_decides_over_a_trial_is(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = Protocol.model_validate(one), Protocol.model_validate(other)
    of_first, of_second = ({**each.settings(), "seeds": None} for each in (first, second))
    assert (first.fingerprint == second.fingerprint) == (of_first == of_second)


# One of these is valid for any setting, and two of them for nearly all.
CANDIDATES = (
    "true", "false", "0.5", "0.25", "0", "1", "2", "32", "64", "[]", "[4]", "[1e-3, 1e-4]", "{}", "{patch_size=8}",
    "all", "weights", "balanced", "crop", "stretch",
    "digits", "cifar10", "scratch", "pretrained", "adam", "sgd", "constant", "cosine", "full", "head", "auto", "fp32",
)  # fmt: skip
# What those settings need that mean nothing by themselves.
COMPANY = {"augmentation.views": "augmentation.flip=true", "tuning.tries": "tuning.learning_rates=[1e-4, 1e-2]"}
OWN_AFFAIRS = {"name", "description", "exclude", "seeds"}  # which decide over no trial


@pytest.mark.parametrize("setting", sorted(set(setting_names()) - OWN_AFFAIRS))
def test_every_setting_that_decides_over_a_trial_is_in_the_fingerprint(setting: str) -> None:
    found: dict[str, str] = {}
    for candidate in CANDIDATES:
        with contextlib.suppress(RequestError):
            protocol = altered(*filter(None, [COMPANY.get(setting)]), f"{setting}={candidate}")
            found.setdefault(json.dumps(protocol.settings(), sort_keys=True), protocol.fingerprint)
    assert len(found) > 1
    assert len(set(found.values())) == len(found)


class LaterTrain(Train):
    """What a later bench may have: one setting more, which by default changes nothing."""

    label_smoothing: float = 0.0


class LaterProtocol(Protocol):
    train: LaterTrain


@pytest.mark.parametrize("name", NAMES)
def test_a_new_setting_that_by_default_changes_nothing_moves_no_fingerprint(name: str) -> None:
    protocol = load_protocol(name)
    written = protocol.model_dump(mode="json")
    assert LaterProtocol.model_validate(written).fingerprint == protocol.fingerprint
    written["train"]["label_smoothing"] = 0.1
    smoothed = LaterProtocol.model_validate(written)
    assert smoothed.fingerprint != protocol.fingerprint
    # An older bench, which does not know the setting, does not take such a trial for one of its own.
    assert fingerprint_of(smoothed.settings()) == smoothed.fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_a_protocol_file_need_not_name_what_it_leaves_as_it_is(name: str, tmp_path: Path) -> None:
    protocol = load_protocol(name)
    whole = tmp_path / "whole.toml"
    whole.write_text(tomli_w.dumps({**protocol.model_dump(mode="json")}))
    assert load_protocol(str(whole)).fingerprint == protocol.fingerprint


def test_neither_name_nor_description_nor_exclusions_nor_seeds_are_in_the_fingerprint() -> None:
    quick = load_protocol("quick")
    renamed = altered("name=other", 'description="else"', 'exclude={"vgg*"="no"}', "seeds=[7]")
    assert renamed.fingerprint == quick.fingerprint


def test_where_a_folder_lies_is_not_in_the_fingerprint() -> None:
    here, there = (load_protocol("quick", dataset=f"folder:{place}") for place in ("/a/pictures", "b"))
    assert here.fingerprint == there.fingerprint != load_protocol("quick").fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_what_bench_prints_of_a_protocol_is_a_protocol_file_with_the_same_fingerprint(
    name: str, tmp_path: Path
) -> None:
    protocol = load_protocol(name)
    file = tmp_path / "mine.toml"
    file.write_text(tomli_w.dumps({"name": protocol.name, **protocol.settings(), "exclude": protocol.exclude}))
    assert load_protocol(str(file)).fingerprint == protocol.fingerprint


@given(st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.lists(st.integers(0, 9)))
def test_a_value_typed_as_toml_is_read_back(value: Any) -> None:
    text = tomli_w.dumps({"value": value}).partition("=")[2].strip()
    read = toml_value(text)
    assert (read, type(read)) == (value, type(value))


@given(st.from_regex(r"[a-z][a-z0-9_/:.-]{0,20}", fullmatch=True).filter(lambda word: word not in BARE_WORDS))
def test_a_bare_word_is_itself(word: str) -> None:
    assert toml_value(word) == word


BARE_WORDS = {"true", "false", "inf", "nan"}  # these TOML knows


@given(st.text(max_size=30))
def test_any_text_is_some_value(text: str) -> None:
    toml_value(text)


@given(st.integers(1, 10_000), st.floats(1e-9, 10), st.booleans(), st.lists(st.integers(1, 999), max_size=3))
def test_set_changes_that_setting_and_no_other(epochs: int, rate: float, flip: bool, hidden: list[int]) -> None:
    overrides = {
        "train.epochs": epochs,
        "optimizer.learning_rate": rate,
        "augmentation.flip": flip,
        "head.hidden": hidden,
    }
    changed = altered(*(f"{key}={json.dumps(value)}" for key, value in overrides.items()))
    expected = load_protocol("quick").settings()
    for key, value in overrides.items():
        section, _, last = key.partition(".")
        expected[section][last] = value
    assert changed.settings() == expected


@pytest.mark.parametrize(
    "overrides, dataset, says",
    [
        ([], None, "scikit-learn's embedded digits"),
        (["train.epochs=1"], None, "quick with train.epochs=1"),
        (["train.epochs=1"], "folder:/home/me/photos", "quick with data.dataset=folder:photos, train.epochs=1"),
        (["data.dataset='folder:/home/me/photos'"], None, "quick with data.dataset=folder:photos"),
        (["description=of my own", "train.epochs=1"], None, "of my own"),
    ],
)
def test_a_description_of_other_settings_than_the_trials_gives_way_to_what_was_changed(
    overrides: list[str], dataset: str | None, says: str
) -> None:
    protocol = load_protocol("quick", overrides, dataset)
    assert protocol.description.startswith(says)
    assert ("embedded digits" in protocol.description) is not bool(overrides or dataset)


def test_of_two_overrides_of_a_setting_the_later_one_counts() -> None:
    assert altered("train.epochs=5", "train.epochs=6").train.epochs == 6


def test_an_override_may_have_spaces_around_its_key() -> None:
    assert altered(" train.epochs = 5").train.epochs == 5


REFUSED = {
    "train.epoch=5": "did you mean train.epochs",
    "epochs=5": "unknown setting 'epochs'",
    "train.epochs": "write key=value",
    "train.epochs=0": "train.epochs = 0",
    "train.epochs=many": "train.epochs = 'many'",
    "train.epochs=2.5": "train.epochs = 2.5",
    "train.epochs.more=2": "epochs is a value, not a section",
    "train=5": "train = 5",
    "train.batch_size=1": "batch norm cannot train on one picture",
    "train.what=everything": "'full', 'last-block', 'head' or 'probe'",
    "train.precision=fp8": "train.precision = 'fp8'",
    "train.limit=-1": "train.limit = -1",
    "data.image_size=7": "data.image_size = 7",
    "data.validation=0": "data.validation = 0",
    "data.validation=inf": "data.validation",
    "data.split_seed=-1": "data.split_seed = -1",
    "seeds=[]": "seeds",
    "seeds=[-1]": "seeds",
    "head.hidden=[0]": "head.hidden",
    "head.hidden=[-5]": "head.hidden",
    "head.dropout=1": "head.dropout = 1",
    "augmentation.crop=0.5": "augmentation.crop = 0.5",
    "optimizer.name=adagrad": "'adam', 'adamw', 'sgd' or 'muon'",
    "optimizer.learning_rate=0": "optimizer.learning_rate = 0",
    "optimizer.learning_rate=nan": "optimizer.learning_rate",
    "optimizer.learning_rate=inf": "optimizer.learning_rate",
    "optimizer.weight_decay=inf": "optimizer.weight_decay",
    "schedule.name=linear": "schedule.name = 'linear'",
    "schedule.gamma=1.5": "schedule.gamma = 1.5",
    "name=../elsewhere": "name = '../elsewhere'",
    "name=reference": "reference",
}


@pytest.mark.parametrize(("override", "says"), REFUSED.items())
def test_a_wrong_override_is_refused_in_words_that_name_it(override: str, says: str) -> None:
    with pytest.raises(RequestError) as refused:
        altered(override)
    assert says in str(refused.value)


def test_a_protocol_with_batches_of_one_may_train_the_head_alone() -> None:
    assert altered("train.batch_size=1", "train.what=head").train.batch_size == 1


def test_an_unknown_protocol_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(RequestError, match=r"unknown protocol 'cifar': did you mean cifar10"):
        load_protocol("cifar")


def test_a_missing_protocol_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nowhere\.toml: no such file"):
        load_protocol(str(tmp_path / "nowhere.toml"))


BROKEN_FILES = {
    "not TOML": (b'name = "x"\nseeds = [0\n[data]\n', "line 3"),
    "not text": (b"name = '\xff'\n", "UTF-8"),
    "without a section": (b'name = "x"\nseeds = [0]\n', "data is missing"),
    "a value for a section": (b'name = "x"\nseeds = [0]\ndata = 5\n', "data = 5"),
}


@pytest.mark.parametrize("kind", BROKEN_FILES)
@pytest.mark.parametrize("dataset", [None, "digits"])
def test_a_broken_protocol_file_is_refused_in_words_that_name_the_fault(
    kind: str, dataset: str | None, tmp_path: Path
) -> None:
    content, says = BROKEN_FILES[kind]
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    if (kind, dataset) == ("without a section", "digits"):
        says = "data.image_size is missing"
    if (kind, dataset) == ("a value for a section", "digits"):
        says = "data"
    with pytest.raises(RequestError, match=says) as refused:
        load_protocol(str(file), dataset=dataset)
    assert "mine.toml" in str(refused.value)


def test_a_protocol_leaves_out_models_by_pattern_and_says_why() -> None:
    quick = load_protocol("quick")
    assert "86 M" in (quick.why_excluded("vit_base") or "")
    assert quick.why_excluded("vit_tiny") is None


ABSURD = {
    "brackets": "a = " + "[" * 100_000,
    "brackets line by line": "a = [\n" + "[\n" * 1_000,
    "tables": "a = " + "{a = " * 60,
    "digits": "seed = " + "9" * 5_000,
    "more digits": "seed = " + "9" * 50_000,
    "parts": ".".join(["a"] * 50_000) + " = 1",
    "parts on short lines": ".".join(["a"] * 900) + " = 1",
    "bytes": "# " + "x\n" * 600_000,
}


@pytest.mark.parametrize("what", ABSURD)
def test_what_no_protocol_would_be_is_refused_in_a_line_and_at_once(what: str, tmp_path: Path) -> None:
    file = tmp_path / "absurd.toml"
    file.write_text(ABSURD[what])
    began = time.monotonic()
    with pytest.raises(RequestError, match=r"absurd\.toml") as error:
        load_protocol(str(file))
    assert time.monotonic() - began < 2
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda content: content.decode("latin-1")))
def test_any_text_is_a_protocol_or_refused_in_a_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("any") / "any.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError) as error:
        load_protocol(str(file))
    assert "any.toml" in str(error.value)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_override_is_taken_or_refused(key: str, value: str) -> None:
    with contextlib.suppress(RequestError):
        load_protocol("quick", [f"{key}={value}"])


def test_a_mark_that_an_editor_put_first_is_no_part_of_a_protocol(tmp_path: Path) -> None:
    file = tmp_path / "marked.toml"
    file.write_bytes(b"\xef\xbb\xbf" + protocol_files()["quick"].read_bytes())
    assert load_protocol(str(file)) == load_protocol("quick")


@pytest.mark.parametrize("name", ["reference", "measure", "trainable", "index.html", "Findings.md", "q" * 300])
def test_names_that_a_results_folder_has_already_or_no_folder_can_have_are_refused(name: str) -> None:
    with pytest.raises(RequestError, match="name = "):
        load_protocol("quick", [f"name={name}"])


def test_every_file_that_a_report_writes_is_taken_as_a_name(tmp_path: Path) -> None:
    write_trial(tmp_path, "m")
    api.report(tmp_path, texts=())
    beside = {one.name.lower() for one in tmp_path.iterdir() if not one.name.startswith(".")} - {"quick"}
    assert beside <= TAKEN


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(RequestError, match=r"seeds\.0 = "):
        load_protocol("quick", [f"seeds=[{seed}]"])
