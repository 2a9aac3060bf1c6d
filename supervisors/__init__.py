"""The tree as data: which supervisor starts which actors, in what order, under what policy."""
