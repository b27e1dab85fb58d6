"""Imported first in every process that works: settings of libraries that read them once. The user's are left alone.

GNU OpenMP's threads spin before they sleep, by default 300,000 times: where another process wants a core, that makes a
training step up to twenty times slower. A thousand times is too few: on two idle cores of a Xeon an epoch of
DenseNet121 (batches of 64) then takes 10.5 s, with ten thousand 7.2 s, as by default; beside one busy process 53 and
76 s. GNU OpenMP reads this once, when torch loads it.

oneDNN keeps the last 1,024 operations that it compiled. Models that take turns push each other's out: a step of
FDViT-Ti or EfficientNet-Lite0 among twelve models then took 345 ms in place of 160, or 330 in place of 215, after
some neighbours and not after others.
"""

import os

SPINS = "10000"
COMPILED = "16384"
NAMES = "GOMP_SPINCOUNT", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault(NAMES[0], SPINS)
os.environ.setdefault(NAMES[1], COMPILED)
