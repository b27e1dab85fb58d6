"""The page in a real Chromium: opened from a file, then sorted, filtered, drawn and compared, by keyboard too."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from made import write_predictions, write_session
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from bench.files import trial_folder, write_bytes
from bench.records.comparison import read_comparisons
from bench.records.record import Record, write_record
from bench.report.judge.verdict import Verdicts
from bench.report.page.html import artifacts
from bench.report.text.verdicts import said

RECORDS = Path(__file__).resolve().parents[1] / "copies"
HOSTILE = "</script><script>document.title='broken'</script>"
NARROW = {"width": 360, "height": 780}
Open = Callable[..., Page]

expect.set_options(timeout=20_000)  # machines may be slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of $BENCH_CHROMIUM, else of the path."""
    named = os.environ.get("BENCH_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        reason = "needs a Chromium: none is on the path (set BENCH_CHROMIUM)"
        pytest.fail(reason) if os.environ.get("BENCH_TEST_DATA") else pytest.skip(reason)
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        quiet.append("--no-sandbox")  # Chromium refuses to run as root with it
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=quiet)
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """index.html of three comparisons: the published `quick`, three seeds of two models beside failed trials, and a
    model as it is and extended."""
    results = tmp_path_factory.mktemp("results")
    shutil.copytree(RECORDS / "quick", results / "quick", ignore=shutil.ignore_patterns("*.npz"))
    for model in ("densenet121", "vgg19"):
        for seed in (0, 1, 2):
            write(results, changed(model, seed))
    for name, right in {"vit": 0, "vit+merging:r=4": -2, "vit+learner": 4}.items():
        extensions = [{"name": name.partition("+")[2].partition(":")[0], "plugin": "p"}] if "+" in name else []
        document = changed("vit_tiny", 0, name, right)
        document["model"] |= {"base": "vit", "extensions": extensions}
        document["efficiency"]["macs"] = round(document["efficiency"]["macs"] * (0.6 if extensions else 1))
        write(results, document, "extended")
    error = {"type": "oom", "message": f"needs 31 GB {HOSTILE}"}
    gone = {"status": "oom", "error": error, "accuracy": None, "training": None, "efficiency": None}
    write(results, {**changed("vit_tiny", 0), **gone})
    write(results, {**changed("vit_tiny", 0, name=HOSTILE), **gone})
    for record in results.glob("*/*/seed*/record.json"):
        if json.loads(record.read_bytes())["accuracy"]:
            write_predictions(record.parent)
    # Latencies beside other work; images a second in two sessions that have no model in common.
    write_session(results / "quick", {"densenet201": 28.0, "densenet121": 20.0, "vgg19": 9.0}, others=4.0)
    for together in ({"vit_tiny": 2.0, "vgg19": 5.0}, {"densenet121": 4.0, "densenet201": 8.0}):
        write_session(results / "quick", together, series="throughput")
    write_session(results / "seeds", {"densenet121": 10.0, "vgg19": 10.1}, share=0.9)
    (artifact,) = artifacts(results, read_comparisons(results)[0])
    write_bytes(artifact.file, artifact.make())
    return artifact.file


def changed(model: str, seed: int, name: str | None = None, right: int = 0) -> dict[str, Any]:
    """The published record of CIFAR-10, as that of another seed."""
    record: dict[str, Any] = json.loads(
        (RECORDS / "cifar10-jpeg-10k-scratch" / model / "seed0" / "record.json").read_bytes()
    )
    record["seed"] = seed
    more = (20 if model == "vgg19" else 21) * seed + right  # pictures of each class that are right
    for true, row in enumerate(record["accuracy"]["confusion"]):
        row[true] += more
        row[row.index(max(cell for taken, cell in enumerate(row) if taken != true))] -= more
    record["accuracy"]["test_top1"] += 10 * more / record["data"]["test"]
    record["training"]["history"]["val_loss"] = [
        value + 0.05 * seed for value in record["training"]["history"]["val_loss"]
    ]
    record["model"]["name"] = name or model
    return record


def write(results: Path, document: dict[str, Any], protocol: str = "seeds") -> None:
    record = Record.model_validate(document)
    write_record(trial_folder(results / protocol, record.model.name, record.seed), record)


