"""Pretrained weights: which file they come from, and fitting them to a model."""
