#!/usr/bin/env python3
"""Bad usage: exit 2, one line that says what is wrong and what is meant; help and version."""
import json
import os

from program import TINY, Case, main, run

COMMANDS = ("attribute", "plan", "spectrum", "info", "tokenize", "render", "fetch")


class Help(Case):
    def test_help_of_every_command_begins_with_examples(self):
        for command in COMMANDS:
            for arguments in ((command, "--help"), ("help", command)):
                text = self.good(*arguments).decode()
                self.assertIn(f"jscopes {command} ", text)
                self.assertIn("xamples", text)
                if command != "fetch":
                    self.assertLess(text.index("Examples:"), text.index("Usage: "), command)

    def test_help_lists_every_command(self):
        for arguments in (("--help",), ("help",), ("-h",)):
            text = self.good(*arguments).decode()
            for command in COMMANDS:
                self.assertIn(f"\n  {command} ", text)

    def test_help_fits_eighty_columns(self):
        for command in COMMANDS:
            for line in self.good(command, "--help").decode().splitlines():
                self.assertLessEqual(len(line), 100 if "jscopes" in line else 80, line)

    def test_version_names_unicode(self):
        text = self.good("--version").decode()
        self.assertRegex(text, r"^jscopes \d+\.\d+\.\d+ ")
        self.assertRegex(text, r"Unicode \d+")


class Families(Case):
    def test_table_is_in_the_readme(self):
        with open(os.path.join(os.path.dirname(__file__), "..", "..", "README.md"), encoding="utf-8") as f:
            self.assertIn(self.good("info", "--families").decode(), f.read(), "README.md: put in what jscopes info --families prints")

    def test_json(self):
        families = json.loads(self.good("info", "--families", "--format", "json"))
        self.assertEqual(len({f["model_type"] for f in families}), len(families))
        gemma = [f for f in families if f["model_type"] == "gemma2"][0]
        self.assertEqual(gemma["gguf"], "gemma2")
        self.assertIn("soft-cap", gemma["attention"])
        self.assertNotIn("gguf", [f for f in families if f["model_type"] == "opt"][0])

    def test_traits_of_a_model(self):
        self.assertIn("RMSNorm before each half; gated silu MLP", self.good("info", TINY).decode())

    def test_takes_no_model(self):
        self.bad(2, "info", TINY, "--families", says="takes no MODEL")
        self.bad(2, "info", says="which model?")


class Devices(Case):
    def test_lists(self):
        for command in ("attribute",):
            self.bad(1, command, TINY, "--ids", "1,2", "--device", "cuda:0,0", says="cuda:0 is listed twice")
            self.bad(1, command, TINY, "--ids", "1,2", "--device", "cuda:0,x", says=["cuda:0,x", "cuda:all, or cuda:N,M"])


