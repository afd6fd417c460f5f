"""A pack comes onto the mount whole, proven and under its own name, or not at all."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from admin_cli.deploying.mount_models import SHIPPED, needed
from admin_cli.deploying.mount_runtime import Standing, standing
from admin_cli.runtime.parcel import Parcel, wrap
from admin_cli.runtime.record import RuntimeRecord
from chalicelib.errors import ModelUnavailable
from chalicelib.inference.packs import active_pack, list_packs, verify_pack
from chalicelib.inference.shelf import PackFolder, PackShelf
from chalicelib.runtime.manifest import TreeRefused
from chalicelib.runtime.sync import Sync
from chalicelib.runtime.trees import Trees
from tests.fakes.runtime import EasyTrial, FolderSource

if TYPE_CHECKING:
    from pathlib import Path

PACK = "cardionet-1"


class Killed(BaseException):
    """Stands for a process that ends here: no handler of the code under test may catch it."""


class Proof:
    """Has a pack proven; notes what it saw, or refuses for the reason that it is given."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self.seen: list[str] = []

    def __call__(self, files: Path, home: Path, snapshot: Path) -> None:
        del home, snapshot
        verify_pack(files)
        self.seen.append(files.name)
        if self.reason:
            raise TreeRefused(self.reason)


class Mount:
    """A mount, and the parcel of the shipped pack in small parts."""

    def __init__(self, folder: Path, proof: Proof | None = None) -> None:
        self.models = folder / "mount"
        self.models.mkdir(exist_ok=True)
        self.parcel: Parcel = wrap(SHIPPED / PACK, folder / "parcels", part_bytes=2_000_000)
        self.source = FolderSource(folder / "parcels")
        self.proof = proof or Proof()

    def order(self, action: str, tell: Any = None, **event: Any) -> dict[str, Any]:
        sync = Sync(
            Trees(self.models / ".runtime"),
            self.source,
            EasyTrial(),
            lambda: 900.0,
            tell,
            models=PackFolder(self.models, lambda pack: self.proof(pack, pack, pack)),
            proof=self.proof,
        )
        return sync.handle({"action": action, **event})

    def install(self, tell: Any = None, **changed: str) -> dict[str, Any]:
        event = {"tree": self.parcel.tree, "pack": PACK, "sha256": self.parcel.pack.ref.sha256}
        return self.order("install_model", tell, **(event | changed))

    def visible(self) -> list[str]:
        return sorted(one.name for one in self.models.iterdir() if not one.name.startswith("."))


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path)


def test_a_pack_is_proven_before_it_is_seen_and_answers_when_it_is_told_to(mount: Mount) -> None:
    assert mount.order("list_models") == {
        "state": "done",
        "packs": [],
        "active": None,
        "previous": None,
        "chosen": False,
    }
    answer = mount.install()
    assert (answer["state"], answer["active"], answer["chosen"]) == ("done", PACK, False)
    assert answer["new"] is True
    assert mount.proof.seen == [PACK]
    assert verify_pack(mount.models / PACK).ref == mount.parcel.pack.ref
    chosen = mount.order("activate_model", pack=PACK, if_none=True)
    assert (chosen["active"], chosen["chosen"]) == (PACK, True)
    assert mount.proof.seen == [PACK, PACK]


def test_a_second_run_fetches_nothing(mount: Mount) -> None:
    mount.install()
    mount.source.asked.clear()
    again = mount.install()
    assert (again["state"], again["new"]) == ("done", False)
    assert mount.source.asked == []
    assert wrap(SHIPPED / PACK, mount.source.folder).tree != "", "the same pack, the same parcel"


def test_a_kill_at_any_step_is_taken_up(mount: Mount) -> None:
    """Runs are killed before their first step, before their second, and so on."""
    for steps in range(100):
        left = [steps]

        def tell(_step: object, left: list[int] = left) -> None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1

        try:
            answer = mount.install(tell)
        except Killed:
            assert mount.visible() == [], "nobody sees half a pack"
            continue
        assert answer["state"] == "done"
        break
    assert steps > 2
    assert mount.visible() == [PACK]
    assert not list(mount.models.glob(".incoming-*"))


