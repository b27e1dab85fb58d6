"""Tables, as Markdown, CSV, LaTeX and plain text."""
