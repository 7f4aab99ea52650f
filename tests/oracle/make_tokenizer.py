#!/usr/bin/env python3
"""make_tokenizer.py: write tests/golden/tokenizer/*, small tokenisers and the ids that the `tokenizers` package gives for hard texts.

    python3 tests/oracle/make_tokenizer.py tests/golden/tokenizer [MODEL.gguf]

texts.json        hard strings (docs/tokenisers.md) and seeded random ones
NAME.json         a tokenizer.json of about 600 tokens of each kind (make_tokenizer_kinds.py)
NAME.ids.json     {"plain": ids of the texts, "special": the same with special tokens, for the first texts, "own": texts about the kind's added
                  tokens, "own_ids": their ids with special tokens}; the newer kinds have the first NEWER_TEXTS texts only
smollm2.ids.json  ids of the texts for the default model, from the tokens and merges of MODEL.gguf (needs the gguf package)
parts.json        normalisers, pre-tokenisers, post-processors and model options one by one, over two shared small models
"""
import json
import random
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

G2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
L3 = SUFFIXES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + TAIL
Q2 = L3.replace(r"\p{N}{1,3}", r"\p{N}")
Q35 = SUFFIXES + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + TAIL
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O2 = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIXES}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIXES}?"
      r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL)
TK = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
      r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL)
D3 = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
      r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + TAIL]

NEWER_TEXTS = 200
CORPUS = """The capital of France is Paris, and it's not the only city that I've seen: there're 1234567 others, aren't there?
We'll see in 2024, he'd said; they're "quoted" (in brackets) -- and so on... __init__ camelCase x=[i**2] https://a.b/c?d=e
Die Würde des Menschen ist unantastbar. Sie zu achten und zu schützen ist Verpflichtung aller staatlichen Gewalt.
Съешь же ещё этих мягких французских булок, да выпей чаю. Η γρήγορη αλεπού πηδάει. 你好,世界。日本語テキスト 한국어 안녕
\tif x:\n\t\tpass\n    return 0\n\n\n        deeper    spaces  here
"""
HARD = ["", " ", "  ", "a  b", "a   b  ", "\t\tx", "a\n\nb", "a \n b", "\r\n\r\n", "a\r\nb\r\n", "  \n  \n  x", "\x0b\x0c\x1c\x1f", "a\u00a0b",
        "\u00a0\u00a0x", "\u0085x", "\u1680\u2003x", "\u2028a\u2029", "\u3000\u3000x", "a\u180eb \u180e ", "\u200b\u200c\u200d", "\ufeffBOM",
        "soft\u00adhyphen", "it's I'M we'LL you'Re 'S 'd'D", "it'\u017f", "it\u2019s", "'''", "'\u0301s", "007", "1234567890", "12,345.67",
        "a1b22c333", "\u0661\u0662\u0663", "\u2460\u00bd\u00b2\u2167\u3007", "\uff11\uff12", "  5", "5  6", "e\u0301 \u00e9", "A\u030a\u00c5\u212b",
        "s\u0323\u0307 s\u0307\u0323", "\u1100\u1161\u11a8 \uac01", "\ufb01 \ufb05", "\u0130\u0131\u1e9e", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
        "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0645\u0631\u062d\u0628\u0627\u064b", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
        "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u65e5\u672c\u8a9e\u30c6\u30b9\u30c8\u30fc", "\ud55c\uad6d\uc5b4 \uc548\ub155", "\U00020000",
        "\U00031350 x\U00031350", "\U0001e900\U0001e922", "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1eb\U0001f1f7",
        "\u2764\ufe0f", "\U0001f44d\U0001f3fd", "#\ufe0f\u20e3", "\u2581\u2581x", "\u0120a \u010a", "\u0000", "a\u0000b", "ab\u0016cd", "\U00040000x",
        "\u0001\u0002\u007f", "\ufffd\ufffe\uffff", "\U0010ffff", "__init__ camelCaseHTTPServer", "x=[i**2]\n\tif x:\n\t\tpass",
        "https://a.b/c?d=e&f=%20#g", " Hello world", "a" * 300, " " * 100 + "x", "=" * 77, "\n" * 33, "1" * 50, "\u6f22" * 40, "the" * 60,
        "\U00011de5\U00016ff5 9", "x\U00011de5", "\u1c89\U000105c0 a\u0897", "a<|im_start|>user\nhi<|im_end|>\n", "<|im_start|", " <|im_end|> ",
        "<s>a<s> b<s>", "a <s>", "<s></s>[INST]<0x0A>", "a  <left>  b", "\n<left><left> x",
        "a  <right>  b", "<right> \n <right>", " <both> ", "a<both>b  <both>  <both>", "<word>", "a<word>", "<word>a", "a <word> b", "é<word>", "_<word>_",
        "\u0301<word>", "<word><word>", "\u200c<word>", "<norm>", "a<norm>b", "<NORM> n\u00f6rm", "no\u0308rm n\u00f6rm", "<wide>", "<wide> ", "<wide>r>", "<wide", "<s",
        "a<left>\u3000<right>\u3000b", "<right>   <left>", "<\u00e9>", "<e\u0301>", "x<e\u0301>y"]
