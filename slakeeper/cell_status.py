"""How all cells are, as one answer."""

from collections.abc import Mapping
from typing import Any

from slakeeper.concern import failing_sources
from slakeeper.request import RequestFailed
from slakeeper.source_row import source_rows

Rows = list[dict[str, Any]]


def merged_status(answers: Mapping[str, Any], last: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What `Cluster.status` answers.

    Args:
        answers: what each cell said, or the exception when it did not.
        last: what each cell said the last time that it did: shown with ``"stale": true`` for one that is away.
    """
    slas: Rows = []
    cells: Rows = []
    for name, answer in answers.items():
        up = not isinstance(answer, Exception)
        known = answer if up else last.get(name, {})
        slas.extend(row if up else {**row, "stale": True} for row in known.get("slas", ()))
        facts = {key: value for key, value in known.items() if key not in ("slas", "next")} if up else {}
        if isinstance(answer, RequestFailed) and answer.details.get("reason") == "no_room":
            facts = {"low_on_room": answer.message}
        cells.append({"name": name, "up": up, "actors": 0, "mailbox": 0, **facts})
    silences = max((cell.get("silences", 0) for cell in cells), default=0)
    return {
        "slas": sorted(slas, key=lambda row: str(row.get("id", ""))),
        "silences": silences,
        "remediation": _remediation(cells),
        "cells": cells,
        "sources": source_rows(cells),
        "sources_failing": failing_sources(cells),
    }


def _remediation(cells: Rows) -> dict[str, Any]:
    """How automatic remediation stands, as the cells know it.

    ``{"state", "by", "reason", "time", "left_alone", "breakers_open"}``; cells share their breakers, and not each of
    them has heard of all of them.
    """
    said = [cell["remediation"] for cell in cells if cell.get("remediation")]
    switches = [each["switch"] for each in said if each["switch"] is not None]
    switch = max(switches, key=lambda each: (each["time"], each["state"] == "off"), default=None)
    alone = [row for each in said for row in each["left_alone"]]
    untouched = {"state": "on", "by": None, "reason": None, "time": None}
    resting = {row["action"]: row for each in said for row in each.get("breakers_open", ())}
    return {
        **(untouched if switch is None else switch),
        "left_alone": alone,
        "breakers_open": [resting[name] for name in sorted(resting)],
    }
