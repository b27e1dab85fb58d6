"""Training learns, stops when it should, keeps the best epoch, and goes on after an interruption as if without one."""

from __future__ import annotations

import errno
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.optim.muon import Muon
from torch import nn

from bench.data.batches import Batch
from bench.data.cache import Stored
from bench.device import Device
from bench.errors import StorageError
from bench.plugins import Model, Registry
from bench.protocol import Augmentation, Protocol
from bench.run.prepare import prepare
from bench.train import checkpoint
from bench.train.checkpoint import Writer, read_checkpoint, write_checkpoint
from bench.train.loop import DivergedError, Evaluation, Progress, Trainer, evaluate, fit, make_trainer
from bench.train.optimizer import make_optimizer, make_schedule

CPU = Device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


class Fitting:
    """The tiny model on 200 digits, and others for validation; `fit()` trains it."""

    def __init__(self, asked: Model, protocol: Protocol, stored: Stored, checkpoint: Path) -> None:
        prepared = prepare(asked, protocol, stored, 0, "cpu")
        self.model, self.protocol, self.checkpoint = prepared.model, protocol, checkpoint
        self.train, self.val = prepared.batches["train"], prepared.batches["val"]
        self.trainer = make_trainer(self.model, protocol, self.train.steps, prepared.precision, prepared.device)

    def fit(
        self,
        epoch_ended: Callable[[Progress], None] = lambda progress: None,
        seed: int = 0,
        warn: Callable[[str], None] = pytest.fail,
    ) -> Progress:
        return fit(self.trainer, self.train, self.val, self.protocol, seed, self.checkpoint, epoch_ended, warn)


@pytest.fixture
def fitting(
    registry: Registry, digits: Stored, tiny_protocol: Callable[..., Protocol], tmp_path: Path
) -> Callable[..., Fitting]:
    """`fitting("train.epochs=2", …)`: ready to fit, always from the same weights."""

    def make(*overrides: str, model: str = "tiny:dropout=0.3") -> Fitting:
        protocol = tiny_protocol("augmentation.flip=true", *overrides)
        return Fitting(registry.model(model), protocol, digits, tmp_path / "checkpoint.pt")

    return make


def history(progress: Progress) -> tuple[list[float], ...]:
    return progress.train_loss, progress.train_top1, progress.val_loss, progress.val_top1


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_tiny_model_learns_digits_far_above_chance(fitting: Callable[..., Fitting]) -> None:
    made = fitting("train.epochs=6", "augmentation.flip=false", "train.batch_size=20", "optimizer.learning_rate=0.01")
    progress = made.fit()
    assert progress.val_top1[progress.best_epoch - 1] > 0.6
    assert progress.train_loss[-1] < progress.train_loss[0]


def test_a_repeated_fit_is_the_same_to_the_bit(fitting: Callable[..., Fitting]) -> None:
    one, other = fitting(), fitting()
    first = one.fit()
    one.checkpoint.unlink()
    second = other.fit()
    assert history(first) == history(second)
    assert same(weights(one.model), weights(other.model))


def test_another_seed_trains_differently(fitting: Callable[..., Fitting]) -> None:
    one, other = fitting(), fitting()
    first = one.fit(seed=0)
    one.checkpoint.unlink()
    assert history(first) != history(other.fit(seed=1))


class Interrupted(Exception):  # noqa: N818 — what happens, not what went wrong
    """Ctrl-C, a crash, a full disk."""


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "exponential", "constant"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(
    schedule: str, optimizer: str, fitting: Callable[..., Fitting]
) -> None:
    settings = (
        "train.epochs=4",
        f"schedule.name={schedule}",
        "schedule.gamma=0.9",
        f"optimizer.name={optimizer}",
        "optimizer.weight_decay=0.01",
    )
    whole = fitting(*settings)
    uninterrupted = whole.fit()
    whole.checkpoint.unlink()

    def interrupt_after_two(progress: Progress) -> None:
        if progress.epochs == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        fitting(*settings).fit(interrupt_after_two)
    epochs: list[int] = []
    resumed = fitting(*settings)
    torch.rand(99)  # what is drawn in between is of no consequence
    progress = resumed.fit(lambda progress: epochs.append(progress.epochs))
    assert epochs == [3, 4]
    assert (uninterrupted.warm_up_epochs, progress.warm_up_epochs) == ([1], [1, 3])
    assert history(progress) == history(uninterrupted)
    assert progress.best_epoch == uninterrupted.best_epoch
    assert same(weights(resumed.model), weights(whole.model))


