"""Releases on S3: a real S3 protocol server on loopback, two releases, one folder."""

import datetime as dt
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pandas as pd
import pytest

from one_cache.ecephys import (
    MissingData,
    OutdatedManifestWarning,
    UnknownProbe,
    VisualBehaviorNeuropixelsProjectCache,
    VisualBehaviorOphysProjectCache,
    project_cache,
)
from one_cache.ecephys.releases.manifest import latest
from one_cache.ecephys.releases.s3 import S3, Keys, signed
from one_cache.errors import (
    Forbidden,
    HashMismatch,
    InvalidArgument,
    ManifestError,
    ManifestMissing,
    ModeError,
    PathEscapes,
    SessionNotFound,
    TransferFailed,
)
from one_cache.records import File
from one_cache.remotes.connections import Connections

boto3 = pytest.importorskip("boto3")
botocore = pytest.importorskip("botocore")
moto_server = pytest.importorskip("moto.server")

PROJECT, BUCKET = "visual-behavior-neuropixels", "synth-vbn"
OLD, NEW = (f"{PROJECT}_project_manifest_v{version}.json" for version in ("0.4.0", "0.10.0"))
SESSION = "behavior_ecephys_sessions/1/ecephys_session_1.nwb"


def blake(data):
    return hashlib.blake2b(data).hexdigest()


def csv(**columns):
    return pd.DataFrame(columns).to_csv(index=False).encode()


def contents():
    """What the two releases hold, by path within the project."""
    nwb = {number: bytes([number]) * (30_000 + number) for number in (1, 2, 3, 4)}
    tables = {
        "ecephys_sessions": csv(
            ecephys_session_id=[1, 2],
            file_id=[101, 102],
            abnormal_histology=[None, "yes"],
            abnormal_activity=[None, None],
        ),
        "behavior_sessions": csv(
            behavior_session_id=[11, 12], file_id=[-999, 104], ecephys_session_id=[1, None]
        ),
        "probes": csv(ecephys_probe_id=[21], file_id=[103], has_lfp_data=[True]),
        "channels": csv(ecephys_channel_id=[31, 32], ecephys_probe_id=[21, 21]),
        "units": csv(unit_id=[41, 42], snr=[0.1234567890123456, 2.0]),
    }
    files = {
        "101": (SESSION, nwb[1]),
        "102": ("behavior_ecephys_sessions/2/ecephys_session_2.nwb", nwb[2]),
        "103": ("behavior_ecephys_sessions/1/probe_probeA_lfp.nwb", nwb[3]),
        "104": ("behavior_only_sessions/12/behavior_session_12.nwb", nwb[4]),
    }
    later = {
        **files,
        "102": (files["102"][0], b"reworked" * 4000),
        "103": ("behavior_ecephys_sessions/1/lfp_A.nwb", nwb[3]),
        "105": ("new/5.nwb", b"new" * 9000),
    }
    del later["104"]
    return (tables, files), ({**tables, "units": tables["units"] + b"43,1.0\n"}, later)


@pytest.fixture(scope="module")
def endpoint():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def bucket(endpoint):
    """A bucket with both releases; gives a client."""
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-west-2",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    s3.put_bucket_acl(Bucket=BUCKET, ACL="public-read")

    def put(rel, data):
        key = f"{PROJECT}/{rel}"
        version = s3.put_object(Bucket=BUCKET, Key=key, Body=data, ACL="public-read")["VersionId"]
        url = f"https://{BUCKET}.s3.us-west-2.amazonaws.com/{key}"
        return {"url": url, "version_id": version, "file_hash": blake(data)}

    for name, (tables, files) in zip((OLD, NEW), contents(), strict=True):
        manifest = {
            "project_name": PROJECT,
            "manifest_version": name.rpartition("_v")[2].removesuffix(".json"),
            "metadata_file_id_column_name": "file_id",
            "data_pipeline": [{"name": "AllenSDK", "version": "2.16.2", "comment": ""}],
            "metadata_files": {
                table: put(f"project_metadata/{table}.csv", data) for table, data in tables.items()
            },
            "data_files": {number: put(rel, data) for number, (rel, data) in files.items()},
        }
        s3.put_object(
            Bucket=BUCKET,
            Key=f"{PROJECT}/manifests/{name}",
            Body=json.dumps(manifest, indent=1).encode(),
            ACL="public-read",
        )
    s3.put_object(Bucket=BUCKET, Key=f"{PROJECT}/manifests/notes.txt", Body=b"x")
    return s3


