"""`python -m bench`, and the command `bench`: run the command line, answering mistakes in one line."""

from __future__ import annotations

import signal
import sys

from bench.errors import RequestError, StorageError
from bench.guard import Interrupted

FAILED, INTERRUPTED = 1, 130


def main() -> None:
    """Run the command line; exit with 0, 1 (a trial failed), 2 (the request was wrong) or 130 (interrupted)."""
    import typer
    from typer.exceptions import TyperException
    from typer.main import get_command

    from bench.cli import app
    from bench.cli.helping import called
    from bench.cli.options import spread

    _hear_signals()
    try:
        name = called(sys.argv[0], sys.argv[1:])
        status = get_command(app).main(spread(sys.argv[1:]), standalone_mode=False, prog_name=name)
    except StorageError as error:
        refuse(str(error))
        status = FAILED
    except RequestError as error:
        sys.exit(refuse(str(error)))
    except TyperException as error:
        sys.exit(refuse(error.format_message()))
    except typer.Abort as error:  # typer's word for an EOFError, which is no interrupt
        raise error.__cause__ or error from None
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:  # `… | head` has seen enough
        sys.stdout = None
        sys.exit(0)
    if status == INTERRUPTED:
        print("interrupted; everything finished so far is kept: the same command goes on from there", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _hear_signals() -> None:
    """Let what ends a job (SIGTERM) or a terminal (SIGHUP) be as Ctrl-C; who started us with one ignored keeps that."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)


def refuse(problem: str) -> int:
    from bench.cli.printing import warn

    warn([f"bench: {' '.join(problem.split())}"])
    return 2


if __name__ == "__main__":
    main()
