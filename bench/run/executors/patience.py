"""Imported first in every process that works: settings of libraries that read them once. The user's are left alone.

GNU OpenMP's threads spin before they sleep, by default 300,000 times: where another process wants a core, that makes a
training step up to twenty times slower. A thousand times is too few: on two idle cores of a Xeon an epoch of
DenseNet121 (batches of 64) then takes 10.5 s, with ten thousand 7.2 s, as by default; beside one busy process 53 and
76 s. GNU OpenMP reads this once, when torch loads it.

oneDNN keeps the last 1,024 operations that it compiled. Models that take turns push each other's out: a step of
FDViT-Ti or EfficientNet-Lite0 among twelve models then took 345 ms in place of 160, or 330 in place of 215, after
some neighbours and not after others.

glibc gives large pieces of memory back to the system as soon as they are freed, and has to fetch them again, page by
page, in the next step: 3 to 9 % of a step's time with batches of 64 at 32 pixels, 8 to 15 % of ViT-Tiny's with 128.
Here it keeps them; what a phase leaves over is given back at its end (`Device.release_memory`).
"""

import ctypes
import os

SPINS = "10000"
COMPILED = "16384"
NAMES = "GOMP_SPINCOUNT", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"

# mallopt's numbers for two thresholds, and what they are set to: nothing is given back from the heap's end, and pieces
# of up to a gibibyte come from the heap.
TRIM, MMAP = (-1, -1), (-3, 2**30)
OWN = "GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault(NAMES[0], SPINS)
os.environ.setdefault(NAMES[1], COMPILED)
if os.name == "posix" and not any(name in os.environ for name in OWN):
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc's
        library.mallopt(*MMAP)
        library.mallopt(*TRIM)