@pytest.fixture
def online(bucket, endpoint, monkeypatch):
    """Let everything that speaks S3 speak to the server on loopback."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return endpoint


def opened(folder, **options):
    return VisualBehaviorNeuropixelsProjectCache.from_s3_cache(
        folder, BUCKET, silent=True, **options
    )


def quiet(folder, name):
    """Open a folder and use a release, whatever is later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutdatedManifestWarning)
        cache = opened(folder)
        cache.load_manifest(name)
    return cache


def local(folder, **options):
    return VisualBehaviorNeuropixelsProjectCache.from_local_cache(folder, **options)


# -- releases --------------------------------------------------------------------------------


def test_the_latest_release_is_used_first(online, tmp_path):
    cache = opened(tmp_path)
    assert cache.current_manifest() == cache.latest_manifest_file() == NEW
    assert cache.list_manifest_file_names() == sorted([OLD, NEW])
    assert cache.list_all_downloaded_manifests() == [NEW]
    assert cache.latest_downloaded_manifest_file() == NEW
    assert (cache.version, cache.file_id_column) == ("0.10.0", "file_id")
    assert cache.metadata_file_names[0] == "behavior_sessions"


def test_the_release_that_was_used_last_is_used_again(online, tmp_path):
    cache = opened(tmp_path)
    with pytest.warns(OutdatedManifestWarning, match="is not the latest"):
        cache.load_manifest(OLD)
    assert len(cache.get_unit_table()) == 2
    with pytest.warns(OutdatedManifestWarning, match="compare_manifests"):
        again = opened(tmp_path)
    assert again.current_manifest() == OLD
    again.load_latest_manifest()
    assert len(again.get_unit_table()) == 3
    assert opened(tmp_path).current_manifest() == NEW
    (tmp_path / "_manifest_last_used.txt").write_bytes(b"\xff\xfe nonsense")
    assert opened(tmp_path).current_manifest() == NEW
    with pytest.raises(InvalidArgument, match=r"no release 'x\.json'; there are: visual"):
        cache.load_manifest("x.json")


def test_what_changed_between_releases_is_told_as_allensdk_tells_it(online, tmp_path):
    cache = opened(tmp_path)
    lfp = "behavior_ecephys_sessions/1/probe_probeA_lfp.nwb"
    assert cache.summarize_comparison(OLD, NEW) == {
        "metadata_changes": [
            ("project_metadata/units.csv", "project_metadata/units.csv changed"),
        ],
        "data_changes": [
            (lfp, f"{lfp} renamed behavior_ecephys_sessions/1/lfp_A.nwb"),
            (
                "behavior_ecephys_sessions/2/ecephys_session_2.nwb",
                "behavior_ecephys_sessions/2/ecephys_session_2.nwb changed",
            ),
            (
                "behavior_only_sessions/12/behavior_session_12.nwb",
                "behavior_only_sessions/12/behavior_session_12.nwb deleted",
            ),
            ("new/5.nwb", "new/5.nwb created"),
        ],
    }
    text = cache.compare_manifests(OLD, NEW)
    assert text.startswith(f"Changes going from\n{OLD}\nto\n{NEW}\n\nproject_metadata/units.csv ")
    assert cache.compare_manifests(NEW, NEW) == "The two manifests are equivalent"
    assert cache.list_all_downloaded_manifests() == sorted([OLD, NEW])


def test_versions_are_ordered_as_numbers():
    names = [f"p_manifest_v{one}.json" for one in ("0.9.0", "0.10.0", "0.10.0-rc1", "0.2.0")]
    assert latest(names) == "p_manifest_v0.10.0.json"
    assert latest([]) == ""
    with pytest.raises(InvalidArgument, match="names no version"):
        latest(["p_manifest_vlatest.json"])


