"""TeX formulas of the pages as MathML, when the site is built: browsers show it themselves, no script and no network.

Only what the pages use is understood. Anything else stops the build, so that no formula is ever shown as its source.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from mkdocs.exceptions import PluginError

_CODE = re.compile(r"(^ *(?:```|~~~).*?^ *(?:```|~~~) *$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_MATHS = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$])\$(?P<inline>[^\s$](?:[^$]*[^\s$])?)\$(?!\d)", re.DOTALL)
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|:=|=:|.", re.DOTALL)
_MARK = "mathsformula{}end"

_LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "varepsilon": "ε", "eta": "η", "theta": "θ", "kappa": "κ",
    "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "varphi": "φ", "chi": "χ", "omega": "ω", "ell": "ℓ",
    "infty": "∞",
}  # fmt: skip
_CAPITALS = {"Delta": "Δ", "Lambda": "Λ", "top": "⊤"}
_RELATIONS = {
    "le": "≤", "ge": "≥", "ne": "≠", "approx": "≈", "sim": "∼", "to": "→", "in": "∈", "mapsto": "↦", "iff": "⟺",
    "propto": "∝", "ll": "≪", "mid": "|", "cdot": "⋅", "pm": "±", "oplus": "⊕", "cap": "∩", "dots": "…", "cdots": "⋯",
}  # fmt: skip
_LARGE = {"sum": "∑", "prod": "∏"}
_SPACES = {",": 0.167, ";": 0.278, " ": 0.25, "quad": 1.0, "qquad": 2.0}
_ACCENTS = {"bar": "¯", "overline": "¯", "hat": "ˆ", "tilde": "˜"}
_OPENING = {"(": "(", "[": "[", "{": "{", "lceil": "⌈"}
_CLOSING = {")": ")", "]": "]", "}": "}", "rceil": "⌉"}
_FENCES = {"(": "(", ")": ")", "[": "[", "]": "]", "|": "|", r"\{": "{", r"\}": "}", ".": ""}
_SIGNS = {
    "=": "<mo>=</mo>", "<": "<mo>&lt;</mo>", ">": "<mo>&gt;</mo>", ":": "<mo>:</mo>", "*": "<mo>∗</mo>",
    ":=": "<mo>≔</mo>", "=:": "<mo>≕</mo>",
    ",": '<mo separator="true">,</mo>', ";": '<mo separator="true">;</mo>', "/": '<mo lspace="0" rspace="0">/</mo>',
    "|": '<mo stretchy="false" form="infix" lspace="0" rspace="0">|</mo>', ".": "<mtext>.</mtext>",
    "+": '<mo form="infix">+</mo>', "-": '<mo form="infix">−</mo>',
}  # fmt: skip
_UNARY = {
    sign: f'<mo form="prefix" lspace="0" rspace="0">{shown}</mo>'
    for sign, shown in (("+", "+"), ("-", "−"), ("pm", "±"))
}
_BEFORE_UNARY = {"", *"([{=<>,:;|/", "lceil", "Vert", *_RELATIONS, *_LARGE}


def _simple() -> dict[str, str]:
    """Macros that always look the same, as MathML."""
    shown = {name: f"<mi>{letter}</mi>" for name, letter in _LETTERS.items()}
    shown |= {name: f'<mi mathvariant="normal">{letter}</mi>' for name, letter in _CAPITALS.items()}
    shown |= {name: f"<mo>{sign}</mo>" for name, sign in _RELATIONS.items()}
    shown |= {name: f'<mspace width="{width}em"></mspace>' for name, width in _SPACES.items()}
    for name, sign in _LARGE.items():
        shown[name] = f'<mo movablelimits="true" form="prefix">{sign}</mo>'
    for form, fences in (("prefix", _OPENING), ("postfix", _CLOSING)):
        shown |= {name: f'<mo stretchy="false" form="{form}">{fence}</mo>' for name, fence in fences.items()}
    shown["Vert"] = '<mo stretchy="false" form="infix" lspace="0.1em" rspace="0.1em">‖</mo>'
    shown["int"] = "<mo>∫</mo>"
    return shown


_SIMPLE = _simple()


class Formula:
    """One formula, read from left to right. display: whether it stands on a line of its own."""

    def __init__(self, source: str, *, display: bool) -> None:
        self._source = " ".join(source.split())
        self._parts: list[str] = _TOKEN.findall(self._source)
        self._at = 0
        self._display = display
        self._before = ""  # the last sign, to tell a minus sign from a difference

    def mathml(self) -> str:
        """The formula as a <math> element, its source as the text alternative.

        Raises: PluginError on a macro that is not known, or braces that do not match.
        """
        row = self._row(until="")
        mode = ' display="block"' if self._display else ""
        return f'<math{mode} alttext="{html.escape(self._source)}">{row}</math>'

    def _fail(self, why: str) -> PluginError:
        return PluginError(f"formula ${self._source}$: {why}; docs/hooks/mathml.py says what is understood")

    def _peek(self) -> str:
        """The next sign that is no space; "" at the end."""
        while self._at < len(self._parts) and self._parts[self._at].isspace():
            self._at += 1
        return self._parts[self._at] if self._at < len(self._parts) else ""

    def _take(self) -> str:
        sign = self._peek()
        if not sign:
            raise self._fail("it ends too early")
        self._at += 1
        return sign

    def _row(self, until: str) -> str:
        """Everything up to the sign `until`, which is taken too, as one element."""
        elements = []
        self._before = ""
        while (sign := self._peek()) != until:
            if sign in ("", "}", r"\right"):
                raise self._fail(f"{sign or 'its end'} where {until or 'more'} was expected")
            elements.append(self._with_scripts(self._number() if sign.isdigit() else self._atom()))
        if until:
            self._take()
        return f"<mrow>{''.join(elements)}</mrow>"

    def _number(self) -> str:
        digits = self._take()
        while self._at < len(self._parts) and (self._parts[self._at].isdigit() or self._is_decimal_point()):
            digits += self._take()
        self._before = "number"
        return f"<mn>{digits}</mn>"

    def _is_decimal_point(self) -> bool:
        sign, *following = self._parts[self._at : self._at + 2]
        return sign == "." and "".join(following).isdigit()

    def _argument(self) -> str:
        """A group in braces, or the one sign that TeX would take."""
        self._before = ""
        return self._atom()

    def _with_scripts(self, base: str) -> str:
        below = raised = ""
        while (sign := self._peek()) in ("_", "^", "'") and sign:
            self._take()
            if sign == "'":  # the sign is raised by itself
                base = f'<mrow>{base}<mo lspace="0" rspace="0">′</mo></mrow>'
            elif sign == "_":
                below = self._argument()
            else:
                raised = self._argument()
            self._before = "script"
        if not below and not raised:
            return base
        limits = base.startswith("<mo movablelimits")
        names = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
        name = names[2 if below and raised else 0 if below else 1]
        return f"<{name}>{base}{below}{raised}</{name}>"

    def _atom(self) -> str:
        sign = self._take()
        if sign == "{":
            group = self._row(until="}")
            self._before = "group"
            return group
        if sign.startswith("\\"):
            return self._macro(sign[1:])
        before, self._before = self._before, sign
        if sign.isalnum():
            kind = "mn" if sign.isdigit() else "mi"
            return f"<{kind}>{sign}</{kind}>"
        if sign in _UNARY and before in _BEFORE_UNARY:
            return _UNARY[sign]
        shown = _SIGNS.get(sign) or _SIMPLE.get(sign)
        if shown is None:
            raise self._fail(f"the sign {sign!r}")
        return shown

    def _macro(self, name: str) -> str:
        if name in _SIMPLE:
            before, self._before = self._before, name
            return _UNARY[name] if name in _UNARY and before in _BEFORE_UNARY else _SIMPLE[name]
        if name not in _BUILDERS:
            raise self._fail(f"the macro \\{name}")
        element = _BUILDERS[name](self, name)
        self._before = "" if _BUILDERS[name] is Formula.function else name
        return element

    def function(self, name: str) -> str:
        """A named function: apart from its argument unless a bracket is."""
        gap = "0" if self._peek() in ("(", "[", r"\left") else "0.167em"
        limits = "" if name == "log" else ' movablelimits="true"'
        return f'<mo{limits} form="prefix" lspace="0.167em" rspace="{gap}">{name}</mo>'

    def fraction(self, name: str) -> str:
        """Two arguments; \\tfrac is small also on a line of its own."""
        fraction = f"<mfrac>{self._argument()}{self._argument()}</mfrac>"
        return f'<mstyle displaystyle="false">{fraction}</mstyle>' if name == "tfrac" else fraction

    def binomial(self, _: str) -> str:
        """Two arguments in brackets."""
        return f'<mrow><mo>(</mo><mfrac linethickness="0">{self._argument()}{self._argument()}</mfrac><mo>)</mo></mrow>'

    def root(self, _: str) -> str:
        """A square root."""
        return f"<msqrt>{self._argument()}</msqrt>"

    def accent(self, name: str) -> str:
        """Something above its argument."""
        stretch = "true" if name == "overline" else "false"
        return f'<mover accent="true">{self._argument()}<mo stretchy="{stretch}">{_ACCENTS[name]}</mo></mover>'

    def underline(self, _: str) -> str:
        """A line below the argument."""
        return f'<munder accentunder="true">{self._argument()}<mo stretchy="true">_</mo></munder>'

    def upright(self, name: str) -> str:
        """Words: a name, or text with its spaces."""
        if self._take() != "{":
            raise self._fail(f"\\{name} without braces")
        end = self._parts.index("}", self._at) if "}" in self._parts[self._at :] else len(self._parts)
        words = "".join(self._parts[self._at : end])
        self._at = end
        self._take()
        if name == "text":
            return f"<mtext>{html.escape(words.replace(' ', chr(0xA0)))}</mtext>"
        return f'<mi mathvariant="normal">{html.escape(words)}</mi>'

    def fenced(self, _: str) -> str:
        """Brackets as high as what they hold."""
        opening = self._fence()
        inner = self._row(until=r"\right")
        return f'<mrow><mo form="prefix">{opening}</mo>{inner}<mo form="postfix">{self._fence()}</mo></mrow>'

    def sized(self, name: str) -> str:
        """One bracket of a given size."""
        size = {"big": "1.2em", "Big": "1.8em"}[name]
        fence = self._fence()
        form = "prefix" if fence in _OPENING else "postfix"
        return f'<mo form="{form}" stretchy="true" symmetric="true" minsize="{size}" maxsize="{size}">{fence}</mo>'

    def _fence(self) -> str:
        sign = self._take()
        if sign not in _FENCES:
            raise self._fail(f"the bracket {sign}")
        return _FENCES[sign]


_BUILDERS: dict[str, Callable[[Formula, str], str]] = {
    **dict.fromkeys(("log", "min", "max", "sup", "inf"), Formula.function),
    **dict.fromkeys(("bar", "overline", "hat", "tilde"), Formula.accent),
    **dict.fromkeys(("frac", "tfrac"), Formula.fraction),
    **dict.fromkeys(("mathrm", "text"), Formula.upright),
    **dict.fromkeys(("big", "Big"), Formula.sized),
    "binom": Formula.binomial,
    "sqrt": Formula.root,
    "underline": Formula.underline,
    "left": Formula.fenced,
}


def taken_out(markdown: str) -> tuple[str, list[str]]:
    """The page with a mark for each formula, which Markdown leaves alone, and the formulas as MathML."""
    found: list[str] = []

    def mark(match: re.Match[str]) -> str:
        display = match["display"]
        found.append(Formula(display or match["inline"], display=display is not None).mathml())
        return _MARK.format(len(found) - 1)

    pieces = _CODE.split(markdown)
    pieces[::2] = [_MATHS.sub(mark, piece) for piece in pieces[::2]]
    return "".join(pieces), found


def put_back(page: str, formulas: list[str]) -> str:
    """The page with its formulas in the places of their marks."""
    for number, formula in enumerate(formulas):
        page = page.replace(_MARK.format(number), formula)
    return page


class Pages:
    """Keeps each page's formulas between reading and writing it."""

    def __init__(self) -> None:
        self._formulas: dict[str, list[str]] = {}

    def on_page_markdown(self, markdown: str, page, **_) -> str:
        """Before Markdown: formulas out."""
        text, self._formulas[page.file.src_uri] = taken_out(markdown)
        return text

    def on_page_content(self, content: str, page, **_) -> str:
        """After Markdown: formulas in."""
        return put_back(content, self._formulas.pop(page.file.src_uri, []))


_pages = Pages()
on_page_markdown, on_page_content = _pages.on_page_markdown, _pages.on_page_content
