#!/usr/bin/env python3
"""Scores of every scope for one prompt, in float64, straight from automatic differentiation. It knows nothing of jscopes.

    hf_scores.py MODEL --ids 504,3575,282 [--position -1] [--target ID] [--matrix] [--path-steps 100] [--transformers] [--check]

MODEL is a folder (config.json, *.safetensors) or a .gguf file of the llama family. Prints one JSON object: ids, position, target,
scores[scope][t], layers[scope][block][t], matrix (temperature) [p][t], fisher {trace}, path {steps, sum, difference},
input_dot_gradient, predictions, y_norm. --transformers takes the Hugging Face model instead of llama64.py (any family); --check
prints the largest relative difference between the two.
"""
import argparse
import json
import sys
from contextlib import nullcontext

import torch
from torch.overrides import TorchFunctionMode

from llama64 import F64, Llama64


class True64(TorchFunctionMode):
    """Turns every float32 that transformers asks for (rotary tables, norms, softmax) into float64: its own formulas, without the floor."""

    def __enter__(self):
        self.default = torch.get_default_dtype()
        torch.set_default_dtype(F64)
        return super().__enter__()

    def __exit__(self, *what):
        torch.set_default_dtype(self.default)
        return super().__exit__(*what)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def wide(value):
            return F64 if isinstance(value, torch.dtype) and value == torch.float32 else value
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        return func(*map(wide, args), **{k: wide(v) for k, v in (kwargs or {}).items()})


class Transformers:
    """The same three functions as Llama64, on a Hugging Face causal language model (eager attention).

    y is what the head's matrix sees; a projection behind the last block (OPT) belongs to the head, as do logit scales and soft-caps."""

    def __init__(self, path, plain=False):
        from transformers import AutoModelForCausalLM
        self.mode = nullcontext if plain else True64
        with self.mode():
            self.model = AutoModelForCausalLM.from_pretrained(path, dtype=F64, attn_implementation="eager").eval()
        self.model.requires_grad_(False)
        self.config = self.model.config.get_text_config()
        self.blocks = next(m for name, m in self.model.named_modules() if "vision" not in name and name.split(".")[-1] in ("layers", "h"))
        self.project_out = next((m for name, m in self.model.named_modules() if name.endswith("project_out")), None)
        self.length = 0

    def embed(self, ids):
        """What enters block 0, taken by running the model until there."""
        return self._walk(ids, None)[0][0]

    def run(self, x):
        T = x.shape[0]
        if T < self.length:
            x = torch.cat([x, torch.zeros(self.length - T, x.shape[1], dtype=F64)])
        inputs, y = self._walk([0] * x.shape[0], x)
        return inputs, y[:T]

    def _walk(self, ids, x):
        inputs, last, hooks = [], [], []

        def enter(_module, args, kwargs):
            inputs.append(x if x is not None and not inputs else args[0][0])
            return (inputs[-1][None], *args[1:]), kwargs  # the recorded tensor itself goes on, so that it is in the graph
        for block in self.blocks:
            hooks.append(block.register_forward_pre_hook(enter, with_kwargs=True))
        end = self.project_out or self.model.get_output_embeddings()
        hooks.append(end.register_forward_pre_hook(lambda _m, args: last.append(args[0][0])))
        try:
            with self.mode():
                self.logits = self.model(torch.tensor([list(ids)]), use_cache=False).logits[0]
        finally:
            for hook in hooks:
                hook.remove()
        return inputs, last[0]

    def head(self, y):
        z = self.model.get_output_embeddings()(y if self.project_out is None else self.project_out(y))
        if self.config.model_type == "granite":
            z = z / self.config.logits_scaling
        if self.config.model_type == "cohere":
            z = z * self.config.logit_scale
        cap = getattr(self.config, "final_logit_softcapping", None)
        return z if cap is None else cap * torch.tanh(z / cap)

    def token_rows(self):
        if self.project_out is not None or self.config.model_type in ("gpt2", "opt"):
            return None
        return torch.cat([self.embed(part) for part in torch.arange(self.config.vocab_size).split(16)])


def load(path, transformers=False):
    if transformers:
        return Transformers(path)
    return Llama64.from_gguf(path) if path.endswith(".gguf") else Llama64.from_folder(path)


class Prompt:
    """One prompt up to its target position: forward pass, and pull-backs of cotangents of y at chosen positions."""

    def __init__(self, model, ids, position=-1, chunk=64):
        self.model, self.T, self.chunk = model, position % len(ids) + 1, chunk
        model.length = len(ids)  # tokens after position change nothing but the rotary scaling that looks at a prompt's length
        self.x = model.embed(torch.tensor(ids))[:self.T].detach().clone().requires_grad_(True)
        self.inputs, self.y = model.run(self.x)
        with torch.no_grad():
            self.z = model.head(self.y)
        self.P = self.z.softmax(-1)

    def squares(self, p, cotangents):
        """sums[layer][row][t] of || v^T d y_p / d x^layer_t ||^2."""
        found = [[] for _ in self.inputs]
        for rows in cotangents.split(self.chunk):
            full = torch.zeros(len(rows), *self.y.shape, dtype=F64)
            full[:, p] = rows
            grads = torch.autograd.grad(self.y, self.inputs, full, is_grads_batched=True, retain_graph=True)
            for layer, g in enumerate(grads):
                found[layer].append(g.square().sum(-1)[:, :self.T])
        return torch.stack([torch.cat(f) for f in found])

    def head_rows(self, p, combine):
        """d combine(z) / d y at position p, for a function of the logits: one cotangent."""
        y = self.y[p].detach().requires_grad_(True)
        return torch.autograd.grad(combine(self.model.head(y)), y)[0][None]

    def temperature_rows(self, p):
        return (self.y[p] / self.y[p].norm()).detach()[None]

    def fisher_rows(self, p):
        """Rows l_k with sum l_k l_k^T = F = M^T (diag P - P P^T) M, M = d z / d y; from F's eigenvectors. Also tr F."""
        y = self.y[p].detach()
        M = torch.autograd.functional.jacobian(self.model.head, y, vectorize=True)
        centred = M - self.P[p] @ M
        F = centred.T @ (self.P[p][:, None] * centred)
        values, vectors = torch.linalg.eigh(F)
        return (values.clamp(min=0).sqrt() * vectors).T, float(F.trace())


