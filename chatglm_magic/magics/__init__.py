"""The magics: parse, call, show."""
