"""Installing a published release: fetched, converted without being believed, told as it is."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import warnings
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load as parse_safetensors

from admin_cli.__main__ import run
from admin_cli.console import CliError
from admin_cli.models import checkpoint_reader
from admin_cli.models.checkpoint import convert
from admin_cli.models.download import Wanted, fetch
from admin_cli.models.torchxrayvision_releases import LABELS
from chalicelib.inference import packs
from chalicelib.inference.predictor import Predictor
from tests.unit.inference.seeded_densenet import plain, radiograph, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "densenet121-res224-all"
CHEX = "densenet121-res224-chex"
PEER = Path(__file__).parents[2] / "unit" / "inference" / "torchxrayvision.json"


def saved(*, zipped: bool) -> bytes:
    """Return the seeded network as the release files are: a pickled torchxrayvision module."""
    network = plain()
    theirs = ModuleType("torchxrayvision.models")
    for module in network.modules():
        own = type(module)
        if own.__module__.startswith("chalicelib"):
            if not hasattr(theirs, own.__name__):
                twin = type(own.__name__, (own,), {"__module__": theirs.__name__})
                setattr(theirs, own.__name__, twin)
            module.__class__ = getattr(theirs, own.__name__)
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Classes made here have no source text to save.
        warnings.filterwarnings("ignore", message="Couldn't retrieve source code")
        patch.setitem(sys.modules, "torchxrayvision", ModuleType("torchxrayvision"))
        patch.setitem(sys.modules, theirs.__name__, theirs)
        torch.save(network, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def release() -> bytes:
    return saved(zipped=True)


class Mirror:
    """A server of one file that knows ranges and can break off."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.tag = '"one"'
        self.cut_at: list[int] = []  # each answer ends at the next of these positions
        self.ranges: list[str | None] = []
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        first = 0
        if asked and handler.headers.get("If-Range") == self.tag:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206 if first else 200)
        handler.send_header("ETag", self.tag)
        handler.send_header("Content-Length", str(len(self.body) - first))
        if first:
            last = len(self.body) - 1
            handler.send_header("Content-Range", f"bytes {first}-{last}/{len(self.body)}")
        handler.end_headers()
        handler.wfile.write(self.body[first : self.cut_at.pop(0) if self.cut_at else None])


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        mirror.url = f"http://127.0.0.1:{server.server_port}/release.pt"
        yield mirror
        server.shutdown()
        thread.join()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror(os.urandom(300_000))) as running:
        yield running


def quiet(_have: int, _total: int | None) -> None:
    pass


# --- the download ------------------------------------------------------------------------


