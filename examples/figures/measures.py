"""measures.py: what a result says, in figures: where words stand, how influence is spread, whether it lies on motifs like the last one."""
import math


def scores(result):
    """Scores of the tokens up to the target position."""
    return [token.get("score") or 0.0 for token in result["tokens"][:result["target"]["position"] + 1]]


def text(result, t):
    return (result["tokens"][t]["text"] or "").strip()


def strongest(result, n):
    values = scores(result)
    order = sorted(range(len(values)), key=lambda t: -values[t])
    return ", ".join(text(result, t) for t in order[:n])


def place(result, word):
    """Rank of the strongest token that the word begins with or is."""
    values = scores(result)
    order = sorted(range(len(values)), key=lambda t: -values[t])
    rank = min(r for r, t in enumerate(order) if text(result, t) == word)
    return f"{word} has rank {rank + 1} of {len(values)}"


def share(result, word):
    values = scores(result)
    return sum(v for t, v in enumerate(values) if text(result, t) == word) / sum(values)


def early(result, n):
    values = scores(result)
    return sum(values[:n]) / sum(values)


def holders(result, part):
    """How many tokens, the strongest first, hold this part of the sum."""
    values, held = sorted(scores(result), reverse=True), 0.0
    for n, value in enumerate(values, 1):
        held += value
        if held >= part * sum(values):
            return n
    return len(values)


def counterpart(result, whole, original):
    """Of the tokens of the original text (the first `whole`): where those of its word stand."""
    values, at, spans = scores(result), 0, []
    for token in result["tokens"][:whole]:
        spans.append((at, at + len(token["text"])))
        at += len(token["text"])
    begin = "".join(token["text"] for token in result["tokens"][:whole]).index(original)
    own = [t for t, (a, b) in enumerate(spans) if a < begin + len(original) and b > begin]
    order = sorted(range(1, whole), key=lambda t: -values[t])  # the first token is the attention sink
    rank = min(order.index(t) for t in own)
    return (f"its strongest piece {text(result, order[order.index(min(own, key=order.index))])!r} has rank {rank + 1} of {whole - 1} in the original, "
            f"holding {sum(values[t] for t in own) / sum(values[:whole]):.0%} of it; strongest of all {strongest(result, 3)}")


def numbers(result):
    """(value, influence of its digits together) of every number of a series."""
    out, digits, squares = [], "", 0.0
    for token, score in zip(result["tokens"], scores(result)):
        if token["text"].isdigit():
            digits += token["text"]
            squares += score * score
        elif digits:
            out.append((int(digits), math.sqrt(squares)))
            digits, squares = "", 0.0
    return out


def number_scores(result):
    return [score for _, score in numbers(result)]


def ranks(values):
    order = sorted(range(len(values)), key=lambda i: values[i])
    out = [0.0] * len(values)
    first = 0
    while first < len(order):
        end = first
        while end < len(order) and values[order[end]] == values[order[first]]:
            end += 1
        for i in order[first:end]:
            out[i] = 0.5 * (first + 1 + end)
        first = end
    return out


def spearman(a, b):
    """Rank correlation; not a number where one of them is constant."""
    x, y = ranks(a), ranks(b)
    mx, my = sum(x) / len(x), sum(y) / len(y)
    size = math.sqrt(sum((p - mx) ** 2 for p in x) * sum((q - my) ** 2 for q in y))
    return sum((p - mx) * (q - my) for p, q in zip(x, y)) / size if size > 0.0 else math.nan


def say_motifs(result, width=3, nearest=5, skip=10):
    """Do the places that look like the end of the series have more influence? Looks at the number there and the one that follows. The last `skip`
    numbers, near in any case, and the first three do not count."""
    found = numbers(result)
    values, influence = [v for v, _ in found], [s for _, s in found]
    places = range(max(width - 1, 3), len(found) - skip)
    distance = {i: math.dist(values[i - width + 1:i + 1], values[-width:]) for i in places}
    around = {i: 0.5 * (influence[i] + influence[i + 1]) for i in places}
    best = sorted(places, key=lambda i: distance[i])[:nearest]
    ratio = (sum(around[i] for i in best) / len(best)) / (sum(around.values()) / len(places))
    agree = spearman([-distance[i] for i in places], [around[i] for i in places])
    top = max(places, key=lambda i: influence[i])
    return (f"the {nearest} places most like the last {width} numbers ({', '.join(map(str, sorted(best)))}) have {ratio:.2f} times the mean influence; rank "
            f"correlation of likeness and influence {agree:.2f}; most influence at {top}; the last {skip} numbers hold "
            f"{sum(influence[-skip:]) / sum(influence):.0%}, the first {influence[0] / sum(influence):.0%}")


def say_halves(result):
    influence = number_scores(result)
    quarter = len(influence) // 4
    parts = [sum(influence[k * quarter:(k + 1) * quarter if k < 3 else None]) / sum(influence) for k in range(4)]
    rest = influence[3:-10]
    trend = spearman(list(range(len(rest))), rest)
    return ("influence by quarters of the series " + ", ".join(f"{p:.0%}" for p in parts)
            + f"; trend over the places without the first 3 and the last 10 (rank correlation) {trend:.2f}")


def along_path(result, semantic, wanted=(0.995, 0.755, 0.505, 0.255, 0.105, 0.045, 0.005)):
    """The gradient's length at some places of a path."""
    alphas, norms = result["path"]["alphas"], result["path"]["norms"]
    last = result["target"]["position"] + 1
    for alpha in wanted:
        k = min(range(len(alphas)), key=lambda i: abs(alphas[i] - alpha))
        row = norms[k][:last]
        order = sorted(range(last), key=lambda t: -row[t])
        yield (f"alpha {alphas[k]:.3f}: sum of the lengths {sum(row):.3g}, the first token holds {row[0] / sum(row):.0%}, strongest "
               + ", ".join(text(result, t) for t in order[:3])
               + f"; rank correlation with Semantic Scope {spearman(row, scores(semantic)):.2f}, with the distance from the end "
               f"{spearman(row, [last - t for t in range(last)]):.2f}")
