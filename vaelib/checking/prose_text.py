"""Reads Markdown for `vaelib.checking.prose`: its numbers, the marks behind them, and what it refers to.

Left out, because they are read elsewhere or say nothing that could be compared: displayed equations with a number (they
are claims), code, targets of links, HTML tags, places in a cited work (eq. 8, section 2.4, table 1, #11), arXiv
numbers, years of citations, ordinals, versions, the time to read a notebook, and the list under `## References`.
"""

import re
from fractions import Fraction
from typing import NamedTuple

UNITS = (
    "nats? bits? ms seconds? minutes? hours? bytes? metres? MiB GiB GB MB images?(?:/s)? thumbnails? digits epochs? "
    "pixels? dimensions? latents? units draws? samples? steps? examples? weights? parameters? cases? numbers shadows? "
    "prisoners? evenings? seeds? classes words pairs eigenvalues degrees rays points levels"
)
KINDS = ("out", "code", "calc", "cite", "given")
BLANK = "\0"  # stands for each character that is not read, so that places stay what they are

_DIGITS = r"(?:(?:\d{1,3}(?:(?:,|\{,\})\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
NUMBER = re.compile(
    r"(?P<sign>(?<![)\]}+\w.])[-−+])?"
    r"(?:\\[dt]?frac\s*(?:(?P<a>\d)|\{(?P<aa>\d+)\})\s*(?:(?P<b>\d)|\{(?P<bb>\d+)\})"
    r"|(?<![\w.])(?:(?P<power>10\^(?:\{-?\d+\}|\d))|(?P<digits>" + _DIGITS + r")(?:[eE](?P<e>[-+]?\d+)\b"
    r"|\s*(?:\\cdot|\\times|×)\s*10\^\{?(?P<ten>-?\d+)\}?|/(?P<over>\d+)(?![\d/.]))?)"
    r"(?P<word>\s(?:million|thousand)\b)?)"
)
_CLOSERS = rf"[*_$)\]}}{BLANK}]*"
_PERCENT = re.compile(rf"{_CLOSERS}\s*(?:\\?%|per ?cent\b)")
_UNIT = re.compile(
    rf"{_CLOSERS}\s*{_CLOSERS}(?:\\?%|per ?cent\b|(?:[smh]|(?:[a-z]+[ \n])?(?:{'|'.join(UNITS.split())}))(?![\w^-]))"
)
_AND = re.compile(rf"{_CLOSERS}(?:\s*(?:to|and|or|of|by|,|[-\u2013]|×|\\times|±|\+-)\s*)+[$*({BLANK}]*$")
_PART = re.compile(
    r"(?:[A-Za-z}] ?[-+] ?|\^|\\?\b(?:log|ln|exp|sqrt) ?)\Z"
)  # of k + 1 weights, L^2 weights, log 2 nats
_MARK = re.compile(r"<!--(.*?)-->", re.DOTALL)
_PHRASE = re.compile(r"[.!?]\s|\n\s*\n|\||\n\s*(?:[-*]|\d+\.)\s")
_BARE = rf"(?!\s*(?:\\?%|per ?cent\b|(?:{'|'.join(UNITS.split())})\b))"  # neither a unit nor a percentage follows
_YEAR = (
    r"(?:(?:[A-Z][\w'.-]*|\bal\.),?|\bin|\bof|\bsince)[ \n]\(?(?:1[5-9]|20)\d\d(?:[a-z]\b)?(?:[,;] (?:1[5-9]|20)\d\d)*+"
    r"(?![\d,.]\d|\s+of\b)" + _BARE + r"|\((?:1[5-9]|20)\d\d\)"
)
_PLACE = (
    r"(?i:\b(?:eqs?|equations?|sections?|sec|chapters?|appendix|theorems?|propositions?|lemmas?|version)\b)\.?"
    r"\s*[A-Z]?\.?\d[\d.]*(?:(?:\s*(?:[-\u2013,]|to|and)\s*)+[A-Z]?\d[\d.]*+" + _BARE + r")*"
    r"|(?i:\b(?:tables?|figs?|figures?|pages?|pp?|algorithms?|lines?|volume|vol|no)\b)\.?"
    r"\s*\d+(?!\.?\d)(?:(?:\s*(?:[-\u2013,]|to|and)\s*)+\d++(?!\.?\d)" + _BARE + r")*"
)
_ID = r"D?[aA]?[1-9]\d?\.\d{1,2}[a-z]?"
_LEFT_OUT = [
    re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL),
    re.compile(r"`[^`]*`"),
    re.compile(r"(?<=\])\([^()\s]*\)|<?\bhttps?://[^\s>)]*>?"),
    re.compile(r"</?[a-zA-Z][\w-]*(?:\s[^<>$]*)?/?>"),  # not from $K<L$ to the next >
    re.compile(r"\*\*(?:Reading|Running|Time):\*\*\s+(?:about )?\d+ \w+"),
    re.compile(r"^## [aA]?\d+\.\d+ · .*\(\d+ minutes\)$", re.MULTILINE),  # an exercise, by its number
    re.compile(r"\barXiv[: ]\d+\.\d+|#\d+|\d+\.\d+\.\d[\d.]*|\d+(?:st|nd|rd|th|[a-g])\b(?![-+]\d)"),
    re.compile(_PLACE),
    re.compile(_YEAR),
]
_EQUATION = re.compile(r"\$\$.*?\$\$|\\begin\{(equation|align|gather|multline)\*?\}.*?\\end\{\1\*?\}", re.DOTALL)
_TAG = re.compile(r"\\tag\*?\{([^}]*)\}")
_REFERENCES = {
    "equation": re.compile(
        rf"(?<![\w)\]])\({_ID}(?=[),;])|\b(?:[Cc]laims?|[Ee]quations?)\s+{_ID}(?:(?:,| and|, and| to)\s+{_ID})*\b"
    ),
    "notebook": re.compile(r"\b[Nn]otebooks?\s+(\d\d|[aA]\d)\b|\[(\d\d|[aA]\d)\b"),
    "section": re.compile(r"\bSections?\s+(\d+)\b"),
    "exercise": re.compile(r"\b[Ee]xercises?\s+([aA]?\d+(?:\.\d+)?)\b"),
    "link": re.compile(r"\]\(([^()\s:#]+)(?:#[^()\s]*)?\)"),
    "statement": re.compile(r"\b(S\d{1,2})\b"),
    "mistake": re.compile(r"\b(E\d{1,2}[a-z]?)\b"),
}


