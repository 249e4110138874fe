"""A network with its normalisation: what the rest of the house calls a model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Images in [0, 1] to logits: normalisation is part of the model, so gradients and eps are in pixel units.

    Args:
        network: takes normalised images.
        mean: per channel, or one for all.
        std: per channel, or one for all.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, classes] of images x [n, c, h, w] in [0, 1]."""
        logits: Tensor = self.network((x - self.mean) / self.std)
        return logits
