"""The canonical text of a query: one for every layout and hash seed, another for another query."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("neuprint", reason="neuprint-python is not installed")

from one_cache.neuprint.cypher import canonical, is_timeboxed, is_write, rewritten, tokens
from one_cache.neuprint.query import Query, SetupError, address_of

DIRECTED = """
    WITH n, m, {lists}, roiInfo
    UNWIND keys(roiInfo) as roi
    WITH {carried}
    WHERE size(inputRois) = 0 OR (roi in inputRois AND roi_post >= 1)
    RETURN n.bodyId, size(outputRois)
"""


def directed(first, second, carried):
    lists = f"{first} as inputRois, {second} as outputRois"
    return DIRECTED.format(lists=lists, carried=carried)


def test_layout_and_comments_do_not_count():
    one = "MATCH (n:Neuron)\n    // the neurons\n  WHERE n.type = 'APL' /* here */ RETURN n"
    other = "MATCH (n:Neuron) WHERE\tn.type = 'APL'\r\nRETURN n // all"
    assert canonical(one) == canonical(other) == "MATCH (n:Neuron) WHERE n.type = 'APL' RETURN n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RETURN 'a  b'", "RETURN 'a b'"),
        ("RETURN 'a // b'", "RETURN 'a '"),
        ('RETURN "http://a"', 'RETURN "http://b"'),
        ("RETURN n.`AL(R)`", "RETURN n.`aL(R)`"),
        ("RETURN n.`a // b`", "RETURN n.`a // c`"),
        ("RETURN n.type", "RETURN n.TYPE"),
        (r"RETURN 'it\'s // 1'", r"RETURN 'it\'s // 2'"),
        ("RETURN 1 2", "RETURN 12"),
        ("RETURN [1, 2]", "RETURN [2, 1]"),
        ("RETURN a, b", "RETURN b, a"),
        ("WITH a, b RETURN *", "WITH b, a RETURN *"),
        ("WITH b AS a, a AS b RETURN a, b", "WITH a AS b, b AS a RETURN a"),
        ("WITH a, 1 AS b RETURN a", "WITH 1 AS a, b RETURN a"),
        ("RETURN a /b", "RETURN a //b"),
    ],
)
def test_what_differs_in_meaning_differs(one, other):
    assert canonical(one) != canonical(other)


def test_the_order_of_passed_variables_does_not_count():
    one = "MATCH (n) WITH n, m,\n  n.type AS t, e RETURN t"
    assert canonical(one) == canonical("MATCH (n) WITH m,e, n.type AS t,n RETURN t")
    assert canonical("WITH DISTINCT n, s RETURN n") == canonical("WITH DISTINCT s, n RETURN n")


def test_operators_that_contain_with_are_no_clause():
    text = "MATCH (n) WHERE n.type STARTS WITH b AND n.x IN [c, a] RETURN n.with, a"
    assert canonical(text) == text


def test_roi_lists_that_are_only_asked_are_sorted():
    one = directed("['SIP(R)', 'aL(R)']", "[\"b'L(R)\", 'EB']", "n, roi, inputRois, outputRois")
    other = directed("['aL(R)', 'SIP(R)']", "['EB', \"b'L(R)\"]", "outputRois, inputRois, roi, n")
    assert canonical(one) == canonical(other)
    assert canonical(one) != canonical(one.replace("aL(R)", "AL(R)"))


@pytest.mark.parametrize(
    "use",
    [
        "RETURN inputRois",
        "RETURN inputRois[0]",
        "RETURN n, inputRois",
        "UNWIND inputRois AS roi RETURN roi",
        "RETURN [x IN inputRois WHERE x <> 'a' | x]",
        "RETURN reduce(s = '', x IN inputRois | s + x)",
        "RETURN head(inputRois)",
        "WITH inputRois + ['c'] AS more RETURN more",
        "WITH *, 1 AS one RETURN one",
        "WITH `inputRois`, 1 AS one RETURN `inputRois`",
        "RETURN {rois: inputRois}",
    ],
)
def test_roi_lists_whose_order_may_matter_are_kept(use):
    one, other = (f"WITH {rois} as inputRois {use}" for rois in ("['a', 'b']", "['b', 'a']"))
    assert canonical(one) != canonical(other)


def test_the_query_in_a_time_box_is_treated_alike():
    box = 'CALL apoc.cypher.runTimeboxed("{}", {{}}, 5000) YIELD value RETURN value.c as count'
    one = box.format('MATCH (n)\n  // how many\n  WITH n, m RETURN count(n) AS \\"c\\"')
    other = box.format('MATCH (n) WITH m, n RETURN count(n) AS \\"c\\"')
    assert canonical(one) == canonical(other)
    assert is_timeboxed(one)
    assert not is_timeboxed("RETURN 'CALL apoc.cypher.runTimeboxed(\"x\")'")
    assert canonical(one) != canonical(one.replace("5000", "120000"))


def test_a_time_box_with_escapes_is_left_as_it_is():
    box = 'CALL apoc.cypher.runTimeboxed("MATCH (n) // all\\n{} RETURN n", {{}}, 1) YIELD value'
    assert canonical(box.format("WHERE n.a")) != canonical(box.format("WHERE n.b"))


@pytest.mark.parametrize(
    ("cypher", "writes"),
    [
        ("MATCH (n) RETURN n", False),
        ("MATCH (n) SET n.a = 1", True),
        ("match (n) detach delete n", True),
        ("CREATE (n:X)", True),
        ("MERGE (n:X) RETURN n", True),
        ("MATCH (n) REMOVE n.a", True),
        ("FOREACH (x IN [1] | CREATE (:A))", True),
        ("LOAD CSV FROM 'x' AS r RETURN r", True),
        ("MATCH (n) RETURN n.set AS set, 'DELETE', n.`CREATE`, {merge: 1}", False),
        ("MATCH (n) // SET n.a = 1\nRETURN n", False),
        ("CALL apoc.create.node(['A'], {})", True),
        ("CALL apoc.periodic.iterate('a', 'b', {})", True),
        ("CALL db.labels() YIELD label RETURN label", False),
        ("CALL apoc.cypher.doIt('CREATE (n)', {})", True),
        ('CALL apoc.cypher.runTimeboxed("MATCH (n) SET n.a = 1", {}, 1) YIELD value', True),
        ('CALL apoc.cypher.runTimeboxed("MATCH (n) RETURN n", {}, 1) YIELD value', False),
    ],
)
def test_queries_that_write_are_told(cypher, writes):
    assert is_write(cypher) is writes


def test_the_text_that_the_server_makes():
    cypher = (
        "MATCH (n :Neuron)-[:SynapsesTo]->(:`Segment`), (s:SynapseSet), (e:ElementSet), (x:Cell)"
    )
    assert rewritten(cypher, "hemibrain:v1.2.1") == (
        "MATCH (n :`hemibrain_Neuron`)-[:SynapsesTo]->(:`hemibrain_Segment`), "
        "(s:`hemibrain_SynapseSet`), (e:`hemibrain_ElementSet`), (x:`hemibrain_Cell`)"
    )


PIECES = st.sampled_from(
    [
        "MATCH",
        "WITH",
        "RETURN",
        "DISTINCT",
        "a",
        "b",
        "c",
        "AS",
        "IN",
        "(",
        ")",
        "[",
        "]",
        ",",
        "'x  // y'",
        '"q"',
        "`r s`",
        "12",
        "3.5",
        "*",
        "inputRois",
        "size",
        ".",
        ":",
        "{",
        "}",
    ]
)
GAPS = st.sampled_from([" ", "\n    ", "\t", " // noise\n", " /* more\n noise */ "])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=25), st.data())
def test_any_text_has_one_canonical_form(pieces, data):
    plain = " ".join(pieces)
    other = "".join(f"{piece}{data.draw(GAPS)}" for piece in pieces)
    form = canonical(plain)
    assert canonical(other) == form
    assert canonical(form) == form
    assert sorted(t.value for t in tokens(form) if t.kind != "gap") == sorted(pieces)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_is_too_strange(text):
    assert canonical(canonical(text)) == canonical(text)
    is_write(text)
    is_timeboxed(text)


SEEDS = """
from neuprint import NeuronCriteria as NC
from one_cache.neuprint.query import Query
class Client:
    all_rois = ["aL(R)", "SIP(R)", "b'L(R)", "EB", "FB"]