@pytest.fixture
def open_page(browser: Browser, file: Path) -> Iterator[Open]:
    """`open_page(c="quick", view="pair", …)`: the page at that address. No error and no request may have come of it."""
    contexts, troubles = [], []

    def call(viewport: dict[str, int] | None = None, scheme: str = "light", **address: str) -> Page:
        context = browser.new_context(viewport=viewport or {"width": 1280, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("request", lambda request: requested(request.url))
        page.goto(f"{file.as_uri()}#{urlencode(address)}")
        return page

    def requested(url: str) -> None:
        if not url.startswith((file.as_uri(), "data:")):
            troubles.append(f"request: {url}")

    yield call
    for context in contexts:
        context.close()
    assert not troubles


def names(page: Page) -> list[str]:
    return page.locator("table.models tbody th").all_inner_texts()


def column(page: Page, key: str) -> list[float]:
    """The numbers of a column, by its key, in the order of the rows; empty cells left out."""
    heads = page.locator("table.models thead th").evaluate_all(
        "all => all.map(th => [th.querySelector('button').dataset.sort, th.colSpan])"
    )
    at = sum(span for _, span in heads[: [name for name, _ in heads].index(key)])
    cells = page.locator(f"table.models tbody tr > :nth-child({at + 1})").all_inner_texts()
    return [float(re.sub(r"[^\d.]", "", cell)) for cell in cells if cell.strip()]


def test_a_column_is_sorted_by_its_button_and_says_so(open_page: Open) -> None:
    page = open_page(c="quick")
    assert len(names(page)) == 8
    button = page.locator('[data-sort="gmacs"]')
    button.click()
    assert column(page, "gmacs") == sorted(column(page, "gmacs"))
    expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    assert column(page, "gmacs") == sorted(column(page, "gmacs"), reverse=True)
    expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", "descending")
    page.locator('[data-sort="accuracy"]').click()  # where more is better, the first press puts it on top
    assert column(page, "accuracy") == sorted(column(page, "accuracy"), reverse=True)


def test_text_and_family_filter_table_and_plot(open_page: Open) -> None:
    page = open_page(c="quick")
    page.get_by_label("Filter").press_sequentially("vit tiny")
    assert names(page) == ["vit_tiny"]
    expect(page.locator("a.point")).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("1 of 8 models")
    page.get_by_label("Filter").fill("")
    page.get_by_label("Family").select_option("cnn")
    assert set(names(page)) == {"densenet121", "densenet201", "vgg19", "vgg19_bn"}
    expect(page.locator("a.point")).to_have_count(4)
    page.get_by_label("Filter").fill("nothing like this")
    assert names(page) == []


def test_a_base_is_shown_with_what_extends_it_and_arrows_lead_there(open_page: Open) -> None:
    page = open_page(c="extended")
    expect(page.locator(".moves path")).to_have_count(2)
    expect(page.get_by_text("Thin arrow: from a base to the same model extended.")).to_have_count(1)
    page.get_by_label("Filter").fill("learner")
    expect(page.locator(".moves path")).to_have_count(0)
    page.get_by_label("Filter").fill("")
    page.get_by_label("Base, with its extensions").select_option("vit")
    assert set(names(page)) == {"vit", "vit+merging:r=4", "vit+learner"}
    page.reload()
    assert page.get_by_label("Base, with its extensions").input_value() == "vit"
    page.goto(page.url.partition("#")[0] + "#" + urlencode({"c": "extended", "view": "model", "m": "vit+learner"}))
    page.get_by_role("link", name="Compare with its base").click()
    expect(page.get_by_role("row", name="test top-1")).to_have_count(1)
    plain = open_page(c="quick")
    expect(plain.get_by_label("Base, with its extensions")).to_have_count(0)
    expect(plain.locator(".moves")).to_have_count(0)


def test_chosen_columns_stay_in_the_address(open_page: Open) -> None:
    page = open_page(c="quick")
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("ECE").check()
    page.get_by_label("params (M)").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_label("ECE")).to_be_hidden()
    page.reload()
    heads = page.locator("table.models thead th").all_inner_texts()
    assert any("ECE" in head for head in heads) and not any("params" in head for head in heads)
    assert page.evaluate("localStorage.length + document.cookie.length") == 0


def test_the_best_is_marked_what_is_a_tie_with_it_and_what_cannot_be_compared(open_page: Open) -> None:
    page = open_page(c="quick", columns="accuracy gmacs latency_ms throughput")
    values = page.locator("table.models td.best").all_inner_texts()
    assert [text.split() for text in values] == [["98.33", "best"], ["0.027", "best"], ["500", "best"]]
    rows = page.locator("table.models tbody tr")
    assert re.search(r"98\.06\s+tied with the best\s+≈ \[96\.04", rows.filter(has_text="densenet201").inner_text())
    # A latency that was disturbed is neither worse nor a tie, and where all are none is the best.
    assert re.search(r"\s28\.00\s+†", rows.filter(has_text="densenet201").inner_text())
    assert re.search(r"250\s+not compared with the best\s+\?", rows.filter(has_text="densenet121").inner_text())


def test_the_axis_changes_between_quantities_and_scales(open_page: Open) -> None:
    page = open_page(c="quick")
    expect(page.locator("path.stairs")).to_have_count(1)
    before = page.locator("path.stairs").get_attribute("d")
    page.get_by_label("Horizontal axis").select_option(label="params (M)")
    expect(page.locator(".scatter .axis").first).to_have_text("params (M), lower is better")
    logarithmic = page.locator("path.stairs").get_attribute("d")
    page.get_by_label("Horizontal scale").select_option("linear")
    linear = page.locator("path.stairs").get_attribute("d")
    assert len({before, logarithmic, linear}) == 3
    page.get_by_label("Vertical axis").select_option(label="macro F1")
    expect(page.locator(".scatter .axis").last).to_have_text("macro F1, higher is better")
    expect(page.locator("path.stairs")).to_have_count(0)  # nothing is known of differences in macro F1


def test_the_front_is_what_no_other_model_dominates(open_page: Open) -> None:
    page = open_page(c="quick")
    labels = page.locator("a.point.front").evaluate_all("all => all.map(a => a.getAttribute('aria-label'))")
    front = {label.split(",")[0] for label in labels}
    found = {}
    for file in (RECORDS / "quick").glob("*/seed0/record.json"):
        record = json.loads(file.read_bytes())
        found[record["model"]["name"]] = (-record["accuracy"]["test_top1"], record["efficiency"]["macs"])
    undominated = {
        name
        for name, own in found.items()
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in found.values())
    }
    assert front == undominated
    page.get_by_label("Filter").fill("vgg")  # the front is of all models, whichever are shown
    expect(page.locator("a.point")).to_have_count(2)
    expect(page.locator("a.point.front")).to_have_count(len(undominated & {"vgg19", "vgg19_bn"}))
    expect(words(page)).to_contain_text(f"of which 0 of {len(undominated)} models are shown")


