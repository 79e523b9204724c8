"""S3 against a server that speaks its protocol: as remote, and as the place of saved tables."""

import io
import os
import pickle
from pathlib import Path

import pytest

from one_cache import ONE, Cache
from one_cache.errors import (
    Forbidden,
    InvalidArgument,
    ModeError,
    NotOnRemote,
    StoreError,
    TransferFailed,
)
from one_cache.records import File
from one_cache.remotes import connect
from one_cache.testing import RemoteContract, read

moto = pytest.importorskip("moto.server", reason="moto[server] is not installed")
boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")

PLACE = "KS014/2024-02-07/001"
KEY, SECRET = "AKIAEXAMPLE", "correct/horse+battery"


@pytest.fixture(scope="module")
def endpoint():
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def client(endpoint, tmp_path, monkeypatch):
    """The other client, which fills buckets."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )


@pytest.fixture
def bucket(client, request):
    name = f"lab-{abs(hash(request.node.name)) % 10**12}"
    client.create_bucket(Bucket=name)
    yield name
    listed = client.list_objects_v2(Bucket=name).get("Contents", [])
    for one in listed:
        client.delete_object(Bucket=name, Key=one["Key"])
    client.delete_bucket(Bucket=name)


def fill(client, bucket, files, prefix="", acl="private"):
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    for one in listed:
        if one["Key"].removeprefix(prefix) not in files:
            client.delete_object(Bucket=bucket, Key=one["Key"])
    for path, content in files.items():
        client.put_object(Bucket=bucket, Key=prefix + path, Body=content, ACL=acl)


@pytest.fixture
def address(endpoint, bucket):
    return f"s3://{KEY}:{SECRET.replace('/', '%2F')}@{bucket}/data?endpoint_override={endpoint}"


class TestS3Remote(RemoteContract):
    secrets = (SECRET, SECRET.replace("/", "%2F"), KEY)

    @pytest.fixture
    def place(self, client, bucket, address):
        def put(files):
            fill(client, bucket, files, "data/")
            return connect(address)

        return put


class TestS3RemoteAnonymous(RemoteContract):
    @pytest.fixture
    def place(self, client, bucket, endpoint, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        policy = (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
            f'"Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::{bucket}", '
            f'"arn:aws:s3:::{bucket}/*"]}}]}}'
        )
        client.put_bucket_policy(Bucket=bucket, Policy=policy)

        def put(files):
            fill(client, bucket, files, acl="public-read")
            return connect(f"s3://{bucket}")

        return put


def upload(client, bucket, folder, prefix="data/"):
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".one_cache" not in path.parts:
            key = prefix + path.relative_to(folder).as_posix()
            client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def test_a_lab_on_s3_is_searched_loaded_and_frozen(client, bucket, address, lab, tmp_path):
    upload(client, bucket, lab)
    one = ONE(address, cache_dir=tmp_path / "cache", silent=True)
    eids = one.search(subject="^KS014$")
    assert len(eids) == 3
    with one.recording():
        assert one.load_object(PLACE, "wheel").position.size
        drift = one.load_dataset(PLACE, "drift.times.npy", download_only=True)
    assert "#2024-05-06#" in str(drift)
    assert SECRET not in one.source
    assert bucket in one.source
    one.freeze()
    record = one.save_record(tmp_path / "record.jsonl")
    for path in tmp_path.rglob("*"):
        if path.is_file() and lab not in path.parents:
            assert KEY.encode() not in path.read_bytes(), path
    fixed = ONE(cache_dir=tmp_path / "cache", mode="fixed")
    assert fixed.load_object(PLACE, "wheel").position.size
    other = Cache(tmp_path / "other", silent=True)
    assert other.restore(record, source=address).ok


def test_the_environment_gives_credentials_endpoint_and_region(
    client, bucket, endpoint, monkeypatch
):
    fill(client, bucket, {"a.npy": b"x"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    remote = connect(f"s3://{bucket}")
    with pytest.raises(Forbidden):
        read(remote, "a.npy")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert read(connect(f"s3://{bucket}"), "a.npy") == b"x"
    with pytest.raises(Forbidden):
        read(connect(f"s3://{bucket}", anonymous=True), "a.npy")


def test_what_is_no_address_is_named():
    for address in ("s3://", "s3:///prefix"):
        with pytest.raises(InvalidArgument):
            connect(address)
    from one_cache.remotes.s3 import S3Remote

    with pytest.raises(InvalidArgument) as caught:
        S3Remote("gs://me:secret@bucket")
    assert "secret" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_named(client, endpoint):
    address = f"s3://{KEY}:x@no-such-bucket-here?endpoint_override={endpoint}"
    with pytest.raises(NotOnRemote, match="no-such-bucket-here"):
        read(connect(address), "a.npy")


def test_a_server_that_is_away_can_come_back(client):
    remote = connect(f"s3://{KEY}:x@bucket?endpoint_override=http://127.0.0.1:9")
    with pytest.raises(TransferFailed, match="bucket"):
        remote.tables()
    with pytest.raises(TransferFailed, match=r"a\.npy"):
        remote.open(File("a.npy"))


def test_a_file_that_changes_while_it_is_read_is_not_taken_for_whole(client, bucket, address):
    fill(client, bucket, {"a.npy": b"a" * (9 << 20)}, "data/")
    with connect(address).open(File("a.npy")) as body:
        next(body.chunks)
        fill(client, bucket, {"a.npy": b"b" * (9 << 20)}, "data/")
        with pytest.raises(TransferFailed, match="changed"):
            list(body.chunks)


def test_a_copy_keeps_its_access(client, bucket, address):
    fill(client, bucket, {"a.npy": b"x"}, "data/")
    remote = connect(address)
    assert read(remote, "a.npy") == b"x"
    assert read(pickle.loads(pickle.dumps(remote)), "a.npy") == b"x"


# -- the place of saved tables ---------------------------------------------------------------


def test_tables_are_saved_and_loaded_there(client, bucket, address, url, tmp_path):
    one = Cache(tmp_path / "cache", remote=url, silent=True)
    one.load_object(PLACE, "wheel")
    written = one.save_cache(address)
    assert sorted(written) == ["datasets", "sessions"]
    assert all(SECRET not in str(place) for place in written.values())
    other = Cache(tmp_path / "other", silent=True)
    other.load_cache(address)
    assert other.search() == one.search(subject="^KS014$", number="1", date="2024-02-07")
    assert (tmp_path / "other" / "datasets.pqt").is_file()
    remote = ONE(address, cache_dir=tmp_path / "third", silent=True)
    assert len(remote.search()) == 1


@pytest.mark.parametrize("prefix", ["data", "my%20data/%C3%BC%23%2B"])
def test_what_breaks_off_while_it_is_written_is_never_seen(
    client, bucket, endpoint, tmp_path, prefix
):
    there = connect(
        f"s3://{KEY}:{SECRET.replace('/', '%2F')}@{bucket}/{prefix}?endpoint_override={endpoint}"
    )
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_bytes(b"before")
    after.write_bytes(bytes(9 << 20))
    there.put("datasets.pqt", before)

    class Cut(io.BytesIO):
        def open(self, mode):
            return self

        def read(self, size=-1):
            if self.tell():
                raise KeyboardInterrupt
            return super().read(6 << 20)

    with pytest.raises(KeyboardInterrupt):
        there.put("datasets.pqt", Cut(after.read_bytes()))
    names = [one["Key"] for one in client.list_objects_v2(Bucket=bucket)["Contents"]]
    # a name that ends so is how Arrow marks a folder
    assert len([name for name in names if not name.endswith("/")]) == 1
    with there.open(File("datasets.pqt")) as body:
        assert b"".join(body.chunks) == b"before"
    there.put("datasets.pqt", after)
    with there.open(File("datasets.pqt")) as body:
        assert b"".join(body.chunks) == bytes(9 << 20)


def test_tables_that_lie_there_are_merged_with(client, bucket, address, url, tmp_path):
    first = Cache(tmp_path / "first", remote=url, silent=True)
    first.list_datasets(PLACE)
    first.save_cache(address)
    second = Cache(tmp_path / "second", remote=url, silent=True)
    second.list_datasets("KS01/2024-01-15/001")
    second.save_cache(address)
    assert len(ONE(address, cache_dir=tmp_path / "a", silent=True).search()) == 2
    second.save_cache(address, clobber=True)
    ONE.cache_clear()
    assert len(ONE(address, cache_dir=tmp_path / "b", silent=True).search()) == 1


def test_a_place_that_refuses_tables_is_named(client, endpoint, url, tmp_path):
    one = Cache(tmp_path / "cache", remote=url, silent=True)
    one.list_datasets(PLACE)
    with pytest.raises(StoreError, match="no-such-bucket-here"):
        one.save_cache(f"s3://{KEY}:x@no-such-bucket-here?endpoint_override={endpoint}")
    with pytest.raises(InvalidArgument, match="no tables can be saved"):
        one.save_cache("http://data.lab.org/tables")


def test_an_address_without_tables_is_named(client, bucket, address, tmp_path):
    with pytest.raises(InvalidArgument, match="there are no tables at"):
        Cache(tmp_path, silent=True).load_cache(address)


def test_a_fixed_cache_takes_no_tables_from_an_address(address, lab):
    Cache(lab, silent=True).freeze()
    fixed = Cache(lab, mode="fixed")
    with pytest.raises(ModeError):
        fixed.load_cache(address)


def test_the_default_server_is_remembered_without_credentials(client, bucket, address, tmp_path):
    fill(client, bucket, {"sessions.pqt": b""}, "data/")
    ONE(address, cache_dir=tmp_path / "cache", silent=True)
    [settings] = Path(os.environ["ONE_CACHE_CONFIG"]).glob("*.json")
    assert bucket in settings.read_text()
    assert KEY not in settings.read_text()
