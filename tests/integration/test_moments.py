"""What a process imports when: the table of docs/runtime.md, in one fresh process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image
from pydicom.data import get_testdata_file

ROOT = Path(__file__).resolve().parents[2]
WATCHED = ("boto3", "fpdf", "gdcm", "numpy", "PIL", "pydicom", "torch")
# The table's row, what a process does then, and what is there afterwards that was not before.
MOMENTS: tuple[tuple[str, str, set[str]], ...] = (
    ("`import app` (Lambda's init phase)", "import app", set()),
    (
        "first keyed request",
        "from chalicelib import bootstrap; bootstrap.identity()",
        {"boto3"},
    ),
    (
        "first image",
        "reader = bootstrap.reader(); png = reader.decoder.decode(Path(sys.argv[1]).read_bytes())",
        {"numpy", "PIL", "fpdf"},
    ),
    (
        "first prediction, and first doubt of a DICOM file's MONOCHROME tag",
        "reader.classifier.predict(png)",
        {"torch"},
    ),
    (
        "first DICOM file",
        "reader.decoder.decode(Path(sys.argv[2]).read_bytes())",
        {"pydicom", "gdcm"},
    ),
)
PROGRAM = "import json, sys\nfrom pathlib import Path\ntold = []\n"


def test_each_package_is_imported_at_its_moment(tmp_path: Path) -> None:
    with Image.open(ROOT / "models" / "cardionet-1" / "golden.pgm") as golden:
        golden.save(tmp_path / "golden.png")
    steps = "".join(
        f"{step}\ntold.append([name for name in {WATCHED} if name in sys.modules])\n"
        for _, step, _ in MOMENTS
    )
    names = {
        "RADGATE_TABLE": "t",
        "RADGATE_BUCKET": "b",
        "RADGATE_STAGE": "test",
        "RADGATE_QUEUE_URL": "https://sqs.invalid/1/q",
        "RADGATE_BULK_QUEUE_URL": "https://sqs.invalid/1/b",
        "RADGATE_DELIVERY_QUEUE_URL": "https://sqs.invalid/1/d",
        "RADGATE_DATA_ROLE": "arn:aws:iam::111122223333:role/data",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "MODEL_DIR": str(ROOT / "models"),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM + steps + "print(json.dumps(told))"),
            str(tmp_path / "golden.png"),
            str(get_testdata_file("RG1_J2KI.dcm", download=False)),
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **names},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: set[str] = set()
    for (moment, _, new), loaded in zip(MOMENTS, json.loads(done.stdout), strict=True):
        assert set(loaded) - seen == new, moment
        seen = set(loaded)


def test_the_table_says_so() -> None:
    text = (ROOT / "docs" / "runtime.md").read_text(encoding="utf-8")
    table = text.partition("## What is imported when")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE))
    names = {"PIL": "Pillow", "fpdf": "fpdf2"}
    for moment, _, new in MOMENTS:
        assert all(names.get(name, name) in rows[moment] for name in new), moment
