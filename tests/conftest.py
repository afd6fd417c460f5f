"""What all tests share: workers, no measuring of time, a quick moto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests import quick_aws

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling

# Property tests measure no time: a busy machine must not fail them.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


quick_aws.install()


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist: only where there are workers
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    from tests.workers import FilesTogether  # noqa: PLC0415 - so that it works without

    config.option.loadscopereorder = False
    return FilesTogether(config, log)
