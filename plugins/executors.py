"""The executors that come with bench: `local`, processes of this machine, and `ray`, the machines of a Ray cluster."""

from bench import ExecutorSpec, RequestError, hookimpl


def start_local():
    from bench.run.executors.local import Local

    return Local()


def start_ray(ray_address=None, cpus_per_trial=None, gpus_per_trial=None):
    try:
        import ray  # noqa: F401 — is it there
    except ImportError:
        from bench.files import DISTRIBUTION

        raise RequestError(f"--executor ray needs the package ray: pip install '{DISTRIBUTION}[ray]'") from None
    from bench.run.executors.on_ray import OnRay

    return OnRay(ray_address, cpus_per_trial, gpus_per_trial)


@hookimpl
def bench_executors():
    yield ExecutorSpec("local", start_local, source="a process of this machine for each trial")
    yield ExecutorSpec("ray", start_ray, source="Ray's tasks on this machine, or on a cluster's (--ray-address)")
