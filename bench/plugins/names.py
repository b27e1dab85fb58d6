"""What a model's name means: a plugin's model with options, or any of timm's, and the extensions that change it."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.errors import NoSuchOptionError, RequestError, unknown
from bench.hookspecs import ExtensionSpec, ModelSpec
from bench.plugins.finding import Plugin
from bench.protocol import toml_value
from bench.records.model_names import written_options

# Models that are now a base and an extension, under their former names.
FORMER = {
    **{f"token_learner_vit_{size}": f"vit_{size}+token_learner" for size in ("tiny", "base")},
    **{f"token_learner_deit_{size}": f"deit_{size}_distilled+token_learner" for size in ("tiny", "small", "base")},
    **{f"fdvit_deit_{size}": f"deit_{size}_distilled+flexible_downsampling" for size in ("tiny", "small")},
}


@dataclass(frozen=True)
class Extension:
    """An extension as asked for: `name` with its options written out, and the plugin it comes from."""

    name: str
    spec: ExtensionSpec
    options: dict[str, Any]
    plugin: Plugin


@dataclass(frozen=True)
class Model:
    """A model as asked for: `base` with its options written out, the plugin it comes from, and what extends it."""

    base: str
    spec: ModelSpec
    options: dict[str, Any]
    plugin: Plugin
    extensions: tuple[Extension, ...] = ()

    @property
    def name(self) -> str:
        """As the user would type it: `vit_tiny:patch_size=4+token_learner:tokens=8`."""
        return "+".join([self.base, *(extension.name for extension in self.extensions)])

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Where its base and its extensions come from."""
        return (self.plugin, *(extension.plugin for extension in self.extensions))

    @property
    def code(self) -> str:
        """SHA-256 of the source of its plugin; of those of its plugins, where it is extended."""
        if not self.extensions:
            return self.plugin.code
        return hashlib.sha256(" ".join(plugin.code for plugin in self.plugins).encode()).hexdigest()

    @property
    def last_block(self) -> str | None:
        """The first module that trains under last-block fine-tuning: the plugin's, or `timm/NAME:last_block=…`."""
        return self.spec.last_block or self.options.get("last_block")

    @property
    def split(self) -> Callable[[Any], tuple[Any, Any]] | None:
        """How its plugin splits it; an extended one's halves are for bench to find."""
        return None if self.extensions else self.spec.split

    def options_under(self, defaults: dict[str, Any]) -> dict[str, Any]:
        """Its base's options, after the protocol's for those that this model has."""
        known = self.spec.options()
        return {key: value for key, value in defaults.items() if key in known} | self.options

    def offered(self, defaults: dict[str, Any]) -> dict[str, Any]:
        """Those of the protocol's options that it may have: only timm knows, when it builds the model."""
        if self.plugin.name != TIMM.name:
            return {}
        return {key: value for key, value in defaults.items() if key not in self.options}


# Any of timm's models. Where bench changes what it makes of them, that is other code: since 2 the protocol's options
# are offered to them.
TIMM = Plugin("timm", "any timm model", "2")


def read_options(text: str, written: str) -> Iterator[tuple[str, Any]]:
    for part in written_options(written):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise RequestError(f"{text}: write options as NAME:key=value,key=value")
        found = toml_value(value)
        if toml_value(written_as(found)) != found:  # a date, a table, a text with quotes, infinity
            raise RequestError(f"{text}: {key} must be a number, true, false, a plain word or a list of numbers")
        yield key, found


def written_as(value: Any) -> str:
    """The value as it would be typed, whatever its spelling was."""
    if isinstance(value, list):
        return "[" + ",".join(written_as(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return ""


def timm_model(name: str) -> ModelSpec:
    """The spec of `timm/NAME`. Whether timm has it is seen when it is built: importing timm takes seconds."""
    return ModelSpec(name, functools.partial(_build_timm, name.removeprefix("timm/")), "timm", source="timm")


def _build_timm(
    timm_name: str, *, num_classes: int, image_size: int, pretrained: bool, last_block: str = "", **options: Any
) -> Any:
    import timm

    if not timm.is_model(timm_name):
        names = timm.list_models()
        raise unknown("timm model", timm_name, names, "python -c 'import timm; print(timm.list_models())'")
    configuration = timm.get_pretrained_cfg(timm_name)
    if configuration is not None and configuration.fixed_input_size:
        options = {"img_size": image_size, **options}
    try:
        return timm.create_model(timm_name, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:  # timm hands options on to the model's constructor, which names the one it lacks
        if "unexpected keyword argument" not in str(error):
            raise
        option = str(error).rpartition("argument ")[2].strip("'")
        raise NoSuchOptionError(f"timm/{timm_name} has no option {option!r}", option) from None
