"""Radgate's HTTP surface: each handler reads, calls one service function and returns."""

from functools import partial
from typing import Any

from chalice.app import CloudWatchEvent, Response

from chalicelib import bootstrap
from chalicelib.domain import Scope
from chalicelib.http import ANY_TYPE, Api, Call, keyed, open_route
from chalicelib.inputs import PageQuery, ReportQuery, UploadReference, UploadRequest
from chalicelib.services.models import Health
from chalicelib.services.timing import Deadline

app = Api(app_name="radgate")
app.api.binary_types = ["*/*"]
# Of a sweeper's minute; its function is given five seconds more.
SWEEP_SECONDS = 50.0


@app.route("/xray", methods=["POST"], content_types=ANY_TYPE, api_key_required=True)
@keyed(app, Scope.STUDIES_WRITE)
def analyse_xray(call: Call) -> Response:
    """Analyse the posted image now, or queue it when no model can answer in time."""
    body, deadline = call.body(), call.deadline()
    service, caller = bootstrap.analysis(), call.identified
    return call.study(
        service.analyse(caller, body, call.stopwatch, deadline, call.id, units=call.units)
    )


@app.route("/uploads", methods=["POST"], content_types=ANY_TYPE, api_key_required=True)
@keyed(app, Scope.STUDIES_WRITE)
def open_upload(call: Call) -> Response:
    """Return a form for an image that is too large for the gateway."""
    asked = call.document(UploadRequest)
    ask = partial(bootstrap.intake().open_upload, call.identified, asked.size, asked.content_type)
    return call.answer(call.in_time(ask), status=201)


@app.route("/studies", methods=["POST"], content_types=ANY_TYPE, api_key_required=True)
@keyed(app, Scope.STUDIES_WRITE)
def queue_study(call: Call) -> Response:
    """Queue an image: the posted bytes, or those of an upload."""
    content, service = call.posted(), bootstrap.intake()
    asked = (call.idempotency(content), call.id, call.units)
    if isinstance(content, UploadReference):
        ask = partial(service.enqueue_upload, call.identified, content.upload_id, *asked)
    else:
        ask = partial(service.enqueue, call.identified, content, *asked)
    return call.accepted(call.in_time(ask))


@app.route("/studies", methods=["GET"], api_key_required=True)
@keyed(app, Scope.STUDIES_READ)
def list_studies(call: Call) -> Response:
    """List the caller's studies, newest first."""
    query = call.query(PageQuery)
    asked = (call.client_id, query.limit, query.cursor, query.status)
    return call.answer(call.in_time(partial(bootstrap.studies().page, *asked)))


@app.route("/studies/{study_id}", methods=["GET"], api_key_required=True)
@keyed(app, Scope.STUDIES_READ)
def get_study(call: Call, study_id: str) -> Response:
    """Return one study."""
    return call.answer(call.in_time(partial(bootstrap.studies().get, call.client_id, study_id)))


@app.route("/studies/{study_id}/report", methods=["GET"], api_key_required=True)
@keyed(app, Scope.STUDIES_READ)
def get_report(call: Call, study_id: str) -> Response:
    """Return a fresh link to the report, never a redirect: that would forward the key."""
    call.query(ReportQuery)
    return call.answer(call.in_time(partial(bootstrap.studies().report, call.client_id, study_id)))


@app.route("/studies/{study_id}", methods=["DELETE"], api_key_required=True)
@keyed(app, Scope.STUDIES_WRITE)
def delete_study(call: Call, study_id: str) -> Response:
    """Erase image, report and findings; the metered unit stays."""
    call.in_time(partial(bootstrap.erasure().erase, call.client_id, study_id))
    return call.nothing()


@app.route("/account", methods=["GET"], api_key_required=True)
@keyed(app, Scope.ACCOUNT_READ)
def get_account(call: Call) -> Response:
    """Return the client, its plan, its usage and its keys without their secrets."""
    return call.answer(
        call.in_time(lambda: bootstrap.account().account(call.identified, call.units.usage()))
    )


@app.route("/models", methods=["GET"], api_key_required=True)
@keyed(app, Scope.STUDIES_READ)
def list_models(call: Call) -> Response:
    """Return the installed packs."""
    return call.answer(bootstrap.models().models())


@app.route("/health", methods=["GET"])
@open_route(app)
def health(call: Call) -> Response:
    """Say that the process is up."""
    return call.answer(Health(status="up"))


@app.route("/ready", methods=["GET"])
@open_route(app)
def ready(call: Call) -> Response:
    """Say that the active pack has answered its golden input."""
    return call.answer(Health(status="ready", model=bootstrap.models().ready()))


@app.route("/openapi.json", methods=["GET", "HEAD"])
@open_route(app)
def openapi(call: Call) -> Response:
    """Return the API's description for programs."""
    return call.page(bootstrap.pages().openapi)


@app.route("/docs", methods=["GET", "HEAD"])
@open_route(app)
def reference(call: Call) -> Response:
    """Return the API's description for people."""
    return call.page(bootstrap.pages().reference)


@app.route("/", methods=["GET", "HEAD"])
@open_route(app)
def portal(call: Call) -> Response:
    """Return the client portal."""
    return call.page(bootstrap.pages().portal)


@app.lambda_function(name="worker")
def worker(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Work on queued studies; SQS sends those again that the answer names."""
    bootstrap.begin_call(context)
    return bootstrap.batches().handle(event, bootstrap.worker().work)


@app.schedule("rate(1 minute)", name="sweep")
def sweep(event: CloudWatchEvent) -> None:
    """Find what a crash has left, and what has outlived its time."""
    bootstrap.begin_call(event.context)
    bootstrap.sweeper().sweep(Deadline(SWEEP_SECONDS))


@app.lambda_function(name="deliver")
def deliver(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Mail clients and call their webhooks; SQS sends those notices again that the answer names."""
    bootstrap.begin_call(context)
    return bootstrap.notices().handle(event, bootstrap.delivering().deliver)


@app.lambda_function(name="efs_sync")
def efs_sync(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401 - Lambda's own
    """Bring a tree of packages onto the mount, switch it, or tell what is there."""
    return bootstrap.runtime_sync(lambda: context.get_remaining_time_in_millis() / 1000).handle(
        event
    )


bootstrap.warm_ahead()
