"""What the real AllenSDK answered, and how an answer of ours is compared with it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SHARED = Path(os.environ.get("ONE_CACHE_SHARED", Path(__file__).parents[2] / "shared"))
STUB = SHARED / "tools" / "allen_stub"
EXPECTED = SHARED / "fixtures" / "allen" / "expected"
OWN = Path(__file__).parent / "data" / "allen"


def require_shared():
    if not (EXPECTED / "INDEX.json").exists() or not (STUB / "server.py").exists():
        pytest.skip(f"no reference outputs of AllenSDK in {SHARED}; set ONE_CACHE_SHARED")


@contextlib.contextmanager
def running_stub(folder):
    """Run the stand-in for the warehouse that the reference was made with; give its host."""
    require_shared()
    portfile = folder / "port"
    command = [sys.executable, str(STUB / "server.py"), "--port", "0", "--portfile", str(portfile)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                if portfile.exists() and portfile.read_text():
                    break
                time.sleep(0.05)
            yield f"127.0.0.1:{portfile.read_text().split()[0]}"
        finally:
            process.kill()


def kind_of(dtype):
    """Texts are objects in pandas 2 and have a type of their own in pandas 3."""
    return "object" if str(dtype) in ("str", "string", "object") else str(dtype)


def as_text(value):
    """Write a cell as the reference tables do."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return json.dumps([None if item != item else item for item in value])
    if value is None or (isinstance(value, float) and value != value):
        return "null"
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        value = value.item()
    return json.dumps(value)


def compare_frame(got, name, folder=EXPECTED, *, columns_in_order=True, index_matters=True):
    meta = json.loads((folder / f"{name}.meta.json").read_text())
    want = pd.read_parquet(folder / f"{name}.parquet")
    names = [level or "index" for level in meta["index"]["names"]]
    if isinstance(got, pd.Series):
        got = got.to_frame()
        got.columns = meta["columns"]
    if columns_in_order:
        assert list(got.columns) == meta["columns"]
    assert set(got.columns) == set(meta["columns"])
    dtypes = {column: kind_of(dtype) for column, dtype in got.dtypes.items()}
    assert dtypes == {column: kind_of(dtype) for column, dtype in meta["dtypes"].items()}
    assert list(got.index.names) == meta["index"]["names"] or not index_matters
    assert len(got) == len(want)
    if not len(want):
        return
    flat = got.reset_index() if index_matters else got.reset_index(drop=True)
    if index_matters:
        flat.columns = [*want.columns[: len(names)], *got.columns]
        if "MultiIndex" not in meta["index"]["type"]:
            assert kind_of(got.index.dtype) == kind_of(meta["index"]["dtype"])
    encoded = set(meta.get("json_encoded_columns", ()))
    first = list(want.columns[: len(names)]) if index_matters else []
    if first and not columns_in_order:
        pass
    elif first:
        flat = flat.sort_values(first, kind="stable", ignore_index=True)
        want = want.sort_values(first, kind="stable", ignore_index=True)
    for column in [*first, *meta["columns"]]:
        compare_column(flat[column], want[column], encoded=column in encoded)


def compare_column(got, want, *, encoded):
    where = f"column {want.name}"
    if encoded:
        texts = [
            json.dumps(json.loads(text)) if isinstance(text, str) else "null" for text in want
        ]
        assert [as_text(value) for value in got] == texts, where
    elif want.dtype.kind in "fiub":
        np.testing.assert_array_equal(got.to_numpy(), want.to_numpy(), err_msg=where)
    else:
        assert got.isna().tolist() == want.isna().tolist(), where
        assert got.dropna().tolist() == want.dropna().tolist(), where


def compare(got, name, **options):
    """Compare one answer with the reference; frames, arrays, dicts of arrays, plain values."""
    meta = json.loads((EXPECTED / f"{name}.meta.json").read_text())
    if meta["kind"] == "DataFrame":
        compare_frame(got, name, **options)
    elif (EXPECTED / f"{name}.npz").exists():
        with np.load(EXPECTED / f"{name}.npz", allow_pickle=True) as want:
            compare_arrays(got, want, meta)
    else:
        assert plain(got) == meta.get("value"), name


def compare_arrays(got, want, meta):
    if meta["kind"] == "xarray.DataArray":
        assert got.name == meta["name"]
        assert list(got.dims) == meta["dims"]
        assert str(got.dtype) == meta["dtype"]
        np.testing.assert_array_equal(got.values, want["data"])
        assert {f"coord_{coord}" for coord in got.coords} == set(want.files) - {"data"}
        for coord in got.coords:
            np.testing.assert_array_equal(got[coord].values, want[f"coord_{coord}"])
            assert list(got[coord].dims) == meta["coords"][coord]["dims"]
    elif isinstance(got, dict):
        compare_dicts(got, want)
    else:
        (name,) = want.files
        np.testing.assert_array_equal(got, want[name])
        assert got.dtype == want[name].dtype


def compare_dicts(got, want):
    names = {name.partition("__")[0] for name in want.files} - {"time"}
    assert {str(key) for key in got} == names
    for key, value in got.items():
        if hasattr(value, "coords"):
            assert value.dims == ("channel_id", "time")
            np.testing.assert_array_equal(value.values, want[f"{key}__data"])
            for coord in value.coords:
                if f"{key}__{coord}" in want.files:
                    np.testing.assert_array_equal(value[coord].values, want[f"{key}__{coord}"])
        else:
            np.testing.assert_array_equal(np.asarray(value), want[str(key)])
            assert np.asarray(value).dtype == want[str(key)].dtype


def plain(value):
    """Give a value as JSON holds it."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(one) for one in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (np.floating, np.integer, np.bool_)):
        value = value.item()
    if isinstance(value, float) and value != value:
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
