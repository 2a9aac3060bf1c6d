"""Reading a contract's document once for everybody."""

import pytest
from pydantic import ValidationError

from slakeeper.actors.definition import definition_of

DOCUMENT = {"id": "api", "metrics": [{"name": "latency", "value": 250}]}


def test_equal_documents_are_read_once_and_shared() -> None:
    first = definition_of(DOCUMENT)
    again = definition_of({**DOCUMENT})
    assert again is first


def test_another_version_is_read_anew() -> None:
    first = definition_of(DOCUMENT)
    second = definition_of({**DOCUMENT, "service_level": "99"})
    assert second.contract != first.contract
    assert definition_of({**DOCUMENT}).contract is first.contract


def test_the_version_before_the_last_two_is_read_again() -> None:
    first = definition_of(DOCUMENT)
    later = [definition_of({**DOCUMENT, "service_level": level}) for level in ("99", "98")]
    assert definition_of({**later[0].document}).contract is later[0].contract
    assert definition_of({**DOCUMENT}).contract is not first.contract


def test_what_a_contract_depends_on_is_known_without_reading_it() -> None:
    definition = definition_of({"id": "nobody could read this", "depends_on": ["network"]})
    assert definition.depends_on == ("network",)
    assert definition_of(DOCUMENT).depends_on == definition_of(DOCUMENT).contract.depends_on == ()


@pytest.mark.parametrize("document", [{}, {"id": 7}, {"id": "api"}, {"id": ["api"], "metrics": []}])
def test_what_is_no_contract_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        definition_of(document).contract  # noqa: B018
