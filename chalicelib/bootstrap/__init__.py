"""The one place that names concrete adapters. Each is made on first use, torch last."""

from chalicelib.bootstrap.background import delivering, endings, sweeper, worker
from chalicelib.bootstrap.base import now
from chalicelib.bootstrap.inference import predictor, reader, runtime, runtime_sync
from chalicelib.bootstrap.operation import begin_call, explain, monitor, stopwatch, tracer
from chalicelib.bootstrap.queues import batches, job_queue, notices, outbox
from chalicelib.bootstrap.requests import (
    account,
    analysis,
    erasure,
    identity,
    intake,
    models,
    pages,
    studies,
)
from chalicelib.bootstrap.stores import (
    client_objects,
    delivery_store,
    directory,
    document_store,
    job_store,
    ledger,
    source_store,
    study_store,
)
from chalicelib.bootstrap.warming import warm_ahead, warm_up

__all__ = [
    "account",
    "analysis",
    "batches",
    "begin_call",
    "client_objects",
    "delivering",
    "delivery_store",
    "directory",
    "document_store",
    "endings",
    "erasure",
    "explain",
    "identity",
    "intake",
    "job_queue",
    "job_store",
    "ledger",
    "models",
    "monitor",
    "notices",
    "now",
    "outbox",
    "pages",
    "predictor",
    "reader",
    "runtime",
    "runtime_sync",
    "source_store",
    "stopwatch",
    "studies",
    "study_store",
    "sweeper",
    "tracer",
    "warm_ahead",
    "warm_up",
    "worker",
]
