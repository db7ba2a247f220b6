"""Labels of hosts, as people write them."""

from __future__ import annotations

import pytest

from omserver_client.errors import BadRequest
from omserver_master.roster.labels import MOST, read_labels, relabelled


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", {}),
        (" pair=db-a ,rack = r 3,", {"pair": "db-a", "rack": "r 3"}),
        ("pair=", {"pair": ""}),
        ("a.b_c-d=数据", {"a.b_c-d": "数据"}),
    ],
)
def test_labels_are_names_and_what_they_say(text: str, told: dict[str, str]) -> None:
    assert read_labels(text) == told


@pytest.mark.parametrize("text", ["pair", "=a", "Pair=a", "pa ir=a", "a=b=c", f"a={'x' * 256}", "a=\x1b"])
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_labels(text)
    assert refused.value.details["field"] == "labels"


def test_labels_that_are_not_named_stay_and_empty_ones_go() -> None:
    assert relabelled({"pair": "a", "rack": "r3"}, {"rack": "", "row": "7"}) == {"pair": "a", "row": "7"}
    with pytest.raises(BadRequest):
        relabelled({}, {f"n{number}": "x" for number in range(MOST + 1)})
