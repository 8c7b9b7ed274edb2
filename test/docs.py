#!/usr/bin/env python3
# Holds the documents to the program: prints a line for each thing that differs, and fails if any does.
#
#	test/docs.py PROGRAM keys|switches|sample|words|examples|readme
#	test/docs.py PROGRAM metrics FILE
#
# To be run in the top folder. What keys and switches there are is read from the program's source;
# their defaults and ranges are asked of the program.

import os
import re
import subprocess
import sys
import tempfile

PROGRAM, CHECK, *MORE = sys.argv[1:]
MAN1, MAN5, MAN7 = "dist/man/tdispatch.1", "dist/man/tdispatch.ini.5", "dist/man/tdispatch-examples.7"
README_LINES = 150
SAMPLE_LINES = 13
LEAST = {"job_name": "x", "src_db": "dbname=a", "dst_db": "dbname=b", "queue_name": "q", "dest_table": "t"}
# what some keys need beside them
BESIDE = {"row_key": ["row_mode = keep_latest"], "part_keep": ["part_field = day"], "part_late": ["part_field = day", "part_keep = 3 days"],
    "part_premake": ["part_field = day", "part_template = create table _DEST_TABLE (day date)"]}
TYPES = {"INT": "Integer", "WORD": "Word", "SECONDS": "Seconds", "STRING": "Text", "PATH": "Path",
    "CONNINFO": "Connection string"}
found = []


def expect(truth, what):
    if not truth:
        found.append(what)


def expect_same(documented, real, what):
    for name in sorted(set(documented) - set(real)):
        found.append(f"{what}: {name} is documented and is not there")
    for name in sorted(set(real) - set(documented)):
        found.append(f"{what}: {name} is not documented")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def run(*args, keys=None):
    env = {"TDISPATCH_" + key.upper(): value for key, value in (keys or {}).items()}
    return subprocess.run([PROGRAM, *args], env=env, capture_output=True, text=True)


# What --show-config says of a config file.
def shown(text):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "example.ini")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return run("--show-config", path)


def values(text):
    return dict(line.split(" = ", 1) for line in text.splitlines() if re.match(r"[a-z_]+ = ", line))


# ---- what there is

# (name, alias, type) of each key, in order.
def real_keys():
    return re.findall(r'^\t\{ "(\w+)", (?:NULL|"(\w+)"), KEY_(\w+)', read("conf/key.c"), re.M)


def real_switches():
    options = re.search(r"plain_options\[\] = \{(.*?)\n\};", read("conf/switches.c"), re.S).group(1)
    modes = re.search(r"modes\[\] = \{(.*?)\n\};", read("tdispatch.c"), re.S).group(1)
    return set(re.findall(r'\{ "([\w-]+)",', options + modes))


def section(page, name, level="Sh"):
    return re.search(rf"^\.{level} {name}\n(.*?)(?=^\.S[hs] |\Z)", read(page), re.M | re.S).group(1)


# The texts of the items of ini(5), by key.
def documented_keys():
    text = section(MAN5, "Keys", "Ss")
    heads = [m for m in re.finditer(r"^\.It Cm (\w+(?: , \w+)*)$", text, re.M)
        if text.count("\n.Bl", 0, m.start()) == text.count("\n.El", 0, m.start())]   # not in a list of a key's own
    ends = [m.start() for m in heads[1:]] + [len(text)]
    return [(name, text[m.end():end]) for m, end in zip(heads, ends) for name in m.group(1).split(" , ")]


# ---- keys

# What the program says of a value that no key but one of text takes.
def complaint(name):
    return run("--show-config", keys=dict(LEAST, **{name: "?"})).stderr


def range_of(name, kind):
    said = complaint(name)
    if kind == "INT":
        return "Integer, " + re.search(r"from (\d+ to \d+)", said).group(1)
    if kind == "SECONDS":
        return "Seconds, " + re.search(r"from (\d+ to \d+)", said).group(1)
    if kind == "WORD":
        words = re.search(r"neither (.*)", said).group(1)
        return "Word, " + re.sub(r",? nor ", " or ", words)
    return TYPES[kind]


def default_of(name):
    keys = {key: value for key, value in LEAST.items() if key != name}
    said = run("--show-config", keys=keys)
    if said.returncode == 2 and "must be set" in said.stderr:
        return "required"
    return "default: " + values(said.stdout).get(name, "none")


