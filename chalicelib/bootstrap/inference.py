"""What needs the packages of the model folder: torch comes last, and only when asked for."""

# ruff: noqa: PLC0415 - imports stand where they are first needed; that is the point here

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from chalicelib.errors import ModelUnavailable
from chalicelib.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chalicelib.inference.predictor import Predictor
    from chalicelib.runtime.sync import Sync
    from chalicelib.services.reading import Reader

# What a tree of packages must be able to do before it may serve, and what proves a pack.
REHEARSAL = "chalicelib.inference.rehearsal:rehearse"
PROOF = "chalicelib.inference.model"


@cache
def reader() -> Reader:
    """Return what reads images. Raises ModelUnavailable where nothing can."""
    runtime()
    from chalicelib.inference.imaging import ImageDecoder
    from chalicelib.reports.pdf import PdfReportWriter
    from chalicelib.services.reading import Reader

    return Reader(
        decoder=ImageDecoder(gate=predictor()),
        gate=predictor(),
        classifier=predictor(),
        writer=PdfReportWriter(),
    )


@cache
def predictor() -> Predictor:
    """Return the active pack; its weights are read on the first prediction."""
    runtime()
    from chalicelib.inference.predictor import Predictor

    return Predictor(settings().model_dir, threads=settings().threads)


@cache
def runtime() -> None:
    """Make importable what inference needs: the active tree on the mount, where there is one.

    Raises ModelUnavailable when torch is neither there nor installed beside our code.
    """
    from importlib.util import find_spec

    from chalicelib.runtime.loading import use_active_tree
    from chalicelib.runtime.manifest import TreeRefused

    try:
        use_active_tree(settings().runtime_dir)
    except TreeRefused as error:
        raise ModelUnavailable("the runtime is damaged") from error
    if find_spec("torch") is None:
        raise ModelUnavailable("no runtime is installed")


def runtime_sync(seconds_left: Callable[[], float]) -> Sync:
    """Return what writes to the mount, for one call of the function `efs_sync`."""
    from chalicelib.aws import s3
    from chalicelib.inference.shelf import PackFolder
    from chalicelib.runtime.store import S3Source
    from chalicelib.runtime.sync import Sync
    from chalicelib.runtime.trees import Trees
    from chalicelib.runtime.trial import Proof, Rehearsal

    trees = Trees(settings().runtime_dir)

    def time() -> float:
        return seconds_left() - 10  # the last seconds are for noting down what came of it

    def packages() -> Path | None:
        active = trees.active()
        return None if active is None else trees.home(active.tree)

    proof = Proof(PROOF, time, packages)

    def prove(pack: Path) -> None:
        proof(pack, pack, pack)

    return Sync(
        trees,
        S3Source(s3(), settings().bucket),
        Rehearsal([REHEARSAL], time),
        seconds_left,
        models=PackFolder(settings().model_dir, prove),
        proof=proof,
    )
