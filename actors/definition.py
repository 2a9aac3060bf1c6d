"""What a contract's document says, read once for all the actors of a cell that go by it."""

from typing import Any
from weakref import WeakValueDictionary

from slakeeper.sla.contract import Sla


class Definition:
    """A document and the contract that it describes; shared, so neither is ever changed.

    Args:
        document: as :meth:`Sla.to_document` wrote it. It is read when somebody asks for the contract.
        before: the one of the same contract that was the newest before it, if it is the newest: what an actor was
            started with and what it goes by since may be two versions.
    """

    __slots__ = ("__weakref__", "_contract", "before", "document")

    def __init__(self, document: dict[str, Any], before: "Definition | None" = None) -> None:
        self.document = document
        self.before = before
        self._contract: Sla | None = None

    @property
    def contract(self) -> Sla:
        """The contract.

        Raises:
            pydantic.ValidationError: with every error of the contract.
        """
        if self._contract is None:
            self._contract = Sla.from_document(self.document)
        return self._contract

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Ids of the contracts that this one depends on; known without reading the document."""
        return tuple(self.document.get("depends_on", ()))


# The newest for each contract id, while anybody holds it. Reading takes longer than all else in the start of
# an actor, and each contract has several that go by the same document.
_newest: WeakValueDictionary[str, Definition] = WeakValueDictionary()


def definition_of(document: dict[str, Any]) -> Definition:
    """What a document defines; one that equals one of the last two of its contract is not read again."""
    name = document.get("id")
    known = _newest.get(name) if isinstance(name, str) else None
    for each in (known, known and known.before):
        if each is not None and (each.document is document or each.document == document):
            return each
    found = Definition(document, known)
    if known is not None:
        known.before = None  # nobody comes to it any more, and there may be many
    if isinstance(name, str):
        _newest[name] = found
    return found