def _text(file: Path) -> None:
    file.write_text("nothing of the kind")


def _half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # within a tensor, which torch does not check
    file.write_bytes(bytes(content))


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Whole, and of another training, or of another version of bench."""

    def make(file: Path) -> None:
        saved = read_checkpoint(file)
        assert saved is not None
        write_checkpoint(file, change(saved) or saved)

    return make


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": lambda file: file.write_bytes(b"") and None,
    "text": _text,
    "half": _half,
    "one bit flipped": _flipped,
    "a folder": _folder,
    "a list": _changed(lambda saved: [1, 2]),
    "another key": _changed(lambda saved: {"state": saved}),
    "no model": _changed(lambda saved: saved.pop("model") and None),
    "another shape": _changed(lambda saved: saved["best"].update({next(iter(saved["best"])): torch.zeros(3)})),
    "another tensor": _changed(lambda saved: saved["model"].update(more=torch.zeros(3))),
    "another optimizer": _changed(lambda saved: saved["optimizer"].update(param_groups=[])),
    "a later version": _changed(lambda saved: saved["progress"].update(best_f1=1.0)),
    "an earlier version": _changed(lambda saved: saved["progress"].pop("val_loss") and None),
    "no such epoch": _changed(lambda saved: saved["progress"].update(best_epoch=9)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_anew_as_if_there_had_been_none(
    damage: str, fitting: Callable[..., Fitting]
) -> None:
    settings = ("train.epochs=2", "schedule.name=one-cycle")
    whole = fitting(*settings)
    uninterrupted = whole.fit()
    DAMAGE[damage](whole.checkpoint)
    warned: list[str] = []
    again = fitting(*settings)
    progress = again.fit(warn=warned.append)
    assert history(progress) == history(uninterrupted)
    assert same(weights(again.model), weights(whole.model))
    (line,) = warned
    assert "is damaged (" in line and "training starts anew" in line and "\n" not in line
    assert (whole.checkpoint.parent / f"damaged-{whole.checkpoint.name}").exists()


def test_a_checkpoint_that_runs_code_runs_none(fitting: Callable[..., Fitting], tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    made = fitting()
    write_checkpoint(made.checkpoint, {"model": Malicious()})
    made.fit(warn=lambda text: None)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_cannot_be_written_says_so_in_bench_s_words(
    fitting: Callable[..., Fitting], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fitting()

    class Full(io.FileIO):
        def write(self, content: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda self, mode: Full(self, mode))
    with pytest.raises(StorageError, match=r"checkpoint\.pt cannot be written: No space left on device; make room"):
        made.fit()


def test_memory_that_runs_out_while_going_on_is_no_damage_and_costs_no_checkpoint(
    fitting: Callable[..., Fitting], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitting("train.epochs=2")
    whole.fit()
    before = whole.checkpoint.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    for place, name in ((torch.optim.Optimizer, "load_state_dict"), (torch, "load")):
        with monkeypatch.context() as patched:
            patched.setattr(place, name, full)
            with pytest.raises(torch.OutOfMemoryError):
                fitting("train.epochs=3").fit()
        assert whole.checkpoint.read_bytes() == before
        assert [file.name for file in whole.checkpoint.parent.iterdir()] == [whole.checkpoint.name]


def test_a_checkpoint_is_read_into_main_memory(
    fitting: Callable[..., Fitting], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting("train.epochs=2").fit()
    places = []
    load = torch.load

    def seen(*given: Any, **named: Any) -> Any:
        places.append(named["map_location"])
        return load(*given, **named)

    monkeypatch.setattr(torch, "load", seen)
    fitting("train.epochs=2").fit()
    assert places == ["cpu"]


def test_a_checkpoint_is_due_after_each_epoch_where_it_is_cheap_and_else_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, takes = 0.0, 0.0

    def write(*_: Any) -> None:
        nonlocal now
        now += takes

    monkeypatch.setattr(checkpoint, "write_checkpoint", write)
    monkeypatch.setattr(checkpoint, "CHEAP", 2.0)
    with Writer(tmp_path / "checkpoint.pt", lambda: now) as writer:
        assert writer.is_due  # the first
        # Seconds that one took, and whether another is due after half a minute; after a whole one it is.
        for takes, due in ((1.9, True), (2.1, False), (40.0, False), (0.1, True)):
            begun = now
            writer.write({})
            writer.wait()
            now = begun + max(30, takes + 10)
            assert writer.is_due == due
            now = begun + 60 + takes
            assert writer.is_due


def test_a_checkpoint_holds_what_was_when_it_was_given_and_each_tensor_once(tmp_path: Path) -> None:
    file, weights = tmp_path / "checkpoint.pt", torch.zeros(1000)
    with Writer(file) as writer:
        writer.write({"model": {"w": weights}, "best": {"w": weights}, "steps": [1, (weights[:1], "x")]})
        weights += 1
    saved = read_checkpoint(file)
    assert saved is not None
    assert not saved["model"]["w"].any() and not saved["steps"][1][0].any()
    assert saved["model"]["w"].data_ptr() == saved["best"]["w"].data_ptr()
    assert file.stat().st_size < 2 * weights.nbytes


def test_a_disk_that_fills_up_stops_training_an_epoch_later_and_keeps_the_checkpoint_before(
    fitting: Callable[..., Fitting], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, ended = fitting("train.epochs=5"), []
    writes = checkpoint.write_checkpoint

    def write(file: Path, content: dict[str, Any]) -> None:
        if content["progress"]["best_epoch"] and len(content["progress"]["val_top1"]) == 2:
            raise StorageError("full")
        writes(file, content)

    monkeypatch.setattr(checkpoint, "write_checkpoint", write)
    with pytest.raises(StorageError, match="full"):
        made.fit(lambda progress: ended.append(progress.epochs))
    assert ended == [1, 2]
    saved = read_checkpoint(made.checkpoint)
    assert saved is not None and len(saved["progress"]["val_top1"]) == 1


def test_a_random_loss_term_is_the_same_after_an_interruption(fitting: Callable[..., Fitting]) -> None:
    model = "fdvit_ti:widths=[8,12],heads=[2,3],depths=[1,1]"  # its masks are random
    whole = fitting("train.epochs=2", model=model)
    uninterrupted = whole.fit()
    whole.checkpoint.unlink()

    def interrupt(progress: Progress) -> None:
        if progress.epochs == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        fitting("train.epochs=2", model=model).fit(interrupt)
    resumed = fitting("train.epochs=2", model=model)
    assert resumed.fit().extra_loss == uninterrupted.extra_loss
    assert len(uninterrupted.extra_loss) == 2
    assert same(weights(resumed.model), weights(whole.model))


def test_an_interruption_in_the_middle_of_an_epoch_costs_that_epoch_only(fitting: Callable[..., Fitting]) -> None:
    whole = fitting()
    uninterrupted = whole.fit()
    whole.checkpoint.unlink()
    torn = fitting()
    batches = torn.train.shuffled

    def shuffled(seed: int, epoch: int, augmentation: Augmentation) -> Iterator[Batch]:
        for step, batch in enumerate(batches(seed, epoch, augmentation)):
            if (epoch, step) == (1, 2):
                raise Interrupted
            yield batch

    torn.train.shuffled = shuffled  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        torn.fit()
    assert history(fitting().fit()) == history(uninterrupted)


def test_a_fit_that_is_over_trains_no_more_and_gives_the_best_epoch_s_weights(fitting: Callable[..., Fitting]) -> None:
    first = fitting()
    done = first.fit()
    again = fitting()
    epochs: list[Progress] = []
    assert history(again.fit(epochs.append)) == history(done)
    assert epochs == []
    assert same(weights(again.model), weights(first.model))


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`validated(0.1, 0.5, …)`: what validation will find, epoch by epoch; the loss is 1 where none is said."""

    def script(*top1: float, loss: Sequence[float] = ()) -> None:
        answers, losses = iter(top1), iter(loss or (1.0,) * len(top1))
        nothing = torch.empty(0)
        monkeypatch.setattr(
            "bench.train.loop.evaluate", lambda *_: Evaluation(next(losses), next(answers), nothing, nothing)
        )

    return script


