"""How a report's files are made, kept and checked."""
