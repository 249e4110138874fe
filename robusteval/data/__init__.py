"""Layer 2: data sets, one per module; images stay uint8 in memory, a batch is float in [0, 1]."""

from robusteval.core.component import Registry
from robusteval.data.dataset import Augmentation, DataSet, Split

DATA: Registry[DataSet] = Registry("data set", DataSet, __name__)

__all__ = ["DATA", "Augmentation", "DataSet", "Split"]
