"""The page: its data is what the records say, its text is only text, it loads nothing, and it stays small."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
from made import changed, write_session

from bench.files import trial_folder
from bench.records.comparison import Comparison, Trial, comparisons, read_comparisons
from bench.records.quantities import QUANTITIES
from bench.records.record import Record, write_record
from bench.report.judge.intervals import estimate
from bench.report.judge.marks import marks
from bench.report.judge.verdict import Verdicts
from bench.report.page import data as data_module
from bench.report.page.data import POINTS, page_data
from bench.report.page.html import artifacts, make

RECORDS = Path(__file__).resolve().parents[2] / "copies" / "quick"
HOSTILE = "</script><script>alert(1)</script>"
ATTRIBUTE = '"><img src=x onerror=alert(2)>&amp;\u2028'
INDEX = {quantity.key: number for number, quantity in enumerate(QUANTITIES)}


def document(model: str, seed: int = 0, /, **changes: Any) -> dict[str, Any]:
    """A published record as plain JSON, its parts changed: `document("vgg19", accuracy={"test_top1": 0.5})`."""
    found: dict[str, Any] = json.loads((RECORDS / model / "seed0" / "record.json").read_bytes())
    return cast(dict[str, Any], changed(found, {"seed": seed, **changes}))


def failed(name: str, status: str, message: str, seed: int = 0, **model: Any) -> dict[str, Any]:
    """A record of a trial that ended in that way."""
    error = {"type": status, "message": message}
    changes = {"accuracy": None, "training": None, "efficiency": None, "environment": None}
    return document("vgg19", seed, status=status, error=error, model={"name": name, **model}, **changes)


def write(folder: Path, documents: Iterable[dict[str, Any]]) -> list[Comparison]:
    """The comparisons of a protocol's folder with these records."""
    for one in documents:
        record = Record.model_validate(one)
        write_record(trial_folder(folder, record.model.name, record.seed), record)
    found, damaged = read_comparisons(folder.parent)
    assert not damaged
    return found


def three_seeds(model: str) -> list[dict[str, Any]]:
    """Trials of one model that differ in accuracy and latency."""
    base = document(model)
    latency = base["efficiency"]["latency_ms"]
    return [
        document(
            model,
            seed,
            accuracy={"test_top1": base["accuracy"]["test_top1"] - 0.01 * seed},
            efficiency={"latency_ms": {**latency, "p50": latency["p50"] * (1 + 0.01 * seed), "disturbed": None}},
        )
        for seed in (0, 1, 2)
    ]


