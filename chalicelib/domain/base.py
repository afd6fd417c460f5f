"""What every value is made of: frozen records, ids, the names of a client and of a study."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from ulid import ULID

ClientId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,62}$")]
StudyId = Annotated[str, StringConstraints(pattern=r"^st_[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
UploadId = Annotated[str, StringConstraints(pattern=r"^up_[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
Mode = Literal["live", "test"]


def new_id(prefix: Literal["st", "key", "up", "evt"]) -> str:
    """Return a fresh ULID with its prefix, e.g. ``st_01JD…``; ids of one prefix sort by time."""
    return f"{prefix}_{ULID()}"


class Value(BaseModel):
    """A frozen record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
