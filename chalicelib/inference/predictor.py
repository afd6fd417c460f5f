"""What the services see of a pack: it judges and classifies, and is exchanged while running."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import torch

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.gate import ChestGate
from chalicelib.inference.model import Model, load
from chalicelib.inference.packs import active_pack, list_packs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chalicelib.domain import ModelFacts, ModelRef, Prediction, Quality, Radiograph

REFRESH_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Predictor:
    """Satisfies the ports `Classifier` and `Gate` with the packs in a folder.

    The active pack is loaded and proven at the first call. After `refresh` seconds the next call
    looks whether another pack was activated; a pack that fails its checks then does not replace
    the one that serves.

    Args:
        model_dir: folder of the packs, `MODEL_DIR`.
        threads: CPU threads of a forward pass, for the whole process.
        refresh: seconds between two looks at `active.json`.
        clock: seconds that never go backwards.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        threads: int = 2,
        refresh: float = REFRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model_dir = model_dir
        self._refresh = refresh
        self._clock = clock
        self._lock = threading.Lock()
        self._model: Model | None = None
        self._gate: tuple[ModelRef, ChestGate] | None = None
        self._looked = 0.0
        torch.set_num_threads(threads)

    def judge(self, radiograph: Radiograph) -> Quality:
        """Ask the gate that came with the active pack. Raises ModelUnavailable without one."""
        return self._current_gate().judge(radiograph)

    def predict(self, radiograph: Radiograph) -> Prediction:
        """Return findings and heatmaps of the active pack. Raises ModelUnavailable."""
        return self._current().answer(radiograph)

    def facts(self) -> ModelFacts:
        """Return what is known of the active pack. Raises ModelUnavailable."""
        return self._current().pack.facts()

    def installed(self) -> tuple[ModelFacts, ...]:
        """Return every readable pack in the model folder, sorted by name."""
        return tuple(pack.facts() for pack in list_packs(self._model_dir))

    def prove(self) -> None:
        """Answer the active pack's golden input. Raises ModelUnavailable when it is off."""
        self._current().prove()

    def _current(self) -> Model:
        with self._lock:
            now = self._clock()
            if self._model is None:
                self._model = self._load_active()
                self._looked = now
            elif now - self._looked >= self._refresh:
                self._looked = now
                self._model = self._exchange(self._model)
            return self._model

    def _current_gate(self) -> ChestGate:
        serving = self._current().pack.ref
        with self._lock:
            if self._gate is None or self._gate[0] != serving:
                self._gate = (serving, ChestGate.load(self._model_dir))
            return self._gate[1]

    def _load_active(self) -> Model:
        model = load(active_pack(self._model_dir))
        model.prove()
        return model

    def _exchange(self, serving: Model) -> Model:
        try:
            if active_pack(self._model_dir).ref == serving.pack.ref:
                return serving
            return self._load_active()
        except ModelUnavailable as error:
            _log.warning("the active pack is refused, %s serves on: %s", serving.pack.ref, error)
            return serving
