"""What a file of golden values holds: every scope of a few prompts, asked in the words of jsc_request. Shared by the make_* scripts.

A model is an object with embed(ids), run(x), head(y) (hf_scores.py) and token_rows(): the embedding rows as they enter block 0,
or None where a position embedding or a projection stands between.
"""
import json

import torch

import hf_scores
from llama64 import F64

PROMPTS = ((1, 0), (9, 8), (9, 5), (25, 24))  # tokens, position


def write_json(path, value, **kw):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, **kw)
        f.write("\n")


def rounded(value, digits):
    if isinstance(value, float):
        return float(f"%.{digits}g" % value)
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    return {k: rounded(v, digits) for k, v in value.items()} if isinstance(value, dict) else value


class Requests:
    """The requests of one prompt: what is asked, and what must come out."""

    def __init__(self, model, prompt, p, ids):
        self.model, self.prompt, self.p, self.ids, self.out = model, prompt, p, ids, []
        order = prompt.P[p].argsort(descending=True)
        self.best, self.a, self.b, self.rare = int(prompt.P[p].argmax()), int(order[0]), int(order[1]), int(order[-1])

    def add(self, name, layers=None, scores=None, **fields):
        values = layers[:, 0] if scores is None else scores
        self.out.append({"name": name, **fields, "scores": values.tolist(), **({} if layers is None else {"layers": layers.tolist()})})

    def pulled(self, rows):  # [layer][t] per row, as norms
        return self.prompt.squares(self.p, rows).sqrt().transpose(0, 1)

    def semantic(self, kind, x, y=None):
        return self.pulled(self.prompt.head_rows(self.p, hf_scores.objective(kind, x, y)))

    def fisher(self):
        rows, trace = self.prompt.fisher_rows(self.p)
        self.add("fisher", self.prompt.squares(self.p, rows).sum(1)[None], scope="fisher", trace=trace)

    def own_target(self):
        self.add("semantic, own target", self.semantic("logit", self.best), scope="semantic", target=self.best)

    def temperature(self):
        self.add("temperature", self.pulled(self.prompt.temperature_rows(self.p)), scope="temperature")

    def objectives(self):
        a, b, rare, half = self.a, self.b, self.rare, self.prompt.P.shape[1] // 2
        self.add("semantic, three targets", torch.cat([self.semantic("logit", i) for i in (a, rare, half)]), scope="semantic",
                 targets=[a, rare, half])
        self.add("contrast", self.semantic("contrast", b, rare), scope="semantic", objective="contrast", targets=[b, rare])
        self.add("log-probability", self.semantic("log-probability", b), scope="semantic", objective="log-probability", targets=[b])

    def direction(self):
        g = torch.Generator().manual_seed(7)
        v = torch.randint(-9, 10, (2, self.prompt.x.shape[1]), generator=g).to(F64)
        self.add("direction", self.pulled(v), scope="direction", directions=v.int().tolist())

    def input_x_gradient(self):
        x = self.prompt.x
        for kind, targets in (("logit", [self.b]), ("log-probability", [self.a]), ("contrast", [self.a, self.b])):
            terms = hf_scores.gradient(self.model, x, self.p, hf_scores.objective(kind, *targets))[0] * x.detach()
            self.add("input-x-gradient, " + kind, scores=terms.norm(dim=-1)[None], scope="input-x-gradient", objective=kind, targets=targets,
                     signed=terms.sum(-1).tolist())

    def path(self, steps):
        x, E = self.prompt.x, self.model.token_rows()
        baselines = [("zero", torch.zeros_like(x), {})]
        if E is not None:
            baselines += [("mean", E.mean(0).expand(len(x), -1), {}), ("id", E[5].expand(len(x), -1), {"baseline_id": 5})]
        for baseline, x0, extra in baselines:
            ig, total, difference = hf_scores.path(self.model, x, self.p, hf_scores.objective("logit", self.a), steps, x0)
            self.add("path from " + baseline, scores=ig.norm(dim=-1)[None], scope="path", targets=[self.a], baseline=baseline, steps=steps,
                     **extra, signed=ig.sum(-1).tolist(), sum=total, difference=difference)

    def matrices(self, scopes):
        square, prompt = {scope: [] for scope in scopes}, self.prompt
        for q in range(self.p + 1):
            follows = self.ids[q + 1] if q < self.p else self.best
            rows = {"semantic": lambda: prompt.head_rows(q, hf_scores.objective("logit", follows)),
                    "temperature": lambda: prompt.temperature_rows(q), "fisher": lambda: prompt.fisher_rows(q)[0]}
            for scope in scopes:
                sums = prompt.squares(q, rows[scope]())[0].sum(0)
                square[scope].append((sums if scope == "fisher" else sums.sqrt()).tolist())
        for scope, matrix in square.items():
            self.out.append({"name": scope + " matrix", "scope": scope, "matrix": [row[:q + 1] for q, row in enumerate(matrix)]})


def requests_for(model, prompt, p, ids, few=False, steps=100):
    """Every scope; few: one of each kind of cotangent and one matrix, for a variant of a family that has the whole."""
    r = Requests(model, prompt, p, ids)
    r.own_target()
    if not few:
        r.objectives()
    r.temperature()
    r.fisher()
    if not few:
        r.direction()
        r.input_x_gradient()
        r.path(steps)
    if p == len(ids) - 1:
        r.matrices(["temperature"] if few else ["semantic", "temperature", "fisher"])
    return r.out


def values(fresh, vocab, prompts=PROMPTS, first_id=3, **how):
    """fresh(): the model as just loaded, once per prompt: some rotary tables of transformers remember longer prompts."""
    g, out = torch.Generator().manual_seed(3), []
    for n, position in prompts:
        ids = torch.randint(first_id, vocab, (n,), generator=g).tolist()
        model = fresh()
        prompt = hf_scores.Prompt(model, ids, position)
        full = {"ids": ids, "position": position, "y_norm": float(prompt.y[position].norm().detach())}
        top = prompt.P[position].topk(5)
        full["predictions"] = [{"id": int(i), "probability": float(v), "logit": float(prompt.z[position, i])} for v, i in zip(top.values, top.indices)]
        full["requests"] = requests_for(model, prompt, position, ids, **how)
        out.append(full)
    return out
