"""What several tests need: a cache of their own, a model that is built in milliseconds, small pictures, real ones."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from made import document
from PIL import Image

from bench.data.cache import Stored, prepare
from bench.files import trial_folder
from bench.plugins import Registry, load_plugins
from bench.protocol import Protocol, load_protocol
from bench.records.identity import Way
from bench.records.record import Record
from bench.request import Place, TrialSpec
from bench.run.outline import known_of

CHECKOUT = Path(__file__).resolve().parent.parent
CIFAR10 = "cifar10-jpeg.tar.gz"
# A project of its own, whose tests want it installed: tests/end_to_end/test_third_party.py.
collect_ignore = ["third_party"]

# No deadlines: machines may be slow. The same examples at every run: what is red stays red until it is repaired.
settings.register_profile("bench", deadline=None, derandomize=True)
settings.load_profile("bench")

TINY_MODEL = '''"""A convolutional network that is built in milliseconds."""

from collections import OrderedDict

from bench import ModelSpec, hookimpl


def build(*, num_classes, image_size, pretrained, width=8, dropout=0.0):
    from torch import nn

    def block(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    layers = OrderedDict(
        stem=block(3, width), pool=nn.MaxPool2d(2), early_dropout=nn.Dropout(dropout),
        block=block(width, 2 * width), late_dropout=nn.Dropout(dropout),
        grid=nn.AdaptiveAvgPool2d(4), features=nn.Flatten(),
    )
    return nn.Sequential(layers)


@hookimpl
def bench_models():
    yield ModelSpec("tiny", build, family="cnn", last_block="block", source="the tests")
'''


# Their files take longest: where several are tested at a time, nobody waits for them at the end.
FIRST = ("end_to_end", "train", "run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those first, all else in its order."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(CHECKOUT / "tests").parts[0]
        return FIRST.index(folder) if folder in FIRST else len(FIRST)

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: no collection of garbage walks through it, which took a twentieth."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that starts empty, no network for pretrained weights, and no plugins of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("BENCH_PLUGINS", raising=False)
        yield


@pytest.fixture(scope="session")
def tiny_plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin folder with the model `tiny`, options `width` and `dropout`."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "tiny_model.py").write_text(TINY_MODEL)
    return folder


@pytest.fixture(scope="session")
def registry(tiny_plugins: Path) -> Registry:
    """The bundled plugins and the tiny model."""
    return load_plugins([tiny_plugins])


@pytest.fixture(scope="session")
def digits(registry: Registry) -> Stored:
    """The digits, decoded once."""
    return prepare(registry.datasets["digits"][0], "", 32)


@pytest.fixture(scope="session")
def tiny_protocol() -> Callable[..., Protocol]:
    """`tiny_protocol("train.epochs=2", …)`: `quick` cut down to 200 pictures of 8 × 8, three epochs and plain Adam."""

    def make(*overrides: str) -> Protocol:
        small = [
            "data.image_size=8",
            "train.epochs=3",
            "train.limit=200",
            "data.test_limit=100",
            "train.precision=fp32",
            "train.batch_size=64",
            "optimizer.name=adam",
            "optimizer.learning_rate=3e-4",
            "optimizer.weight_decay=0",
            "optimizer.decayed=all",
            "optimizer.clip_norm=0",
            "loss.label_smoothing=0",
        ]
        return load_protocol("quick", [*small, *overrides])

    return make


@pytest.fixture
def tiny_trial(
    tiny_plugins: Path, digits: Stored, tiny_protocol: Callable[..., Protocol], tmp_path: Path
) -> Callable[..., TrialSpec]:
    """`tiny_trial("train.epochs=2", …, model="tiny", seed=0)`: a trial on the digits, ready to run.

    Beside another, so that nothing of it is timed, which takes most of such a trial; or `timed`.
    """

    def make(
        *overrides: str, model: str = "tiny", seed: int = 0, plugins: Path = tiny_plugins, timed: bool = False
    ) -> TrialSpec:
        protocol = tiny_protocol(*overrides)
        folder = trial_folder(tmp_path / "results", model, seed)
        place = Place(device="cpu", plugins=(plugins,), working_directory=tmp_path)
        way = Way("cpu", torch.get_num_threads(), sharing=1 if timed else 2)
        known = known_of(load_plugins([plugins]).model(model), protocol)
        return TrialSpec(model, seed, protocol, digits, folder, place, way=way, known=known)

    return make


def write_picture(file: Path, seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    """A picture of noise, that of the seed, in a lossless format."""
    file.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(file)


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """train/ with six, test/ with two pictures for each of the classes cat and dog."""
    folder = tmp_path / "pictures"
    for number, name in enumerate(("cat", "dog")):
        for index in range(6):
            write_picture(folder / "train" / name / f"{index}.png", seed=100 * number + index)
        for index in range(2):
            write_picture(folder / "test" / name / f"{index}.png", seed=100 * number + 50 + index)
    return folder


@pytest.fixture(scope="session")
def cifar10_folder() -> Path:
    """The real CIFAR-10 pictures as JPEG files: train/CLASS/NNNN.jpg and test/CLASS/NNNN.jpg; unpacked once."""
    named = os.environ.get("BENCH_TEST_DATA")
    places = [Path(named)] if named else []
    places.append(CHECKOUT.parent / "shared" / "data")
    archive = next((place / CIFAR10 for place in places if (place / CIFAR10).is_file()), None)
    if archive is None:
        reason = f"needs the real pictures: no {CIFAR10} in {' or '.join(map(str, places))} (set BENCH_TEST_DATA)"
        # Whoever says where they are, as .ci/run does, wants these tests.
        pytest.fail(reason) if named else pytest.skip(reason)
    content = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    cache = platformdirs.user_cache_path("bench-tests", appauthor=False, ensure_exists=True)
    folder = cache / f"cifar10-jpeg-{content}"
    with FileLock(cache / ".lock"):
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(dir=cache))
            with tarfile.open(archive) as pictures:
                pictures.extractall(partial, filter="data")
            partial.rename(folder)
    return folder


@pytest.fixture(scope="session")
def cifar10_sample(cifar10_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 100 training and 20 test pictures of each class of the real CIFAR-10."""
    sample = tmp_path_factory.mktemp("cifar10-sample")
    for part, count in (("train", 100), ("test", 20)):
        for folder in sorted((cifar10_folder / part).iterdir()):
            target = sample / part / folder.name
            target.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copy(file, target)
    return sample


