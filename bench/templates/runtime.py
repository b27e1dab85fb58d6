"""The runtime `mine`, timed beside torch's own: `python -m bench measure vit_tiny --image-size 32 --only mine`."""

from bench import MeasureSpec, Quantity, hookimpl


def measure(subject):
    """One picture's latency through TorchScript, in milliseconds: put another runtime into `prepared`."""
    from bench.measure.latency import measure_latency

    run, _ = prepared(subject)
    return measure_latency({"": run}, subject.device, rounds=8, seconds=0.05)[""].as_dict()


def prepared(subject):
    """What is timed, a callable without parameters, and how many pictures one call goes through.

    Timing sessions call it, too, and time it in turns with all other models.
    """
    import copy

    import torch

    images = torch.randn(1, 3, subject.image_size, subject.image_size, device=subject.device.torch_device)
    with torch.inference_mode():
        model = torch.jit.trace(copy.deepcopy(subject.model), images)
    return torch.inference_mode()(lambda: model(images)), 1


@hookimpl
def bench_measurements():
    latency = Quantity(
        key="mine_ms",
        label="mine latency (ms)",
        about="median time of one picture through TorchScript",
        path="p50",
        interval="ci95",
        rounds="rounds",
        disturbed="disturbed",
        series="mine",
        kind="time",
        better="lower",
        unit="ms",
    )
    yield MeasureSpec("mine", measure, (latency,), timed=prepared)
