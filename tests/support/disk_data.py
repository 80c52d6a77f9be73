"""Data on disk that tests write: small, and in the formats of the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["write_json_lines", "write_tokens"]

_LLM_C = {"<u2": (20240520, 1), "<u4": (20240801, 7)}


def write_tokens(
    folder: Path, seed: int = 0, shards: int = 3, tokens: int = 3000, name: str = ""
) -> list[np.ndarray[Any, Any]]:
    """Training shards in every format, and one to test on; gives all tokens, that one last."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for i in range(shards + 1):
        part = rng.integers(0, 50, tokens + 7 * i)
        written.append(part)
        file = f"{name}train_{i}" if i < shards else f"{name}val"
        if i % 4 == 0:
            part.astype("<u2").tofile(folder / f"{file}.bin")
        elif i % 4 == 1:
            _llm_c(folder / f"{file}.bin", part, "<u2")
        elif i % 4 == 2:
            _llm_c(folder / f"{file}.bin", part, "<u4")
        else:
            np.save(folder / f"{file}.npy", part.astype("u4"))
    return written


def _llm_c(path: Path, tokens: np.ndarray[Any, Any], dtype: str) -> None:
    header = np.zeros(256, "<i4")
    header[:3] = [*_LLM_C[dtype], len(tokens)]
    path.write_bytes(header.tobytes() + tokens.astype(dtype).tobytes())


def write_json_lines(folder: Path) -> None:
    """Short texts, to train and to test on."""
    folder.mkdir()
    for name, first in (("train", 0), ("val", 400)):
        lines = [json.dumps({"text": f"{i} times {i} is {i * i}."}) for i in range(first, first + 100)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
