"""Everything that is made from a results folder's records, made anew or checked.

Only what changed is made: see bench/report/make/manifest.py. Texts are compared by remaking them; figures, whose bytes
differ from one machine's fonts to another's, by what they were made from, and by which code.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import RequestError
from bench.events import Event, ReportProgress
from bench.files import check_writable, write_bytes, write_text
from bench.records.comparison import Comparison, read_comparisons
from bench.records.evidence import Claim, Evidence
from bench.records.measurement import FOLDER, read_measurements
from bench.records.trainable import read_trainable
from bench.report import figures, findings
from bench.report.artifact import Artifact
from bench.report.claims import page as claims_page
from bench.report.make.manifest import (
    NAME,
    Made,
    code_digest,
    content_digest,
    libraries_digest,
    read_manifest,
    write_manifest,
)
from bench.report.make.pool import make_all
from bench.report.page import html
from bench.report.tables import folder_page, measurements, sections

FIGURES = {".png", ".svg", ".pdf"}


@dataclass
class Outcome:
    """What a report has come to; files as paths in the results folder."""

    made: list[str] = field(default_factory=list)
    kept: int = 0
    removed: list[str] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)  # texts of which a marked section was written anew
    failed: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    results: str = ""

    @property
    def page(self) -> Path:
        """The interactive page of all results; opened in a browser it needs no server."""
        return Path(self.results) / html.PAGE

    def __str__(self) -> str:
        done = {"made": len(self.made), "as they were": self.kept, "removed": len(self.removed)}
        counts = ", ".join(f"{count} {what}" for what, count in done.items() if count or what == "made")
        renewed = f"; renewed the marked sections of {', '.join(self.sections)}" if self.sections else ""
        return f"{self.results}: {counts}{renewed}"


@dataclass(frozen=True)
class Problem:
    """A generated file that is not what the records give, and the command that mends it."""

    file: Path
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.mend}"


@dataclass(frozen=True)
class Checked:
    """What a check has come to: what is wrong, how many files were looked at, a line for each damaged record."""

    problems: list[Problem]
    files: int
    damaged: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        problems = [{"file": str(one.file), "what": one.what, "mend": one.mend} for one in self.problems]
        return {"ok": not problems, "problems": problems, "files": self.files, "damaged": self.damaged}


def make_report(
    results: Path,
    *,
    claims: Sequence[Claim] = (),
    problems: Sequence[str] = (),
    texts: Sequence[Path] = (),
    tell: Callable[[Event], None] = lambda event: None,
) -> Outcome:
    """Make what is not yet as the records give it, and remove what nothing makes any more.

    `claims` are judged beside the project's own; `problems` are lines on claims that could not be had. `texts` are
    Markdown files, or folders of such, whose marked sections are written anew. Raises RequestError where there are no
    records. An interrupt keeps what is finished.
    """
    results = _named(results)
    comparisons, artifacts, damaged = collect(results, claims, problems)
    check_writable(results)
    marked = sections.find(texts, results, comparisons)
    outcome = Outcome(damaged=damaged, results=str(results))
    code, libraries, before = code_digest(), libraries_digest(), read_manifest(results)
    now: dict[str, Made] = {}
    todo = []
    for artifact in artifacts:
        path, sha256 = _path(artifact, results), content_digest(artifact.file)
        if sha256 and before.get(path) == Made(artifact.inputs, code, sha256, libraries):
            now[path] = before[path]
        else:
            todo.append(artifact)
    outcome.kept = len(now)
    try:
        for done, (artifact, result) in enumerate(make_all(todo, _slow), start=1):
            path = _path(artifact, results)
            if isinstance(result, Exception):
                outcome.failed[path] = f"{type(result).__name__}: {result}"
            else:
                now[path] = Made(artifact.inputs, code, hashlib.sha256(result).hexdigest(), libraries)
                try:
                    write_bytes(artifact.file, result)
                except BaseException:  # an interrupt can come when the file has its new content, or before
                    if content_digest(artifact.file) != now[path].sha256:
                        del now[path]
                    raise
                outcome.made.append(path)
            tell(ReportProgress(done, len(todo), path))
        outcome.made.sort()
        wanted = {_path(artifact, results) for artifact in artifacts}
        outcome.removed = [path for path in before if path not in wanted and _remove(results, path)]
    finally:
        # What was not come to keeps its old entry, which says that it is stale.
        write_manifest(results, {**{p: made for p, made in before.items() if (results / p).exists()}, **now})
    for text in marked:
        if text.stale:
            write_text(text.file, text.wanted)
            outcome.sections.append(str(text.file))
    return outcome


def check(
    results: Path,
    *,
    claims: Sequence[Claim] = (),
    problems: Sequence[str] = (),
    texts: Sequence[Path] = (),
    tell: Callable[[Event], None] = lambda event: None,
) -> Checked:
    """Hold every generated file against the records, with what `make_report` is given. Writes nothing.

    Raises RequestError where there are no records.
    """
    results = _named(results)
    comparisons, artifacts, damaged = collect(results, claims, problems)
    mend = f"python -m bench report --results {shlex.quote(str(results))}"
    code, before = code_digest(), read_manifest(results)
    remade = [artifact for artifact in artifacts if artifact.file.suffix not in FIGURES]
    contents: dict[Path, bytes | Exception] = {}
    for done, (artifact, content) in enumerate(make_all(remade, _slow), start=1):
        contents[artifact.file] = content
        tell(ReportProgress(done, len(remade), _path(artifact, results)))
    found = [
        Problem(artifact.file, what, mend)
        for artifact in artifacts
        if (what := _problem(artifact, contents.get(artifact.file), before.get(_path(artifact, results)), code))
    ]
    wanted = {_path(artifact, results) for artifact in artifacts}
    for path in before:
        if path not in wanted and (results / path).exists():
            found.append(Problem(results / path, "left over: nothing makes it any more", mend))
    found += [
        Problem(file, "left over: no model that is here has it", "remove it")
        for file in _strays(comparisons, wanted, before, results)
    ]
    marked = sections.find(texts, results, comparisons)
    found += [
        Problem(text.file, f"line {line}: the marked section is not what the records give", mend)
        for text in marked
        for line in text.stale
    ]
    return Checked(found, len(artifacts) + len(marked), damaged)


def _strays(
    comparisons: Sequence[Comparison], wanted: set[str], before: Mapping[str, Made], results: Path
) -> list[Path]:
    """Figures in a protocol's folder that nothing makes, and of which no report is known to have made them."""
    folders = sorted({one.folder / "figures" for one in comparisons})
    files = (file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix in FIGURES)
    known = wanted | set(before)
    return [file for file in files if file.relative_to(results).as_posix() not in known]


