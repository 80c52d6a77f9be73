"""Values that YAML and JSON tend to change."""

from __future__ import annotations

import math
from typing import Any

ODD_VALUES: list[Any] = [
    0, False, 0.0, -0.0, 1, True, "1", "true", None, "null", "~", "", "0", "1e-3", ".inf", "12:30", "2024-01-01", "010",
    "=", "#x", "a #b", "a: b", "- a", "&a", "*a", "!x", "yes", "0x1F", "1_000", " x ", "a\nb", "\t", "😀",
    "\u2028", math.inf, -math.inf, 2**53 + 1, 2**64, 10**40, 1e16, 1e-320, 5e-324, [], {},
    [[1, "1"]], {"1": {"b": [True]}},
]  # fmt: skip
