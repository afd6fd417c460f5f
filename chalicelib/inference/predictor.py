"""What the services see of a pack: it judges and classifies, and is exchanged while running."""

from __future__ import annotations

import errno
import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.imports import many_imports
from chalicelib.inference.packs import active_pack, list_packs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from chalicelib.domain import ModelFacts, ModelRef, Prediction, Quality, Radiograph
    from chalicelib.inference.gate import ChestGate
    from chalicelib.inference.model import Model
    from chalicelib.inference.packs import Pack

REFRESH_SECONDS = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Serving:
    """What answers now; `gate` is None where no installed pack brings one."""

    model: Model
    gate: ChestGate | None


class Predictor:
    """Satisfies the ports `Classifier` and `Gate` with the packs in a folder.

    The active pack is loaded and proven at the first call; where that fails, each call tries anew.
    After `refresh` seconds the next call looks whether another pack was activated. Whatever goes
    wrong then, be it the pack, the file system or memory, the one that serves goes on serving, and
    the next try is made `refresh` seconds later.

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
        self._serving: _Serving | None = None
        self._looked = 0.0
        self._threads = threads
        self._warming: Future[None] | None = None
        self._warming_lock = threading.Lock()

    def judge(self, radiograph: Radiograph) -> Quality:
        """Ask the gate that came with the active pack. Raises ModelUnavailable without one."""
        gate = self._current().gate
        if gate is None:
            raise ModelUnavailable("no installed model brings a gate")
        return gate.judge(radiograph)

    def predict(self, radiograph: Radiograph) -> Prediction:
        """Return findings and heatmaps of the active pack. Raises ModelUnavailable."""
        return self._current().model.answer(radiograph)

    def predict_many(self, radiographs: Sequence[Radiograph]) -> tuple[Prediction, ...]:
        """Return what `predict` would for each, in one forward pass. Raises ModelUnavailable."""
        return self._current().model.answer_many(radiographs)

    def warm(self, timeout: float) -> bool:
        """Load the pack, and torch, in the background; tell whether that is done in `timeout` s.

        Loading goes on after a False, so that a later call finds it further. Raises
        ModelUnavailable when the pack cannot be loaded; the next call then tries anew.
        """
        if self._serving is not None:
            return True
        with self._warming_lock:
            loading = self._warming
            if loading is None:
                loading = Future()
                _start(self._load_into, loading)
                self._warming = loading
        try:
            error = loading.exception(timeout)
        except TimeoutError:
            return False
        if error is not None:
            raise error
        return True

    def _load_into(self, loading: Future[None]) -> None:
        try:
            self._current()
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
            with self._warming_lock:
                self._warming = None
            loading.set_exception(error)
        else:
            loading.set_result(None)

    def facts(self) -> ModelFacts:
        """Return what is known of the active pack. Raises ModelUnavailable."""
        return self._current().model.pack.facts()

    def installed(self) -> tuple[ModelFacts, ...]:
        """Return every readable pack in the model folder, sorted by name."""
        return tuple(pack.facts() for pack in list_packs(self._model_dir))

    def prove(self) -> None:
        """Answer the active pack's golden input. Raises ModelUnavailable when it is off."""
        self._current().model.prove()

    def _current(self) -> _Serving:
        with self._lock:
            now = self._clock()
            if self._serving is None:
                self._serving = self._load_active()
                self._looked = now
            elif now - self._looked >= self._refresh:
                self._looked = now
                self._serving = self._exchange(self._serving)
            return self._serving

    def _load_active(self) -> _Serving:
        """Bring the active pack to life. Raises ModelUnavailable, and nothing else."""
        try:
            return self._load(active_pack(self._model_dir))
        except ModelUnavailable:
            raise
        # A damaged runtime or a lack of memory may raise anything; clients get the same 503.
        except Exception as error:
            raise ModelUnavailable("the active model cannot be loaded") from error

    def _load(self, pack: Pack) -> _Serving:
        # Read here, since torch alone takes seconds to import from a cold file system: `warm`
        # must be able to answer while it comes.
        with many_imports():
            import torch  # noqa: PLC0415

            from chalicelib.inference.gate import ChestGate  # noqa: PLC0415
            from chalicelib.inference.model import load  # noqa: PLC0415

        torch.set_num_threads(self._threads)
        model = load(pack)
        model.prove()
        return _Serving(model, ChestGate.of(pack, self._model_dir))

    def _exchange(self, serving: _Serving) -> _Serving:
        """Return what is active by now, or `serving` when it is the same or cannot be had."""
        ref, wanted = serving.model.pack.ref, "the active pack"
        try:
            pack = active_pack(self._model_dir)
            if pack.ref == ref:
                return serving
            wanted = _named(pack.ref)
            return self._load(pack)
        except Exception as error:  # noqa: BLE001 - nothing may take away what serves
            # Kinds and names only: a text may quote what stands in the pack. `models verify` tells.
            _log.warning("%s is refused (%s), %s serves on", wanted, _kinds(error), _named(ref))
            return serving


def _start(work: Callable[[Future[None]], None], loading: Future[None]) -> None:
    """Run `work` in the background. Raises ModelUnavailable when the system has no thread left."""
    try:
        threading.Thread(target=work, args=(loading,), daemon=True).start()
    except RuntimeError as error:
        raise ModelUnavailable("nothing can be loaded in the background now") from error


def _named(ref: ModelRef) -> str:
    return f"{ref.name}@{ref.version}"


def _kinds(error: BaseException) -> str:
    """Name the class of an error and of what it was made from, with the system's error number."""
    kind = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        kind += f" {errno.errorcode.get(error.errno, error.errno)}"
    return kind if error.__cause__ is None else f"{kind} from {_kinds(error.__cause__)}"