def _slow(artifact: Artifact) -> bool:
    return artifact.file.suffix in {*FIGURES, ".html"}


def _named(folder: Path) -> Path:
    """The folder under its name, which its page bears: `.` has none."""
    return folder if folder.name.strip(".") else folder.resolve()


def collect(
    results: Path, claims: Sequence[Claim] = (), problems: Sequence[str] = ()
) -> tuple[list[Comparison], list[Artifact], list[str]]:
    """The comparisons of the folder, all that is to be made of it, and a line for each damaged record."""
    comparisons, damaged = read_comparisons(results)
    measured, damaged_measurements = read_measurements(results / FOLDER)
    trainable, damaged_counts = read_trainable(results)
    damaged += [*damaged_measurements, *damaged_counts]
    if not comparisons and not measured:
        raise RequestError(_nothing(results, damaged))
    judged = claims_page.judged(claims, Evidence(comparisons, measured, trainable))
    artifacts = [
        *folder_page.artifacts(comparisons),
        *measurements.artifacts(results / FOLDER, measured),
        *findings.artifacts(results, comparisons, claims_page.summary(judged)),
        *claims_page.artifacts(results / "claims.md", judged, problems),
        *html.artifacts(results, comparisons),
        *figures.artifacts(comparisons),
    ]
    return comparisons, artifacts, damaged


def _nothing(results: Path, damaged: Sequence[str]) -> str:
    if damaged:
        return f"{results}: no record can be read: {damaged[0]}"
    if not results.is_dir():
        return f"{results}: no such folder; `python -m bench run` makes records"
    deeper = sorted({file.parents[3] for file in results.glob("*/*/*/seed*/record.json")})
    if deeper:
        return f"{results}: no records of its own; there are some in {deeper[0]}: name that"
    return f"{results}: no records; `python -m bench run` makes some, in {results}/<protocol>/<model>/seed<N>"


def _problem(artifact: Artifact, content: bytes | Exception | None, made: Made | None, code: str) -> str | None:
    """What is wrong with the file; `content` is what it should be, None of a figure; `code` is this one's digest."""
    found = content_digest(artifact.file)
    if isinstance(content, Exception):
        return f"cannot be made: {type(content).__name__}: {content}"
    if found is None:
        return "missing"
    if content is not None and found == hashlib.sha256(content).hexdigest():
        return None
    if made is not None and found != made.sha256:
        return "changed since it was made: by hand, or by another command"
    if made is None:
        return f"not what the records give, and not in {NAME}"
    if content is None and made.inputs == artifact.inputs:
        return None if made.code == code else "stale: made by other code than this"
    return "stale: not what the records give"


def _path(artifact: Artifact, results: Path) -> str:
    return artifact.file.relative_to(results).as_posix()


def _remove(results: Path, path: str) -> bool:
    """Remove a generated file, and its folders where these are empty then; False where there is none."""
    file = results / path
    if not file.is_file():
        return False
    file.unlink()
    for folder in file.parents:  # figures/column, then figures
        if folder == results or any(folder.iterdir()):
            break
        folder.rmdir()
    return True
