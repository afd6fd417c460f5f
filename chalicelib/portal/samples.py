"""Writes a request of each route as a person would send it, in curl and in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.inputs import UploadReference, UploadRequest

if TYPE_CHECKING:
    from chalicelib.portal.operations import Operation

# What a sample leaves to the reader: shell variables, and environment variables in Python.
_FIRST_LINES = ["import os", "", "import httpx", ""]


def samples(operation: Operation) -> list[dict[str, str]]:
    """Return samples in the form of the extension `x-codeSamples`.

    They take the address from `API` and the key from `KEY`, and a study's id from `STUDY`.
    """
    return [
        {"lang": "Shell", "label": "curl", "source": _curl(operation)},
        {"lang": "Python", "label": "Python", "source": _python(operation)},
    ]


def _curl(operation: Operation) -> str:
    parts = ["curl --fail-with-body"]
    if operation.method == "HEAD":
        parts.append("--head")
    elif operation.method == "DELETE":
        parts.append("--request DELETE")
    if operation.scope is not None:
        parts.append('--header "x-api-key: $KEY"')
    if operation.once:
        parts.append("--header 'Idempotency-Key: \"order-4711\"'")
    if operation.image:
        parts.append("--data-binary @chest.dcm")
    elif operation.body is UploadRequest:
        parts.append('--data \'{"size": 7300000, "content_type": "application/dicom"}\'')
    elif operation.body is UploadReference:
        parts.append('--data "{\\"upload_id\\": \\"$UPLOAD\\"}"')
    parts.append(f'"$API{operation.path.replace("{study_id}", "$STUDY")}"')
    return " \\\n  ".join([" ".join(parts[:1]), *parts[1:]])


def _python(operation: Operation) -> str:
    path = operation.path.replace("{study_id}", "{os.environ['STUDY']}")
    address = f"f\"{{os.environ['API']}}{path}\""
    if operation.image:
        lines = [
            'with open("chest.dcm", "rb") as image:',
            f"    answer = httpx.{operation.method.lower()}(",
            *_arguments(operation, address, "        ", "content=image.read(),"),
            "    )",
        ]
    else:
        body = (
            'json={"size": 7_300_000, "content_type": "application/dicom"},'
            if operation.body is UploadRequest
            else ""
        )
        lines = [
            f"answer = httpx.{operation.method.lower()}(",
            *_arguments(operation, address, "    ", body),
            ")",
        ]
    return "\n".join([*_FIRST_LINES, *lines, "answer.raise_for_status()", *_last_line(operation)])


def _arguments(operation: Operation, address: str, indent: str, body: str) -> list[str]:
    headers = []
    if operation.scope is not None:
        headers.append("\"x-api-key\": os.environ['KEY']")
    if operation.once:
        headers.append('"Idempotency-Key": \'"order-4711"\'')
    given = [f"{address},"]
    given += [f"headers={{{', '.join(headers)}}},"] if headers else []
    given += [body] if body else []
    given.append("timeout=60,")
    return [indent + line for line in given]


def _last_line(operation: Operation) -> list[str]:
    answer = next(iter(operation.answers.values()))
    if answer.model is not None:
        return ["print(answer.json())"]
    return ["print(answer.text)"] if answer.media_type else []
