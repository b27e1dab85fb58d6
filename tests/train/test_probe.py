"""A linear probe: what scikit-learn fits on the frozen features, its L2 chosen by validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from beside import BESIDE
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from bench import RequestError
from bench.data.cache import Stored
from bench.plugins import Registry
from bench.protocol import Protocol, load_protocol
from bench.records.record import Record, Training
from bench.request import Place, TrialSpec
from bench.run.prepare import prepare
from bench.run.trial import run as run_trial
from bench.train.probe import STRENGTHS, fit_probe

Made = Callable[..., Protocol]


@pytest.fixture
def probe(tiny_protocol: Made) -> Protocol:
    return tiny_protocol("train.what=probe", "train.epochs=1", *PLAIN)


PLAIN = ("augmentation.flip=false", "augmentation.crop=0", "head.hidden=[]", "train.precision=fp32")


def test_the_head_is_what_scikit_learn_fits_on_standardised_features(
    registry: Registry, digits: Stored, probe: Protocol
) -> None:
    made = prepare(registry.model("tiny"), probe, digits, 0, "cpu")
    train, val = made.batches["train"], made.batches["val"]
    before = {name: one.clone() for name, one in made.model.backbone.state_dict().items()}
    found = fit_probe(made.model, train, val, probe, digits.classes, "fp32")
    assert all(torch.equal(one, before[name]) for name, one in made.model.backbone.state_dict().items())

    def features(batches: object) -> np.ndarray:
        with torch.no_grad():
            return torch.cat([made.model.backbone(images) for images, _ in batches.in_order()]).numpy()  # type: ignore[attr-defined]

    assert found.tuning is not None
    tries = {one["l2"]: one for one in found.tuning["tries"]}
    assert tuple(tries) == STRENGTHS
    scores = {}
    for l2 in STRENGTHS:
        solver = LogisticRegression(C=1 / (2 * l2 * len(train)), max_iter=3000, tol=1e-6)
        pipeline = make_pipeline(StandardScaler(), solver).fit(features(train), train.labels)
        scores[l2] = pipeline.score(features(val), val.labels)
        if tries[l2]["converged"]:
            assert tries[l2]["val_top1"] == pytest.approx(scores[l2], abs=1.5 / len(val)), l2
        if l2 == found.tuning["chosen_l2"]:
            expected = pipeline.predict_proba(features(val))
    assert tries[found.tuning["chosen_l2"]]["val_top1"] == max(one["val_top1"] for one in tries.values())
    made.model.eval()
    with torch.no_grad():
        given = torch.cat([made.model(images) for images, _ in val.in_order()]).softmax(1).numpy()
    assert np.abs(given - expected).max() < 0.02
    assert found.history.val_top1 == [pytest.approx(float((given.argmax(1) == val.labels.numpy()).mean()))]


def test_a_trial_of_it_is_recorded_like_any_other_and_every_seed_gives_the_same(
    digits: Stored, probe: Protocol, tiny_plugins: Path, tmp_path: Path
) -> None:
    def trial(seed: int) -> Record:
        place = Place(device="cpu", plugins=(tiny_plugins,), working_directory=tmp_path)
        return run_trial(TrialSpec("tiny", seed, probe, digits, tmp_path / str(seed), place, way=BESIDE))

    record = trial(0)
    assert record.status == "ok" and record.training is not None and record.accuracy is not None
    assert record.training.epochs == record.training.best_epoch == 1
    assert record.accuracy.test_top1 > 0.5 and record.accuracy.val_top1 == record.training.history.val_top1[0]
    assert record.efficiency is not None and record.efficiency.macs
    # Another seed begins with another backbone, so only the same one has to give the same.
    assert (tmp_path / "0" / "model.safetensors").is_file()
    again = trial(0)
    assert again.accuracy == record.accuracy


def test_two_classes_and_weights_of_classes(registry: Registry, digits: Stored, probe: Protocol) -> None:
    made = prepare(registry.model("tiny"), probe, digits, 0, "cpu")
    train, val = made.batches["train"], made.batches["val"]
    train.labels, val.labels = (torch.where(one.labels == 3, 1, 0) for one in (train, val))
    model, classes = made.model, ["others", "three"]
    (head,) = model.head.children()
    model.head = type(model.head)(torch.nn.Linear(head.in_features, 2))  # type: ignore[arg-type]

    def found(weights: str) -> float:
        """The share that is said to be threes."""
        weighed = probe.model_copy(update={"loss": probe.loss.model_copy(update={"class_weights": weights})})
        fit_probe(model, train, val, weighed, classes, "fp32")
        with torch.no_grad():
            said = torch.cat([model.eval()(images) for images, _ in val.in_order()]).argmax(1)
        return float(said.float().mean())

    assert found("balanced") > found("none")


def test_features_that_do_not_fit_are_computed_in_parts_where_that_is_asked_for(
    registry: Registry, digits: Stored, probe: Protocol
) -> None:
    def fill(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        if len(given[0]) > 9:
            raise MemoryError

    def fitted(hook: Callable[..., None] | None, warn: Callable[[str], None] | None) -> Training:
        one = prepare(registry.model("tiny"), probe, digits, 0, "cpu")
        if hook is not None:
            one.model.backbone.register_forward_pre_hook(hook)
        return fit_probe(one.model, one.batches["train"], one.batches["val"], probe, digits.classes, "fp32", warn)

    told: list[str] = []
    whole, parts = fitted(None, told.append), fitted(fill, told.append)
    size = probe.train.batch_size
    assert whole.micro_batch is None and parts.micro_batch is not None and parts.micro_batch <= 9
    assert told[0].startswith(f"out of memory in parts of {size} pictures: features are computed of {(size + 1) // 2}")
    assert parts.history.val_top1 == whole.history.val_top1
    with pytest.raises(MemoryError):
        fitted(fill, None)


REFUSED = {
    "augmentation.flip=true": "leave out augmentation",
    "head.hidden=[8]": "leave out head.hidden",
    "train.epochs=2": "leave out train.epochs above 1",
    "tuning.learning_rates=[1e-3]": "leave out tuning",
    "loss.label_smoothing=0.1": "leave out loss.label_smoothing",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_means_nothing_to_a_probe_is_refused(setting: str) -> None:
    with pytest.raises(RequestError, match=REFUSED[setting]):
        load_protocol("probe", [setting])


def test_an_extension_that_adds_what_has_to_be_trained_is_refused(registry: Registry, digits: Stored) -> None:
    protocol = load_protocol("probe", ["data.dataset=digits", "data.image_size=32", "model.weights=scratch"])
    model = registry.model("vit_tiny:patch_size=8+token_learner")
    with pytest.raises(RequestError, match="would stay as they begin"):
        prepare(model, protocol, digits, 0, "cpu")
