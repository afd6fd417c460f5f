"""The command line on a stage whose settings a test writes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.conftest import Radgate

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

# With a file system, kept warm.
WARM = """
[local]
network = "new"
log_days = 7
provisioned_concurrency = 1
warm_every_minutes = 5
"""


class StagedRadgate(Radgate):
    """The command line with the settings that lie beside its home."""

    @classmethod
    def beside(cls, folder: Path, settings: str) -> Self:
        """Return one whose home will be in `folder`, with these settings (TOML)."""
        made = cls(folder / "home")
        made.stages.write_text(settings, encoding="utf-8")
        return made

    @property
    def stages(self) -> Path:
        """The file with the settings."""
        return self.home.parent / "stages.toml"

    def environment(self) -> dict[str, str]:
        return super().environment() | {"RADGATE_STAGES": str(self.stages)}
