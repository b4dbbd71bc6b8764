"""Names of classes in pictures, also in letters that OpenCV's fonts lack."""

import unicodedata
from functools import lru_cache

import cv2
import numpy as np
from PIL import ImageFont, features

FONT = cv2.FONT_HERSHEY_DUPLEX  # ASCII alone
# Files of fonts that systems have; the first with all letters of a name is taken.
SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf"),
    *("Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc"),
    *("msyh.ttc", "msgothic.ttc", "malgun.ttf", "Nirmala.ttf"),
)
NO_LETTER = "\uffff"  # fonts show it as they show letters that they lack
# Letters that are not a letter of ASCII with a mark.
PLAIN = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE"}
    | {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "þ": "th", "ı": "i"}
)
LONGEST = 18  # characters of a name


class Name:
    """A class's name, ready to be drawn at one size.

    A name that is not ASCII is drawn in a font of the system that has its letters; without one, as
    ASCII if it can be written so, and else as the class's number.

    Args:
      name: the name.
      class_id: its number.
      em: the height of capitals, pixels.
      scale, thickness: of OpenCV's text of that height.

    Attributes:
      text: the name as it is drawn.
      numbered: whether the number is drawn.
      width: pixels.
    """

    def __init__(self, name, class_id, em, scale, thickness):
        short = unicodedata.normalize("NFC", name)
        short = short if len(short) <= LONGEST else short[: LONGEST - 2] + ".."
        self._em, self._scale, self._thickness = em, scale, thickness
        self._font = None if short.isascii() else system_font(short, round(em))
        plain = short if self._font else _plain(short)
        self.numbered = not plain.strip()
        self.text = f"class {class_id}" if self.numbered else plain
        if self._font:
            self.width = round(self._font.getlength(self.text))
        else:
            self.width = cv2.getTextSize(self.text, FONT, scale, thickness)[0][0]

    def draw(self, picture, x, middle, color):
        """Draws the name from x on with its capitals centered on the height `middle`."""
        x, baseline = round(x), round(middle + self._em / 2)
        if not self._font:
            origin = (x, baseline)
            cv2.putText(
                picture, self.text, origin, FONT, self._scale, color, self._thickness, cv2.LINE_AA
            )
            return
        mask, (left, top) = self._font.getmask2(self.text, "L", anchor="ls")
        cover = np.array(mask, np.uint8).reshape(mask.size[::-1])
        left, top = left + x, top + baseline
        cover = cover[max(-top, 0) :, max(-left, 0) :]
        window = picture[max(top, 0) :, max(left, 0) :][: cover.shape[0], : cover.shape[1]]
        part = cover[: window.shape[0], : window.shape[1], None] / 255
        window[:] = np.rint(window * (1 - part) + np.array(color) * part)


def _plain(name):
    """Returns a name in ASCII, or '' if that would leave out letters."""
    decomposed = unicodedata.normalize("NFKD", name.translate(PLAIN))
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return plain if plain.isascii() else ""


@lru_cache(maxsize=256)
def system_font(name, em):
    """Returns a font of the system with all letters of a name, capitals `em` high, or None."""
    if _is_shaped(name) and not features.check("raqm"):
        return None
    for file in SYSTEM_FONTS:
        try:
            font = ImageFont.truetype(file, em)
        except OSError:
            continue
        if all(_has(font, letter) for letter in name):
            _, top, _, bottom = font.getbbox("X")
            return font.font_variant(size=max(1, round(em * em / max(bottom - top, 1))))
    return None


def _is_shaped(name):
    """Returns whether letters of a name change with their neighbors, or run from the right."""
    return any(
        unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter)[0] == "M"
        for letter in name
    )


def _has(font, letter):
    """Returns whether a font has a letter."""
    mask, none = font.getmask(letter), font.getmask(NO_LETTER)
    return letter.isspace() or mask.size != none.size or bytes(mask) != bytes(none)
