"""Imported before torch in every process that works: what libraries say as they are imported, and no user can help.

torch 2.14 has deprecated `torch.jit.script`, with which timm still decorates, and its own timer asks for a compiler of
CUDA code, which complains where a toolkit lies without a GPU. Both would stand above a run's first line.
"""

import logging
import warnings

warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
logging.getLogger("torch.utils.cpp_extension").addFilter(
    lambda record: not str(record.msg).startswith("No CUDA runtime is found")
)
