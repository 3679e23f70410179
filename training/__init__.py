"""The built-in model: its corpus, its training from nothing, its export to GGUF, its evaluation."""
