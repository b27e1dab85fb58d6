"""Long names made short: what two of them have in common goes, what tells them apart stays.

A model's name is a base, then its options and extensions: `vit_tiny:patch_size=8,depth=4+token_learner:tokens=4`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LEFT_OUT = "…"
LEAST = 6  # letters of a base that is shortened
STEP = 8  # more letters, where two names that differ would look the same


def shown(name: str, length: int = 32) -> str:
    """The name on one line, without what cannot be printed, and with its middle left out where it is longer."""
    name = _one_line(name)
    if len(name) <= length:
        return name
    return f"{name[: length - length // 2 - 1].rstrip()}{LEFT_OUT}{name[-(length // 2) :].lstrip()}"


def begun(name: str, length: int) -> str:
    """The name on one line, as a word that is read from its start: its end left out where it is longer."""
    name = _one_line(name)
    return name if len(name) <= length else f"{name[: length - 1].rstrip()}{LEFT_OUT}"


def distinct(names: Sequence[str], length: int = 32) -> list[str]:
    """The models' names in about so many letters, each longer where two that differ would look the same.

    Of names that share a base the options that all of them have go first, then the base loses its end; an option in
    which they differ is whole.
    """
    texts = [_one_line(name) for name in names]
    short = [_shortened(text, texts, length) for text in texts]
    if len(set(short)) < len(set(names)) and length < max(map(len, texts), default=0):
        return distinct(names, length + STEP)
    return short


def _shortened(name: str, names: Sequence[str], length: int) -> str:
    if len(name) <= length:
        return name
    base, *options = _parts(name)
    others = [set(own[1:]) for other in names if other != name and (own := _parts(other))[0] == base and own[1:]]
    common = [bool(others) and all(option in other for other in others) for option in options]
    # From the end, as many as it takes.
    for at in reversed(range(len(options))):
        if common[at] and len(_joined(base, options)) > length:
            options[at] = LEFT_OUT
    rest = _joined("", options)
    room = max(LEAST, length - len(rest) - 1)
    if all(option == LEFT_OUT for option in options) or room + len(rest) > 2 * length:
        return shown(name, length)
    # What is left out behind the base needs no second sign of it.
    return (
        base + rest if len(base + rest) <= length else f"{base[:room].rstrip('_-. ')}{LEFT_OUT}{rest.lstrip(LEFT_OUT)}"
    )


def _parts(name: str) -> list[str]:
    """`vit_tiny`, `:after=0.5`, `,tokens=4`, each with what separates it from what is before."""
    return re.split(r"(?=[:,+])", name)


def _joined(base: str, options: Sequence[str]) -> str:
    return re.sub(f"{LEFT_OUT}+", LEFT_OUT, base + "".join(options))


def _one_line(name: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
