"""`python -m bench`, and the command `bench`: run the command line, answering mistakes in one line."""

from __future__ import annotations

import sys

from bench.errors import RequestError

INTERRUPTED = 130


def main() -> None:
    """Run the command line; exit with 0, 1 (a trial failed), 2 (the request was wrong) or 130 (interrupted)."""
    import typer
    from typer.exceptions import TyperException
    from typer.main import get_command

    from bench.cli import app

    try:
        status = get_command(app).main(standalone_mode=False, prog_name="python -m bench")
    except RequestError as error:
        sys.exit(refuse(str(error)))
    except TyperException as error:
        sys.exit(refuse(error.format_message()))
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:  # `… | head` has seen enough
        sys.stdout = None
        sys.exit(0)
    if status == INTERRUPTED:  # typer turns Ctrl-C into that status
        print("interrupted; everything finished so far is kept", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def refuse(problem: str) -> int:
    print(f"bench: {' '.join(problem.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
