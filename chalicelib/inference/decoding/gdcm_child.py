"""The program that runs GDCM on one codestream, alone in a process; see `isolated.py`.

Reads the codestream from stdin, writes samples to stdout, and imports nothing of ours, so that it
starts fast. GDCM ends the whole process on some damaged files (an uncaught C++ exception).
"""

from __future__ import annotations

import resource
import sys

import gdcm


def main(arguments: list[str]) -> int:
    """Decode; the arguments are transfer syntax, photometric interpretation and six numbers."""
    syntax, photometric, *numbers = arguments
    columns, rows, samples, allocated, stored, megabytes = map(int, numbers)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(sys.stdin.buffer.read())
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    if samples > 1:
        image.SetPlanarConfiguration(0)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(samples, allocated, stored, stored - 1, 0))
    decoded = image.GetBuffer()
    if decoded is None:
        return 1
    # GDCM hands bytes over as a string with surrogates.
    sys.stdout.buffer.write(decoded.encode("utf-8", "surrogateescape"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
