"""Whether a plugin can be imported and asked at all: tried in a process of its own, before it may end the user's.

`python -m bench.plugins.probe PLACE` is that process. A plugin that was found good is not tried again.
"""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

from bench.files import cache_folder
from bench.guard import LIMIT


def why_not(place: str, code: str, working_directory: Path, limit: float = LIMIT) -> str | None:
    """How the plugin in that place ends the process that imports it, in words; None where it does not.

    A plugin that raises ends nothing: what it raises is said when it is imported here. `code` is its SHA-256.
    """
    known = hashlib.sha256(f"{place} {code} {sys.version}".encode()).hexdigest()
    good = cache_folder() / "plugins" / known[:32]
    if good.exists():
        return None
    command = [sys.executable, "-m", "bench.plugins.probe", place]
    try:
        # Standard input and output are nobody's: a plugin that asks or prints gets no answer.
        done = subprocess.run(
            command, cwd=working_directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return f"its import takes longer than {limit:g} seconds"
    if done.returncode == 0:
        try:
            good.parent.mkdir(parents=True, exist_ok=True)
            good.touch()
        except OSError:
            return None  # it is tried again the next time
        return None
    if done.returncode < 0:
        return f"importing it ended the process by {signal.Signals(-done.returncode).name}"
    return f"importing it ended the process with exit status {done.returncode}"


def main() -> None:
    """Import the plugin and ask it what every plugin is asked. What it raises is no end of the process."""
    from bench.plugins import load_one

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started this; a KeyboardInterrupt is the plugin's
    load_one(sys.argv[1])


if __name__ == "__main__":
    main()