def words(page: Page) -> Locator:
    """What is said below the chart."""
    return page.locator(".scatter + .legend")


def test_what_was_disturbed_is_hollow_and_the_words_are_of_what_is_drawn(open_page: Open) -> None:
    page = open_page(c="quick", x="latency_ms")
    expect(page.locator("a.point")).to_have_count(3)
    expect(page.locator("a.point.disturbed")).to_have_count(3)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    fill = "all => all.map(shape => getComputedStyle(shape).fill)"
    assert set(page.locator("a.point .shape").evaluate_all(fill)) == {paper}
    assert all(name.endswith(" †") for name in page.locator("text.name").all_text_contents())
    expect(page.locator("path.stairs")).to_have_count(0)
    expect(words(page)).to_contain_text("No Pareto front")
    expect(words(page)).to_contain_text("Hollow, †")
    expect(words(page)).not_to_contain_text("Dashed line")
    page.get_by_label("Horizontal axis").select_option("gmacs")
    expect(words(page)).to_contain_text("Dashed line: the Pareto front of all models")
    expect(words(page)).not_to_contain_text("Hollow")
    expect(words(page)).not_to_contain_text("Arrow")
    page.get_by_label("Vertical axis").select_option("params")
    expect(words(page)).not_to_contain_text("Bars")


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_an_interval_that_leaves_the_frame_ends_in_an_arrow(open_page: Open, scale: str) -> None:
    page = open_page(c="seeds", x="latency_ms", scale=scale)
    expect(page.locator("a.point")).to_have_count(2)
    assert page.locator(".bars .leaves").count() >= 2
    expect(words(page)).to_contain_text("Arrow: the interval goes on beyond the frame.")


