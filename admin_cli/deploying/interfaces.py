"""The network interfaces that Lambda has made for functions, waited for until they are gone.

Lambda removes them with the function's own role, up to three quarters of an hour after the last
function that used them. Where the role goes before, they stay for ever, and with them the network.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from admin_cli.console import CliError

if TYPE_CHECKING:
    from collections.abc import Callable

WAIT_SECONDS = 3600
_POLL_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Interfaces:
    """Those in the functions' security group, which holds no others; "" where there is no network.

    `ec2`: boto's client. `pause`: waits for some seconds.
    """

    ec2: Any
    security_group: str
    pause: Callable[[float], None] = time.sleep

    def count(self) -> int:
        """Return how many there are. Raises botocore's errors."""
        if not self.security_group:
            return 0
        pages = self.ec2.get_paginator("describe_network_interfaces").paginate(
            Filters=[{"Name": "group-id", "Values": [self.security_group]}]
        )
        return sum(len(page["NetworkInterfaces"]) for page in pages)

    def await_removal(self, tell: Callable[[str], None]) -> None:
        """Wait until none is left. Raises CliError after an hour, and botocore's errors."""
        told = 0
        for _ in range(WAIT_SECONDS // _POLL_SECONDS):
            left = self.count()
            if not left:
                return
            if left != told:
                told = left
                tell(
                    f"waiting for Lambda to remove {left} network interfaces, which may take 45 "
                    "minutes; the functions' roles stay until then"
                )
            self.pause(_POLL_SECONDS)
        raise CliError(
            f"Lambda has not removed its network interfaces in {self.security_group} after an "
            "hour; the functions' roles are kept for it: run it again later"
        )
