"""index.html: the comparisons as one page that opens without a network and loads nothing.

The parts lie in bench/report/web/. The page's policy allows no script and no style but the page's own, by their
digests, and no connection at all; names and texts come in as JSON and are written as text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from bench.records.comparison import Comparison
from bench.report.artifact import Artifact
from bench.report.page.data import embedded, page_data

PAGE = "index.html"
# In the order in which they stand in the page; each may use what is before it.
SCRIPTS = ("dom", "state", "verdicts", "axes", "scatter", "table", "curves", "classes", "model", "pair", "protocol",
           "main")  # fmt: skip


def artifacts(results: Path, comparisons: Sequence[Comparison]) -> Iterator[Artifact]:
    """`index.html` in the results folder; none where there is no trial to show."""
    if not comparisons:
        return
    yield Artifact(results / PAGE, partial(make, results, tuple(comparisons)))


def make(results: Path, comparisons: Sequence[Comparison]) -> bytes:
    """The page: the same bytes for the same records."""
    from jinja2 import Environment
    from markupsafe import Markup

    data = page_data(results, comparisons)
    style = _part("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_part(f"{name}.js") for name in SCRIPTS) + "})();\n"
    template = Environment(autoescape=True, keep_trailing_newline=True).from_string(_part("page.html.j2"))
    html = template.render(
        policy=f"default-src 'none'; script-src {_source(script)}; style-src {_source(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        names=[one["name"] for one in data["comparisons"]],
        style=Markup(style),
        script=Markup(script),
        data=Markup(embedded(data)),
    )
    return html.encode("utf-8", "replace")


def _part(name: str) -> str:
    return (files("bench.report") / "web" / name).read_text("utf-8")


def _source(text: str) -> str:
    """The digest by which a Content-Security-Policy allows this inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
