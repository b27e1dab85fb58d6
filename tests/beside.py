"""A trial that is run beside another: nothing of it is timed, which takes most of so small a trial."""

from __future__ import annotations

from bench.records.identity import Way

BESIDE = Way("cpu", None, sharing=2)
