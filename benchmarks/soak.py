"""What do random faults cost? Many small trials, and faults of every kind at random moments.

    python benchmarks/soak.py [--rounds 60] [--seed 0] [--keep FOLDER]

Each round is a run of SEEDS trials in a folder of its own, in which one fault is injected, and then the same command
once more, undisturbed. What was finished when the fault came must be there after it, to the byte (lost); what is there
in the end must be what an undisturbed run gives: accuracy, curves, predictions and weights to the byte (wrong). Faults:
SIGKILL, SIGTERM and SIGINT of the command, its trial, the server that trials are forked from, or all of them, at
moments spread over starting, training, testing, measuring and writing, `--fresh` among them; a disk that is full; files
that are damaged between two runs; a plugin that does harm; two runs at once, of which one is killed. Linux; root for
disks.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

CHECKOUT = Path(__file__).resolve().parents[1]
SEEDS = 6
MODEL = "tiny:slow=0.03"
PROTOCOL = """
name = "soak"
seeds = [0]
data = { dataset = "digits", image_size = 8, validation = 0.2, test_limit = 60 }
model = { weights = "scratch" }
optimizer = { name = "adam", learning_rate = 0.01 }
schedule = { name = "constant" }
train = { what = "full", epochs = 3, batch_size = 32, precision = "fp32", limit = 96 }
"""
KEPT = ("record.json", "predictions.npz", "pictures.npz", "model.safetensors")
HARM = (
    "measure:os_exit",
    "measure:segfault",
    "measure:kill+raise",
    "event:system_exit",
    "import:print",
    "claims:raise",
)


class Soak:
    """A working directory, what was counted, and what an undisturbed run gives."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        (folder / "plugins").mkdir(parents=True)
        shutil.copy(CHECKOUT / "benchmarks" / "faults" / "faulty.py", folder / "plugins")
        (folder / "soak.toml").write_text(PROTOCOL)
        self.faults: collections.Counter[str] = collections.Counter()
        self.counts: collections.Counter[str] = collections.Counter()
        self.trouble: list[str] = []
        started = time.monotonic()
        if self.finish("undisturbed") != 0:
            raise SystemExit("nothing to hold faults against: the undisturbed run fails")
        self.seconds = time.monotonic() - started  # of a whole run: moments of faults are drawn from it
        self.expected = {at: self.outcome("undisturbed", at) for at in range(SEEDS)}

    def command(self, results: str, *more: str) -> list[str]:
        seeds = [part for at in range(SEEDS) for part in ("--seed", str(at))]
        asked = [MODEL, "--protocol", "soak.toml", *seeds, "--no-timing", "--results", results]
        return [sys.executable, "-m", "bench", "run", *asked, *more]

    def start(self, results: str, *more: str, fault: str = "") -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "FAULT": fault}
        return subprocess.Popen(
            self.command(results, *more), cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self, results: str, *more: str, fault: str = "") -> int:
        process = self.start(results, *more, fault=fault)
        _, said = process.communicate(timeout=300)
        self.hear(results, said)
        return process.returncode

    def hear(self, results: str, said: str) -> None:
        if "Traceback" in said:
            self.counts["tracebacks"] += 1
            self.trouble.append(f"{results}: {said[-2000:]}")

    def trial(self, results: str, at: int) -> Path:
        return self.folder / results / "soak" / MODEL.replace(":", "@") / f"seed{at}"

    def finished(self, results: str) -> dict[int, dict[str, str]]:
        """Of each trial that is finished now, what is kept, by digest."""
        found = {}
        for at in range(SEEDS):
            folder = self.trial(results, at)
            try:
                if json.loads((folder / "record.json").read_bytes())["status"] != "ok":
                    continue
                # Whatever lies in it, a record that says less than before is measured later, and gains by it.
                found[at] = {name: _digest(folder / name) for name in KEPT if name != "record.json"}
            except (OSError, ValueError):
                continue
        return found

    def outcome(self, results: str, at: int) -> dict[str, Any] | None:
        """What the trial came to, without what differs from one run to the next; None where it has not ended well."""
        folder = self.trial(results, at)
        try:
            record = json.loads((folder / "record.json").read_bytes())
        except (OSError, ValueError):
            return None
        if record["status"] != "ok" or not record["efficiency"]["macs"]:
            return None
        history = {"history": record["training"]["history"], "best": record["training"]["best_epoch"]}
        files = {name: _digest(folder / name) for name in ("predictions.npz", "pictures.npz", "model.safetensors")}
        return {"accuracy": record["accuracy"], **history, **files}

    def judge(self, results: str, before: dict[int, dict[str, str]]) -> None:
        """Hold what is there now against what was finished before, then go on to the end, and hold that, too."""
        now = self.finished(results)
        for at, kept in before.items():
            if now.get(at) != kept:
                self.counts["lost"] += 1
                self.trouble.append(f"{results}: seed {at} was finished, and is not as it was")
        status = self.finish(results)
        self.counts["not finished"] += status != 0
        for at, expected in self.expected.items():
            found = self.outcome(results, at)
            self.counts["trials"] += 1
            if found != expected:
                self.counts["wrong"] += 1
                self.trouble.append(f"{results}: seed {at} is not what an undisturbed run gives")
        left = [file for file in (self.folder / results).rglob("*") if _is_leftover(file)]
        self.counts["left over"] += len(left)
        self.trouble += [f"{results}: left over: {file}" for file in left]

    def killed(self, results: str, how: signal.Signals, whom: str, fresh: bool) -> None:
        """End the run, or a part of it, at a random moment."""
        before: dict[int, dict[str, str]] = {}
        if fresh:
            self.finish(results)
            before = self.finished(results)
        process = self.start(results, *(["--fresh"] if fresh else []))
        moment = time.monotonic() + self.random.uniform(0, 1.1 * self.seconds)
        while time.monotonic() < moment and process.poll() is None:
            time.sleep(0.01)
        if not fresh:
            before = self.finished(results)
        for victim in _victims(process.pid, whom):
            victim.send_signal(how)
        _, said = process.communicate(timeout=300)
        self.hear(results, said)
        self.judge(results, before)

    def full_disk(self, results: str) -> None:
        """Run on a disk with too little room, then make some."""
        disk = self.folder / results
        disk.mkdir()
        size = f"size={self.random.randint(40, 900)}k"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)
        try:
            self.finish(results)
            before = self.finished(results)
            subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
            self.judge(results, before)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def damaged(self, results: str) -> None:
        """Kill a run, damage one of its files, and go on."""
        process = self.start(results)
        time.sleep(self.random.uniform(0.3, 1.0) * self.seconds)
        for victim in _victims(process.pid, "all"):
            victim.kill()
        process.communicate(timeout=300)
        files = [file for file in (self.folder / results).rglob("*") if file.is_file() and file.suffix in
                 {".pt", ".json", ".npz", ".safetensors"} and file.stat().st_size]  # fmt: skip
        if not files:
            self.judge(results, {})
            return
        # A checkpoint where there is one: it is what the run goes on from.
        file = self.random.choice([one for one in files if one.suffix == ".pt"] or files)
        content = bytearray(file.read_bytes())
        match self.random.choice(["cut", "flipped", "emptied", "text"]):
            case "cut":
                content = content[: self.random.randrange(len(content))]
            case "flipped":
                for _ in range(16):
                    content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
            case "emptied":
                content = bytearray()
            case "text":
                content = bytearray(b"nothing of the kind")
        file.write_bytes(bytes(content))
        own = int(file.parent.name.removeprefix("seed")) if file.parent.name.startswith("seed") else None
        before = {at: kept for at, kept in self.finished(results).items() if at != own}
        if own is not None and file.suffix != ".pt":  # a file of a finished trial is made anew where it is asked for
            self.finish(results, "--fresh")
        self.judge(results, before if file.suffix == ".pt" else {})

    def harmed(self, results: str, fault: str) -> None:
        """Run beside a plugin that does harm."""
        self.finish(results, fault=fault)
        self.judge(results, self.finished(results))

    def two_at_once(self, results: str) -> None:
        """Two runs of one command, of which one is killed."""
        first, second = self.start(results), self.start(results)
        time.sleep(self.random.uniform(0, self.seconds))
        for victim in _victims(first.pid, "all"):
            victim.kill()
        for process in (first, second):
            _, said = process.communicate(timeout=300)
            self.hear(results, said)
        self.judge(results, self.finished(results))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"


