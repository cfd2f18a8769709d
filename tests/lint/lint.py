#!/usr/bin/env python3
"""Rules of the house that a compiler does not check. Each rule is a test: it must find nothing in the tree, and must find what
is wrong in its own samples, so that a rule that went blind fails too.

usage: tests/lint/lint.py [RULE]       prints findings as FILE:LINE: what; the last line counts like Catch2's
"""
import importlib.machinery
import importlib.util
import os
import re
import sys

import schemas
import together

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRODUCT = ("core", "manifests", "plans", "cli")
HOST = ("core/base/", "manifests/shared/", "manifests/host/")  # what the program on hosts is made of

# Where a rule does not apply, and why.
EXCEPTIONS = {
    ("one_clock", "core/net/ssh_jump.cpp"): "waits for ssh to say goodbye in a destructor, after the loop has ended",
}


class Source:
    """A file with comments and string contents blanked, so that rules see code only; line numbers stay."""

    def __init__(self, path, text):
        self.path, self.raw = path, text
        blank = lambda m: re.sub(r"[^\n]", " ", m.group())
        hide = lambda m: m.group(1) + re.sub(r"[^\n]", "_", m.group(2)) + m.group(3) if m.group(1) else blank(m)
        self.code = re.sub(r'(R"\()(.*?)(\)")|//[^\n]*|/\*.*?\*/', lambda m: hide(m) if m.group(1) else blank(m), text, flags=re.S)
        self.code = re.sub(r"'(?:[^'\\\n]|\\[^\n]{1,4})'", lambda m: "'" + "_" * (len(m.group()) - 2) + "'", self.code)
        # Contents of strings, but not of #include lines.
        self.code = "\n".join(
            line if re.match(r"\s*#\s*include", line) else re.sub(r'"(?:[^"\\]|\\.)*"', lambda m: '"' + "_" * (len(m.group()) - 2) + '"', line)
            for line in self.code.split("\n"))

    def line(self, at):
        return self.code.count("\n", 0, at) + 1

    def find(self, pattern, what):
        return [(self.path, self.line(m.start()), what) for m in re.finditer(pattern, self.code)]


def product(path):
    return path.split("/")[0] in PRODUCT


def no_tree_walkers(s):
    """Released paths are opened beneath a folder, one component at a time; std::filesystem follows links."""
    return s.find(r"\bremove_all\s*\(|\bcreate_director(y|ies)\s*\(", "std::filesystem here follows links") if s.path.startswith(HOST) else []


def no_shell(s):
    return s.find(r"(?<![.\w>])(?:std::|::)?(?:system|popen)\s*\(", "a shell would see data")


def one_clock(s):
    if not product(s.path) or s.path.startswith("core/base/clock."):
        return []
    pattern = r"\bCLOCK_REALTIME\b|\bsystem_clock\b|\bgettimeofday\b|(?<![.\w>])(?:std::|::)?time\s*\(\s*(?:nullptr|NULL|0|&)|\b(steady|deadline|system)_timer\b"
    if not s.path.startswith("manifests/host/"):  # the host program has no loop that a sleep could hold up
        pattern += r"|\bsleep_for\b|\bu?sleep\s*\("
    return s.find(pattern, "time comes from core/base/clock")


# A '{' after one of these opens a block, not a value.
BLOCK = re.compile(r"(\)|\belse|\bdo|\btry|\bconst|\bnoexcept|\boverride|\bmutable|[;{}:]|->\s*[\w:<>,\s*&]+)$")


