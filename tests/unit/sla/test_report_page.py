"""The report as a page and as a table: complete, self-contained, and nobody's words become markup or formulas."""

import csv
import io
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from slakeeper.sla import report_chart
from slakeeper.sla.report import EarlierPeriod
from slakeeper.sla.report_csv import COLUMNS, to_csv
from slakeeper.sla.report_html import VERDICTS, to_html
from tests.unit.sla.acting import contract
from tests.unit.sla.test_report import DAY_MS, START_MS, document, full

EARLIER = [
    EarlierPeriod(START_MS - DAY_MS * n, START_MS - DAY_MS * (n - 1), attainment, Decimal("99.999"))
    for n, attainment in ((1, Fraction(100)), (2, None), (3, Fraction(99)))
]


def table(given: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(given))))


def svgs(page: str) -> list[ET.Element]:
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_the_page_has_everything_and_loads_nothing() -> None:
    given = full()
    page = to_html(given)
    for said in (
        "Attainment",
        "Error budget",
        "Violations",
        "Compensation",
        "99.999 % promised",
        "Europe/Berlin",
    ):
        assert said in page
    for entry in given["ledger"]:
        assert entry["id"] in page
    assert not re.search(r"<script|<link|<img|<iframe|https?://|url\(|@import|\son\w+=", page)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_has_words(verdict: str) -> None:
    given = document()
    given["period"]["verdict"] = verdict
    assert VERDICTS[verdict][0] in to_html(given)


def test_words_of_others_stay_words_on_the_page() -> None:
    evil = '<script>alert("1")</script>&amp;'
    given = document(contract(name=evil, description=evil, owner_team=evil))
    given["violations"] = full()["violations"]
    given["violations"][0].update(resolve_note=evil, resolved_by=evil)
    page = to_html(given)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 5
    assert svgs(page)


def test_the_charts_show_the_period_and_its_past() -> None:
    given = document(earlier=EARLIER)
    given["violations"] = full()["violations"]
    budget, timeline, trend = svgs(to_html(given))
    assert float(budget[1].attrib["width"]) == report_chart.WIDTH  # overspent: all of it
    marks = [each for each in timeline if each.tag == "rect"]
    assert len(marks) == len(given["violations"])
    bars = [each for each in trend if each.tag == "rect"]
    assert [float(bar.attrib["height"]) > 0 for bar in bars] == [True, True, True]  # one period had no data


def test_a_period_without_anything_is_a_page_too() -> None:
    page = to_html(document(accounts=[]))
    assert "Nothing was measured" in page
    assert "There is no data to judge by. Promised were 99.999 %" in page
    assert "None." in page


def test_the_table_has_a_row_for_each_thing() -> None:
    given = full()
    rows = table(given)
    kinds = [row["record"] for row in rows]
    assert kinds == (
        ["period"]
        + ["metric"] * len(given["metrics"])
        + ["violation"] * len(given["violations"])
        + ["credit"] * len(given["ledger"])
    )
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["attainment"] == given["period"]["attainment"]
    credit = next(row for row in rows if row["record"] == "credit")
    assert Decimal(credit["amount"]) == Decimal(given["ledger"][0]["amount"])
    assert rows[0]["period_start"] == "2025-11-01T00:00:00.000Z"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_words_of_others_are_no_formulas_and_numbers_stay_numbers(sign: str) -> None:
    given = full()
    given["violations"][0]["resolve_note"] = f'{sign}HYPERLINK("http://a")'
    given["violations"][0]["worst_value"] = -5.5
    given["ledger"][0]["amount"] = "-4.990"
    rows = table(given)
    violation = next(row for row in rows if row["record"] == "violation")
    assert violation["note"].startswith(f"'{sign}")
    assert violation["value"] == "-5.5"
    assert next(row for row in rows if row["record"] == "credit")["amount"] == "-4.990"
