"""Markdown: tables, sections, and numbers as texts."""

import statistics

UNKNOWN = "–"


def table(head, rows):
    """Returns a table of texts: `head` is a list, `rows` are lists of the same length."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["-"] * len(head), *rows))


def sections(parts):
    """Joins sections (title, text, note), where a note may be empty."""
    return "\n\n".join(f"**{title}**\n\n{text}\n\n{note}".strip() for title, text, note in parts)


def mean(values):
    """Returns the mean of numbers; None if there is none or one of them is None."""
    values = list(values)
    return None if not values or None in values else statistics.fmean(values)


def number(value, digits=1):
    """Writes a number, or None, with so many decimals."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def spread(values, digits=1):
    """Writes the mean of numbers, one a seed, with the least and the greatest of several."""
    if len(values) < 2:
        return number(mean(values), digits)
    least, greatest = (number(value, digits) for value in (min(values), max(values)))
    return f"{number(mean(values), digits)} ({least}–{greatest})"


def percent(part, digits=1):
    """Writes a part of 1, or None, in percent, without the sign."""
    return number(None if part is None else 100 * part, digits)


def milliseconds(seconds, digits=1):
    """Writes seconds, or None, in milliseconds, without the unit."""
    return number(None if seconds is None else 1000 * seconds, digits)


def times(factor, digits=1):
    """Writes a factor, or None: '2.5×'."""
    return UNKNOWN if factor is None else f"{factor:.{digits}f}×"


def short(value):
    """Writes a number, or None, with one decimal below 100, and with none above."""
    return number(value, 1 if value is not None and value < 100 else 0)
