"""The spec of a table: what it may say, what it says by default, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zicht.disclosure.spec import CellPolicy, Dominance, PPercent, load_spec, spec_of
from zicht.errors import DisclosureError

DIMENSIONS: dict[str, Any] = {
    "mun": {"hierarchies": [["mun", "prov"], ["mun", "vr"]], "total": "Total"},
    "cat": None,
    "sex": {"total": None},
}


def document(**changed: Any) -> dict[str, Any]:
    return {"dimensions": DIMENSIONS, "count": "freq", **changed}


def refusal(made: Any) -> DisclosureError:
    with pytest.raises(DisclosureError) as caught:
        spec_of(made, name="spec.yaml")
    assert caught.value.message.startswith("spec.yaml: ")
    assert caught.value.remedy
    assert caught.value.exit_status == 7
    return caught.value


def test_what_a_spec_leaves_out_has_a_default() -> None:
    spec = spec_of(document())
    assert [one.name for one in spec.dimensions] == ["mun", "cat", "sex"]
    assert spec.dimension("mun").levels == ("mun", "prov", "vr")
    assert spec.dimension("cat").total == "Total"
    assert spec.dimension("sex").total is None
    assert spec.policy == CellPolicy(
        dominance=Dominance(1, 75.0), p_percent=PPercent(10.0), infeasible=("hold_back",)
    )
    assert spec.history.relation == "additions"


def test_holding_back_is_always_the_last_route() -> None:
    policy = spec_of(document(policy={"infeasible": ["merge", "round"]})).policy
    assert policy.infeasible == ("merge", "round", "hold_back")


@pytest.mark.parametrize(
    ("policy", "known"),
    [
        ({}, True),
        ({"attacker": "naive"}, False),
        ({"publish_zeros": False}, False),
        ({"group_disclosure": {"action": "hide"}}, False),
        ({"group_disclosure": {"action": "merge"}}, True),
    ],
)
def test_a_hidden_cell_is_known_to_be_one_only_if_zeros_are_never_hidden(
    policy: dict[str, Any], known: bool
) -> None:
    assert spec_of(document(policy=policy)).policy.zeros_are_known is known


@pytest.mark.parametrize(
    ("made", "code", "says"),
    [
        ("mun", "Z-DIS-012", "the spec is 'mun'"),
        ({"count": "freq"}, "Z-DIS-012", "lacks dimensions"),
        ({"dimensions": DIMENSIONS}, "Z-DIS-012", "lacks count"),
        (document(dimensions={}), "Z-DIS-012", "dimensions is {}"),
        (document(counts="freq"), "Z-DIS-011", "unknown key 'counts'"),
        (document(policy={"minimum_freqency": 5}), "Z-DIS-011", "'minimum_freqency'"),
        (document(policy={"minimum_frequency": 0}), "Z-DIS-012", "policy.minimum_frequency is 0"),
        (document(policy={"minimum_frequency": 2.5}), "Z-DIS-012", "is 2.5"),
        (document(policy={"minimum_frequency": True}), "Z-DIS-012", "is True"),
        (document(policy={"publish_zeros": "yes"}), "Z-DIS-012", "publish_zeros is 'yes'"),
        (document(policy={"protection": "intervals"}), "Z-DIS-012", "protection is 'intervals'"),
        (document(policy={"infeasible": "round"}), "Z-DIS-012", "infeasible is 'round'"),
        (document(policy={"infeasible": ["rounding"]}), "Z-DIS-012", "infeasible is 'rounding'"),
        (document(policy={"dominance": {"n": 3}}), "Z-DIS-012", "policy.dominance.n is 3"),
        (document(policy={"dominance": {"m": 1}}), "Z-DIS-011", "unknown key 'm'"),
        (document(policy={"seconds": "soon"}), "Z-DIS-012", "policy.seconds is 'soon'"),
        (document(dimensions={"mun": {"total": 3}}), "Z-DIS-012", "dimensions.mun.total is 3"),
        (document(dimensions={"mun": {"hierarchies": ["mun"]}}), "Z-DIS-012", "hierarchies is"),
        (document(dimensions={"mun": {"hierarchies": [["prov"]]}}), "Z-DIS-013", "not begin with"),
        (
            document(dimensions={"mun": {"hierarchies": [["mun", "prov", "mun"]]}}),
            "Z-DIS-013",
            "a cycle",
        ),
        (
            document(dimensions={"mun": {"hierarchies": [["mun", "a", "b"], ["mun", "b", "a"]]}}),
            "Z-DIS-013",
            "a cycle",
        ),
        (
            document(dimensions={"a": {"hierarchies": [["a", "x"]]}, "x": None}),
            "Z-DIS-013",
            "x stands in two dimensions",
        ),
        (document(dimensions={"value": None}), "Z-DIS-013", "called value"),
        (document(dimensions={"Rounding_base": None}), "Z-DIS-013", "called Rounding_base"),
        (document(dimensions={"shields": None}), "Z-DIS-013", "called shields"),
        (document(dimensions={"a": None, "A": None}), "Z-DIS-013", "stands in two dimensions"),
        (document(policy={"minimum_frequency": float("inf")}), "Z-DIS-012", "is inf"),
        (document(policy={"minimum_frequency": 1e300}), "Z-DIS-012", "is 1e+300"),
        (document(policy={"rounding": {"base": 10**12}}), "Z-DIS-012", "rounding.base is"),
        (document(history={"successors": [[243, 256]]}), "Z-DIS-012", "history.successors is"),
        (document(never_hide={"mun": "Total"}), "Z-DIS-012", "never_hide is"),
        (document(never_hide=[{"prov": "PV20"}]), "Z-DIS-011", "unknown key 'prov'"),
        (document(magnitude={"total": "eur"}), "Z-DIS-012", "magnitude lacks largest"),
        (document(history={"relation": "grows"}), "Z-DIS-012", "history.relation is 'grows'"),
        (document(history={"successors": 3}), "Z-DIS-012", "history.successors is 3"),
        (document(policy={"income": {}}), "Z-DIS-014", "there is no magnitude"),
        (
            document(policy={"group_disclosure": {"dimensions": ["sex"]}}),
            "Z-DIS-014",
            "sex is no dimension with a total",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(made: Any, code: str, says: str) -> None:
    error = refusal(made)
    assert (error.code, says in error.message) == (code, True), error


def test_a_misspelt_key_gets_the_nearest_known_one() -> None:
    assert "'minimum_frequency'" in refusal(document(policy={"min_frequency": 5})).remedy
    assert "did you mean informed" in refusal(document(policy={"attacker": "informd"})).remedy


def test_methods_that_do_not_fit_the_table_are_refused() -> None:
    magnitude = {"total": "t", "largest": "l", "second": "s", "contributors": "n"}
    rounding = {"method": "round"}
    assert refusal(document(magnitude=magnitude, policy=rounding)).code == "Z-DIS-014"
    loose = {"mun": None, "group": {"additive": False}}
    assert refusal(document(dimensions=loose, magnitude=magnitude)).code == "Z-DIS-014"
    controlled = {"method": "round", "rounding": {"mode": "controlled"}}
    assert refusal(document(dimensions=loose, policy=controlled)).code == "Z-DIS-014"


def test_a_file_is_read_with_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "successors.csv").write_text("from,to\nGM1,GM9\nGM2,GM9\n")
    path = tmp_path / "spec.yaml"
    path.write_text(
        "dimensions:\n  mun: {hierarchies: [[mun, prov]]}\ncount: freq\n"
        "history: {relation: additions, successors: successors.csv}\n"
    )
    assert load_spec(path).history.successors == (("GM1", "GM9"), ("GM2", "GM9"))
    (tmp_path / "successors.csv").write_text("old,new\nGM1,GM9\n")
    with pytest.raises(DisclosureError, match="Z-DIS-037"):
        load_spec(path)
    (tmp_path / "successors.csv").write_text("from,to\nGM1,\n")
    with pytest.raises(DisclosureError, match="a code is empty"):
        load_spec(path)


@pytest.mark.parametrize("content", [b"dimensions: [", b"count: \xff\xfe", None])
def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DisclosureError) as caught:
        load_spec(path)
    assert caught.value.code == "Z-DIS-010"
    assert "spec.yaml" in caught.value.message


@pytest.mark.parametrize(
    "text", ["count: 2024-13-45", "[" * 20_000, "[" * 20_000 + "]" * 20_000, "count: \xff"]
)
def test_yaml_that_nobody_can_mean_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(DisclosureError) as caught:
        load_spec(tmp_path / "spec.yaml")
    assert caught.value.code in ("Z-DIS-010", "Z-DIS-012")
    assert len(caught.value.message) < 500
