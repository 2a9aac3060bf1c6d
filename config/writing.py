"""Plain values as YAML that :mod:`slakeeper.config.document` reads back as they are."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import yaml

# Text that no reader of YAML takes for anything else, once PyYAML has judged it plain; all other text is quoted.
_PLAIN: Final = re.compile(r"[A-Za-z][\w .,/()-]*")

_NO_FOLDING: Final = 1_000_000


class _Dumper(yaml.SafeDumper):
    """Keeps decimals exact, quotes doubtful text, and writes a shared value out each time."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # items of a list stand below their key


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else style)


def _decimal(dumper: yaml.SafeDumper, number: Decimal) -> yaml.ScalarNode:
    text = format(number, "f")
    kind = "float" if "." in text else "int"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Decimal, _decimal)


def write_yaml(value: Any) -> str:
    """One document; keys keep their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_NO_FOLDING)


def write_documents(values: Iterable[Any]) -> str:
    """Several documents in one file."""
    return "---\n".join(write_yaml(value) for value in values)


def plain(value: Any) -> Any:
    """Decimals as JSON numbers: whole ones as integers, others as the nearest float, which shows the same digits."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value
