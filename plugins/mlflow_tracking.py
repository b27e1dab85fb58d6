"""Trials in MLflow: an experiment a protocol, a run `MODEL seed N` a trial, in the store of `$MLFLOW_TRACKING_URI`.

Where that is not set, nothing is done. A run appears with its trial's first epoch and gets its curves while it
trains; at the end it gets what the record says: parameters, tags, the curves whole, every quantity under its key, and
the record itself. A trial that runs again has a new run, which replaces one that is not FINISHED.

Where the store cannot be had, that is one line, nothing more is logged, and bench's run goes on.
"""

import functools
import json
import os
import re
import threading
import time
from concurrent.futures import Future
from queue import SimpleQueue

from bench import RequestError, hookimpl
from bench.events import EpochEnded, TrialEnded, TrialLeft, TrialStarted
from bench.files import DISTRIBUTION, write_text

INSTALL = f"python -m pip install '{DISTRIBUTION}[mlflow]'"
# Of MLflow's own settings, those that it has here where the user does not choose. Seconds and tries of a request: by
# default it waits for minutes. It prints nothing between the progress bars, and tells its makers nothing.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
LIMIT = 60  # seconds that bench waits for MLflow, once; its import and a new database's tables may take thirty
RUN_ID = "mlflow-run.txt"  # in a trial's folder: its run, which an interrupted trial must find again
STATUS = {"ok": "FINISHED", "interrupted": "KILLED"}  # of all others: FAILED
ENVIRONMENT = ("device", "device_kind", "cpu", "threads", "precision", "python", "torch", "timm", "cuda", "driver")
LARGEST = 1_000_000  # bytes of predictions that are kept there, too
# What MLflow takes at once.
METRICS, PARAMETERS = 1000, 100

UNDER_WAY: dict[tuple[str, int], "Tracked"] = {}


@hookimpl
def bench_event(event):
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)  # until the hook returns: bench then restores the environment
    followed = Future()
    told().put((event, followed))
    try:
        followed.result(LIMIT)
    except RequestError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}" if followed.done() else f"nothing for {LIMIT} seconds"
        raise RequestError(f"the run goes on without MLflow, which says {said}") from error


@functools.cache
def told():
    """What is put there, an event and what becomes of it, is followed in a thread, one after the other.

    An interrupt does not reach that thread: half a call could leave a run in the store that nobody knows of. And it may
    be left to itself: where a database does not answer, MLflow tries again for minutes.
    """
    events = SimpleQueue()

    def work():
        while True:
            event, followed = events.get()
            try:
                followed.set_result(follow(event))
            except BaseException as error:
                followed.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return events


def follow(event):
    """Pass on what the event says; raises whatever MLflow raises."""
    match event:
        case TrialStarted():
            UNDER_WAY[event.model, event.seed] = Tracked(event)
        case EpochEnded() if (event.model, event.seed) in UNDER_WAY:
            UNDER_WAY[event.model, event.seed].epoch_ended(event)
        case TrialLeft():
            UNDER_WAY.pop((event.model, event.seed), None)
        case TrialEnded() if (event.model, event.seed) in UNDER_WAY:  # else another run has done it
            UNDER_WAY.pop((event.model, event.seed)).ended(event)