def check_key(name, alias, kind, text):
    line = re.search(r"^\.br\n(.*?); ((?:default: .*?|required)); example:\n\.Ql (.*)$", text, re.M)
    if not line:
        return found.append(f"{name}: no line of type, default and example")
    typ, default, example = line.groups()
    expect(typ.startswith(range_of(name, kind)), f"{name}: its type is {range_of(name, kind)}, not {typ}")
    if default not in ("default: see above", "default: %(job_name)s"):
        expect(re.sub(r", with.*", "", default) == default_of(name), f"{name}: {default_of(name)}, not {default}")
    expect(not alias or re.search(rf"^\.Cm {alias}\b", text, re.M), f"{name}: its other name {alias} is not documented")
    if re.match(f"{name} = ", example):
        lines = [f"{k} = {v}" for k, v in LEAST.items() if k != name] + BESIDE.get(name, []) + [example]
        said = shown("[tdispatch]\n" + "\n".join(lines) + "\n")
        expect(said.returncode == 0 and not said.stderr, f"{name}: its example: {said.stderr.strip()}")


def check_keys():
    real, documented = real_keys(), documented_keys()
    expect(len(real) > 25, "conf/key.c is not read as it should be")
    expect_same([name for name, _ in documented], [name for name, _, _ in real], MAN5)
    texts = dict(documented)
    for name, alias, kind in real:
        if name in texts:
            check_key(name, alias, kind, texts[name])


# ---- switches

def check_switches():
    helped = set(re.findall(r"^ +(?:-\w, )?--([\w-]+)", run("--help").stdout, re.M))
    expect_same(helped, real_switches(), "--help")
    page = read(MAN1)
    items = set(re.findall(r"Fl -([\w-]+)", "".join(re.findall(r"^\.It .*Fl .*$", page, re.M))))
    expect_same(items, helped, MAN1)
    letters = set(re.findall(r"^ +-(\w), --", run("--help").stdout, re.M))
    expect_same(set(re.findall(r"^\.It Fl (\w) ,", page, re.M)), letters, MAN1)
    synopsis = section(MAN1, "SYNOPSIS")
    for m in re.finditer(r"^ +(?:-(\w), )?--([\w-]+)", run("--help").stdout, re.M):
        letter, name = m.groups()
        expect(re.search(rf"(?<![\w-])-{name}(?![\w-])", synopsis) or (letter and letter in re.sub(r"\.\w+|-[\w-]+", "", synopsis)),
            f"SYNOPSIS: --{name} is missing")
    for path in (MAN1, MAN5):
        for name in set(re.findall(r"Fl -([\w-]+)", read(path))) | set(re.findall(r"(?<![\w-])--([a-z][\w-]+)", read(path))):
            expect(name in helped or name == "format", f"{path}: there is no --{name}")
    for name in set(re.findall(r"tdispatch(?: --?[\w-]+)* --([a-z][\w-]+)", read("README.md") + read("CHANGELOG.md"))):
        expect(name in helped, f"README.md or CHANGELOG.md: there is no --{name}")


# ---- sample

# The sample's lines that count, and what stands below them.
def parts_of_sample():
    head, _, reference = read("tdispatch.ini").partition("\n# ---- ")
    return [line for line in head.splitlines() if line and not line.startswith("#")], "# " + reference


# The commented-out "key = value" lines of the reference with those that continue them, by key; a key may stand there twice.
def reference_of(text):
    return re.findall(r"^# (\w+) = ?((?:.*)(?:\n#  .*)*)$", text.partition("\n# ---- several")[0], re.M)


# Words that values can have, as the program's source names them.
def real_words():
    told = re.search(r"words\[\] = \{(.*?)\n\};", read("event/told.c"), re.S).group(1)
    template = re.search(r"template_text\[\w*\] = \{(.*?)\n\};", read("event/template.c"), re.S).group(1)
    of_keys = re.findall(r'\.words = "([a-z_ ]+)"', read("conf/key.c"))
    return re.findall(r'"(_[A-Z_]+)"', told + template) + " ".join(of_keys).split()


def check_reference(reference):
    there = reference_of(reference)
    expect_same([name for name, _ in there], [name for name, _, _ in real_keys()], "tdispatch.ini")
    expect(all(not line or line.startswith("#") for line in reference.splitlines()), "tdispatch.ini: a line of the reference counts")
    for name, value in there:
        lines = [f"{k} = {v}" for k, v in LEAST.items() if k != name] + BESIDE.get(name, []) + \
            ([] if name == "part_field" else ["part_field = day"] if name == "part_template" else [])
        said = shown("[tdispatch]\n" + "\n".join(lines) + f"\n{name} = " + value.replace("\n#", "\n") + "\n")
        expect(said.returncode == 0 and not said.stderr, f"tdispatch.ini: its {name}: {said.stderr.strip()}")
        default = default_of(name)
        if default.startswith("default: ") and default[len("default: "):] not in ("none", LEAST["job_name"]):
            expect(value == default[len("default: "):], f"tdispatch.ini: the default of {name} is {default}, not {value}")
    for word in real_words():
        expect(re.search(rf"(?<!\w){word}(?!\w)", reference), f"tdispatch.ini does not say {word}")
    for _, alias, _ in real_keys():
        expect(not alias or alias in reference, f"tdispatch.ini: the other name {alias} is missing")


