"""Model text made safe to show: HTML for notebooks, visible characters for terminals."""
