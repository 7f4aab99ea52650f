#!/usr/bin/env python3
"""The terminal: colour and width by what it says it is, progress on stderr alone, interruption."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time

from program import JSCOPES, TINY, Case, environment, main, run

PROMPT = ("attribute", TINY, "--ids", "57,3,120,9,0,88,213")
LONG = ("attribute", TINY, "--ids", "57,3,120", "--scope", "path", "--steps", "900000")


def on_terminal(*arguments, columns=80, env=None, seconds=60, signals=(), only_stderr=False):
    """Exit status, what the terminal got, and stdout if only stderr is the terminal."""
    try:
        master, slave = pty.openpty()
    except OSError as error:
        raise unittest.SkipTest(f"no pseudo-terminal to be had: {error}") from error
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen([JSCOPES, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if only_stderr else slave, stderr=slave,
                             env=env or environment())
    os.close(slave)
    shown, started, pending = b"", time.monotonic(), list(signals)
    while time.monotonic() - started < seconds:
        if pending and time.monotonic() - started >= pending[0][0]:
            child.send_signal(pending.pop(0)[1])
        if select.select([master], [], [], 0.05)[0]:
            try:
                part = os.read(master, 65536)
            except OSError:  # the last writer is gone
                break
            if not part:
                break
            shown += part
    else:
        child.kill()
    out = child.stdout.read() if only_stderr else b""
    status = child.wait()
    os.close(master)
    if only_stderr:
        child.stdout.close()
    return status, shown.decode().replace("\r\n", "\n"), out


class Colour(Case):
    def colours(self, *options, terminal=True, **variables):
        if terminal:
            status, text, _ = on_terminal(*PROMPT, *options, env=environment(**variables))
        else:
            status, out, _ = run(*PROMPT, *options, env=environment(**variables))
            text = out.decode()
        self.assertEqual(status, 0, text)
        for kind, pattern in (("true", "\x1b\\[48;2;"), ("256", "\x1b\\[48;5;"), ("16", "\x1b\\[10?[0-9];"), ("some", "\x1b")):
            if re.search(pattern, text):
                return kind
        return "none"

    def test_depth_follows_the_terminal(self):
        self.assertEqual(self.colours(), "256")
        self.assertEqual(self.colours(COLORTERM="truecolor"), "true")
        self.assertEqual(self.colours(COLORTERM="24bit"), "true")
        self.assertEqual(self.colours(TERM="linux"), "16")

    def test_none_where_nobody_sees_it_or_wants_it(self):
        self.assertEqual(self.colours(terminal=False), "none")
        self.assertEqual(self.colours(NO_COLOR="1"), "none")
        self.assertEqual(self.colours(NO_COLOR=""), "256")
        self.assertEqual(self.colours(TERM="dumb"), "none")
        self.assertEqual(self.colours("--color", "never"), "none")

    def test_always_where_it_is_asked_for(self):
        self.assertEqual(self.colours("--color", "always", terminal=False), "256")
        self.assertEqual(self.colours("--color", "always", terminal=False, NO_COLOR="1"), "256")
        self.assertEqual(self.colours(terminal=False, FORCE_COLOR="1"), "256")
        self.assertEqual(self.colours(terminal=False, FORCE_COLOR="1", COLORTERM="truecolor"), "true")
        self.assertEqual(self.colours(FORCE_COLOR="0"), "none")

    def test_json_has_no_colours(self):
        status, text, _ = on_terminal(*PROMPT, "--format", "json")
        self.assertEqual(status, 0)
        self.assertNotIn("\x1b", text)

    def test_without_utf8_everything_is_ascii(self):
        self.assertTrue(self.good(*PROMPT, env=environment(LC_ALL="C")).isascii())
        self.assertIn("\u2588", self.good(*PROMPT, env=environment(LC_ALL="C.UTF-8")).decode())
        self.assertIn("\u2588", self.good(*PROMPT).decode())  # nothing said: terminals are UTF-8

    def test_a_token_never_drives_the_terminal(self):
        status, text, _ = on_terminal("attribute", TINY, "--text", "a\x1b[2J\x07\x9b31m\u202ez\x00"[:-1], "--color", "never")
        self.assertEqual(status, 0)
        self.assertFalse([c for c in text if c != "\n" and (ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c == "\u202e")], repr(text))


class Width(Case):
    def widest(self, text):
        lines = re.sub("\x1b\\[[0-9;]*m", "", text).split("\n")
        bars = [line for line in lines if "\u2588" in line and "%" in line]
        return max(map(len, bars))

    def test_terminal_then_columns_then_eighty(self):
        wide = self.widest(on_terminal(*PROMPT, columns=120)[1])
        narrow = self.widest(on_terminal(*PROMPT, columns=60)[1])
        self.assertLess(narrow, wide)
        self.assertLessEqual(narrow, 60)
        self.assertEqual(self.widest(on_terminal(*PROMPT, columns=60, env=environment(COLUMNS="200"))[1]), narrow)
        self.assertEqual(self.widest(self.good(*PROMPT, env=environment(COLUMNS="60")).decode()), narrow)
        self.assertLessEqual(self.widest(self.good(*PROMPT).decode()), 80)


class Several(Case):
    """Saved results beside each other, and their difference."""

    def test_colour_and_width(self):
        with tempfile.TemporaryDirectory() as folder:
            one, two = os.path.join(folder, "1.json"), os.path.join(folder, "2.json")
            self.good(*PROMPT, "-o", one)
            self.good(*PROMPT, "--target-id", "4", "-o", two)
            for columns in (50, 80, 120):
                for variables, blue, orange in (({"TERM": "linux"}, "\x1b\\[44;97m", "\x1b\\[(1?03|43);30m"),
                                                ({}, "\x1b\\[48;5;1[78];", "\x1b\\[48;5;(230|223|216|209|208|166|130|94);"),
                                                ({"COLORTERM": "truecolor"}, "\x1b\\[48;2;8;48;107;", "\x1b\\[48;2;2[0-9]{2};1?[0-9]{2};"),
                                                ({"NO_COLOR": "1"}, "\\+", "-")):
                    status, text, _ = on_terminal("render", one, two, "--difference", columns=columns, env=environment(**variables))
                    self.assertEqual(status, 0, text)
                    prompt = text[text.index("first minus second"):text.index("largest")]
                    shown = prompt[prompt.index("\n"):]
                    self.assertRegex(shown, blue)
                    self.assertRegex(shown, orange)
                    self.assertEqual("NO_COLOR" in variables, "\x1b" not in text)
                    tables = re.sub("\x1b\\[[0-9;]*m", "", text[text.index("largest"):]).split("\n")
                    self.assertLessEqual(max(map(len, tables)), columns)


class Progress(Case):
    def test_a_short_run_shows_none(self):
        status, text, _ = on_terminal(*PROMPT, only_stderr=True)
        self.assertEqual((status, text), (0, ""))

    def test_after_two_seconds_with_the_time_left_and_interruption_ends_cleanly(self):
        status, text, out = on_terminal(*LONG, only_stderr=True, signals=[(4.0, signal.SIGINT)], seconds=60)
        self.assertEqual(status, 1)
        self.assertEqual(out, b"")
        self.assertRegex(text, r"\rjscopes: [a-z]+ +\d+ %, 0:0\d so far, [0-9:]+ left")
        self.assertTrue(text.endswith("jscopes: interrupted; nothing was written\n"), repr(text))
        self.assertEqual(text.count("\n"), 1)

    def test_nothing_in_a_log_before_half_a_minute(self):
        child = subprocess.Popen([JSCOPES, *LONG], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        time.sleep(3.5)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        self.assertEqual((child.returncode, out, err), (1, b"", b"jscopes: interrupted; nothing was written\n"))

    def test_a_second_interruption_kills(self):
        child = subprocess.Popen([JSCOPES, *LONG], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        time.sleep(1.0)
        for _ in range(2):
            child.send_signal(signal.SIGINT)
        self.assertIn(child.wait(timeout=60), (1, -signal.SIGINT))

    def test_verbose_lines_are_whole(self):
        status, _, err = run(*PROMPT, "--verbose")
        self.assertEqual(status, 0)
        self.assertRegex(err, r"jscopes: hash of the scores: [0-9a-f]{16}\n")
        for line in err.splitlines():
            self.assertTrue(line.startswith("jscopes: "), line)


if __name__ == "__main__":
    main()
