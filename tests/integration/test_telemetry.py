"""What the operator sees: metrics with their dimensions, defects without their text."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
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


VARIABLES = {
    "RADGATE_STAGE": "test",
    "RADGATE_TABLE": "t",
    "RADGATE_BUCKET": "b",
    "RADGATE_QUEUE_URL": "q",
    "RADGATE_BULK_QUEUE_URL": "q",
    "RADGATE_DELIVERY_QUEUE_URL": "q",
    "RADGATE_DATA_ROLE": "arn:aws:iam::111122223333:role/data",
    "MODEL_DIR": "/nowhere",
}
TRACE = "1-5759e988-bd862e3fe1be46a994272793"


def run(program: str, **further: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=VARIABLES | further,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout


def test_a_stage_that_is_not_traced_imports_no_tracer() -> None:
    program = (
        "import sys; from chalicelib import bootstrap;"
        "print(type(bootstrap.stopwatch()).__name__, 'aws_xray_sdk' in sys.modules)"
    )
    assert run(program) == "Stopwatch False\n"
    assert run(program, RADGATE_TRACING="1") == "TracedStopwatch True\n"


PLAIN = """
import logging, sys
from types import SimpleNamespace
logging.basicConfig(stream=sys.stdout)  # as Lambda has a handler of its own
from chalicelib.telemetry import begin_call
begin_call(SimpleNamespace(aws_request_id="call-1"))
logging.getLogger("chalicelib.delivery.queue").warning("job queue: send failed: %s", "Timeout")
logging.getLogger("botocore").warning("somebody else's")
"""


def test_what_a_module_of_ours_logs_is_json_too_and_written_once() -> None:
    line, other = run(PLAIN).splitlines()
    written = json.loads(line)
    assert written["message"] == "job queue: send failed: Timeout"
    assert (written["level"], written["function_request_id"]) == ("WARNING", "call-1")
    assert other == "WARNING:botocore:somebody else's"


# What Lambda tells a function that it traces.
LAMBDA = {
    "LAMBDA_TASK_ROOT": "/var/task",
    "_X_AMZN_TRACE_ID": f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1",
    "RADGATE_TRACING": "1",
}
# The worker over shipped fakes, and a request that fails over what it was sent.
TRACED = f"""
from dataclasses import replace
from chalicelib import bootstrap
from tests.unit.services.worker.conftest import Bench

bench = Bench()
bench.worker = replace(bench.worker, stopwatch=bootstrap.stopwatch)
bench.enqueue(b"an image", b"broken")
bench.work()
watch = bootstrap.stopwatch()
try:
    with watch.about("request", request_id="r-1"):
        watch.annotate(study_id="")
        with watch.lap("decode"):
            int({SECRET!r})
except ValueError as error:
    print(type(error).__name__, *(study.id for study in bench.all()))
"""


def segments(program: str, **further: str) -> tuple[str, list[dict[str, Any]]]:
    """Run a program and return what it printed and what the daemon of X-Ray would have got."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(0.5)
        address = f"127.0.0.1:{daemon.getsockname()[1]}"
        told = run(program, AWS_XRAY_DAEMON_ADDRESS=address, **LAMBDA | further)
        received = []
        with suppress(TimeoutError):  # all was sent before the program ended
            while True:
                header, _, document = daemon.recv(65_536).partition(b"\n")
                assert json.loads(header) == {"format": "json", "version": 1}
                received.append(json.loads(document))
        return told, received


def test_a_trace_has_the_parts_of_each_study_under_its_ids_and_nothing_of_an_image() -> None:
    told, received = segments(TRACED)
    kind, good, bad = told.split()
    assert kind == "ValueError"  # what the block raised has come out of it
    assert {one["trace_id"] for one in received} == {TRACE}
    assert all("end_time" in one for one in received)
    studies = [one for one in received if one["name"] == "## study"]
    request = "11111111-2222-4333-8444-555555555555"
    marked = [(one["annotations"]["study_id"], one["annotations"]["request_id"]) for one in studies]
    assert marked == [(good, request), (bad, request), (good, request)]

    def parts(parent: dict[str, Any]) -> list[str]:
        return [one["name"] for one in received if one["parent_id"] == parent["id"]]

    assert parts(studies[0]) == ["## fetch", "## decode", "## gate"]
    assert parts(studies[1]) == ["## fetch", "## decode"]
    assert parts(studies[2]) == ["## report", "## store"]
    assert sum(one["name"] == "## predict" for one in received) == 1
    assert studies[1]["annotations"]["error"] == "UnreadableImage"
    [asked] = [one for one in received if one["name"] == "## request"]
    assert asked["annotations"] == {"request_id": "r-1", "error": "ValueError"}
    assert asked["error"] is True
    whole = json.dumps(received)
    assert SECRET not in whole
    assert "cause" not in whole  # where the SDK would put texts and stacks
    assert "uploads/" not in whole


def test_the_sdk_s_own_switch_silences_a_traced_stage() -> None:
    told, received = segments(TRACED, POWERTOOLS_TRACE_DISABLED="true")
    assert told.startswith("ValueError ")
    assert received == []


def test_what_is_not_sampled_is_not_sent() -> None:
    header = LAMBDA["_X_AMZN_TRACE_ID"].replace("Sampled=1", "Sampled=0")
    assert segments(TRACED, _X_AMZN_TRACE_ID=header)[1] == []
