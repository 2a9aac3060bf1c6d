"""Two kinds of import-linter contract, in the words of the architecture (see `[tool.importlinter]`).

`room`: the modules of one room import, of slakeeper, only themselves and the rooms named. An allow list: a module
that is new tomorrow is out of bounds until somebody allows it.

`pure`: the modules named reach none of the libraries named, not even through another module of ours. A module
that is not there yet is a warning, no error.
"""

from collections.abc import Iterable
from typing import cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

FACE = "slakeeper"


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _lines(graph: ImportGraph, importer: str, imported: str) -> str:
    details = graph.get_import_details(importer=importer, imported=imported)
    return ", ".join(f"l.{detail['line_number']}" for detail in details)


def _named(module: str) -> str:
    # An import of a module that is not there is taken for one of the nearest package above it.
    return f"{module} itself, or a module that does not exist" if module == FACE else module


def _print_all(findings: Iterable[str]) -> None:
    for finding in findings:
        output.print_error(f"- {finding}", bold=False)
    output.new_line()


class RoomContract(Contract):
    """The modules of `room` import, of slakeeper, only `room` itself and `may_import`."""

    type_name = "room"

    room = fields.StringField()
    may_import = fields.ListField(subfield=fields.StringField(), required=False, default=[])

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        room = str(self.room)
        if room not in graph.modules:
            raise ValueError(f"the room {room} does not exist")
        # A field is declared as a field and read as its value.
        allowed = [room, *cast(list[str], self.may_import)]
        findings = [
            f"{importer} must not import {_named(imported)} ({_lines(graph, importer, imported)})"
            for importer in sorted(graph.modules)
            if _is_within(importer, room)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if _is_within(imported, FACE) and not any(_is_within(imported, name) for name in allowed)
        ]
        return ContractCheck(kept=not findings, metadata={"findings": findings})

    def render_broken_contract(self, check: ContractCheck) -> None:
        _print_all(check.metadata["findings"])


class PureContract(Contract):
    """None of `modules` reaches one of the top-level packages `forbidden`, directly or through our modules."""

    type_name = "pure"

    modules = fields.ListField(subfield=fields.StringField())
    forbidden = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        wanted, banned = cast(list[str], self.modules), cast(list[str], self.forbidden)
        missing = [name for name in wanted if name not in graph.modules]
        sources = sorted(
            module for module in graph.modules if any(_is_within(module, name) for name in wanted)
        )
        findings = []
        for source in sources:
            for forbidden in banned:
                if forbidden not in graph.modules:
                    continue  # nobody imports it at all
                chain = graph.find_shortest_chain(importer=source, imported=forbidden)
                if chain:
                    findings.append(f"{source} must stay pure: {' -> '.join(chain)}")
        return ContractCheck(
            kept=not findings,
            warnings=[f"{name} does not exist yet" for name in missing],
            metadata={"findings": findings},
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        _print_all(check.metadata["findings"])
