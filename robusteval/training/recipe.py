"""Recipes: how long and how fast to train, as TOML checked before any work starts."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from robusteval.models.fit import Schedule, Settings


class Recipe(BaseModel):
    """A training recipe.

    Attributes:
        epochs: passes over the training part.
        batch_size: samples of a step; a last smaller batch is left out.
        lr: the highest learning rate.
        momentum: of stochastic gradient descent.
        weight_decay: on weights of two and more dimensions.
        schedule: of the learning rate, per step.
        augment: whether the data set's own augmentation is applied.
        validation: samples of the train split held out, stratified, for the figures on the card.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Schedule = "one-cycle"
    augment: bool = True
    validation: int = Field(default=0, ge=0)

    def settings(self, samples: int) -> Settings:
        """The optimiser's settings for a training part of that many samples."""
        return Settings(
            epochs=self.epochs,
            steps_per_epoch=max(1, samples // self.batch_size),
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.momentum > 0,
            schedule=self.schedule,
        )

    def card(self) -> dict[str, Any]:
        """The recipe as the checkpoint's card keeps it."""
        return self.model_dump()
