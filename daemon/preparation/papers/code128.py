"""Code 128, a barcode, of ISO/IEC 15417.

reportlab can draw it and is in Debian, but it brings Pillow and more for this one barcode.
"""

from __future__ import annotations

# The widths of each symbol's bars and spaces in turn, in modules.
SYMBOLS = tuple(
    """
    212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232
    122132 122231 113222 123122 123221 223211 221132 221231 213212 223112 312131 311222 321122
    321221 312212 322112 322211 212123 212321 232121 111323 131123 131321 112313 132113 132311
    211313 231113 231311 112133 112331 132131 113123 113321 133121 313121 211331 231131 213113
    213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 111422
    121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111
    241112 134111 111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121
    412121 111143 111341 131141 114113 114311 411113 411311 113141 114131 311141 411131 211412
    211214 211232
    """.split()  # noqa: SIM905 - a table, not a list of words
)
START_B = 104
STOP = "2331112"


def modules(text: str) -> list[list[int]]:
    """Return one row of modules for printable ASCII `text`; 1 is black."""
    # Alphabet B has all printable ASCII at one symbol each, in the order of ASCII.
    symbols = [START_B, *(ord(character) - ord(" ") for character in text)]
    check = sum(max(1, place) * symbol for place, symbol in enumerate(symbols)) % 103
    widths = "".join(SYMBOLS[symbol] for symbol in (*symbols, check)) + STOP
    return [[1 - place % 2 for place, width in enumerate(widths) for _ in range(int(width))]]
