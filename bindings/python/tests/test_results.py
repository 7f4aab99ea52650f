"""What a result can be made into: text, pages, files, differences, tables."""
from __future__ import annotations

import copy
import html.parser
import json
import pickle

import numpy as np
import pytest

import jscopes

TEXT = "The lens of the eye"


@pytest.fixture(scope="module")
def a(model):
    return model.attribute(TEXT, scope="fisher", layers=True, matrix=True)


@pytest.fixture(scope="module")
def b(model):
    return model.attribute(TEXT, scope="temperature", layers=True)


def test_text(a):
    assert str(a) == a.report("text") and "scope fisher" in str(a) and "strongest tokens" in repr(a)
    assert "\x1b" not in repr(a) and "\x1b[" in a.report(colour=True)
    assert a.report(width=50) != a.report(width=100)
    assert a.report(ascii=True).isascii()


def test_file_formats(a, tmp_path):
    for name, start in (("a.json", "{"), ("a.html", "<!DOCTYPE html>"), ("a.svg", "<?xml"), ("a.txt", "tiny_llama")):
        a.save(tmp_path / name)
        assert (tmp_path / name).read_text().startswith(start), name
    with pytest.raises(jscopes.ArgumentError, match=r"a\.doc: say which format"):
        a.save(tmp_path / "a.doc")
    with pytest.raises(jscopes.FileError):
        a.save(tmp_path / "no" / "folder.json")
    with pytest.raises(jscopes.ArgumentError, match="text"):
        a.report("doc")


def test_read_back(a, tmp_path):
    a.save(tmp_path / "a.json")
    for again in (jscopes.read(tmp_path / "a.json"), jscopes.from_json(a.to_json()), pickle.loads(pickle.dumps(a)), copy.deepcopy(a)):
        for name in ("scores", "layers", "matrix", "ids"):
            assert getattr(again, name).tobytes() == getattr(a, name).tobytes(), name
        assert again.fisher == a.fisher and again.to_json() == a.to_json() and list(again.tokens) == list(a.tokens)
    assert json.loads(a.to_json()) == a.to_dict()
    (tmp_path / "bad.json").write_text('{"scope": 7}')
    with pytest.raises(jscopes.FormatError, match=r"bad\.json: "):
        jscopes.read(tmp_path / "bad.json")
    with pytest.raises(FileNotFoundError):
        jscopes.read(tmp_path / "none.json")


def test_several(a, b, tmp_path):
    jscopes.save([a, b], tmp_path / "two.json")
    assert [result.scope for result in jscopes.read_many(tmp_path / "two.json")] == ["fisher", "temperature"]
    shown = jscopes.render([a, b], labels=["first one", "other"])
    assert "first one" in shown and "Spearman" in shown
    same = jscopes.compare(a, a, k=3)
    assert same == {"spearman": 1.0, "k": 3, "common": 3}
    for wrong in ({"labels": ["one"]}, {"format": "doc"}):
        with pytest.raises(jscopes.ArgumentError):
            jscopes.render([a, b], **wrong)
    with pytest.raises(jscopes.ArgumentError):
        jscopes.render([])


def test_difference(model, a, b, tmp_path):
    c = model.attribute(TEXT, scope="fisher", rank=2)
    assert np.array_equal((a - c).scores, a.scores - c.scores) and not (a - c).in_shares and (a - c).layers is None
    unlike = a - b
    assert unlike.in_shares and np.allclose(unlike.scores, a.scores / a.scores.sum() - b.scores / b.scores.sum())
    assert unlike.layers.shape == a.layers.shape
    assert "minus" in str(unlike) and "minus" in unlike._repr_html_() and unlike.compare(3)["k"] == 3
    unlike.save(tmp_path / "d.html")
    assert "minus" in (tmp_path / "d.html").read_text()
    with pytest.raises(jscopes.ArgumentError, match="the same tokens"):
        a - model.attribute("The eye", scope="fisher")
    with pytest.raises(TypeError):
        a - 1


class Tags(html.parser.HTMLParser):
    """Start tags with attributes, and whether every tag is closed."""

    EMPTY = ("br", "meta", "img", "rect", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


def test_notebook(a):
    page = a._repr_html_()
    tags = Tags(page)
    assert not tags.open
    assert {tag for tag, _ in tags.seen}.isdisjoint({"script", "link", "iframe", "html", "body", "main", "img"})
    assert not any("id" in attributes or "style" in attributes for _, attributes in tags.seen)
    assert "The" in "".join(tags.text) and len(page) < 60_000
    rules = page[page.index("<style>"):page.index("</style>")]
    assert ":root" not in rules  # nothing of the notebook's own
    bundle = a._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"} and bundle["text/html"] == page


def test_notebook_long(model):
    ids = np.resize(model.tokenize(TEXT + " <b>"), 2600)
    tags = Tags(model.attribute(ids, scope="temperature", position=20)._repr_html_())
    assert not tags.open and sum(tag == "span" for tag, _ in tags.seen) < 2200
    assert "The first 2000 of 2600 tokens" in "".join(tags.text)


def test_notebook_many_rows(model):
    """The limit is one of the page, not of each row of scores."""
    page = model.attribute(np.resize(model.tokenize(TEXT), 900), targets=list(range(50)), layers=True)._repr_html_()
    tags = Tags(page)
    assert not tags.open and len(page) < 300_000
    assert sum(attributes.get("class") == "scores" for _, attributes in tags.seen) == 3
    assert "The first 200 of 900 tokens" in "".join(tags.text) and "The first 3 of 50 rows" in "".join(tags.text)


def test_notebook_hostile(model):
    """Text of a prompt is data: no tag of it survives."""
    page = model.attribute('</style><script>alert(1)</script> <img src=x onerror=alert(1)> "quoted" id="line-0" </main>')._repr_html_()
    tags = Tags(page)
    assert not tags.open and {tag for tag, _ in tags.seen}.isdisjoint({"script", "img"})


def test_show(a):
    frame = a.show()._repr_html_()
    (tag, attributes), = Tags(frame).seen
    assert tag == "iframe" and attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == a.report("html") == a.show().html


def test_pandas(model, a):
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = a.to_pandas()
    assert list(frame.columns) == ["position", "id", "token", "score"] and np.array_equal(frame["score"], a.scores)
    assert list(model.attribute(TEXT, targets=[1, 2]).to_pandas().columns)[3:] == ["score_0", "score_1"]


def test_xarray(model, a):
    pytest.importorskip("xarray", reason="xarray is not installed")
    data = a.to_xarray()
    assert data["scores"].dims == ("token",) and data["layers"].dims == ("layer", "token") and data["matrix"].dims == ("position", "token")
    several = model.attribute(TEXT, targets=[1, 2], layers=True).to_xarray()
    assert several["layers"].dims == ("target", "layer", "token") and several["target_id"].values.tolist() == [1, 2]


def test_plot(model, a):
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("agg")
    for kind in ("scores", "layers", "matrix"):
        assert a.plot(kind).figure is not None
    model.attribute("$x$ of", targets=[1, 2]).plot().figure.canvas.draw()
    with pytest.raises(jscopes.ArgumentError):
        a.plot("series")
    with pytest.raises(jscopes.ArgumentError, match="layers=True"):
        model.attribute(TEXT).plot("layers")
