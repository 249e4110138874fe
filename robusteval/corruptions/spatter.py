"""Spatter, drops of water or mud on the lens (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's. Given the same normal numbers the result is the originals' byte for byte, but for at
most two values in 10,000 where the last bits of the blurred field decide. Two faults of the originals are kept:

- An image on which no water falls is black, as the water is divided by its highest value. Of images of 32 px that is
  about one in a hundred at severity 1 of the family imagenet, and hardly ever a larger one.
- Mud of the family imagenet is a sum of an image in float32 and a colour in float64, cut to bytes without the rounding
  to float32 that would restore the levels: about half of them lose one.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.opencv_steps import UNIT, box_sum, canny, correlated, distance, equalised

_LIGHT = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_GREY_MUD = (63 / 255,) * 3


@dataclass(frozen=True)
class Spatter(Corruption):
    """Blurred noise above a threshold, seen as water or as mud.

    Constants: mean and deviation of the noise, the blur's standard deviation in pixels, the threshold, then the
    strength of water or the blur of mud, and whether it is mud.
    """

    name: ClassVar[str] = "spatter"
    category: ClassVar[Category] = "extra"
    families: ClassVar[Families] = {
        "cifar": (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        "tiny-imagenet": (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0),
            (0.65, 0.1, 0.8, 0.7, 0.6, 0),
            (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1),
            (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        "imagenet": (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        "mnist-c": ((0.65, 0.3, 1, 0.65, 1.5, 1),),
    }
    ordered: ClassVar[bool] = False

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Spatter."""
        mean, deviation, blur, threshold, strength, is_mud = self.constants(x, severity)
        noise = rng.normal(ids, x.shape[-2:]).to(torch.float64)
        liquid = mean + deviation * blurred(noise, blur)
        # The originals compute in float32, which shows where the result is cut to bytes.
        image = x.to(torch.float32)
        if not is_mud:
            return image_under_water(image, torch.where(liquid < threshold, 0.0, liquid), strength)
        cover = blurred((liquid > threshold).to(torch.float64), strength).to(torch.float32)
        cover = torch.where(cover < 0.8, 0.0, cover)[:, None]
        wide = torch.float64 if self.family_of(max(x.shape[-2:])) == "imagenet" else torch.float32
        colour = torch.tensor(_GREY_MUD if self.family == "mnist-c" else _MUD, dtype=wide, device=x.device)
        return (colour[:, None, None] * cover).add_(image * (1 - cover))


def image_under_water(image: Tensor, liquid: Tensor, strength: float) -> Tensor:
    """Add water, lit from one side where it is thin, to an image [n, 3, h, w] float32."""
    layer = liquid.mul(255).to(torch.int32).bitwise_and_(255)
    # Divided as floats, which is exact for so few levels and, on a CPU, faster than with integers.
    depth = box_sum(distance(canny(layer, 50, 150), 20)).to(torch.float32).div_(9 * UNIT).floor_()
    lit = correlated(equalised(depth.to(torch.int32), 21), _LIGHT).clamp_(0, 255)
    shine = box_sum(lit).to(torch.float32).div_(9).add_(0.5).floor_()
    water = layer * shine
    # Without water this is 0 / 0, which a cast to bytes turns into 0.
    cover = (water / water.amax(dim=(1, 2), keepdim=True) * strength)[:, None]
    colour = torch.tensor(_WATER, device=image.device)[:, None, None]
    return (colour * cover).add_(image).nan_to_num_(0)


def blurred(image: Tensor, deviation: float) -> Tensor:
    """A Gaussian blur of images [n, h, w] float64 below 8 that repeats the border, cut at four deviations.

    Weights and values are rounded to multiples of 2^-25 and 2^-24, so that all sums are exact: a matrix product then
    has the same bits in every order, at every batch size and on every device.
    """
    for _ in range(2):
        weights = _blur_matrix(image.shape[-1], deviation).to(image.device)
        image = (image.mul(2.0**24).round().mul(2.0**-24) @ weights).transpose(1, 2)
    return image


def _blur_matrix(size: int, deviation: float) -> Tensor:
    radius = int(4 * deviation + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    taps = torch.exp(offsets.to(torch.float64).square() / (-2 * deviation**2))
    taps = (taps / taps.sum() * 2**25).round() / 2**25
    taps[radius] += 1 - taps.sum()
    places = torch.arange(size)
    sources = (places + offsets[:, None]).clamp(0, size - 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.index_put_((sources, places.expand_as(sources)), taps[:, None].expand_as(sources), accumulate=True)
