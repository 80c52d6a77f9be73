"""Print what a landscape's directions do to each parameter: `python -m sweeps.lab.groups SPEC.yaml [field=value ...]`.

To be read before a sweep over a module of one's own: layers that are not known are marked.
"""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.assignments import override
from orchestrator.errors import SpecError
from orchestrator.reading import read_yaml
from orchestrator.spec import parse
from sweeps.lab.directions import RandomDirections, format_groups, group_table
from sweeps.landscape import LandscapeSpec

__all__ = ["main"]


def main(arguments: list[str]) -> str:
    """The table of each model of a spec file.

    Raises:
        SpecError: no landscape spec, or one without random directions.
    """
    if not arguments:
        raise SpecError("give a spec file: python -m sweeps.lab.groups SPEC.yaml [field=value ...]")
    path = Path(arguments[0])
    fields = {"name": path.stem, **override(read_yaml(path), arguments[1:])}
    spec = parse(LandscapeSpec, fields, str(path)).pinned(path.parent)
    if not isinstance(spec.directions, RandomDirections):
        raise SpecError("an interpolation moves every parameter from one model to the other; there are no groups")
    data = spec.data.load(path.parent)
    parts = []
    for name, model in spec.models.items():
        table = group_table(model.make(data.shape, data.outputs, path.parent), spec.directions)
        parts.append(f"{name}: directions {spec.directions.in_words()}\n{format_groups(table)}")
    return "\n\n".join(parts)


if __name__ == "__main__":
    try:
        sys.stdout.write(main(sys.argv[1:]) + "\n")
    except SpecError as e:
        sys.exit(f"error: {e}")
