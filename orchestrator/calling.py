"""What code of the user's is about to run, told to whoever watches this process, so that its end can be explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["about_to_call", "watch_calls"]

_listeners: list[Callable[[str], None]] = []


def about_to_call(what: str, field: str = "", args: Mapping[str, object] = {}) -> None:
    """Say what is called next; nobody listens but in the process of a check.

    Args:
        what: such as `the network mine:build`.
        field: of the spec, such as `net.args`.
        args: its values.
    """
    for listener in _listeners:
        given = ", ".join(f"{field}.{name}={value!r}" for name, value in args.items())
        listener(f"{what} with {given}" if given else what)


def watch_calls(listener: Callable[[str], None]) -> None:
    """Tell a function of each call from now on."""
    _listeners.append(listener)
