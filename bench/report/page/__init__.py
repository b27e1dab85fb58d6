"""index.html, one file that loads nothing."""
