"""Processes that began with another tree of packages end; those with the right one stay."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from admin_cli.console import CliError
from admin_cli.deploying.api_routes import ALIAS
from admin_cli.deploying.deployment_record import Deployment
from admin_cli.deploying.fresh_processes import VARIABLE, Loaders, begin_anew, keep_noted, serving
from tests import warm_stage
from tests.warm_stage import Stage, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE, TWO = f"{'1' * 64}:1", f"{'2' * 64}:2"
CODE = "import os\ndef app(event, context):\n    print('asked')\n    return os.getpid()\n"


class Killed(BaseException):
    """What ends a run in the middle; nothing of ours may catch it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with warm_stage.place(tmp_path_factory.mktemp("fresh")) as found:
        yield found


@pytest.fixture
def stage(place: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A function that tells its process, with something in its environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", place["endpoint_url"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", place["region_name"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    made = warm_stage.make_stage(place)
    made.functions.update_function_code(FunctionName=made.function, ZipFile=zipped(CODE))
    made.functions.update_function_configuration(
        FunctionName=made.function, Environment={"Variables": {"RADGATE_TABLE": "t"}}
    )
    return made


def loaders(*stages: Stage) -> Loaders:
    names = ("api_handler", "worker")
    functions = {name: one.function for name, one in zip(names, stages, strict=False)}
    return Loaders(stages[0].functions, functions, pause=lambda _: None)


def variables(stage: Stage) -> dict[str, str]:
    found = stage.functions.get_function_configuration(FunctionName=stage.function)
    return dict(found["Environment"]["Variables"])


def process(stage: Stage) -> int:
    answer = stage.functions.invoke(FunctionName=stage.function, Payload=b"{}")
    return int(answer["Payload"].read())


def silent(_text: str) -> None:
    return


def test_a_process_with_another_tree_ends_and_one_with_the_same_stays(stage: Stage) -> None:
    before, told = process(stage), list[str]()
    assert process(stage) == before
    loaders(stage).begin_anew(ONE, told.append)
    after = process(stage)
    assert after != before
    assert variables(stage) == {"RADGATE_TABLE": "t", VARIABLE: ONE}
    loaders(stage).begin_anew(ONE, pytest.fail)
    assert (process(stage), len(told)) == (after, 1)
    loaders(stage).begin_anew(TWO, told.append)
    assert process(stage) != after


def test_there_and_back_ends_what_began_in_between(stage: Stage) -> None:
    """A run that was killed after its switch has noted nothing; the next leads back."""
    loaders(stage).begin_anew(serving({"active": "1" * 64, "switches": 1}), silent)
    between = process(stage)
    back = serving({"active": "1" * 64, "switches": 3})
    assert list(loaders(stage).outdated(back)) == [stage.function]
    loaders(stage).begin_anew(back, silent)
    assert process(stage) != between


def test_a_mount_that_does_not_count_yet_is_understood() -> None:
    assert serving({"active": None}) is None
    assert serving({"active": "1" * 64}) == f"{'1' * 64}:0"


def test_where_no_tree_serves_nothing_is_touched(stage: Stage) -> None:
    loaders(stage).begin_anew(None, pytest.fail)
    assert VARIABLE not in variables(stage)


def test_only_functions_that_load_a_tree_are_touched(stage: Stage) -> None:
    others = dict.fromkeys(("efs_sync", "deliver", "sweep"), stage.function)
    gone = {"worker": "radgate-nobody"}
    assert list(Loaders(stage.functions, others | gone).outdated(ONE)) == []


def test_what_somebody_else_has_changed_in_between_is_not_written_over(stage: Stage) -> None:
    other = boto3.client("lambda")
    mine = boto3.client("lambda")
    times: list[str] = []

    def interfere(**_: Any) -> None:
        times.append("update")
        if len(times) == 1:
            other.update_function_configuration(
                FunctionName=stage.function, Environment={"Variables": {"RADGATE_TABLE": "new"}}
            )

    mine.meta.events.register("before-call.lambda.UpdateFunctionConfiguration", interfere)
    functions = {"api_handler": stage.function}
    Loaders(mine, functions, pause=lambda _: None).begin_anew(ONE, silent)
    assert variables(stage) == {"RADGATE_TABLE": "new", VARIABLE: ONE}


def test_one_who_always_interferes_is_told(stage: Stage) -> None:
    other, mine = boto3.client("lambda"), boto3.client("lambda")

    def interfere(**_: Any) -> None:
        other.update_function_configuration(FunctionName=stage.function, Description="mine")

    mine.meta.events.register("before-call.lambda.UpdateFunctionConfiguration", interfere)
    functions = {"api_handler": stage.function}
    with pytest.raises(CliError, match="is being changed by somebody else"):
        Loaders(mine, functions, pause=lambda _: None).begin_anew(ONE, silent)


def killing(client: Any, at: int, *, after: bool) -> list[str]:
    """Cut the run off at its change number `at`; return the changes that it began."""
    changes: list[str] = []

    def before(model: Any, **_: Any) -> None:
        if not model.name.startswith(("Get", "List")):
            changes.append(model.name)
            if len(changes) == at and not after:
                raise Killed

    def done(model: Any, **_: Any) -> None:
        if len(changes) == at and after and not model.name.startswith(("Get", "List")):
            raise Killed

    client.meta.events.register("before-call.lambda", before)
    client.meta.events.register("after-call.lambda", done)
    return changes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_killed_at_any_change_is_finished_by_the_next(
    place: dict[str, Any], stage: Stage, *, after: bool
) -> None:
    second = warm_stage.make_stage(place)
    both = loaders(stage, second)
    for at in (1, 2):
        tree = f"{'1' * 64}:{at + 2 * after}"
        client = boto3.client("lambda")
        killing(client, at, after=after)
        with pytest.raises(Killed):
            Loaders(client, both.functions).begin_anew(tree, silent)
        both.begin_anew(tree, silent)
        assert list(both.outdated(tree)) == []
        assert variables(stage)[VARIABLE] == variables(second)[VARIABLE] == tree


def recorded(stage: Stage, digest: str) -> Deployment:
    facts = stage.functions.get_function_configuration(FunctionName=stage.function)
    memory = {
        "resources": [
            {
                "name": "api_handler",
                "resource_type": "lambda_function",
                "lambda_arn": facts["FunctionArn"],
            }
        ]
    }
    return Deployment(
        stage.entrance.rest_api_id, "v1", "https://api.example", "", digest, "", json.dumps(memory)
    )


def live(stage: Stage) -> dict[str, str]:
    """Return the environment of what the alias names."""
    found = stage.functions.get_function_configuration(FunctionName=stage.function, Qualifier=ALIAS)
    return dict(found["Environment"]["Variables"])


def test_processes_that_are_kept_ready_are_of_a_new_version(stage: Stage) -> None:
    stage.entrance.apply(silent)
    made = recorded(stage, "ab")
    begin_anew(made, stage.entrance, ONE, silent)
    assert (live(stage)[VARIABLE], stage.alias()) == (ONE, "2")
    assert list(stage.entrance.differences()) == []
    begin_anew(made, stage.entrance, ONE, pytest.fail)
    assert stage.alias() == "2"


def test_a_run_killed_before_the_new_version_is_finished_by_the_next(stage: Stage) -> None:
    stage.entrance.apply(silent)
    loaders(stage).begin_anew(ONE, silent)  # as far as the first came
    begin_anew(recorded(stage, "ab"), stage.entrance, ONE, silent)
    assert live(stage)[VARIABLE] == ONE


def test_a_stacks_alias_and_versions_are_left_to_the_stack(stage: Stage) -> None:
    stage.entrance.apply(silent)
    changes = killing(stage.functions, 0, after=False)
    made = recorded(stage, "")
    begin_anew(made, stage.entrance, ONE, silent)
    assert (stage.versions(), stage.alias()) == (["1"], "1")
    assert variables(stage)[VARIABLE] == ONE
    dropped, asked = (f"{word}ProvisionedConcurrencyConfig" for word in ("Delete", "Put"))
    assert changes == [dropped, asked]
    assert list(stage.entrance.differences()) == [f"version of function {stage.function}"]
    begin_anew(made, stage.entrance, ONE, pytest.fail)
    assert changes == [dropped, asked]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2])
