"""Which further seeds a run adds: to each model so many that enough is known of it, and at most so many."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.events import Note
from bench.files import trial_folder
from bench.records.record import Record
from bench.request import TrialSpec


@dataclass(frozen=True)
class Enough:
    """When seeds are enough: not fewer than `fewest`, nor more than `most`, and once `reached` says so of the records.

    `asked` is what records say of it: how narrow the interval of which quantity had to be.
    """

    fewest: int
    most: int
    reached: Callable[[Sequence[Record]], bool]
    asked: Mapping[str, float]

    def seeds(self, chosen: Sequence[int]) -> list[int]:
        """The seeds to begin with: those chosen, and as many more as are wanted at least."""
        seeds = list(dict.fromkeys(chosen))
        return seeds + list(itertools.islice(_further(seeds), max(0, self.fewest - len(seeds))))


def _further(seeds: Sequence[int]) -> Iterator[int]:
    return (seed for seed in itertools.count() if seed not in seeds)


class MoreSeeds:
    """The trials that follow from what has ended: each is a planned one with the next seed.

    `recorded` gives the record of a trial that was run before.
    """

    def __init__(
        self,
        enough: Enough,
        planned: Sequence[TrialSpec],
        done: Sequence[Record],
        recorded: Callable[[TrialSpec], Record | None],
    ) -> None:
        self.enough, self.recorded = enough, recorded
        self.specs: dict[str, list[TrialSpec]] = {}
        for spec in planned:
            self.specs.setdefault(spec.model, []).append(spec)
        self.records: dict[str, list[Record]] = {model: [] for model in self.specs}
        for record in done:
            self.records[record.model.name].append(record)

    def begin(self) -> Iterator[TrialSpec | Record | Note]:
        """What follows from what was recorded before."""
        for model in self.specs:
            yield from self._of(model)

    def after(self, record: Record) -> Iterator[TrialSpec | Record | Note]:
        """What follows from the trial that has just ended: another one, or none."""
        self.records[record.model.name].append(record)
        yield from self._of(record.model.name)

    def _of(self, model: str) -> Iterator[TrialSpec | Record | Note]:
        specs, records = self.specs[model], self.records[model]
        while len(records) == len(specs):
            if any(record.status != "ok" for record in records):
                return  # it would probably fail again
            if self.enough.reached(records):
                yield Note(f"{model}: {len(records)} seeds are enough for {self._asked()}")
                return
            if len(records) >= self.enough.most:
                yield Note(f"{model}: {len(records)} seeds are not enough for {self._asked()}; --max-seeds allows more")
                return
            seed = next(_further([spec.seed for spec in specs]))
            folder = trial_folder(specs[0].folder.parents[1], model, seed)
            spec = replace(specs[0], seed=seed, folder=folder)
            specs.append(spec)
            record = self.recorded(spec)
            if record is None:
                yield spec
                return
            records.append(record)
            yield record

    def _asked(self) -> str:
        return ", ".join(f"{key} ± {half:g}" for key, half in self.enough.asked.items())
