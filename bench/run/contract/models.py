"""A model, held against the contract: built, run, trained for a few steps, frozen, counted; on a CPU, in seconds."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from bench.errors import RequestError
from bench.measure.macs import count_macs
from bench.models.classifier import Classifier, build_classifier
from bench.models.freezing import freeze, train_mode
from bench.plugins import Model, Plugin, Registry
from bench.plugins.names import TIMM
from bench.protocol import Protocol, load_protocol
from bench.run.contract import Finding, Findings, NotTriedError, WrongError
from bench.train.prefix.cut import CannotSplitError
from bench.train.prefix.halves import split_model

# Sides of pictures, of which the first two that the model takes are tried; a plugin may refuse some.
SIZES = (32, 64, 96, 224)
CLASSES = (2, 10)
# Steps within which the loss on a few pictures has to fall, and how many these are.
STEPS, PICTURES = 30, 8


def check(name: str, registry: Registry) -> list[Finding]:
    """Everything that is found of the model."""
    asked = registry.model(name)
    found = Findings(asked.plugin)
    with found.of("is listed without torch being imported"):
        for plugin in asked.plugins:
            _lazy(plugin)
    before = _process()
    sizes: list[int] = []
    with found.of(f"builds at two image sizes, for {CLASSES[0]} and {CLASSES[1]} classes"):
        sizes = _sizes(asked)
    if not sizes:
        return found.found
    size = sizes[0]
    torch.manual_seed(0)
    model, images = _built(asked, size), torch.rand(PICTURES, 3, size, size)
    with found.of("gives features (N, D), finite numbers"):
        for each in sizes:
            features = _built(asked, each).backbone.eval()(torch.rand(2, 3, each, each))
            if features.ndim != 2 or len(features) != 2:
                raise WrongError(f"2 pictures of {each} give {tuple(features.shape)}: return features (N, D)")
            if not torch.isfinite(features).all():
                raise WrongError(f"pictures of {each} give numbers that are not finite")
    with found.of("is the same twice in evaluation, and of one picture as of several"), torch.no_grad():
        model.eval()
        first, again, alone = model(images), model(images), model(images[:1])
        if not torch.equal(first, again):
            raise WrongError("two passes differ: draw no random numbers in evaluation (self.training is False)")
        if not torch.allclose(first[:1], alone, atol=1e-4):
            raise WrongError("a picture's logits depend on the others of its batch: normalise over each picture alone")
    with found.of("learns: the loss on a few pictures falls, and everything that trains gets a gradient"):
        _learns(_built(asked, size), images)
    with found.of("its last block is there, and what comes before it is frozen"):
        _freezes(asked, size)
    with found.of("its weights go out and in again"):
        _round_trip(asked, model, size, images)
    with found.of("its MACs are counted, by two counters alike"):
        counted = count_macs(model, size)
        if not counted.macs:
            raise WrongError("no multiply-accumulate is counted: its products are in operators that nobody knows")
        if not counted.cross_check.agrees:
            raise WrongError(
                f"{counted.macs:,} by one counter, {counted.cross_check.macs:,} by the other: products hide in an "
                f"operator of its own; not counted are {', '.join(counted.uncounted_operators)}"
            )
    with found.of("its frozen part can be computed once"):
        _splits(asked, size)
    with found.of("exports to ONNX"):
        _exports(model, images[:1])
    with found.of("changes nothing of the process that builds it"):
        if changed := [name for name, value in _process().items() if value != before[name]]:
            raise WrongError(f"it changes {', '.join(changed)}: what it sets reaches whatever runs beside it")
    return found.found


def _lazy(plugin: Plugin) -> None:
    """In a process of its own, the plugin is imported and asked, as for a list."""
    if plugin.name == TIMM.name:
        raise NotTriedError("timm's models are not listed")
    asking = "import sys; from bench.plugins import load_one; load_one(sys.argv[1]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asking, plugin.place], capture_output=True, check=False)
    if done.returncode:
        raise WrongError("importing it imports torch: import it within the functions that use it")


def _process() -> dict[str, object]:
    """What of a process reaches everybody in it."""
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "whether gradients are computed": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "the working directory": Path.cwd(),
    }


def _protocol(size: int) -> Protocol:
    return load_protocol("quick", [f"data.image_size={size}", "model.options={}"])


def _built(asked: Model, size: int, classes: int = CLASSES[1]) -> Classifier:
    return build_classifier(asked, _protocol(size), classes)


def _sizes(asked: Model) -> list[int]:
    """Two sizes at which it builds; what it says of the others where there are none."""
    sizes, refused = list[int](), list[str]()
    for size in SIZES:
        try:
            for classes in CLASSES:
                _built(asked, size, classes)
        except RequestError as error:
            refused.append(str(error))
        else:
            sizes.append(size)
        if len(sizes) == 2:
            return sizes
    raise WrongError(f"of {', '.join(map(str, SIZES))} pixels it takes {len(sizes)}: {refused[0]}")


def _learns(model: Classifier, images: torch.Tensor) -> None:
    labels = torch.arange(len(images)) % 2
    train_mode(model)
    optimizer = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=1e-3)
    losses: list[float] = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        term = model.training_loss()
        (loss if term is None else loss + term).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
        if losses[-1] < losses[0]:
            break
    without = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    if without:
        raise WrongError(f"no gradient reaches {', '.join(without[:5])}: use it in forward, or leave it out")
    if not losses[-1] < losses[0]:
        raise WrongError(
            f"the loss on {len(images)} pictures goes from {losses[0]:.3f} to {losses[-1]:.3f} in {STEPS} steps"
        )


def _freezes(asked: Model, size: int) -> None:
    if asked.last_block is None:
        raise NotTriedError("it names no last_block: protocols that fine-tune the last block refuse it")
    model = _built(asked, size)
    freeze(model, "last-block", asked.last_block, asked.name)
    trains = [one.requires_grad for one in model.backbone.parameters()]
    if all(trains):
        raise WrongError(f"nothing comes before {asked.last_block}: name a later module")
    if not any(trains):
        raise WrongError(f"{asked.last_block} has no parameters: name a module that has")


def _round_trip(asked: Model, model: nn.Module, size: int, images: torch.Tensor) -> None:
    fresh = _built(asked, size)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder) / "weights.pt")
        fresh.load_state_dict(torch.load(Path(folder) / "weights.pt", weights_only=True))
    with torch.no_grad():
        if not torch.equal(model.eval()(images), fresh.eval()(images)):
            raise WrongError(
                "a model with the same weights gives other logits: keep all state in parameters and buffers"
            )


def _splits(asked: Model, size: int) -> None:
    if asked.last_block is None:
        raise NotTriedError("it names no last_block, so that nothing is frozen but the whole of it")
    model = _built(asked, size)
    freeze(model, "last-block", asked.last_block, asked.name)
    try:
        split_model(model.eval(), size, asked.split)
    except CannotSplitError as why:
        raise NotTriedError(f"{why}; every epoch computes all of it, unless `split` says where to cut") from None


def _exports(model: nn.Module, images: torch.Tensor) -> None:
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise NotTriedError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed")
    with tempfile.TemporaryDirectory() as folder:
        torch.onnx.export(model.eval(), (images,), Path(folder) / "model.onnx", dynamo=True, verbose=False)
