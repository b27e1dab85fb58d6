"""Figures: made from real records, the same bytes each time, whatever the names, and without what is missing."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from made import changed
from matplotlib.text import Text
from PIL import Image

from bench.files import trial_folder
from bench.records.comparison import Comparison, Trial, comparisons
from bench.records.efficiency import Efficiency
from bench.records.folder import record_files
from bench.records.record import Failure, History, Record, read_record
from bench.report.artifact import Artifact
from bench.report.figures import artifacts, figure_file, model_figure
from bench.report.figures.confusion import Confusion, Confusions, confusion, draw_confusion
from bench.report.figures.curves import all_curves, curves, draw_curves, over_seeds
from bench.report.figures.style import COLUMN, DPI, STYLE, WIDTH, drawn_once, new_figure, panel, render, scales

RECORDS = Path(__file__).resolve().parents[2] / "copies"
ODD = ["a$b$ $\\frac{1}{2}$", "x_1^{2}", '<b>&"q"', "rocket 🚀 \t日本\x00", "n" * 80]


def reference(protocol: str = "quick", models: Sequence[str] = ("vit_tiny", "densenet121", "vgg19")) -> list[Record]:
    return [read_record(file) for file in record_files(RECORDS / protocol) if file.parents[1].name in models]


def like(record: Record, *, model: str | None = None, seed: int = 0, classes: Sequence[str] = ()) -> Record:
    """The same record of another model, seed or classes."""
    parts: dict[str, Any] = {
        "model": {"name": model or record.model.name},
        "seed": seed,
        "data": {"classes": list(classes) or record.data.classes},
    }
    if classes and len(classes) != len(record.data.classes):
        parts["accuracy"] = {"confusion": []}
    return Record.model_validate(changed(record.to_json(), parts))


def compared(records: Sequence[Record], results: Path = Path("results")) -> Comparison:
    (only,) = comparisons([Trial(trial_folder(results / "p", one.model.name, one.seed), one) for one in records])
    return only


def drawn(comparison: Comparison) -> dict[str, Artifact]:
    return {one.file.name: one for one in artifacts([comparison])}


def texts(svg: bytes) -> str:
    """All that is written in an SVG."""
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return "\n".join("".join(one.itertext()) for one in found)


def write_pictures(folder: Path, classes: int, wrong: int = 8) -> None:
    """What a trial leaves beside its record: each test picture taken for the next class, `wrong` pictures kept."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    label = np.arange(20) % classes
    probabilities = np.full((20, classes), 0.1 / max(1, classes - 1), dtype=np.float32)
    probabilities[np.arange(20), (label + 1) % classes] = 0.9
    np.savez(folder / "predictions.npz", index=np.arange(20), label=label, probabilities=probabilities)
    pictures = rng.integers(0, 256, (100, 24, 32, 3), dtype=np.uint8)
    sample_label = np.repeat(np.arange(min(classes, 25)), 4)
    np.savez(
        folder / "pictures.npz", mistakes=pictures[:wrong], mistake_index=np.arange(wrong),
        samples=pictures[: len(sample_label)], sample_label=sample_label,
    )  # fmt: skip


@pytest.fixture
def pictured(tmp_path: Path) -> Comparison:
    """Three real records, one model of which has pictures beside it."""
    records = reference()
    write_pictures(trial_folder(tmp_path / "p", "vit_tiny", 0), 10)
    return compared(records, tmp_path)


def test_every_figure_of_real_records_is_a_png_and_an_svg_that_name_their_models(pictured: Comparison) -> None:
    found = drawn(pictured)
    kinds = {Path(name).stem for name in found}
    assert kinds >= {"accuracy", "accuracy-gmacs", "curves", "time", "memory", "samples"}
    assert kinds >= {"curves-vit_tiny", "confusion-vgg19", "mistakes-vit_tiny"}
    assert "accuracy-energy" not in kinds  # which the records lack
    assert "mistakes-vgg19" not in kinds  # which kept no pictures
    alike = {stem for stem in kinds if stem.startswith("accuracy-")} - {"accuracy-gmacs"}
    for stem in kinds - alike:
        picture = Image.open(io.BytesIO(found[f"{stem}.png"].make()))
        picture.load()
        assert picture.width <= WIDTH * DPI + 1, stem
        assert picture.height > 1.5 * DPI, stem
        assert not np.asarray(picture.convert("L"))[[0, -1]].min() < 255, f"{stem}: something touches its edge"
        written = texts(found[f"{stem}.svg"].make())
        kind, _, model = stem.partition("-")
        if kind in ("confusion", "mistakes") or (kind == "curves" and model):
            assert model in written
        elif kind != "samples":
            assert all(contender.model in written for contender in pictured.contenders), stem


