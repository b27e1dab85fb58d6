"""README.md of a protocol's folder, and the tables beside it: the comparison, and each model's classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from bench.events import Tell
from bench.files import write_bytes
from bench.records.comparison import Comparison, applied, comparisons, trials_of
from bench.report import figures
from bench.report.artifact import Artifact
from bench.report.figures import figure_file
from bench.report.figures.pareto import has_overview
from bench.report.judge.extended import changes
from bench.report.tables.by_class import classes_csv, classes_latex, classes_page, has_classes
from bench.report.tables.comparison import (
    comparison_csv,
    comparison_latex,
    comparison_table,
    conditions,
    csv_units,
    notes,
)
from bench.report.tables.extensions import extensions_csv, extensions_latex, extensions_read, extensions_table
from bench.report.tables.times import timed_quantities, times_read, times_table
from bench.report.text.markup import markdown, paragraphs, written


def artifacts(comparisons: Sequence[Comparison]) -> Iterator[Artifact]:
    """Of each folder its README.md; of each comparison its table as CSV and LaTeX, and its models' classes."""
    for folder, group in groupby(comparisons, key=lambda one: one.folder):
        own = tuple(group)
        yield Artifact(folder / "README.md", partial(folder_page, own))
        for one in own:
            yield Artifact(one.file("comparison.csv"), partial(comparison_csv, one))
            yield Artifact(one.file("comparison.tex"), partial(comparison_latex, one))
            if changes(one):
                yield Artifact(one.file("extensions.csv"), partial(extensions_csv, one))
                yield Artifact(one.file("extensions.tex"), partial(extensions_latex, one))
            if has_classes(one):
                yield Artifact(one.file("classes.md"), partial(classes_page, one))
                yield Artifact(one.file("classes.csv"), partial(classes_csv, one))
                yield Artifact(one.file("classes.tex"), partial(classes_latex, one))


def rewrite_page(folder: Path, emit: Tell) -> None:
    """Write the README.md of that folder, as its records give it: work for an executor; `run` has it done at times."""
    if found := comparisons(trials_of(folder).values()):
        write_page(found)


def write_page(comparisons: Sequence[Comparison]) -> None:
    """Write the README.md of one folder's comparisons, as `report` does."""
    write_bytes(comparisons[0].folder / "README.md", folder_page(comparisons))


def write_tables(comparisons: Sequence[Comparison]) -> None:
    """Write all tables of one folder's comparisons and their overview figure; `run` calls it at its end."""
    overviews = {figure_file(one, "accuracy") for one in comparisons}
    drawn = (one for one in figures.artifacts(comparisons) if one.file in overviews)
    for artifact in (*artifacts(comparisons), *drawn):
        write_bytes(artifact.file, artifact.make())


def folder_page(comparisons: Sequence[Comparison]) -> bytes:
    """README.md of a folder: each of its comparisons apart, with how to read it and what it was made under."""
    folder = comparisons[0].folder
    parts = [f"# {_title(folder.name, comparisons[0]) if len(comparisons) == 1 else markdown(folder.name)}"]
    if len(comparisons) > 1:
        parts.append("These trials differ in protocol or data, so there is a table for each; they are not compared.")
    for one in comparisons:
        parts += [f"## {_title(one.name, one)}"] if len(comparisons) > 1 else []
        parts += _comparison(one)
    return ("\n\n".join(parts) + "\n").encode()


def _title(name: str, comparison: Comparison) -> str:
    """The name, and what the protocol says of itself: what was changed for this run, where anything was."""
    description = comparison.first.protocol.description
    return markdown(f"{name}: {description}" if description else name)


def _comparison(one: Comparison) -> list[str]:
    beside = [f"[{name}]({one.file(name).name})" for name in ("comparison.csv", "comparison.tex")]
    beside += [f"[by class]({one.file('classes.md').name})"] if has_classes(one) else []
    found = csv_units(one)
    units = f" Units of the CSV's columns: {', '.join(found)}." if found else ""
    return [
        written(comparison_table(one), "markdown"),
        *_figure(one),
        paragraphs(notes(one), "markdown"),
        *_extensions(one),
        *_applied(one),
        *_times(one),
        "Made under:",
        paragraphs(conditions(one), "markdown"),
        f"The same table: {', '.join(beside)}.{units} Each row can be traced to `<model>/seed<N>/record.json`.",
    ]


def _extensions(one: Comparison) -> list[str]:
    """What each extension changes, where any model is extended."""
    table = extensions_table(one)
    if table is None:
        return []
    files = [f"[{name}]({one.file(name).name})" for name in ("extensions.csv", "extensions.tex")]
    figure = f"![Extended models beside their bases](figures/{figure_file(one, 'extensions').name})"
    read = paragraphs(extensions_read(one), "markdown")
    return ["What each extension changes:", written(table, "markdown"), figure, read, f"The same: {', '.join(files)}."]


def _applied(one: Comparison) -> list[str]:
    """What extensions change that were applied to the trained models, where any were."""
    beside = applied(one)
    table = extensions_table(beside) if beside else None
    if beside is None or table is None:
        return []
    head = "The trained weights as they are, with extensions applied after training (`measure FOLDER --extension …`):"
    return [head, written(table, "markdown"), paragraphs(extensions_read(beside), "markdown")]


def _times(one: Comparison) -> list[str]:
    """The times of its sessions, side by side, or what gives them."""
    if not timed_quantities(one):
        command = "python -m bench measure --of RESULTS"
        return [f"Not timed side by side, and so without times to compare: `{command}`."]
    return ["Timed side by side:", written(times_table(one), "markdown"), paragraphs(times_read(one), "markdown")]


def _figure(one: Comparison) -> list[str]:
    """Accuracy against cost, where any cost is known."""
    if not has_overview(one):
        return []
    about = "Test top-1 against GMACs and against the time of a training step"
    return [f"![{about}](figures/{figure_file(one, 'accuracy').name})"]