def test_a_pack_that_fails_its_proof_is_never_seen(tmp_path: Path) -> None:
    mount = Mount(tmp_path, Proof("golden input: Cardiomegaly is 0.1, not 0.9"))
    answer = mount.install()
    assert (answer["state"], answer["detail"][:6]) == ("refused", "golden")
    assert mount.visible() == []
    assert not list(mount.models.glob(".incoming-*"))


def test_a_damaged_pack_is_replaced_and_another_one_is_not(mount: Mount) -> None:
    mount.install()
    (mount.models / PACK / "gate.json").write_bytes(b"{}")
    assert "gate.json is not the file" in mount.order("verify_model", pack=PACK)["error"]
    repaired = mount.install()
    assert (repaired["state"], repaired["new"]) == ("done", True)
    assert verify_pack(mount.models / PACK).ref == mount.parcel.pack.ref
    manifest = mount.models / PACK / "manifest.json"
    document = json.loads(manifest.read_bytes())
    manifest.write_text(json.dumps(document | {"licence": "another"}), encoding="utf-8")
    answer = mount.install()
    assert (answer["state"], answer["detail"][:12]) == ("refused", "another pack")


def with_another(mount: Mount) -> Path:
    """Install the shipped pack; return another one that lies beside it, cardionet-0."""
    mount.install()
    other = mount.models / "cardionet-0"
    shutil.copytree(mount.models / PACK, other)
    document = json.loads((other / "manifest.json").read_bytes()) | {"version": "0"}
    (other / "manifest.json").write_text(json.dumps(document), encoding="utf-8")
    return other


def test_a_model_that_answers_goes_on_answering(mount: Mount) -> None:
    other = with_another(mount)
    mount.order("activate_model", pack="cardionet-0")
    answer = mount.order("activate_model", pack=PACK, if_none=True)
    assert answer["active"] == "cardionet-0"
    assert mount.order("activate_model", pack=PACK)["active"] == PACK
    back = mount.order("rollback_model", pack="cardionet-0")
    assert (back["active"], back["previous"]) == ("cardionet-0", PACK)
    # A choice that has gone bad is still a choice.
    shutil.rmtree(other)
    assert mount.order("activate_model", pack=PACK, if_none=True)["active"] is None


def test_a_rollback_given_twice_goes_back_once(mount: Mount) -> None:
    with_another(mount)
    for pack in ("cardionet-0", PACK):
        mount.order("activate_model", pack=pack)
    for _ in range(2):
        answer = mount.order("rollback_model", pack="cardionet-0")
        assert (answer["active"], answer["previous"]) == ("cardionet-0", PACK)


def test_a_rollback_to_what_is_not_the_model_before_is_refused(mount: Mount) -> None:
    with_another(mount)
    for pack in ("cardionet-0", PACK):
        mount.order("activate_model", pack=pack)
    shutil.copytree(mount.models / PACK, mount.models / "cardionet-9")
    manifest = mount.models / "cardionet-9" / "manifest.json"
    document = json.loads(manifest.read_bytes()) | {"version": "9"}
    manifest.write_text(json.dumps(document), encoding="utf-8")
    answer = mount.order("rollback_model", pack="cardionet-9")
    assert (answer["state"], "somebody switched" in answer["detail"]) == ("refused", True)
    assert mount.order("rollback_model")["state"] == "refused", "which one has to be said"
    assert mount.order("list_models")["active"] == PACK


def test_a_pack_is_verified_with_its_golden_answer(mount: Mount) -> None:
    mount.install()
    assert mount.order("verify_model", pack=PACK) == {"state": "done", "error": None}
    assert mount.proof.seen == [PACK, PACK]
    mount.proof.reason = "golden input: Cardiomegaly is 0.1, not 0.9"
    assert mount.order("verify_model", pack=PACK)["error"] == mount.proof.reason
    assert "not installed" in mount.order("verify_model", pack="cardionet-9")["error"]


