"""`run --executor ray` on a real cluster of two nodes that share no cache: everything travels, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from faulted import PLAIN, RUN, Bench, Started, compared, one_line
from PIL import Image

from bench.records.record import Record, read_record
from bench.records.sessions import FOLDER

# A trial there has one thread.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
# Whichever of them a node with HOLD gets first waits there in its second epoch of two batches.
MODELS = ("tiny:held=2", "tiny:held=3", "other")
NAMES = ("tiny@held=2", "tiny@held=3", "other")
# Takes the worker that runs it down with it, wherever that is.
POISON = """
from bench import ModelSpec, hookimpl

def build(*, num_classes, image_size, pretrained):
    import psutil
    from torch import nn

    class Backbone(nn.Sequential):
        def forward(self, images):
            if images.device.type != "meta":
                next(one for one in psutil.Process().parents() if "ray::" in " ".join(one.cmdline())).kill()
                import time
                time.sleep(60)
            return super().forward(images)

    return Backbone(nn.Flatten())

@hookimpl
def bench_models():
    yield ModelSpec("poison", build, family="mlp")
"""


@dataclass
class Node:
    """A node of the cluster: the process that holds it, and its own cache."""

    process: subprocess.Popen[bytes]
    cache: Path

    def kill(self) -> None:
        """As where a machine loses its power."""
        own = psutil.Process(self.process.pid)
        for one in (own, *own.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()


@dataclass
class Cluster:
    """A head, and nodes that join it; each with a cache and a folder of its own."""

    address: str
    folder: Path
    nodes: list[Node]

    def add(self, *arguments: str, **environment: str) -> Node:
        """Start a node, and wait until the cluster has it."""
        there = self.folder / f"node{len(self.nodes)}"
        there.mkdir()
        settings = {"BENCH_CACHE": str(there / "cache"), "RAY_USAGE_STATS_ENABLED": "0", **environment}
        settings["RAY_worker_niceness"] = "0"  # else they starve beside other tests
        command = [Path(sys.executable).with_name("ray"), "start", "--block", "--num-cpus", "1"]
        command += ["--object-store-memory", "100000000", "--disable-usage-stats", *arguments]
        log = (there / "log.txt").open("wb")
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=there,
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.nodes.append(Node(process, there / "cache"))
        deadline = time.monotonic() + 60
        while "runtime started" not in (there / "log.txt").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (there / "log.txt").read_text()
            time.sleep(0.2)
        return self.nodes[-1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Its head alone. Whoever joins it, or uses it, has its token."""
    known = pytest.MonkeyPatch()
    known.setenv("RAY_AUTH_MODE", "token")
    known.setenv("RAY_AUTH_TOKEN", "of-this-cluster")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    made = Cluster(f"127.0.0.1:{port}", tmp_path_factory.mktemp("cluster"), [])
    # Ray's sockets need a short path.
    temporary = Path("/tmp") / f"ray-{os.getpid()}"
    try:
        made.add("--head", "--port", port, "--node-ip-address", "127.0.0.1", "--temp-dir", str(temporary))
        yield made
    finally:
        for node in made.nodes:
            if node.process.poll() is None:
                node.kill()
        shutil.rmtree(temporary, ignore_errors=True)
        known.undo()


def joined(cluster: Cluster, **environment: str) -> Node:
    return cluster.add("--address", cluster.address, "--node-ip-address", "127.0.0.1", **environment)


@pytest.fixture
def pictures(place: Path) -> Path:
    """A folder of pictures beside the protocol: light ones and dark ones."""
    random = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 20)):
        for number in range(count):
            name, low = (("dark", 0), ("light", 120))[number % 2]
            file = place / "pictures" / part / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(low, low + 136, (8, 8, 3), dtype=np.uint8)).save(file)
    return place / "pictures"


def of(place: Path, name: str, protocol: str = "small") -> Record:
    return read_record(place / "results" / protocol / name / "seed0" / "record.json")


def on(cluster: Cluster) -> tuple[str, ...]:
    return ("--executor", "ray", "--ray-address", cluster.address)


def test_a_node_is_killed_in_the_middle_and_every_record_is_there_as_at_home(
    cluster: Cluster, place: Path, pictures: Path, start: Callable[..., Started], bench: Bench
) -> None:
    data = ("--data", f"folder:{pictures}")
    hold = cluster.folder / "hold"
    hold.touch()
    second = joined(cluster, HOLD=str(hold))
    other_torch(place / "other")
    third = joined(cluster, PYTHONPATH=str(place / "other"))
    run = start(*PLAIN, *MODELS, *data, "--set", "name=there", *on(cluster), **ONE_THREAD)
    deadline = time.monotonic() + 120
    while not hold.with_name("held").exists():
        assert time.monotonic() < deadline and run.process.poll() is None
        time.sleep(0.1)
    second.kill()
    status, said = run.end()
    assert status == 0, said
    assert "Traceback" not in said and "tried again, 1 of 2" in said
    (line,) = [line for line in said.splitlines() if "is left out" in line]
    assert re.match(r"machine [\d.]+ \(\w+\) is left out: torch 1\.2\.3 there, \d", line)
    home = bench(*RUN, *MODELS, *data, "--set", "name=home", in_folder=place, **ONE_THREAD)
    assert home.returncode == 0, home.stderr
    for name in NAMES:
        there = of(place, name, "there")
        assert compared(there) == compared(of(place, name, "home"))
        assert there.environment is not None and there.environment["threads"] == 1
        kept = {file.name for file in (place / "results" / "there" / name / "seed0").iterdir()}
        assert {"record.json", "predictions.npz", "model.safetensors", "log.txt"} <= kept
        assert not any("checkpoint" in file for file in kept)
    for node in cluster.nodes[:2]:  # each has fetched them once
        (stored,) = (node.cache / "pictures").glob("*/stored.json")
        assert (stored.parent / "train_images.npy").exists()
    assert not (third.cache / "pictures").exists()
    third.kill()


