"""What a notebook shows: the static part of the HTML report, or the whole page in a frame. Nothing here asks the network."""
from __future__ import annotations

import html
import re
import sys
from typing import Any

TOKENS = 2000
"""Texts of more tokens are cut in the static part."""


def static_part(page: str, n_tokens: int) -> str:
    """The report's style and content without its script: markup of the library's own page, in which every text is escaped. Its rules
    stand below .jscopes, so that any number of results, and the notebook itself, keep out of each other's way."""
    style = page[page.index("<style>"):page.index("</style>") + len("</style>")]
    style = style.replace(":root {", ".jscopes {")
    style = style.replace("</style>", ".jscopes.jscopes-cell { margin: 0; padding: .2rem 0 1rem; }\n</style>")
    main = page[page.index('<main class="jscopes">'):page.index("</main>") + len("</main>")]
    main = main.replace('<main class="jscopes">', '<div class="jscopes jscopes-cell">').replace("</main>", "</div>")
    main = re.sub(r'(<article class="panel") id="line-\d+"', r"\1", main)  # an id, as a main, may stand once in a document
    main = re.sub(r'<section data-view="details".*?</section>\n?', "", main, flags=re.DOTALL)
    if n_tokens * main.count('<article class="panel"') > TOKENS:
        main = _shorten(main, n_tokens)
    return f"{style}\n{main}"


def _shorten(main: str, n_tokens: int) -> str:
    """Text up to the limit, over all rows of scores; no tables of all numbers, no maps."""
    main = re.sub(r'<section data-view="(?!text|table|predictions).*?</section>\n?', "", main, flags=re.DOTALL)
    main = re.sub(r"<details>.*?</details>", "", main, flags=re.DOTALL)
    left, kept = TOKENS, 0

    def cut(found: re.Match[str]) -> str:
        nonlocal left, kept
        if left == 0:
            return ""
        panel, kept = found.group(0), kept + 1
        spans = list(re.finditer(r"<span ", panel[panel.index('<div class="tokens">'):]))
        if len(spans) <= left:
            left -= len(spans)
            return panel
        end = panel.index('<div class="tokens">') + spans[left].start()
        shown, left = left, 0
        note = f'<p class="method">The first {shown} of {n_tokens} tokens; .show() and .save("page.html") have them all.</p>'
        return f"{panel[:end]}</div></div>\n{note}\n</article>\n"

    rows = main.count('<article class="panel"')
    main = re.sub(r'<article class="panel">.*?</article>\n?', cut, main, flags=re.DOTALL)
    if kept < rows:
        note = f'<p class="method">The first {kept} of {rows} rows of scores; .show() and .save("page.html") have them all.</p>\n</section>'
        main = main.replace("</section>", note, 1)
        main = re.sub(r'<div data-line="(\d+)">.*?</table>\s*</div>\n?',
                      lambda found: found.group(0) if int(found.group(1)) < kept else "", main, flags=re.DOTALL)
    return main


class Page:
    """A whole report: a frame in a notebook, `html` elsewhere."""

    def __init__(self, page: str, height: int) -> None:
        self.html, self.height = page, height

    def _repr_html_(self) -> str:
        return (f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(self.html)}" '
                f'style="width: 100%; height: {int(self.height)}px; border: 0"></iframe>')

    def __repr__(self) -> str:
        return f'<jscopes.Page of {len(self.html)} characters: shown in notebooks; elsewhere .save("page.html") and open that>'


def show(page: str, height: int) -> Page:
    """Displays the page at once where IPython runs (and returns what else would show it)."""
    out = Page(page, height)
    ipython: Any = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        ipython.display.display(out)
        return Shown(page, height)
    return out


class Shown(Page):
    """A page that is on the screen already: as the last value of a cell it must not appear twice."""

    def _repr_html_(self) -> str:
        return ""

    def __repr__(self) -> str:
        return ""
