"""Pictures: decoded once, split, and made into batches."""