# -- tables and files ------------------------------------------------------------------------


def test_tables_are_those_of_the_release(online, tmp_path):
    cache = opened(tmp_path)
    assert cache.get_ecephys_session_table().index.tolist() == [1]
    sessions = cache.get_ecephys_session_table(filter_abnormalities=False)
    assert sessions.index.name == "ecephys_session_id"
    assert sessions.file_id.tolist() == [101, 102]
    assert cache.get_behavior_session_table().index.tolist() == [11, 12]
    assert cache.get_probe_table().index.name == "ecephys_probe_id"
    assert cache.get_channel_table().index.tolist() == [31, 32]
    units = cache.get_unit_table()
    assert units.snr.tolist() == [0.1234567890123456, 2.0, 1.0]
    units["snr"] = 0
    assert cache.get_unit_table().snr.iloc[1] == 2.0
    assert (tmp_path / f"{PROJECT}-0.10.0" / "project_metadata" / "units.csv").exists()
    assert len(cache.get_metadata("probes")) == 1
    with pytest.raises(InvalidArgument, match="has no table 'unit'.*Did you mean 'units'"):
        cache.get_metadata("unit")


def test_files_are_found_by_what_they_are(online, tmp_path):
    cache = opened(tmp_path)
    (_, _), (_, files) = contents()
    path = cache.ecephys_session_path(1)
    assert path == tmp_path / f"{PROJECT}-0.10.0" / SESSION
    assert path.read_bytes() == files["101"][1]
    assert cache.behavior_session_path(11) == path
    assert cache.lfp_path(21).name == "lfp_A.nwb"
    assert cache.download_data(105).read_bytes() == cache.download_data("105").read_bytes()
    with pytest.raises(SessionNotFound, match="no session 9"):
        cache.ecephys_session_path(9)
    with pytest.raises(UnknownProbe):
        cache.lfp_path(9)
    with pytest.raises(InvalidArgument, match="no file '7'; it has 4"):
        cache.download_data("7")
    described = cache.data_path("102")
    assert (described["exists"], described["local_path"].name) == (False, "ecephys_session_2.nwb")
    assert cache.data_path("101")["exists"]
    assert cache.metadata_path("units")["local_path"].name == "units.csv"


def test_a_file_of_two_releases_lies_here_once(online, tmp_path):
    folder = tmp_path / "cache"
    cache = quiet(folder, OLD)
    first = cache.download_data(103)
    cache.load_latest_manifest()
    second = cache.download_data(103)
    assert second.is_symlink()
    assert second.resolve() == first.resolve()
    assert not os.path.isabs(os.readlink(second))
    assert not cache.download_data(102).is_symlink()
    listed = json.loads((folder / "_downloaded_data.json").read_text())
    assert listed[str(first.resolve())] == blake(first.read_bytes())
    moved = folder.rename(tmp_path / "elsewhere")
    again = local(moved)
    assert again.download_data(103).read_bytes() == contents()[0][1]["103"][1]


def test_a_link_that_leads_nowhere_is_replaced(online, tmp_path):
    cache = quiet(tmp_path, OLD)
    first = cache.download_data(103)
    cache.load_latest_manifest()
    second = cache.download_data(103)
    shutil.rmtree(tmp_path / f"{PROJECT}-0.4.0")
    assert not second.exists()
    again = opened(tmp_path).download_data(103)
    assert again.read_bytes() == contents()[0][1]["103"][1]
    assert not again.is_symlink()
    assert not first.exists()


@pytest.mark.parametrize("how", ["flip", "cut", "empty"])
def test_a_damaged_file_is_never_given(online, tmp_path, how):
    path = opened(tmp_path).download_data(101)
    good = path.read_bytes()
    bad = {"flip": good[:-1] + b"x", "cut": good[:-99], "empty": b""}[how]
    path.write_bytes(bad)
    with pytest.raises(HashMismatch, match="expected blake2b"):
        local(tmp_path).download_data(101)
    assert not local(tmp_path).data_path(101)["exists"]
    assert path.read_bytes() == bad
    assert opened(tmp_path).download_data(101).read_bytes() == good


