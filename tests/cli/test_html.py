#!/usr/bin/env python3
"""The HTML report: strict markup and policy; in a headless Chromium, if there is one, what it does, how it looks and that it asks nobody."""
import base64
import hashlib
import html
import html.parser
import json
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import unittest
import zlib
from pathlib import Path

from program import TINY, Case, main, run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHECKS = (Path(__file__).parent / "page_checks.js").read_text(encoding="utf-8")
VOID = {"meta", "br", "rect"}
HOSTILE = ["</script><script>hostile=1</script>", "<img src=x onerror=hostile=1>", "<img src=http://jscopes.invalid/x>", '"><svg onload=hostile=1>',
           "' onmouseover='hostile=1", "&amp;&lt;b&gt;", "<!--", "\u2028", "\u202eevil", "\u2066", "\x1b[2J", "\x7f", "\ufeff", "\U0001f44d\U0001f3fd",
           "עברית", "]]>", "${hostile=1}", "`", "\\u003cimg\\u003e"]


def saved(tokens, scores, **changes):
    """A result as --format json writes it. tokens: texts, or dicts."""
    items = [dict({"id": 10 + t}, **(token if isinstance(token, dict) else {"text": token})) for t, token in enumerate(tokens)]
    result = {"model": {"name": "a <model> & \"more\"", "family": "llama", "layers": 2, "d_model": 8, "vocab_size": 100},
              "scope": "semantic", "target": {"position": len(tokens) - 1, "objective": "logit", "ids": [5], "texts": [" <b>next</b>"],
                                              "probabilities": [0.25], "logits": [3.0]},
              "tokens": [dict(item, score=score) for item, score in zip(items, scores)],
              "y_norm": 2.0, "predictions": [{"id": 5, "text": " <b>next</b>", "probability": 0.25, "logit": 3.0}], "backend": "cpu",
              "precision": "strict", "seed": 0, "chunk": 1, "plan": "one", "bytes_peak": 1, "warnings": ["</p><script>hostile=1</script>"],
              "seconds": {"load": 0.1, "forward": 0.2, "backward": 0.3}}
    result.update(changes)
    return result


