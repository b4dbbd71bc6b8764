"""Decoding of image files by OpenCV."""

import struct

import cv2

_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's color type
# Deflate makes data that cannot be compressed longer by less than this, and each chunk is a chance
# for an encoder to waste a little.
_OVERHEAD = 1.1


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
    """Returns whether a PNG holds more pixels than its header says: libpng would unpack them all.

    A thousand times the file's size, so that ten megabytes take a minute.
    """
    if data[:8] != _PNG or len(data) < 33:
        return False
    width, height, depth, color = struct.unpack(">IIBB", data[16:26])
    rows = -(-width * depth * _CHANNELS.get(color, 4) // 8) + 1
    place, compressed = 8, 0
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        compressed += length if name == b"IDAT" else 0
        place += length + 12
    return compressed > _OVERHEAD * 2 * rows * height + 4096  # twice: interlaced rows are more