def awaits(s):
    """g++ 12 destroys lambda and braced temporaries of a full expression with co_await twice, or crashes on them."""
    found = []
    for m in re.finditer(r"\bco_await\b", s.code):
        depth, at = 0, m.end()
        while at < len(s.code):  # to the end of the full expression
            c = s.code[at]
            if c == "{":
                # `if (co_await f()) {` has left its parentheses and ended before; a block after a condition is not part of it
                found.append((s.path, s.line(m.start()), "a lambda, brace or statement expression with co_await: name it on the line before"))
                break
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(c, 0)
            if c == ";" or depth < 0 and not rest_of_expression(s.code, at + 1):
                break
            at += 1
        else:
            continue
        at = m.start() - 1
        while at >= 0 and s.code[at] not in ";{}":
            at -= 1
        before, after = s.code[:at].rstrip() if at >= 0 else "", s.code[at + 1:m.start()].strip()
        if at >= 0 and s.code[at] == "}" and after[:1] in (",", ")", "."):
            found.append((s.path, s.line(m.start()), "a brace before co_await in one expression: name it on the line before"))
        if at >= 0 and s.code[at] == "{" and before and not BLOCK.search(before) and not re.search(r"\b(namespace|struct|class|enum)\b[^;{}]*$", before):
            found.append((s.path, s.line(m.start()), "co_await in a braced initialiser: use parentheses or '='"))
    return found


def rest_of_expression(code, at):
    """After an unbalanced ')': whether the expression goes on (an argument list) or a block or the next part of `for` begins."""
    following = code[at:].lstrip()
    return following[:1] in (",", ")", ".", ";") or following[:2] == "->"


def no_capturing_coroutines(s):
    return s.find(r"\[[^\[\]\n]+\]\s*(\([^()]*\))?\s*(mutable\s*)?->\s*(ripcord::)?Task\b", "a coroutine outlives its lambda's captures: use a member or parameters")


# Each third-party library behind its own few files: the whole list, so that a new place is a decision.
PLACES = {
    r"sqlite3\.h": ("core/net/sqlite.cpp",),
    r"libpq": ("core/net/postgres.cpp",),
    r"yaml-cpp/": ("core/net/yaml", "core/net/yaml_"),
    r"libssh2": ("core/net/ssh",),
    r"CLI/": ("cli/args.cpp",),
    r"zstd\.h": ("manifests/shared/pack", "manifests/shared/zstd", "core/base/zstd"),
    r"date/": ("plans/files/window.cpp",),
    r"openssl/": ("core/base/digest", "core/base/keys", "manifests/shared/ssh", "core/net/ssh", "core/net/known_hosts", "manifests/host/main.cpp"),
    r"catch2/": ("tests/support/catch",),
    r"boost/json": ("core/base/json",),
}


def libraries(s):
    if s.path.startswith("tests/") and "catch2" not in s.code:
        return []
    found = []
    for m in re.finditer(r'#\s*include\s*[<"]([^>"]+)[>"]', s.code):
        for pattern, places in PLACES.items():
            if re.match(pattern, m.group(1)) and not s.path.startswith(places):
                found.append((s.path, s.line(m.start()), f"<{m.group(1)}> is for {', '.join(places)}"))
    return found


# plans/ from the bottom to the top: each knows those before it.
ROOMS = ("files", "hosts", "ledger", "rollout", "rollback", "drift")
# Which boxes a box may include from; the first prefix that fits decides.
LAYERS = [
    ("core/base/", ("core/base/",)),
    ("core/net/", ("core/",)),
    ("manifests/shared/", ("manifests/shared/", "core/base/")),
    ("manifests/host/", ("manifests/host/", "manifests/shared/", "core/base/")),
    ("manifests/", ("manifests/", "core/")),
    *((f"plans/{room}/", (*(f"plans/{lower}/" for lower in ROOMS[: i + 1]), "manifests/", "core/")) for i, room in enumerate(ROOMS)),
    ("plans/", ("manifests/", "core/")),
    ("cli/", ("cli/", "plans/", "manifests/", "core/")),
]