one = NC(inputRois=["SIP(R)", "aL(R)", "b'L(R)"], outputRois=["EB", "FB"], type="MBON.*",
         bodyId=[5, 4, 3, 2], client=Client())
two = NC("m", inputRois=["EB", "FB"], instance=["a", "b", "c", "d"], client=Client())
both = NC.combined_conditions([one, two], ("n", "m", "e"), prefix=8)
text = NC.combined_global_with((one, two)) + " MATCH (n)-[e]->(m) " + both + " RETURN n"
count = one.global_with() + " MATCH (n) " + one.all_conditions() + " RETURN count(n) as c"
count = count.replace('"', chr(92) + '"')
boxed = 'CALL apoc.cypher.runTimeboxed("' + count + '", {}, 5000) YIELD value RETURN value.c'
import hashlib
for query in (text, boxed):
    print(Query.of_cypher("https://s", "d", query).id, hashlib.md5(query.encode()).hexdigest())
"""


def test_ids_are_the_same_under_every_hash_seed():
    told = []
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", SEEDS], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        told.append([line.split() for line in done.stdout.splitlines()])
    ids = {tuple(query[0] for query in one) for one in told}
    texts = {tuple(query[1] for query in one) for one in told}
    assert len(ids) == 1
    assert len(texts) > 1, "the texts did not differ, so nothing was tested"


def test_an_id_holds_server_dataset_and_method():
    ask = ("https://np.org", "manc:v1.0", "RETURN 1")
    one = Query.of_cypher(*ask).id
    assert one == Query.of_cypher(*ask).id
    assert one != Query.of_cypher("https://np.org", "manc:v1.2", "RETURN 1").id
    assert one != Query.of_cypher("https://other.org", "manc:v1.0", "RETURN 1").id
    assert one != Query.of_cypher(*ask, "custom/arrow").id


@pytest.mark.parametrize(
    ("path", "method", "dataset"),
    [
        (
            "skeletons/skeleton/hemibrain:v1.2.1/5?format=swc",
            "skeletons/skeleton",
            "hemibrain:v1.2.1",
        ),
        ("roimeshes/mesh/manc:v1.0/b'L(R)", "roimeshes/mesh", "manc:v1.0"),
        ("cached/roicompleteness?dataset=manc:v1.0", "cached/roicompleteness", "manc:v1.0"),
        ("dbmeta/datasets", "dbmeta/datasets", ""),
        ("version", "version", ""),
    ],
)
def test_paths_name_their_dataset(path, method, dataset):
    query = Query.of_path("https://np.org", path)
    assert (query.method, query.dataset) == (method, dataset)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("neuprint.janelia.org", "https://neuprint.janelia.org"),
        ("https://Neuprint.Janelia.org//", "https://neuprint.janelia.org"),
        ("https://127.0.0.1:11443", "https://127.0.0.1:11443"),
        ("https://np.org:443/", "https://np.org"),
    ],
)
def test_addresses_are_written_in_one_way(given, address):
    assert address_of(given) == address


@pytest.mark.parametrize(
    "given", ["http://np.org", "ftp://np.org", "https://", "https://a:b@np.org"]
)
def test_only_https_without_credentials_is_an_address(given):
    with pytest.raises(SetupError):
        address_of(given)
