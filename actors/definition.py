"""What a contract's document says, read once for all the actors of a cell that go by it."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from slakeeper.sla.contract import Sla


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Definition:
    """A document and the contract that it describes; shared, so neither is ever changed.

    ``before`` is the one of the same contract that was read before it: what an actor was started with and what it
    goes by since may be two versions.
    """

    document: dict[str, Any]
    contract: Sla
    before: "Definition | None" = None


# The one read last for each contract id, while anybody holds it. Reading takes longer than all else in the start of
# an actor, and each contract has several that go by the same document.
_newest: WeakValueDictionary[str, Definition] = WeakValueDictionary()


def definition_of(document: dict[str, Any]) -> Definition:
    """Reads a document; one that equals one of the last two of its contract is not read again.

    Raises:
        pydantic.ValidationError: with every error of the contract.
    """
    name = document.get("id")
    known = _newest.get(name) if isinstance(name, str) else None
    for each in (known, known and known.before):
        if each is not None and (each.document is document or each.document == document):
            return each
    before = known and Definition(known.document, known.contract)
    found = Definition(document, Sla.from_document(document), before)
    _newest[found.contract.id] = found
    return found
