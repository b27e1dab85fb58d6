"""Running: which trials there are, each in a process of its own, and what each leaves behind."""