class Number(NamedTuple):
    """A number in a text: its place, its value, what its last digit is worth (0: it is exact), why it needs a mark."""

    start: int
    end: int
    text: str
    value: Fraction
    unit: Fraction
    percent: bool
    needed: bool


class Mark(NamedTuple):
    """What stands behind numbers: one (kind, words) for each of the numbers before it."""

    start: int
    text: str
    parts: tuple[tuple[str, str], ...]


def value(match: re.Match[str]) -> tuple[Fraction, Fraction]:
    """The value of a number that `NUMBER` found, and what its last digit is worth: 0 for a fraction."""
    found = match.groupdict()
    above, below = found["a"] or found["aa"], found["b"] or found["bb"]
    sign = -1 if found["sign"] in ("-", "−") else 1
    if above:
        return Fraction(sign * int(above), int(below) or 1), Fraction(0)
    if found["power"]:
        ten = Fraction(10) ** int(found["power"][3:].strip("{}"))
        return sign * ten, ten
    digits = re.sub(r"[{},]", "", found["digits"])
    if found["over"]:
        return sign * Fraction(digits) / (int(found["over"]) or 1), Fraction(0)
    scale = Fraction(10) ** int(found["e"] or found["ten"] or 0)
    scale *= {"million": 10**6, "thousand": 1000}.get((found["word"] or "").strip(), 1)
    return sign * Fraction(digits) * scale, scale / 10 ** len(digits.partition(".")[2])


def plain(text: str) -> str:
    """The text with what is not read blanked out, character for character."""
    text = _MARK.sub(_blank, text)
    text = _EQUATION.sub(lambda match: _blank(match) if _TAG.search(match[0]) else match[0], text)
    for pattern in _LEFT_OUT:
        text = pattern.sub(_blank, text)
    for kind in ("equation", "exercise"):
        text = _REFERENCES[kind].sub(_blank, text)
    return text


