"""The double answers as the real server did, exchange by exchange."""

import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from alyx_double import AlyxDouble

SHARED = Path(os.environ.get("ONE_CACHE_SHARED", Path(__file__).parents[2] / "shared"))
RECORDED = SHARED / "fixtures" / "alyx" / "exchanges.jsonl"
# of the moment, or of files that the double does not have byte for byte
VARIES = ("auto_datetime", "age_weeks", "hash", "file_size", "size", "created_datetime")
# what was asked after the recording had changed the database
CHANGED = ("aws.", "reg.", "odd.", "time.", "restcache.stale")


def recorded():
    if not RECORDED.exists():
        return []
    lines = RECORDED.read_text(encoding="utf-8").splitlines()
    found = {}
    for one in map(json.loads, lines):
        method, target, _ = one["request"].split()
        body = one.get("response_body")
        usable = one["port"] == 8010 and one["status"] and not one.get("fault_injected")
        whole = not isinstance(body, dict) or not any(key.startswith("_") for key in body)
        read = method in ("GET", "OPTIONS", "HEAD") and not one["case"].startswith(CHANGED)
        known = target.split("?")[0].split("/")[1] not in ("docs", "api", "dataset-types")
        if usable and whole and read and known and "data-formats" not in target:
            found.setdefault((method, target, one["status"]), one)
    return list(found.values())


def comparable(value, key=""):
    """Give what of an answer must be equal: order only where the server has one."""
    if isinstance(value, dict):
        return {
            name: (item is None, item == "") if name in VARIES else comparable(item, name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        items = [comparable(item) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, str):
        return re.sub(r"127\.0\.0\.1:\d+", "host", value)
    return value


@pytest.fixture(scope="module")
def double():
    with AlyxDouble() as alyx:
        yield alyx


@pytest.fixture(scope="module")
def http():
    with requests.Session() as session:
        yield session


@pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded exchanges in {RECORDED.parent}")
@pytest.mark.parametrize("one", recorded(), ids=lambda one: f"{one['seq']} {one['case']}"[:60])
def test_a_recorded_question_gets_the_recorded_answer(one, double, http):
    method, target, _ = one["request"].split()
    headers = {name: value for name, value in one["request_headers"] if name == "Accept"}
    sent = dict(one["request_headers"]).get("Authorization")
    if sent:
        invalid = "invalid" in one["case"] and one["status"] == 403
        headers["Authorization"] = f"Token {'f' * 40 if invalid else double.tokens['root']}"
    answer = http.request(
        method, double.url + target, headers=headers, allow_redirects=False, timeout=5
    )
    assert answer.status_code == one["status"]
    kind = dict(one["response_headers"])["Content-Type"].partition(";")[0]
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    expected = one["response_body"]
    if isinstance(expected, (dict, list)):
        got = answer.json()
        assert comparable(got) == comparable(expected)
        if "results" in got and urlsplit(target).path in ("/sessions", "/insertions"):
            order = [row["id"] for row in expected["results"]]
            assert [row["id"] for row in got["results"]] == order
    elif isinstance(expected, str):
        assert answer.text == expected


def test_there_are_enough_recorded_questions():
    if not RECORDED.exists():
        pytest.skip(f"no recorded exchanges in {RECORDED.parent}")
    assert len(recorded()) > 90


def test_the_data_server_wants_a_password_and_gives_ranges(double):
    path, content = next(iter(double.lab.files.items()))
    address = double.data_url + path.replace("#", "%23")
    assert requests.get(address, timeout=5).status_code == 401
    whole = requests.get(address, auth=double.data_login, timeout=5)
    part = requests.get(
        address,
        auth=double.data_login,
        headers={"Range": "bytes=10-", "If-Range": whole.headers["ETag"]},
        timeout=5,
    )
    assert (whole.content, part.content, part.status_code) == (content, content[10:], 206)
