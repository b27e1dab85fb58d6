"""How long a report takes, and the tables of a run, and how that grows with the records.

    python benchmarks/records.py [COUNT…]          times of a report; by default of 100, 1,000 and 10,000 records
    python benchmarks/records.py --run COUNT        times of what a run of so many trials writes beside its records
    python benchmarks/records.py --write DIR COUNT  only writes so many records, for looking at

The records are made from the published ones: as large, of as many models, with numbers of their own; three seeds, at
most a hundred to a protocol, and one in twenty failed. Beside each lie predictions of 200 pictures.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import trial_folder
from bench.records.comparison import comparisons, read_comparisons, read_trials
from bench.report.make.report import FIGURES, check, collect, make_report
from bench.report.tables.folder_page import write_page, write_tables

REFERENCE = Path(__file__).parent.parent / "results" / "reference" / "quick"
SEEDS = 3
OF_A_PROTOCOL = 33  # models
TEST_PICTURES, CLASSES = 200, 10


def write_records(folder: Path, count: int, of_a_protocol: int = OF_A_PROTOCOL) -> None:
    """Write `count` synthetic records, of so many models a protocol, as a results folder; the same ones each time."""
    random = np.random.default_rng(0)
    published = [json.loads(file.read_bytes()) for file in sorted(REFERENCE.glob("*/seed0/record.json"))]
    for number in range(count):
        model, seed = divmod(number, SEEDS)
        protocol, model = divmod(model, of_a_protocol)
        document = changed(published[model % len(published)], random, f"study{protocol}", model, seed)
        place = trial_folder(folder / f"study{protocol}", document["model"]["name"], seed)
        place.mkdir(parents=True)
        if number % 20 == 7:
            failure = {"type": "OutOfMemoryError", "message": "CUDA out of memory. Tried to allocate 2.00 GiB"}
            document |= {"status": "oom", "error": failure, "accuracy": None, "training": None, "efficiency": None}
        else:
            write_predictions(place / "predictions.npz", random, document)
        (place / "record.json").write_text(json.dumps(document, indent=1))


def changed(published: dict[str, Any], random: np.random.Generator, protocol: str, model: int, seed: int) -> Any:
    """A published record as that of another model, protocol and seed: every measured number is up to a tenth off."""
    document = json.loads(json.dumps(published))
    for part in ("training", "efficiency"):
        document[part] = _off(document[part], random)
    document["model"] |= {"name": f"{published['model']['name']}:width={model}", "params": 10**6 * (model + 1)}
    document["protocol"] |= {"name": protocol, "fingerprint": protocol.ljust(64, "0")}
    document["seed"] = seed
    return document


def _off(value: Any, random: np.random.Generator) -> Any:
    if isinstance(value, dict):
        return {key: _off(own, random) for key, own in value.items()}
    if isinstance(value, list):
        return [_off(own, random) for own in value]
    return value * random.uniform(0.9, 1.1) if isinstance(value, float) else value


def write_predictions(file: Path, random: np.random.Generator, document: dict[str, Any]) -> None:
    """Predictions of random quality, and the record's accuracy from them."""
    from bench.train.metrics import accuracy

    label = np.arange(TEST_PICTURES) % CLASSES
    logits = random.normal(size=(TEST_PICTURES, CLASSES))
    logits[np.arange(TEST_PICTURES), label] += random.uniform(1, 4)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.savez_compressed(
        file, index=np.arange(TEST_PICTURES), label=label, probabilities=probabilities.astype(np.float32)
    )
    classes = document["data"]["classes"]
    document["accuracy"] = accuracy(probabilities, label, classes, 1.0, document["accuracy"]["val_top1"])
    document["data"]["test"] = TEST_PICTURES


def seconds(work: Callable[[], object]) -> float:
    """How long that takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def time_report(results: Path) -> dict[str, float]:
    """Seconds of each text, by its name; and of a whole report, which draws all figures on all cores."""
    found = {"reading": seconds(lambda: read_comparisons(results))}
    found["collecting, claims judged"] = seconds(lambda: collect(results))
    _, artifacts, _ = collect(results)
    for artifact in artifacts:
        if artifact.file.suffix not in FIGURES:
            found[artifact.file.name] = found.get(artifact.file.name, 0.0) + seconds(artifact.make)
    found["whole report"] = seconds(lambda: make_report(results))
    found["nothing changed"] = seconds(lambda: make_report(results))
    found["check"] = seconds(lambda: check(results))
    return found


def time_run(results: Path, count: int) -> dict[str, float]:
    """Seconds that a run of `count` trials, all of one folder, spends on its page and tables.

    The page after each trial takes longer the more there are: it is timed at a few places, and the sum is that of the
    lines between them.
    """
    write_records(results, count, of_a_protocol=count)
    found = {"reading, at the start and at the end": 2 * seconds(lambda: read_trials(results))}
    trials, _ = read_trials(results)
    places = [1, count // 4, count // 2, count]
    pages = [seconds(lambda number=place: write_page(comparisons(trials[:number]))) for place in places]
    found |= {f"page after trial {place}": page for place, page in zip(places, pages, strict=True)}
    found["all pages"] = float(np.trapezoid(pages, places))
    found["tables and figure at the end"] = seconds(lambda: write_tables(comparisons(trials)))
    return found


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--write"]:
        write_records(Path(arguments[1]), int(arguments[2]))
        return
    of_a_run = arguments[:1] == ["--run"]
    for count in [int(argument) for argument in arguments[of_a_run:]] or [100, 1_000, 10_000]:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "results"
            if of_a_run:
                found = time_run(results, count)
            else:
                write_records(results, count)
                found = time_report(results)
            times = ", ".join(f"{name} {took:.2f} s" for name, took in found.items())
            print(f"{count:,} records: {times}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
