#!/usr/bin/env python3
"""cuda_registers.py: what the compilers made of every CUDA kernel, against the table tests/golden/cuda_registers.txt.

    tools/cuda_registers.py BUILD            compares; BUILD is a build folder with the plug-in (its *.ptxas logs are read)
    tools/cuda_registers.py BUILD --update   writes the table

A row is one instance of a kernel: static shared memory in bytes, registers a thread for each target, and the instructions in its PTX that
matter. "128+8" is 128 registers and 8 bytes spilt. It fails:
  - a kernel without a row, a row without a kernel;
  - more registers, spills or shared memory than listed;
  - a stack frame without spills: an array was indexed at run time and lies in local memory;
  - an instruction of the row that is gone, an atomic (atom, red), local memory in PTX.
Another version of nvcc than the table's: nothing is compared, and a line says so.
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests/golden/cuda_registers.txt"
INSTRUCTIONS = [  # name in the table, pattern at the start of a PTX statement
    ("mma", r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32"),
    ("ldmatrix", r"ldmatrix\.sync\.aligned\.m8n8\.x4\.shared\.b16"),
    ("ldmatrix.trans", r"ldmatrix\.sync\.aligned\.m8n8\.x4\.trans\.shared\.b16"),
    ("cp.async", r"cp\.async\.cg\.shared\.global"),
    ("ld.v4", r"ld\.global(\.\w+)*\.v4\.|ld\.global(\.\w+)*\.v2\.[buf]64"),
    ("st.v4", r"st\.global(\.\w+)*\.v4\.|st\.global(\.\w+)*\.v2\.[buf]64"),
]
FORBIDDEN = [("an atomic", r"(atom|red)\."), ("local memory", r"(ld|st)\.local|\.local\b")]


def fail(text):
    sys.exit("cuda_registers.py: " + text)


def demangle(names):
    """Mangled to "kernel<arguments>" without parameters or namespaces."""
    lines = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.splitlines()
    out = {}
    for name, line in zip(names, lines):
        line = re.sub(r"^void ", "", line)
        depth, end = 0, len(line)
        for i, c in enumerate(line):
            depth += (c == "<") - (c == ">")
            if c == "(" and depth == 0 and not line.startswith("(anonymous namespace)", i):
                end = i
                break
        line = line[:end].replace("(anonymous namespace)::", "")
        line = re.sub(r"\((int|bool|unsigned int|unsigned long)\)", "", line)
        out[name] = line.replace("__nv_bfloat16", "bf16").replace(", ", ",")
    return out


def read_logs(build):
    """{(file, mangled): {target: (registers, spill, stack, shared)}}"""
    found = {}
    logs = sorted((build / "cuda").glob("*.ptxas"))
    if not logs:
        fail(f"{build} holds no plug-in: build it with nvcc first")
    for log in logs:
        if not (ROOT / "src/kernels/cuda" / log.stem).exists():
            continue  # left over from a source that is gone
        name = target = stack = spill = None
        for line in log.read_text().splitlines():
            if m := re.search(r"Compiling entry function '(\S+)' for 'sm_(\w+)'", line):
                name, target, stack, spill = m[1], m[2], 0, 0
            elif m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
                stack, spill = int(m[1]), max(int(m[2]), int(m[3]))
            elif (m := re.search(r"Used (\d+) registers", line)) and name:
                shared = re.search(r"(\d+) bytes smem", line)
                found.setdefault((log.stem, name), {})[target] = (int(m[1]), spill, stack, int(shared[1]) if shared else 0)
    return found


def cache(build):
    return dict(line.split("=", 1) for line in (build / "CMakeCache.txt").read_text().splitlines() if re.match(r"JSC_\w+:\w+=", line))


def ptx_of(nvcc, source):
    command = [nvcc, "-std=c++17", "-O3", "-ptx", "-arch=compute_90", "-o", "-", source]
    command += [f"-I{ROOT / folder}" for folder in ("include", "src/host/base", "src/host/comm", "src/kernels")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        fail(f"{' '.join(map(str, command))}:\n{run.stderr}")
    return run.stdout


def read_ptx(nvcc):
    """{(file, mangled): names of INSTRUCTIONS}, and what is forbidden as lines"""
    sources = sorted((ROOT / "src/kernels/cuda").glob("*.cu"))
    found, wrong = {}, []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = list(pool.map(lambda source: ptx_of(nvcc, source), sources))
    for source, text in zip(sources, texts):
        for m in re.finditer(r"\.entry (\S+?)\(.*?\n\{(.*?)\n\}", text, re.S):
            statements = [re.sub(r"^(@!?%p\d+ )?\s*", "", line.strip()) for line in m[2].splitlines()]
            found[source.name, m[1]] = [n for n, p in INSTRUCTIONS if any(re.match(p, s) for s in statements)]
            for what, pattern in FORBIDDEN:
                if hit := next((s for s in statements if re.match(pattern, s)), None):
                    wrong.append(f"{source.name} {m[1]}: {what}: {hit}")
    return found, wrong


def version(nvcc):
    return re.search(r"V(\d+\.\d+\.\d+)", subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout)[1]


def rows_of(logs, ptx):
    """{(file, kernel): (shared, {target: (registers, spill)}, instructions)}; and stack frames as lines"""
    names = demangle(sorted({name for _, name in logs}))
    rows, wrong = {}, []
    for (file, name), targets in sorted(logs.items()):
        for target, (_, spill, stack, _) in targets.items():
            if stack and not spill:
                wrong.append(f"{file} {names[name]}, sm_{target}: a stack frame of {stack} bytes: an array is in local memory")
        rows[file, names[name]] = (max(t[3] for t in targets.values()), {t: v[:2] for t, v in targets.items()}, ptx.get((file, name), []))
    return rows, wrong


def cell(value):
    return f"{value[0]}+{value[1]}" if value[1] else str(value[0])


def write(rows, nvcc_version):
    targets = sorted({t for _, cells, _ in rows.values() for t in cells}, key=lambda t: int(re.match(r"\d+", t)[0]))
    width = max(len(kernel) for _, kernel in rows)
    lines = [
        "# Made by tools/cuda_registers.py BUILD --update; what each column means stands there.",
        f"nvcc {nvcc_version}",
        "targets " + " ".join(targets),
    ]
    file_before = None
    for (file, kernel), (shared, cells, instructions) in sorted(rows.items()):
        if file != file_before:
            lines += ["", file]
        file_before = file
        lines.append(f"    {kernel:{width}} {shared:6} " + " ".join(f"{cell(cells[t]):>6}" for t in targets)
                     + "".join("  " * (i == 0) + " " * (i > 0) + name for i, name in enumerate(instructions)))
    TABLE.write_text("\n".join(lines) + "\n")
    print(f"{TABLE.relative_to(ROOT)}: {len(rows)} kernels, {len(targets)} targets")


def read():
    """(version, rows as of rows_of)"""
    rows, nvcc_version, targets, file = {}, None, [], None
    for line in TABLE.read_text().splitlines():
        if line.startswith("nvcc "):
            nvcc_version = line.split()[1]
        elif line.startswith("targets "):
            targets = line.split()[1:]
        elif line.startswith("    "):
            kernel, shared, *rest = re.split(r" +", line.strip())
            values = [tuple(map(int, (value + "+0").split("+")[:2])) for value in rest[: len(targets)]]
            rows[file, kernel] = (int(shared), dict(zip(targets, values)), rest[len(targets):])
        elif line and not line.startswith("#"):
            file = line.strip()
    return nvcc_version, rows


def compare(rows, listed):
    wrong = []
    for key in sorted(set(rows) | set(listed)):
        what = " ".join(key)
        if key not in listed or key not in rows:
            wrong.append(f"{what}: " + ("not in the table" if key in rows else "in the table, but there is no such kernel"))
            continue
        shared, cells, instructions = rows[key]
        shared_listed, cells_listed, instructions_listed = listed[key]
        for target, value in cells.items():
            allowed = cells_listed.get(target)
            if allowed and (value[0] > allowed[0] or value[1] > allowed[1]):
                wrong.append(f"{what}, sm_{target}: registers (+ spilt bytes) {cell(value)}, listed {cell(allowed)}")
        if shared > shared_listed:
            wrong.append(f"{what}: {shared} bytes of shared memory, listed {shared_listed}")
        wrong += [f"{what}: no {name} any more" for name in instructions_listed if name not in instructions]
    return wrong


def main():
    arguments = [a for a in sys.argv[1:] if a != "--update"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    build = pathlib.Path(arguments[0]).resolve()
    nvcc = {key.split(":")[0]: value for key, value in cache(build).items()}.get("JSC_NVCC", "nvcc")
    here = version(nvcc)
    ptx, wrong = read_ptx(nvcc)
    rows, stacks = rows_of(read_logs(build), ptx)
    wrong += stacks
    if "--update" in sys.argv:
        write(rows, here)
    else:
        listed_version, listed = read()
        if listed_version == here:
            wrong += compare(rows, listed)
        else:
            print(f"SKIP the table is of nvcc {listed_version}, here is {here}: registers are not compared")
    if wrong:
        fail("\n" + "\n".join(wrong) + "\nif it is meant so: tools/cuda_registers.py BUILD --update")
    print(f"{len(rows)} kernels")


if __name__ == "__main__":
    main()
