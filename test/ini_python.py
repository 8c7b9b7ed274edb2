"""Writes what Python's configparser reads from ini files, in the form that test/unit/ini.c prints.

usage: ini_python.py FOLDER FILE.ini...    writes FOLDER/FILE.python for each

A file that is refused gives `error`: not every error of configparser knows its line.
"""

import configparser
import pathlib
import sys


def escaped(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def line(section, key, value):
    return "\t".join(escaped(text) for text in (section, key, value)) + "\n"


def lines(path):
    parser = configparser.ConfigParser(strict=True)
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        parser.read_file(file)
    for section in parser.sections():
        for key in parser.options(section):
            yield line(section, key, parser.get(section, key))
        if not parser.options(section):
            yield line(section, "", "")


def main():
    folder = pathlib.Path(sys.argv[1])
    for path in map(pathlib.Path, sys.argv[2:]):
        try:
            text = "".join(lines(path))
        except configparser.Error:
            text = "error\n"
        (folder / path.with_suffix(".python").name).write_bytes(text.encode("utf-8", errors="surrogateescape"))


main()
