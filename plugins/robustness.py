"""How much of its accuracy a trained model keeps where pictures are noisy, blurred, foggy: bench/measure/robustness."""

from bench import MeasureSpec, Quantity, hookimpl


@hookimpl
def bench_measurements():
    accuracy = Quantity(
        key="corrupted_accuracy", label="corrupted top-1 (%)", path="mean", kind="score", better="higher", unit="%",
        about="mean top-1 on the test pictures under 14 common corruptions (ICLR 2019), each in 5 severities",
        scale=100, most=100, run_table=True, page=True,
    )  # fmt: skip
    yield MeasureSpec("robustness", robustness, (accuracy,), on_request=True)


def robustness(subject):
    from bench.measure.robustness import measure

    return measure(subject)
