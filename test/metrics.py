#!/usr/bin/env python3
"""Checks a metrics file as `promtool check metrics` does: the text format and the rules for names.

usage: metrics.py FILE      prints what is wrong, a line each; exit code 1 when something is
"""
import re
import sys

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)$")
PARTS = {"histogram": ("_bucket", "_sum", "_count")}
UNITS = "ms milliseconds minutes hours days kb mb gb kilobytes megabytes percent".split()

problems = []


def labels_of(text, line):
    labels = {}
    at = 0
    while at < len(text):
        found = LABEL.match(text, at)
        if not found or found.group(1) in labels:
            problems.append(f"bad labels: {line}")
            break
        labels[found.group(1)] = found.group(2)
        at = found.end()
    return labels


def family_of(name, types):
    for suffix in PARTS["histogram"]:
        base = name.removesuffix(suffix)
        if base != name and types.get(base) == "histogram":
            return base
    return name


def check_names(types, helps):
    for name, kind in types.items():
        if not helps.get(name):
            problems.append(f"{name}: no help text")
        if (kind == "counter") != name.endswith("_total"):
            problems.append(f"{name}: counters, and only they, end with _total")
        if kind != "histogram" and re.search("_(bucket|count|sum)$", name):
            problems.append(f"{name}: that ending belongs to histograms")
        if set(name.split("_")) & set(UNITS):
            problems.append(f"{name}: no base unit")
        if re.search("[A-Z]", name) or kind in name.split("_"):
            problems.append(f"{name}: capital letters, or its type in its name")


def check_histogram(name, samples):
    series = {}
    for (sample, labels), value in samples.items():
        rest = tuple(label for label in labels if label[0] != "le")
        le = dict(labels).get("le")
        if sample == name + "_bucket":
            series.setdefault(rest, []).append((float(le), value))
    for rest, buckets in series.items():
        values = [value for _, value in sorted(buckets)]
        if buckets != sorted(buckets) or values != sorted(values) or buckets[-1][0] != float("inf"):
            problems.append(f"{name}: buckets do not grow up to +Inf")
        if samples.get((name + "_count", rest)) != values[-1] or (name + "_sum", rest) not in samples:
            problems.append(f"{name}: sum or count do not fit the buckets")
    if not series:
        problems.append(f"{name}: no buckets")


def check(text):
    types, helps, samples, families = {}, {}, {}, []
    if not text.endswith("\n"):
        problems.append("the last line has no end")
    for line in text.splitlines():
        head = re.match(r"# (HELP|TYPE) ([^ ]+) (.*)$", line)
        if head:
            kind, name, rest = head.groups()
            table = helps if kind == "HELP" else types
            if name in table or name in families:
                problems.append(f"{name}: {kind} twice or too late")
            table[name] = rest
            continue
        sample = SAMPLE.match(line)
        if not sample:
            problems.append(f"no sample: {line}")
            continue
        name = family_of(sample.group(1), types)
        if name not in types:
            problems.append(f"{name}: no TYPE before it")
        if name in families and families[-1] != name:
            problems.append(f"{name}: its samples are not together")
        families.append(name)
        key = sample.group(1), tuple(sorted(labels_of(sample.group(2) or "", line).items()))
        if key in samples:
            problems.append(f"twice: {line}")
        samples[key] = float(sample.group(3))
    check_names(types, helps)
    for name in types:
        if types[name] == "histogram":
            check_histogram(name, samples)
        elif name not in families:
            problems.append(f"{name}: no sample")


check(open(sys.argv[1], encoding="utf-8", newline="\n").read())
print("\n".join(problems))
sys.exit(1 if problems else 0)