def test_a_broken_download_goes_on_where_it_stopped(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut_at = [100_000, 200_000]
    seen: list[int] = []
    digest = hashlib.sha256(mirror.body).hexdigest()
    wanted = Wanted(mirror.url, len(mirror.body), digest)
    found = fetch(wanted, tmp_path / "file", lambda have, _: seen.append(have), pause=0)
    assert found == digest
    assert (tmp_path / "file").read_bytes() == mirror.body
    assert mirror.ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert seen == sorted(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_later_run_goes_on_too(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut_at = [1000, 2000, 3000, 4000]
    with pytest.raises(CliError, match=r"stopped at 4000 bytes .* run it again"):
        fetch(Wanted(mirror.url), tmp_path / "file", quiet, pause=0)
    fetch(Wanted(mirror.url), tmp_path / "file", quiet, pause=0)
    assert mirror.ranges[-1] == "bytes=4000-"
    assert (tmp_path / "file").read_bytes() == mirror.body


def test_a_file_that_changed_meanwhile_is_fetched_anew(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut_at = [1000] * 4
    with pytest.raises(CliError):
        fetch(Wanted(mirror.url), tmp_path / "file", quiet, pause=0)
    mirror.body, mirror.tag, mirror.cut_at = os.urandom(5000), '"two"', []
    fetch(Wanted(mirror.url), tmp_path / "file", quiet, pause=0)
    assert (tmp_path / "file").read_bytes() == mirror.body


@pytest.mark.parametrize(
    ("length", "sha256", "reason"),
    [(None, "0" * 64, "has the SHA-256"), (300_001, None, "has 300000 bytes"), (9, None, "more")],
)
def test_another_file_is_not_kept(
    mirror: Mirror, tmp_path: Path, length: int | None, sha256: str | None, reason: str
) -> None:
    with pytest.raises(CliError, match=reason):
        fetch(Wanted(mirror.url, length, sha256), tmp_path / "file", quiet, pause=0)
    assert list(tmp_path.iterdir()) == []


def test_only_http_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="no http or https"):
        fetch(Wanted("file:///etc/hostname"), tmp_path / "file", quiet)


# --- the conversion ----------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_both_layouts_give_the_state_dict(tmp_path: Path, *, zipped: bool) -> None:
    (tmp_path / "a.pt").write_bytes(saved(zipped=zipped))
    convert(tmp_path / "a.pt", tmp_path / "a")
    found = parse_safetensors((tmp_path / "a").read_bytes())
    wanted = {k: v for k, v in state().items() if not k.endswith("num_batches_tracked")}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


class _Exec:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch {self.mark}",))


def _zip(pickled: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a/data.pkl", pickled)
    return buffer.getvalue()


def test_a_pickle_that_runs_a_command_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(_zip(pickle.dumps(_Exec(tmp_path / "mark"), protocol=2)))
    with pytest.raises(CliError, match=r"the pickle names (posix|os)\.system"):
        convert(tmp_path / "a.pt", tmp_path / "a")
    assert {path.name for path in tmp_path.iterdir()} == {"a.pt"}


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda _: b"", "damaged"),
        (lambda _: b"<html>not found</html>", "refused"),
        (lambda _: _zip(pickle.dumps({"weights": 1}, protocol=2)), "no module"),
        (lambda _: _zip(b"(" * 1000, zipfile.ZIP_DEFLATED), "compressed"),
        (lambda data: data.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_vX"), "names torch"),
    ],
)
def test_damaged_and_strange_files_are_refused(
    tmp_path: Path, release: bytes, harm: Callable[[bytes], bytes], reason: str
) -> None:
    (tmp_path / "a.pt").write_bytes(harm(release))
    with pytest.raises(CliError, match=reason):
        convert(tmp_path / "a.pt", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_reader_can_open_neither_files_nor_sockets() -> None:
    program = (
        "import runpy, socket\n"
        f"reader = runpy.run_path({checkpoint_reader.__file__!r})\n"
        "open('/dev/null').close()\n"
        "reader['_confine']()\n"
        "for attempt in (lambda: open('/dev/null'), socket.socket):\n"
        "    try: attempt()\n"
        "    except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(errno.EMFILE)] * 2


# --- the whole ---------------------------------------------------------------------------


def installed(name: str, body: bytes, models: Path, *options: str) -> tuple[int, Mirror]:
    with serving(Mirror(body)) as running:
        line = ["--output", "json", "models", "install", name, "--from", running.url]
        return run([*line, "--model-dir", str(models), *options]), running


def test_a_release_becomes_a_pack_that_answers_as_torchxrayvision_does(
    tmp_path: Path, release: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(release).hexdigest()
    status, _ = installed(NAME, release, tmp_path, "--sha256", digest)
    out = capsys.readouterr()
    assert status == 0, out.err
    assert json.loads(out.out)["source"]["sha256"] == digest

    manifest = packs.load_manifest(tmp_path / f"{NAME}-1").manifest
    assert tuple(claim.name for claim in manifest.labels) == LABELS
    assert manifest.scale == "decision"
    assert manifest.source is not None
    assert manifest.source.trust == "pinned"
    # The published figures are those of the published file, not of any that is put in its place.
    assert {claim.auroc for claim in manifest.labels} == {None}
    assert list((tmp_path / ".downloads").iterdir()) == []

    predictor = Predictor(tmp_path, threads=1)
    assert predictor.facts().ref.scale == "decision"
    peer = json.loads(PEER.read_text())["answers"]
    for image in ("landscape", "portrait"):
        prediction = predictor.predict(radiograph(image))
        answers = [finding.probability for finding in prediction.findings]
        assert answers == pytest.approx(peer[image], abs=1e-5)
        assert all(finding.threshold == 0.5 for finding in prediction.findings)
    assert (prediction.heatmaps[0].width, prediction.heatmaps[0].height) == (7, 7)


def test_trust_on_first_use_is_said_and_untrained_outputs_are_left_out(
    tmp_path: Path, release: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    status, running = installed(CHEX, release, tmp_path)
    out = capsys.readouterr()
    assert status == 0, out.err
    document: dict[str, Any] = json.loads(out.out)
    assert document["source"]["trust"] == "first-use"
    assert document["source"]["url"] == running.url
    manifest = packs.load_manifest(tmp_path / f"{CHEX}-1").manifest
    assert "Hernia" in manifest.untrained
    assert "Hernia" not in document["labels"]
    assert len(document["labels"]) + len(manifest.untrained) == len(LABELS)


def test_a_file_that_is_not_the_one_on_record_is_refused(
    tmp_path: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["models", "install", NAME, "--from", mirror.url, "--model-dir", str(tmp_path)]
    assert run(line) == 1
    assert "has the SHA-256" in capsys.readouterr().err
    assert packs.list_packs(tmp_path) == ()
