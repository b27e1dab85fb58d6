"""Claims, and what they are held against: the comparisons and the measurements of a results folder.

Plugins import this through `bench`, so it imports nothing that takes time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.records.model_names import in_one_order, is_same
from bench.records.quantities import at

if TYPE_CHECKING:
    from bench.records.comparison import Comparison, Contender
    from bench.records.measurement import Measurement
    from bench.records.record import Record
    from bench.records.trainable import Trainable


Outcome = Literal["confirmed", "refuted", "not reproduced", "undecided", "other conditions", "not testable"]


@dataclass(frozen=True)
class Verdict:
    """What was run says of a claim: the numbers, and for one that it cannot test, the command that would.

    - confirmed: ours is the published figure, or rounds to it; or the test says so;
    - refuted: ours contradicts it under the source's own conditions;
    - not reproduced: ours differs, but the model is built anew here, or the scale is another;
    - undecided: the interval holds both;
    - other conditions: only measured under conditions that the source does not speak of;
    - not testable: nothing was run that speaks of it.

    >>> bench.Verdict("confirmed", "5,717,416 parameters").outcome
    'confirmed'
    """

    outcome: Outcome
    numbers: str
    command: str = ""
    places: tuple[str, ...] = ()  # the folders, of those in the results folder, whose records say so


@dataclass(frozen=True)
class Evidence:
    """All that a results folder holds."""

    comparisons: Sequence[Comparison]
    measurements: Sequence[Measurement]
    trainable: Sequence[Trainable] = ()

    def measured(self, model: str, image_size: int = 224, classes: int = 1000) -> Measurement | None:
        """A measurement of that model, named with its options, in which its MACs were counted."""
        for one in self.measurements:
            size = (one.settings.get("image_size"), one.settings.get("classes"))
            if is_same(one.model["name"], model) and size == (image_size, classes) and one.efficiency.macs:
                return one
        return None

    def compared(self, models: Sequence[str], under: Mapping[str, Any]) -> Iterator[tuple[Comparison, list[Contender]]]:
        """The comparisons that have all of the models, and whose settings are those of `under`: see `setting`.

        A model's options may be written in any order.

        With each, what it has of every model: its `first` record, and its trials that ended well, `finished`.
        """
        for comparison in self.comparisons:
            by_name = {in_one_order(contender.model): contender for contender in comparison.contenders}
            asked = [in_one_order(model) for model in models]
            if not all(model in by_name for model in asked):
                continue
            if all(setting(comparison.first, key) == value for key, value in under.items()):
                yield comparison, [by_name[model] for model in asked]


@dataclass(frozen=True)
class Claim:
    """A published claim: its words, where it stands, and how it is tested.

    `check(evidence)` gives a Verdict on the comparisons and measurements of a results folder, and changes nothing;
    bench.report.claims.checks has ready-made ones, such as `counts_are("mine", {"params": 5.3})`.

    >>> from bench.report.claims.checks import counts_are
    >>> bench.Claim("ViT-Tiny has 5.5 M parameters", "its paper", counts_are("vit_tiny", {"params": 5.5})).source
    'its paper'
    """

    text: str
    source: str
    check: Callable[[Evidence], Verdict]


def setting(record: Record, key: str) -> Any:
    """`train.what` of the protocol's settings; `dataset`, `classes` and `test` (how many) of the data; else None."""
    data = {"dataset": record.data.name, "classes": len(record.data.classes), "test": record.data.test}
    return data[key] if key in data else at(record.protocol.settings, key)
