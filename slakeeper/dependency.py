"""Contracts that depend on each other."""

from collections.abc import Mapping, Sequence


def circle_of(start: str, graph: Mapping[str, Sequence[str]]) -> list[str]:
    """A way from ``start`` along the graph back to it; empty when there is none."""
    came_from: dict[str, str] = {}
    left = [start]
    while left:
        here = left.pop()
        for following in graph.get(here, ()):
            if following == start:
                path = [here]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return [*reversed(path), start]
            if following not in came_from:
                came_from[following] = here
                left.append(following)
    return []
