"""Access tables among processes and threads, with damaged files, full disks and kills."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from one_cache.errors import StoreError, TableChanged, TableCorrupt, TableError
from one_cache.records import Dataset
from one_cache.tables import Tables

EIDS = [str(uuid.UUID(int=number << 64, version=4)) for number in range(1, 21)]


def new_id() -> str:
    return str(uuid.uuid4())


def dataset(eid: str, name: str) -> Dataset:
    return Dataset(new_id(), eid, f"alf/{name}.x.npy", 5, "0" * 32)


def filled(folder: Path, each: int = 5) -> Path:
    """Tables of 20 sessions."""
    tables = Tables.open(folder, silent=True, large=0)
    tables.add("datasets", [dataset(eid, f"d{n}") for eid in EIDS for n in range(each)])
    tables.save()
    return folder


def script(code: str, *given: object, **options: object) -> subprocess.Popen[str]:
    """Run code in a process of its own."""
    head = "import sys\nfrom pathlib import Path\nfrom one_cache.tables import Tables\n"
    head += "from one_cache.records import Dataset\nfolder = Path(sys.argv[1])\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(code), *map(str, given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".draft" in path.name]


# -- processes -------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [0, 1_000_000])
def test_processes_that_save_at_the_same_moment_all_keep_their_rows(
    tmp_path: Path, large: int
) -> None:
    filled(tmp_path)
    code = """
        import time, uuid
        tables = Tables.open(folder, silent=True, large=int(sys.argv[3]))
        eid = sys.argv[2]
        tables.add("datasets", [Dataset(str(uuid.uuid4()), eid, f"{n}.x.npy") for n in range(50)])
        while not (folder / "go").exists():
            time.sleep(0.001)
        tables.save()
        assert len(tables.datasets_of(eid)) == 50
    """
    eids = [new_id() for _ in range(4)]
    running = [script(code, tmp_path, eid, large) for eid in eids]
    time.sleep(1)
    (tmp_path / "go").touch()
    for one in running:
        err = one.communicate(timeout=60)[1]
        assert one.returncode == 0, err
    tables = Tables.open(tmp_path)
    assert [len(tables.datasets_of(eid)) for eid in eids] == [50] * 4
    assert tables.count("datasets") == 4 * 50 + 100
    assert left_behind(tmp_path) == []


def test_one_process_brings_a_table_into_shape_and_the_others_use_it(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "eid": [eid for eid in EIDS for _ in range(2000)],
            "id": [new_id() for _ in range(20 * 2000)],
            "rel_path": "alf/a.x.npy",
        }
    )
    frame.to_parquet(tmp_path / "datasets.pqt")
    before = (tmp_path / "datasets.pqt").read_bytes()
    code = f"print(len(Tables.open(folder).datasets_of({EIDS[3]!r})))"
    running = [script(code, tmp_path) for _ in range(3)]
    assert [one.communicate(timeout=60)[0].strip() for one in running] == ["2000"] * 3
    made = sorted(path.suffix for path in (tmp_path / ".one_cache/shaped").iterdir())
    assert made == [".lock", ".pqt", ".rows"]
    assert (tmp_path / "datasets.pqt").read_bytes() == before
    assert left_behind(tmp_path) == []


def ask_in_child(tables: Tables, results: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    results.put((tables.count("datasets"), len(tables.datasets_of(EIDS[0]))))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_asks_the_tables_of_its_parent(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system does not {method}")
    tables = Tables.open(filled(tmp_path), silent=True)
    tables.add("datasets", [dataset(EIDS[0], "new")])
    assert tables.count("datasets") == 101
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=ask_in_child, args=(tables, results))
    child.start()
    assert results.get(timeout=60) == (101, 6)
    child.join(60)
    assert child.exitcode == 0
    assert tables.count("datasets") == 101


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_ends_as_any_other(tmp_path: Path) -> None:
    code = """
        import os
        tables = Tables.open(folder)
        tables.count("datasets")
        child = os.fork()
        if child == 0:
            print(tables.count("datasets"), flush=True)
            sys.exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    run = script(code, filled(tmp_path))
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out.strip()) == (0, "100"), err


