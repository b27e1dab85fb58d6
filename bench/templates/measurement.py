"""The measurement `mine`: try it with `python -m bench measure vit_tiny --image-size 32 --only mine`."""

from bench import MeasureSpec, Quantity, hookimpl


def measure(subject):
    """How many weights are nearly zero: change this. Any JSON value will do; of one that raises, the reason is kept.

    `subject` has the model as it was trained (`subject.model`), and much more: bench/hookspecs.py, Subject.
    """
    weights = [parameter.detach().abs() for parameter in subject.model.parameters()]
    small = sum(int((one < 1e-3).sum()) for one in weights)
    return {"small": small / max(1, sum(one.numel() for one in weights))}


@hookimpl
def bench_measurements():
    # A quantity is a column, an axis of the page, a limit of `recommend` and a row of `compare`.
    share = Quantity(
        key="mine",
        label="small weights (%)",
        about="share of the weights that are smaller than 0.001",
        path="small",
        scale=100.0,
        kind="score",
        better=None,
        unit="%",
        decimals=1,
    )
    yield MeasureSpec("mine", measure, (share,))
