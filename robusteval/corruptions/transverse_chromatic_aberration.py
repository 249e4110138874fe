"""Transverse chromatic aberration, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption, which write it
`transverse_chromatic_abberation`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.kernels import separable
from robusteval.corruptions.splines import cubic_taps, operator, whole


@dataclass(frozen=True)
class TransverseChromaticAberration(Corruption):
    """The channels enlarged by 1, 1 + 0.025 * constant and 1 + 0.05 * constant, in random order.

    The enlargement is scipy.ndimage.zoom's with cubic splines and without its filter for them, so that all channels are
    blurred a little, the one that keeps its size too.
    """

    name: ClassVar[str] = "transverse-chromatic-aberration"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (1.0, 2.0, 5.0, 9.0, 10.0)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Enlarge the channels."""
        (level,) = self.constants(x, severity)
        scale = level * 0.5 / 10
        levels = (x * 255).round_()
        enlarged = [
            separable(levels, *(_enlargement(size, factor) for size in x.shape[-2:]))
            for factor in (1.0, 1 + scale / 2, 1 + scale)
        ]
        order = rng.permutation(ids, 3)[:, :, None, None]
        chosen = torch.where(order == 0, enlarged[0], torch.where(order == 1, enlarged[1], enlarged[2]))
        return (chosen + 0.5).floor() / 255


def _enlargement(size: int, factor: float) -> Tensor:
    """The matrix [size, size] that enlarges a line of pixels and keeps its middle."""
    enlarged = round(size * factor)
    first = (enlarged - size) // 2
    step = (size - 1) / (enlarged - 1) if enlarged > 1 else 1.0
    return whole(operator(cubic_taps(np.arange(first, first + size) * step, size), size))
