#!/usr/bin/env python3
"""Makes the C source that holds the HTML report's one style and one script, with their SHA-256 for its Content-Security-Policy.

    embed_page.py OUT.c STYLE.css SCRIPT.js...

The scripts are joined in the order given. In the style a line

    @ramp NAME light COLOUR... dark COLOUR...;

becomes 64 rules .NAME0 to .NAME63: a background blended between the colours and letters in black or white, whichever stand out more.
"""
import base64
import hashlib
import re
import sys

STEPS = 64


def blend(colours, share):
    place = share * (len(colours) - 1)
    low = min(int(place), len(colours) - 2)
    return [round(a + (place - low) * (b - a)) for a, b in zip(colours[low], colours[low + 1])]


def luminance(rgb):
    """Relative luminance as WCAG 2 defines it."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def letters(rgb):
    light = luminance(rgb)
    return "#fff" if 1.05 / (light + 0.05) > (light + 0.05) / 0.05 else "#000"


def share_of(step, diverging):
    """A diverging ramp has two neutral steps in the middle, one for each side of 0."""
    half = STEPS // 2
    if not diverging:
        return step / (STEPS - 1)
    return 0.5 + 0.5 * (step - half) / (half - 1) if step >= half else 0.5 - 0.5 * (half - 1 - step) / (half - 1)


def rules(match):
    name, words = match.group(1), match.group(2)
    themes = [[tuple(bytes.fromhex(c[1:])) for c in part.split()] for part in re.fullmatch(r"light (.*) dark (.*)", words).groups()]
    out = []
    for step in range(STEPS):
        share = share_of(step, name == "d")
        light, dark = (blend(colours, share) for colours in themes)
        back = "light-dark(#%02x%02x%02x, #%02x%02x%02x)" % (*light, *dark)
        front = letters(light) if letters(light) == letters(dark) else f"light-dark({letters(light)}, {letters(dark)})"
        out.append(f".{name}{step} {{ background-color: {back}; color: {front}; }}")
    return "\n".join(out)


def c_string(text):
    escape = {"?": "\\?", "\\": "\\\\", '"': '\\"', "\n": "\\n"}
    lines = ["".join(escape.get(c, c) for c in line) for line in text.splitlines(keepends=True)]
    return "\n".join(f'    "{line}"' for line in lines)


def main():
    out, style_file, *script_files = sys.argv[1:]
    with open(style_file, encoding="utf-8") as f:
        style = re.sub(r"@ramp (\w) ([^;]*);", rules, f.read())
    script = ""
    for name in script_files:
        with open(name, encoding="utf-8") as f:
            script += f.read()
    if "</" in style or "</script" in script or "<!--" in script:
        sys.exit("embed_page.py: the style or the script would end its element")
    with open(out, "w", encoding="utf-8") as f:
        f.write("/* page_source.c: made by cmake/embed_page.py */\n#include \"html_internal.h\"\n")
        for name, text in (("style", style), ("script", script)):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            f.write(f'\nconst char page_{name}_hash[] = "sha256-{digest}";\nconst char page_{name}[] =\n{c_string(text)};\n')


if __name__ == "__main__":
    main()
