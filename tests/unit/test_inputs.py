"""What clients may send: JSON documents, images told from JSON, and the Idempotency-Key."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import InvalidRequest
from chalicelib.inputs import (
    PageQuery,
    UploadReference,
    UploadRequest,
    document_of,
    idempotency_of,
    posted,
    query_of,
)

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
DICOM = b"{" + bytes(127) + b"DICM"
REFERENCE = b' {"upload_id": "up_1"}'


@pytest.mark.parametrize("body", [PNG, JPEG, DICOM, DICOM.replace(b"{\x00", b"{}"), b"\x00{"])
@pytest.mark.parametrize("declared", ["", "application/json", "image/png"])
def test_an_image_is_taken_as_it_is_whatever_was_declared(body: bytes, declared: str) -> None:
    assert posted(body + PNG, declared) == body + PNG


@pytest.mark.parametrize("declared", ["", "application/json", "image/png", "*/*"])
def test_a_reference_to_an_upload_is_known_by_its_bytes(declared: str) -> None:
    assert posted(REFERENCE, declared) == UploadReference(upload_id="up_1")


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (b"{", ""),
        (b"{}", ""),
        (b'{"upload_id": 7}', ""),
        (b'{"upload_id": "up_1", "size": 2}', ""),
        (b'{"upload_id": null}', ""),
        (b"{\xff}", ""),
        (b"[]", "application/json"),
        (b'"up_1"', "Application/JSON; charset=utf-8"),
        (b"null", "application/problem+json"),
        (b"upload_id=up_1", "application/json"),
    ],
)
def test_what_is_meant_as_json_and_is_not_right_is_refused(body: bytes, declared: str) -> None:
    with pytest.raises(InvalidRequest):
        posted(body, declared)


@given(st.binary(max_size=300), st.sampled_from(["", "application/json", "image/png"]))
def test_any_bytes_are_an_image_a_reference_or_refused(body: bytes, declared: str) -> None:
    try:
        content = posted(body, declared)
    except InvalidRequest:
        return
    assert content == body or isinstance(content, UploadReference)


@pytest.mark.parametrize("size", [1, 7_200_000, 10**12])
def test_an_upload_is_asked_for_with_its_size_and_type(size: int) -> None:
    body = f'{{"size": {size}, "content_type": "application/dicom"}}'.encode()
    asked = document_of(body, UploadRequest)
    assert (asked.size, asked.content_type) == (size, "application/dicom")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"7",
        b"[]",
        b"{}",
        b'{"size": 1}',
        b'{"content_type": "image/png"}',
        b'{"size": 0, "content_type": "image/png"}',
        b'{"size": -1, "content_type": "image/png"}',
        b'{"size": 1.5, "content_type": "image/png"}',
        b'{"size": "1", "content_type": "image/png"}',
        b'{"size": true, "content_type": "image/png"}',
        b'{"size": NaN, "content_type": "image/png"}',
        b'{"size": 1, "content_type": ""}',
        b'{"size": 1, "content_type": "png"}',
        b'{"size": 1, "content_type": "image/png; charset=x"}',
        b'{"size": 1, "content_type": "image/png\\n"}',
        b'{"size": 1, "content_type": "image/\\u0301"}',
        b'{"size": 1, "content_type": "' + b"a" * 90 + b"/" + b"b" * 90 + b'"}',
        b'{"size": 1, "content_type": "image/png", "name": "patient.dcm"}',
    ],
)
def test_a_wrong_request_for_an_upload_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        document_of(body, UploadRequest)


def test_a_refusal_names_the_field_and_repeats_nothing_that_was_sent() -> None:
    with pytest.raises(InvalidRequest) as refused:
        document_of(b'{"size": "patient 4711", "content_type": "image/png"}', UploadRequest)
    assert "'size'" in refused.value.detail
    assert "4711" not in refused.value.detail


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", "Field 'size'"),
        (b'{"ZZPATIENT": 1}', "There is a field that this route does not know"),
        (
            b'{"size": 1, "content_type": "image/png", "ZZPATIENT": 1}',
            "There is a field that this route does not know; it knows 'size', 'content_type'.",
        ),
        (b"[]", "The body is to be a JSON object with 'size', 'content_type'."),
        (b'"ZZPATIENT"', "The body is to be a JSON object with 'size', 'content_type'."),
    ],
)
def test_a_refusal_names_our_own_fields_only(body: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        document_of(body, UploadRequest)
    assert refused.value.detail.startswith(told)
    assert "ZZPATIENT" not in refused.value.detail
    assert "''" not in refused.value.detail


@given(st.text(min_size=8))
def test_no_name_of_a_field_comes_back(name: str) -> None:
    name = f"ZZ{name}"
    body = json.dumps({"upload_id": "up_1", name: 1}).encode()
    with pytest.raises(InvalidRequest) as refused:
        document_of(body, UploadReference)
    assert name not in refused.value.detail


def test_a_wrong_parameter_is_named() -> None:
    with pytest.raises(InvalidRequest, match="'limit'"):
        query_of({"limit": "many"}, PageQuery)


# --- idempotency ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"a key, with words; and more"', "a key, with words; and more"),
        (r'"a\"b\\c"', r"a\"b\c".replace(r"\"", '"')),
        ('  "a"  ', "a"),
        ("a" * 255, "a" * 255),
    ],
)
def test_a_key_comes_in_quotes_or_bare(header: str, key: str) -> None:
    word = idempotency_of(header, "POST /studies", PNG)
    assert word is not None
    assert word.key == key


@pytest.mark.parametrize(
    "header",
    [
        *("", " ", '""', '"', '"a', 'a"', '"a"b"', '"a";v=1', "a b", "a,b", '"ä"', "ä", '"a\\n"'),
        *("a\x00", '"a\x7f"', "a" * 256, '"' + "a" * 256 + '"'),
    ],
)
def test_a_key_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        idempotency_of(header, "POST /studies", PNG)


@given(st.text(max_size=300))
def test_any_header_is_a_key_or_refused(header: str) -> None:
    try:
        word = idempotency_of(header, "POST /studies", PNG)
    except InvalidRequest:
        return
    assert word is not None
    assert word.key.isascii()
    assert word.key.isprintable()


def test_no_header_is_no_key() -> None:
    assert idempotency_of(None, "POST /studies", PNG) is None


def fingerprint(route: str, content: bytes | UploadReference) -> str:
    word = idempotency_of("k", route, content)
    assert word is not None
    return word.fingerprint


def test_the_fingerprint_tells_requests_apart() -> None:
    asked = [
        fingerprint("POST /studies", PNG),
        fingerprint("POST /studies", JPEG),
        fingerprint("POST /xray", PNG),
        fingerprint("POST /studies", UploadReference(upload_id="up_1")),
        fingerprint("POST /studies", UploadReference(upload_id="up_2")),
    ]
    assert len(set(asked)) == len(asked)
    assert asked[0] == fingerprint("POST /studies", PNG)


def test_the_layout_of_a_reference_does_not_matter() -> None:
    spaced, tight = posted(REFERENCE, ""), posted(b'{"upload_id":"up_1"}', "")
    assert fingerprint("POST /studies", spaced) == fingerprint("POST /studies", tight)
