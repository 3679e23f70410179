"""The acceptance table of the surface, row by row: every field, call, composition, count and refusal, shown."""