ADDED = [("<s>", {}), ("</s>", {}), ("<left>", {"lstrip": True}), ("<right>", {"rstrip": True}), ("<both>", {"lstrip": True, "rstrip": True}),
         ("<word>", {"single_word": True}), ("<norm>", {"normalized": True}), ("n\u00f6rm", {"normalized": True}), ("<wide>", {"normalized": True, "special": False}),
         ("<wide>r", {"special": False}), ("<\u00e9>", {"normalized": True, "special": False})]


def random_texts(count, seed, most=24):
    rng = random.Random(seed)
    odd = [9, 10, 13, 32, 32, 32, 0x85, 0xA0, 0x180E, 0x2003, 0x3000, 0x200B, 39, 0x17F, 0x301, 0x345, 0x2581] + list(b"sSlLrRvVeEmMdDtT1")
    pools = [lambda: rng.randrange(0x20, 0x7F), lambda: rng.randrange(0x110000), lambda: rng.randrange(0x3000), lambda: rng.choice(odd),
             lambda: rng.choice(CORPUS.encode("utf-32-le").decode("utf-32-le")) and ord(rng.choice(CORPUS)),
             lambda: rng.choice([0x10D45, 0x105C3, 0x1F8B5, 0x31355, 0x11F03, 0x16FF4, 0x16D6D, 0x2FFD])]
    out = []
    while len(out) < count:
        main, text = rng.choice(pools), ""
        for _ in range(rng.randrange(1, most)):
            c = (main if rng.random() < 0.7 else rng.choice(pools))()
            text += chr(c) if not 0xD800 <= c <= 0xDFFF and c != 0 else ""
        if rng.random() < 0.2:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice([" ", "", "", "  "]) + rng.choice(ADDED)[0] + rng.choice([" ", "", "", "\n"]) + text[at:]
        out.append(text)
    return out


def added(vocab, tokens=ADDED):
    out, size = [], len(vocab)
    for content, flags in tokens:
        token = {"id": vocab.get(content, size + sum(t["content"] not in vocab for t in out)), "content": content, "single_word": False, "lstrip": False,
                 "rstrip": False, "normalized": False, "special": True}
        token.update(flags)
        out.append(token)
    return out


def trained(vocab_size, pre, alphabet, text=CORPUS):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(text.splitlines(True) * 2, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False))
    return json.loads(tokenizer.to_str())["model"]


def byte_level(use_regex, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def template(front, back, ids):
    items = [{"SpecialToken": {"id": t, "type_id": 0}} for t in front] + [{"Sequence": {"id": "A", "type_id": 0}}]
    items += [{"SpecialToken": {"id": t, "type_id": 0}} for t in back]
    return {"type": "TemplateProcessing", "single": items, "pair": items + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in front + back}}


def whole(model, pre=None, normalizer=None, post=None, decoder=None, tokens=ADDED):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(model["vocab"], tokens), "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": post, "decoder": decoder, "model": model}


def ids_of(tokenizer, texts, special):
    return [tokenizer.encode(t, add_special_tokens=special).ids for t in texts]


def dump(path, value):
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("\x7f", "\\u007f").replace("\u2028", "\\u2028") + "\n")


def families(out, texts):
    import make_tokenizer_kinds
    for name, file in make_tokenizer_kinds.kinds().items():
        tokenizer = Tokenizer.from_str(json.dumps(file))
        count = len(texts) if name in ("gpt2", "smollm", "llama3", "qwen2") else NEWER_TEXTS
        ids = {"plain": ids_of(tokenizer, texts[:count], False), "special": ids_of(tokenizer, texts[:20], True)}
        if count == NEWER_TEXTS:
            ids["own"] = make_tokenizer_kinds.own_texts(file)
            ids["own_ids"] = ids_of(tokenizer, ids["own"], True)
        dump(f"{out}/{name}.json", file)
        dump(f"{out}/{name}.ids.json", ids)


