"""Imported first in every process that works: how long OpenMP's threads wait for each other. The user's is left alone.

GNU OpenMP's threads spin before they sleep. Its default, 300,000 times, gains nothing measurable on an idle machine,
and where another process wants a core it makes a training step up to twenty times slower. It reads this once, when
torch loads it.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