def test_figures_are_the_same_bytes_each_time_and_in_any_order(pictured: Comparison) -> None:
    found = drawn(pictured)
    for stem in ("accuracy", "curves-vit_tiny", "confusion-vgg19", "time", "mistakes-vit_tiny"):
        drawn_once.cache_clear()
        png, svg = found[f"{stem}.png"].make(), found[f"{stem}.svg"].make()
        drawn_once.cache_clear()
        assert found[f"{stem}.svg"].make() == svg, stem
        assert found[f"{stem}.png"].make() == png, stem


def test_what_is_no_picture_has_a_form_for_a_papers_column(pictured: Comparison) -> None:
    found = drawn(pictured)
    stems = {Path(name).stem for name in found if name.endswith(".png")}
    in_column = {Path(name).stem for name, one in found.items() if one.file.parent.name == "column"}
    assert in_column == {stem for stem in stems if not stem.startswith(("samples", "mistakes"))}
    for stem in ("accuracy", "curves", "curves-vit_tiny", "confusion-vgg19", "time", "memory"):
        drawn_once.cache_clear()
        made = found[f"{stem}.pdf"].make()
        drawn_once.cache_clear()
        assert found[f"{stem}.pdf"].make() == made, stem
        (box,) = re.findall(rb"/MediaBox \[ 0 0 ([0-9.]+) ([0-9.]+) \]", made)
        assert float(box[0]) <= 72 * COLUMN + 0.01, stem
    with matplotlib.rc_context(STYLE | dict.fromkeys(("font.size", "axes.labelsize"), 7)):
        figure = draw_curves(curves(pictured.contenders[0]), COLUMN)  # type: ignore[arg-type]
    assert {text.get_size() for text in figure.findobj(Text) if text.get_text()} == {7}


def test_the_users_own_matplotlib_settings_change_nothing(pictured: Comparison) -> None:
    import matplotlib

    make = drawn(pictured)["curves-vit_tiny.png"].make
    before = make()
    drawn_once.cache_clear()
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20, "text.parse_math": True}):
        assert make() == before
        assert matplotlib.rcParams["axes.facecolor"] == "red"


def test_the_digest_follows_what_a_figure_shows_and_nothing_else(pictured: Comparison, tmp_path: Path) -> None:
    before = drawn(pictured)
    record = pictured.first
    assert record.accuracy
    record.accuracy.test_top1 -= 0.01
    after = drawn(replace(pictured, worked_out={}))  # as if the record were read anew
    other = {name for name in before if before[name].inputs != after[name].inputs}
    assert {Path(name).stem.split("-")[0] for name in other} == {"accuracy"}

    write_pictures(trial_folder(tmp_path / "p", "vit_tiny", 0), 10, wrong=7)
    again = drawn(replace(pictured, worked_out={}))
    stems = {Path(name).stem for name in after if again[name].inputs != after[name].inputs}
    assert stems == {"mistakes-vit_tiny", "samples"}  # both stand in the file

    write_pictures(trial_folder(tmp_path / "elsewhere" / "p", "vit_tiny", 0), 10, wrong=7)
    records = [trial.record for contender in pictured.contenders for trial in contender.trials]
    moved = drawn(compared(records, tmp_path / "elsewhere"))
    assert {name: one.inputs for name, one in moved.items()} == {name: one.inputs for name, one in again.items()}


@pytest.mark.filterwarnings("error")
def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    first = reference(models=["vit_tiny"])[0]
    classes = [f"{name} {number}" for number, name in enumerate(2 * ODD)]
    records = [like(first, model=name, classes=classes) for name in ODD]
    for name in ODD:
        write_pictures(trial_folder(tmp_path / "p", name, 0), 10)
    comparison = compared(records, tmp_path)
    found = drawn(comparison)
    for name in ODD:
        stem = model_figure("curves", name)
        assert Image.open(io.BytesIO(found[f"{stem}.png"].make())).width == round(WIDTH * DPI)
        assert name.split()[0][:20] in texts(found[f"{stem}.svg"].make())
    for stem in ("accuracy-params", "curves", "time"):
        assert found[f"{stem}.png"].make()
        assert all(name in texts(found[f"{stem}.svg"].make()) for name in ODD[:2])
    for stem in ("samples", model_figure("confusion", ODD[0]), model_figure("mistakes", ODD[0])):
        assert found[f"{stem}.png"].make()
        assert "$" in texts(found[f"{stem}.svg"].make())


def test_what_the_records_lack_has_no_figure() -> None:
    bare, failed = reference(models=["vit_tiny", "vgg19"])
    bare.training = None
    bare.efficiency = Efficiency.model_validate({"macs": None, "memory": {}, "train_step": None})
    failed.status, failed.error = "oom", Failure(type="OutOfMemoryError", message="no room")
    failed.accuracy = failed.training = failed.efficiency = None
    found = drawn(compared([bare, failed]))
    assert {Path(name).stem for name in found} == {"accuracy-params", "accuracy-trainable", "confusion-vgg19"}
    assert all(one.make() for one in found.values())
    assert not drawn(compared([failed]))


