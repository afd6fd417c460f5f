"""Nothing of a header leaves the decoder: not by an error, a log or what a library prints."""

from __future__ import annotations

import contextlib
import logging

import pytest

from chalicelib.errors import RadgateError
from chalicelib.inference.imaging import ImageDecoder
from tests.unit.inference.dicom_files import every_file
from tests.unit.inference.dicom_writer import dicom, text

DECODER = ImageDecoder()
SECRET = "DOE^JANE"
JPEG = "1.2.840.10008.1.2.4.50"


def test_no_header_value_gets_out_by_any_way(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    name = text(0x0010, 0x0010, b"PN", SECRET)
    broken = [
        dicom(bytes(8), 2, 2, name, text(0x0028, 0x0008, b"IS", SECRET)),
        dicom(bytes(8), 2, 2, name, text(0x0028, 0x1050, b"DS", SECRET), photometric=SECRET),
        dicom(bytes(8), 9, 9, name, text(0x0008, 0x0020, b"DA", SECRET)),
        dicom(bytes(8), 2, 2, name, syntax=SECRET),
        dicom(bytes(8), 2, 2, name, text(0x0008, 0x0005, b"CS", SECRET), bits=(16, 40, 3)),
        dicom(SECRET.encode() * 2, 2, 2, name, syntax=JPEG, encapsulated=True),
    ]

    for body in broken:
        with pytest.raises(RadgateError) as caught:
            DECODER.decode(body)
        error = caught.value
        assert SECRET not in f"{error!r} {error.detail}"
        assert error.__context__ is None
        assert error.__cause__ is None
    whole = DECODER.decode(dicom(bytes(8), 2, 2, name))
    assert SECRET not in repr(whole)
    assert SECRET.encode() not in whole.pixels
    printed = capfd.readouterr()
    assert SECRET not in caplog.text + printed.out + printed.err


def test_the_libraries_neither_log_nor_warn(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    for path in every_file().values():
        if path.stat().st_size < 600_000:
            with contextlib.suppress(RadgateError):
                DECODER.decode(path.read_bytes())

    assert caplog.records == []
    # What the codecs' C code prints is about their own stream, in words of its own.
    known = ("Unsupported JPEG data precision", "Invalid SOS parameters", "Invalid number of tiles")
    assert [
        line for line in capfd.readouterr().err.splitlines() if not line.startswith(known)
    ] == []
