"""The tape: answers recorded once, and given again without a server.

A tape is a file of JSON lines, one answer a line, that can be read in review and merged line by line. It stands
between :mod:`chatglm_magic.llm` and the two clients, with their own method ``stream``.
"""

from .tape import Mode, Tape, mode_in_force

__all__ = ["Mode", "Tape", "mode_in_force"]
