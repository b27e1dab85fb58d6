"""Textures for bench: a model and an extension in `networks`, a dataset and a measurement in `pictures`."""
