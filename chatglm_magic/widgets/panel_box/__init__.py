"""The panel: a conversation, a prompt box and the settings.

It isn't called ``panel``, since importing a submodule of that name would replace the function ``panel``.
"""

from .box import Panel

__all__ = ["Panel"]
