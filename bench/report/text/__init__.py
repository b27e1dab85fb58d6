"""Names and numbers as text."""
