"""Which packs are installed, and whether the active one can be trusted to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from chalicelib.domain import LabelFacts, ModelRef, Value

if TYPE_CHECKING:
    from chalicelib.ports import Classifier


class InstalledModel(Value):
    """One entry of `GET /models`."""

    name: str
    version: str
    sha256: str
    scale: Literal["probability", "decision"]
    active: bool
    architecture: str
    licence: str
    labels: tuple[LabelFacts, ...]


class Health(Value):
    """The answer of `GET /health` and `GET /ready`."""

    status: Literal["up", "ready"]
    model: ModelRef | None = None


class ModelList(Value):
    """The answer of `GET /models`."""

    items: tuple[InstalledModel, ...]


@dataclass(frozen=True, slots=True)
class ModelService:
    """Tells of packs."""

    classifier: Classifier

    def models(self) -> ModelList:
        """Return every installed pack. Raises ModelUnavailable when none is active."""
        active = self.classifier.facts().ref
        return ModelList(
            items=tuple(
                InstalledModel(
                    name=facts.ref.name,
                    version=facts.ref.version,
                    sha256=facts.ref.sha256,
                    scale=facts.ref.scale,
                    active=facts.ref == active,
                    architecture=facts.architecture,
                    licence=facts.licence,
                    labels=facts.labels,
                )
                for facts in self.classifier.installed()
            )
        )

    def ready(self) -> ModelRef:
        """Return the active pack once it has answered its golden input. Raises ModelUnavailable."""
        self.classifier.prove()
        return self.classifier.facts().ref
