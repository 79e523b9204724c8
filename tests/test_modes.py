import pytest

from one_cache.errors import InvalidArgument
from one_cache.modes import Action, FileState, Mode, policy, read_mode


def test_remote_asks_and_fetches_what_is_missing_or_wrong():
    row = policy(Mode.REMOTE)
    assert row.asks
    assert row.writes
    assert row.on[FileState.MISSING] is Action.FETCH
    assert row.on[FileState.WRONG] is Action.FETCH
    assert row.on[FileState.UNCHECKED] is Action.HASH


def test_local_asks_and_fetches_nothing_unless_a_call_says_so():
    assert not policy(Mode.LOCAL).asks
    assert policy(Mode.LOCAL).on[FileState.MISSING] is Action.RAISE
    assert policy(Mode.LOCAL, "remote").asks
    assert policy(Mode.LOCAL, "remote").on[FileState.MISSING] is Action.FETCH


def test_a_remote_cache_that_asks_its_own_tables_still_fetches():
    row = policy(Mode.REMOTE, "local")
    assert not row.asks
    assert row.on[FileState.MISSING] is Action.FETCH


@pytest.mark.parametrize("query_type", [None, "remote", "local"])
def test_no_argument_overrides_fixed(query_type):
    row = policy(Mode.FIXED, query_type)
    assert row.pinned
    assert not row.asks
    assert not row.writes
    assert Action.FETCH not in row.on.values()


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("state", list(FileState))
def test_every_mode_answers_every_state(mode, state):
    assert policy(mode).on[state] in Action


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InvalidArgument, match="'remote', 'local', 'fixed', got 'online'"):
        read_mode("online")
    with pytest.raises(InvalidArgument, match="got 'auto'"):
        policy(Mode.REMOTE, "auto")
