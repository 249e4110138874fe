"""Label-preserving changes of training images, on whole batches, each sample with its own random numbers."""

import torch
from torch import Tensor
from torch.nn import functional

from robusteval.core.rng import Stream
from robusteval.data.dataset import Augmentation


def augment(x: Tensor, ids: Tensor, augmentation: Augmentation, rng: Stream) -> Tensor:
    """Shift, mirror and weigh images x [n, c, h, w] in [0, 1]; what a shift uncovers is black."""
    if augmentation.crop:
        x = _shifted(x, rng.stream("crop").integers(ids, (2,), 0, 2 * augmentation.crop + 1), augmentation.crop)
    if augmentation.flip:
        mirrored = rng.stream("flip").uniform(ids) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    if augmentation.views:
        share = rng.stream("views").uniform(ids)[:, None, None, None]
        first, second = x.chunk(2, dim=1)
        x = torch.cat([2 * share * first, 2 * (1 - share) * second], dim=1)
    return x


def _shifted(x: Tensor, corner: Tensor, crop: int) -> Tensor:
    """Windows of the padded images, from the corner [n, 2] of each."""
    count, _, height, width = x.shape
    padded = functional.pad(x, (crop, crop, crop, crop)).permute(0, 2, 3, 1)
    rows = corner[:, 0, None] + torch.arange(height, device=x.device)
    columns = corner[:, 1, None] + torch.arange(width, device=x.device)
    sample = torch.arange(count, device=x.device)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