@pytest.mark.parametrize(
    ("patience", "top1", "epochs", "best"),
    [
        (2, [0.1, 0.3, 0.2, 0.3, 0.9], 4, 2),  # equal is not better
        (1, [0.5, 0.4, 0.9], 2, 1),
        (3, [0.1, 0.2, 0.3, 0.4, 0.5], 5, 5),
        (0, [0.5, 0.4, 0.3, 0.2, 0.1], 5, 1),
        (2, [0.0, 0.0, 0.0, 0.0, 0.0], 3, 1),
        (4, [0.5, 0.4, 0.3, 0.2, 0.1], 5, 1),
    ],
)
def test_training_stops_after_so_many_epochs_without_a_better_one(
    patience: int,
    top1: list[float],
    epochs: int,
    best: int,
    fitting: Callable[..., Fitting],
    validated: Callable[..., None],
) -> None:
    validated(*top1)
    progress = fitting("train.epochs=5", f"train.patience={patience}").fit()
    assert (progress.epochs, progress.best_epoch) == (epochs, best)


def test_of_equal_validation_top1_the_lowest_loss_is_best_and_patience_counts_no_loss(
    fitting: Callable[..., Fitting], validated: Callable[..., None]
) -> None:
    validated(0.1, 0.9, 0.9, 0.9, 0.9, loss=[0.9, 0.5, 0.3, 0.4, 0.1])
    made = fitting("train.epochs=5", "train.patience=2")
    by_epoch: list[dict[str, torch.Tensor]] = []
    progress = made.fit(lambda progress: by_epoch.append(weights(made.model)))
    assert (progress.epochs, progress.best_epoch) == (4, 3)
    assert same(weights(made.model), by_epoch[2])


