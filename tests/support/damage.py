"""Harm to files: a changed bit, two files in each other's place."""

from __future__ import annotations

from pathlib import Path


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_suffix(".away"))
    other.rename(one)
    one.with_suffix(".away").rename(other)
