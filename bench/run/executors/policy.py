"""What becomes of a trial that fails, whatever runs it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

from bench.errors import BusyError, RequestError, StorageError
from bench.events import Event, Measuring, Note, Tell
from bench.hookspecs import DiedError, Executor, LostError, TimedOutError
from bench.records.record import Failure, Record, Status
from bench.request import TrialSpec
from bench.run.executors import work
from bench.run.executors.following import StoppedError, follow
from bench.run.failure import is_unmeasured, record_failure

# How often a trial is tried again whose machine is lost, where the user does not say: once may be chance, and a trial
# that takes every machine down with it must end.
ELSEWHERE = 2
STOPPED = "stopped by the user; run again to go on after its last whole epoch"


@dataclass(frozen=True)
class Limits:
    """The seconds that a trial may take, and how often one whose process died is tried again: see RunRequest."""

    timeout: float | None = None
    retries: int | None = None

    def tries_again(self, error: DiedError) -> int:
        """How often, after that."""
        if self.retries is not None:
            return self.retries
        return ELSEWHERE if isinstance(error, LostError) else 0


UNLIMITED = Limits()


def attempt(
    executor: Executor,
    spec: TrialSpec,
    limits: Limits,
    started: float,
    tell: Tell,
    stop: threading.Event,
) -> Record | None:
    """Run the trial, begun at `started` (of time.monotonic), to its record; `tell` and `stop` as of `follow`.

    A trial always leaves a record, written by the trial, or here for one that could not.

    A measurement that ends the trial's process costs itself: the trial is run again without it, from its last
    checkpoint, at which training is over. One during which the process died is tried twice: something else may have
    ended it. One whose process died in training, or whose machine is lost, is tried again as often as the limits say,
    from its last checkpoint. None where another run is at the trial.
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
    again = 0  # how often it was tried again, since it died while it trained or its machine was lost
    while True:
        measuring = ""
        status: Status
        try:
            spec.folder.mkdir(parents=True, exist_ok=True)
            work_done = executor.run(partial(work.run_trial, spec), log=spec.folder / "log.txt", timeout=limits.timeout)
            return follow(work_done, hear, stop)
        except BusyError:
            return None
        except TimedOutError:
            status, message = "timeout", f"took longer than {limits.timeout:g} seconds"
        except DiedError as error:
            status, message = "crashed", str(error)
            if (measuring or is_unmeasured(spec.folder)) and not isinstance(error, LostError):
                died[measuring] += 1
                if died[measuring] == 1:
                    tell(Note(f"{spec.model}: {message}; measuring once more"))
                    spec = replace(spec, fresh=spec.fresh and not measuring)
                    continue
            elif again < (most := limits.tries_again(error)):
                again += 1
                tell(Note(f"{spec.model}, seed {spec.seed}: {message}; tried again, {again} of {most}"))
                spec = replace(spec, fresh=False)
                continue
            else:
                message += f"; {again + 1} tries" if again else ""
        except StorageError as error:
            return failed("error", str(error))
        except RequestError as error:  # seen only with the real weights, or on the real device
            return failed("error", str(error))
        except OSError as error:  # the folder cannot be made
            return failed("error", f"{spec.folder}: {error.strerror}")
        except StoppedError:
            return failed("interrupted", STOPPED)
        except KeyboardInterrupt:
            failed("interrupted", STOPPED)
            raise
        if not measuring:
            return failed(status, message if status == "timeout" else f"{message}; see log.txt")
        tell(Note(f"{spec.model}: {measuring} could not be measured: {message}"))
        unmeasured = {**spec.unmeasured, measuring: Failure(type=status, message=message)}
        spec = replace(spec, unmeasured=unmeasured, fresh=False)