# Sections of the reference, as a config: what stands there is accepted.
def check_sections_of_sample(reference):
    sections = reference.partition("\n# ---- several")[2]
    lines = sections[sections.index("\n# [") + 1:].replace("# ", "")
    said = shown("[tdispatch]\n" + "".join(f"{k} = {v}\n" for k, v in LEAST.items()) + lines)
    expect(said.returncode == 0 and not said.stderr, f"tdispatch.ini: its sections: {said.stderr.strip()}")
    expect(said.stdout.count("\n[") >= 4, "tdispatch.ini: its sections are not found")


def check_sample():
    sample = read("tdispatch.ini")
    short, reference = parts_of_sample()
    expect(run("--ini").stdout == sample, "--ini does not print tdispatch.ini")
    expect(8 <= len(short) <= SAMPLE_LINES, f"tdispatch.ini: the short sample has {len(short)} lines")
    check_reference(reference)
    check_sections_of_sample(reference)
    once = shown(sample)
    expect(once.returncode == 0 and not once.stderr, f"tdispatch.ini: {once.stderr.strip()}")
    again = shown("[tdispatch]\n" + once.stdout)
    expect(again.stdout == once.stdout and not again.stderr, "what --show-config prints of tdispatch.ini does not give itself")


# ---- what fuzzers and shells know

def dictionary(name):
    return [word.encode().decode("unicode_escape") for word in re.findall(r'^"(.*)"$', read(f"test/fuzz/{name}.dict"), re.M)]


def check_words():
    names = [name for key in real_keys() for name in key[:2] if name]
    for word in names + real_words() + ["ignore", "%(table)s", "%(schema)s"]:
        expect(word in dictionary("conf"), f"test/fuzz/conf.dict has no {word}")
    for word in re.findall(r'"(_[A-Z_]+)"', re.search(r"template_text\[\w*\] = \{(.*?)\n\};", read("event/template.c"), re.S).group(1)):
        expect(word in dictionary("template"), f"test/fuzz/template.dict has no {word}")
    for shell in "bash", "zsh", "fish":
        words = run("--completion", shell).stdout
        for name, _, _ in real_keys():
            expect(re.search(rf"\b{name}=(?=[ '])", words), f"--completion {shell} does not know {name}")
        for name in real_switches():
            expect(re.search(rf"(?:--|-l ){name}(?![\w-])", words), f"--completion {shell} does not know --{name}")


# ---- examples

# The blocks of a page that are meant to be copied; \e is a backslash.
def blocks(page):
    return [b.replace("\\e", "\\") for b in re.findall(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed$", read(page), re.M | re.S)]


def check_examples():
    configs = [b for b in blocks(MAN5) + blocks(MAN7) if re.search(r"^part_field = ", b, re.M)]
    expect(len(configs) >= 9, f"{MAN5}: its examples are not found")
    for block in configs:
        if not block.startswith("["):
            block = "[tdispatch]\n" + "".join(f"{k} = {v}\n" for k, v in LEAST.items()) + block
        said = shown(block)
        expect(said.returncode == 0 and not said.stderr, f"an example: {said.stderr.strip()}")
    known = real_switches()
    for line in "".join(blocks(MAN1)).splitlines():
        for name in re.findall(r" --(\w[\w-]*)", line) if line.startswith("tdispatch ") else []:
            expect(name in known, f"{MAN1}: an example has --{name}")


# ---- metrics

def check_metrics():
    real = re.findall(r"^# TYPE (\w+)", read(MORE[0]), re.M)
    expect_same(re.findall(r"\btdispatch_[a-z_]+", section(MAN1, "METRICS")), real, "METRICS")


# ---- README

def check_readme():
    text = read("README.md")
    expect(text.count("\n") <= README_LINES, f"README.md has {text.count(chr(10))} lines, more than {README_LINES}")
    for path in re.findall(r"\]\(([\w./-]+)\)", text) + re.findall(r"`([\w/]+\.md|dist/[\w/.]+)`", text):
        expect(os.path.exists(path), f"README.md names {path}, which is not there")
    for heading in re.findall(r"`tdispatch\(1\)`, ([A-Z_]+)", text):
        expect(re.search(rf"^\.Sh {heading}$", read(MAN1), re.M), f"README.md names {heading} of tdispatch(1), which is not there")
    expect("make test" in text, "README.md does not name the test command")


globals()["check_" + CHECK]()
print("\n".join(found), end="\n" if found else "")
sys.exit(1 if found else 0)