class Reader(HTMLParser):
    """The elements of a page, its text, and what stands in its scripts and its style."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[int, str] = {}
        self.open = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = True

    def handle_data(self, data: str) -> None:
        if self.open:
            at = len(self.elements) - 1
            self.inside[at] = self.inside.get(at, "") + data

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def texts(self, tag: str) -> list[str]:
        return [self.inside.get(at, "") for at, (name, _) in enumerate(self.elements) if name == tag]


def embedded_data(page: bytes) -> Any:
    return json.loads(Reader(page).texts("script")[0])


def test_values_and_intervals_are_those_of_the_quantities(tmp_path: Path) -> None:
    found = write(tmp_path / "quick", [*three_seeds("vgg19"), document("vit_tiny")])
    (shown,) = page_data(tmp_path, found)["comparisons"]
    (comparison,) = found
    assert [model["name"] for model in shown["models"]] == [contender.model for contender in comparison.contenders]
    for model, contender in zip(shown["models"], comparison.contenders, strict=True):
        for quantity, value in zip(QUANTITIES, model["values"], strict=True):
            expected = estimate(quantity, contender)
            if expected is None:
                assert value is None
                continue
            assert value[0] == pytest.approx(expected.mean, rel=1e-5)
            assert len(value) == (1 if expected.low is None else 3)
            assert value[1:] == pytest.approx([expected.low, expected.high][: len(value) - 1], rel=1e-5)


def test_each_seed_is_there_and_each_trial_leads_to_its_record(tmp_path: Path) -> None:
    found = write(tmp_path / "quick", [*three_seeds("vgg19"), failed("vgg19", "oom", "no room", seed=3)])
    data = page_data(tmp_path, found)
    (comparison,) = data["comparisons"]
    (model,) = comparison["models"]
    top1 = [document("vgg19")["accuracy"]["test_top1"] - 0.01 * seed for seed in range(3)]
    assert [row["seed"] for row in model["by_seed"]] == [0, 1, 2]
    assert [row["values"][INDEX["accuracy"]] for row in model["by_seed"]] == pytest.approx(
        [100 * value for value in top1]
    )
    assert comparison["name"] == "quick"
    assert [(trial["seed"], trial["status"], trial["reason"]) for trial in model["trials"]] == [
        (0, "ok", ""), (1, "ok", ""), (2, "ok", ""), (3, "oom", "no room"),
    ]  # fmt: skip
    assert all((tmp_path / trial["record"]).is_file() for trial in model["trials"])


def test_a_models_detail_is_what_its_records_have(tmp_path: Path) -> None:
    found = write(tmp_path / "quick", three_seeds("vit_tiny"))
    ((model,),) = (one["models"] for one in page_data(tmp_path, found)["comparisons"])
    record = document("vit_tiny")
    detail = model["detail"]
    assert detail["confusion"] == [[3 * cell for cell in row] for row in record["accuracy"]["confusion"]]
    for name, values in zip(record["data"]["classes"], detail["report"], strict=True):
        expected = record["accuracy"]["per_class"][name]
        assert values == pytest.approx([expected[key] for key in ("precision", "recall", "f1", "support")], rel=1e-3)
    assert [curve["seed"] for curve in detail["curves"]] == [0, 1, 2]
    assert detail["curves"][0]["best"] == record["training"]["best_epoch"]
    assert detail["curves"][0]["val_top1"] == pytest.approx(record["training"]["history"]["val_top1"], rel=1e-3)
    assert model["disturbed"] == {}
    text = json.dumps(model)
    assert "patch_embed" not in text  # what the page does not show is not in it


def test_what_disturbed_a_measurement_is_said(tmp_path: Path) -> None:
    write(tmp_path / "q", [document("vit_tiny")])
    write_session(tmp_path / "q", {"vit_tiny": 10.0}, others=1.0)
    comparisons, _ = read_comparisons(tmp_path)
    ((model,),) = (one["models"] for one in page_data(tmp_path, comparisons)["comparisons"])
    assert "other processes were at work in 12 of 12" in model["disturbed"]["latency_ms"]
    assert "gelu" in model["notes"][0]


def test_different_fingerprints_are_different_comparisons(tmp_path: Path) -> None:
    other = document("vgg19", seed=1)
    other["data"]["fingerprint"] = "f" * 64
    found = write(tmp_path / "quick", [document("vgg19"), document("vit_tiny"), other])
    shown = page_data(tmp_path, found)["comparisons"]
    assert sorted(len(one["models"]) for one in shown) == [1, 2]
    assert len({one["name"] for one in shown}) == 2


def test_no_name_or_text_becomes_a_part_of_the_page(tmp_path: Path) -> None:
    hostile = document(
        "vit_tiny", model={"name": HOSTILE, "family": ATTRIBUTE, "source": HOSTILE, "options": {HOSTILE: ATTRIBUTE}}
    )
    hostile["data"]["classes"] = [ATTRIBUTE, *hostile["data"]["classes"][1:]]
    found = write(tmp_path / "<img src=x>&", [hostile, failed("other", "error", HOSTILE)])
    page = make(tmp_path, found)
    names = [name for name, _ in Reader(page).elements]
    assert names.count("script") == 2
    assert not {"img", "b"} & set(names)
    assert not [a for _, attributes in Reader(page).elements for a in attributes if a.startswith("on")]
    assert b"alert(1)</" not in page and "\u2028" not in page.decode()
    data = embedded_data(page)
    assert HOSTILE in {model["name"] for model in data["comparisons"][0]["models"]}
    assert data == json.loads(json.dumps(page_data(tmp_path, found)))
    assert "<img src=x>&" in Reader(page).texts("li")[0]


def test_its_policy_allows_its_own_script_and_style_and_nothing_else(tmp_path: Path) -> None:
    page = Reader(make(tmp_path, write(tmp_path / "quick", [document("vgg19")])))
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in str(policy).split("; "))

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == digest(page.texts("script")[1])
    assert rules["style-src"] == digest(page.texts("style")[0])
    assert not [a for _, a in page.elements if {"src", "style"} & set(a)]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", page.texts("script")[1])


def test_it_is_made_where_nothing_ended_well_and_not_where_nothing_is(tmp_path: Path) -> None:
    found = write(tmp_path / "quick", [failed("gone", "crashed", "ended by SIGKILL")])
    ((model,),) = (one["models"] for one in embedded_data(make(tmp_path, found))["comparisons"])
    assert model["detail"] is None
    assert model["trials"][0]["reason"] == "ended by SIGKILL"
    assert list(artifacts(tmp_path, [])) == []


def test_values_are_marked_as_in_the_tables(tmp_path: Path) -> None:
    found = write(tmp_path / "quick", [document("vgg19"), document("vit_tiny"), document("densenet201")])
    verdicts = Verdicts.of(found[0])
    given = {quantity.key: marks(verdicts.on(quantity)) for quantity in QUANTITIES}
    for place, model in enumerate(page_data(tmp_path, found)["comparisons"][0]["models"]):
        assert model["marks"] == {key: own[place] for key, own in given.items() if place in own}
    assert given["gmacs"]


def test_the_same_records_give_the_same_bytes_and_others_another_digest(tmp_path: Path) -> None:
    found = write(tmp_path / "quick", [document("vgg19"), document("vit_tiny")])
    (artifact,) = artifacts(tmp_path, found)
    assert artifact.file == tmp_path / "index.html"
    assert pickle.loads(pickle.dumps(artifact.make))() == artifact.make()
    (again,) = artifacts(tmp_path, read_comparisons(tmp_path)[0])
    assert again.inputs == artifact.inputs
    (changed,) = artifacts(tmp_path, write(tmp_path / "quick", [document("vgg19", accuracy={"test_top1": 0.5})]))
    assert changed.inputs != artifact.inputs


def many(count: int, classes: int, epochs: int) -> list[Comparison]:
    """Trials of as many models, with all that can make a record long."""
    base = document("vgg19")
    base["data"]["classes"] = [f"class {number}" for number in range(classes)]
    base["accuracy"]["confusion"] = [[number % 97 + 100 for number in range(classes)]] * classes
    scores = {"precision": 0.123456, "recall": 0.234567, "f1": 0.345678, "support": 100}
    base["accuracy"]["per_class"] = dict.fromkeys(base["data"]["classes"], scores)
    curve = [1 / (epoch + 3) for epoch in range(epochs)]
    base["training"]["history"] = dict.fromkeys(("train_loss", "val_loss", "train_top1", "val_top1"), curve)
    base["training"] |= {"best_epoch": max(1, epochs - 5), "epochs": epochs}
    record = Record.model_validate(base)
    assert record.accuracy is not None
    trials = []
    for number in range(count):
        name = f"model{number:05}:depth={number},width={number * 3}"
        model = record.model.model_copy(update={"name": name})
        accuracy = record.accuracy.model_copy(update={"test_top1": 1 - number / count / 2})
        own = record.model_copy(update={"model": model, "accuracy": accuracy})
        trials.append(Trial(Path("results") / "big" / name / "seed0", own))
    return comparisons(trials)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "epochs"), [(10, 50), (30, 300)])
def test_500_records_stay_under_6_megabytes(classes: int, epochs: int) -> None:
    page = make(Path("results"), many(500, classes, epochs))
    assert len(page) < 6_000_000
    (comparison,) = embedded_data(page)["comparisons"]
    assert len(comparison["models"]) == 500
    detailed = [model["detail"] is not None for model in comparison["models"]]
    assert detailed == sorted(detailed, reverse=True)  # where there is no room for all, the best have it
    assert detailed[0] and all(detailed) == (epochs == 50)


def test_details_beyond_the_limit_are_left_out_and_the_rest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found = many(4, 10, 10)
    whole = page_data(Path("results"), found)["comparisons"][0]["models"]
    monkeypatch.setattr(data_module, "DETAIL_LIMIT", 2 * len(data_module.embedded(whole[0]["detail"])))
    models = page_data(Path("results"), found)["comparisons"][0]["models"]
    assert [model["detail"] is not None for model in models] == [True, True, False, False]
    assert [{**model, "detail": 0} for model in models] == [{**model, "detail": 0} for model in whole]


def test_a_long_curve_keeps_its_best_and_its_last_epoch() -> None:
    (curve,) = page_data(Path("results"), many(1, 2, 1000))["comparisons"][0]["models"][0]["detail"]["curves"]
    assert len(curve["epochs"]) <= POINTS + 2
    assert {1, 995, 1000} <= set(curve["epochs"])
    best = curve["epochs"].index(995)
    assert curve["val_loss"][best] == pytest.approx(1 / 997, rel=1e-3)


def test_of_many_classes_the_most_frequent_confusions_are_listed() -> None:
    comparison = many(1, 40, 2)
    accuracy = comparison[0].contenders[0].trials[0].record.accuracy
    assert accuracy is not None
    accuracy.confusion = [[0] * 40 for _ in range(40)]
    accuracy.confusion[3][5], accuracy.confusion[3][3], accuracy.confusion[7][1] = 8, 2, 9
    detail = page_data(Path("results"), comparison)["comparisons"][0]["models"][0]["detail"]
    assert detail["confusion"] is None
    assert detail["confused"] == [[7, 1, 9, 9], [3, 5, 8, 10]]
