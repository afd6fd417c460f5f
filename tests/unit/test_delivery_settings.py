"""What the queue of deliveries, its function and the code must agree on."""

from __future__ import annotations

from importlib import import_module

import pytest
from pydantic import ValidationError

from admin_cli.deploying.stage_config import ON_EFS
from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.deploying.wiring import wires
from chalicelib.delivery.outbox import LONGEST_DELAY
from chalicelib.delivery.webhook import CONNECT_SECONDS, Network
from chalicelib.services.delivering import HOLD
from chalicelib.settings import Settings
from tests.unit.test_policies import STAGES, foundation, resolved
from tests.unit.test_queue_settings import CHALICE, function


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_ends_before_the_next_try_and_before_its_message_comes_again(stage: str) -> None:
    document, _ = import_module("cfnlint.decode").decode(str(CHALICE / "foundation.yaml"))
    hidden = document["Resources"]["DeliveryQueue"]["Properties"]["VisibilityTimeout"]
    timeout = function(stage, "deliver")["lambda_timeout"]
    assert timeout < HOLD.total_seconds()
    assert timeout < hidden


@pytest.mark.parametrize("stage", STAGES)
def test_a_whole_batch_can_be_made_in_one_run(stage: str) -> None:
    """However slow the servers are: TCP and TLS to three addresses, then the answer."""
    _, _, wire = wires(foundation(stage), stage_settings(stage))
    longest = 3 * 2 * CONNECT_SECONDS + Network().answer_seconds
    assert wire.batch * (longest + 10) < function(stage, "deliver")["lambda_timeout"]


def test_a_message_that_waits_does_not_ring_the_alarm() -> None:
    document, _ = import_module("cfnlint.decode").decode(str(CHALICE / "foundation.yaml"))
    alarm = document["Resources"]["DeliveryAgeAlarm"]["Properties"]
    assert alarm["Threshold"] > LONGEST_DELAY


def test_webhooks_are_called_from_outside_of_the_network() -> None:
    assert "deliver" not in ON_EFS


@pytest.mark.parametrize("stage", STAGES)
def test_only_the_local_stage_may_call_this_machine(stage: str) -> None:
    config = resolved(stage, "config.json")
    variables = config["environment_variables"] | config["stages"][stage]["environment_variables"]
    assert Settings.model_validate(variables).webhook_loopback == (stage == "local")
    if stage != "local":
        with pytest.raises(ValidationError, match="for stage local alone"):
            Settings.model_validate(variables | {"RADGATE_WEBHOOK_LOOPBACK": "1"})