def test_tables_are_pickled_with_their_new_records(tmp_path: Path) -> None:
    tables = Tables.open(filled(tmp_path))
    tables.add("datasets", [dataset(EIDS[1], "new")])
    again = pickle.loads(pickle.dumps(tables))
    assert again.datasets_of(EIDS[1]) == tables.datasets_of(EIDS[1])
    assert again.dirty


# -- threads ---------------------------------------------------------------------------------


def test_threads_ask_while_others_add_and_save(tmp_path: Path) -> None:
    tables = Tables.open(filled(tmp_path), silent=True, large=0)
    end = time.monotonic() + 2
    added: list[str] = []

    def ask(eid: str) -> int:
        asked = 0
        while time.monotonic() < end:
            assert tables.count("datasets") >= 100
            assert len(tables.datasets_of(eid)) >= 5
            assert tables.sessions_with([["d1.x.npy"]]) == sorted(EIDS)
            assert len(tables.rows("SELECT * FROM datasets WHERE eid = ?", [eid])) >= 5
            asked += 1
        return asked

    def add() -> int:
        while time.monotonic() < end:
            one = dataset(EIDS[len(added) % 20], "more")
            tables.add("datasets", [one])
            added.append(one.id)
            assert tables.datasets([one.id]) == [one]
            time.sleep(0.002)
        return 1

    def save() -> int:
        while time.monotonic() < end:
            tables.save()
        return 1

    with ThreadPoolExecutor(5) as pool:
        tasks = [pool.submit(ask, eid) for eid in EIDS[:3]] + [pool.submit(add), pool.submit(save)]
        assert all(task.result(60) for task in tasks)
    tables.save()
    assert Tables.open(tmp_path).count("datasets") == 100 + len(added)


@pytest.mark.parametrize("ask", ["datasets", "datasets_of", "by_id", "sessions_with"])
def test_what_is_saved_while_it_is_asked_for_is_never_missing(tmp_path: Path, ask: str) -> None:
    tables = Tables.open(filled(tmp_path), silent=True)
    one = dataset(EIDS[0], "more")
    tables.add("datasets", [one])
    questions: dict[str, Callable[[], bool]] = {
        "datasets": lambda: tables.datasets([one.id]) == [one],
        "datasets_of": lambda: one in tables.datasets_of(EIDS[0]),
        "by_id": lambda: list(tables.by_id("datasets", [one.id])) == [one.id],
        "sessions_with": lambda: bool(tables.sessions_with([["more.x.npy"]], eids=[EIDS[0]])),
    }
    assert questions[ask]()
    tables.add("datasets", [one])
    with ThreadPoolExecutor(1) as pool:
        with tables._shelf.lock:
            # it looks at the files, or waits for the lock; then all goes from memory to the file
            answer = pool.submit(questions[ask])
            time.sleep(0.3)
            tables.save()
        assert answer.result(60)


# -- kills and full disks ----------------------------------------------------------------------


