"""JPEG compression (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's.
"""

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class JpegCompression(Corruption):
    """The image stored as JPEG and read again; the constant is the quality, from 1 to 95.

    Through Pillow, image by image, as in the originals: the levels are those of the installed version's codec.
    """

    name: ClassVar[str] = "jpeg-compression"
    category: ClassVar[Category] = "digital"
    families: ClassVar[Families] = {
        "cifar": (80, 65, 58, 50, 40),
        "tiny-imagenet": (65, 58, 50, 40, 25),
        "imagenet": (25, 18, 15, 10, 7),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Store and read."""
        (quality,) = self.constants(x, severity)
        images = (x * 255).round_().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
        stored = bytearray().join(_stored(image, int(quality)) for image in images)
        levels = torch.frombuffer(stored, dtype=torch.uint8).reshape(images.shape).permute(0, 3, 1, 2).to(x.device)
        return levels.to(x.dtype).div_(255)


def _stored(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    """The levels of an image [h, w, 3] once it is read again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    file.seek(0)
    # Not Image.open, which takes as long to look for the format as to decode a small image.
    return JpegImageFile(file).tobytes()
