"""What was measured of a model, typed: the record's `efficiency`. What was not measured is null.

Sizes in bytes, times in seconds unless the name says otherwise. Keys that this bench does not know are kept.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, field_validator

MOST = 2**63 - 1  # of a count; what is larger is no measurement
LONGEST = 255  # characters of a name: what a file system takes
# Whole numbers stay whole in the file; a text is no number.
Amount = Annotated[StrictInt | StrictFloat, Field(ge=0, le=MOST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=LONGEST)]
Interval = tuple[Amount, Amount]


def others_alone(disturbed: str | None) -> str | None:
    """What other processes did. That rounds differed, as older benches noted, says that there were too few."""
    parts = (disturbed or "").split("; ")
    return "; ".join(part for part in parts if not part.startswith("rounds differ by ")) or None


class Part(BaseModel):
    # Keys may be added freely: an older bench reads a newer record and keeps what it does not know.
    model_config = ConfigDict(extra="allow")


class CrossCheck(Part):
    """What a second, independent counter says of the MACs; `difference` is a share."""

    agrees: bool
    difference: Finite
    counter: str = ""


class Memory(Part):
    """Bytes of a training step of `train_batch` images and of inference, by batch size (None: it does not fit)."""

    train_peak: Amount | None = None
    train_batch: Count | None = None
    train_breakdown: dict[str, Amount] = {}
    inference_peak: dict[str, Amount | None] = {}
    parameters: Amount | None = None
    gradients: Amount | None = None
    optimizer: Amount | None = None
    activations: Amount | None = None

    @field_validator("inference_peak", mode="before")
    @classmethod
    def _keys_as_in_the_file(cls, peaks: Any) -> Any:
        return {str(batch): peak for batch, peak in peaks.items()} if isinstance(peaks, dict) else peaks

    @property
    def least_inference(self) -> int | float | None:
        """Bytes of inference of one picture where that was measured, else of the smallest batch that was."""
        return self.inference_peak[min(self.inference_peak, key=int)] if self.inference_peak else None


class GpuLoad(Part):
    """What a GPU did when a time had just been taken; `slowed_by` names what kept it from being faster."""

    sm_mhz: Amount | None = None
    watts: Amount | None = None
    slowed_by: list[str] = []


class Latency(Part):
    """Milliseconds of one picture: percentiles of all runs, the median's 95 % interval, and each round's median.

    `graph` is the same with all launches replayed as one, on a GPU; `no_graph` says why there is none.
    """

    p50: Amount | None = None
    p90: Amount | None = None
    p99: Amount | None = None
    ci95: Interval | None = None
    runs: Count | None = None
    rounds: list[Amount] = []
    disturbed: str | None = None
    interleaved_with: Count | None = None
    gpu: GpuLoad | None = None
    graph: Latency | None = None
    no_graph: str | None = None


class Throughput(Part):
    """Pictures classified in a second at one batch size."""

    batch: Count
    images_per_second: Amount
    ci95: Interval | None = None
    disturbed: str | None = None
    gpu: GpuLoad | None = None


class Step(Part):
    """Seconds of a training step of `batch` images, and its phases' shares of them.

    `graph_seconds`: with forward and backward replayed as one, on a GPU; `no_graph` says why there is none.
    """

    seconds: Amount | None = None
    ci95: Interval | None = None
    batch: Count | None = None
    images_per_second: Amount | None = None
    phases: dict[str, Amount] = {}
    runs: Count | None = None
    disturbed: str | None = None
    gpu: GpuLoad | None = None
    graph_seconds: Amount | None = None
    no_graph: str | None = None


class Energy(Part):
    """Joules an image, in batches of `batch`."""

    inference_per_image: Amount | None = None
    training_per_image: Amount | None = None
    batch: Count | None = None


class Profile(Part):
    """Where training steps spent their time: shares by phase, of the device's being busy, and by operator."""

    steps: Count
    seconds: Amount
    phases: dict[str, Amount]
    busy: Amount | None = None
    operators: list[dict[str, Any]] = []
    trace: str | None = None


class Efficiency(Part):
    """Everything that was measured of one model; `errors` says why a quantity is missing that was to be measured."""

    macs: Amount | None = None
    flops: Amount | None = None
    training_macs: Amount | None = None
    activations: Amount | None = None
    macs_by_operator: dict[str, Amount] | None = None
    macs_by_module: dict[str, Amount] | None = None
    uncounted_operators: dict[str, Count] | None = None
    macs_cross_check: CrossCheck | None = None
    memory: Memory | None = None
    latency_ms: Latency | None = None
    throughput: list[Throughput] | None = None
    # Why no larger batch was tried: two brought no gain, no memory, a batch took too long, or a list ended.
    throughput_limited_by: Literal["gain", "memory", "time", "list"] | None = None
    train_step: Step | None = None
    profile: Profile | None = None
    energy_joules: Energy | None = None
    errors: dict[str, str] | None = None
    # Of records before `errors`: why nothing at all was measured.
    error: str | None = None

    @property
    def best_throughput(self) -> Throughput | None:
        """At the batch size at which most pictures are classified in a second."""
        return max(self.throughput or [], key=lambda one: one.images_per_second, default=None)
