"""Records made up for tests, in one way: a document with parts replaced; and results folders of such."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import file_name, trial_folder, write_text
from bench.records.record import SCHEMA, read_record
from bench.records.scores import scores
from bench.records.sessions import next_file

CLASSES = ("cat", "dog", "ship")


def answers(share: float, pictures: int = 200, seed: int = 0) -> np.ndarray:
    """Which pictures a model gets right that gets that share of them right, at random."""
    return np.random.default_rng(seed).permutation(pictures) < round(share * pictures)


def document(name: str = "m", /, **parts: Any) -> dict[str, Any]:
    """A trial's record that ended well, as plain JSON values.

    `parts` replaces parts of it; a dict is merged into the part of that name, and into those within it.
    """
    settings = {"schedule": {"name": "constant"}, "train": {"epochs": 3}}
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "status": "ok",
        "seed": 0,
        "seconds": 12.5,
        "model": {"name": name, "plugin": "p", "family": "cnn", "source": "", "options": {},
                  "params": 2_000_000, "trainable_params": 1_000_000},
        "protocol": {"name": "quick", "fingerprint": fingerprint(settings), "settings": settings},
        "data": {"name": "digits", "fingerprint": fingerprint("digits"), "classes": list(CLASSES),
                 "train": 1000, "val": 100, "test": 200},
        "environment": {"device": "Some CPU", "device_kind": "cpu", "threads": 2, "precision": "fp32",
                        "torch": "2.13", "git": {"commit": "abc", "dirty": False}},
        "accuracy": {"val_top1": 0.8, "test_top1": 0.8, "test_top5": 1.0, "test_loss": 1.0,
                     "macro_f1": 0.8, "ece": 0.05, "per_class": {}, "confusion": []},
        "training": {"epochs": 3, "best_epoch": 2, "stopped_early": False, "seconds": 9.0,
                     "epoch_seconds": [1.0, 1.0, 1.0], "images_per_second": 100.0, "seconds_to_best": 6.0,
                     "history": {"train_loss": [2.0, 1.5, 1.0], "val_loss": [2.0, 1.0, 1.5],
                                 "train_top1": [0.5, 0.82, 0.9], "val_top1": [0.6, 0.8, 0.7]}},
        "efficiency": {"macs": 1_000_000_000, "activations": 1_000_000, "memory": {"train_peak": 100_000_000},
                       "latency_ms": {"p50": 10.0, "ci95": [9.5, 10.5], "disturbed": None}},
    }  # fmt: skip
    merged: dict[str, Any] = changed(made, parts)
    return merged


def changed(old: Any, new: Any) -> Any:
    """The old value with the new one merged into it."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: changed(old.get(key), value) for key, value in new.items()}}
    return new


