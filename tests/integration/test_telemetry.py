"""What the operator sees: metrics with their dimensions, defects without their text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.telemetry import PowertoolsMonitor

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
SECRET = "Zebranowski^Zofia"


def emitted(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"_aws"')]


def test_a_metric_has_its_stage_its_function_and_its_own_dimensions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    PowertoolsMonitor("dev", "worker").measure("StudiesEnded", 2, "Count", outcome="succeeded")
    cold, metric = emitted(capsys)
    assert cold["ColdStarts"] == [1.0]
    [directive] = metric["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Radgate"
    assert directive["Dimensions"] == [["stage", "function", "outcome"]]
    assert directive["Metrics"] == [{"Name": "StudiesEnded", "Unit": "Count"}]
    told = {name: metric[name] for name in ("stage", "function", "outcome", "StudiesEnded")}
    assert told == {
        "stage": "dev",
        "function": "worker",
        "outcome": "succeeded",
        "StudiesEnded": [2.0],
    }


def test_a_process_starts_cold_once(capsys: pytest.CaptureFixture[str]) -> None:
    monitor = PowertoolsMonitor("dev", "sweep")
    monitor.note("sweep", rung=1)
    monitor.note("sweep", rung=2)
    assert sum("ColdStarts" in line for line in emitted(capsys)) == 1


def test_a_defect_is_told_by_its_kind_and_place_never_by_its_text(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    try:
        int(SECRET)
    except ValueError as error:
        PowertoolsMonitor("dev", "worker").defect("attempt", error, study_id="st_1")
    captured = capsys.readouterr()
    everything = captured.out + captured.err + caplog.text
    assert SECRET not in everything
    [record] = [one for one in caplog.records if one.getMessage() == "attempt"]
    assert vars(record)["kind"] == "ValueError"
    assert vars(record)["study_id"] == "st_1"
    assert any("test_telemetry.py" in place for place in vars(record)["where"])


def test_a_stage_that_is_not_traced_imports_no_tracer() -> None:
    variables = {
        "RADGATE_STAGE": "test",
        "RADGATE_TABLE": "t",
        "RADGATE_BUCKET": "b",
        "RADGATE_QUEUE_URL": "q",
        "RADGATE_BULK_QUEUE_URL": "q",
        "RADGATE_DELIVERY_QUEUE_URL": "q",
        "RADGATE_DATA_ROLE": "arn:aws:iam::111122223333:role/data",
        "MODEL_DIR": "/nowhere",
    }
    program = (
        "import sys; from chalicelib import bootstrap;"
        "print(type(bootstrap.stopwatch()).__name__, 'aws_xray_sdk' in sys.modules)"
    )

    def run(**further: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=variables | further | {"AWS_XRAY_SDK_ENABLED": "false"},
            capture_output=True,
            check=True,
            text=True,
        )
        return done.stdout

    assert run() == "Stopwatch False\n"
    assert run(RADGATE_TRACING="1") == "TracedStopwatch True\n"
