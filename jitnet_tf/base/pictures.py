"""Decoding of image files by OpenCV."""

import struct
import zlib

import cv2

_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's color type
_HARMLESS = 1 << 18  # compressed bytes: a thousand times that is unpacked in a second
_SAMPLE = 1 << 16  # bytes
_MOST_PIXELS = 1 << 28  # 800 MB of 8-bit color


def decode(data, flags):
    """Decodes an image file.

    data: its bytes, uint8 [N]. flags: of cv2.imdecode. Returns cv2.imdecode's array; None for what
    is no image, or damaged.
    """
    try:
        return None if _is_bomb(memoryview(data)) else cv2.imdecode(data, flags)
    except cv2.error:  # an empty file, for example
        return None


def _is_bomb(data):
    """Returns whether a PNG claims too many pixels, or holds more than it claims.

    libpng would unpack them all, up to a thousand times the file's size: ten megabytes take a
    minute.
    """
    if data[:8] != _PNG or len(data) < 33:
        return False
    width, height, depth, color = struct.unpack(">IIBB", data[16:26])
    if width * height > _MOST_PIXELS:
        return True
    row = -(-width * depth * _CHANNELS.get(color, 4) // 8) + 1
    most = 2 * row * height + _SAMPLE  # twice, for the rows of interlaced images
    chunks = list(_pixel_chunks(data))
    size = sum(map(len, chunks))
    if size < _HARMLESS or size > 2 * most:
        return size > 2 * most
    # Only data that is very repetitive unpacks to so much more, and is so when packed, too.
    largest = max(chunks, key=len)
    sample = largest[len(largest) // 2 :][:_SAMPLE]
    return len(zlib.compress(sample, 1)) < len(sample) // 2 and _unpacks_to_more(chunks, most)


def _pixel_chunks(data):
    place = 8
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        if name == b"IDAT":
            yield data[place + 8 : place + 8 + length]
        place += length + 12


def _unpacks_to_more(chunks, most):
    """Returns whether packed data, in pieces, unpacks to more than so many bytes."""
    unpacker, count = zlib.decompressobj(), 0
    try:
        for chunk in chunks:
            while len(chunk) and count <= most:
                count += len(unpacker.decompress(chunk, 1 << 20))
                chunk = unpacker.unconsumed_tail
    except zlib.error:
        return False  # libpng stops there, too
    return count > most
