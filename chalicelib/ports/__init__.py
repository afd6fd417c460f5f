"""What the services need of the world, as Protocols that adapters and fakes satisfy."""

from chalicelib.ports.clients import Directory, Ledger, SecretStore
from chalicelib.ports.deliveries import Courier, DeliveryStore, HealthStore, Outbox
from chalicelib.ports.images import Classifier, Decoder, Gate, ReportWriter
from chalicelib.ports.jobs import Intake, JobQueue, JobStore, SourceStore, SpentUploads
from chalicelib.ports.operation import Clock, Monitor, Unit, Unreadable
from chalicelib.ports.retention import RetentionStore, StudyFolders
from chalicelib.ports.studies import DocumentStore, Erasure, StudyStore

__all__ = [
    "Classifier",
    "Clock",
    "Courier",
    "Decoder",
    "DeliveryStore",
    "Directory",
    "DocumentStore",
    "Erasure",
    "Gate",
    "HealthStore",
    "Intake",
    "JobQueue",
    "JobStore",
    "Ledger",
    "Monitor",
    "Outbox",
    "ReportWriter",
    "RetentionStore",
    "SecretStore",
    "SourceStore",
    "SpentUploads",
    "StudyFolders",
    "StudyStore",
    "Unit",
    "Unreadable",
]
