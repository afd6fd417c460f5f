"""Packs on the mount of a deployed stage, which the function `efs_sync` alone can write to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError
from admin_cli.deploying.mount_models import install_model
from admin_cli.emulator import local_home
from admin_cli.models.views import title
from chalicelib.inference.shelf import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from admin_cli.runtime.build import Bar
    from admin_cli.runtime.remote import Mount


class OnMount:
    """Satisfies `place.Place` for a mount. `bucket`: through which packs travel there."""

    model_dir = None

    def __init__(
        self, mount: Mount, stage: str, bucket: str, tell: Callable[[str], None], bar: Bar
    ) -> None:
        self._mount = mount
        self._stage = stage
        self._bucket = bucket
        self._tell = tell
        self._bar = bar
        self.workshop = local_home()

    def __str__(self) -> str:
        """Where it is."""
        return f"the mount of stage {self._stage}"

    def facts(self) -> dict[str, Any]:
        """Return what is installed and what answers."""
        facts = self._mount.order("list_models")
        if "previous" not in facts:
            raise CliError(
                f"the functions of stage {self._stage} are of an older release: deploy it first"
            )
        return facts

    def fault(self, pack: str) -> str:
        """Return what is amiss with a pack, nothing when it is sound."""
        self._tell(f"model {title(pack)}: its files and its golden answer")
        return self._work("verify_model", pack)["error"] or ""

    def install(self, source: Path) -> tuple[dict[str, Any], bool]:
        """Bring in the pack in folder `source`; return it, and whether it is new."""
        pack, new = install_model(
            self._mount, self._bucket, local_home(), source, self._tell, self._bar
        )
        return facts_of(pack), new

    def activate(self, pack: str) -> None:
        """Let a pack answer once it has proven itself."""
        self._work("activate_model", pack)

    def rollback(self, pack: str) -> None:
        """Let `pack`, the one before the active one, answer again."""
        self._work("rollback_model", pack)

    def _work(self, action: str, pack: str) -> dict[str, Any]:
        order: dict[str, str | bool] = {"action": action, "pack": pack}
        return self._mount.work(order, lambda text: self._tell(f"model {title(pack)}: {text}"))
