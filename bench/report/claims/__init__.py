"""Published claims held against what was run."""
