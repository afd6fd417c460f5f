"""Keeps the imaging libraries from logging what they read: EXIF values, DICOM elements."""

from __future__ import annotations

import logging


def silence(library: str) -> None:
    """Turn a library's loggers off, whatever handlers anybody attaches.

    To be called after the library was imported: pydicom sets its own level then. A codec's
    complaint quotes the header, and a log must hold no patient data; what the client needs to
    know stands in the error's detail.
    """
    logger = logging.getLogger(library)
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
