"""Rounding to 8-bit levels as MNIST-C does it (Mu and Gilmer 2019, arXiv:1906.02337).

The functions of corruptions.py in github.com/google-research/mnist-c return float32 levels; its notebook
visualize_corruptions.ipynb rounds them, where the generators of ImageNet-C cut off the fraction.
"""

import torch
from torch import Tensor


def nearest_level(x: Tensor) -> Tensor:
    """The 8-bit level nearest to x, clipped to [0, 1], as a multiple of 1 / 255 that survives a later truncation.

    Halves go to the even level, and the values are float32 before, so that 127.49999999999999 is a half too.
    """
    return x.clamp(0, 1).mul(255).to(torch.float32).round().to(x.dtype) / 255