def test_one_epoch_and_seeds_of_different_lengths_are_drawn() -> None:
    record = reference(models=["vit_tiny"])[0]
    short = like(record, seed=1)
    assert short.training
    short.training.history = History(train_loss=[1.0], val_loss=[1.0], train_top1=[0.5], val_top1=[0.5])
    short.training.best_epoch = 1
    for records in ([short], [record, short]):
        assert drawn(compared(records))["curves-vit_tiny.png"].make()
    assert over_seeds(((1.0, 2.0, 6.0), (3.0,))) == ([2.0, 2.0, 6.0], [1.0, 2.0, 6.0], [3.0, 2.0, 6.0])


def test_of_many_models_the_curves_of_the_best_are_drawn_and_the_figure_says_so() -> None:
    first = reference(models=["vit_tiny"])[0]
    records = [like(first, model=f"model{number}") for number in range(15)]
    for number, record in enumerate(records):
        assert record.accuracy
        record.accuracy.test_top1 = number / 15
    values = all_curves(compared(records))
    assert values
    assert [name for name, _ in values.models] == [f"model{number}" for number in range(14, 2, -1)]
    assert "best 12 of 15" in texts(drawn(compared(records))["curves.svg"].make())


def test_confusions_are_summed_over_seeds() -> None:
    record = reference(models=["vit_tiny"])[0]
    (contender,) = compared([record, like(record, seed=1)]).contenders
    values = confusion(contender)
    assert isinstance(values, Confusion) and record.accuracy
    assert values.counts == tuple(tuple(2 * count for count in row) for row in record.accuracy.confusion)
    assert "720 test pictures over 2 seeds" in values.conditions


@pytest.mark.parametrize(("classes", "rows"), [(2, 2), (20, 20), (21, 21), (1000, 100)])
def test_confusions_of_few_and_of_many_classes(classes: int, rows: int) -> None:
    record = like(reference(models=["vit_tiny"])[0], classes=[f"class{number}" for number in range(classes)])
    counts = 10 * np.eye(classes, dtype=int)
    counts[1, 0] = 7
    assert record.accuracy
    record.accuracy.confusion = counts.tolist()
    values = confusion(compared([record]).contenders[0])
    assert values
    assert len(values.counts) == rows
    assert sum(map(sum, values.counts)) == counts.sum()
    written = texts(render(draw_confusion, values, "svg"))
    if isinstance(values, Confusions):
        assert values.pairs == (("class1", "class0", 7, pytest.approx(7 / 17)),)
        assert "class1 as class0" in written and "7 (41 %)" in written
    else:
        assert "class1" in written and "7\n41 %" in written


def test_a_share_below_one_percent_is_written_in_its_cell() -> None:
    record = like(reference(models=["vit_tiny"])[0], classes=["automobile", "ship"])
    assert record.accuracy
    record.accuracy.confusion = [[995, 5], [1, 9999]]
    values = confusion(compared([record]).contenders[0])
    written = texts(render(draw_confusion, values, "svg"))
    assert "5\n0.5 %" in written and "1\n<0.1 %" in written and "automobile" in written
    in_a_column = texts(render(draw_confusion, values, "svg", COLUMN))
    assert "0.5" in in_a_column and "automobile" in in_a_column


def test_two_comparisons_in_one_folder_have_figures_of_their_own() -> None:
    first, second = reference(models=["vit_tiny", "vgg19"])
    second.protocol.fingerprint = "f" * 64
    trials = [Trial(trial_folder(Path("results/p"), one.model.name, 0), one) for one in (first, second)]
    both = comparisons(trials)
    assert len(both) == 2
    files = [one.file for one in artifacts(both)]
    assert len(set(files)) == len(files)
    assert all(figure_file(one, "accuracy") in files for one in both)


def labels(low: float, high: float, ticks: Sequence[float] | None = None) -> list[str]:
    with matplotlib.rc_context(STYLE):
        axes = panel(new_figure(3), 1, 0.5, 6, 2.5, xlim=(0, 1))
        if ticks:
            axes.set_yticks(ticks)
        axes.set_ylim(low, high)
        scales(axes)
    return [text.get_text() for text in axes.texts if text.get_ha() == "right"]


def test_an_axis_has_its_labels_within_its_limits_and_in_full() -> None:
    assert labels(0, 100) == ["0", "20", "40", "60", "80", "100"]
    assert labels(1.2, 2.8, [1, 1.5, 2, 2.5, 3]) == ["1.5", "2.0", "2.5"]
    assert labels(2.8, 1.2, [1.5, 3]) == ["1.5"]  # upside down
    # Without a power of ten that stands apart, and is lost.
    assert labels(0, 3e7)[-1] == "30000000"
    assert labels(1_000_000.1, 1_000_000.3)[0].startswith("1000000.1")