def layers(s):
    allowed = next((to for box, to in LAYERS if s.path.startswith(box)), None)
    if allowed is None:
        return []
    found = []
    for m in re.finditer(r'#\s*include\s*"([^"]+)"', s.code):
        wrong = not m.group(1).startswith(allowed) or (m.group(1).startswith("manifests/host/") and not s.path.startswith("manifests/host/"))
        if wrong:
            found.append((s.path, s.line(m.start()), f"'{m.group(1)}' is not below {os.path.dirname(s.path)}"))
    return found


def one_concept(s):
    lines = s.raw.count("\n")
    return [(s.path, lines, f"{lines} lines: look for the second concept")] if lines > 400 and product(s.path) else []


def guards(s):
    return [(s.path, 1, "no #pragma once")] if s.path.endswith(".hpp") and "#pragma once" not in s.raw else []


# rule, a name for people, samples that must be found (path, code), samples that must not
RULES = [
    (no_tree_walkers, "no remove_all or create_directories on hosts", [("manifests/host/a.cpp", "std::filesystem::remove_all(p);")], [("core/base/a.cpp", "// remove_all(p)"), ("cli/a.cpp", "remove_all(p);")]),
    (no_shell, "no system() and no popen()",
     [("cli/a.cpp", "int x = system(c);"), ("tests/a.cpp", "std::system(c);"), ("core/a.cpp", "::popen(c, m);")],
     [("cli/a.cpp", "file_system(x); o.system(y); s = \"system(\"; operating->system(1);")]),
    (one_clock, "one clock, one timer queue",
     [("plans/a.cpp", "auto n = std::chrono::system_clock::now();"), ("core/net/a.cpp", "time(nullptr);"), ("cli/a.cpp", "asio::steady_timer t;"), ("plans/a.cpp", "::usleep(1);")],
     [("core/base/clock.cpp", "CLOCK_REALTIME"), ("plans/a.cpp", "wall_time(x); clock.time(0);")]),
    (awaits, "no temporaries beside co_await",
     [("core/a.cpp", "int x = co_await f([&] { return 1; });"), ("core/a.cpp", "co_await f({1, 2});"), ("core/a.cpp", "f(Foo{1}, co_await g());"),
      ("core/a.cpp", "Held h{co_await g()};"), ("core/a.cpp", "if (co_await f(Foo{1})) return;"), ("core/a.cpp", "int x = ({ co_await f(); 1; });"),
      ("core/a.cpp", "h(co_await g(), Foo{2});"), ("core/a.cpp", "bool b = co_await g() && h(Foo{1});")],
     [("core/a.cpp", "void f() {\n  if (co_await g()) {\n    int x{1};\n  }\n}"), ("core/a.cpp", "Task<> f() {\n  co_await g();\n}"),
      ("core/a.cpp", "for (auto& x : co_await g()) { h(x); }"), ("core/a.cpp", "while (!co_await g(a, b)) { }"), ("core/a.cpp", "} else {\n co_await g();\n}"),
      ("core/a.cpp", "auto t = [] { return 1; };\nco_await g(t);"), ("core/a.cpp", "try {\n co_await g();\n} catch (...) { }"),
      ("core/a.cpp", "case 1: {\n co_await g();\n}")]),
    (no_capturing_coroutines, "no capturing lambda coroutines",
     [("cli/a.cpp", "auto f = [&] () -> Task<> { co_return; };"), ("tests/a.cpp", "auto f = [x]() mutable -> Task<int> {};")],
     [("cli/a.cpp", "auto f = [](int a) -> Task<> { co_return; };"), ("cli/a.cpp", "auto f = [&]() -> Tasks { };")]),
    (libraries, "each library in its place",
     [("plans/a.cpp", "#include <sqlite3.h>"), ("cli/b.cpp", "#include <CLI/CLI.hpp>"), ("core/net/ledger.cpp", "#include <openssl/evp.h>")],
     [("core/net/sqlite.cpp", "#include <sqlite3.h>"), ("cli/b.cpp", "#include <vector>")]),
    (layers, "includes go downwards",
     [("core/base/a.cpp", '#include "core/net/link.hpp"'), ("manifests/shared/a.hpp", '#include "manifests/unit_file.hpp"'),
      ("plans/drift/a.cpp", '#include "cli/args.hpp"'), ("plans/drift/a.cpp", '#include "manifests/host/activate.hpp"'),
      ("plans/hosts/a.hpp", '#include "plans/rollout/decide.hpp"'), ("plans/a.cpp", '#include "plans/files/plan.hpp"'), ("cli/a.cpp", '#include "tests/support/catch.hpp"')],
     [("cli/a.cpp", '#include "plans/files/plan.hpp"'), ("plans/drift/a.cpp", '#include "plans/ledger/debt.hpp"'), ("manifests/host/a.cpp", '#include "manifests/shared/tree.hpp"')]),
    (one_concept, "no file over 400 lines", [("core/a.cpp", "\n" * 401)], [("core/a.cpp", "\n" * 400)]),
    (guards, "every header guarded", [("core/a.hpp", "int x;")], [("core/a.hpp", "#pragma once\n"), ("core/a.cpp", "int x;")]),
]


