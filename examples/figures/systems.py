"""systems.py: the series of the paper's figures, from their equations, and their text as a prompt: two digits and a comma each."""
import math
import random

LOW, HIGH = 15, 85  # two digits wherever the series is


def lorenz(n, x=1.0, y=1.0, z=20.0, dt=0.005, every=12):
    """x of the Lorenz system (sigma 10, rho 28, beta 8/3) by the explicit first-order scheme; one value of `every` steps."""
    out = []
    for step in range(n * every):
        if step % every == 0:
            out.append(x)
        x, y, z = x + dt * 10.0 * (y - x), y + dt * (x * (28.0 - z) - y), z + dt * (x * y - 8.0 / 3.0 * z)
    return out


def logistic(n, x=0.3, r=3.8):
    """The logistic map in its chaotic regime."""
    out = []
    for _ in range(n):
        out.append(x)
        x = r * x * (1.0 - x)
    return out


def brownian(n, seed):
    """Sums of normal numbers (Box and Muller: random() is the same on every Python, gauss() need not be)."""
    uniform, out, x = random.Random(seed), [], 0.0
    for _ in range(n):
        out.append(x)
        x += math.sqrt(-2.0 * math.log(1.0 - uniform.random())) * math.cos(2.0 * math.pi * uniform.random())
    return out


def drifting(series, ranges=1.5):
    """The series on a ramp that rises by so many times its own range."""
    slope = ranges * (max(series) - min(series)) / (len(series) - 1)
    return [x + slope * i for i, x in enumerate(series)]


def digits(series):
    """Whole numbers of two digits, in proportion."""
    low, high = min(series), max(series)
    return [round(LOW + (HIGH - LOW) * (x - low) / (high - low)) for x in series]


def cut(series, after, holds):
    """The series up to the first place behind `after` where holds(before, here, next)."""
    for i in range(after, len(series) - 1):
        if holds(series[i - 1], series[i], series[i + 1]):
            return series[:i + 2]
    raise ValueError("no such place in the series")


def at_peak(series, after):
    """Ends on the next value after a peak, so that the peak is the last number of a prompt that leaves one value out."""
    return cut(series, after, lambda a, b, c: b > 5.0 and a < b >= c)


def at_crossing(series, after):
    """Likewise where x goes from one lobe of the attractor to the other."""
    return cut(series, after, lambda a, b, c: (a < 0.0) != (b < 0.0))


def prompt(numbers):
    return "".join(f"{x}," for x in numbers)
