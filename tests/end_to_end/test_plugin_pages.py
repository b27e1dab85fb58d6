"""The pages for authors of plugins are run from top to bottom, as the others are in test_pages.py.

Two files, so that two processes may share them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from faulted import Bench
from paged import RUN, name_of, run_page


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in RUN if page.parent.name == "plugins"], ids=name_of)
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, bench: Bench) -> None:
    run_page(page, tmp_path, bench)