def test_a_process_killed_while_saving_leaves_what_was_there(tmp_path: Path) -> None:
    filled(tmp_path)
    before = (tmp_path / "datasets.pqt").read_bytes()
    code = """
        import uuid
        tables = Tables.open(folder, silent=True)
        eid = str(uuid.uuid4())
        names = [f"{n}.x.npy" for n in range(60_000)]
        tables.add("datasets", [Dataset(str(uuid.uuid4()), eid, name) for name in names])
        print("saving", flush=True)
        tables.save()
    """
    killed = 0
    for delay in (0.05, 0.15, 0.3, 0.5):
        run = script(code, tmp_path)
        assert run.stdout is not None
        assert run.stdout.readline() == "saving\n"
        time.sleep(delay)
        run.send_signal(signal.SIGKILL)
        killed += run.wait(60) == -signal.SIGKILL
        run.communicate()
        after = (tmp_path / "datasets.pqt").read_bytes()
        count = Tables.open(tmp_path).count("datasets")
        assert count == 100 if after == before else count > 100
        before = after
    assert killed
    tables = Tables.open(tmp_path)
    tables.add("datasets", [dataset(EIDS[0], "last")])
    tables.save()
    assert left_behind(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a matter of POSIX")
def test_a_disk_that_takes_no_more_leaves_what_was_there(tmp_path: Path) -> None:
    filled(tmp_path)
    before = (tmp_path / "datasets.pqt").read_bytes()
    code = """
        import resource, uuid
        from one_cache.errors import StoreError
        tables = Tables.open(folder, silent=True)
        eid = str(uuid.uuid4())
        names = [f"{n}.x.npy" for n in range(20_000)]
        tables.add("datasets", [Dataset(str(uuid.uuid4()), eid, name) for name in names])
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            tables.save()
        except StoreError as error:
            assert error.errno, error
            assert len(tables.datasets_of(eid)) == 20_000
            print("refused", tables.dirty)
    """
    run = script(code, tmp_path)
    out, err = run.communicate(timeout=60)
    assert out.strip() == "refused True", err
    assert (tmp_path / "datasets.pqt").read_bytes() == before
    assert left_behind(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    tables = Tables.open(None)
    tables.add("datasets", [dataset(EIDS[0], "a")])
    with pytest.raises(StoreError, match="cannot be written"):
        tables.save(tmp_path / "file" / "below")
    assert tables.dirty


# -- files that change ---------------------------------------------------------------------------


def other_rows(folder: Path, path: Path) -> None:
    """Write a table with one row into `folder`, and put it at `path`."""
    tables = Tables.open(folder, silent=True)
    tables.add("datasets", [Dataset(new_id(), EIDS[0], "other.x.npy")])
    tables.save()
    os.replace(folder / "datasets.pqt", path)


@pytest.mark.parametrize("large", [0, 1_000_000])
def test_a_table_that_is_replaced_while_open_is_opened_again(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, large: int
) -> None:
    tables = Tables.open(filled(tmp_path), silent=True, large=large)
    assert len(tables.datasets_of(EIDS[0])) == 5
    other_rows(tmp_path_factory.mktemp("other"), tmp_path / "datasets.pqt")
    assert [one.rel_path for one in tables.datasets_of(EIDS[0])] == ["other.x.npy"]
    assert tables.dataset_names() == ["other.x.npy"]
    assert tables.count("datasets") == 1


def test_an_answer_is_never_of_two_versions_of_a_table(tmp_path: Path) -> None:
    for version in (1, 2):
        frame = pd.DataFrame(
            {
                "eid": EIDS * 400,
                "id": [new_id() for _ in range(8000)],
                "rel_path": f"v{version}.x.npy",
                "hash": [os.urandom(8 * version).hex() for _ in range(8000)],
            }
        )
        frame.to_parquet(tmp_path / f"v{version}", row_group_size=1000)
    shutil.copy(tmp_path / "v1", tmp_path / "datasets.pqt")
    code = """
        import os, shutil, time
        end = time.monotonic() + 2
        while time.monotonic() < end:
            for version in ("v1", "v2"):
                shutil.copy(folder / version, folder / "next")
                os.replace(folder / "next", folder / "datasets.pqt")
                time.sleep(0.03)
    """
    run = script(code, tmp_path)
    # bringing it into shape would take longer than it lasts
    tables = Tables.open(tmp_path, silent=True, large=1_000_000)
    asked = 0
    while run.poll() is None:
        try:
            rows = tables.rows("SELECT rel_path, min(length(hash)) AS n FROM datasets GROUP BY 1")
        except TableChanged:
            continue  # this machine reads more slowly than that process writes
        assert rows in ([{"rel_path": "v1.x.npy", "n": 16}], [{"rel_path": "v2.x.npy", "n": 32}])
        asked += 1
    assert run.communicate()[1] == ""
    assert asked


def test_a_table_that_is_replaced_while_it_is_brought_into_shape_is_opened(tmp_path: Path) -> None:
    for version in (1, 2):
        ids = [new_id() for _ in range(4000)]
        frame = pd.DataFrame({"eid": EIDS * 200, "id": ids, "rel_path": f"v{version}.x.npy"})
        frame.to_parquet(tmp_path / f"v{version}")
    shutil.copy(tmp_path / "v1", tmp_path / "datasets.pqt")
    code = """
        import os, shutil, time
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for version in ("v1", "v2"):
                shutil.copy(folder / version, folder / "next")
                os.replace(folder / "next", folder / "datasets.pqt")
                time.sleep(0.01)
    """
    run = script(code, tmp_path)
    while run.poll() is None:
        Tables.open(tmp_path, silent=True, large=0)
    assert run.communicate()[1] == ""
    tables = Tables.open(tmp_path, silent=True, large=0)
    assert tables.rel_paths() == ["v2.x.npy"]
    assert len(tables.datasets_of(EIDS[0])) == 200


def test_a_table_that_is_damaged_while_open_is_an_error_and_heals(tmp_path: Path) -> None:
    tables = Tables.open(filled(tmp_path), silent=True)
    path = tmp_path / "datasets.pqt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableCorrupt, match="datasets.pqt"):
        tables.count("datasets")
    path.write_bytes(whole)
    assert tables.count("datasets") == 100
    path.unlink()
    with pytest.raises(TableChanged, match="removed"):
        tables.count("datasets")


def test_damage_between_two_good_ends_is_an_error(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "datasets.pqt"
    content = bytearray(path.read_bytes())
    content[200:1500] = os.urandom(1300)
    path.write_bytes(content)
    with pytest.raises(TableError):
        Tables.open(tmp_path, large=1_000_000).rows("SELECT * FROM datasets")


def test_what_was_made_of_an_earlier_table_is_not_taken_for_this_one(tmp_path: Path) -> None:
    path = tmp_path / "datasets.pqt"
    for name in ("first", "later"):
        frame = pd.DataFrame({"eid": EIDS, "id": EIDS, "rel_path": f"{name}.x.npy"})
        frame.to_parquet(path)
        os.utime(path, ns=(1, 1))
        tables = Tables.open(tmp_path, large=0, silent=True)
        assert [one.rel_path for one in tables.datasets_of(EIDS[2])] == [f"{name}.x.npy"]
    made = sorted(one.suffix for one in (tmp_path / ".one_cache/shaped").iterdir())
    assert made == [".lock", ".pqt", ".rows"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_a_damaged_file_of_rows_is_made_again(tmp_path: Path, damage: str) -> None:
    filled(tmp_path)
    (rows,) = (tmp_path / ".one_cache/shaped").glob("*.rows")
    if damage == "missing":
        rows.unlink()
    else:
        rows.write_bytes(rows.read_bytes()[:100] if damage == "truncated" else b"")
    tables = Tables.open(tmp_path, large=0, silent=True)
    assert len(tables.datasets_of(EIDS[4])) == 5
    (again,) = (tmp_path / ".one_cache/shaped").glob("*.rows")
    assert again.stat().st_size > 1000


def test_tables_that_may_not_be_written_beside_are_shaped_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    pd.DataFrame({"eid": EIDS, "id": EIDS, "rel_path": "a.x.npy"}).to_parquet(
        folder / "datasets.pqt"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home/cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "home"))
    for _ in range(2):
        tables = Tables.open(folder, writable=False, large=0, silent=True)
        assert len(tables.datasets_of(EIDS[0])) == 1
    assert [path.name for path in folder.iterdir()] == ["datasets.pqt"]
    assert len(list((tmp_path / "home").rglob("datasets.*.rows"))) == 1


# -- what it costs -------------------------------------------------------------------------------


def test_listing_a_session_of_a_large_table_needs_no_engine(tmp_path: Path) -> None:
    code = f"""
        tables = Tables.open(folder, large=0)
        found = tables.datasets_of({EIDS[0]!r})
        assert tables.datasets([found[2].id]) == [found[2]]
        heavy = {{"duckdb", "pandas", "numpy", "pyarrow", "filelock", "tqdm"}} & set(sys.modules)
        print(len(found), sorted(heavy))
    """
    out, err = script(code, filled(tmp_path)).communicate(timeout=60)
    assert out.strip() == "5 []", err


def test_the_engine_never_looks_for_extensions(tmp_path: Path) -> None:
    tables = Tables.open(filled(tmp_path))
    known = tables.rows(
        "SELECT name, value FROM duckdb_settings() WHERE name LIKE 'auto%known_extensions'"
    )
    assert {row["name"]: row["value"] for row in known} == {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }


def test_many_threads_do_not_keep_many_cursors(tmp_path: Path) -> None:
    tables = Tables.open(filled(tmp_path), large=1_000_000)
    for _ in range(20):
        one = threading.Thread(target=tables.count, args=("datasets",))
        one.start()
        one.join()
    assert len(tables._shelf.current().engine._idle) <= 2


# -- names of folders ----------------------------------------------------------------------------


@pytest.mark.parametrize("large", [0, 1_000_000])
@pytest.mark.parametrize("name", ["data[1]", "d*", "data?", "lab=x", "rel_path=x", "it's 50% #1"])
def test_names_of_folders_mean_only_themselves(tmp_path: Path, name: str, large: int) -> None:
    frame = pd.DataFrame({"eid": EIDS, "id": EIDS, "rel_path": "right.x.npy"})
    for folder, paths in ((name, "right.x.npy"), ("data1", "wrong.x.npy")):
        (tmp_path / folder).mkdir()
        frame.assign(rel_path=paths).to_parquet(tmp_path / folder / "datasets.pqt")
    tables = Tables.open(tmp_path / name, silent=True, large=large)
    assert tables.rows("SELECT DISTINCT rel_path FROM datasets") == [{"rel_path": "right.x.npy"}]
    tables.add("datasets", [dataset(EIDS[0], "new")])
    tables.save()
    tables = Tables.open(tmp_path / name, silent=True, large=large)
    assert tables.rel_paths() == ["alf/new.x.npy", "right.x.npy"]
    assert tables.count("datasets") == 21


def test_a_file_of_rows_of_which_a_bit_changed_gives_no_other_rows(tmp_path: Path) -> None:
    tables = Tables.open(filled(tmp_path), silent=True, large=0)
    known = {eid: tables.datasets_of(eid) for eid in EIDS}
    ids = [one.id for found in known.values() for one in found]
    (rows,) = (tmp_path / ".one_cache/shaped").glob("*.rows")
    whole = rows.read_bytes()
    refused = 0
    for place in range(8, len(whole), len(whole) // 60):
        changed = bytearray(whole)
        changed[place] ^= 1
        rows.unlink(missing_ok=True)
        rows.write_bytes(changed)
        tables = Tables.open(tmp_path, silent=True, large=1_000_000)
        try:
            assert {eid: tables.datasets_of(eid) for eid in EIDS} == known
            assert [one.id for one in tables.datasets(ids)] == ids
            assert tables.dataset_names() == [f"d{n}.x.npy" for n in range(5)]
        except TableCorrupt:
            refused += 1
            assert Tables.open(tmp_path, silent=True, large=0).datasets_of(EIDS[0])
    assert refused > 10


def test_a_file_of_rows_of_another_form_is_made_again(tmp_path: Path) -> None:
    filled(tmp_path)
    (rows,) = (tmp_path / ".one_cache/shaped").glob("*.rows")
    whole = rows.read_bytes()
    rows.write_bytes(whole[:-1] + b"2")
    assert len(Tables.open(tmp_path, silent=True, large=0).datasets_of(EIDS[4])) == 5
    assert rows.read_bytes()[-8:] == whole[-8:]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a matter of POSIX")
def test_a_foreign_table_on_a_full_disk_is_asked_as_it_is(tmp_path: Path) -> None:
    ids = [new_id() for _ in range(30_000)]
    frame = pd.DataFrame({"eid": EIDS * 1500, "id": ids, "rel_path": "a.x.npy"})
    frame.to_parquet(tmp_path / "datasets.pqt")
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        print(len(Tables.open(folder, silent=True).datasets_of(sys.argv[2])))
    """
    out, err = script(code, tmp_path, EIDS[0]).communicate(timeout=60)
    assert out.strip() == "1500", err
    assert "asked as it is" in err
    assert left_behind(tmp_path) == []


def test_a_folder_that_is_gone_while_its_tables_are_open_is_an_error_that_says_so(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "tables"
    tables = Tables.open(filled(folder), silent=True)
    folder.rename(tmp_path / "moved")
    folder.write_text("another thing")
    with pytest.raises(TableChanged, match=r"datasets\.pqt: removed"):
        tables.datasets_of(EIDS[0])
    folder.unlink()
    (tmp_path / "moved").rename(folder)
    assert len(tables.datasets_of(EIDS[0])) == 5
