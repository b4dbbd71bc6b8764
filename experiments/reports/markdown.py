"""Tables as Markdown."""


def table(head, lines):
    """A table of texts: a list for its head, and one of the same length for each line."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["-"] * len(head), *lines))