def other_torch(folder: Path) -> None:
    """What a machine with another torch has on its path, as far as one can ask."""
    there = folder / "torch-1.2.3.dist-info"
    there.mkdir(parents=True)
    (there / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.2.3\n")


def test_a_run_that_is_killed_goes_on_from_the_checkpoint_that_came_home_and_an_interrupt_stops_it(
    cluster: Cluster, place: Path, start: Callable[..., Started], bench: Bench
) -> None:
    slow = ("tiny:slow=0.8", "--set", "name=long", "--set", "train.epochs=4", *on(cluster))
    folder = place / "results" / "long" / "tiny@slow=0.8" / "seed0"
    run = start(*PLAIN, *slow, **ONE_THREAD)
    run.until("epoch 2/4")
    deadline = time.monotonic() + 30
    while not list(folder.glob("checkpoint-*.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.process.kill()
    run.process.wait()
    run = start(*PLAIN, *slow, **ONE_THREAD)
    run.until("tiny:slow=0.8 epoch")
    os.killpg(run.process.pid, signal.SIGINT)
    status, said = run.end()
    assert status == 130 and "Traceback" not in said and "epoch 1/4" not in said
    assert of(place, "tiny@slow=0.8", "long").status == "interrupted"


def test_a_trial_that_takes_its_machine_down_is_tried_again_and_then_no_more(
    cluster: Cluster, place: Path, bench: Bench
) -> None:
    (place / "plugins" / "poison.py").write_text(POISON)
    done = bench(*PLAIN, "poison", *on(cluster), "--retries", "1", in_folder=place)
    one_line(done, "poison, seed 0: the machine or its worker is gone", "tried again, 1 of 1")
    assert done.returncode == 1
    error = of(place, "poison").error
    assert of(place, "poison").status == "crashed"
    assert error is not None and error.message.endswith("2 tries; see log.txt")


def test_without_an_address_a_cluster_of_this_machine_comes_and_goes_and_what_is_timed_is_timed_there(
    place: Path, bench: Bench
) -> None:
    command = tuple(one for one in PLAIN if one != "--no-timing")
    done = bench(*command, "tiny", "--executor", "ray", in_folder=place)
    assert done.returncode == 0, done.stderr
    assert of(place, "tiny").status == "ok"
    (session,) = (place / "results" / "small" / FOLDER).glob("*.json")
    (timed,) = json.loads(session.read_text())["models"]
    assert timed["name"] == "tiny" and {"latency", "step"} <= timed["series"].keys()


@pytest.mark.parametrize(
    ("options", "line"),
    {
        "no cluster": (("--ray-address", "127.0.0.1:1"), "--ray-address 127.0.0.1:1: no Ray cluster is there"),
        "a client's": (("--ray-address", "ray://head:10001"), "this machine has to be one of the cluster's"),
        "too much": (("--cpus-per-trial", "1000"), "no machine of the cluster has that; the largest has"),
    }.values(),
    ids=["no cluster", "a client's", "too much"],
)
def test_what_no_cluster_can_do_is_said_in_one_line(
    options: tuple[str, ...], line: str, place: Path, bench: Bench
) -> None:
    done = bench(*PLAIN, "tiny", "--executor", "ray", *options, in_folder=place)
    assert done.returncode == 2
    one_line(done, line)


def test_a_cluster_whose_token_one_does_not_have_says_so_in_one_line(
    cluster: Cluster, place: Path, command: Bench
) -> None:
    done = command(*PLAIN, "tiny", *on(cluster), in_folder=place, RAY_AUTH_TOKEN="another")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bench: --ray-address {cluster.address}: that cluster wants its token")


def test_without_ray_and_without_a_cluster_one_line_says_so(place: Path, bench: Bench) -> None:
    (place / "ray").mkdir()
    (place / "ray" / "__init__.py").write_text("raise ImportError('No module named ray')")
    done = bench(*PLAIN, "tiny", "--executor", "ray", in_folder=place, PYTHONPATH=str(place))
    assert done.returncode == 2
    one_line(done, "--executor ray needs the package ray: pip install 'bench-image-models[ray]'")
    done = bench(*PLAIN, "tiny", "--cpus-per-trial", "2", in_folder=place)
    assert done.returncode == 2
    one_line(done, "--cpus-per-trial: executor local takes no such option")