def test_the_weights_of_the_best_epoch_are_kept(
    fitting: Callable[..., Fitting], validated: Callable[..., None]
) -> None:
    validated(0.1, 0.9, 0.5, 0.5)
    made = fitting("train.epochs=4")
    by_epoch: list[dict[str, torch.Tensor]] = []
    made.fit(lambda progress: by_epoch.append(weights(made.model)))
    assert same(weights(made.model), by_epoch[1])
    assert not same(weights(made.model), by_epoch[3])


def test_a_resumed_fit_still_knows_the_best_epoch_s_weights(
    fitting: Callable[..., Fitting], validated: Callable[..., None]
) -> None:
    validated(0.9, 0.1, 0.1, 0.1)
    torn = fitting("train.epochs=4")
    by_epoch: list[dict[str, torch.Tensor]] = []

    def interrupt_after_two(progress: Progress) -> None:
        by_epoch.append(weights(torn.model))
        if progress.epochs == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        torn.fit(interrupt_after_two)
    resumed = fitting("train.epochs=4")
    resumed.fit()
    assert same(weights(resumed.model), by_epoch[0])


def test_a_loss_that_is_no_number_ends_training(fitting: Callable[..., Fitting]) -> None:
    made = fitting("optimizer.name=sgd", "optimizer.learning_rate=1e30", "schedule.name=constant")
    with pytest.raises(DivergedError, match="a lower learning rate may help"):
        made.fit()


def test_a_loss_term_of_the_model_that_is_no_number_ends_training(fitting: Callable[..., Fitting]) -> None:
    made = fitting(model="tiny")
    made.model.backbone.training_loss = lambda: torch.tensor(math.inf, requires_grad=True)  # type: ignore[assignment]
    with pytest.raises(DivergedError, match=r"the training loss became .* \+ inf in epoch 1"):
        made.fit()


def test_validation_and_test_pictures_are_never_augmented(fitting: Callable[..., Fitting]) -> None:
    made = fitting("augmentation.crop=0.4", "augmentation.flip=true")
    shown: list[torch.Tensor] = []
    evaluated = made.val.in_order

    def in_order() -> Iterator[Batch]:
        for batch in evaluated():
            shown.append(batch[0].clone())
            yield batch

    made.val.in_order = in_order  # type: ignore[method-assign]
    made.fit()
    expected = [images for images, _ in evaluated()]
    assert len(shown) == 3 * len(expected)
    assert all(torch.equal(*pair) for pair in zip(shown, 3 * expected, strict=True))