def numbers(text: str) -> list[Number]:
    """Every number of a Markdown text; needed are those with a point, a unit, a percentage or more than two digits."""
    readable = plain(text)
    readable = re.sub(r"\\(?!(?:[dt]?frac|cdot|times)(?![A-Za-z]))[A-Za-z]+", _blank, readable)
    found: list[Number] = []
    has_unit = False
    for match in reversed(list(NUMBER.finditer(readable))):
        after = readable[match.end() :]
        between = after[: found[-1].start - match.end()] if found else ""
        has_unit = bool(_UNIT.match(after)) or bool(has_unit and match[0] != "0" and _AND.fullmatch(between))
        has_unit &= not _PART.search(text[: match.start()])
        long = re.search(r"\d{3}|\.\d|\d[.,eE^]|\{,", match[0]) is not None
        size, unit = value(match)
        if match["sign"] and re.search(r"[\w)\]}]\Z", readable[: match.start()].rstrip(BLANK)):
            size = abs(size)  # no sign: what joins the numbers of 784-200, with a mark between
        percent = bool(_PERCENT.match(after))
        found.append(Number(match.start(), match.end(), match[0], size, unit, percent, long or has_unit))
    return found[::-1]


def marks(text: str) -> list[Mark]:
    """Every comment of a Markdown text that starts with the name of a kind; code is not looked at."""
    for pattern in _LEFT_OUT[:2]:
        text = pattern.sub(_blank, text)
    found = []
    for match in _MARK.finditer(text):
        words = " ".join(match[1].split())
        if not re.match(r"\w+(?: \w{2,3})?\s*:|given", words):
            continue
        parts, kind = [], ""
        for part in words.split(";"):
            head, colon, rest = part.partition(":")
            if colon and re.fullmatch(rf"(?:{'|'.join(KINDS)})|out \w{{2,3}}", head.strip()):
                kind, part = head.strip(), rest
            parts.append((kind or head.strip(), part.strip()))
        found.append(Mark(match.start(), words, tuple(parts)))
    return found


def marked(text: str) -> tuple[list[tuple[Number, Mark, tuple[str, str]]], list[Number], list[Mark]]:
    """Numbers with the part of a mark that is theirs, needed numbers without one, and marks that find no number.

    A mark of k parts belongs to the last k numbers of its phrase that need one, in their order, if there are so many;
    else to the last k numbers of any kind. A phrase starts at a mark, a sentence, a paragraph, a cell of a table.
    """
    every, pairs, stray, last = numbers(text), [], [], 0
    readable = plain(text)
    for mark in marks(text):
        breaks = [m.end() for m in _PHRASE.finditer(readable, last, mark.start)]
        start = max([last, *breaks])
        phrase = [n for n in every if start <= n.start and n.end <= mark.start]
        size = len(mark.parts)
        needed = [n for n in phrase if n.needed]
        chosen = (needed if len(needed) >= size else phrase)[-size:]
        if len(chosen) < size:
            stray.append(mark)
        else:
            pairs += [(number, mark, part) for number, part in zip(chosen, mark.parts, strict=True)]
        last = mark.start
    taken = {number.start for number, *_ in pairs}
    return pairs, [n for n in every if n.needed and n.start not in taken], stray


def references(text: str) -> list[tuple[str, str]]:
    """What a Markdown text refers to, as (kind, name): ("equation", "7.2"), ("notebook", "07"), ("link", "a.png")."""
    text = _MARK.sub(_blank, text)
    for pattern in _LEFT_OUT[:2]:
        text = pattern.sub(_blank, text)
    found = []
    for kind, pattern in _REFERENCES.items():
        for match in pattern.finditer(text):
            names = re.findall(_ID, match[0]) if kind == "equation" else filter(None, match.groups())
            found += [(kind, name) for name in names]
    return found


def tags(text: str) -> list[str]:
    """The numbers of the displayed equations of a Markdown text."""
    return [tag for match in _EQUATION.finditer(text) for tag in _TAG.findall(match[0])]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", BLANK, match[0])
