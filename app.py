"""Radgate's HTTP surface: each handler reads, calls one service function and returns."""

from chalice.app import Response

from chalicelib import bootstrap
from chalicelib.domain import Scope
from chalicelib.http import ANY_TYPE, Api, Call, Health, PageQuery, ReportQuery, keyed, open_route

app = Api(app_name="radgate")
app.api.binary_types = ["*/*"]


@app.route("/xray", methods=["POST"], content_types=ANY_TYPE, api_key_required=True)
@keyed(app, Scope.STUDIES_WRITE)
def analyse_xray(call: Call) -> Response:
    """Analyse the posted image now."""
    body = call.body()
    return call.answer(bootstrap.analysis().analyse(call.identified, body, call.stopwatch))


@app.route("/studies", methods=["GET"], api_key_required=True)
@keyed(app, Scope.STUDIES_READ)
def list_studies(call: Call) -> Response:
    """List the caller's studies, newest first."""
    query = call.query(PageQuery)
    page = bootstrap.studies().page(call.client_id, query.limit, query.cursor, query.status)
    return call.answer(page)


@app.route("/studies/{study_id}", methods=["GET"], api_key_required=True)
@keyed(app, Scope.STUDIES_READ)
def get_study(call: Call, study_id: str) -> Response:
    """Return one study."""
    return call.answer(bootstrap.studies().get(call.client_id, study_id))


@app.route("/studies/{study_id}/report", methods=["GET"], api_key_required=True)
@keyed(app, Scope.STUDIES_READ)
def get_report(call: Call, study_id: str) -> Response:
    """Return a fresh link to the report, never a redirect: that would forward the key."""
    call.query(ReportQuery)
    return call.answer(bootstrap.studies().report(call.client_id, study_id))


@app.route("/account", methods=["GET"], api_key_required=True)
@keyed(app, Scope.ACCOUNT_READ)
def get_account(call: Call) -> Response:
    """Return the client, its plan, its usage and its keys without their secrets."""
    return call.answer(bootstrap.account().account(call.identified))


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