def test_training_pictures_are_augmented_where_the_protocol_says_so(fitting: Callable[..., Fitting]) -> None:
    plain, augmented = fitting("augmentation.crop=0", "augmentation.flip=false"), fitting()
    pairs = zip(
        plain.train.shuffled(0, 0, plain.protocol.augmentation),
        augmented.train.shuffled(0, 0, augmented.protocol.augmentation),
        strict=True,
    )
    for (images, labels), (others, other_labels) in pairs:
        assert torch.equal(labels, other_labels)
        assert not torch.equal(images, others)


def test_every_model_is_shown_the_same_batches(fitting: Callable[..., Fitting]) -> None:
    shown: list[list[torch.Tensor]] = []
    for model in ("tiny", "tiny:width=4", "tiny:dropout=0.9"):
        made = fitting(model=model)
        made.checkpoint.unlink(missing_ok=True)
        seen: list[torch.Tensor] = []

        def keep(_: nn.Module, inputs: tuple[torch.Tensor], seen: list[torch.Tensor] = seen) -> None:
            seen.append(inputs[0].clone())

        made.model.register_forward_pre_hook(keep)
        made.fit()
        shown.append(seen)
    for other in shown[1:]:
        assert all(torch.equal(images, others) for images, others in zip(shown[0], other, strict=True))


def rates(protocol: Protocol, steps: int) -> list[float]:
    """The learning rate of every step of the training."""
    optimizer = make_optimizer(nn.Linear(1, 1), protocol)
    schedule = make_schedule(optimizer, protocol, steps)
    found = []
    for _ in range(protocol.train.epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_exponential_multiplies_by_gamma_after_each_epoch(tiny_protocol: Callable[..., Protocol]) -> None:
    protocol = tiny_protocol("schedule.name=exponential", "schedule.gamma=0.9", "optimizer.learning_rate=0.1")
    assert rates(protocol, 2) == pytest.approx([0.1, 0.1, 0.09, 0.09, 0.081, 0.081])


def test_constant_stays(tiny_protocol: Callable[..., Protocol]) -> None:
    assert rates(tiny_protocol("schedule.name=constant", "optimizer.learning_rate=0.1"), 2) == [0.1] * 6


def test_cosine_falls_to_zero_along_half_a_wave(tiny_protocol: Callable[..., Protocol]) -> None:
    found = rates(tiny_protocol("schedule.name=cosine", "optimizer.learning_rate=1"), 2)
    assert found == pytest.approx([(1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)])


def test_one_cycle_rises_to_the_learning_rate_and_falls_far_below_its_start(
    tiny_protocol: Callable[..., Protocol],
) -> None:
    found = rates(tiny_protocol("schedule.name=one-cycle", "optimizer.learning_rate=1", "train.epochs=10"), 10)
    peak = found.index(max(found))
    assert found[0] == pytest.approx(1 / 25)
    assert max(found) == pytest.approx(1, abs=0.01)
    assert found[: peak + 1] == sorted(found[: peak + 1])
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert found[-1] < 0.01


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD), ("muon", Muon)],
)
def test_the_optimizer_is_the_protocol_s_over_what_trains(
    name: str, kind: type[torch.optim.Optimizer], tiny_protocol: Callable[..., Protocol]
) -> None:
    protocol = tiny_protocol(
        f"optimizer.name={name}",
        "optimizer.learning_rate=0.5",
        "optimizer.weight_decay=0.25",
        "optimizer.momentum=0.75",
    )
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 3))
    optimizer = make_optimizer(model, protocol)
    (group,) = optimizer.param_groups
    assert type(optimizer) is kind
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in model[1].parameters()]
    assert (group["lr"], group["weight_decay"], group.get("momentum", 0.75)) == (0.5, 0.25, 0.75)


def test_a_step_does_the_arithmetic_of_a_hand_written_loop(fitting: Callable[..., Fitting]) -> None:
    made, by_hand = fitting(model="tiny"), fitting(model="tiny")
    optimizer = torch.optim.Adam(by_hand.model.parameters(), lr=1e-3)
    made.trainer = replace(made.trainer, optimizer=torch.optim.Adam(made.model.parameters(), lr=1e-3))
    for images, labels in made.train.shuffled(0, 0, Augmentation()):
        loss, logits, _ = made.trainer.step(images, labels)
        optimizer.zero_grad()
        expected = by_hand.model(images)
        expected_loss = nn.functional.cross_entropy(expected, labels)
        expected_loss.backward()
        optimizer.step()
        assert torch.equal(logits, expected)
        assert torch.equal(loss, expected_loss)
    assert same(weights(made.model), weights(by_hand.model))


