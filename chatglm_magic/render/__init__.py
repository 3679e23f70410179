"""Render model text safely: HTML for notebooks, escaped text for terminals."""
