"""Checkpoints: state dicts from files, without running anything that is in them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import BeforeValidator, ConfigDict, Field
from safetensors.torch import load_file
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.schema import SHORT
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.data.base import pin

__all__ = ["Checkpoint", "CheckpointFile", "load_into", "read_state"]


class CheckpointFile(Section):
    """A file with a state dict. Its digest, not its path, is its identity."""

    model_config = ConfigDict(json_schema_extra={SHORT: [{"type": "string"}]})

    file: str = Field(description="a .safetensors file, or what torch.save wrote of a state dict")
    entry: str | None = Field(None, description="where in the file the state dict is, such as state_dict; default: top")
    digests: dict[str, str] | None = Field(None, description="digest of the file; filled in when the spec is read")

    def pinned(self, base: Path) -> Self:
        """The same with the file's digest.

        Raises:
            SpecError: there is no such file.
        """
        path = base / self.file
        if not path.is_file():
            raise SpecError(f"checkpoint: there is no file {path}; give a .safetensors or torch.save file")
        return self.model_copy(update={"digests": {"file": pin(path)}})

    def load(self, base: Path) -> dict[str, Tensor]:
        """The state dict.

        Raises:
            SpecError: the file is missing, has changed since the spec was pinned, or holds no state dict.
        """
        now = self.pinned(base).digests
        if self.digests is not None and now != self.digests:
            raise SpecError(
                f"checkpoint: {base / self.file} has changed since this sweep began; "
                "put the old file back, or give the sweep another name to start anew"
            )
        return read_state(base / self.file, self.entry)


def _from_path(data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
    return {"file": data} if isinstance(data, str) else data


Checkpoint = Annotated[CheckpointFile, BeforeValidator(_from_path)]
"""A field type: a `CheckpointFile`, also written as a plain path."""


def read_state(path: Path, entry: str | None = None) -> dict[str, Tensor]:
    """The state dict in a .safetensors or torch.save file; nothing but tensors and containers is unpickled.

    Raises:
        SpecError: the file is damaged, needs code to be read, or holds no state dict.
    """
    content: object
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other pickle protocols; what can't be read raises below
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # a damaged file has torch's reader raise errors of any sort
        first = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise SpecError(
            f"checkpoint: {path} ({path.stat().st_size} bytes) can't be read as tensors only: {first}; "
            "save it with torch.save(module.state_dict(), path) or as safetensors"
        ) from e
    if entry is not None:
        if not isinstance(content, Mapping) or entry not in content:
            raise SpecError(f"checkpoint: {path} has no entry {entry!r}; it holds {_names(content)}")
        content = content[entry]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise SpecError(
            f"checkpoint: {path} holds no plain state dict but {_names(content)}; if the state dict is one of its "
            "entries, name it: checkpoint: {file: ..., entry: state_dict}"
        )
    return {str(k): v for k, v in content.items()}


def _names(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    names = [str(k) for k in content]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict into a module that it must fit exactly.

    Where the names do not fit, but would without the `module.` or `_orig_mod.` that DataParallel and torch.compile put
    before all of them, these are taken off. A name that the file lacks may be another name of a tensor that it has:
    safetensors' `save_model` keeps one of them.

    Raises:
        SpecError: names are missing or unexpected, shapes differ, or one tensor has two values; all are listed.
    """
    expected: dict[str, Tensor] = module.state_dict(keep_vars=True)
    choices = list(_unwrapped(state))
    chosen = next((s for s in choices if not any(_misfits(expected, s).values())), choices[0])
    misfits = _misfits(expected, chosen)
    complaints = [
        f"{title}: {', '.join(items[:12])}{f' and {len(items) - 12} more' if len(items) > 12 else ''}"
        for title, items in misfits.items()
        if items
    ]
    if complaints:
        lines = "".join(f"\n  - {c}" for c in complaints)
        raise SpecError(f"{source} does not fit the module:{lines}")
    module.load_state_dict(dict(chosen), strict=False)  # absent are only tied names and num_batches_tracked


def _unwrapped(state: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The state dict as it is, then without the names of wrappers, one after another."""
    yield state
    prefix = next((p for p in ("module.", "_orig_mod.") if state and all(k.startswith(p) for k in state)), None)
    if prefix is not None:
        yield from _unwrapped({k.removeprefix(prefix): v for k, v in state.items()})


def _misfits(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    tied: dict[int, list[str]] = {}  # the names of each tensor that the file has a value for
    for name, t in expected.items():
        if name in state:
            tied.setdefault(id(t), []).append(name)
    missing = [k for k, t in expected.items() if id(t) not in tied and not k.endswith("num_batches_tracked")]
    shapes = [
        f"{k}: given {list(state[k].shape)}, wanted {list(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    ]
    pairs = [(first, other) for first, *others in tied.values() for other in others]
    unequal = [f"{a} and {b}" for a, b in pairs if not torch.equal(state[a], state[b])]
    return {
        "missing": missing,
        "unexpected": [k for k in state if k not in expected],
        "shapes": shapes,
        "one tensor in the module, but two values": unequal,
    }
