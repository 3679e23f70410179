"""Text for elsewhere: in a box to take it from, and on the clipboard where the page allows it."""

from __future__ import annotations

import ipywidgets as w

from .look import Html, above, button, column, row

# A constant, and nothing of anyone's text in it: it takes that from the box beside it. The page runs it when the
# picture, which is none, fails to load.
COPY = (
    "var b=this.closest('.chatglm-copier'),t=b.querySelector('textarea'),s=b.querySelector('.chatglm-copied');"
    "var no=function(){t.focus();t.select();s.textContent='Selected: copy it with Ctrl+C'};"
    "try{navigator.clipboard.writeText(t.value).then(function(){s.textContent='Copied'},no)}catch(e){no()}"
)


class Copier(w.VBox):  # type: ignore[misc]
    """Shows a text in a box, and tries to put it on the clipboard; hidden until there is one."""

    def __init__(self) -> None:
        self.text = above(w.Textarea(description="Copied text", rows=6))
        self._copy, self._times = Html(), 0
        self._hide = button("Close", tooltip="Close the copied text")
        self._hide.on_click(lambda clicked: self.hide())
        super().__init__([column(self.text, row(self._copy, self._hide))], layout=w.Layout(display="none"))
        self.add_class("chatglm-copier")

    def show(self, text: str, title: str = "Copied text") -> None:
        """Show a text and try to copy it; ``title`` names the box."""
        self.text.description, self.text.value = title, text
        self.layout.display = None
        self._times += 1
        self._copy.value = (
            '<span class="chatglm-small chatglm-copied" role="status" aria-live="polite"></span>'
            f'<img hidden alt="" src="data:,{self._times}" onerror="{COPY}">'
        )

    def hide(self) -> None:
        """Close the box again."""
        self.layout.display, self._copy.value = "none", ""
