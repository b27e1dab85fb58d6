"""The project's own claims: figures from papers, released tables and the notebook study, out of published.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.records.evidence import Claim
from bench.report.claims import checks

FILE = Path(__file__).with_name("published.toml")

NOTEBOOK = {"train.what": "last-block", "model.weights": "pretrained", "dataset": "cifar10"}
NOTEBOOK_HEAD = {"train.what": "last-block", "head.hidden": [256, 256], "classes": 10}
IMAGENET = {"classes": 1000, "test": 50_000, "train.what": "full", "data.image_size": 224}
# A single run is repeated within a point; "about" is within a quarter.
POINTS = 1.0
ABOUT = 0.25
SEEDS = "--seed 0 --seed 1 --seed 2"  # fewer decide nothing


def published_claims() -> Iterator[Claim]:
    """All of them, those of one source together."""
    found = tomllib.loads(FILE.read_text())
    yield from _timm(found["timm"])
    yield from _fdvit(found["fdvit"])
    yield from _token_learner(found["token_learner"])
    yield from _small_scale(found)
    yield from _token_merging(found["token_merging"])
    yield from _notebook(found["notebook"])
    yield from _single_block(found["single_block"])


def _timm(found: dict[str, Any]) -> Iterator[Claim]:
    for name, row in found["models"].items():
        counts = {key: row[key] for key in ("params", "gmacs", "activations")}
        yield Claim(
            f"{name} at {row['image_size']} pixels: {row['params']:.2f} M parameters, {row['gmacs']:.2f} GMACs, "
            f"{row['activations']:.2f} M activations (within 1 %)",
            found["source"],
            checks.counts_are(
                row["model"], counts, image_size=row["image_size"], left_out=found["left_out"].get(row["model"])
            ),
        )


def _fdvit(found: dict[str, Any]) -> Iterator[Claim]:
    source, models, share = found["source"], found["models"], found["flops_saved_s_over_vit_s"]
    for name, row in models.items():
        yield Claim(
            f"{name} has {row['params']:.1f} M parameters (within 1 %)",
            source,
            checks.counts_are(name, {"params": row["params"]}, decimals=1, rebuilt=True),
        )
        yield Claim(
            f"{name} takes {row['gmacs']:.1f} GFLOPs by the paper's count: multiply-accumulates of convolutions and "
            "linear layers alone",
            source,
            checks.counts_are(name, {"gmacs": row["gmacs"]}, decimals=1, operators=checks.LAYERS_ONLY, rebuilt=True),
        )
    layers = checks.LAYERS_ONLY
    counts = {
        "as the paper's table counts, its own model without attention products and ViT-S with them": (layers, ()),
        "both without": (layers, layers),
        "both whole": ((), ()),
    }
    yield Claim(
        f"FDViT-S saves {share:.0%} of ViT-S's FLOPs (within 1 point, as the paper counts)".replace("%", " %"),
        source,
        checks.saves_by_a_count("fdvit_s", "vit_small", share, counts),
    )
    for name, row in models.items():
        command = (
            f"python -m bench run {name} --protocol cifar10-scratch --data folder:imagenet --set name=imagenet-scratch "
            f"--set data.image_size=224 --set train.epochs=300 {SEEDS}"
        )
        yield Claim(
            f"{name} reaches {row['top1']:.1f} % top-1 on ImageNet (within {POINTS:g} point)",
            source,
            checks.reaches(name, row["top1"], within=POINTS, under=IMAGENET, command=command),
        )


def _token_learner(found: dict[str, Any]) -> Iterator[Claim]:
    source = found["source"]
    halved = {
        tokens: [f"deit_base_distilled+token_learner:after=0.5,tokens={tokens}"] for tokens in found["tokens_at_middle"]
    }
    halved[8] += ["deit_base_distilled+token_learner:after=0.5", "deit_base_distilled+token_learner"]  # its defaults
    yield Claim(
        f"TokenLearner with {' or '.join(map(str, halved))} tokens in the middle of the network saves about "
        f"{found['saved_at_middle']:.0%} of the computation (within 5 points)".replace("%", " %"),
        source,
        checks.each(
            *(
                checks.computes_less(models, "deit_base_distilled", found["saved_at_middle"], tolerance=0.05)
                for models in halved.values()
            )
        ),
    )
    early = ["deit_base_distilled+token_learner:after=0.25", "deit_base_distilled+token_learner*"]
    yield Claim(
        f"TokenLearner saves up to {found['saved_at_most']:.0%} of the computation, "
        "where it comes early (within 1 point, or more)".replace("%", " %"),
        source,
        checks.computes_less(early, "deit_base_distilled", found["saved_at_most"], at_least=True),
    )


SMALL = {"train.what": "full", "model.weights": "scratch"}
# Points of top-1 that "without losing accuracy" may lose there: set when TokenLearner was first compared on 4,000
# pictures, after that result was seen and before the comparison on 45,000 was run.
MARGIN = 2.0


def _small_scale(found: dict[str, Any]) -> Iterator[Claim]:
    """What the papers say of accuracy, held against trainings from scratch on small pictures: another scale.

    Every transformer there cuts the same patches: `stride=4` is FDViT-Ti's grid of ViT-Tiny's at 32 pixels.
    """
    run = f"python -m bench run {{}} --protocol cifar10-scratch {SEEDS}"
    bases = ("vit_tiny", "deit_tiny_distilled")
    ryoo, xu, bolya = (found[name]["source"] for name in ("token_learner", "fdvit", "token_merging"))

    def loses_little(extension: str) -> checks.Check:
        """Both bases with it, each at most 2 points below itself."""
        names = " ".join(name for base in bases for name in (base, f"{base}+{extension}"))
        return checks.each(
            *(
                checks.loses_no_accuracy(
                    [f"{base}+{extension}"], base, margin=MARGIN, under=SMALL, command=run.format(names)
                )
                for base in bases
            )
        )

    def is_better(model: str, baseline: str, *, cheaper: bool = False) -> checks.Check:
        command = run.format(f"{model} {baseline}")
        return checks.is_more_accurate(model, baseline, under=SMALL, command=command, cheaper=cheaper)

    yield Claim(
        f"TokenLearner saves computation without losing accuracy (at most {MARGIN:g} points; on small pictures, from "
        "scratch)",
        ryoo,
        loses_little("token_learner"),
    )
    yield Claim(
        "TokenLearner before the last quarter often improves accuracy (on small pictures, from scratch)",
        ryoo,
        is_better("vit_tiny+token_learner:after=0.75", "vit_tiny"),
    )
    yield Claim(
        "FDViT is more accurate than ViT with less computation (on small pictures, from scratch; part of the lead may "
        "be its patches, which overlap and ViT's do not)",
        xu,
        is_better("fdvit_ti:stride=4", "vit_tiny", cheaper=True),
    )
    yield Claim(
        "FDViT's masked auto-encoder improves accuracy (on small pictures, from scratch)",
        xu,
        is_better("fdvit_ti:stride=4", "fdvit_ti:stride=4,mask_weight=0"),
    )
    yield Claim(
        f"Merging tokens while training saves computation at little loss of accuracy (at most {MARGIN:g} points; on "
        "small pictures, from scratch)",
        bolya,
        loses_little("token_merging"),
    )


def _token_merging(found: dict[str, Any]) -> Iterator[Claim]:
    for name, row in found["models"].items():
        (top1, merged), (speed, faster) = row["top1"], row["speed"]
        yield Claim(
            f"{name} with {row['r']} tokens merged in every block classifies {faster / speed:.2f} times as many images "
            f"a second and loses {top1 - merged:.2f} points of top-1, "
            f"{'trained so' if row['trained'] else 'without training'}",
            found["source"],
            checks.lacks(
                "needs ImageNet's pictures; of a model trained on them: `python -m bench measure FOLDER --extension "
                f"token_merging:r={row['r']}`"
            ),
        )


def _notebook(found: dict[str, Any]) -> Iterator[Claim]:
    source, factor = found["source"], found["deit_epoch_over_vgg19"]
    run = f"python -m bench run {{}} --protocol cifar10 {SEEDS}"
    for model, parameters in found["trainable"].items():
        yield Claim(
            f"{model}: {parameters:,} parameters train, the last block and the head features → 256 → 256 → 10",
            source,
            checks.trains(
                model,
                parameters,
                under=NOTEBOOK_HEAD,
                command=f"python -m bench models --trainable {model} --protocol cifar10 --keep results",
            ),
        )
    for model, top1 in found["test_top1"].items():
        size = found["image_size"][model]
        other_size = f" --set data.image_size={size} --set name=cifar10-{size}px" if size != 224 else ""
        yield Claim(
            f"{model} with its last block fine-tuned reaches {top1:.1f} % of the CIFAR-10 test pictures at {size} "
            f"pixels (within {POINTS:g} point)",
            source,
            checks.reaches(
                model,
                top1,
                within=POINTS,
                under=NOTEBOOK | {"data.image_size": size},
                command=run.format(model) + other_size,
            ),
        )
    seconds = found["seconds_per_epoch"]
    yield Claim(
        f"DeiT-B at 224 pixels takes about {factor} times VGG19's training time at 32 pixels "
        f"({seconds['deit_base_distilled']:.0f} s an epoch against {seconds['vgg19']:.0f} s)",
        source,
        checks.steps_take_longer(
            "deit_base_distilled",
            "vgg19",
            factor,
            tolerance=ABOUT,
            image_size=224,
            baseline_size=32,
            otherwise="every layer trains here; there the last block and the head, in two frameworks",
        ),
    )
    for cnn in ("vgg19", "densenet201"):
        yield Claim(
            f"DeiT-B has fewer trainable parameters than {cnn} and higher accuracy, last block fine-tuned on CIFAR-10",
            source,
            checks.trains_less_and_is_better(
                "deit_base_distilled", cnn, under=NOTEBOOK, command=run.format(f"{cnn} deit_base_distilled")
            ),
        )


def _single_block(found: dict[str, Any]) -> Iterator[Claim]:
    for model, top1 in found["val_top1"].items():
        yield Claim(
            f"{model} with its last block fine-tuned reaches {top1:.2f} % of the CIFAR-10 validation pictures at 224 "
            f"pixels (within {POINTS:g} point)",
            found["source"],
            checks.reaches(
                model,
                top1,
                quantity="val_accuracy",
                within=POINTS,
                under=NOTEBOOK | {"data.image_size": 224},
                command=f"python -m bench run {model} --protocol cifar10 {SEEDS}",
            ),
        )
