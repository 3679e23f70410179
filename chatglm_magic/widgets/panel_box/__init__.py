"""The panel: parameters, a prompt, the answer, and the turns so far.

Not ``panel``, which is the function: Python would put the folder in its place.
"""

from .box import Panel

__all__ = ["Panel"]