def objective(kind, a, b=None):
    if kind == "contrast":
        return lambda z: z[..., a] - z[..., b]
    if kind == "log-probability":
        return lambda z: z.log_softmax(-1)[..., a]
    return lambda z: z[..., a]


def gradient(model, x, p, combine):
    """d combine(z_p) / d x and the value."""
    x = x.detach().requires_grad_(True)
    value = combine(model.head(model.run(x)[1][p]))
    return torch.autograd.grad(value, x)[0], float(value.detach())


def path(model, x, p, combine, steps, baseline):
    """Integrated gradients by midpoints: per-token vectors [T, d], their sum, the difference to be explained."""
    x, total = x.detach(), 0.0
    for i in range(steps):
        alpha = (i + 0.5) / steps
        total = total + gradient(model, baseline + alpha * (x - baseline), p, combine)[0]
    ig = (x - baseline) * total / steps
    with torch.no_grad():
        ends = [float(combine(model.head(model.run(e)[1][p]))) for e in (x, baseline)]
    return ig, float(ig.sum()), ends[0] - ends[1]


def scores(model, ids, position=-1, target=None, scopes=("semantic", "temperature", "input-x-gradient", "fisher", "path"),
           matrix=False, path_steps=100):
    p = position % len(ids)
    prompt = Prompt(model, ids[:p + 1])
    P = prompt.P[p]
    target = int(P.argmax()) if target is None else target
    logit = objective("logit", target)
    top = P.topk(min(10, len(P)))
    out = {"ids": ids, "position": p, "target": target, "dtype": "float64", "y_norm": float(prompt.y[p].norm().detach()),
           "target_logit": float(prompt.z[p, target]), "target_probability": float(P[target]),
           "predictions": [{"id": int(i), "probability": float(v)} for v, i in zip(top.values, top.indices)],
           "scores": {}, "layers": {}}

    def put(scope, sums):  # sums [layer][t]
        out["layers"][scope] = sums.tolist()
        out["scores"][scope] = sums[0].tolist()
    if "semantic" in scopes:
        put("semantic", prompt.squares(p, prompt.head_rows(p, logit))[:, 0].sqrt())
    if "temperature" in scopes:
        put("temperature", prompt.squares(p, prompt.temperature_rows(p))[:, 0].sqrt())
    if "fisher" in scopes:
        rows, trace = prompt.fisher_rows(p)
        put("fisher", prompt.squares(p, rows).sum(1))
        out["fisher"] = {"trace": trace}
    if "input-x-gradient" in scopes:
        terms = gradient(model, prompt.x, p, logit)[0] * prompt.x.detach()
        out["scores"]["input-x-gradient"] = terms.norm(dim=-1).tolist()
        out["input_dot_gradient"] = terms.sum(-1).tolist()
    if "path" in scopes:
        ig, total, difference = path(model, prompt.x, p, logit, path_steps, torch.zeros_like(prompt.x))
        out["scores"]["path"] = ig.norm(dim=-1).tolist()
        out["path"] = {"steps": path_steps, "sum": total, "difference": difference}
    if matrix:
        out["matrix"] = [prompt.squares(q, prompt.temperature_rows(q))[0, 0].sqrt().tolist() for q in range(p + 1)]
    return out


def largest_difference(a, b):
    """Largest |a - b| over all numbers of two results of scores(), relative to the largest of each row; NaN counts as infinite."""
    worst = 0.0
    for scope in a["layers"]:
        for x, y in zip(a["layers"][scope], b["layers"][scope]):
            x, y = torch.tensor(x, dtype=F64), torch.tensor(y, dtype=F64)
            worst = max(worst, float((x - y).abs().max() / x.abs().max()))
    for scope in a["scores"]:
        x, y = torch.tensor(a["scores"][scope], dtype=F64), torch.tensor(b["scores"][scope], dtype=F64)
        worst = max(worst, float((x - y).abs().max() / x.abs().max()))
    return worst if worst == worst else float("inf")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model")
    ap.add_argument("--ids", required=True)
    ap.add_argument("--position", type=int, default=-1)
    ap.add_argument("--target", type=int)
    ap.add_argument("--scopes", default="semantic,temperature,input-x-gradient,fisher,path")
    ap.add_argument("--matrix", action="store_true")
    ap.add_argument("--path-steps", type=int, default=100)
    ap.add_argument("--transformers", action="store_true")
    ap.add_argument("--check", action="store_true")
    a = ap.parse_args()
    ids = [int(i) for i in a.ids.split(",")]

    def run(transformers):
        return scores(load(a.model, transformers), ids, a.position, a.target, a.scopes.split(","), a.matrix, a.path_steps)
    result = run(a.transformers)
    if a.check:
        print("largest difference from transformers: %.2e" % largest_difference(result, run(True)))
    else:
        json.dump(result, sys.stdout)
        print()


if __name__ == "__main__":
    main()
