"""What becomes of a trial that fails, whatever runs it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial

from bench.errors import BusyError, RequestError, StorageError
from bench.events import Event, Measuring, Note, Tell
from bench.hookspecs import DiedError, Executor, TimedOutError
from bench.records.record import Failure, Record, Status
from bench.request import TrialSpec
from bench.run.executors import work
from bench.run.executors.following import StoppedError, follow
from bench.run.failure import is_unmeasured, record_failure


def attempt(
    executor: Executor,
    spec: TrialSpec,
    timeout: float | None,
    started: float,
    tell: Tell,
    stop: threading.Event,
) -> Record | None:
    """Run the trial, begun at `started` (of time.monotonic), to its record; `tell` and `stop` as of `follow`.

    A trial always leaves a record, written by the trial, or here for one that could not.

    A measurement that ends the trial's process costs itself: the trial is run again without it, from its last
    checkpoint, at which training is over. One during which the process died is tried twice: something else may have
    ended it. None where another run is at the trial.
    """
    known = spec.known
    assert known is not None  # of a trial that was planned

    def failed(status: Status, message: str) -> Record:
        return record_failure(spec, known, status, message, time.monotonic() - started)

    measuring = ""  # what is being measured, once the rest is done

    def hear(event: Event) -> None:
        nonlocal measuring
        measuring = event.quantity if isinstance(event, Measuring) else measuring
        tell(event)

    died: Counter[str] = Counter()  # during which measurement, or none
    while True:
        measuring = ""
        status: Status
        try:
            spec.folder.mkdir(parents=True, exist_ok=True)
            work_done = executor.run(partial(work.run_trial, spec), log=spec.folder / "log.txt", timeout=timeout)
            return follow(work_done, hear, stop)
        except BusyError:
            return None
        except TimedOutError:
            status, message = "timeout", f"took longer than {timeout:g} seconds"
        except DiedError as error:
            status, message = "crashed", str(error)
            died[measuring] += 1
            if died[measuring] == 1 and (measuring or is_unmeasured(spec.folder)):
                tell(Note(f"{spec.model}: {message}; measuring once more"))
                spec = replace(spec, fresh=spec.fresh and not measuring)
                continue
        except StorageError as error:
            return failed("error", str(error))
        except RequestError as error:  # seen only with the real weights, or on the real device
            return failed("error", str(error))
        except OSError as error:  # the folder cannot be made
            return failed("error", f"{spec.folder}: {error.strerror}")
        except (KeyboardInterrupt, StoppedError):
            failed("interrupted", "interrupted by the user; run again to go on after its last whole epoch")
            raise
        if not measuring:
            return failed(status, message if status == "timeout" else f"{message}; see log.txt")
        tell(Note(f"{spec.model}: {measuring} could not be measured: {message}"))
        unmeasured = {**spec.unmeasured, measuring: Failure(type=status, message=message)}
        spec = replace(spec, unmeasured=unmeasured, fresh=False)
