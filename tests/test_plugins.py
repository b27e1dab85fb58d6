"""Plugins are found, a broken one stops none of the others, and names with options are understood."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import ModelSpec
from bench.api import check_plugin
from bench.errors import RequestError
from bench.events import Note
from bench.plugins import Plugin, Registry, load_plugins

MODEL = """
from bench import ModelSpec, hookimpl
def build(*, num_classes, image_size, pretrained): pass
@hookimpl
def bench_models():
    yield ModelSpec("{name}", build, family="cnn")
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Path]:
    """`plugin("text")` writes a plugin file, and gives its folder."""

    def write(text: str, file: str = "mine.py", folder: str = "further") -> Path:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / file).write_text(text)
        return tmp_path / folder

    return write


def test_a_file_in_the_working_directory_s_plugins_is_a_plugin(plugin: Callable[..., Path], tmp_path: Path) -> None:
    plugin(MODEL.format(name="mine"), folder="plugins")
    assert load_plugins(working_directory=tmp_path).model("mine").plugin.name == "mine"


def test_plugins_come_from_every_folder_that_is_named(
    plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [plugin(MODEL.format(name=name), folder=name) for name in ("one", "two", "three")]
    monkeypatch.setenv("BENCH_PLUGINS", os.pathsep.join(map(str, folders[:2])))
    registry = load_plugins(folders[2:], tmp_path)
    assert {"one", "two", "three", "vgg19"} <= set(registry.models)


def test_a_folder_that_is_named_twice_is_read_once(plugin: Callable[..., Path], tmp_path: Path) -> None:
    folder = plugin(MODEL.format(name="mine"), folder="plugins")
    registry = load_plugins([folder, folder], tmp_path)
    assert registry.problems == []


def test_a_plugin_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="absent does not exist"):
        load_plugins([tmp_path / "absent"])


def test_files_that_begin_with_an_underscore_or_a_dot_are_no_plugins(
    plugin: Callable[..., Path], tmp_path: Path
) -> None:
    for file in ("_shared.py", ".#mine.py"):
        folder = plugin("raise RuntimeError", file)
    assert load_plugins([folder], tmp_path).problems == []