def test_a_stacks_processes_begin_anew_although_a_run_was_killed(
    stage: Stage, at: int, *, after: bool
) -> None:
    stage.entrance.apply(silent)
    changes = killing(stage.functions, at, after=after)
    made = recorded(stage, "")
    with pytest.raises(Killed):
        begin_anew(made, stage.entrance, ONE, silent)
    begin_anew(made, stage.entrance, ONE, silent)
    assert variables(stage)[VARIABLE] == ONE
    assert changes.index("DeleteProvisionedConcurrencyConfig") == 0
    assert changes[-1] == "PutProvisionedConcurrencyConfig"
    found = stage.functions.get_provisioned_concurrency_config(
        FunctionName=stage.function, Qualifier=ALIAS
    )
    assert found["Status"] == "READY"


def test_a_deploy_of_code_keeps_what_is_noted(stage: Stage, tmp_path: Path) -> None:
    loaders(stage).begin_anew(ONE, silent)
    name = stage.function.removeprefix("radgate-")
    config = {
        "stages": {
            name: {
                "environment_variables": {"RADGATE_STAGE": name},
                "lambda_functions": {"api_handler": {"lambda_timeout": 60}, "worker": {}},
            }
        }
    }
    (tmp_path / ".chalice").mkdir()
    path = tmp_path / ".chalice" / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    keep_noted(stage.functions, name, tmp_path)
    kept = json.loads(path.read_text(encoding="utf-8"))["stages"][name]
    assert kept["lambda_functions"] == {
        "api_handler": {"lambda_timeout": 60, "environment_variables": {VARIABLE: ONE}},
        "worker": {},
    }