class Usage(Case):
    def test_unknown_command(self):
        self.bad(2, "atribute", says="did you mean attribute?")
        self.bad(2, "tokenise", "x", says="did you mean tokenize?")
        for later in ("evaluate", "xyzzy"):
            self.bad(2, later, says=["unknown command", later])
        self.bad(2, "help", "atribute", says="did you mean attribute?")

    def test_no_command(self):
        self.bad(2, says="jscopes --help")
        self.bad(2, "--verbose", says="the command comes first")

    def test_unknown_option(self):
        self.bad(2, "attribute", TINY, "--scop", "fisher", says=["--scop;", "did you mean --scope?"])
        self.bad(2, "attribute", TINY, "--scop=fisher", says="did you mean --scope?")
        self.bad(2, "attribute", TINY, "--target_id", "3", says="did you mean --target-id?")
        self.bad(2, "info", TINY, "--text", "x", says=["info: unknown option --text"])
        self.bad(2, "attribute", TINY, "--qqqqqqqq", says="jscopes attribute --help")
        self.bad(2, "attribute", TINY, "-z", says="unknown option -z")

    def test_missing_things(self):
        for command in ("attribute", "plan", "spectrum", "info", "tokenize"):
            self.bad(2, command, says="which model?")
        self.bad(2, "attribute", TINY, says=["--text", "--ids"])
        self.bad(2, "tokenize", TINY, says="--text")
        self.bad(2, "attribute", TINY, "--text", says="--text needs a value")
        self.bad(2, "attribute", TINY, "--ids", "1", "-o", says="-o needs a value")
        self.bad(2, "attribute", TINY, "--ids", "1", "--scope", "direction", says="--directions")

    def test_an_option_without_value_takes_none(self):
        self.bad(2, "attribute", TINY, "--layers=3", says="--layers")

    def test_given_twice(self):
        self.bad(2, "attribute", TINY, "--ids", "1", "--ids", "2", says="--ids is given twice")

    def test_two_models(self):
        self.bad(2, "attribute", TINY, "--text", "The", "lens", says="'lens'")

    def test_conflicts_say_which(self):
        for options in (("--text", "a", "--ids", "1"), ("--text", "a", "--text-file", "f"), ("--ids", "1", "--no-bos"),
                        ("--ids", "1", "--front-pad", "2"), ("--ids", "1", "--target", "a", "--target-id", "3"),
                        ("--ids", "1", "--target-id", "3", "--contrast", "1,2"), ("--ids", "1", "--contrast", "1,2", "--log-probability"),
                        ("--ids", "1", "--scope", "fisher", "--exact", "--rank", "3"),
                        ("--ids", "1", "--scope", "fisher", "--rank", "3", "--rtol", "0.1")):
            named = [word for word in options if word.startswith("--") and word not in ("--scope",)]
            if len(named) > 2:
                named = named[-2:]
            self.bad(2, "attribute", TINY, *options, says=[*named, "do not go together"])
        self.bad(2, "tokenize", TINY, "--text", "a", "--text-file", "f", says=["--text", "--text-file"])

    def test_options_of_another_scope(self):
        for scope, options, wanted in (("temperature", ("--target-id", "3"), "semantic"), ("semantic", ("--exact",), "fisher"),
                                       ("fisher", ("--steps", "3"), "path"), ("semantic", ("--directions", "x.npy"), "direction"),
                                       ("fisher", ("--log-probability",), "semantic")):
            self.bad(2, "attribute", TINY, "--ids", "1", "--scope", scope, *options, says=[options[0], f"--scope {wanted}"])
        self.bad(2, "attribute", TINY, "--ids", "1", "--scope", "path", "--target-id", "1,2", says="--target-id")

    def test_values_outside_their_range(self):
        for options in (("--position", "x"), ("--position", "1.5"), ("--position", ""), ("--top-k", "-1"), ("--seed", "-1"), ("--seed", "0x10"),
                        ("--seed", "99999999999999999999"), ("--threads", "0"), ("--memory", "much"), ("--memory", "-1"), ("--memory", ""),
                        ("--memory", "M"), ("--memory", "nan"), ("--color", "sometimes"), ("--precision", "high"), ("--scope", "fish"),
                        ("--target-id", "1,,2"), ("--target-id", ""), ("--target-id", "1,2,"), ("--target-id", "-1"), ("--target-id", "a")):
            self.bad(2, "attribute", TINY, "--ids", "1", *options, says=options[0])
        for options in (("--rank", "0"), ("--rtol", "0"), ("--rtol", "nan"), ("--rtol", "two")):
            self.bad(2, "attribute", TINY, "--ids", "1", "--scope", "fisher", *options, says=options[0])
        for options in (("--steps", "0"), ("--path-rule", "straight"), ("--baseline", "one"), ("--baseline", "id:"), ("--baseline", "id:x"),
                        ("--baseline", "id:N")):
            self.bad(2, "attribute", TINY, "--ids", "1", "--scope", "path", *options, says=options[0])
        self.bad(2, "attribute", TINY, "--ids", "1,b", says=["--ids", "item 2", "'b'"])
        self.bad(2, "attribute", TINY, "--ids", "1", "--contrast", "1", says="--contrast")
        self.bad(2, "attribute", TINY, "--ids", "1", "--contrast", "1,2,3", says="--contrast")

    def test_names_suggest_the_nearest(self):
        self.bad(2, "attribute", TINY, "--ids", "1", "--scope", "fischer", says="did you mean fisher?")
        self.bad(2, "attribute", TINY, "--ids", "1", "--path-rule", "gradd", "--scope", "path", says="did you mean graded?")

    def test_formats_that_do_not_exist_are_refused_with_the_list_before_any_work(self):
        for command in (("attribute", "/nonexistent", "--ids", "1"), ("info", "/nonexistent"), ("tokenize", "/nonexistent", "--text", "a"),
                        ("plan", "/nonexistent", "--tokens", "3")):
            for name in ("html5", "yaml", ""):
                self.bad(2, *command, "--format", name, says=["--format", "text", "json"])

    def test_an_error_is_one_line_whatever_is_in_it(self):
        for evil in ("a\nb", "\x1b[2J", "a\r\tb", "\u202e", "\u009b"):
            err = self.bad(1, "attribute", "/nonexistent/" + evil, "--ids", "1")
            self.assertFalse([c for c in err[:-1] if ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c == "\u202e"], repr(err))
            self.bad(2, evil)
            self.bad(2, "attribute", TINY, "--ids", evil)
            self.bad(2, "attribute", TINY, "--" + evil)

    def test_a_model_that_is_not_there_says_where_it_was_looked_for(self):
        self.bad(1, "info", "no-such-model", says=["no-such-model", "fetch"])
        self.bad(1, "info", "/nonexistent/folder", says="/nonexistent/folder")

    def test_double_dash_ends_the_options(self):
        status, _, err = run("info", "--", "--odd-name")
        self.assertEqual(status, 1, err)
        self.assertIn("--odd-name", err)


if __name__ == "__main__":
    main()
