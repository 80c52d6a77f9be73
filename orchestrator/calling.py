"""What code of the user's is about to run, told to whoever watches this process, so that its end can be explained.

And that it has come back, so that a process that it has forked off does not go on unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["about_to_call", "has_come_back", "watch_calls"]

_listeners: list[tuple[Callable[[str], None], Callable[[], None]]] = []


def about_to_call(what: str, field: str = "", args: Mapping[str, object] = {}) -> None:
    """Say what is called next; nobody listens but in the process of a check.

    Args:
        what: such as `the network mine:build`.
        field: of the spec, such as `net.args`.
        args: its values.
    """
    for called, _ in _listeners:
        given = ", ".join(f"{field}.{name}={value!r}" for name, value in args.items())
        called(f"{what} with {given}" if given else what)


def has_come_back() -> None:
    """Say that what was called last has come back."""
    for _, back in _listeners:
        back()


def watch_calls(called: Callable[[str], None], back: Callable[[], None]) -> None:
    """Tell one function of each call from now on, and another of what has come back."""
    _listeners.append((called, back))
