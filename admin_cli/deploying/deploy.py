"""`radgate deploy`: everything of a stage, from nothing or from wherever it stands."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from admin_cli import emulator
from admin_cli.console import CliError, Console, console_of
from admin_cli.deploying.adopting import adopt, take_plans
from admin_cli.deploying.deploy_plan import deploy_changes
from admin_cli.deploying.deployment import deploy, keep_warm
from admin_cli.deploying.emit import emit
from admin_cli.deploying.emit_plans import clients_to_plan
from admin_cli.deploying.fresh_processes import begin_anew, loaders_of, serving
from admin_cli.deploying.live_changes import check_changes
from admin_cli.deploying.mount_models import bring_models
from admin_cli.deploying.mount_runtime import bring_runtime
from admin_cli.deploying.noting import note, noted_foundation
from admin_cli.deploying.smoke import smoke_test
from admin_cli.deploying.stage_settings import stage_settings
from admin_cli.deploying.staging import check_deployable
from admin_cli.deploying.target import Target
from admin_cli.runtime.remote import Mount
from admin_cli.stage import open_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from admin_cli.deploying.foundation_plan import Change
    from admin_cli.foundation import Foundation
    from admin_cli.runtime.build import Bar


def deploy_command(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Deploy code and API though they are unchanged.")
    ] = False,
    skip_smoke_test: Annotated[
        bool, typer.Option("--skip-smoke-test", help="Do not ask the API for an answer at the end.")
    ] = False,
    emit_to: Annotated[
        Path | None,
        typer.Option(
            "--emit",
            metavar="DIR",
            help="Write a CloudFormation template and the code to DIR instead; changes nothing.",
        ),
    ] = None,
    adopt_stack: Annotated[
        bool,
        typer.Option("--adopt", help="Take over a stage whose stack an emitted template made."),
    ] = False,
) -> None:
    """Deploy a stage: foundation, functions, API, packages and models; then ask for an answer.

    Run it again after a failure or a kill: it goes on where something is missing.

    Example: radgate --stage prod deploy --dry-run
    """
    console = console_of(context)
    settings = stage_settings(console.stage)
    home = emulator.local_home()
    if emit_to is not None:
        clients = clients_to_plan(console.stage, console.info)
        files = emit(console.stage, settings, home, emit_to, clients=clients)
        console.answer({"files": files}, "\n".join(str(path) for path in files))
        return
    if console.stage == "local":
        emulator.use_local_endpoint()
    with alone(home, console.stage):
        if dry_run:
            show_changes(console, deploy_changes(console.stage, home), "nothing would change")
            return
        wished = {"adopt": adopt_stack, "force": force}
        if adopt_stack:
            note(console.stage, "stage.deploy", wished)
            console.info("1/4 and 2/4 are the stack's")
            made, foundation = adopt(console.stage, settings, home, console.info)
            take_plans(open_stage(console.stage), console.info)
        else:
            check_deployable(console.stage)
            check_changes(console.stage, settings)
            console.info("1/4 foundation")
            foundation = noted_foundation(console.stage, settings, wished, console.info)
            console.info("2/4 functions and API")
            made = deploy(console.stage, foundation, home, console.info, force=force)
        result = {"api_url": made.api_url, "rest_api_id": made.rest_api_id}
        console.info("3/4 packages and models")
        now = furnish(console.stage, foundation, home, console.info, console.progress)
        target = Target(console.stage, settings, foundation, home)
        if adopt_stack:
            # The stack had them begin before the mount held anything.
            target.entrance(made).end_processes()
            begin_anew(made, target.entrance(made), now, console.info)
        else:
            loaders_of(made).begin_anew(now, console.info)
            keep_warm(target, made, console.info, anew=force)
        tested = None
        if settings.endpoint == "private":
            console.info("4/4 no smoke test: a private API answers within its networks only")
        elif skip_smoke_test:
            console.info("4/4 no smoke test, as wished")
        else:
            console.info("4/4 smoke test")
            stage = open_stage(console.stage)
            tested = smoke_test(stage, target.direct_url(made.rest_api_id), console.info)
    if console.json:
        console.print_json({**result, "smoke_test": tested and asdict(tested)})
        return
    console.facts(result.items())
    if tested is not None:
        console.print(f"Smoke test: {tested.label} by {tested.model} in {tested.seconds} s.")


def furnish(
    stage: str, foundation: Foundation, home: Path, tell: Callable[[str], None], bar: Bar
) -> str | None:
    """Bring onto the mount what functions need there: packages first, as they prove the models.

    Returns which packages serve, as `serving` tells it. Raises CliError and botocore's errors.
    """
    mount = Mount.of_stage(stage)
    bring_runtime(stage, foundation, mount, tell, bar)
    bring_models(mount, foundation.BucketName, home, open_stage(stage).trail, tell, bar)
    return serving(mount.order("list"))


@contextmanager
def alone(home: Path, stage: str) -> Iterator[None]:
    """Refuse a second deploy or destroy of a stage from this machine while one runs.

    Raises CliError.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / f"deploy-{stage}.lock").open("w", encoding="utf-8") as lock:
        # Chalice gets it too: killed alone, a deploy leaves it running for a while.
        os.set_inheritable(lock.fileno(), True)  # noqa: FBT003 - the standard library's
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CliError(
                f"another deploy or destroy of stage {stage} is running, or what one that was "
                "killed had begun; try again in a minute"
            ) from None
        yield


def show_changes(console: Console, changes: Sequence[Change], nothing: str) -> None:
    """Show what a run would change; `nothing`: what to say where that is nothing."""
    if console.json:
        console.print_json([asdict(change) for change in changes])
    elif changes:
        rows = ((change.step, change.action, change.what) for change in changes)
        console.table(("step", "action", "what"), rows)
    else:
        console.print(nothing)
