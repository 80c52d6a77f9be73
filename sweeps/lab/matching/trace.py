"""Following a network through one forward pass: which axes of its tensors are one and the same.

Each operation of torch that the pass runs has a rule: an elementwise one equates the axes of its arguments, a product
equates those that it sums over. An operation without a rule fixes the axes that it touches, and is remembered by the
layer that it ran in. Rules need not be perfect: what comes out is proved on the network before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from landsweep.sweeps.lab.matching.axes import Atom, Axes, Sum, equate, fix, fixed, free, length, parts
from landsweep.sweeps.lab.matching.views import stretches, viewed

__all__ = ["Trace"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTWISE = _names(
    "add sub rsub mul div maximum minimum where masked_fill lerp addcmul addcdiv pow neg abs exp log log1p expm1 sqrt "
    "rsqrt square reciprocal sin cos erf tanh sigmoid relu gelu silu mish elu selu celu leaky_relu hardtanh hardswish "
    "hardsigmoid softplus clamp clamp_min clamp_max clone detach alias _to_copy lift_fresh _softmax _log_softmax "
    "log_sigmoid_forward native_dropout sign nan_to_num _prelu_kernel eq ne lt le gt ge logical_and logical_or "
    "logical_not bitwise_and bitwise_or bitwise_not contiguous copy"
)
_REDUCTIONS = _names("mean sum amax amin var std prod logsumexp norm linalg_vector_norm any all")
_POOLING = _names(
    "max_pool2d_with_indices avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d upsample_nearest2d "
    "upsample_bilinear2d max_pool1d_with_indices avg_pool1d _adaptive_avg_pool1d"
)
_VIEWS = _names("view _unsafe_view reshape _reshape_alias")
_CONSTANT = _names("zeros ones full new_zeros new_ones new_full zeros_like ones_like full_like")


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs one forward pass and learns from it.

    Args:
        module: in evaluation mode.
        inputs: [n, ...] samples.

    Attributes:
        tensors: of the state dict, those that the pass uses: name to axes.
        outputs: of the layers without layers inside: name to the axes of what they gave last.
        unknown: operations without a rule that met axes that were free, each with its layer.
    """

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._axes: dict[int, tuple[Tensor, Axes]] = {}  # the tensor is held, so that no other gets its id
        self._used: set[int] = set()
        self._inside: list[str] = []
        self.tensors: dict[str, Axes] = {}
        self.outputs: dict[str, Axes] = {}
        self._lost: list[tuple[str, Axes]] = []
        self._follow(module, inputs)
        held = {id(a) for axes in self.tensors.values() for axis in axes for product in parts(axis) for a in product}
        self.unknown = tuple(
            dict.fromkeys(
                where
                for where, axes in self._lost
                if any(id(a) in held for axis in axes for product in parts(axis) for a in product)
            )
        )

    def _follow(self, module: nn.Module, inputs: Tensor) -> None:
        stored = module.state_dict(keep_vars=True)
        for t in stored.values():
            if isinstance(t, Tensor) and id(t) not in self._axes:
                self._axes[id(t)] = (t, tuple(free(n) for n in t.shape))
        handles = []
        for name, part in module.named_modules():
            handles.append(part.register_forward_pre_hook(lambda *_, name=name: self._inside.append(name)))
            leaf = next(part.children(), None) is None
            handles.append(part.register_forward_hook(lambda *a, name=name, leaf=leaf: self._left(name, leaf, a[2])))
        try:
            with torch.no_grad(), self:
                outputs = module(inputs)
        finally:
            for handle in handles:
                handle.remove()
        for axis in self._of(outputs):
            fix(axis)
        self.tensors = {
            name: self._axes[id(t)][1] for name, t in stored.items() if isinstance(t, Tensor) and id(t) in self._used
        }

    def _left(self, name: str, leaf: bool, output: object) -> None:
        self._inside.pop()
        if leaf and isinstance(output, Tensor):
            self.outputs[name] = self._of(output)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - the signature is torch's
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        result: Any = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        name = name if name.startswith("_") and name in _ELEMENTWISE else name.rstrip("_")
        tensors = [
            a for arg in args for a in (arg if isinstance(arg, list | tuple) else (arg,)) if isinstance(a, Tensor)
        ]
        self._used |= {id(t) for t in tensors}
        outputs = [t for t in (result if isinstance(result, list | tuple) else (result,)) if isinstance(t, Tensor)]
        axes = self._apply(name, tensors, args, kwargs or {}, outputs)
        for t, a in zip(outputs, axes, strict=False):
            # A rule that gives axes of another length would be a wrong rule: nothing may move then.
            right = [sum(map(length, axis)) for axis in a] == list(t.shape)
            if not right:
                for axis in a:
                    fix(axis)
            self._axes[id(t)] = (t, a if right else tuple(fixed(n) for n in t.shape))
        return result

    def _apply(
        self, name: str, tensors: list[Tensor], args: Sequence[Any], kwargs: Mapping[str, Any], outputs: list[Tensor]
    ) -> list[Axes]:
        """The axes of the first outputs; of those left out nothing is known."""
        shapes = [tuple(t.shape) for t in outputs]
        if name in _CONSTANT:
            return [tuple(free(n) for n in shape) for shape in shapes]
        if name in _ELEMENTWISE:
            return [self._elementwise(tensors)]
        if name in _REDUCTIONS:
            return [self._reduced(args, kwargs)]
        if name in _POOLING:
            x = self._of(args[0])
            kept = len(shapes[0]) - (1 if name.endswith(("1d", "1d_with_indices")) else 2)
            return [(*x[:kept], *(fixed(n) for n in shapes[0][kept:]))]
        if name in _VIEWS:
            return [viewed(self._of(args[0]), shapes[0])]
        rule: Callable[..., list[Axes] | None] | None = getattr(self, f"_op_{name.lstrip('_')}", None)
        found = None if rule is None else rule(*args, shapes=shapes, **kwargs)
        if found is not None:
            return found
        every = tuple(axis for t in tensors for axis in self._of(t))
        lost = tuple(axis for axis in every if any(not a.fixed for product in parts(axis) for a in product))
        if lost:
            layer = next((inside for inside in reversed(self._inside) if inside), "the network")
            self._lost.append((f"{layer} ({name})", lost))
        for axis in every:
            fix(axis)
        return []

    def _of(self, t: Tensor) -> Axes:
        if id(t) not in self._axes:
            self._axes[id(t)] = (t, tuple(fixed(n) for n in t.shape))
        return self._axes[id(t)][1]

    def _elementwise(self, tensors: Sequence[Tensor]) -> Axes:
        every = [self._of(t) for t in tensors]
        rank = max(map(len, every))
        result: list[Sum] = []
        for i in range(-rank, 0):
            present = [a[i] for a in every if len(a) >= -i]
            long = [a for a in present if sum(map(length, a)) > 1] or present[:1]
            for other in long[1:]:
                equate(long[0], other)
            result.append(long[0])
        return tuple(result)

    def _reduced(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Axes:
        x = self._of(args[0])
        dims = next((a for a in args[1:] if isinstance(a, list | tuple)), kwargs.get("dim"))
        gone = {d % len(x) for d in dims} if dims else set(range(len(x)))
        keep = any(a is True for a in args[2:]) or bool(kwargs.get("keepdim"))
        return tuple(fixed(1) if i in gone else a for i, a in enumerate(x) if keep or i not in gone)

    # One method for each operation, with torch's own arguments, and the shapes of what it gave.

    def _op_t(self, x: Tensor, *, shapes: object) -> list[Axes]:
        return [self._of(x)[::-1]]

    def _op_transpose(self, x: Tensor, a: int, b: int, *, shapes: object) -> list[Axes]:
        axes = list(self._of(x))
        axes[a], axes[b] = axes[b], axes[a]
        return [tuple(axes)]

    def _op_permute(self, x: Tensor, dims: Sequence[int], *, shapes: object) -> list[Axes]:
        return [tuple(self._of(x)[d] for d in dims)]

    def _op_unsqueeze(self, x: Tensor, dim: int, *, shapes: object) -> list[Axes]:
        axes = list(self._of(x))
        axes.insert(dim % (len(axes) + 1), fixed(1))
        return [tuple(axes)]

    def _op_squeeze(self, x: Tensor, *_: object, shapes: Sequence[tuple[int, ...]]) -> list[Axes]:
        return [viewed(self._of(x), shapes[0])]

    def _op_expand(self, x: Tensor, *_: object, shapes: Sequence[tuple[int, ...]], **__: object) -> list[Axes]:
        axes = self._of(x)
        new = len(shapes[0]) - len(axes)
        old = [a if sum(map(length, a)) == n else free(n) for a, n in zip(axes, shapes[0][new:], strict=True)]
        return [(*(free(n) for n in shapes[0][:new]), *old)]

    def _op_mm(self, a: Tensor, b: Tensor, *, shapes: object) -> list[Axes]:
        x, y = self._of(a), self._of(b)
        equate(x[1], y[0])
        return [(x[0], y[1])]

    def _op_addmm(self, bias: Tensor, a: Tensor, b: Tensor, *, shapes: object, **_: object) -> list[Axes]:
        product = self._op_mm(a, b, shapes=shapes)[0]
        for mine, other in zip(self._of(bias)[::-1], product[::-1], strict=False):
            if sum(map(length, mine)) > 1:
                equate(mine, other)
        return [product]

    def _op_mv(self, a: Tensor, b: Tensor, *, shapes: object) -> list[Axes]:
        equate(self._of(a)[1], self._of(b)[0])
        return [self._of(a)[:1]]

    def _op_bmm(self, a: Tensor, b: Tensor, *, shapes: object) -> list[Axes]:
        x, y = self._of(a), self._of(b)
        equate(x[0], y[0])
        equate(x[2], y[1])
        return [(x[0], x[1], y[2])]

    def _op_embedding(self, weight: Tensor, index: Tensor, *_: object, shapes: object) -> list[Axes]:
        rows, columns = self._of(weight)
        fix(rows)
        return [(*self._of(index), columns)]

    def _op_convolution(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *rest: Any,  # noqa: ANN401
        shapes: Sequence[tuple[int, ...]],
    ) -> list[Axes] | None:
        transposed, groups = rest[3], rest[5]
        inputs, w = self._of(x), self._of(weight)
        if transposed:
            return None
        out = w[0]
        if groups == 1:
            equate(inputs[1], w[1])
        else:  # the groups may change places as blocks
            group = Atom(groups)
            equate(inputs[1], tuple((group, *product) for product in w[1]))
            equate(out, ((group, Atom(weight.shape[0] // groups)),))
        if bias is not None:
            equate(self._of(bias)[0], out)
        for axis in w[2:]:
            fix(axis)
        return [(inputs[0], out, *(fixed(n) for n in shapes[0][2:]))]

    def _op_native_batch_norm(self, x: Tensor, *rest: Any, shapes: object) -> list[Axes]:  # noqa: ANN401
        for t in rest[:4]:
            if isinstance(t, Tensor):
                equate(self._of(t)[0], self._of(x)[1])
        return [self._of(x)]

    _op_cudnn_batch_norm = _op_miopen_batch_norm = _op_native_batch_norm

    def _op_native_layer_norm(
        self, x: Tensor, shape: Sequence[int], *rest: Tensor | float | None, shapes: object
    ) -> list[Axes]:
        for t in rest[:2]:
            if isinstance(t, Tensor):
                for mine, other in zip(self._of(t), self._of(x)[-len(shape) :], strict=True):
                    equate(mine, other)
        return [self._of(x)]

    def _op_native_group_norm(self, x: Tensor, *rest: Any, shapes: object) -> list[Axes]:  # noqa: ANN401
        channels, groups = self._of(x)[1], rest[5]
        if groups > 1:
            equate(channels, ((Atom(groups), Atom(x.shape[1] // groups)),))
        for t in rest[:2]:
            if isinstance(t, Tensor):
                equate(self._of(t)[0], channels)
        return [self._of(x)]

    def _op_scaled_dot_product_flash_attention_for_cpu(
        self, q: Tensor, k: Tensor, v: Tensor, *_: object, shapes: object, attn_mask: Tensor | None = None, **__: object
    ) -> list[Axes] | None:
        a, b, c = self._of(q), self._of(k), self._of(v)
        for i in (0, 1):
            equate(a[i], b[i])
            equate(a[i], c[i])
        equate(a[3], b[3])
        equate(b[2], c[2])
        masks = () if attn_mask is None else self._of(attn_mask)
        for axis in (*masks, a[2], b[2]):
            fix(axis)
        return [(a[0], a[1], a[2], c[3])]

    def _op_constant_pad_nd(self, x: Tensor, pads: Sequence[int], *_: object, shapes: object) -> list[Axes] | None:
        axes = list(self._of(x))
        if min(pads) < 0:
            return None
        for i in range(len(pads) // 2):
            before, after = pads[2 * i : 2 * i + 2]
            more = [*(free(before) if before else ()), *axes[-1 - i], *(free(after) if after else ())]
            axes[-1 - i] = tuple(more)
        return [tuple(axes)]

    def _op_cat(self, tensors: Sequence[Tensor], dim: int = 0, *, shapes: object) -> list[Axes]:
        every = [self._of(t) for t in tensors if t.numel()]
        dim %= len(every[0])
        for axes in every[1:]:
            for i, (a, b) in enumerate(zip(every[0], axes, strict=True)):
                if i != dim:
                    equate(a, b)
        joined = tuple(product for axes in every for product in axes[dim])
        return [(*every[0][:dim], joined, *every[0][dim + 1 :])]

    def _op_select(self, x: Tensor, dim: int, index: int, *, shapes: object) -> list[Axes]:
        axes = self._of(x)
        fix(axes[dim])
        dim %= len(axes)
        return [(*axes[:dim], *axes[dim + 1 :])]

    def _op_slice(
        self,
        x: Tensor,
        dim: int = 0,
        start: int | None = None,
        end: int | None = None,
        step: int = 1,
        *,
        shapes: object,
    ) -> list[Axes]:
        axes = list(self._of(x))
        dim %= len(axes)
        size = x.shape[dim]
        first, last, _ = slice(start, end).indices(size)
        if step == 1:
            axes[dim] = stretches(axes[dim], [first, last - first, size - last])[1]
        else:
            fix(axes[dim])
            axes[dim] = fixed(len(range(first, last, step)))
        return [tuple(axes)]

    def _op_split(self, x: Tensor, *_: object, shapes: Sequence[tuple[int, ...]], **__: object) -> list[Axes]:
        axes = self._of(x)
        differing = [i for i, n in enumerate(x.shape) if shapes[0][i] != n]
        if not differing:
            return [axes]
        dim = differing[0]
        cut = stretches(axes[dim], [shape[dim] for shape in shapes])
        return [(*axes[:dim], piece, *axes[dim + 1 :]) for piece in cut]

    _op_split_with_sizes = _op_split
