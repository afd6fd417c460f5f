"""The routes as clients are told of them: what each takes, gives and refuses.

A test compares this table with the routes that the app really has, another their scopes, and every
answer that an integration test sees is held against the document that is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from chalicelib import errors
from chalicelib.domain import Link, Scope, Study, StudyPage, UploadForm
from chalicelib.inputs import PageQuery, ReportQuery, UploadReference, UploadRequest
from chalicelib.services.account import Account
from chalicelib.services.models import Health, ModelList

if TYPE_CHECKING:
    from pydantic import BaseModel

Method = Literal["GET", "POST", "DELETE", "HEAD"]
# What may happen to any request, and to any with a key, before or behind the route's own work.
ANYWHERE = (errors.InvalidRequest, errors.Throttled, errors.ModelUnavailable)
KEYED = (
    errors.KeyUnknown,
    errors.KeyExpired,
    errors.KeyRevoked,
    errors.ClientSuspended,
    errors.ScopeMissing,
    errors.QuotaExceeded,
    errors.StorageUnavailable,
)
_BAD_IMAGE = (
    errors.TooManyPixels,
    errors.UnsupportedMediaType,
    errors.UnreadableImage,
    errors.NotAChestXray,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which a route succeeds.

    `model`: of its JSON; `media_type`: of anything else; neither where there is no body. `located`:
    whether the header `Location` tells where to ask on.
    """

    text: str
    model: type[BaseModel] | None = None
    media_type: str = ""
    located: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    `image`: whether the body may be the bytes of an image; `body`: model of a JSON body. `once`:
    whether the route honours `Idempotency-Key`. `timed`: whether `Server-Timing` is sent.
    `refuses`: the errors besides ANYWHERE and KEYED.
    """

    method: Method
    path: str
    name: str
    summary: str
    text: str
    answers: dict[int, Answer]
    scope: Scope | None = None
    query: type[BaseModel] | None = None
    image: bool = False
    body: type[BaseModel] | None = None
    once: bool = False
    timed: bool = False
    refuses: tuple[type[errors.RadgateError], ...] = ()

    @property
    def refusals(self) -> tuple[type[errors.RadgateError], ...]:
        """Every error that a client of this route may meet."""
        keyed = KEYED if self.scope is not None else ()
        return tuple(dict.fromkeys((*ANYWHERE, *keyed, *self.refuses)))


def _page(path: str, name: str, summary: str, text: str, media_type: str) -> tuple[Operation, ...]:
    answers = {
        200: Answer("The document.", media_type=media_type),
        304: Answer("It has not changed since the one that `If-None-Match` names."),
    }
    head = {status: Answer(answer.text) for status, answer in answers.items()}
    return (
        Operation("GET", path, name, summary, text, answers),
        Operation("HEAD", path, f"{name}Head", f"{summary}: headers alone", text, head),
    )


PAGES = (
    *_page("/", "portal", "The client portal", "Account, studies, uploads.", "text/html"),
    *_page("/docs", "reference", "This reference", "The API for people to read.", "text/html"),
    *_page("/openapi.json", "openapi", "This document", "OpenAPI 3.1.", "application/json"),
)
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/xray",
        "analyseXray",
        "Analyse an image now",
        "The body is the image: PNG, JPEG or DICOM, at most 4,500,000 bytes. The bytes decide, the"
        " declared type is a hint. Be ready for both answers: where no model could answer within"
        " the gateway's 29 seconds, the study is queued.",
        {
            200: Answer("The study with its result.", Study),
            202: Answer("The study, `queued`.", Study, located=True),
        },
        scope=Scope.STUDIES_WRITE,
        image=True,
        timed=True,
        refuses=(errors.PayloadTooLarge, *_BAD_IMAGE),
    ),
    Operation(
        "POST",
        "/studies",
        "queueStudy",
        "Queue an image",
        "The body is the image, or names an upload that holds it. With an `Idempotency-Key` it is"
        " safe to send again: the same key and body give the study that the first one made.",
        {202: Answer("The study, as far as it is.", Study, located=True)},
        scope=Scope.STUDIES_WRITE,
        image=True,
        body=UploadReference,
        once=True,
        refuses=(
            errors.NotFound,
            errors.NotFinished,
            errors.IdempotencyConflict,
            errors.PayloadTooLarge,
        ),
    ),
    Operation(
        "POST",
        "/uploads",
        "openUpload",
        "Get a form for a large image",
        "For images of up to 100,000,000 bytes. Post `fields` and then the image as `file`, the"
        " last field of a multipart form, to `url`, without the key. Then name the upload in"
        " `POST /studies`.",
        {201: Answer("A form, good for 15 minutes.", UploadForm)},
        scope=Scope.STUDIES_WRITE,
        body=UploadRequest,
        refuses=(errors.PayloadTooLarge,),
    ),
    Operation(
        "GET",
        "/studies",
        "listStudies",
        "List your studies",
        "Newest first. Ask on with `next_cursor` until it is null.",
        {200: Answer("One page.", StudyPage)},
        scope=Scope.STUDIES_READ,
        query=PageQuery,
    ),
    Operation(
        "GET",
        "/studies/{study_id}",
        "getStudy",
        "Read a study",
        "Its links are signed afresh. Ask until `status` is `succeeded` or `failed`.",
        {200: Answer("The study.", Study)},
        scope=Scope.STUDIES_READ,
        refuses=(errors.NotFound,),
    ),
    Operation(
        "GET",
        "/studies/{study_id}/report",
        "getReport",
        "Get a fresh link to the report",
        "Fetch `url` without the key: whoever holds the link can read the report until it expires.",
        {200: Answer("The link.", Link)},
        scope=Scope.STUDIES_READ,
        query=ReportQuery,
        refuses=(errors.NotFound, errors.NotFinished),
    ),
    Operation(
        "DELETE",
        "/studies/{study_id}",
        "deleteStudy",
        "Erase a study",
        "Image, report, heatmaps and findings are gone; the unit that it cost stays."
        " Twice is no error.",
        {204: Answer("It is erased.")},
        scope=Scope.STUDIES_WRITE,
        refuses=(errors.NotFound,),
    ),
    Operation(
        "GET",
        "/account",
        "getAccount",
        "Read your account",
        "Plan, limits, usage of this period, and your keys without their secrets.",
        {200: Answer("The account.", Account)},
        scope=Scope.ACCOUNT_READ,
    ),
    Operation(
        "GET",
        "/models",
        "listModels",
        "List the models",
        "Installed packs, which one is active, and how good each label is.",
        {200: Answer("The packs.", ModelList)},
        scope=Scope.STUDIES_READ,
    ),
    Operation(
        "GET",
        "/health",
        "health",
        "Is the process up?",
        "Asks nothing else.",
        {200: Answer("It is.", Health)},
    ),
    Operation(
        "GET",
        "/ready",
        "ready",
        "Has the model answered its golden input?",
        "The first call loads the model.",
        {200: Answer("It has.", Health)},
    ),
    *PAGES,
)
