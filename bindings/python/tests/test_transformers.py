"""Models of transformers in memory: read in place, the scores of the saved folder, and those of torch's autograd."""
from __future__ import annotations

import gc

import numpy as np
import pytest

import jscopes

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
IDS = [5, 17, 3, 99, 42, 7]


def made(family: str, dtype: object = None):
    """A small random model."""
    torch.manual_seed(1)
    sizes = {"vocab_size": 120, "max_position_embeddings": 64}
    configs = {
        "llama": lambda: transformers.LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                                  num_key_value_heads=2, tie_word_embeddings=True, **sizes),
        "qwen2": lambda: transformers.Qwen2Config(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                                  num_key_value_heads=2, **sizes),
        "gemma2": lambda: transformers.Gemma2Config(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                                    num_key_value_heads=2, head_dim=8, **sizes),
        "gpt2": lambda: transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=120,
                                                bos_token_id=0, eos_token_id=0),
    }
    out = transformers.AutoModelForCausalLM.from_config(configs[family](), attn_implementation="eager").eval()
    return out if dtype is None else out.to(dtype)


def autograd(model, ids, cotangents):
    """The gradients v^T dy_p/dx_t by torch in float64, p the last token."""
    model = model.double()
    x = model.get_input_embeddings()(torch.tensor([ids])).detach().requires_grad_(True)
    y = model.base_model(inputs_embeds=x).last_hidden_state[0, -1]
    rows = [torch.autograd.grad(y @ torch.tensor(v), x, retain_graph=True)[0][0] for v in cotangents]
    return torch.stack(rows).numpy(), (model.get_output_embeddings().weight @ y).detach().numpy()


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_autograd(family):
    model = made(family)
    ours = jscopes.load(model)
    v = np.random.default_rng(0).normal(size=(3, ours.info.d_model))
    got = ours.vjp(IDS, -1, v, reduce=None)
    wanted, logits = autograd(model, IDS, v)
    assert np.abs(got - wanted).max() <= 2e-5 * np.abs(wanted).max()
    a = ours.attribute(IDS)
    assert a.targets["id"][0] == logits.argmax() and a.targets["logit"][0] == pytest.approx(logits.max(), rel=1e-4)


def test_semantic_by_autograd():
    """The semantic score is the norm of the target logit's gradient."""
    model = made("llama")
    got = jscopes.load(model).attribute(IDS, target=9).scores
    weight = model.get_output_embeddings().weight[9].detach().double().numpy()
    wanted, _ = autograd(model, IDS, [weight])
    assert np.allclose(got, np.linalg.norm(wanted[0], axis=-1), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_as_saved(family, dtype, tmp_path):
    """The same bits as from the folder that save_pretrained wrote, in every element type."""
    model = made(family, getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    in_memory, saved = jscopes.load(model), jscopes.load(tmp_path)
    for scope in ("semantic", "fisher"):
        assert in_memory.attribute(IDS, scope=scope).scores.tobytes() == saved.attribute(IDS, scope=scope).scores.tobytes()
    kind = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}[dtype]
    assert in_memory.info.weight_types.split()[0] == saved.info.weight_types.split()[0] == kind


def test_not_kept():
    """The weights are read during load only: what is done to the model afterwards does not matter."""
    model = made("llama")
    ours = jscopes.load(model)
    before = ours.attribute(IDS).scores
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    del model
    gc.collect()
    assert np.array_equal(ours.attribute(IDS).scores, before)


def test_tokenizer(golden):
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(golden / "tiny_llama" / "tokenizer.json"))
    ours = jscopes.load(transformers.AutoModelForCausalLM.from_pretrained(golden / "tiny_llama", dtype="float32"), tokenizer)
    text = "The lens of the eye"
    assert ours.tokenize(text).tolist() == tokenizer(text)["input_ids"]
    saved = jscopes.load(golden / "tiny_llama")
    assert np.array_equal(ours.attribute(text).scores, saved.attribute(text).scores)
    assert list(ours.attribute(text).tokens) == list(saved.attribute(text).tokens)


def test_tensors_as_inputs():
    """Tensors of torch wherever numbers are wanted: ids, cotangents with gradients, bfloat16."""
    ours = jscopes.load(made("llama"))
    v = torch.ones(2, ours.info.d_model)
    wanted = ours.vjp(IDS, -1, v.numpy())
    for same in (v, v.clone().requires_grad_(True), v.bfloat16(), v.double().T.contiguous().T):
        assert np.array_equal(ours.vjp(torch.tensor([IDS]), -1, same), wanted)


def test_refused():
    class Slow:
        """A tokeniser without a backend."""

    with pytest.raises(jscopes.ArgumentError, match="Slow is no fast tokeniser"):
        jscopes.load(made("llama"), Slow())
    with pytest.raises(jscopes.ArgumentError, match="float8"):
        model = made("llama")
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.to(torch.float8_e4m3fn), requires_grad=False)
        jscopes.load(model)
