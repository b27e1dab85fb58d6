"""What a file is made from is known by the values that its `make` is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from made import answers, write_trial

from bench.records.comparison import Comparison, read_comparisons
from bench.report.artifact import Artifact


def made(*values: object) -> bytes:
    """Stands in for what makes a file."""
    return repr(values).encode()


def inputs(*values: object) -> str:
    return Artifact(Path("file"), partial(made, *values)).inputs


@dataclass(frozen=True)
class Drawn:
    width: float
    names: tuple[str, ...]


def test_other_values_are_other_inputs() -> None:
    assert inputs("a", 1, Drawn(1.5, ("m",))) == inputs("a", 1, Drawn(1.5, ("m",)))
    assert len({inputs("a"), inputs("b"), inputs(Drawn(1.5, ("m",))), inputs(Drawn(1.5, ("n",)))}) == 4


def test_where_a_file_lies_is_no_input() -> None:
    assert inputs(Path("here"), "a") == inputs(Path("there"), "a")


def test_what_has_no_digest_is_refused() -> None:
    with pytest.raises(TypeError, match="set has no digest"):
        inputs({1, 2})


def test_a_comparison_is_its_records_and_predictions_in_whatever_folder(tmp_path: Path) -> None:
    def read(folder: str) -> list[Comparison]:
        return read_comparisons(tmp_path / folder)[0]

    for folder in ("one", "other"):
        write_trial(tmp_path / folder, "m", answers(0.5))
    before = inputs(read("one"))
    assert inputs(read("other")) == before
    file = tmp_path / "one" / "quick" / "m" / "seed0" / "predictions.npz"
    old = dict(np.load(file))
    np.savez_compressed(file, **{**old, "probabilities": old["probabilities"][::-1]})
    assert inputs(read("one")) != before
    file.unlink()
    assert len({before, inputs(read("one"))}) == 2
    record = tmp_path / "other" / "quick" / "m" / "seed0" / "record.json"
    record.write_text(record.read_text().replace('"seconds"', '"seconds_then"', 1))
    assert inputs(read("other")) != before
