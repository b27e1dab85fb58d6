"""What bench itself measures of a model; each is told of in a file of bench/measure/."""

from bench import MeasureSpec, hookimpl


@hookimpl
def bench_measurements():
    yield MeasureSpec("macs", macs)
    yield MeasureSpec("memory", memory)
    yield MeasureSpec("latency", latency, together=True, timed=picture)
    yield MeasureSpec("throughput", throughput, timed=batch)
    yield MeasureSpec("step", step, timed=training_step)
    yield MeasureSpec("profile", profile, alone=True)
    yield MeasureSpec("energy", energy, alone=True)


def macs(subject):
    from bench.measure.macs import measure

    return measure(subject)


def memory(subject):
    from bench.measure.memory import measure

    return measure(subject)


def latency(subjects):
    from bench.measure.latency import measure

    return measure(subjects)


def throughput(subject):
    from bench.measure.throughput import measure

    return measure(subject)


def step(subject):
    from bench.measure.step import measure

    return measure(subject)


def profile(subject):
    from bench.measure.profile import measure

    return measure(subject)


def energy(subject):
    from bench.measure.energy import measure

    return measure(subject)


def picture(subject):
    return subject.inference(1), 1


def batch(subject):
    return subject.inference(max(subject.batches)), max(subject.batches)


def training_step(subject):
    training = subject.training
    return lambda: training.step(*training.batch()), max(subject.batches)
