"""`deploy --emit`: one CloudFormation template of a whole stage, and the code that goes with it.

For those who deploy with tools of their own. The template holds the foundation, the functions and
API as `chalice package` writes them, and what Chalice leaves out: mounts, event sources, gateway
responses, log groups, usage plans, warm-up. Names that a deploy would look up in the foundation
become references.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admin_cli.deploying.chalice_runner import run_chalice
from admin_cli.deploying.emit_account import PARAMETER, put_account
from admin_cli.deploying.emit_conditions import settle
from admin_cli.deploying.emit_plans import put_plans
from admin_cli.deploying.emit_protection import PARAMETER as PROTECTED
from admin_cli.deploying.emit_protection import put_protection
from admin_cli.deploying.emit_references import PLACEHOLDERS, placeholder_foundation, refer
from admin_cli.deploying.emit_resources import complete
from admin_cli.deploying.emit_warmth import put_warmth
from admin_cli.deploying.staging import MOUNT, stage_project
from admin_cli.foundation import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from admin_cli.deploying.stage_settings import StageSettings
    from chalicelib.domain import Client

# Chalice wants to know a Region even where it asks AWS nothing; the template is good for any.
_ANYWHERE = {"AWS_DEFAULT_REGION": "eu-central-1"}
NOTES = """\
# Radgate, stage {stage}

`template.json` is the whole stage, `{zip}` its code.

1. Put `{zip}` into a bucket of the Region, under any name.
2. Deploy `template.json` (from a bucket: it is too large to be sent along) as the stack
   `radgate-{stage}`, with the capabilities CAPABILITY_NAMED_IAM and CAPABILITY_AUTO_EXPAND and the
   parameters CodeBucket and CodeKey. The other parameters have the values of stages.toml.
   {protection}
   {log_role}
3. `radgate --stage {stage} deploy --adopt` writes down where the API is, brings packages and models
   onto EFS and asks the API for an answer. From then on `radgate clients`, `keys`, `plans` and
   `doctor` work on the stage. Run it after every change of the stack.

What is not in the template:

- API keys: they are shown once and stored as hashes, so no template can hold them; `radgate keys`
  issues them. Usage plans are in it, {plans} of them: one for each client of the stage's table that
  has none by `radgate clients` already; `deploy --adopt` puts the clients' keys into them.
- A domain's DNS record, and the records that prove that a mail domain is yours.

A stage is deployed either with this template or with `radgate deploy`, never with both: they name
functions alike. `radgate deploy` refuses a stage whose stack holds an API.
"""

_LOG_ROLE = """\
API Gateway writes access logs with one role for the whole account and Region. Ask whether
   there is one: `aws apigateway get-account`. Where no cloudwatchRoleArn is shown, give
   ApiLogRoleMissing=true: the stack enters a role of its own, which stays when the stack goes.
   Elsewhere give ApiLogRoleMissing=false. Give the same answer at every later update.\
"""
_PROTECTION = """\
Create the stack with Protected=false, then update it with Protected=true. Protected from the
   start, the table of a creation that fails could not be taken away, and would stand in the way of
   the next one.\
"""
_NO_PROTECTION = "The table of this stage is not protected from being deleted."
_NO_LOG_ROLE = "This stage needs no role for access logs."


def emit(  # noqa: PLR0913 - the last two have their defaults
    stage: str,
    settings: StageSettings,
    home: Path,
    folder: Path,
    *,
    clients: Sequence[Client] = (),
    packages: Path | None = None,
) -> tuple[Path, ...]:
    """Write template, code and notes for `stage` into `folder`, and return the files' paths.

    `clients`: who gets a usage plan by it. `packages`: as `stage_project` takes them. Calls no AWS.
    Raises CliError when the project cannot be packaged.
    """
    foundation = placeholder_foundation(settings)
    build = home / "build" / f"{stage}-emit"
    model_dir = str(home / "models") if stage == "local" else MOUNT
    stage_project(stage, foundation, build, model_dir, packages)
    with tempfile.TemporaryDirectory(prefix="radgate-") as temporary:
        command = ["package", "--stage", stage, temporary]
        log = home / "logs" / f"package-{stage}.log"
        run_chalice(command, build, log, lambda _text: None, _ANYWHERE)
        packaged = json.loads((Path(temporary) / "sam.json").read_text(encoding="utf-8"))
        code = (Path(temporary) / "deployment.zip").read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
        name = f"radgate-{hashlib.sha256(code).hexdigest()[:16]}.zip"
        shutil.copyfile(Path(temporary) / "deployment.zip", folder / name)
    complete(packaged, stage, settings, foundation)
    put_plans(packaged["Resources"], stage, clients)
    put_warmth(packaged["Resources"], stage, settings, code)
    whole = settle(merge(base_template(), packaged, stage, settings))
    template = put_protection(put_account(whole))
    written = folder / "template.json"
    # Without spaces: a template may have a million bytes, and 51,200 when it is sent along.
    written.write_text(json.dumps(template, separators=(",", ":")), encoding="utf-8")
    notes = folder / "README.md"
    log_role = _LOG_ROLE if PARAMETER in template["Parameters"] else _NO_LOG_ROLE
    protection = _PROTECTION if PROTECTED in template["Parameters"] else _NO_PROTECTION
    text = NOTES.format(
        stage=stage, zip=name, plans=len(clients), log_role=log_role, protection=protection
    )
    notes.write_text(text, encoding="utf-8")
    return written, folder / name, notes


def base_template() -> dict[str, Any]:
    """The foundation, its short forms (`!Ref`) written out."""
    from chalice.package import YAMLTemplateSerializer  # noqa: PLC0415 - takes half a second

    loaded = YAMLTemplateSerializer().load_template(TEMPLATE.read_text(encoding="utf-8"))
    return dict(loaded)


def merge(
    base: dict[str, Any], packaged: dict[str, Any], stage: str, settings: StageSettings
) -> dict[str, Any]:
    """Return one template of both, its parameters set to the stage's settings."""
    values = settings.parameters(stage)
    parameters = {
        name: {**fields, "Default": values.get(name, fields.get("Default", ""))}
        for name, fields in base["Parameters"].items()
    }
    for name, what in (("CodeBucket", "bucket"), ("CodeKey", "object")):
        parameters[name] = {"Type": "String", "Description": f"The {what} that holds the code."}
    names = PLACEHOLDERS | {name: output["Value"] for name, output in base["Outputs"].items()}
    own = refer({"Resources": packaged["Resources"], "Outputs": packaged["Outputs"]}, names)
    return {
        **base,
        "Description": f"Radgate, stage {stage}: foundation, functions and API.",
        "Transform": "AWS::Serverless-2016-10-31",
        "Parameters": parameters,
        "Resources": {**base["Resources"], **own["Resources"]},
        "Outputs": {**base["Outputs"], **own["Outputs"]},
    }
