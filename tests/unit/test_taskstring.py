"""Task strings of 2014, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omserver_client.errors import BadRequest
from omserver_client.taskstring import Task, TaskHost

WEB = TaskHost("web-01", "192.168.1.21")
DB = TaskHost("db-01", "192.168.1.22")

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="*,@"), min_size=1
)
HOSTS = st.lists(st.builds(TaskHost, WORDS, WORDS), min_size=1, unique_by=lambda host: host.name.casefold())
PARAMS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="@")), max_size=5)


def test_the_task_string_of_the_book_is_read() -> None:
    task = Task.parse("1001@@192.168.1.21*sn2013-08-021,192.168.1.22*sn2013-08-022@@50@@root@@")
    assert task.module == "1001"
    assert task.hosts == (
        TaskHost("sn2013-08-021", "192.168.1.21"),
        TaskHost("sn2013-08-022", "192.168.1.22"),
    )
    assert task.params == ("50", "root")


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("1003@@192.168.1.21*web-01@@", ()),
        ("1003@@192.168.1.21*web-01@@ignored", ()),
        ("1003@@192.168.1.21*web-01@@@@", ("",)),
        ("1003@@192.168.1.21*web-01@@a@b@@", ("a@b",)),
        ("1003@@192.168.1.21*web-01@@系统 日志\n@@", ("系统 日志\n",)),
    ],
)
def test_parameters_are_what_stands_between_the_marks(text: str, params: tuple[str, ...]) -> None:
    assert Task.parse(text) == Task("1003", (WEB,), params)


@given(st.from_regex(r"[1-9][0-9]{3,5}", fullmatch=True), HOSTS, PARAMS)
def test_what_is_written_can_be_read(module: str, hosts: list[TaskHost], params: list[str]) -> None:
    task = Task(module, tuple(hosts), tuple(params))
    assert Task.parse(task.format()) == task


@pytest.mark.parametrize(
    "module", ["", "0001", "100", "1000000", "10a1", "1003\n", "１００３", "../1003", "1003;os"]
)
def test_a_module_id_is_four_to_six_digits(module: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Task.parse(f"{module}@@192.168.1.21*web-01@@")
    assert refused.value.details["field"] == "module"


@pytest.mark.parametrize(
    "hosts",
    [
        "",
        ",",
        "192.168.1.21*web-01,",
        "web-01",
        "192.168.1.21*",
        "*web-01",
        "192.168.1.21*web 01",
        "192.168.1.21*web*01",
        "192.168.1.21*web\x00",
        "192.168.1.21*" + "w" * 256,
        "192.168.1.21*web-01,192.168.1.22*web-01",
        "192.168.1.21*web-01,192.168.1.22*WEB-01",
    ],
)
def test_hosts_that_are_no_hosts_or_come_twice_are_refused(hosts: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Task.parse(f"1003@@{hosts}@@")
    assert refused.value.details["field"] == "hosts"


@pytest.mark.parametrize("text", ["", "1003", "1003@@", "1003@@192.168.1.21*web-01"])
def test_what_is_not_joined_and_ended_by_marks_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="ID@@"):
        Task.parse(text)


@pytest.mark.parametrize("param", ["@@", "a@@b", "a@", "@"])
def test_a_parameter_that_would_be_read_otherwise_cannot_be_written(param: str) -> None:
    for params in ((param,), (param, "next")):
        with pytest.raises(BadRequest) as refused:
            Task("1003", (WEB,), params).format()
        assert refused.value.details["field"] == "params"


def test_a_task_without_hosts_cannot_be_written() -> None:
    with pytest.raises(BadRequest, match="No hosts"):
        Task("1003", ()).format()


def test_a_task_becomes_the_arguments_of_its_operation() -> None:
    assert Task("1001", (WEB, DB), ("50",)).to_args() == {
        "module": "1001",
        "hosts": [{"name": "web-01", "ip": "192.168.1.21"}, {"name": "db-01", "ip": "192.168.1.22"}],
        "params": ["50"],
    }
