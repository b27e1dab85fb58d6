"""Training one model: the loop, its optimizer, metrics, and the frozen prefix."""
