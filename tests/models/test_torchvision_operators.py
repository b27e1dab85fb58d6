"""timm can be imported wherever bench builds models, and nothing is changed for those who only `import bench`."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    """What a new process prints for it."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_bench_changes_nothing_of_how_python_imports() -> None:
    code = "import sys; before = [*sys.meta_path]; import bench; print(sys.meta_path == before, 'torch' in sys.modules)"
    assert run(code) == "True False"


@pytest.mark.slow
@pytest.mark.parametrize("library", ["timm", "torchvision.datasets"])
def test_a_plugins_libraries_are_imported_where_models_are_built(library: str) -> None:
    assert run(f"import bench.models.classifier, {library}; print('passes')") == "passes"


def test_a_torchvision_whose_operators_load_is_left_as_it_is() -> None:
    stand_in = (
        "import sys, types; found = types.ModuleType('torchvision'); sys.modules['torchvision'] = found; "
        "from bench.models.torchvision_operators import import_torchvision; import_torchvision(); "
        "print(sys.modules['torchvision'] is found, 'torchvision._meta_registrations' in sys.modules)"
    )
    assert run(stand_in) == "True False"