COVERED = """() => {
  const boxes = (found) => [...document.querySelectorAll(found)].map((one) => one.getBoundingClientRect());
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const names = boxes("text.name");
  const bars = boxes(".bars line");
  return names.filter((name, at) => [...names.slice(0, at), ...bars].some((one) => meet(one, name))).length;
}"""


@pytest.mark.parametrize("viewport", [None, NARROW], ids=["screen", "telephone"])
def test_no_name_covers_another_or_a_bar_and_each_axis_has_three_ticks(open_page: Open, viewport: Any) -> None:
    for address in ({"c": "quick"}, {"c": "quick", "x": "latency_ms"}, {"c": "seeds", "x": "epoch_seconds"}):
        page = open_page(viewport=viewport, **address)
        expect(page.locator("text.name").first).to_be_visible()
        assert page.evaluate(COVERED) == 0, address
        assert page.locator(".ticks text[text-anchor=end]").count() >= 3, address
        assert page.locator(".ticks text[text-anchor=middle]").count() >= 3, address


def test_a_telephones_table_has_the_accuracy_and_the_cost_that_is_chosen(open_page: Open) -> None:
    page = open_page(viewport=NARROW, c="quick")
    heads = page.locator("table.models thead th:visible")
    assert [text.strip() for text in heads.all_inner_texts()] == ["model", "test top-1 (%)", "GMACs"]
    page.get_by_label("Cost", exact=True).select_option(label="params (M)")
    assert [text.strip() for text in heads.all_inner_texts()] == ["model", "test top-1 (%)", "params (M)"]
    cells = (
        page.locator("table.models tbody tr")
        .first.locator("td:visible")
        .evaluate_all("all => all.map(cell => cell.getBoundingClientRect().right)")
    )
    assert max(cells) <= NARROW["width"]
    failed = open_page(viewport=NARROW, c="seeds").locator("table.models tbody tr").filter(has_text="vit_tiny")
    expect(failed.locator("th")).to_contain_text("oom")
    expect(open_page(c="quick").get_by_label("Cost", exact=True)).to_be_hidden()


def test_what_goes_on_at_the_right_says_so_until_its_end_is_reached(open_page: Open) -> None:
    page = open_page(viewport=NARROW, c="seeds", view="pair", a="densenet121", b="vgg19")
    for box in page.locator(".scroller").all():
        expect(box.locator(".cue")).to_be_visible()
        box.locator(".scroll").evaluate("box => { box.scrollLeft = box.scrollWidth; }")
        expect(box.locator(".cue")).to_be_hidden()
    expect(open_page(c="quick").locator(".cue").first).to_be_hidden()


@pytest.mark.parametrize("view", [
    {"c": "seeds"}, {"c": "seeds", "view": "model", "m": "vgg19"}, {"c": "seeds", "view": "pair"},
])  # fmt: skip
def test_every_table_has_a_caption(open_page: Open, view: dict[str, str]) -> None:
    page = open_page(**view)
    expect(page.locator("table").first).to_be_visible()
    captions = page.locator("table").evaluate_all("all => all.map(table => table.caption && table.caption.textContent)")
    assert captions and all(captions)


def test_a_name_breaks_between_its_options(open_page: Open) -> None:
    page = open_page(c="quick", view="model", m="vit_tiny+token_learner:after=0.5,tokens=4")
    pieces = page.locator("h1").evaluate(
        "h1 => [...h1.childNodes].filter((one) => one.nodeType === 3).map((one) => one.data)"
    )
    assert "".join(pieces) == "vit_tiny+token_learner:after=0.5,tokens=4"
    assert pieces[-2:] == ["after=0.5,", "tokens=4"]


