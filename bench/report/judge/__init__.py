"""Every statistical rule, and every verdict."""
