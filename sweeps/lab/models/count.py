"""What a network holds and what a pass through it costs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Count"]


@dataclass(frozen=True, slots=True)
class Count:
    """Parameters of a network, and operations for one sample: for a sequence, of all its positions.

    Attributes:
        parameters: all of them; shared ones count once.
        embedding: of all parameters, those in tables that are looked up: tokens and positions.
        head: of all parameters, those in the last layer.
        forward: FLOPs of a forward pass.
        training: FLOPs of a forward and a backward pass.
    """

    parameters: int
    embedding: int
    head: int
    forward: int
    training: int

    @property
    def body(self) -> int:
        """Parameters without embedding and last layer: the N of arXiv 2001.08361."""
        return self.parameters - self.embedding - self.head
