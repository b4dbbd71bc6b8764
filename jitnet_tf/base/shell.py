"""Flags and paths in printed commands, as a shell takes them."""

import os
import shlex


def quoted(text):
    """Returns a text as one word for a shell; bytes that are no text become escapes of bash."""
    text = str(text)
    if text.isprintable():
        return shlex.quote(text)
    plain = (32 <= byte < 127 and byte not in b"\\'" for byte in os.fsencode(text))
    pairs = zip(os.fsencode(text), plain, strict=True)
    return "$'" + "".join(chr(byte) if ok else f"\\x{byte:02x}" for byte, ok in pairs) + "'"


def flag(name, value):
    """Returns --name=value for a shell."""
    return f"--{name}={quoted(value)}"
