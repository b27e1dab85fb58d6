"""Runs the command again and again in one process, which imports what it needs once: see the fixture `bench`.

A line of JSON asks for a command: its arguments, its folder, its environment, and the files for its output. The answer
is a line with its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

from bench.__main__ import main

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def carry_out(asked: dict[str, Any]) -> int:
    """The exit status of the command, as an interpreter of its own would end."""
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["bench", *asked["arguments"]]
    before = {one: signal.getsignal(one) for one in SIGNALS}
    with open(asked["stdout"], "w") as sys.stdout, open(asked["stderr"], "w") as sys.stderr:  # noqa: PTH123
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
    return 0


answers = sys.stdout
for line in sys.stdin:
    status = carry_out(json.loads(line))
    print(status, file=answers, flush=True)
