"""How the documentation is built: `python -m sphinx -W docs docs/_build`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import bench  # noqa: E402

project = "bench"
author = "the authors of bench"
release = bench.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "bench"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Tell": "Tell", "Event": "Event"}
autodoc_member_order = "bysource"
default_role = "code"


class Help(SphinxDirective):
    """What `--help` says of every command."""

    def run(self) -> list[nodes.Node]:
        from typer.main import get_command
        from typer.testing import CliRunner

        from bench.cli import app

        found: list[nodes.Node] = []
        for name in get_command(app).commands:
            said = CliRunner().invoke(app, [name, "--help"], prog_name="python -m bench").output
            section = nodes.section(ids=[name])
            section += nodes.title(text=name)
            section += nodes.literal_block(said, said, language="text")
            found.append(section)
        return found


class Quantities(SphinxDirective):
    """A table of all quantities, from the quantities."""

    def run(self) -> list[nodes.Node]:
        from bench.records.quantities import QUANTITIES

        kinds = {"count": "counted: exact", "time": "timed", "accuracy": "tested on pictures", "score": "a score"}
        rows = [
            f"| `{one.key}` | {one.label} | {one.unit or '–'} | {one.better or '–'} | {kinds[one.kind]} | {one.about} |"
            for one in QUANTITIES
        ]
        lines = ["| key | column | unit | better | how it is known | what it is |", "|---|---|---|---|---|---|", *rows]
        node = nodes.container()
        self.state.nested_parse(StringList(lines, "bench/records/quantities.py"), self.content_offset, node)
        return node.children


def published(app: Sphinx, name: str, text: list[str]) -> None:
    """Put the page that lies beside the published results in its place; what that links to lies beside it, not here."""
    page = (ROOT / "results" / "reference" / "README.md").read_text()
    body = re.sub(r"\[(`?[^\]]*`?)\]\([^)]*\)", r"\1", page.partition("\n")[2])
    text[0] = text[0].replace("{{ published }}", body)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("bench-help", Help)
    app.add_directive("bench-quantities", Quantities)
    app.connect("source-read", published)
    return {"parallel_read_safe": True}