BROKEN = {
    "raises": ("raise RuntimeError('out of paint')", "RuntimeError: out of paint"),
    "lacks a module": ("import nowhere_to_be_found", "ModuleNotFoundError"),
    "has a syntax error": ("def (:", "SyntaxError"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "implements nothing": ("x = 1", "no function marked @hookimpl"),
    "misspells a hook": (
        "from bench import hookimpl\n@hookimpl\ndef bench_model(): return []",
        "there is no hook bench_model; did you mean bench_models? (line 2)",
    ),
    "has a hook of old": (
        "from bench import hookimpl\n\n@hookimpl\ndef bench_measure(trial): return {}",
        "there is no hook bench_measure; did you mean bench_measurements? (line 3)",
    ),
    "misspells a specname": (
        "from bench import hookimpl\n@hookimpl(specname='bench_claim')\ndef mine(): return []",
        "did you mean bench_claims?",
    ),
    "wants what no hook is given": (
        "from bench import hookimpl\n@hookimpl\ndef bench_event(event, bar): pass",
        "bench_event is given (event), and bar is none of these (line 2)",
    ),
    "measures under a name with a dot": (
        "from bench import MeasureSpec, hookimpl\n@hookimpl\ndef bench_measurements():\n"
        "    yield MeasureSpec('a.b', lambda subject: 1)",
        "'a.b' is no name",
    ),
    "wraps without a yield": (
        "from bench import hookimpl\n@hookimpl(wrapper=True)\ndef bench_models(): return []",
        "not a generator function",
    ),
    "measures what there is": (
        "from bench import MeasureSpec, Quantity, hookimpl\n@hookimpl\ndef bench_measurements():\n"
        "    one = Quantity(key='gmacs', label='', about='', path='', kind='count', better='lower')\n"
        "    yield MeasureSpec('mine', lambda subject: 1, (one,))",
        "there is a quantity gmacs already",
    ),
    "builds for no size": (
        "from bench import ModelSpec, hookimpl\n\ndef build(*, num_classes, pretrained): pass\n\n"
        "@hookimpl\ndef bench_models():\n    yield ModelSpec('mine', build, 'cnn')",
        "mine: build takes keyword arguments num_classes, image_size, pretrained; yours lacks image_size (line 3)",
    ),
    "applies with what nobody gives": (
        "from functools import partial\nfrom bench import ExtensionSpec, hookimpl\n"
        "def apply(kind, backbone, *, image_size, depth): pass\n"
        "@hookimpl\ndef bench_extensions():\n    yield ExtensionSpec('mine', partial(apply, 1), changes='all')",
        "mine: apply takes keyword arguments image_size; yours wants depth, which has no default (line 3)",
    ),
    "gives something else": ("from bench import hookimpl\n@hookimpl\ndef bench_models(): return [5]", "int"),
    "gives a name with a colon": (MODEL.format(name="a:b"), "'a:b' is no name"),
    "gives a name with a slash": (MODEL.format(name="../up"), "is no name"),
    "raises in its hook": (
        "from bench import hookimpl\n@hookimpl\ndef bench_models(): return 1 / 0",
        "ZeroDivisionError: division by zero (line 3)",
    ),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=list(BROKEN))
def test_a_plugin_that_is_broken_is_named_and_left_out_and_stops_no_other(
    text: str, says: str, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    plugin(text, "broken.py")
    folder = plugin(MODEL.format(name="sound"), "sound.py")
    registry = load_plugins([folder], tmp_path)
    (problem,) = registry.problems
    assert "broken.py is left out" in problem
    assert says in problem
    assert {"sound", "vgg19"} <= set(registry.models)
    assert "broken" not in registry.plugins


@pytest.mark.parametrize("kind", ["dangling link", "folder"])
def test_what_only_looks_like_a_plugin_stops_no_other(kind: str, plugin: Callable[..., Path], tmp_path: Path) -> None:
    folder = plugin(MODEL.format(name="sound"), "sound.py")
    if kind == "folder":
        (folder / "odd.py").mkdir()
    else:
        (folder / "odd.py").symlink_to("nowhere")
    assert "sound" in load_plugins([folder], tmp_path).models


def test_the_first_to_take_a_name_keeps_it_and_the_other_is_reported(
    plugin: Callable[..., Path], tmp_path: Path
) -> None:
    registry = load_plugins([plugin(MODEL.format(name="vgg19"))], tmp_path)
    assert registry.model("vgg19").plugin.name == "vgg"
    (problem,) = registry.problems
    assert "vgg19 of plugin" in problem
    assert "mine.py is left out" in problem


def test_files_of_one_name_in_two_folders_are_two_plugins(plugin: Callable[..., Path], tmp_path: Path) -> None:
    folders = [plugin(MODEL.format(name=name), folder=name) for name in ("one", "two")]
    registry = load_plugins(folders, tmp_path)
    assert registry.model("one").plugin.name != registry.model("two").plugin.name


def test_a_changed_plugin_has_another_code(plugin: Callable[..., Path], tmp_path: Path) -> None:
    folder = plugin(MODEL.format(name="mine"))
    before = load_plugins([folder], tmp_path).model("mine").plugin
    plugin(MODEL.format(name="mine") + "\n# changed\n")
    after = load_plugins([folder], tmp_path).model("mine").plugin
    assert (before.name, before.place) == (after.name, after.place)
    assert before.code != after.code


def test_a_changed_plugin_is_what_is_asked_and_not_what_was_imported_before(
    plugin: Callable[..., Path], tmp_path: Path
) -> None:
    load_plugins([plugin(MODEL.format(name="mine"))], tmp_path)
    registry = load_plugins([plugin(MODEL.format(name="ours"))], tmp_path)  # of the same size, in the same second
    assert "ours" in registry.models
    assert "mine" not in registry.models


# Installed ones


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`install("text")` puts the package bench-mine into place, its plugin `mine` in bench_mine/plugin.py."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> Path:
        for folder in ("bench_mine", "bench_mine-2.1.dist-info"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "bench_mine" / "__init__.py").touch()
        (tmp_path / "bench_mine" / "plugin.py").write_text(text)
        (tmp_path / "bench_mine-2.1.dist-info" / "METADATA").write_text("Name: bench-mine\nVersion: 2.1\n")
        (tmp_path / "bench_mine-2.1.dist-info" / "entry_points.txt").write_text("[bench]\nmine = bench_mine.plugin\n")
        for module in [name for name in sys.modules if name.partition(".")[0] == "bench_mine"]:
            monkeypatch.delitem(sys.modules, module)
        return tmp_path / "bench_mine" / "plugin.py"

    return write


def test_an_installed_plugin_has_its_package_s_version_and_another_code_where_its_source_has_changed(
    install: Callable[..., Path], tmp_path: Path
) -> None:
    install(MODEL.format(name="mine"))
    before = load_plugins([], tmp_path).model("mine").plugin
    assert (before.name, before.place) == ("mine", "bench_mine.plugin")
    assert (before.package, before.version) == ("bench-mine", "2.1")
    assert load_plugins([], tmp_path).model("mine").plugin == before
    (tmp_path / "bench_mine" / "layers.py").write_text("# another of its files\n")
    assert load_plugins([], tmp_path).model("mine").plugin.code != before.code


BROKEN_WHEN_INSTALLED = ("raises", "builds for no size", "misspells a hook", "raises in its hook", "exits")


@pytest.mark.parametrize("kind", BROKEN_WHEN_INSTALLED)
def test_an_installed_plugin_that_is_broken_is_named_with_file_and_line(
    kind: str, install: Callable[..., Path], tmp_path: Path
) -> None:
    text, says = BROKEN[kind]
    file = install(text)
    registry = load_plugins([], tmp_path)
    (problem,) = registry.problems
    assert problem.startswith("plugin mine (bench_mine.plugin, bench-mine 2.1) is left out: ")
    assert says.partition(" (line")[0] in problem
    assert problem.endswith(f" of {file})")
    assert "vgg19" in registry.models


def test_it_is_another_of_its_files_that_is_named_where_the_mistake_is_there(
    install: Callable[..., Path], tmp_path: Path
) -> None:
    file = install("from bench_mine.layers import build\n").with_name("layers.py")
    file.write_text("build = 1 / 0\n")
    (problem,) = load_plugins([], tmp_path).problems
    assert problem.endswith(f" is left out: ZeroDivisionError: division by zero (line 1 of {file})")


@pytest.mark.parametrize("name", ["mine", "bench_mine.plugin", "bench-mine"])
def test_a_check_of_what_cannot_be_loaded_says_why(name: str, install: Callable[..., Path]) -> None:
    install("1 / 0\n")
    with pytest.raises(RequestError, match=r"bench-mine 2\.1\) is left out: ZeroDivisionError"):
        check_plugin(name)


def test_an_installed_plugin_that_ends_the_process_is_left_out_of_a_list(
    install: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    install("import os\nos._exit(3)\n")
    (problem,) = load_plugins([], tmp_path, try_first=True).problems
    assert problem.endswith("bench-mine 2.1) is left out: importing it ended the process with exit status 3")


# Hooks are pluggy's


def giving(name: str, decorated: str = "@hookimpl", function: str = "bench_models") -> str:
    """A plugin that gives a model of that name."""
    return MODEL.format(name=name).replace("@hookimpl\ndef bench_models", f"{decorated}\ndef {function}")


def test_a_function_of_another_name_can_be_a_hook(plugin: Callable[..., Path], tmp_path: Path) -> None:
    folder = plugin(giving("mine", "@hookimpl(specname='bench_models')", "my_models"))
    assert "mine" in load_plugins([folder], tmp_path).models


def test_bundled_plugins_are_asked_first_unless_another_wants_to_be(
    plugin: Callable[..., Path], tmp_path: Path
) -> None:
    plugin(giving("last", "@hookimpl(trylast=True)"), "a.py")
    plugin(giving("middle"), "b.py")
    folder = plugin(giving("first", "@hookimpl(tryfirst=True)"), "c.py")
    names = list(load_plugins([folder], tmp_path).models)
    assert (names[0], names[-2:]) == ("first", ["middle", "last"])


WRAPPERS = {
    "hookwrapper=True": "outcome = yield\n    outcome.force_result([renamed(outcome.get_result())])",
    "wrapper=True": "answers = yield\n    return [renamed(answers)]",
}


@pytest.mark.parametrize(("kind", "body"), WRAPPERS.items())
def test_a_wrapper_is_around_what_every_other_plugin_answers(
    kind: str, body: str, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    plugin(
        "import dataclasses\nfrom bench import hookimpl\n\n\ndef renamed(answers):\n"
        "    return [dataclasses.replace(one, name='our_' + one.name) for answer in answers for one in answer]\n\n\n"
        f"@hookimpl({kind})\ndef bench_models():\n    {body}\n",
        "wraps.py",
    )
    registry = load_plugins([plugin(MODEL.format(name="mine"))], tmp_path)
    assert registry.problems == []
    assert {"our_mine", "our_vgg19"} <= set(registry.models)
    assert all(name.startswith("our_") for name in registry.models)


def test_a_wrapper_that_fails_is_the_one_that_is_left_out(plugin: Callable[..., Path], tmp_path: Path) -> None:
    wrapper = "from bench import hookimpl\n\n@hookimpl(wrapper=True)\ndef bench_models():\n    yield\n    return 1 / 0"
    plugin(wrapper, "wraps.py")
    registry = load_plugins([plugin(MODEL.format(name="mine"))], tmp_path)
    assert {"mine", "vgg19"} <= set(registry.models)
    (problem,) = registry.problems
    assert "wraps.py is left out: ZeroDivisionError: division by zero (line 6)" in problem


def test_a_listener_that_fails_hears_no_more_and_the_others_do(
    plugin: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listener = "from bench import hookimpl\n\n@hookimpl\ndef bench_event(event):\n    "
    plugin(f"{listener}raise ValueError(event.text)", "fails.py")
    registry = load_plugins([plugin(f"{listener}print(event.text)", "hears.py")], tmp_path)
    (failed,) = registry.hear(Note("one"))
    assert "plugin fails is asked no more, for its bench_event: ValueError: one (line 5)" in failed
    assert registry.hear(Note("two")) == []
    assert capsys.readouterr() == ("", "one\ntwo\n")  # what is printed goes into no document


def test_what_a_listener_itself_says_to_the_user_is_the_line(plugin: Callable[..., Path], tmp_path: Path) -> None:
    listener = "from bench import RequestError, hookimpl\n\n@hookimpl\ndef bench_event(event):\n    "
    registry = load_plugins([plugin(f"{listener}raise RequestError('say where\\nit goes')")], tmp_path)
    (failed,) = registry.hear(Note("one"))
    assert failed.endswith("is asked no more, for its bench_event: say where it goes")


def test_claims_that_cannot_be_had_cost_no_others(plugin: Callable[..., Path], tmp_path: Path) -> None:
    claims = "from bench import Claim, hookimpl\n\n@hookimpl\ndef bench_claims():\n    return "
    plugin(f"{claims}[5]", "fails.py")
    registry = load_plugins([plugin(f"{claims}[Claim('a', 'b', print)]", "claims.py")], tmp_path)
    had, problems = registry.claims()
    assert [claim.text for claim in had] == ["a"]
    assert problems == [
        "plugin fails is asked no more, for its bench_claims: TypeError: bench_claims gives int, not Claim"
    ]


def build(*, num_classes, image_size, pretrained, size=1, rate=0.5, wide=False, depths=(1, 2), kind="a"):  # type: ignore[no-untyped-def]
    """Never called."""


def build_any(*, num_classes, image_size, pretrained, **options):  # type: ignore[no-untyped-def]
    """Never called."""


def build_with_defaults(num_classes=10, image_size=32, pretrained=False, size=1):  # type: ignore[no-untyped-def]
    """Never called."""


@pytest.fixture(scope="module")
def models() -> Registry:
    """The bundled models, `some` with the options above, and `any` with whatever options."""

    registry = load_plugins()
    for spec in (ModelSpec("some", build, "cnn"), ModelSpec("any", build_any, "cnn")):
        registry.models[spec.name] = spec, Plugin("mine", "here", "")
    return registry


def test_options_are_read_as_toml_values(models: Registry) -> None:
    model = models.model("some:size=4,rate=1e-3,wide=true,depths=[1, 3],kind=b")
    assert model.options == {"size": 4, "rate": 0.001, "wide": True, "depths": [1, 3], "kind": "b"}
    assert model.spec.name == "some"


def test_one_model_has_one_name_however_its_options_were_typed(models: Registry) -> None:
    typed = ["some:size=4,wide=true", "some:wide=true,size=4", "some:size= 4 ,wide= true", "some:size=0x4,wide=true"]
    assert {models.model(text).name for text in typed} == {"some:size=4,wide=true"}


WITH_A_MEANING = {"inf", "nan", "true", "false"}  # to TOML
options = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True),
    st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.from_regex(r"[a-z][a-z0-9_./-]{0,9}", fullmatch=True).filter(lambda word: word not in WITH_A_MEANING)
    | st.lists(st.integers(0, 99), max_size=3),
    max_size=4,
)


def typed(values: dict[str, object]) -> str:
    return "any:" + ",".join(
        f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()
    )


@given(options)
def test_options_arrive_as_they_were_typed(models: Registry, values: dict[str, object]) -> None:
    arrived = models.model(typed(values)).options
    assert {key: (value, type(value)) for key, value in arrived.items()} == {
        key: (value, type(value)) for key, value in values.items()
    }


@given(options)
def test_the_name_of_a_model_means_that_model_again(models: Registry, values: dict[str, object]) -> None:
    model = models.model(typed(values))
    again = models.model(model.name)
    assert (again.name, again.options) == (model.name, model.options)


@pytest.mark.parametrize("written", ['k="4"', 'k="true"', 'k=" a"', 'k=["a","b"]', 'k="a,b"', 'k="a]b"', "k={a=1}"])
def test_an_option_in_quotes_is_kept_as_such_in_the_name_or_refused(written: str, models: Registry) -> None:
    try:
        model = models.model(f"any:{written}")
    except RequestError:
        return
    assert models.model(model.name).options == model.options


@pytest.mark.parametrize("value", ["1979-05-27", "inf", "nan"])
def test_an_option_that_json_cannot_say_is_refused(value: str, models: Registry) -> None:
    with pytest.raises(RequestError):
        models.model(f"any:k={value}")


@given(st.text(max_size=30))
def test_any_text_is_a_model_or_is_refused(models: Registry, text: str) -> None:
    try:
        models.model(f"any:{text}")
    except RequestError as error:
        assert str(error)


REFUSED = {
    "vgg91": "unknown model 'vgg91': did you mean vgg19",
    "": "unknown model ''",
    "some:size": "NAME:key=value",
    "some:size=1,,kind=b": "NAME:key=value",
    "some:2=1": "NAME:key=value",
    "some:depth=1": "some has no option 'depth': did you mean depths? it has size, rate, wide, depths, kind",
    "vgg19:patch_size=4": "vgg19 has no option 'patch_size': it has none",
    "vit_tiny:num_classes=4": "num_classes",
}


@pytest.mark.parametrize(("text", "says"), REFUSED.items())
def test_a_wrong_model_is_refused_in_words_that_name_the_fault(text: str, says: str, models: Registry) -> None:
    with pytest.raises(RequestError) as refused:
        models.model(text)
    assert says in str(refused.value)


def test_what_every_model_is_given_is_no_option() -> None:
    assert ModelSpec("mine", build_with_defaults, "cnn").options() == {"size": 1}


def test_the_protocol_s_options_are_for_models_that_have_them_and_give_way_to_those_typed(registry: Registry) -> None:
    defaults = {"patch_size": 8}
    assert registry.model("densenet121").options_under(defaults) == {}
    assert registry.model("vit_tiny").options_under(defaults) == {"patch_size": 8}
    assert registry.model("vit_tiny:patch_size=4").options_under(defaults) == {"patch_size": 4}


def test_any_timm_model_needs_no_plugin(registry: Registry) -> None:
    model = registry.model("timm/resnet18")
    assert (model.name, model.plugin.name) == ("timm/resnet18", "timm")


@given(st.text(max_size=30))
def test_any_text_is_a_model_or_refused(text: str) -> None:
    with contextlib.suppress(RequestError):
        load_plugins().model(text)


def test_a_name_or_options_too_long_for_a_folder_are_refused_in_a_line(
    plugin: Callable[..., Path], tmp_path: Path
) -> None:
    hook = "from bench import ModelSpec, hookimpl\n\n@hookimpl\ndef bench_models():\n    "
    long = f"{hook}yield ModelSpec('n' * 300, print, 'cnn')\n"
    registry = load_plugins([plugin(long, "long.py")], tmp_path)
    (problem,) = registry.problems
    assert "is no name: use letters" in problem and "100 at most" in problem and len(problem) < 400
    with pytest.raises(RequestError, match="too long for a folder's"):
        registry.model(f"timm/x:option={'y' * 300}")
    with pytest.raises(RequestError, match=r"plugin folder x+…: File name too long"):
        load_plugins([Path("x" * 5_000)])


def test_a_claim_without_a_text_is_left_out_with_its_plugin_named(plugin: Callable[..., Path], tmp_path: Path) -> None:
    odd = "from bench import Claim, hookimpl\n\n@hookimpl\ndef bench_claims():\n    yield Claim(None, None, print)\n"
    claims, (problem,) = load_plugins([plugin(odd, "odd.py")], tmp_path).claims()
    assert claims == [] and "plugin odd is asked no more" in problem and "a Claim has a text" in problem