def test_hovering_a_point_tells_of_it_and_a_click_opens_the_model(open_page: Open) -> None:
    page = open_page(c="quick")
    point = page.get_by_role("link", name="densenet121, test top-1")
    point.locator("path.shape").hover()
    expect(page.locator(".tip.open")).to_contain_text("on the Pareto front")
    point.locator("path.shape").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("densenet121")
    for title in ("Quantities", "Learning curves", "Confusion", "By class", "Trials", "The model"):
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    record = json.loads((RECORDS / "quick" / "densenet121" / "seed0" / "record.json").read_bytes())
    expect(page.locator("table.matrix td.right").first).to_have_text(str(record["accuracy"]["confusion"][0][0]))
    page.get_by_role("button", name="row shares (%)").click()
    expect(page.locator("table.matrix td.right").first).to_have_text("100")
    expect(page.locator("svg .line")).to_have_count(6)  # four of the charts, two of their key
    link = page.get_by_role("link", name="record.json").get_attribute("href")
    assert link == "./quick/densenet121/seed0/record.json"
    page.go_back()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()


def test_two_models_stand_side_by_side_with_their_differences(open_page: Open) -> None:
    page = open_page(c="seeds", view="model", m="densenet121")
    page.get_by_role("link", name="Compare with another").click()
    row = page.get_by_role("row", name="test top-1 (%)")
    a, b = (changed(model, 1)["accuracy"]["test_top1"] for model in ("densenet121", "vgg19"))
    expect(row.locator(".difference")).to_have_text(f"+{100 * (a - b):.2f}")
    expect(row.locator(".interval").nth(2)).to_have_text(re.compile(r"^\[\d+\.\d\d, \d+\.\d\d\]$"))
    expect(row.locator(".result")).to_have_text(re.compile(r"^A is better: more than chance, p [<=] 0\.\d+$"))
    expect(page.locator("table.matrix")).to_have_count(2)
    expect(page.locator(".curve .line")).to_have_count(8)
    page.get_by_role("button", name="Swap A and B").click()
    expect(page.get_by_role("row", name="test top-1 (%)").locator(".result")).to_have_text(
        re.compile(r"^B is better: more than chance, p [<=] 0\.\d+$")
    )
    expect(page.get_by_label("Model A")).to_have_value("vgg19")


def test_the_verdicts_of_a_pair_are_those_of_the_comparison(open_page: Open, file: Path) -> None:
    page = open_page(c="quick", view="pair", a="vgg19", b="densenet121")
    (comparison,) = [one for one in read_comparisons(file.parent)[0] if one.name == "quick"]
    verdicts = Verdicts.of(comparison)
    names = [contender.model for contender in verdicts.contenders]
    a, b = names.index("vgg19"), names.index("densenet121")
    seen = set()
    for quantity in comparison.quantities:
        if verdicts.on(quantity).values[a] is None:
            continue
        expected = said(verdicts.on(quantity).between(a, b))
        shown = expected.replace("better:", "A is better:").replace("worse:", "B is better:")
        expect(page.get_by_role("row", name=quantity.label, exact=False).locator(".result").first).to_have_text(shown)
        seen.add(expected.split()[0])
    assert {"worse:", "tie:", "unknown:"} <= seen


def test_failed_trials_stand_with_their_reason_and_names_are_only_text(open_page: Open) -> None:
    page = open_page(c="seeds")
    failures = page.get_by_role("region", name="Failed trials, table")
    expect(failures).to_contain_text(f"needs 31 GB {HOSTILE}")
    page.get_by_role("link", name=HOSTILE).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    expect(page.get_by_role("region", name="Trials, table")).to_contain_text("needs 31 GB")
    assert page.title() == "bench: extended, quick, seeds"


def test_protocol_and_machine_of_the_chosen_comparison_are_shown(open_page: Open) -> None:
    page = open_page(c="quick")
    page.get_by_label("Comparison").select_option("seeds")
    page.get_by_role("link", name="Protocol").click()
    expect(page.locator(".facts").nth(1)).to_contain_text("optimizer.name")
    expect(page.get_by_role("heading", name="Environment")).to_be_visible()
    expect(page.locator("main")).to_contain_text("2.13.0+cpu")
    assert "quick" not in page.locator("main").inner_text()


def test_dark_follows_the_reader_and_the_switch(open_page: Open) -> None:
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 26)"
    body = "getComputedStyle(document.body).backgroundColor"
    page = open_page(scheme="dark")
    assert page.evaluate(body) == dark
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(body) == light
    page.get_by_role("link", name="Side by side").click()  # and stays so
    assert page.evaluate(body) == light
    assert open_page(scheme="light").evaluate(body) == light