def fingerprint(value: Any) -> str:
    """One for each value, and 64 characters long as a real one."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_trial(
    results: Path,
    name: str,
    right: Sequence[bool] | np.ndarray | None = None,
    /,
    *,
    seed: int = 0,
    protocol: str = "quick",
    settings: dict[str, Any] | None = None,
    data: str = "digits",
    predictions: bool = True,
    **parts: Any,
) -> Path:
    """Write a trial that got those pictures right (200, four in five of them, by default); its folder.

    `parts` as of `document`.
    """
    right = np.asarray(answers(0.8, seed=seed) if right is None else right)
    label = np.arange(len(right)) % len(CLASSES)
    predicted = np.where(right, label, (label + 1) % len(CLASSES))
    probabilities = np.eye(len(CLASSES), dtype=np.float32)[predicted]
    made = document(
        name,
        seed=seed,
        protocol={"name": protocol},
        data={"name": data, "fingerprint": fingerprint(data), "test": len(right)},
        accuracy=scores(probabilities, label, CLASSES),
    )
    if settings:
        made["protocol"] |= {"settings": settings, "fingerprint": fingerprint(settings)}
    record = changed(made, parts)
    folder = trial_folder(results / protocol, name, seed)
    write_text(folder / "record.json", json.dumps(record))
    if predictions and record["status"] == "ok" and "accuracy" not in parts:  # else they would contradict it
        np.savez_compressed(
            folder / "predictions.npz", index=np.arange(len(right)), label=label, probabilities=probabilities
        )
    return folder


def write_predictions(folder: Path) -> None:
    """Write predictions with the confusion of the record in that folder, right ones first in each class.

    The answers are certain of themselves, as the record then says, too.
    """
    document = json.loads((folder / "record.json").read_bytes())
    confusion = np.array(document["accuracy"]["confusion"])
    classes = range(len(confusion))
    label = np.repeat(classes, confusion.sum(1))
    order = [sorted(classes, key=lambda taken: (taken != true, taken)) for true in classes]
    predicted = np.concatenate([np.repeat(order[true], confusion[true][order[true]]) for true in classes])
    probabilities = np.eye(len(confusion), dtype=np.float32)[predicted]
    np.savez_compressed(
        folder / "predictions.npz", index=np.arange(len(label)), label=label, probabilities=probabilities
    )
    document["accuracy"] |= scores(probabilities, label, document["data"]["classes"])
    write_text(folder / "record.json", json.dumps(document))


def write_failure(results: Path, model: str, seed: int = 0, message: str = "no memory left", **more: Any) -> Path:
    """Write a trial that ran out of memory."""
    error = {"type": "oom", "message": message}
    return write_trial(
        results, model, seed=seed, status="oom", error=error,
        accuracy=None, training=None, efficiency=None, environment=None, **more,
    )  # fmt: skip


def write_measurement(
    results: Path, model: str, *, macs: dict[str, int], params: int = 1_000_000, activations: int = 1_000_000,
    image_size: int = 224, step_seconds: float = 1.0,
) -> None:  # fmt: skip
    """Write a measurement with those MACs by operator."""
    document = {
        "status": "ok",
        "model": {"name": model, "params": params},
        "settings": {"image_size": image_size, "classes": 1000, "train_batch": 8},
        "environment": {"device": "Some CPU"},
        "efficiency": {"macs": sum(macs.values()), "macs_by_operator": macs, "activations": activations,
                       "train_step": {"seconds": step_seconds}},
    }  # fmt: skip
    folder = trial_folder(results / "measure", model, 0).parent / f"{image_size}px-fp32"
    write_text(folder / "measurement.json", json.dumps(document))


def write_session(
    folder: Path,
    milliseconds: dict[str, float],
    *,
    series: str = "latency",
    share: float = 0.01,
    others: float = 0.0,
    own: dict[str, float] | None = None,
    **changes: Any,
) -> Path:
    """Write a timing session into that protocol's folder, of models whose records lie there; its file.

    Each model's interval reaches by `share` of its time each way, all rounds alike for all models; `own` widens the
    ratios of a model, whose blocks alternate by that share. `others` are the cores that others kept busy throughout.
    """
    models = []
    for name, time in milliseconds.items():
        record = read_record(next((folder / file_name(name)).glob("seed*/record.json")))
        wobble = (own or {}).get(name, 0.0)
        blocks = [
            1e-3 * time * (1 + part * share) * (1 + wobble * (-1) ** block) for block, part in enumerate([-1, 0, 1] * 4)
        ]
        rounds = [block for block in blocks for _ in range(2)]
        models.append({"name": name, "code": record.model.code, "weights": "0" * 64,
                       "series": {series: {"images": 1, "rounds": rounds}}})  # fmt: skip
    made = {
        "schema": 1, "protocol": record.protocol.fingerprint, "data": record.data.fingerprint, "way": None,
        "environment": record.environment, "settings": {}, "quiet_cores": 0.2,
        "others": {series: [others] * 12}, "models": models,
    }  # fmt: skip
    file = next_file(folder)
    write_text(file, json.dumps(changed(made, changes)))
    return file
