"""Run by `killing.hosted`: forks a process for each event, which a warm function then works on.

Commands come as lines of JSON; the answers are lines of JSON too, first who works on it, then how
that ended. What the functions write to their logs goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import app
from chalicelib import aws, bootstrap
from chalicelib.domain import Study, StudyStatus, new_id
from chalicelib.errors import ModelUnavailable
from chalicelib.services.reading import succeeded, written


def warm(image: Path) -> None:
    """Answer an image once, to the report: torch and the pack, if there is one, are loaded then."""
    reader = bootstrap.reader()
    radiograph = reader.decoder.decode(image.read_bytes())
    quality, prediction = reader.gate.judge(radiograph), reader.classifier.predict(radiograph)
    study = Study(id=new_id("st"), status=StudyStatus.RUNNING, created_at=bootstrap.now())
    study = succeeded(study, radiograph, quality, prediction, bootstrap.now())
    written(reader.writer, study, radiograph, prediction)


def work(asked: dict[str, Any], answers: int) -> None:
    """Work on one event in this process, which then ends."""
    code = 1
    try:
        answer = getattr(app, asked["function"])(asked["event"], None)
        os.write(answers, json.dumps(answer).encode())
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Serve until stdin ends."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if sys.argv[1:]:
        with suppress(ModelUnavailable):
            warm(Path(sys.argv[1]))
    # Made here once and connected in each process: to make them takes longer than most events do.
    bootstrap.worker(), bootstrap.sweeper(), bootstrap.batches()
    aws.sts(), aws.s3()
    for line in sys.stdin:
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(read)
            work(json.loads(line), write)
        os.close(write)
        print(json.dumps({"pid": process}), file=told, flush=True)
        with os.fdopen(read) as answer:
            text = answer.read()
        _, status = os.waitpid(process, 0)
        ended = {
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "code": os.waitstatus_to_exitcode(status),
            "answer": json.loads(text or "null"),
        }
        print(json.dumps(ended), file=told, flush=True)


if __name__ == "__main__":
    serve()