def test_one_pack_alone_keeps_answering_when_a_second_comes(mount: Mount) -> None:
    shutil.copytree(SHIPPED / PACK, mount.models / "cardionet-0")
    manifest = mount.models / "cardionet-0" / "manifest.json"
    document = json.loads(manifest.read_bytes()) | {"version": "0"}
    manifest.write_text(json.dumps(document), encoding="utf-8")
    mount.install()
    assert active_pack(mount.models).path.name == "cardionet-0"


@pytest.mark.parametrize("pack", ["", "..", "../x", "a/b", ".runtime", "a\n", "x" * 101])
def test_a_name_that_leads_elsewhere_is_refused(mount: Mount, pack: str) -> None:
    assert mount.install(pack=pack)["state"] == "refused"
    assert mount.order("activate_model", pack=pack)["state"] == "refused"
    assert mount.order("rollback_model", pack=pack)["state"] == "refused"
    assert mount.order("verify_model", pack=pack)["error"]
    with pytest.raises(ModelUnavailable):
        PackShelf(mount.models, PACK, "").incoming(f"../{pack}")


def test_a_parcel_of_another_pack_is_refused(mount: Mount) -> None:
    assert mount.install(pack="othernet-1")["state"] == "refused"
    assert mount.install(sha256="0" * 64)["state"] == "refused"
    assert mount.visible() == []


def test_what_a_deploy_brings_is_what_is_missing() -> None:
    shipped = list_packs(SHIPPED)
    ours = {one.path.name: one for one in shipped}[PACK]
    there = {"folder": PACK, "sha256": ours.ref.sha256}
    nothing = needed(shipped, {"packs": [], "active": None, "chosen": False})
    assert ours in nothing.packs
    assert nothing.first is not None
    chosen = needed(shipped, {"packs": [there], "active": PACK, "chosen": True})
    assert (ours in chosen.packs, chosen.first) == (False, None)
    other = needed(
        (ours,), {"packs": [{"folder": PACK, "sha256": "0"}], "active": PACK, "chosen": False}
    )
    assert (other.packs, other.others, other.first) == ((), (PACK,), None)
    broken = {"packs": [{"folder": PACK, "error": "damaged"}], "active": None, "chosen": False}
    assert needed((ours,), broken).packs == (ours,)
    theirs = {"packs": [{"folder": "own-1", "sha256": "1"}], "active": "own-1", "chosen": False}
    assert needed((ours,), theirs).first is None


NEW, OLD, OWN = "a" * 64, "b" * 64, "c" * 64


def facts(active: str | None, *trees: str) -> dict[str, Any]:
    return {"active": active, "trees": [{"tree": one} for one in trees]}


@pytest.mark.parametrize(
    ("record", "found", "known", "expected"),
    [
        (None, facts(None), None, Standing.WANTED),
        # Killed between the pointer and the record, or before the pointer.
        (RuntimeRecord("i", NEW, OLD, done=False), facts(NEW, NEW, OLD), None, Standing.WANTED),
        (RuntimeRecord("i", NEW, OLD, done=False), facts(OLD, OLD), None, Standing.WANTED),
        (RuntimeRecord("i", NEW, OLD, done=True), facts(NEW, NEW), None, Standing.CURRENT),
        # Rolled back by hand: what serves was an operator's choice.
        (RuntimeRecord("i", NEW, OLD, done=True), facts(OLD, NEW, OLD), None, Standing.CURRENT),
        (RuntimeRecord("j", NEW, OLD, done=True), facts(OLD, NEW, OLD), None, Standing.BY_HAND),
        (RuntimeRecord("j", NEW, OLD, done=True), facts(NEW, NEW), None, Standing.WANTED),
        (None, facts(OWN, OWN), None, Standing.BY_HAND),
        (None, facts(OWN, OWN), OWN, Standing.WANTED),
        (RuntimeRecord("i", NEW, OLD, done=True), facts(None), None, Standing.WANTED),
    ],
)
def test_what_an_operator_let_serve_goes_on_serving(
    record: RuntimeRecord | None, found: dict[str, Any], known: str | None, expected: Standing
) -> None:
    assert standing(record, found, "i", known) is expected