def parts(out):
    """Each option by itself, on a byte-level model (A) and on a character model with the SentencePiece mark (B)."""
    a = trained(330, pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.ByteLevel.alphabet())
    b = trained(260, pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Split(" ", "removed")]), [], CORPUS.replace("\n", " "))
    b["vocab"]["<unk>"] = len(b["vocab"])
    c = json.loads(json.dumps(b))
    for k in range(256):
        c["vocab"][f"<0x{k:02X}>"] = len(c["vocab"])
    shared = {"A": a, "B": b, "C": c}
    hard = [t for t in HARD if len(t) < 60]
    ids = {"A": {"<s>": len(a["vocab"]), "</s>": len(a["vocab"]) + 1}}
    full, meta = byte_level(True), lambda scheme, s: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": s}
    legacy = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    lower = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}]}
    rows = [("llama legacy", "C", {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}, None, legacy, None),
            ("metaspace first", "C", {"byte_fallback": True, "unk_token": "<unk>"}, meta("first", False), None, None),
            ("metaspace always, unknown fused", "B", {"fuse_unk": True, "unk_token": "<unk>"}, meta("always", True), None, None),
            ("metaspace never, unknown single", "B", {"unk_token": "<unk>"}, meta("never", True), None, None),
            ("unknown dropped", "B", {}, None, None, None),
            ("gemma", "C", {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}, split(" ", "MergedWithPrevious", kind="String"),
             {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, None),
            ("nfkc lowercase strip", "B", {"unk_token": "<unk>"}, None, lower, None),
            ("nfd", "A", {}, full, {"type": "NFD"}, None), ("nfkd", "A", {}, full, {"type": "NFKD"}, None),
            ("replace by pattern", "A", {}, full, {"type": "Replace", "pattern": {"Regex": r"\s+|[aeiou]{2}"}, "content": "<->"}, None),
            ("prefix space", "A", {}, byte_level(True, True), None, None),
            ("prefix space without pattern", "A", {}, byte_level(False, True), None, None),
            ("no pre-tokeniser", "A", {}, None, None, None),
            ("digits in runs", "A", {}, sequence({"type": "Digits", "individual_digits": False}, byte_level(False)), None, None),
            ("punctuation", "A", {}, sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(False)), None, None),
            ("white space", "B", {"unk_token": "<unk>"}, {"type": "Whitespace"}, None, None),
            ("white space split", "B", {"unk_token": "<unk>"}, {"type": "WhitespaceSplit"}, None, None),
            ("o200k", "A", {"ignore_merges": True}, sequence(split(O2), byte_level(False)), None, None),
            ("tekken", "A", {"ignore_merges": True}, sequence(split(TK), byte_level(False)), None, None),
            ("qwen3.5", "A", {}, sequence(split(Q35), byte_level(False)), {"type": "NFC"}, None),
            ("deepseek", "A", {}, sequence(*map(split, D3), byte_level(False)), None, None),
            ("deepseek coder", "A", {}, sequence(*map(split, [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"]), byte_level(False)), None, None),
            ("roberta", "A", {}, full, None, {"type": "RobertaProcessing", "sep": ["</s>", ids["A"]["</s>"]], "cls": ["<s>", ids["A"]["<s>"]],
                                              "trim_offsets": True, "add_prefix_space": False})]
    for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            rows.append((f"split {behavior}{' inverted' if invert else ''}", "A", {}, sequence(split(r"[aeiou\s]", behavior, invert), byte_level(False)), None, None))
    rows.append(("split by text", "A", {}, sequence(split(".b", "MergedWithNext", kind="String"), byte_level(False)), None, None))
    rows.append(("split by lines", "A", {}, sequence(split(r"^.?|x$|\u0061", "MergedWithPrevious"), byte_level(False)), None, None))
    rows.append(("split by empty matches", "A", {}, sequence(split(r"x*|(?<=a)b", "Isolated"), byte_level(False)), None, None))
    listed = []
    for number, (name, model, options, pre, normalizer, post) in enumerate(rows):
        file = whole(dict(shared[model], **options), pre, normalizer, post)
        tokenizer = Tokenizer.from_str(json.dumps(file))
        texts = random.Random(number).sample(hard, 30) + random_texts(15, number + 100, 16)
        del file["model"]
        listed.append({"name": name, "model": model, "options": options, "file": file, "texts": texts, "plain": ids_of(tokenizer, texts, False),
                       "special": ids_of(tokenizer, texts[:3], True)})
    dump(f"{out}/parts.json", {"models": shared, "parts": listed})


def default_model(path):
    """SmolLM2's tokeniser, rebuilt from the GGUF file with the pipeline of its tokenizer.json."""
    import gguf
    fields = gguf.GGUFReader(path).fields

    def texts_of(key):
        return [bytes(fields[key].parts[i]).decode() for i in fields[key].data]
    tokens, merges = texts_of("tokenizer.ggml.tokens"), [m.split(" ", 1) for m in texts_of("tokenizer.ggml.merges")]
    types = [int(fields["tokenizer.ggml.token_type"].parts[i][0]) for i in fields["tokenizer.ggml.token_type"].data]
    model = {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}
    special = [(t, {"special": k == 3}) for t, k in zip(tokens, types) if k in (3, 4)]
    return Tokenizer.from_str(json.dumps(whole(model, sequence({"type": "Digits", "individual_digits": True}, byte_level(True)), tokens=special)))


def main():
    out = sys.argv[1]
    texts = HARD + random_texts(250, 1)
    dump(f"{out}/texts.json", texts)
    families(out, texts)
    parts(out)
    if len(sys.argv) > 2:
        tokenizer = default_model(sys.argv[2])
        dump(f"{out}/smollm2.ids.json", {"plain": ids_of(tokenizer, texts, False)})


if __name__ == "__main__":
    main()
