import time

import pytest


@pytest.mark.timeout(90)
def test_the_demonstration_reads_the_same_in_all_modes(tmp_path):
    pytest.importorskip("matplotlib", reason="the demonstration draws")
    from one_cache.demo import run_demo

    talk = []
    start = time.monotonic()
    assert run_demo(tmp_path / "demo", talk.append)
    assert time.monotonic() - start < 60
    assert "produced the same numbers" in "\n".join(talk)
    for mode in ("remote", "local", "fixed"):
        picture = tmp_path / "demo" / "results" / f"psth_{mode}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 10_000


def test_a_failing_run_is_told_with_its_own_words(tmp_path):
    from one_cache.demo import _quickstart
    from one_cache.errors import OneCacheError

    (tmp_path / "results").mkdir()
    with pytest.raises(OneCacheError, match="ManifestMissing"):
        _quickstart(tmp_path, "http://127.0.0.1:9", "fixed")