def sources():
    for folder in (*PRODUCT, "examples", "tests"):
        for where, folders, files in os.walk(os.path.join(ROOT, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith((".cpp", ".hpp")):
                    path = os.path.join(where, name)
                    with open(path, encoding="utf-8") as file:
                        yield Source(os.path.relpath(path, ROOT), file.read())


def mutate():
    """tests/fault/mutate, as a module."""
    loader = importlib.machinery.SourceFileLoader("mutate", os.path.join(ROOT, "tests", "fault", "mutate"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mutate", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def mutations():
    """A bug that can no longer be put in proves nothing any more."""
    m = mutate()
    sample = m.Mutation("sample", "breaks: x\nfile: a\nafter: g(\nline: f();\nwith: h();\ntest: t")
    edit = sample.edits[0]
    blind = edit.apply("f();\ng();\n  f();") != "f();\ng();\n  h();"
    for text in ("f();", "g();\ng();\nf();", "g();"):
        try:
            edit.apply(text)
            blind = True
        except m.Wrong:
            pass
    return ["the check of mutations went blind"] * blind + m.rotten()


def main():
    wanted = sys.argv[1:]
    tree, passed, failed = list(sources()), 0, 0
    if not any(product(s.path) for s in tree):
        print("no sources found")
        return 1
    for rule, title, bad, good in RULES:
        if wanted and rule.__name__ not in wanted:
            continue
        blind = [code for path, code in bad if not rule(Source(path, code))]
        wrong = [code for path, code in good if rule(Source(path, code))]
        findings = [f for s in tree if (rule.__name__, s.path) not in EXCEPTIONS for f in rule(s)]
        ok = not (blind or wrong or findings)
        passed, failed = passed + ok, failed + (not ok)
        print(("ok      " if ok else "FAILED  ") + title)
        for code in blind:
            print(f"  the rule does not find: {code!r}")
        for code in wrong:
            print(f"  the rule finds fault with: {code!r}")
        for path, line, what in findings:
            print(f"  {path}:{line}: {what}")
    for name in () if wanted else ("fleet", "unit", "plan"):
        wrong = schemas.findings(ROOT, name)
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(("FAILED  " if wrong else "ok      ") + f"docs/schema/{name}.schema.json says what the example says")
        for what in wrong:
            print(f"  {what}")
    if not wanted or wanted == ["together"]:
        wrong = together.findings(ROOT)
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(("FAILED  " if wrong else "ok      ") + "sources that are compiled together keep names of their own")
        for what in wrong:
            print(f"  {what}")
    if not wanted or wanted == ["mutations"]:
        wrong = mutations()
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(("FAILED  " if wrong else "ok      ") + "every mutation of tests/fault/mutations finds its line")
        for what in wrong:
            print(f"  {what}")
    print(f"test cases: {passed + failed} | {passed} passed | {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
