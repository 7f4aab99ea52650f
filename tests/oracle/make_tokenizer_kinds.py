#!/usr/bin/env python3
"""make_tokenizer_kinds.py: a small tokenizer.json of every kind that models use, trained here; make_tokenizer.py writes them with their ids.

kinds() gives name -> file, own_texts() strings about the added tokens of one kind. gpt2, smollm, llama3 and qwen2 share one vocabulary, as do
qwen35, o200k, tekken and deepseek; the four kinds in SentencePiece's style (spm_legacy, spm_metaspace, gemma, phi3) share another, with the
merges that transformers derives from the scores of a SentencePiece model: every split of a token into two others.
"""
import copy

from tokenizers import pre_tokenizers

import make_tokenizer as base

BYTES = [f"<0x{k:02X}>" for k in range(256)]
MARK = "\u2581"
LEGACY = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK}, {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
SPM_DECODER = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                                                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
CODE = 'def camelCase(HTTPServer): return {"key": [i**2 for i in range(10)]}  # naïve café, I\'LL SEE\n' * 3


def all_merges(pieces, vocab):
    """Every way to make a token of two, in the order of the tokens' scores: transformers' generate_merges."""
    merges = []
    for piece in pieces:
        splits = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
        merges += sorted(((a, b) for a, b in splits if a in vocab and b in vocab), key=lambda m: (len(m[0]), len(m[1])))
    return [list(m) for m in merges]


def spm_model(special, size):
    """Special tokens, bytes, merged pieces by their score, then single characters, as SentencePiece orders them."""
    metaspace = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Split(" ", "removed")])
    model = base.trained(size, metaspace, [], base.CORPUS.replace("\n", " ") + CODE)
    pieces = list(dict.fromkeys(["".join(m) for m in model["merges"]] + [MARK * 2, MARK * 4, "\n\n"]))
    characters = [t for t in model["vocab"] if len(t) == 1]
    vocab = {t: i for i, t in enumerate(special + BYTES + pieces + characters)}
    assert "\n" in vocab and sorted(vocab.values()) == list(range(len(vocab)))
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
            "byte_fallback": True, "ignore_merges": False, "vocab": vocab, "merges": all_merges(pieces, vocab)}


def bos_template(name, model):
    return base.template([name], [], {name: model["vocab"][name]})


def spm_kinds():
    model = spm_model(["<unk>", "<s>", "</s>"], 300)
    marks = [("<unk>", {}), ("<s>", {}), ("</s>", {})]
    meta = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": False}
    gemma = spm_model(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], 300)
    gemma_added = [(t, {}) for t in ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]] + [(t, {"special": False}) for t in ["\n\n", MARK * 2, MARK * 4]]
    stripping = {"rstrip": True}
    phi3 = [("<unk>", {}), ("<s>", {}), ("</s>", {"rstrip": True, "special": False}), ("<|endoftext|>", {}), ("<|assistant|>", stripping),
            ("<|system|>", stripping), ("<|end|>", stripping), ("<|user|>", stripping)]
    alone = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {}}
    return {"spm_legacy": base.whole(model, None, LEGACY, bos_template("<s>", model), SPM_DECODER, marks),
            "spm_metaspace": base.whole(model, meta, None, bos_template("<s>", model), SPM_DECODER, marks),
            "gemma": base.whole(gemma, base.split(" ", "MergedWithPrevious", kind="String"), REPLACE, bos_template("<bos>", gemma),
                                {"type": "Sequence", "decoders": SPM_DECODER["decoders"][:3]}, gemma_added + [("<start_of_turn>", {}), ("<end_of_turn>", {})]),
            "phi3": base.whole(model, None, LEGACY, alone, SPM_DECODER, phi3)}


def byte_level_kinds():
    full, plain = base.byte_level(True), base.byte_level(False)
    model = base.trained(589, pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.ByteLevel.alphabet())
    lacking = copy.deepcopy(model)  # the smollm variant lacks 8 bytes, as SmolLM2 does
    for c in "ĄĆēĔĖĝñò":
        gone = lacking["vocab"].pop(c)
        lacking["vocab"] = {t: i - (i > gone) for t, i in lacking["vocab"].items()}
    reach = dict(model, ignore_merges=True)
    strings = dict(model, merges=[" ".join(m) for m in model["merges"]])
    ids = {t["content"]: t["id"] for t in base.added(model["vocab"])}
    digits = {"type": "Digits", "individual_digits": True}
    return {"gpt2": base.whole(strings, full, decoder=full),
            "smollm": base.whole(lacking, base.sequence(digits, full), decoder=full),
            "llama3": base.whole(reach, base.sequence(base.split(base.L3), plain), decoder=full,
                                 post={"type": "Sequence", "processors": [full, base.template(["<s>"], [], ids)]}),
            "qwen2": base.whole(model, base.sequence(base.split(base.Q2), plain), {"type": "NFC"}, plain, plain)}


def newer_byte_level_kinds():
    """Trained with O2 on text with code, so that pieces differ in case; one has BOS and EOS, one tokens that begin with U+FF5C."""
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(base.Regex(base.O2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    model = base.trained(540, pre, pre_tokenizers.ByteLevel.alphabet(), base.CORPUS + CODE)
    plain, size = base.byte_level(False), len(model["vocab"])
    reach = dict(model, ignore_merges=True)
    bar = [("<\uff5cbegin\u2581of\u2581sentence\uff5c>", {}), ("<\uff5cend\u2581of\u2581sentence\uff5c>", {}), ("<\uff5cUser\uff5c>", {"special": False}),
           ("<think>", {"special": False})]
    both = base.template(["<s>"], ["</s>"], {"<s>": size, "</s>": size + 1})
    return {"qwen35": base.whole(model, base.sequence(base.split(base.Q35), plain), {"type": "NFC"}, plain, plain),
            "o200k": base.whole(reach, base.sequence(base.split(base.O2), plain), None, both, plain),
            "tekken": base.whole(reach, base.sequence(base.split(base.TK), plain), None, base.template(["<s>"], [], {"<s>": size}), plain),
            "deepseek": base.whole(model, base.sequence(*map(base.split, base.D3), plain), {"type": "Sequence", "normalizers": []},
                                   base.template([bar[0][0]], [], {bar[0][0]: size}), plain, bar)}


def kinds():
    return {**byte_level_kinds(), **newer_byte_level_kinds(), **spm_kinds()}


def own_texts(file):
    """Each added token inside, before, behind and between words and white space."""
    out = []
    for token in [t["content"] for t in file["added_tokens"]]:
        out += [f"a{token} b", f"{token}b", f"a {token}", f"{token}\n hi  {token} ", f" {token}{token}  x"]
    return out + ["<0x0A>", "<0x41> \n", f"{MARK}{MARK} {MARK}", "  a", "\n\n\n a\n\n", "a    b     c      ", "it\u2019s naïve: HTTPServer camelCase 12345 x\u0301"]
