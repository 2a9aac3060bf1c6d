"""What is said without a terminal: each thing once, when it changes."""

from slakeeper.change import Changes


def test_a_line_is_said_when_it_comes_and_when_it_goes() -> None:
    changes = Changes()
    assert changes.of_lines(["running"]) == ["running"]
    assert changes.of_lines(["running"]) == []
    assert changes.of_lines(["running", "source fails"]) == ["source fails"]
    assert changes.of_lines(["running"]) == ["no longer: source fails"]


def test_a_number_that_changes_is_no_news() -> None:
    changes = Changes()
    changes.of_lines(["the disk is nearly full, 1234 kB free"])
    assert changes.of_lines(["the disk is nearly full, 99 kB free"]) == []


def test_a_process_that_is_another_is_news_and_the_first_ones_are_not() -> None:
    changes = Changes()
    rows = [{"name": "cell-0", "pid": 7}, {"name": "cell-1", "pid": 8}]
    assert changes.of_processes(rows) == []
    assert changes.of_processes([rows[0], {"name": "cell-1", "pid": 9}]) == [
        "cell-1 is another process: 9, was 8"
    ]
