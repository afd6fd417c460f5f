"""Packs exchanged while running: nothing that is wrong with the new one takes the old one away."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.errors import ModelUnavailable
from chalicelib.inference.manifest import WEIGHTS
from chalicelib.inference.packs import ACTIVE, MANIFEST, activate
from chalicelib.inference.predictor import Predictor
from tests.unit.inference.breaking import HARMS, SECRET, claim, forbidden, no_file_left, vouch
from tests.unit.inference.packmaking import GOLDEN, install, manifest_of, write_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

ROOT = Path(__file__).parents[3]
REFRESH = 30


class Running(NamedTuple):
    """A predictor that serves version 1, and the folder in which version 2 is active by now."""

    models: Path
    now: list[float]
    predictor: Predictor

    def look(self) -> str:
        """Let the time for a look come, and tell which version serves after it."""
        self.now[0] += REFRESH
        return self.serving()

    def serving(self) -> str:
        return self.predictor.facts().ref.version


@pytest.fixture(scope="module")
def began() -> Iterator[Running]:
    # Not pytest's own folder: that one is closed to the user whom some tests act as.
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        models, now = Path(home) / "models", [0.0]
        install(models, version="1")
        install(models, version="2", seed=1)
        activate(models, "alpha", "1")
        predictor = Predictor(models, refresh=REFRESH, clock=lambda: now[0])
        predictor.prove()
        activate(models, "alpha", "2")
        shutil.copytree(models, Path(home) / "whole")
        yield Running(models, now, predictor)


def mend(models: Path) -> None:
    """Put the model folder back as it was."""
    shutil.rmtree(models) if models.is_dir() else models.unlink(missing_ok=True)
    shutil.copytree(models.parent / "whole", models)


@pytest.fixture
def running(began: Running) -> Iterator[Running]:
    assert began.serving() == "1"
    yield began
    mend(began.models)
    if began.serving() == "2":
        activate(began.models, "alpha", "1")
        assert began.look() == "1"
        activate(began.models, "alpha", "2")


@pytest.mark.parametrize("name", HARMS)
def test_whatever_is_wrong_the_old_pack_serves_on(
    running: Running, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    HARMS[name](running.models, running.models / "alpha-2")

    assert running.look() == "1"
    [line] = [record.getMessage() for record in caplog.records]
    assert line.endswith("alpha@1 serves on")
    assert "is refused (ModelUnavailable" in line
    assert all(word not in line for word in SECRET.splitlines())
    assert "\n" not in line


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (".", "PermissionError EACCES"),
        (ACTIVE, "PermissionError EACCES"),
        ("alpha-2", "PermissionError EACCES"),
        (f"alpha-2/{MANIFEST}", "PermissionError EACCES"),
        (f"alpha-2/{WEIGHTS}", "PermissionError EACCES"),
        (None, "OSError EMFILE"),
    ],
)
def test_a_file_system_that_fails_for_a_moment_takes_nothing_away(
    running: Running, place: str | None, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = no_file_left() if place is None else forbidden(running.models / place)

    with trouble:
        assert running.look() == "1"

    assert f"(ModelUnavailable from {kind}), alpha@1 serves on" in caplog.text


@pytest.mark.parametrize("name", ["weights truncated", "models gone"])
def test_a_failed_look_is_not_repeated_before_the_next_one_is_due(
    running: Running, name: str
) -> None:
    HARMS[name](running.models, running.models / "alpha-2")
    assert running.look() == "1"

    mend(running.models)

    assert running.serving() == "1"  # a request soon after reads nothing anew
    assert running.look() == "2"


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from([ACTIVE, MANIFEST, WEIGHTS, GOLDEN]),
    edits=st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=4)), min_size=1, max_size=3),
    vouched=st.booleans(),
)
def test_no_damage_takes_the_answer_away(
    running: Running, name: str, edits: list[tuple[int, bytes]], *, vouched: bool
) -> None:
    pack = running.models / "alpha-2"
    path = running.models / name if name == ACTIVE else pack / name
    body = bytearray(path.read_bytes())
    for place, new in edits:
        at = place % len(body)
        body[at : at + len(new)] = new
    path.write_bytes(bytes(body))
    if vouched and name in {WEIGHTS, GOLDEN}:
        vouch(pack, **{name.replace(".", "__"): bytes(body)})

    assert running.look() in {"1", "2"}
    running.predictor.prove()

    mend(running.models)


def test_another_active_pack_takes_over_after_the_refresh(running: Running) -> None:
    running.now[0] += REFRESH - 1
    assert running.serving() == "1"
    running.now[0] += 1
    assert running.serving() == "2"
    assert [facts.ref.version for facts in running.predictor.installed()] == ["1", "2"]


def test_a_running_function_follows_within_a_minute(tmp_path: Path) -> None:
    now = [0.0]
    install(tmp_path, version="1")
    install(tmp_path, version="2", seed=1)
    activate(tmp_path, "alpha", "1")
    predictor = Predictor(tmp_path, clock=lambda: now[0])
    assert predictor.facts().ref.version == "1"
    activate(tmp_path, "alpha", "2")
    now[0] = 60
    assert predictor.facts().ref.version == "2"


def test_a_pack_with_another_answer_does_not_take_over(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(running.models / "alpha-2")
    manifest = manifest_of("alpha", "2", 1)
    manifest["golden"]["probabilities"] = [0.999]
    write_pack(running.models, manifest, seed=1)
    activate(running.models, "alpha", "2")  # hashes agree; only the answer gives it away

    with caplog.at_level(logging.WARNING):
        assert running.look() == "1"

    assert "alpha@2 is refused (ModelUnavailable), alpha@1 serves on" in caplog.text


# --- the first load -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "manifest with a secret",
        "choice a pipe",
        "models gone",
        "whole numbers as weights",
        "a gate of nothing",
    ],
)
def test_without_an_old_pack_it_is_503_and_the_next_call_tries_anew(
    tmp_path: Path, name: str
) -> None:
    models = tmp_path / "models"
    install(models, version="1")
    install(models, version="2", seed=1)
    activate(models, "alpha", "2")
    shutil.copytree(models, tmp_path / "whole")
    HARMS[name](models, models / "alpha-2")
    predictor = Predictor(models)

    for _ in range(2):
        with pytest.raises(ModelUnavailable) as caught:
            predictor.facts()
        assert all(word not in caught.value.detail for word in SECRET.splitlines())
    mend(models)
    assert predictor.facts().ref.version == "2"


def _closed(path: Path) -> AbstractContextManager[None]:
    return forbidden(path / "alpha-1")


@pytest.mark.parametrize("trouble", [_closed, lambda _: no_file_left()])
def test_a_file_system_that_fails_at_the_first_load_is_503(
    trouble: Callable[[Path], AbstractContextManager[None]],
) -> None:
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        install(Path(home))
        predictor = Predictor(Path(home))

        for once in (trouble(Path(home)), trouble(Path(home))):
            with once, pytest.raises(ModelUnavailable):
                predictor.facts()
        assert predictor.warm(60)


@pytest.mark.parametrize("error", ["OSError(5, 'x')", "ImportError('x')", "SystemError('x')"])
def test_a_torch_that_cannot_be_imported_is_503(tmp_path: Path, error: str) -> None:
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    (tmp_path / "broken" / "torch" / "__init__.py").write_text(f"raise {error}")
    install(tmp_path / "models")
    program = (
        "import sys; from pathlib import Path;"
        "from chalicelib.errors import ModelUnavailable;"
        "from chalicelib.inference.predictor import Predictor;"
        "sys.path.insert(0, sys.argv[1]);"
        "predictor = Predictor(Path(sys.argv[2]))\n"
        "for call in (predictor.facts, lambda: predictor.warm(60)):\n"
        "    try: call()\n"
        "    except ModelUnavailable as error: print(error.detail)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "broken"), str(tmp_path / "models")],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["the active model cannot be loaded"] * 2


def test_a_manifest_cannot_speak_through_its_reason(tmp_path: Path) -> None:
    claim(install(tmp_path), SECRET, "x")
    with pytest.raises(ModelUnavailable, match=r"^pack alpha-1: manifest: \?: "):
        activate(tmp_path, "alpha", "1")
    assert json.loads((tmp_path / "alpha-1" / MANIFEST).read_text())[SECRET] == "x"
