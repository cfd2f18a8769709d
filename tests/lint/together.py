"""Sources of one box are compiled several at a time (tests/run), so what a source keeps to itself, in `namespace {`, needs a name that no
other source of its box gives to something of its own: which of them meet changes with every file that is added."""
import collections
import os
import re

BOXES = (("core/base",), ("core/net",), ("manifests/shared",), ("manifests",), ("manifests/host",), tuple(f"plans/{room}" for room in ("files", "hosts", "ledger", "rollout", "rollback", "drift")), ("cli", "cli/view"))


def own_names(text):
    for block in re.finditer(r"^namespace \{\n(.*?)^\}  // namespace$", text, re.S | re.M):
        for line in block.group(1).split("\n"):
            line = re.sub(r"^(?:\[\[\w+\]\] )+", "", line)
            if re.match(r"(?:inline |static )?(?:constexpr|const)\b", line):
                yield from re.findall(r"[ ,](k[A-Z]\w*)(?:\[[^]]*\])?\s*(?:[={]|$)", line.split("  //")[0])
            elif found := re.match(r"(?:class|struct|enum class) (\w+)[^;]*$", line):
                yield found.group(1)
            elif found := re.match(r"(?! |template|using|return|//)[\w:<>,&* ]+?[ &*](\w+)\((.*)\) \{", line):
                parts = found.group(2).split(",")
                kinds = [re.sub(r"[ &*]*\b\w+$", "", part.split("=")[0].strip()) for part in parts]
                for n in range(len(parts) + 1):  # as it can be called: with and without what has a default
                    if n == len(parts) or all("=" in part for part in parts[n:]):
                        yield f"{found.group(1)}({', '.join(kinds[:n])})"


def clashes(sources):
    """{path: text} of one box -> [what is wrong]"""
    where = collections.defaultdict(set)
    for path, text in sources.items():
        for name in own_names(text):
            where[name].add(path)
    return [f"{name} is in {' and '.join(sorted(paths))}" for name, paths in sorted(where.items()) if len(paths) > 1]


def findings(root):
    one, other = "namespace {\nconstexpr Millis kWait{1};\nint f(int a) {\n}\n}  // namespace\n", "namespace {\n[[noreturn]] int f(int b) {\nconst Millis kWait{2};\n}\n}  // namespace\n"
    wrong = ["the check of names went blind"] * (clashes({"a": one, "b": other}) != ["f(int) is in a and b", "kWait is in a and b"])
    defaulted = "namespace {\nvoid f(int a, int b = 1) {\n}\n}  // namespace\n"
    wrong += ["the check of names overlooks defaults"] * (clashes({"a": one, "b": defaulted}) != ["f(int) is in a and b"])
    wrong += ["the check of names sees what is not there"] * (clashes({"a": one, "b": "int f(int a) {\n}\n"}) != [])
    for box in BOXES:
        sources = {}
        for folder in box:
            for name in sorted(os.listdir(os.path.join(root, folder))):
                if name.endswith(".cpp") and name != "main.cpp":
                    with open(os.path.join(root, folder, name), encoding="utf-8") as file:
                        sources[f"{folder}/{name}"] = file.read()
        wrong += clashes(sources)
    return wrong
