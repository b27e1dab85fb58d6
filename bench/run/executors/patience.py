"""Imported first in every process that works: how long OpenMP's threads wait for each other. The user's is left alone.

GNU OpenMP's threads spin before they sleep, by default 300,000 times: where another process wants a core, that makes a
training step up to twenty times slower. A thousand times is too few: on two idle cores of a Xeon an epoch of
DenseNet121 (batches of 64) then takes 10.5 s, with ten thousand 7.2 s, as by default; beside one busy process 53 and
76 s. GNU OpenMP reads this once, when torch loads it.
"""

import os

SPINS = "10000"

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
