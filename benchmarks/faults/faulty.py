"""A plugin that does any harm on command, for tests/end_to_end/test_faults*.py and benchmarks/soak.py.

`FAULT=WHERE:WHAT` says where (import, models, check_build, build, forward, measure, event, claims, check) and what it
does there: see `misbehave`. Several of WHAT are joined by `+`: each is a model `tiny_WHAT` or a measurement
`troubled_WHAT` of its own. WHAT is `stem` for what the file's own name says, so that copies differ. The model `tiny`
does no harm; its `slow` is the seconds of each batch of training, so that there is time to end it. From its batch
`held` on, counted from 0, it trains only while there is no file `hold` in the working directory, or where HOLD says:
however late a test hears of what was before that, the trial has not ended. While it waits there is a file `held`
beside that.
"""

import ctypes
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from bench import Claim, MeasureSpec, ModelSpec, Quantity, hookimpl


def asked():
    """Where harm is to be done, and what."""
    where, _, what = os.environ.get("FAULT", "").partition(":")
    return where, [Path(__file__).stem] if what == "stem" else what.split("+")


def misbehave(where, what=None):
    now, everything = asked()
    if where != now:
        return
    match what or everything[0]:
        case "raise":
            raise ValueError("as it was told")
        case "system_exit":
            raise SystemExit(7)
        case "keyboard":
            raise KeyboardInterrupt
        case "os_exit":
            os._exit(4)
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill_once":
            if not Path("killed").exists():
                Path("killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            while True:
                time.sleep(1)
        case "chdir":
            os.chdir("/")
        case "environment":
            os.environ["BENCH_CACHE"] = "/proc/nowhere"
        case "print":
            print("NOISE")
        case "memory":
            raise MemoryError
        case "patch":
            import torch

            torch.set_default_dtype(torch.float64)
            torch.set_num_threads(1)
            torch.set_grad_enabled(False)
            torch.nn.ReLU.forward = lambda self, images: images * 0
        case "recursion":
            sys.setrecursionlimit(60)
        case _:
            raise AssertionError(f"no such fault: {everything}")


def build_with(what, *, num_classes, image_size, pretrained, slow=0.0, held=None):
    import torch
    from torch import nn

    if what is not None:  # the check builds without weights, the trial with them
        misbehave("check_build" if torch.empty(0).device.type == "meta" else "build", what)

    class Backbone(nn.Sequential):
        trained = 0  # batches

        def forward(self, images):
            if self.training and images.device.type != "meta":
                if what is not None:
                    misbehave("forward", what)
                time.sleep(slow)
                hold = Path(os.environ.get("HOLD", "hold"))
                while held is not None and self.trained >= held and hold.exists():
                    hold.with_name("held").touch()
                    time.sleep(0.05)
                self.trained += 1
            return super().forward(images)

    return Backbone(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(4), nn.Flatten()
    )


def measure_with(what, subject):
    misbehave("measure", what)
    return {"value": 1.0}


def check(evidence):
    from bench import Verdict

    misbehave("check")
    return Verdict("confirmed", "as expected")


misbehave("import")


@hookimpl
def bench_models():
    misbehave("models")
    if Path(__file__).stem == "faulty":  # and not a copy, whose models would have the same names
        yield ModelSpec("tiny", partial(build_with, None), family="cnn", last_block="0")
        where, everything = asked()
        for what in everything if where in ("check_build", "build", "forward") else ():
            yield ModelSpec(f"tiny_{what}", partial(build_with, what), family="cnn")


@hookimpl
def bench_measurements():
    where, everything = asked()
    for what in everything if where == "measure" else ():
        quantity = Quantity(
            key=f"troubled_{what}", label=what, about="a number", path="value", kind="count", better="lower"
        )
        yield MeasureSpec(f"troubled_{what}", partial(measure_with, what), (quantity,))


@hookimpl
def bench_event(event):
    misbehave("event")


@hookimpl
def bench_claims():
    misbehave("claims")
    yield Claim("tiny is tiny", "a test", check)
