"""What `bench.run`, `bench.measure` and `bench.report` are: the api's functions, with the progress that commands show.

A script needs no `if __name__ == "__main__"`, and may be standard input or a notebook's cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import api
from bench.cli.progress import watch
from bench.events import Event, Tell, tell_nobody
from bench.records.comparison import Trial
from bench.records.measurement import Measurement
from bench.records.record import Record
from bench.report.make.report import Outcome as ReportOutcome
from bench.report.tables.comparison import run_text
from bench.request import MeasureRequest, RunRequest

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Outcome:
    """What a run has come to. In a notebook it shows as its table, printed as what the command prints.

    `trials`: all that were asked for, those found recorded first. `folder`: where they and their tables are.

    >>> outcome = bench.run("vit_tiny", "quick", overrides={"name": "first", "train.epochs": 1, "train.limit": 64,
    ...                     "data.test_limit": 64}, timing=False, progress=False)  # recorded already
    >>> print(outcome.folder, outcome.page, len(outcome.frame()))
    results/first results/first/README.md 1
    """

    trials: list[Trial]
    folder: Path
    ok: bool  # whether every trial ended well, and everything could be written

    @property
    def records(self) -> list[Record]:
        """Of each trial."""
        return [one.record for one in self.trials]

    @property
    def page(self) -> Path:
        """The page with the tables and figures of all trials of this protocol: a README.md."""
        return self.folder / "README.md"

    def frame(self) -> DataFrame:
        """A row a trial of this run: the columns of `load_frame`. Raises RequestError where pandas is missing."""
        from bench.records.frame import frame

        return frame(self.trials, self.folder)

    def __str__(self) -> str:
        return run_text(self.trials)

    def _repr_markdown_(self) -> str:
        return run_text(self.trials, "markdown")


def run(
    models: RunRequest | str | Sequence[str] = (),
    protocol: str | None = None,
    *,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    progress: bool = True,
    tell: Tell = tell_nobody,
    **parameters: Any,
) -> Outcome:
    """Train models under one protocol, once for each seed, leaving out what is already recorded; and write the tables.

    >>> smaller = {"train": {"epochs": 1, "limit": 64}, "data.test_limit": 64, "name": "first"}
    >>> outcome = bench.run("vit_tiny", protocol="quick", overrides=smaller, timing=False, progress=False)
    >>> outcome.ok, len(outcome.records)
    (True, 1)

    `models` are names as on the command line (`vit_tiny:patch_size=8+token_merging`), or a RunRequest. `overrides`
    change settings of the protocol. Further keywords are the fields of RunRequest, RunOptions and Place: `seeds=[0]`,
    `all_models=True`, `data="folder:pictures"`, `device="cpu"`, `timing=False`, `results="elsewhere"`.

    Progress is shown as the commands show it; `tell` is called with every event (bench.events) beside that.

    Raises RequestError, with one line that says what to do, before anything trains, where it cannot be carried out. A
    trial that fails raises nothing: its record says why.
    """
    parameters |= {} if protocol is None else {"protocol": protocol}
    parameters |= {"overrides": overrides} if overrides else {}
    with _watched(progress, tell) as told:
        found = api.run(models, tell=told, **parameters)
    return Outcome(found.trials, found.folder, found.ok)


def measure(
    models: MeasureRequest | str | Sequence[str] = (),
    *,
    progress: bool = True,
    tell: Tell = tell_nobody,
    **parameters: Any,
) -> list[Measurement]:
    """Measure models as they are, without training them; write their measurements, and a page with their table.

    >>> (found,) = bench.measure("vit_tiny", image_size=224, only=["macs"], progress=False)
    >>> found.efficiency.macs
    1258411200

    `models` are names, or a MeasureRequest, whose fields and Place's are the further keywords. Counts are of one image;
    the keys of `efficiency` are the record's: bytes, seconds unless the name says otherwise.

    Raises RequestError for what cannot be carried out; a model or a measurement that fails says so in what is given.
    """
    with _watched(progress, tell) as told:
        return api.measure(models, tell=told, **parameters)


def report(
    results: str | Path = "results",
    *,
    plugins: Sequence[str | Path] = (),
    texts: Sequence[str | Path] | None = None,
    progress: bool = True,
    tell: Tell = tell_nobody,
) -> ReportOutcome:
    """Make the tables, figures, findings and the interactive page of a results folder anew, where they are not as is.

    >>> print(bench.report("results", texts=(), progress=False).page)
    results/index.html

    `plugins` are folders whose claims are judged, too; `texts` Markdown files with marked sections, or folders of such,
    by default the results folder and the working directory. Raises RequestError where there are no records.
    """
    marked = None if texts is None else [Path(one) for one in texts]
    with _watched(progress, tell) as told:
        return api.report(results, plugins=[Path(one) for one in plugins], texts=marked, tell=told)


@contextmanager
def _watched(progress: bool, tell: Tell) -> Iterator[Tell]:
    """What tells of each event: it is shown, where progress is, and then told to `tell`."""
    with watch(not progress) as shown:

        def told(event: Event) -> None:
            shown(event)
            tell(event)

        yield told