def test_files_that_allensdk_left_are_hashed_before_they_are_trusted(online, tmp_path):
    path = opened(tmp_path).download_data(101)
    shutil.rmtree(tmp_path / ".one_cache")
    asked = local(tmp_path)
    assert asked.download_data(101) == path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(HashMismatch):
        asked.download_data(101)


def test_wrong_bytes_in_the_bucket_are_refused(online, bucket, tmp_path):
    cache = opened(tmp_path)
    path = tmp_path / NEW
    manifest = json.loads(path.read_text())
    manifest["data_files"]["101"]["file_hash"] = "0" * 128
    path.write_text(json.dumps(manifest))
    alone = local(tmp_path)
    with pytest.raises(
        MissingData, match=r"fetches nothing; open the folder with .*from_s3_cache"
    ):
        alone.download_data(101)
    cache.release = alone.release
    with pytest.raises(HashMismatch, match="nothing kept"):
        cache.download_data(101)
    assert not list(tmp_path.rglob("*.nwb"))


def test_a_manifest_that_is_cut_is_named_or_fetched_anew(online, tmp_path):
    opened(tmp_path)
    path = tmp_path / NEW
    good = path.read_bytes()
    path.write_bytes(good[:-20])
    with pytest.raises(ManifestError, match=NEW):
        local(tmp_path)
    assert opened(tmp_path).current_manifest() == NEW
    assert path.read_bytes() == good


def test_a_list_of_downloads_that_is_broken_is_written_anew(online, tmp_path):
    cache = opened(tmp_path)
    (tmp_path / "_downloaded_data.json").write_text("{broken")
    path = cache.download_data(101)
    assert list(json.loads((tmp_path / "_downloaded_data.json").read_text())) == [str(path)]
    os.unlink(tmp_path / "_downloaded_data.json")
    cache.get_unit_table()
    cache.construct_local_manifest()
    assert len(json.loads((tmp_path / "_downloaded_data.json").read_text())) == 2


def test_paths_in_a_manifest_never_lead_out(online, tmp_path):
    opened(tmp_path)
    path = tmp_path / NEW
    manifest = json.loads(path.read_text())
    for url in (
        "https://b.s3.amazonaws.com/p/../../../etc/passwd",
        "https://b.s3.amazonaws.com/p//etc/passwd",
    ):
        manifest["data_files"]["101"]["url"] = url
        path.write_text(json.dumps(manifest))
        with pytest.raises(PathEscapes):
            local(tmp_path).download_data(101)


