"""README.md of a protocol's folder, and the tables beside it: the comparison, and each model's classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from bench.files import write_bytes
from bench.records.comparison import Comparison, read_comparisons
from bench.report import figures
from bench.report.artifact import Artifact
from bench.report.figures import figure_file
from bench.report.figures.pareto import costs
from bench.report.tables.by_class import classes_csv, classes_latex, classes_page, has_classes
from bench.report.tables.comparison import comparison_csv, comparison_latex, comparison_table, conditions, notes
from bench.report.text.markup import markdown, paragraphs, written


def artifacts(results: Path, comparisons: Sequence[Comparison]) -> Iterator[Artifact]:
    """Of each folder its README.md; of each comparison its table as CSV and LaTeX, and its models' classes."""
    for folder, group in groupby(comparisons, key=lambda one: one.folder):
        own = tuple(group)
        yield Artifact(folder / "README.md", " ".join(one.digest for one in own), partial(folder_page, own))
        for one in own:
            yield Artifact(one.file("comparison.csv"), one.digest, partial(comparison_csv, one))
            yield Artifact(one.file("comparison.tex"), one.digest, partial(comparison_latex, one))
            if has_classes(one):
                yield Artifact(one.file("classes.md"), one.digest, partial(classes_page, one))
                yield Artifact(one.file("classes.csv"), one.digest, partial(classes_csv, one))
                yield Artifact(one.file("classes.tex"), one.digest, partial(classes_latex, one))


def write_tables(folder: Path, figure: bool = False) -> None:
    """Write a protocol's tables, as `report` does, and maybe their figure; `run` calls it after every trial."""
    found, _ = read_comparisons(folder)
    own = [one for one in found if one.folder == folder]
    wanted = list(artifacts(folder, own))
    if figure:
        pictures = {figure_file(one, "accuracy") for one in own}
        wanted += [one for one in figures.artifacts(folder, own) if one.file in pictures]
    for artifact in wanted:
        write_bytes(artifact.file, artifact.make())


def folder_page(comparisons: Sequence[Comparison]) -> bytes:
    """README.md of a folder: each of its comparisons apart, with how to read it and what it was made under."""
    folder = comparisons[0].folder
    parts = [f"# {markdown(folder.name)}"]
    if len(comparisons) > 1:
        parts.append("These trials differ in protocol or data, so there is a table for each; they are not compared.")
    for one in comparisons:
        parts += [f"## {markdown(one.name)}"] if len(comparisons) > 1 else []
        parts += _comparison(one)
    return ("\n\n".join(parts) + "\n").encode()


def _comparison(one: Comparison) -> list[str]:
    beside = [f"[{name}]({one.file(name).name})" for name in ("comparison.csv", "comparison.tex")]
    beside += [f"[by class]({one.file('classes.md').name})"] if has_classes(one) else []
    return [
        written(comparison_table(one), "markdown"),
        *_figure(one),
        paragraphs(notes(one), "markdown"),
        "Made under:",
        paragraphs(conditions(one), "markdown"),
        f"The same table: {', '.join(beside)}. Each row can be traced to `<model>/seed<N>/record.json`.",
    ]


def _figure(one: Comparison) -> list[str]:
    """Accuracy against cost, where any cost is known."""
    if not one.finished or "" not in costs(one):
        return []
    return [f"![Test top-1 against GMACs and against seconds of an epoch](figures/{figure_file(one, 'accuracy').name})"]