class Page(html.parser.HTMLParser):
    """Refuses what no strict parser should have to repair; keeps what the tests ask for."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.raw, self.spans, self.elements, self.policy = [], {"style": [], "script": []}, [], [], ""
        self.feed(text)
        self.close()
        if self.open:
            raise ValueError(f"not closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names) or any(value is None for _, value in attrs):
            raise ValueError(f"attributes of <{tag}>: {attrs}")
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "src", "srcdoc") or (name == "href" and not value.startswith("#")):
                raise ValueError(f"<{tag} {name}={value}>")
        self.elements.append((tag, dict(attrs)))
        if tag == "meta" and dict(attrs).get("http-equiv"):
            self.policy = dict(attrs)["content"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "span" and self.open[-2:-1] == ["div"] and dict(attrs).get("class", "") not in ("bar", "mapping"):
            self.spans.append("")
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            raise ValueError(f"</{tag}> at {self.getpos()}")

    def handle_data(self, text):
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]][-1] += text
        elif self.open[-2:] == ["div", "span"] and self.spans:
            self.spans[-1] += text


def digest(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def with_checks(page, quick):
    """The page with page_checks.js behind its own script, allowed by its hash."""
    checks = CHECKS.replace("quick = false", "quick = true") if quick else CHECKS
    page = page.replace("; script-src '", f"; script-src '{digest(checks)}' '", 1)
    return page.replace("</body>", f"<script>{checks}</script>\n</body>", 1)


def png_pixels(data):
    """Rows of (r, g, b) of an 8-bit RGB or RGBA picture."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and colour in (2, 6), (depth, colour)
        packed += body if kind == b"IDAT" else b""
        at += size + 12
    n, raw, before, rows = 3 if colour == 2 else 4, zlib.decompress(packed), bytes(width * 4), []
    for y in range(height):
        kind, row = raw[y * (width * n + 1)], bytearray(raw[y * (width * n + 1) + 1:(y + 1) * (width * n + 1)])
        for i in range(width * n) if kind else ():
            left, up, corner = row[i - n] if i >= n else 0, before[i], before[i - n] if i >= n else 0
            guess = left + up - corner
            nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            row[i] = (row[i] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
        rows.append([tuple(row[i:i + 3]) for i in range(0, width * n, n)])
        before = bytes(row)
    return rows


class Refuser:
    """A proxy that refuses everything and remembers who was asked for."""

    def __init__(self):
        self.asked = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    self.asked.append(connection.recv(4096).split(b"\r\n")[0].decode("latin-1"))
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    pass

    def close(self):
        self.socket.close()


class Html(Case):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.place.name)

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    def render(self, *results, options=()):
        names = []
        for i, result in enumerate(results):
            names.append(str(self.folder / f"result{i}.json"))
            Path(names[-1]).write_text(json.dumps(result), encoding="utf-8")
        return self.good("render", *names, "--format", "html", *options).decode()

    def hostile(self):
        tokens = HOSTILE + [{"text": "<0xE2><0x82>", "bytes": "e282"}, {"text": "<0xAC>", "bytes": "ac", "linked": True}, " plain words", "\n", "\tend"]
        return self.render(saved(tokens, [t + 1 for t in range(len(tokens))]))

    def everything(self, *options):
        """A page from the program itself, with all that it can hold."""
        return self.good("attribute", TINY, "--ids", "57,3,120,9,0,88,213,4", "--layers", *(options or ["--matrix"]), "--format", "html").decode()

    # ---- without a browser --------------------------------------------------------------------------------------------------------

    def test_markup_is_strict_and_the_policy_holds_the_hashes(self):
        for page in (self.everything(), self.everything("--target-id", "4,9"), self.everything("--scope", "input-x-gradient"), self.hostile()):
            self.assertTrue(page.startswith("<!DOCTYPE html>\n"))
            parsed = Page(page)
            self.assertEqual(len(parsed.raw["script"]), 2)
            for tag, text in (("style", parsed.raw["style"][0]), ("script", parsed.raw["script"][1])):
                self.assertIn(f"{tag}-src '{digest(text)}'", parsed.policy)
            self.assertTrue(parsed.policy.startswith("default-src 'none'; "))
            self.assertNotIn("unsafe", parsed.policy)

    def test_case_41_hostile_tokens_are_text_and_data(self):
        parsed = Page(self.hostile())
        shown = {"\u2028": "<U+2028>", "\u202e": "<U+202E>", "\u2066": "<U+2066>", "\x1b": "\\x1b", "\x7f": "\\x7f", "\ufeff": "<U+FEFF>"}
        wanted = ["".join(shown.get(c, c) for c in token) for token in HOSTILE] + ["\\xE2\\x82", "\\xAC", " plain words", "\n", "\tend"]
        self.assertEqual(parsed.spans, wanted)
        data = json.loads(parsed.raw["script"][0])
        self.assertEqual([token["text"] for token in data["results"][0]["tokens"]][:len(HOSTILE)], HOSTILE)
        self.assertFalse(set("<>&") & set(parsed.raw["script"][0]))
        self.assertEqual({tag for tag, _ in parsed.elements} & {"img", "b", "svg:script", "iframe"}, set())

    def test_it_is_whole_without_its_script(self):
        page = self.everything()
        for part in ("Strongest tokens", "All 8 tokens in numbers", "Predicted next tokens", "block 1", "Details", "strict"):
            self.assertIn(part, re.sub(r"<script>.*</script>", "", page, flags=re.S))
        self.assertEqual(len(Page(page).spans), 8)
        self.assertEqual(len(Page(self.everything("--target-id", "4,9")).spans), 16)  # both targets' texts

    # ---- in a browser --------------------------------------------------------------------------------------------------------------

    def chromium(self, *arguments, size="1200,900"):
        if CHROMIUM is None:
            self.skipTest("no chromium here: the page was not opened")
        profile = tempfile.mkdtemp(dir=self.folder)
        done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
                               "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--enable-logging=stderr",
                               f"--user-data-dir={profile}", f"--window-size={size}", *arguments], capture_output=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-2000:])
        for line in done.stderr.decode("utf-8", "replace").splitlines():
            self.assertNotIn("CONSOLE", line)
        return done.stdout.decode("utf-8", "replace")

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def passes(self, name, page, quick=False, **options):
        dom = self.chromium("--dump-dom", f"file://{self.file(name, with_checks(page, quick))}", **options)
        title = html.unescape(re.search(r"<title>(.*?)</title>", dom, re.S).group(1))
        self.assertTrue(title.startswith("passed "), f"{name}: {title}")
        return title

    def test_the_script_adds_views_to_the_page_as_it_is(self):
        dom = self.chromium("--dump-dom", f"file://{self.file('plain.html', self.everything())}")
        for view in ("text", "table", "layers", "matrix", "predictions", "details"):
            self.assertIn(f'id="tab-{view}"', dom)
        self.assertEqual(len(re.findall(r'role="tab"[^>]*aria-selected="true"', dom)), 1)

    def test_everything_works(self):
        self.passes("everything.html", self.everything())
        self.passes("narrow.html", self.everything(), size="500,800")
        self.passes("targets.html", self.everything("--target-id", "4,9,11"))
        self.passes("signed.html", self.everything("--scope", "path", "--steps", "3"))
        self.passes("fisher.html", self.everything("--scope", "fisher", "--position", "3"))

    def test_hostile_tokens_stay_inert(self):
        self.passes("hostile.html", self.hostile())

    def test_several_results_and_a_difference(self):
        tokens, score = ["Le", " chat", " dort", ".", "\n", "The", " cat", " sleeps"], [1.0, 2.0, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0]
        rows = [saved(tokens, score, target={"position": p}, scope="fisher", fisher={
            "mode": "exact", "directions": 8, "probes": 0, "rank": 8, "explained": 1.0, "trace": 1.0, "dropped_mass": 0.0}) for p in (3, 4, 5, 6, 7)]
        self.passes("rows.html", self.render(*rows))
        self.passes("difference.html", self.render(saved(tokens, score), saved(tokens, score[::-1]), options=["--difference"]))

    def test_a_series_of_numbers(self):
        tokens = [text for i in range(30) for text in (f" {i * 7 % 31}", ",")]
        page = self.render(saved(tokens, [1.0 + t % 5 for t in range(len(tokens))]))
        self.passes("series.html", page)
        self.passes("seed.html", self.render(saved(tokens, [1.0] * len(tokens), seed=2**64 - 1), options=["--title", "a large seed"]))
        self.assertIn('id="tab-series"', self.chromium("--dump-dom", f"file://{self.file('series_plain.html', page)}"))

    def test_undefined_and_empty_scores(self):
        self.passes("zeros.html", self.render(saved(["a", " b", " c"], [0.0, 0.0, 0.0])))
        self.passes("one.html", self.render(saved(["a"], [1.0])))

    def test_8192_tokens_open_within_a_second(self):
        tokens = [" word" if t % 12 else "\n" for t in range(8192)]
        layers = [[(l + t) % 97 / 97 for t in range(8192)] for l in range(24)]
        result = saved(tokens, [1.0 / (1 + t % 100) for t in range(8192)], layers=layers)
        result["model"]["layers"] = 24
        page = self.render(result)
        self.assertLess(len(page.encode()), 10_000_000)
        best = 1e9
        for _ in range(4):  # the machine may be busy
            best = min(best, int(re.search(r"open after (\d+) ms", self.passes("long.html", page, quick=True)).group(1)))
            if best < 1000:
                break
        self.assertLess(best, 1000)

    def picture(self, name, url, *arguments, size="640,480"):
        path = self.folder / name
        self.chromium(*arguments, f"--screenshot={path}", url, size=size)
        return png_pixels(path.read_bytes())

    def test_pictures_in_light_dark_and_narrow(self):
        url = f"file://{self.file('picture.html', self.everything())}"
        light = self.picture("light.png", url)
        self.assertEqual(light[2][2], (255, 255, 255))
        self.assertIn((8, 48, 107), {pixel for row in light for pixel in row})  # the strongest token
        dark = self.picture("dark.png", url, "--blink-settings=preferredColorScheme=0")
        self.assertEqual(dark[2][2], (20, 24, 29))
        self.assertIn((222, 235, 247), {pixel for row in dark for pixel in row})
        self.assertEqual(self.picture("chosen.png", url + "#theme=dark")[2][2], (20, 24, 29))
        narrow = self.picture("narrow.png", url, size="500,480")
        self.assertEqual({row[-2] for row in narrow}, {(255, 255, 255)})  # nothing is cut off at the right

    def test_no_request_leaves(self):
        proxy = Refuser()
        self.addCleanup(proxy.close)
        through = (f"--proxy-server=http://{proxy.address}", "--proxy-bypass-list=<-loopback>", "--virtual-time-budget=2000", "--dump-dom")
        self.chromium(*through, f"file://{self.file('quiet.html', self.hostile())}")
        quiet = list(proxy.asked)
        try:  # the same way of looking sees a page that does ask
            self.chromium(*through, f"file://{self.file('loud.html', '<!DOCTYPE html><title>x</title><img src=http://jscopes.invalid/x>')}")
        except AssertionError:
            pass  # its console says so too
        self.assertIn("GET http://jscopes.invalid/x HTTP/1.1", proxy.asked)
        own = re.compile(r"\w+ (https?://)?[\w.-]+\.(google|googleapis|gvt1)\.com[:/]")  # the browser's, whatever it shows
        self.assertEqual([line for line in quiet if not own.match(line)], [])

    def test_it_prints(self):
        path = self.folder / "page.pdf"
        self.chromium(f"--print-to-pdf={path}", "--no-pdf-header-footer", f"file://{self.file('print.html', self.everything())}")
        self.assertTrue(path.read_bytes().startswith(b"%PDF-"))
        self.assertGreater(path.stat().st_size, 5000)

    def test_case_44_a_failed_run_leaves_no_file(self):
        path = self.folder / "none.html"
        self.bad(1, "attribute", TINY, "--ids", "100000", "--format", "html", "-o", str(path))
        self.assertFalse(path.exists())
        self.assertEqual(run("attribute", TINY, "--ids", "1,2", "--format", "html", "-o", "/dev/full")[0], 1)


if __name__ == "__main__":
    main()
