"""The tape: answers that are recorded once and replayed without a server.

A tape is a JSON Lines file, one answer per line, so it can be reviewed and merged line by line. Its clients wrap
those of :mod:`chatglm_magic.client` and have the same method ``stream``.
"""

from .tape import Mode, Tape, resolve_mode

__all__ = ["Mode", "Tape", "resolve_mode"]
