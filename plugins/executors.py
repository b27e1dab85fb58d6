"""The executor that comes with bench: `local`, processes of this machine, one trial after another."""

from bench import ExecutorSpec, hookimpl


def start():
    from bench.run.executors.local import Local

    return Local()


@hookimpl
def bench_executors():
    yield ExecutorSpec("local", start, source="a process of this machine for each trial")
