"""What an axis of a tensor is made of: sums of products of unit axes, found out bit by bit.

The 64 channels of a stage that pads 32 by a shortcut are the *sum* 32 + 32; the 64 features of four heads are the
*product* 4 x 16. Both are learnt late, when a network has been followed to the place that shows it, so an axis may turn
out to be a sum or a product after it was met, in all places at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Atom", "Axes", "Product", "Sum", "equate", "fix", "fixed", "free", "length", "parts"]


class Atom:
    """An axis, or a part of one, as far as it is known.

    Attributes:
        size: its length.
        fixed: whether its places are told apart by something: pixels, classes, an operation without a rule.
    """

    __slots__ = ("_known", "fixed", "size")

    def __init__(self, size: int, *, fixed: bool = False) -> None:
        self.size, self.fixed = size, fixed
        self._known: Sum | None = None  # what it has turned out to be

    def parts(self) -> Sum:
        """The atoms that it has turned out to be made of."""
        if self._known is None:
            return ((self,),) if self.size > 1 else ((),)
        self._known = parts(self._known)
        return self._known

    def become(self, known: Sum) -> None:
        """From now on, everywhere, this is what it is made of."""
        self._known = known
        if self.fixed:
            fix(known)


Product: TypeAlias = tuple[Atom, ...]
"""Axes of which the last runs fastest, as after flattening; empty: of length 1."""
Sum: TypeAlias = tuple[Product, ...]
"""Stretches one after another, as after concatenation."""
Axes: TypeAlias = tuple[Sum, ...]
"""All axes of a tensor."""


def free(size: int) -> Sum:
    """A new axis whose places nothing tells apart."""
    return ((Atom(size),),)


def fixed(size: int) -> Sum:
    """A new axis whose places must stay."""
    return ((Atom(size, fixed=True),),)


def fix(axis: Iterable[Product]) -> None:
    """The places of this axis must stay."""
    for product in axis:
        for atom in product:
            atom.fixed = True
            if atom.parts() != ((atom,),):
                fix(atom.parts())


def length(product: Product) -> int:
    """How many places a stretch has."""
    return math.prod(atom.size for atom in product)


def parts(axis: Sum) -> Sum:
    """An axis in terms of the smallest parts known."""
    stretches: list[Product] = []
    for product in axis:
        opened: list[Product] = [()]
        for atom in product:
            inner = atom.parts()
            if len(inner) == 1:
                opened = [o + inner[0] for o in opened]
            elif opened == [()]:
                opened = list(inner)
            else:  # a sum inside a product is no sum of stretches: nothing in it can move
                fix(inner)
                opened = [(*o, Atom(atom.size, fixed=True)) for o in opened]
        stretches += opened
    return tuple(stretches)


def equate(a: Sum, b: Sum) -> None:
    """Two axes are one and the same: what permutes one permutes the other."""
    while _learn(parts(a), parts(b)):
        pass


def _learn(a: Sum, b: Sum) -> bool:
    """Make the first difference of two axes disappear; False: there is none left."""
    for p, q in zip(a, b, strict=False):
        if length(p) != length(q):
            longer, shorter = (p, q) if length(p) > length(q) else (q, p)
            if _cut(longer, length(shorter)):
                return True
            fix(a)
            fix(b)
            return False
        for x, y in zip(p, q, strict=False):
            if x is y or (x.fixed and y.fixed and x.size == y.size):
                continue
            if x.size == y.size:
                x.fixed = x.fixed or y.fixed
                y.fixed = x.fixed
                y.become(((x,),))
                return True
            larger, smaller = (x, y) if x.size > y.size else (y, x)
            if larger.size % smaller.size == 0 and not all(atom.fixed for atom in (*p, *q)):
                larger.become(((Atom(smaller.size), Atom(larger.size // smaller.size)),))
                return True
            fix((p, q))
            break
    return False


def _cut(product: Product, at: int) -> bool:
    """Cut a stretch in two; False: not between two places of its slowest axis."""
    first, block = product[0], length(product[1:])
    if at % block:
        return False
    first.become(((Atom(at // block),), (Atom(first.size - at // block),)))
    return True
