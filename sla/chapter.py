"""The chapters of a metric's running account: which of its time counts with which weight.

A version of the contract that changes its metrics or their weights begins one; see :mod:`slakeeper.sla.compliance`.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from slakeeper.sla.account import Account, Part


class Chapters:
    """The closed parts of a running account, and which chapter and weight count now.

    Args:
        chapter: the version of the contract since which its metrics have the weights they have.
        weight: of the metric; 0 while it is no part of the contract.
    """

    __slots__ = ("_closed", "_weight", "chapter")

    def __init__(self, chapter: int, weight: Decimal) -> None:
        self._closed: tuple[Part, ...] = ()
        self.chapter, self._weight = chapter, weight

    def begin_account(self) -> None:
        """Another period begins: nothing is closed of it."""
        self._closed = ()

    def begin(self, chapter: int, weight: Decimal, so_far: Account) -> None:
        """Time after ``so_far``, the account up to now, counts with another weight or beside other metrics."""
        if (chapter, weight) != (self.chapter, self._weight):
            if so_far.end_ms > self._start_ms(so_far):
                self._closed = (*self._closed, self._running(so_far))
            self.chapter, self._weight = chapter, weight

    def divide(self, account: Account) -> Account:
        """The account with its parts."""
        return replace(account, parts=(*self._closed, self._running(account)))

    def _start_ms(self, account: Account) -> int:
        return self._closed[-1].account.end_ms if self._closed else account.start_ms

    def _running(self, account: Account) -> Part:
        """What of the account is in no closed part."""
        if not self._closed:
            return Part(self.chapter, self._weight, account)
        closed = [part.account for part in self._closed]
        good_ms = account.good_ms - sum(each.good_ms for each in closed)
        bad_ms = account.bad_ms - sum(each.bad_ms for each in closed)
        rest = Account(
            self._start_ms(account),
            account.end_ms,
            good_ms + bad_ms,
            good_ms,
            bad_ms,
            account.unknown_ms - sum(each.unknown_ms for each in closed),
            account.excluded_ms - sum(each.excluded_ms for each in closed),
        )
        return Part(self.chapter, self._weight, rest)

    def dump(self) -> list[Any]:
        return [self.chapter, str(self._weight), dump_parts(self._closed)]

    @classmethod
    def restore(cls, dump: Any) -> "Chapters":
        chapter, weight, closed = dump
        self = cls(chapter, Decimal(weight))
        self._closed = load_parts(closed)
        return self


def dump_account(account: Account) -> list[Any]:
    """An account, with its parts, as plain values."""
    return [
        account.start_ms, account.end_ms, account.known_ms, account.good_ms, account.bad_ms, account.unknown_ms,
        account.excluded_ms, dump_parts(account.parts),
    ]  # fmt: skip


def load_account(dump: Any) -> Account:
    *numbers, parts = dump
    return replace(Account(*numbers), parts=load_parts(parts))


def dump_parts(parts: tuple[Part, ...]) -> list[Any]:
    return [[part.chapter, str(part.weight), dump_account(part.account)] for part in parts]


def load_parts(dump: Any) -> tuple[Part, ...]:
    return tuple(Part(chapter, Decimal(weight), load_account(account)) for chapter, weight, account in dump)