def test_a_backbone_s_own_loss_term_is_trained_on_but_not_reported(fitting: Callable[..., Fitting]) -> None:
    plain, extra = fitting(model="tiny"), fitting(model="tiny")
    extra.model.backbone.training_loss = lambda: 100 * extra.model.backbone.stem[0].weight.square().sum()  # type: ignore[union-attr,index]
    images, labels = next(plain.train.shuffled(0, 0, Augmentation()))
    assert torch.equal(plain.trainer.step(images, labels)[0], extra.trainer.step(images, labels)[0])
    assert not same(weights(plain.model), weights(extra.model))


def test_mixed_precision_computes_in_bf16_and_keeps_the_weights_in_fp32(fitting: Callable[..., Fitting]) -> None:
    made = fitting(model="tiny")
    kinds: set[torch.dtype] = set()
    made.model.backbone.stem[0].register_forward_hook(lambda _module, _inputs, output: kinds.add(output.dtype))  # type: ignore[union-attr,index]
    trainer = replace(made.trainer, precision="bf16")
    assert isinstance(trainer, Trainer)
    loss, _, _ = trainer.step(*next(made.train.shuffled(0, 0, Augmentation())))
    assert kinds == {torch.bfloat16}
    assert loss.dtype == torch.float32
    assert {parameter.dtype for parameter in made.model.parameters()} == {torch.float32}


def test_evaluation_gives_the_probabilities_of_every_picture_in_order(fitting: Callable[..., Fitting]) -> None:
    made = fitting()
    found = evaluate(made.model, made.val, "fp32", CPU)
    assert found.probabilities.shape == (len(made.val), 10)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(len(made.val)))
    assert torch.equal(found.labels, made.val.labels)
    assert found.top1 == pytest.approx((found.probabilities.argmax(1) == found.labels).float().mean().item())
    chosen = found.probabilities[torch.arange(len(made.val)), found.labels]
    assert found.loss == pytest.approx(-chosen.log().mean().item(), rel=1e-4)


def test_evaluation_changes_nothing_of_the_model(fitting: Callable[..., Fitting]) -> None:
    made = fitting()
    before = weights(made.model)
    first, second = (evaluate(made.model, made.val, "fp32", CPU) for _ in range(2))
    assert torch.equal(first.probabilities, second.probabilities)
    assert same(weights(made.model), before)


def test_an_evaluation_opens_mixed_precision_once(fitting: Callable[..., Fitting]) -> None:
    class Counting(Device):
        opened = 0

        def autocast(self, precision: str) -> Any:
            self.opened += 1
            return super().autocast(precision)

    made, device = fitting("train.batch_size=16"), Counting("cpu")
    expected = evaluate(made.model, made.val, "bf16", CPU).probabilities
    assert torch.equal(evaluate(made.model, made.val, "bf16", device).probabilities, expected)
    assert len(list(made.val.in_order())) > 1 and device.opened == 1


def test_a_step_trains_depthwise_convolutions_in_float32_where_sixteen_bits_have_no_kernel(
    fitting: Callable[..., Fitting],
) -> None:
    made = fitting("train.precision=bf16", "data.image_size=32", model="efficientnet_lite0")
    seen: dict[tuple[int, ...], set[str]] = {}
    full = set[str]()

    def note(layer: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        assert isinstance(layer, nn.Conv2d) and output.grad_fn is not None
        if layer.groups > 1:
            seen.setdefault((*layer.kernel_size, *layer.stride), set()).add(output.grad_fn.name())
        else:
            full.add(output.grad_fn.name())

    for layer in made.model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    made.trainer.step(*next(made.train.shuffled(0, 0, made.protocol.augmentation)))
    assert seen[5, 5, 1, 1] == seen[3, 3, 2, 2] == {"ToCopyBackward0"}
    assert "ConvolutionBackward0" in seen[3, 3, 1, 1]
    assert full == {"ConvolutionBackward0", "_ConvolutionBackward"}  # those of many weights are matrix products
