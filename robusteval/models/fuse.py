"""The evaluation form of a model: the same logits to rounding, cheaper.

Batch normalisation in eval mode is affine, so it is folded into the convolution before it (Jacob et al., 2018,
arXiv:1712.05877, section 3.2), and convolutions run with channels last in memory.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robusteval.core.errors import InputError

_TOLERANCE = 1e-5  # of the largest logit: ten times finer than what an attack takes for certainly broken
_SLOPE_TOLERANCE = 0.01  # of the gradient's length
# What symbolic tracing raises where control flow depends on the data.
_UNTRACEABLE = (ValueError, TypeError, RuntimeError, NameError, AttributeError, LookupError, AssertionError)


@dataclass(frozen=True)
class Form:
    """A frozen copy of a model, and which form it is in."""

    model: nn.Module
    name: Literal["fused", "plain"]


class ChannelsLast(nn.Module):
    """Hands a network its images with channels last in memory; shapes stay."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits."""
        logits: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))
        return logits


def evaluation_form(model: nn.Module, example: Tensor) -> Form:
    """A copy of `model` in eval mode without parameter gradients, fused where that keeps its logits.

    Args:
        model: stays as it is, to the bit.
        example: images [n, c, h, w] on the model's device, on which both must agree.
    """
    with torch.no_grad():  # or the copied parameters of a TorchScript module would be results, not leaves
        plain = copy.deepcopy(model).eval().requires_grad_(False)
    fused = _fused(plain)
    if fused is not None and _agree(plain, fused, example):
        return Form(fused, "fused")
    return Form(plain, "plain")


def compiled(form: nn.Module, example: Tensor) -> nn.Module:
    """A form compiled by torch for images of one shape, forward and backward, which takes a minute.

    Args:
        form: of a model.
        example: as many images [n, c, h, w] as every pass will have, on which both must agree.

    Raises:
        InputError: torch cannot compile it here, or what it makes has other logits or gradients.
    """
    fast = cast(nn.Module, torch.compile(form, dynamic=False))
    try:
        same = _agree(form, fast, example)
    except Exception as error:  # noqa: BLE001 - whatever the compiler raises, the remedy is to do without it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"compile: torch cannot compile this model here, leave it out: {reason}") from None
    if not same:
        raise InputError("compile: what torch compiles has other logits or gradients than the model; leave it out")
    return fast


def _fused(plain: nn.Module) -> nn.Module | None:
    """A folded copy with channels last, or None where the model cannot be traced or has nothing to fold."""
    try:
        traced = fx.symbolic_trace(copy.deepcopy(plain))
    except _UNTRACEABLE:
        return None
    pairs = list(_pairs(traced))
    for convolution, norm in pairs:
        _fold(traced, convolution, norm)
    if not pairs:
        return None
    traced.recompile()
    return ChannelsLast(traced.to(memory_format=torch.channels_last)).eval().requires_grad_(False)


def _pairs(traced: fx.GraphModule) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Every convolution that is called once and feeds a batch norm alone, with that batch norm."""
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    modules = dict(traced.named_modules())
    for norm in traced.graph.nodes:
        module = modules.get(str(norm.target)) if norm.op == "call_module" else None
        if type(module) is not nn.BatchNorm2d or module.running_var is None or calls[norm.target] != 1:
            continue
        source = norm.all_input_nodes[0]
        feeds = source.op == "call_module" and calls[source.target] == 1 and len(source.users) == 1
        if feeds and type(modules[str(source.target)]) is nn.Conv2d:
            yield source, norm


def _fold(traced: fx.GraphModule, convolution: fx.Node, norm: fx.Node) -> None:
    before = cast(nn.Conv2d, traced.get_submodule(str(convolution.target)))
    after = cast(nn.BatchNorm2d, traced.get_submodule(str(norm.target)))
    traced.set_submodule(str(convolution.target), fuse_conv_bn_eval(before, after))
    norm.replace_all_uses_with(convolution)
    traced.graph.erase_node(norm)
    traced.delete_submodule(str(norm.target))


def _agree(plain: nn.Module, fused: nn.Module, example: Tensor) -> bool:
    """Whether logits agree, and input gradients: tracing loses a backward pass of the model's own making."""
    (expected, slope), (logits, traced) = (_answered(model, example) for model in (plain, fused))
    near = (logits - expected).abs().max() <= _TOLERANCE * expected.abs().max()
    # As a whole: rounding may bring a unit to the other side of its kink, which changes a few entries.
    alike = (traced - slope).norm() <= _SLOPE_TOLERANCE * slope.norm()
    return bool(near) and bool(alike)


def _answered(model: nn.Module, example: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the input gradient of their mean square."""
    images = example.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = model(images)
        total = logits.square().mean()
        if not total.requires_grad:
            return logits.detach(), torch.zeros_like(images)
        (slope,) = torch.autograd.grad(total, images, materialize_grads=True)
    return logits.detach(), slope