def _is_leftover(file: Path) -> bool:
    return file.name == ".new" or ".partial" in file.name or file.name.startswith("checkpoint-")


def _victims(main: int, whom: str) -> list[psutil.Process]:
    """The processes of a run: `main`, `trial`, `server`, or `all` of them; none that are gone."""
    try:
        root = psutil.Process(main)
        below = root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    servers = [one for one in below if _is_server(one)]
    trials = [grandchild for one in servers for grandchild in _children(one)]
    return {"main": [root], "trial": trials, "server": servers, "all": [root, *below]}[whom]


def _children(one: psutil.Process) -> list[psutil.Process]:
    try:
        return one.children()
    except psutil.NoSuchProcess:
        return []


def _is_server(one: psutil.Process) -> bool:
    try:
        return any("forkserver" in part for part in one.cmdline())
    except psutil.NoSuchProcess:
        return False


def memory_of_parent(soak: Soak, trials: int) -> list[int]:
    """Bytes that the process which the user started holds while it runs so many trials, one after another."""
    seeds = [part for at in range(trials) for part in ("--seed", str(at))]
    command = [sys.executable, "-m", "bench", "run", "tiny", "--protocol", "soak.toml", *seeds, "--no-timing"]
    process = subprocess.Popen(
        [*command, "--results", "memory"], cwd=soak.folder, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    held = []
    assert process.stderr is not None
    for line in process.stderr:
        if ": ok, test top-1" in line:
            held.append(psutil.Process(process.pid).memory_info().rss)
    process.wait()
    return held


def main() -> None:
    """Inject, count, and print what was counted; exit status 1 where anything was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work here, and leave it")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="soak-"))
    soak = Soak(folder.resolve(), given.seed)
    print(f"a run of {SEEDS} trials takes {soak.seconds:.1f} s undisturbed", flush=True)
    kinds: list[tuple[str, Callable[[str], None]]] = []
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        for whom in ("main", "trial", "server", "all"):
            if how is signal.SIGKILL or whom in ("main", "all"):
                for fresh in (False, True):
                    name = f"{how.name} of {whom}{' with --fresh' if fresh else ''}"
                    kinds.append((name, lambda at, h=how, w=whom, f=fresh: soak.killed(at, h, w, f)))  # type: ignore[misc]
    kinds += [("full disk", soak.full_disk)] * 3 + [("damaged file", soak.damaged)] * 4
    kinds += [(f"plugin {fault}", lambda at, f=fault: soak.harmed(at, f)) for fault in HARM]  # type: ignore[misc]
    kinds += [("two at once", soak.two_at_once)] * 3
    order = [kind for _ in range(-(-given.rounds // len(kinds))) for kind in soak.random.sample(kinds, len(kinds))]
    told = 0
    try:
        for number, (name, inject) in enumerate(order[: given.rounds], start=1):
            soak.faults[name] += 1
            inject(f"round{number}")
            counted = ", ".join(f"{what} {count}" for what, count in soak.counts.items())
            print(f"[{number}/{given.rounds}] {name}: {counted}", *soak.trouble[told:], sep="\n", flush=True)
            told = len(soak.trouble)
            if not soak.trouble and not given.keep:
                shutil.rmtree(soak.folder / f"round{number}", ignore_errors=True)
        held = memory_of_parent(soak, 60)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("\nfaults injected:", *(f"  {count:3d} {name}" for name, count in sorted(soak.faults.items())), sep="\n")
    print("\ncounted:", *(f"  {count:5d} {what}" for what, count in soak.counts.items()), sep="\n")
    first, last = (held[at] / 1e6 for at in (4, -1))
    print(f"\nparent after 5 of {len(held)} trials {first:.1f} MB, after all {last:.1f} MB")
    sys.exit(any(soak.counts[what] for what in ("lost", "wrong", "tracebacks", "not finished", "left over")))


if __name__ == "__main__":
    main()
