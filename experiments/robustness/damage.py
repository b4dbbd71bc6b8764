"""Random damage to files: to their bytes, their text, and the values that they hold."""

import codecs
import json
import math
import zlib

EXTREME_NUMBERS = (
    *(0, 1, -1, 2, 127, 255, 256, 1 << 16, (1 << 31) - 1, -(1 << 31), 1 << 32, 1 << 63, 10**300),
    *(0.5, -0.5, 1e-300, 1e308, math.nan, math.inf, -math.inf),
)
EXTREME_TEXTS = (
    *("", " ", "x", "é", "車", "\0", "\n", "..", "../..", "/", "0", "-1", "1e999", "nan", "null"),
    *("x" * 70_000, "9" * 5000, "\ud800", "%s%n", "{}", "[", '"', "a,b", "a=b", "-" * 300),
)
DEPTH = 100_000  # of nested lists, beyond any recursion limit
BLOCK = 4096  # most bytes that are moved or lost at a time


def damaged_bytes(data, random):
    """Returns bytes with one to three kinds of damage: flips, cuts, moved blocks, extreme numbers.

    random: a random.Random.
    """
    for _ in range(random.randrange(1, 4)):
        data = random.choice(BYTES)(bytearray(data), random)
    return bytes(data)


def _flipped(data, random):
    for _ in range(random.randrange(1, 17) if data else 0):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return data


def _cut(data, random):
    return data[: random.randrange(len(data) + 1)]


def _block(data, random):
    start = random.randrange(len(data) + 1)
    return start, min(start + random.randrange(1, BLOCK + 1), len(data))


def _lost(data, random):
    start, end = _block(data, random)
    return data[:start] + data[end:]


def _doubled(data, random):
    start, end = _block(data, random)
    return data[:end] + data[start:]


def _zeroed(data, random):
    start, end = _block(data, random)
    data[start:end] = bytes(end - start)
    return data


def _noise(data, random):
    start, end = _block(data, random)
    data[start:end] = random.randbytes(end - start)
    return data


def _moved(data, random):
    start, end = _block(data, random)
    block = data[start:end]
    del data[start:end]
    place = random.randrange(len(data) + 1)
    return data[:place] + block + data[place:]


def _with_number(data, random):
    """Overwrites a field of 1 to 8 bytes, in the header more often than elsewhere."""
    size = 1 << random.randrange(4)
    if len(data) < size:
        return data
    last = min(len(data), random.choice((64, 1024, len(data))))
    place = random.randrange(max(last - size, 0) + 1)
    value = (0, 1, (1 << 8 * size) - 1, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1)
    order = random.choice(("big", "little"))
    data[place : place + size] = random.choice(value).to_bytes(size, order)
    return data


def _appended(data, random):
    return data + random.randbytes(random.randrange(1, BLOCK))


# Twice what finds most.
BYTES = (
    *(_flipped, _flipped, _cut, _lost, _doubled, _zeroed, _noise, _moved, _with_number),
    *(_with_number, _appended),
)


def damaged_text(text, random):
    """Returns the bytes of a text with lost, doubled or changed lines and fields.

    Fields are what commas, equal signs and spaces separate.
    """
    if random.random() < 0.25:
        return damaged_bytes(text.encode(), random)
    lines = text.splitlines()
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(lines)) if lines else 0
        change = random.randrange(7)
        if not lines or change == 0:
            lines.insert(place, extreme_text(random))
        elif change == 1:
            del lines[place]
        elif change == 2:
            lines.insert(random.randrange(len(lines) + 1), lines[place])
        elif change == 3:
            lines[place] += random.choice((",", " ", "=", '"', "#", ",,,,"))
        else:
            separator = random.choice((",", "=", " "))
            fields = lines[place].split(separator)
            number = random.randrange(len(fields))
            if change == 4:
                del fields[number]
            elif change == 5:
                fields[number] = str(extreme_number(random))
            else:
                fields[number] = extreme_text(random)
            lines[place] = separator.join(fields)
    return encoded("\n".join(lines) + "\n", random)


def encoded(text, random):
    """Returns a text's bytes, now and then in an encoding other than UTF-8, or with a BOM."""
    encoding = random.randrange(12)
    data = text.encode("utf-8", "surrogatepass")
    if encoding == 0:
        return codecs.BOM_UTF8 + data
    if encoding == 1:
        return text.encode("utf-16", "surrogatepass")
    if encoding == 2:
        return text.encode("latin-1", "replace")
    if encoding == 3:
        place = random.randrange(len(data) + 1)
        return data[:place] + b"\xff\xfe\x80" + data[place:]
    return data


def damaged_json(values, random):
    """Returns JSON of values some of which have another type or an extreme value, or are missing.

    Or its text is damaged, or nested too deeply.
    """
    how = random.random()
    if how < 0.15:
        return damaged_bytes(json.dumps(values).encode(), random)
    if how < 0.2:
        return b"[" * DEPTH if random.random() < 0.5 else b'{"a":' * DEPTH
    if how < 0.25:
        return json.dumps(extreme(random)).encode()
    text = json.dumps(damaged_values(values, random))
    if how < 0.3:  # numbers that Python cannot write
        text = text.replace("0", random.choice(("1e999", "-1e999", "9" * 5000, "00")), 3)
    if how < 0.35:
        nested = "[" * DEPTH + "]" * DEPTH
        text = text.replace("null", nested, 1) if "null" in text else text[:-1] + "," + nested
    return encoded(text, random)


def damaged_values(values, random):
    """Returns a copy of nested lists and dictionaries with one to three damaged places."""
    root = [json.loads(json.dumps(values))]
    for _ in range(random.randrange(1, 4)):
        places = list(_places(root))
        holder, key = random.choice(places)
        change = random.randrange(5)
        if change == 0 and holder is not root:
            del holder[key]
        elif change == 1 and isinstance(holder, dict):
            holder[extreme_text(random)] = holder.pop(key)
        elif change == 2:
            other, place = random.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))
        else:
            holder[key] = extreme(random)
    return root[0]


def _places(value):
    """Yields (container, key) of everything in nested lists and dictionaries."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def extreme(random):
    """Returns a value of any JSON type that is at an edge of what a program expects."""
    kind = random.randrange(4)
    if kind == 0:
        return extreme_number(random)
    if kind == 1:
        return extreme_text(random)
    values = (None, True, False, [], {}, [[]], [None], {"a": 1}, [0] * 1000, [[[[0]]]])
    return random.choice(values)


def extreme_number(random):
    """Returns a number at an edge of what a program expects, or no number at all."""
    return random.choice(EXTREME_NUMBERS)


def extreme_text(random):
    """Returns a text at an edge of what a program expects."""
    return random.choice(EXTREME_TEXTS)


def zeros(size):
    """Returns a raw deflate stream of `size` zero bytes, a thousandth as long, in no time.

    size: a multiple of 1 MiB.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return part * (size >> 20) + compressor.flush()