class Tracked:
    """A trial under way. `run` is the id of its run, None until there is something to tell.

    Not before: a trial that is begun may turn out to be another run's, whose run in MLflow must stay.
    """

    def __init__(self, started):
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise RequestError(f"MLFLOW_TRACKING_URI is set, but mlflow is not installed: {INSTALL}") from None
        self.started, self.began, self.client = started, milliseconds(), MlflowClient()
        self.experiment = experiment(self.client, started.protocol)
        self.run, self.told = None, {}

    def epoch_ended(self, event):
        if self.started.tries > 1:  # which try's curves are the trial's is known at the end
            return
        self.begin()
        values = {"train_loss": event.train_loss, "val_loss": event.val_loss, "val_top1": event.val_top1}
        self.log([(name, event.epoch, value) for name, value in values.items()])

    def ended(self, event):
        from bench.records.predictions import NAME as PREDICTIONS
        from bench.records.record import NAME as RECORD

        self.begin()
        record = record_of(event)
        tags = {"bench.status": event.status, "bench.record": str((event.folder / RECORD).absolute())}
        tags |= {"bench.error": event.message} if event.message else {}
        if record is None:
            self.log([], {"model": event.model, "seed": str(event.seed)}, tags)
        else:
            self.log([*curves(record), *quantities(record)], parameters(record), tags | tags_of(record))
        self.client.set_terminated(self.run, STATUS.get(event.status, "FAILED"))
        if record is not None:
            self.client.log_artifact(self.run, str(event.folder / RECORD))
            predictions = event.folder / PREDICTIONS
            if record.accuracy is not None and predictions.is_file() and predictions.stat().st_size <= LARGEST:
                self.client.log_artifact(self.run, str(predictions))

    def begin(self):
        """See that there is a run, and that one of this trial which never finished is there no more."""
        if self.run is not None:
            return
        file = self.started.folder / RUN_ID
        if file.is_file():
            self.remove_unfinished(file.read_text().strip())
        name = f"{self.started.model} seed {self.started.seed}"
        self.run = self.client.create_run(self.experiment, start_time=self.began, run_name=name).info.run_id
        write_text(file, f"{self.run}\n")

    def remove_unfinished(self, run):
        from mlflow.exceptions import MlflowException

        try:
            before = self.client.get_run(run).info
        except MlflowException:  # it is in another store
            return
        if before.status != "FINISHED" and before.lifecycle_stage == "active":
            self.client.delete_run(run)

    def log(self, metrics, parameters=(), tags=()):
        """`metrics` are (key, step, value); what the run has of them already, of a try that died, is left out."""
        from mlflow.entities import Metric, Param, RunTag

        new = [(key, step, value) for key, step, value in metrics if self.told.get((key, step)) != value]
        self.told |= {(key, step): value for key, step, value in new}
        now = milliseconds()
        points = [Metric(key, value, now, step) for key, step, value in new]
        for start in range(0, len(points), METRICS):
            self.client.log_batch(self.run, metrics=points[start : start + METRICS])
        written = [Param(key, value) for key, value in dict(parameters).items()]
        for start in range(0, len(written), PARAMETERS):
            self.client.log_batch(self.run, params=written[start : start + PARAMETERS])
        if tags:
            self.client.log_batch(self.run, tags=[RunTag(key, value) for key, value in tags.items()])


def experiment(client, name):
    """The id of the experiment of that name, which is made where there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except MlflowException:  # another run may have been faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found.experiment_id


def record_of(event):
    """The record of the trial that ended; None where it could not be written, or a finished one stays in its place."""
    from bench.records.record import NAME, RecordError, read_record

    try:
        record = read_record(event.folder / NAME)
    except (OSError, RecordError):
        return None
    return record if record.status == event.status else None


def curves(record):
    """Key, epoch (from 1) and value of each epoch's losses and top-1."""
    history = record.training.history.model_dump() if record.training is not None else {}
    for key, values in history.items():
        for epoch, value in enumerate(values, start=1):
            yield key, epoch, value


def quantities(record):
    """Key, 0 and value, in the unit in which it is shown, of each quantity that the record has."""
    from bench.records.quantities import with_plugins

    for quantity in with_plugins(record.quantities):
        value = quantity.value(record)
        if value is not None:
            yield re.sub(r"[^\w./: -]", "_", quantity.key), 0, value  # MLflow takes no other characters


def parameters(record):
    """What distinguishes trials, as texts: model, options, seed, data, and the protocol's settings by dotted names."""
    from bench.records.dotted import dotted

    model = record.model
    found = {"model": model.name, "base": model.base or model.name, "family": model.family}
    found |= {"extensions": "+".join(one.name for one in model.extensions)} if model.extensions else {}
    found |= {f"options.{name}": value for name, value in (model.options | model.resolved_options).items()}
    for one in model.extensions:
        options = one.options | one.resolved_options
        found |= {f"extensions.{one.name}.{name}": value for name, value in options.items()}
    found |= {"seed": record.seed, "data": record.data.name, "data.fingerprint": record.data.fingerprint}
    found |= {"protocol": record.protocol.name, "protocol.fingerprint": record.protocol.fingerprint}
    found |= dict(dotted(record.protocol.settings))
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}


def tags_of(record):
    """Where it was made: the commit as MLflow's pages show it, bench's version, and the main parts of the machine."""
    environment = record.environment or {}
    git = environment.get("git") or {}
    found = {"mlflow.source.git.commit": git.get("commit"), "bench.version": environment.get("bench")}
    found |= {f"environment.{name}": environment.get(name) for name in ENVIRONMENT}
    found |= {"bench.error": str(record.error)} if record.error is not None else {}
    return {name: str(value) for name, value in found.items() if value is not None}


def milliseconds():
    """Since 1970, as MLflow counts."""
    return int(time.time() * 1000)