def test_a_bucket_that_refuses_is_asked_with_the_credentials_of_the_environment(
    online, bucket, tmp_path, monkeypatch
):
    private = "private-vbn"
    bucket.create_bucket(
        Bucket=private, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    key = f"{PROJECT}/manifests/{NEW}"
    manifest = bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    bucket.put_object(Bucket=private, Key=key, Body=manifest)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Forbidden):
        project_cache(PROJECT, private).from_s3_cache(tmp_path / "a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    cache = project_cache(PROJECT, private).from_s3_cache(tmp_path / "b", silent=True)
    assert cache.current_manifest() == NEW
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Signature" not in kept
    assert b"very-secret" not in kept + repr(cache.one.remote).encode()


def test_nothing_is_asked_ahead_of_a_bucket_that_wants_signatures(online, bucket, monkeypatch):
    bucket.create_bucket(
        Bucket="private-ahead", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    bucket.put_object(Bucket="private-ahead", Key="a", Body=b"x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    remote = S3("private-ahead").remote
    with Connections() as connections, connections.used():
        assert remote.expect(File("a")) is not None
        with remote.open(File("a")) as body:
            assert b"".join(body.chunks) == b"x"
        assert remote.expect(File("a")) is None


@pytest.mark.parametrize("token", [None, "a/token+of=one"])
def test_addresses_are_signed_as_amazons_own_client_signs_them(monkeypatch, token):
    client = boto3.client(
        "s3",
        region_name="us-west-2",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        aws_session_token=token,
        config=botocore.client.Config(
            signature_version="s3v4", s3={"addressing_style": "virtual"}
        ),
    )
    theirs = client.generate_presigned_url(
        "get_object",
        Params={"Bucket": "some-data", "Key": "a/b c+d.csv", "VersionId": "v/1 +"},
        ExpiresIn=3600,
    )
    query = dict(parse_qsl(urlsplit(theirs).query))
    at = dt.datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    plain = theirs.partition("?")[0] + "?" + urlencode({"versionId": query["versionId"]})
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    ours = signed(plain, Keys("AKIDEXAMPLE", "secret", token), at)
    assert dict(parse_qsl(urlsplit(ours).query)) == query


# -- without the bucket ------------------------------------------------------------------------


def test_what_is_here_needs_no_bucket(online, tmp_path, monkeypatch, caplog):
    path = opened(tmp_path).download_data(101)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    cache = opened(tmp_path, timeout=2.0)
    assert "the releases that are here are used" in caplog.text
    assert cache.download_data(101) == path
    with pytest.raises(TransferFailed):
        cache.download_data(102)
    with pytest.raises(MissingData, match="ecephys_session_2"):
        local(tmp_path).download_data(102)
    with pytest.raises(TransferFailed):
        opened(tmp_path / "new", timeout=2.0)
    with pytest.raises(ManifestMissing, match="no manifest of a release"):
        local(tmp_path / "nothing")


def test_a_mounted_bucket_is_read_and_left_alone(online, bucket, tmp_path):
    for name, (tables, files) in zip((OLD, NEW), contents(), strict=True):
        key = f"{PROJECT}/manifests/{name}"
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        named = {f"project_metadata/{one}.csv": data for one, data in tables.items()}
        for rel, data in (named | dict(files.values())).items():
            place = tmp_path / PROJECT / rel
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    cache = local(tmp_path, use_static_cache=True)
    assert cache.list_all_downloaded_manifests() == [NEW] == [cache.current_manifest()]
    assert len(cache.get_unit_table()) == 3
    assert cache.ecephys_session_path(1) == tmp_path / PROJECT / SESSION
    with pytest.raises(ModeError, match="latest release only"):
        cache.compare_manifests(OLD, NEW)
    (tmp_path / PROJECT / SESSION).write_bytes(b"other")
    with pytest.raises(HashMismatch):
        local(tmp_path, use_static_cache=True).ecephys_session_path(1)
    assert sorted(tmp_path.rglob("*")) == before


def test_other_projects_are_read_in_the_same_way(online, tmp_path):
    assert VisualBehaviorOphysProjectCache.BUCKET_NAME == "visual-behavior-ophys-data"
    cache = project_cache(PROJECT, BUCKET).from_s3_cache(tmp_path, silent=True)
    assert cache.table("units").columns.tolist() == ["unit_id", "snr"]
    with pytest.raises(InvalidArgument):
        project_cache("a/b", "c")


def test_what_was_used_is_recorded(online, tmp_path):
    cache = opened(tmp_path)
    with cache.one.recording() as record:
        cache.get_unit_table()
    (entry,) = record
    assert (entry.kind, entry.revision, len(entry.hash)) == ("file", "0.10.0", 128)


def test_many_processes_fetch_each_file_once_and_lose_no_record(online, tmp_path):
    code = f"""
import sys
from one_cache.ecephys import VisualBehaviorNeuropixelsProjectCache as Project
cache = Project.from_s3_cache({str(tmp_path)!r}, {BUCKET!r}, silent=True)
for number in sys.argv[1:]:
    print(len(cache.download_data(number).read_bytes()))
"""
    orders = (["101", "102", "105"], ["105", "101"], ["102", "101", "103"], ["103", "105"])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, *order],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for order in orders
    ]
    sizes = {"101": 30001, "102": 32000, "103": 30003, "105": 27000}
    for order, process in zip(orders, started, strict=True):
        out, error = process.communicate()
        assert error == ""
        assert [int(line) for line in out.split()] == [sizes[number] for number in order]
    listed = json.loads((tmp_path / "_downloaded_data.json").read_text())
    assert {Path(path).name for path in listed} == {
        "ecephys_session_1.nwb",
        "ecephys_session_2.nwb",
        "lfp_A.nwb",
        "5.nwb",
    }
