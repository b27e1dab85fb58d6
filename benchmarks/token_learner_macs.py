"""What TokenLearner saves: MACs of DeiT-Base against where it is inserted and how many tokens it makes.

    python benchmarks/token_learner_macs.py [--out DIR]

Counts with bench's own counter, on shapes alone, in some minutes: every insertion point, 4, 8, 16 and 32
tokens, at 224 and 384 pixels, TokenLearner 1.1 without TokenFuser and 1,000 classes. Writes into DIR
(results/reference/token-learner-macs) README.md with the tables, macs.csv, macs.png and macs.svg.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import torch
from tabulate import tabulate

from bench.files import write_bytes, write_text
from bench.measure.macs import count_macs
from bench.models.classifier import assembled
from bench.plugins import Registry, load_plugins
from bench.protocol import Head
from bench.report.figures import COLOURS, MARKERS

SIZES = (224, 384)
TOKENS = (4, 8, 16, 32)
BLOCKS = 12
LINES = ("-", "--", "-.", ":")

# MACs by image size, tokens and blocks before TokenLearner; without it: 0 tokens, all blocks.
Counts = dict[tuple[int, int, int], int]

INTRODUCTION = """# TokenLearner: MACs against insertion point and tokens

GMACs (10⁹ multiply-accumulates, attention included) of one picture through the distilled DeiT-Base with 1,000
classes, and how much of the whole model's that saves. TokenLearner 1.1 stands behind the number of blocks in the
first column, `after` one less; the rest of the 12 blocks run on its tokens and the two in front. Counted, not timed.

The paper (Ryoo et al., NeurIPS 2021) and its announcement claim: 8 or 16 tokens in the middle of the network halve the
computation; "up to two-thirds" can be saved."""

HOW = """Made by `python benchmarks/token_learner_macs.py`; every figure is in `macs.csv`.

![Share of DeiT-Base's MACs against the blocks before TokenLearner](macs.png)
"""


def count(registry: Registry, name: str, size: int) -> int:
    """MACs of one picture."""
    with torch.device("meta"):
        model = assembled(registry.model(name), size, 1000, {}, Head())
    counted = count_macs(model, size)
    assert counted.cross_check.agrees, name
    return counted.macs


def all_counts(registry: Registry) -> Counts:
    """Every insertion point and number of tokens at every image size, and the model without TokenLearner."""
    counts = {}
    for size in SIZES:
        counts[size, 0, BLOCKS] = count(registry, "deit_base_distilled", size)
        for tokens in TOKENS:
            for before in range(1, BLOCKS):
                name = f"deit_base_distilled+token_learner:after={before - 1},tokens={tokens}"
                counts[size, tokens, before] = count(registry, name, size)
        print(f"{size} pixels: counted")
    return counts


def saved(counts: Counts, size: int, tokens: int, before: int) -> float:
    """The share of the whole model's MACs that is saved."""
    return 1 - counts[size, tokens, before] / counts[size, 0, BLOCKS]


def as_csv(counts: Counts) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_size", "tokens", "blocks_before", "macs", "saved"])
    for size, tokens, before in sorted(counts):
        share = f"{saved(counts, size, tokens, before):.4f}"
        writer.writerow([size, tokens or "", before, counts[size, tokens, before], share])
    return text.getvalue()


def as_markdown(counts: Counts) -> str:
    parts = [INTRODUCTION]
    for size in SIZES:
        whole = counts[size, 0, BLOCKS] / 1e9
        rows = [
            [before]
            + [f"{counts[size, t, before] / 1e9:.2f} (−{100 * saved(counts, size, t, before):.0f} %)" for t in TOKENS]
            for before in range(1, BLOCKS)
        ]
        headers = ["blocks before", *(f"{tokens} tokens" for tokens in TOKENS)]
        table = tabulate(rows, headers, tablefmt="github", colalign=["right"] * len(headers))
        parts += [f"## {size} pixels: {whole:.2f} GMACs without TokenLearner", table, reading(counts, size)]
    return "\n\n".join([*parts, HOW])


def reading(counts: Counts, size: int) -> str:
    """What the table says of the paper's two claims."""
    middle = " and ".join(f"{100 * saved(counts, size, tokens, BLOCKS // 2):.0f} %" for tokens in (8, 16))
    enough = max(before for before in range(1, BLOCKS) if saved(counts, size, 8, before) >= 2 / 3)
    return (
        f"In the middle, behind {BLOCKS // 2} blocks, 8 and 16 tokens save {middle}. With 8 tokens, two thirds are "
        f"saved behind {enough} blocks or fewer."
    )


def draw(counts: Counts, folder: Path) -> None:
    """Share of the MACs against the insertion point, one line a number of tokens; colour, line and marker differ."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, size in zip(panels, SIZES, strict=True):
        for share, claim in ((50, "half, at 6 blocks"), (100 / 3, "up to two thirds saved")):
            axes.axhline(share, color="0.35", linewidth=1)
            axes.text(11.2, share - 1, f"the paper's claim: {claim}", ha="right", va="top", fontsize=9, color="0.2")
        axes.axvline(BLOCKS // 2, color="0.8", linewidth=1, zorder=0)
        for index, tokens in enumerate(TOKENS):
            shares = [100 * (1 - saved(counts, size, tokens, before)) for before in range(1, BLOCKS)]
            axes.plot(
                range(1, BLOCKS), shares, LINES[index], color=COLOURS[index], marker=MARKERS[index], label=f"{tokens}"
            )
        whole = counts[size, 0, BLOCKS] / 1e9
        axes.set(
            title=f"{size} pixels, {whole:.1f} GMACs without TokenLearner",
            xlabel="blocks before TokenLearner",
            xticks=range(1, BLOCKS),
            ylim=(0, 100),
        )
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("MACs, % of DeiT-Base's")
    panels[0].legend(title="tokens", loc="upper left", frameon=False)
    for ending in ("png", "svg"):
        buffer = io.BytesIO()
        # Without a date and with fixed names, the same counts give the same file.
        with mpl.rc_context({"svg.hashsalt": "token-learner"}):
            figure.savefig(buffer, format=ending, dpi=130, metadata={"Date": None} if ending == "svg" else None)
        write_bytes(folder / f"macs.{ending}", buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("results/reference/token-learner-macs"), metavar="DIR")
    folder = parser.parse_args().out
    counts = all_counts(load_plugins())
    write_text(folder / "macs.csv", as_csv(counts))
    write_text(folder / "README.md", as_markdown(counts))
    draw(counts, folder)
    print(f"written: {folder}")


if __name__ == "__main__":
    main()
