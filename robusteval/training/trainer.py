"""The one training loop: any variant, any data set, any architecture; deterministic by seed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robusteval import __version__
from robusteval.core.errors import require
from robusteval.core.rng import Stream
from robusteval.core.types import Batch, Predictions
from robusteval.data import DataSet, Split
from robusteval.data.augment import augment
from robusteval.metrics import METRICS
from robusteval.models import Architecture
from robusteval.models.checkpoint import Card
from robusteval.models.classifier import Classifier
from robusteval.models.fit import Epoch, fit
from robusteval.training.recipe import Recipe
from robusteval.variants import Variant


@dataclass(frozen=True)
class Training:
    """One run of training: everything that its checkpoint depends on."""

    variant: Variant
    data: DataSet
    architecture: Architecture
    recipe: Recipe
    seed: int
    device: str = "cpu"

    def run(self, on_epoch: Callable[[Epoch], None] | None = None) -> tuple[Classifier, Card]:
        """Train from scratch.

        Raises:
            CheckpointError: the loss is no longer finite.
            InputError: a setting does not fit the data.
        """
        train, validation = parts(self.data.split("train"), self.recipe.validation, self.seed)
        rule = f"must be at most the {len(train)} training samples"
        require(self.recipe.batch_size <= len(train), "batch_size", rule, self.recipe.batch_size)
        mean, std = moments(train)
        network = self.architecture.initialised(train.shape, len(train.classes), self.seed)
        model = Classifier(network, mean, std).to(self.device)
        self._fit(model, train, on_epoch)
        card = Card(
            architecture=self.architecture.spec,
            classes=train.classes,
            shape=train.shape,
            mean=mean,
            std=std,
            data=self.data.spec,
            data_digest=train.digest,
            recipe=self.recipe.card(),
            variant=self.variant.spec,
            seed=self.seed,
            validation=None if validation is None else figures(model, validation, self.device),
            code=__version__,
        )
        return model.cpu(), card

    def settled(self, card: Card) -> bool:
        """Whether a checkpoint's card is that of this run."""
        mine = (self.architecture.spec, self.data.spec, self.recipe.card(), self.variant.spec, self.seed)
        return mine == (card.architecture, card.data, card.recipe, card.variant, card.seed)

    def _fit(self, model: nn.Module, train: Split, on_epoch: Callable[[Epoch], None] | None) -> None:
        rng, classes = Stream.seeded(self.seed).stream("train"), len(train.classes)
        settings = self.recipe.settings(len(train))
        variant = self.variant
        images, labels, ids = (tensor.to(self.device) for tensor in (train.images, train.labels, train.ids))
        resident = Split(images, labels, ids, train.classes)

        def batches(epoch: int) -> Iterator[tuple[int, Batch]]:
            order = rng.stream("order").permutation(torch.tensor([epoch]), len(train))[0].to(self.device)
            for number in range(settings.steps_per_epoch):
                batch = resident.batch(order[number * self.recipe.batch_size :][: self.recipe.batch_size])
                step = epoch * settings.steps_per_epoch + number
                if self.recipe.augment:
                    draws = rng.stream("augment", epoch)
                    batch = batch._replace(x=augment(batch.x, batch.ids, self.data.augmentation, draws))
                yield step, batch

        def loss(network: nn.Module, item: tuple[int, Batch]) -> Tensor:
            step, batch = item
            return variant.loss(network, batch, classes, rng.stream("step", step))

        fit(model, batches, loss, settings, on_epoch)


def parts(train: Split, held_out: int, seed: int) -> tuple[Split, Split | None]:
    """The training part and the held-out validation part, never from the test split (TRUST R29)."""
    if held_out == 0:
        return train, None
    require(held_out < len(train), "validation", f"must be below the {len(train)} training samples", held_out)
    validation = train.stratified(held_out, seed)
    rest = ~torch.isin(train.ids, validation.ids)
    return train.rows(rest), validation


def moments(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of pixels in [0, 1], rounded to four digits."""
    channels = split.batch().x.transpose(0, 1).flatten(1).to(torch.float64)
    mean, std = channels.mean(dim=1), channels.std(dim=1).clamp_min(1e-3)
    return tuple(round(float(value), 4) for value in mean), tuple(round(float(value), 4) for value in std)


def figures(model: nn.Module, split: Split, device: str) -> dict[str, float]:
    """Every metric on a split, for the card."""
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part.to(device)).cpu() for part in torch.split(split.batch().x, 500)])
    predictions = Predictions.from_logits(logits.numpy(), split.labels.numpy(), split.ids.numpy())
    return {name: METRICS.parse(name)(predictions) for name in METRICS.classes}
