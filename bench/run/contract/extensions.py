"""An extension, held against the contract: on the bundled models that it fits."""

from __future__ import annotations

import torch

from bench.errors import UnfitError
from bench.models.classifier import Classifier, build_classifier
from bench.plugins import Registry
from bench.protocol import load_protocol
from bench.run.contract import Finding, Findings, WrongError
from bench.run.contract.models import check as check_model

# Small ones of each family, those that are checked soonest before others that the same extensions fit.
BASES = ("vit_tiny", "deit_tiny_distilled", "fdvit_ti", "efficientnet_lite0", "densenet121", "vgg19_bn")
SIZE = 32


def check(name: str, registry: Registry) -> list[Finding]:
    """Everything that is found of the extension."""
    _, plugin = registry.extensions[name]
    found = Findings(plugin)
    fitting: list[str] = []
    with found.of("fits a bundled model, and says of the others in a few words why not"):
        for base in BASES:
            try:
                _built(f"{base}+{name}", registry)
                fitting.append(base)
            except UnfitError as error:
                if len(str(error)) > 200:
                    raise WrongError(f"of {base} it says {len(str(error))} characters: a few words will do") from None
        if not fitting:
            raise WrongError(f"none of {', '.join(BASES)}: `fits` returns why not, and an empty text where it does")
    if not fitting:
        return found.found
    base = fitting[0]
    with found.of(f"keeps the weights of what was there (on {base})"):
        _keeps_weights(base, name, registry)
    with found.of("changes something"):
        images = torch.rand(2, 3, SIZE, SIZE)
        with torch.no_grad():
            alike = torch.equal(*(_built(one, registry).eval()(images) for one in (base, f"{base}+{name}")))
        if alike:
            raise WrongError(f"{base} gives the very same logits with it: does `apply` return what it changed?")
    extended = check_model(f"{base}+{name}", registry)
    return found.found + [Finding(f"{base}+{name} {one.what}", one.ok, one.said) for one in extended]


def _built(name: str, registry: Registry) -> Classifier:
    torch.manual_seed(0)
    protocol = load_protocol("quick", [f"data.image_size={SIZE}", "model.options={patch_size=8}"])
    return build_classifier(registry.model(name), protocol, 10)


def _keeps_weights(base: str, name: str, registry: Registry) -> None:
    before = _built(base, registry).backbone.state_dict()
    after = _built(f"{base}+{name}", registry).backbone.state_dict()
    for key, tensor in before.items():
        if not torch.equal(tensor, after[key]):
            raise WrongError(f"it changes the values of {key}: pretrained weights are in place when it is applied")
