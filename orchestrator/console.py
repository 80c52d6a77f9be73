"""The terminal. Text that is printed may come from a stranger's folder, so none of it is obeyed."""

from __future__ import annotations

from typing import Any

import rich.console
from rich.markup import escape
from rich.text import Text

from landsweep.orchestrator.text import printable, shortened

__all__ = ["Console", "Messages", "err", "out"]

_LONGEST_ERROR = 20_000  # characters


class Console(rich.console.Console):
    """Rich's console without its own reading of text: markup only where it is asked for, control characters escaped."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - options of Rich's console
        super().__init__(**{"highlight": False, "soft_wrap": True, "emoji": False, "markup": False, **options})

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - options of Rich's console
        """Every text on its way to the terminal, cells of tables among it."""
        return super().render_str(printable(text), **options)

    def print_json(self, json: str | None = None, **options: Any) -> None:  # noqa: ANN401 - options of Rich's console
        """JSON in ASCII: what is no ASCII character is escaped as JSON has it."""
        super().print_json(json, **{"ensure_ascii": True, **options})

    def print_error(self, error: BaseException) -> None:
        """An error that is meant for the user, without a traceback; of an endless one the middle is left out."""
        self.print(f"[bold red]error:[/] {escape(shortened(str(error), _LONGEST_ERROR))}", markup=True)


class Messages(Console):
    """What is said beside results. If it can't be written (closed pipe, full disk, lost terminal), it is dropped.

    So a sweep does not end because its progress can't be shown.
    """

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Every print ends here."""
        try:
            super().__exit__(*error)
        except OSError:
            self._buffer.clear()  # or it would be tried again with each further line

    def on_broken_pipe(self) -> None:
        """Stay; the base class ends the process."""
        self.quiet = True


out = Console()
err = Messages(stderr=True)