@pytest.fixture(scope="session")
def reference_vectors() -> Callable[[str], dict[str, np.ndarray]]:
    """`reference_vectors("token_learner.npz")`: what the authors' own implementation computed, by name."""

    def load(name: str) -> dict[str, np.ndarray]:
        named = os.environ.get("BENCH_TEST_DATA")
        places = [Path(named).parent / "refs"] if named else []
        places.append(CHECKOUT.parent / "shared" / "refs")
        file = next((place / name for place in places if (place / name).is_file()), None)
        if file is None:
            reason = f"needs the reference vectors: no {name} in {' or '.join(map(str, places))}"
            pytest.fail(reason) if named else pytest.skip(reason)
        with np.load(file) as content:
            return dict(content)

    return load


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """`make_record("vgg19", 0.9, seed=1, …)`: a trial's that ended well, or, with None, one's that failed."""

    def make(name: str = "m", top1: float | None = 0.5, seed: int = 0, **changes: Any) -> Record:
        made = document(
            name,
            seed=seed,
            seconds=12.34,
            model={"params": 1_234_567, "trainable_params": 234_567},
            protocol={"fingerprint": "p" * 64},
            data={"fingerprint": "d" * 64, "classes": ["0", "1"], "train": 1222, "val": 215, "test": 360},
            training={"epoch_seconds": [1.0, 2.0, 4.5], "seconds_to_best": 3,
                      "history": {"train_loss": [3, 2, 1], "val_loss": [3, 2.5, 2.6],
                                  "train_top1": [0.5, 0.75, 1], "val_top1": [0.5, 0.5, 0.25]}},
        )  # fmt: skip
        made["protocol"]["settings"] = {"train": {"epochs": 3, "tried": [1]}}
        made["efficiency"] = {"macs": 2_345_000_000, "memory": {"train_peak": 345_600_000}}
        del made["environment"]["git"]
        if top1 is None:
            made |= {"status": "crashed", "error": {"type": "crashed", "message": "ended by SIGKILL"}}
            made |= {"accuracy": None, "training": None, "efficiency": None, "environment": None}
        else:
            made["accuracy"] = {
                "val_top1": 0.75, "test_top1": top1, "test_top5": 1, "test_loss": 1, "macro_f1": 0.4321, "ece": 0,
                "per_class": {name: {"precision": top1, "recall": 0.5, "f1": 0.25, "support": 180.0} for name in "01"},
                "confusion": [[100, 80], [90, 90]],
            }  # fmt: skip
        return Record.model_validate({**made, **changes})

    return make


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def command() -> Command:
    """`command("run", "mine", in_folder=…)`: the real command in an interpreter of its own, run to its end."""

    def call(*arguments: str, in_folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=in_folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )

    return call


class Resident:
    """An interpreter that runs one command after another: tests/resident.py."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        script = Path(__file__).with_name("resident.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, script], cwd=folder, env=environment, **pipes)

    def call(self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str]) -> int:
        """The exit status of the command."""
        files = {"stdout": str(self.out), "stderr": str(self.err)}
        asked = {"arguments": arguments, "folder": str(folder), "environment": environment, **files}
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        if not select.select([self.process.stdout], [], [], 300)[0]:
            self.process.kill()
            raise subprocess.TimeoutExpired(arguments, 300)
        answer = self.process.stdout.readline()
        assert answer, f"the command took its process with it: {self.err.read_text()}"
        return int(answer)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The same, in an interpreter that goes on to the next command: what takes seconds is imported once.

    It is for what a command does; `command` is for how a process starts and ends, what it imports, and what a plugin
    does to it.
    """
    residents: dict[tuple[str | None, ...], Resident] = {}  # by what is read once, at the start

    def call(*arguments: str, in_folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **environment}
        key = tuple(environment.get(name) for name in ("OMP_NUM_THREADS", "PYTHONPATH"))
        if key not in residents:
            residents[key] = Resident(tmp_path_factory.mktemp("resident"), environment)
        own = residents[key]
        status = own.call(arguments, in_folder, environment)
        return subprocess.CompletedProcess(arguments, status, own.out.read_text(), own.err.read_text())

    yield call
    for one in residents.values():
        one.process.kill()
        one.process.wait()