VIEWS: list[dict[str, str]] = [
    {"c": "quick"},
    {"c": "seeds"},
    {"c": "seeds", "view": "model", "m": "densenet121"},
    {"c": "seeds", "view": "pair", "a": "densenet121", "b": "vgg19"},
    {"c": "quick", "view": "protocol"},
]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.get('view', 'models')}-{view['c']}")
def test_a_telephone_scrolls_no_page_sideways(open_page: Open, view: dict[str, str]) -> None:
    page = open_page(viewport=NARROW, **view)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    wide = page.locator(".chart svg").evaluate_all("all => all.map(svg => svg.getBoundingClientRect().right)")
    assert all(right <= NARROW["width"] for right in wide)


# Each visible text's contrast to what lies behind it, by WCAG 2.2, and below which it is too weak.
WEAK_TEXT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgb = (colour, over) => {
    canvas.fillStyle = over ? `rgb(${over})` : "white"; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (element) => element
    ? rgb(getComputedStyle(element).backgroundColor, behind(element.parentElement)) : [255, 255, 255];
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (["SCRIPT", "NOSCRIPT", "OPTION"].includes(element.tagName)) continue;
    const back = behind(element);
    const [one, other] = [luminance(rgb(element.ownerSVGElement ? style.fill : style.color, back)), luminance(back)];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) weak.push(`${walker.currentNode.textContent.trim()}: ${contrast.toFixed(2)}`);
  }
  return weak;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS[1:], ids=lambda view: f"{view.get('view', 'models')}-{view['c']}")
def test_all_text_stands_out_from_its_background(open_page: Open, view: dict[str, str], scheme: str) -> None:
    page = open_page(scheme=scheme, **view)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate(WEAK_TEXT) == []


def test_everything_is_reached_by_keyboard_alone(open_page: Open) -> None:
    page = open_page(c="quick")
    focused = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"

    def tab_to(wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if str(page.evaluate(focused)).startswith(wanted):
                ring = page.evaluate(
                    "(e => { const s = getComputedStyle(e), p = e.querySelector('path.shape');"
                    " return s.outlineStyle !== 'none' || (p && getComputedStyle(p).strokeWidth === '3px'); })"
                    "(document.activeElement)"
                )
                assert ring, f"no focus is seen on {wanted}"
                return
        pytest.fail(f"the Tab key does not reach {wanted}")

    tab_to("Skip to the content")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#c=quick")
    page.reload()
    tab_to("Side by side")
    tab_to("☾Dark")
    tab_to("vit_tiny, test top-1")  # the first point of the plot; the arrows go to the next
    page.keyboard.press("ArrowRight")
    assert str(page.evaluate(focused)).startswith("deit_tiny_distilled, ")
    expect(page.locator(".tip.open")).to_contain_text("deit_tiny_distilled")
    tab_to("Columns")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the first column goes
    expect(page.locator('[data-sort="accuracy"]')).to_have_count(0)
    page.keyboard.press("Escape")
    tab_to("GMACs")
    page.keyboard.press("Enter")
    expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    tab_to("vit_tiny")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("vit_tiny")
    tab_to("Loss by epoch")
    page.keyboard.press("Home")
    expect(page.get_by_role("slider", name="Loss by epoch")).to_have_attribute(
        "aria-valuetext", re.compile("^epoch 1: ")
    )
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider", name="Loss by epoch")).to_have_attribute("aria-valuenow", "2")
    tab_to("row shares (%)")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="row shares (%)")).to_be_focused()


@pytest.mark.parametrize("address", [
    {"c": "gone", "view": "nowhere", "x": "__proto__", "y": "accuracy' or 1"},
    {"view": "model", "m": "<img src=x onerror=alert(1)>"},
    {"view": "pair", "a": "vgg19", "b": "vgg19"},
    {"c": "quick", "sort": "-constructor", "columns": "toString", "view": "constructor"},
])  # fmt: skip
def test_an_address_that_names_nothing_breaks_nothing(open_page: Open, address: dict[str, str]) -> None:
    page = open_page(**address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("img")).to_have_count(0)
