#!/usr/bin/env python3
"""Turns coloured terminal output into an SVG picture: the README's is made by

    tools/terminal_svg.py build/release/jscopes attribute smollm2-135m --scope fisher --color always --text "..." > docs/picture.svg

Runs the command for a terminal of 84 cells with 24-bit colours and shows the command line above its output. The lines of seconds are left
out: they belong to a machine.

Knows the SGR escapes that jscopes writes: reset, bold, dim, reverse, 16, 256 and 24-bit colours. Cells are 0.6 em wide.
"""
import os
import re
import subprocess
import sys
import unicodedata
from xml.sax.saxutils import escape

FONT, LINE, PAD = 14.0, 19.0, 14.0
CELL = 0.602 * FONT
FOREGROUND, BACKGROUND = "#d8dee9", "#10141c"
BASE = ["#2e3440", "#d0575f", "#8fb573", "#d6b25e", "#6a9fd4", "#b383bd", "#6fb9c4", "#d8dee9"]
BRIGHT = ["#5c6573", "#ef6d76", "#a7d189", "#f0cc78", "#83bbf2", "#cf9bd9", "#86d6e2", "#ffffff"]


def colour_256(n):
    if n < 16:
        return (BASE + BRIGHT)[n]
    if n >= 232:
        return "#" + "%02x" % (8 + 10 * (n - 232)) * 3
    steps = (0, 95, 135, 175, 215, 255)
    return "#%02x%02x%02x" % tuple(steps[(n - 16) // k % 6] for k in (36, 6, 1))


class Style:
    def __init__(self):
        self.reset()

    def reset(self):
        self.fore = self.back = None
        self.bold = self.dim = self.reverse = self.underline = False

    def apply(self, codes):
        codes = [int(c or 0) for c in codes.split(";")]
        while codes:
            c = codes.pop(0)
            if c == 0:
                self.reset()
            elif c in (1, 2, 4, 7):
                setattr(self, {1: "bold", 2: "dim", 4: "underline", 7: "reverse"}[c], True)
            elif c == 22:
                self.bold = self.dim = False
            elif c in (24, 27):
                setattr(self, {24: "underline", 27: "reverse"}[c], False)
            elif c in (38, 48) and codes:
                if codes.pop(0) == 5:
                    found = colour_256(codes.pop(0))
                else:
                    found = "#%02x%02x%02x" % tuple(codes.pop(0) for _ in range(3))
                setattr(self, "fore" if c == 38 else "back", found)
            elif c in (39, 49):
                setattr(self, "fore" if c == 39 else "back", None)
            elif 30 <= c < 38 or 90 <= c < 98:
                self.fore = (BASE if c < 90 else BRIGHT)[c % 10]
            elif 40 <= c < 48 or 100 <= c < 108:
                self.back = (BASE if c < 100 else BRIGHT)[c % 10]

    def colours(self):
        fore, back = self.fore or FOREGROUND, self.back
        return (back or BACKGROUND, fore) if self.reverse else (fore, back)


def cells(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def captured(command):
    """The command line as a user types it, and the lines of its output."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env={**os.environ, "COLORTERM": "truecolor", "COLUMNS": "84"})
    typed = [os.path.basename(command[0])] + [a for i, a in enumerate(command) if i and "--color" not in (a, command[i - 1])]
    rows = ["\x1b[1m$ " + " ".join(a if re.fullmatch(r"[\w./=-]+", a) else '"%s"' % a for a in typed) + "\x1b[0m", ""]
    for line in done.stdout.rstrip("\n").split("\n"):
        if "seconds: load" in line:
            break
        rows.append(line)
    while not rows[-1].strip():
        rows.pop()
    return rows


def main():
    style, rows, out = Style(), captured(sys.argv[1:]), []
    widest = 0
    for row, line in enumerate(rows):
        column, y = 0, PAD + row * LINE
        for piece in re.findall(r"\x1b\[[0-9;]*m|\x1b\[[0-9;]*[A-Za-z]|[^\x1b]+", line):
            if piece.startswith("\x1b"):
                if piece.endswith("m"):
                    style.apply(piece[2:-1])
                continue
            fore, back = style.colours()
            x, width = PAD + column * CELL, cells(piece) * CELL
            if back:
                out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{LINE:.1f}" fill="{back}"/>')
            extra = (' font-weight="bold"' if style.bold else "") + (' opacity="0.65"' if style.dim else "")
            if piece.strip():
                out.append(f'<text x="{x:.1f}" y="{y + 0.74 * LINE:.1f}" fill="{fore}"{extra} textLength="{width:.1f}" '
                           f'xml:space="preserve">{escape(piece)}</text>')
            column += cells(piece)
        widest = max(widest, column)
    width, height = 2 * PAD + widest * CELL, 2 * PAD + len(rows) * LINE
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
          f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT:g}">')
    print("<title>jscopes on a terminal</title>")
    print(f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>')
    print("\n".join(out))
    print("</svg>")


if __name__ == "__main__":
    main()
