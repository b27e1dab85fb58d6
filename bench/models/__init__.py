"""A plugin's backbone made ready: head, weights, and what of it trains.

Whoever builds a model imports this package first; from then on a plugin's `import timm` passes on any machine.
"""

from bench.models.torchvision_operators import import_torchvision

import_torchvision()
