"""What a training run did, epoch by epoch."""

from dataclasses import asdict, dataclass, field

from vgglib.recipes import Recipe


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images gave."""

    number: int  # from 1
    train_loss: float  # mean over the epoch, while the network changed and dropout was on
    train_accuracy: float  # likewise, 0 to 1
    validation_accuracy: float | None  # after the epoch, 0 to 1; of the test set where the recipe watches it
    learning_rate: float  # of the epoch's last step
    seconds: float  # wall time with data loading and validation
    images_per_second: float  # training images over wall time, with data loading, without validation


@dataclass
class History:
    """What a training run did, epoch by epoch, and under which conditions."""

    recipe: Recipe
    seed: int
    classes: int
    conditions: dict[str, str | bool]
    epochs: list[Epoch] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall time of all epochs."""
        return sum(epoch.seconds for epoch in self.epochs)

    def column(self, name: str) -> list:
        """Return one field of every epoch: ``history.column("train_loss")``."""
        return [getattr(epoch, name) for epoch in self.epochs]

    def as_dict(self) -> dict:
        """Return everything as plain numbers and strings, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.epochs:
            return "no epoch yet"
        last = self.epochs[-1]
        watched = (
            "" if last.validation_accuracy is None else f", {self.watched} accuracy {last.validation_accuracy:.4f}"
        )
        return (
            f"epoch {last.number}/{self.recipe.epochs}: train loss {last.train_loss:.4f}, "
            f"train accuracy {last.train_accuracy:.4f}{watched}, {last.images_per_second:,.0f} images/s"
        )

    @property
    def watched(self) -> str:
        """The name of what validation_accuracy was measured on."""
        return "test" if self.recipe.watch_test else "validation"
