"""Recipes: how long and how fast to train, as TOML checked before any work starts."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from robusteval.models.fit import Method, Schedule, Settings


class Recipe(BaseModel):
    """A training recipe.

    Attributes:
        epochs: passes over the training part.
        batch_size: samples of a step; a last smaller batch is left out.
        lr: the highest learning rate.
        method: of descent.
        momentum: of stochastic gradient descent.
        nesterov: whether the momentum looks ahead (Sutskever et al., 2013).
        weight_decay: on weights of two and more dimensions.
        schedule: of the learning rate, per step.
        warmup: share of the steps in which the rate rises from zero.
        milestones: shares of the steps at which the `step` schedule divides the rate by ten.
        augment: whether the data set's own augmentation is applied.
        validation: share of the train split that is held out, stratified by class, for figures and temperature.
        ema: factor of the running average of the weights, which is then the result; None is the last weights.
        precision: `bf16` runs the loss under autocast (Micikevicius et al., 2018, arXiv:1710.03740); weights and steps
            stay in float32.
        channels_last: whether convolutions run with channels last in memory.
        compile: whether the network is compiled first, which pays for long trainings.
        arch: the architecture where the command line names none.
        data: the data set where the command line names none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0, allow_inf_nan=False)
    method: Method = "sgd"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    schedule: Schedule = "one-cycle"
    warmup: float = Field(default=0.25, ge=0, lt=1)
    milestones: tuple[float, ...] = (0.5, 0.75)
    augment: bool = True
    validation: float = Field(default=0, ge=0, lt=1)
    ema: float | None = Field(default=None, gt=0, lt=1)
    precision: Literal["float32", "bf16"] = "float32"
    channels_last: bool = True
    compile: bool = False
    arch: str = "small-cnn"
    data: str = "fashion-mnist"

    def settings(self, samples: int) -> Settings:
        """The optimiser's settings for a training part of that many samples."""
        return Settings(
            epochs=self.epochs,
            steps_per_epoch=max(1, samples // self.batch_size),
            lr=self.lr,
            method=self.method,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov and self.momentum > 0,
            ema=self.ema,
            schedule=self.schedule,
            warmup=self.warmup,
            milestones=self.milestones,
        )

    def card(self) -> dict[str, Any]:
        """The recipe as the checkpoint's card keeps it, without the defaults of the command line."""
        return self.model_dump(mode="json", exclude={"arch", "data"})
