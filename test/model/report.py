"""What a run did, in numbers: a round in a line, all rounds in some, and as test/MODEL.md."""

import os

WIDTH = 100
HEAD = """# Random operations beside an oracle

{head}. Written by `test/model.sh {seconds} {first}`, as `make model-test` runs it.

Each round is a world of its own: a source and a target database on two servers, a config, up to three processes of the
program at a time, static or with sanitizers, directly or through a proxy that cuts connections at any byte. It goes through some dozens of
operations that follow from the round's seed. Then all that was refused is mended as the messages say, `--once` runs until all
is loaded, and the target is compared with the source: each event is a row once, in its partition, with its values, or a
dead letter. An event may be there twice only where `--reset` said so, after the source was set back. Beside that a table is
copied by `--from`, killed, cut and gone on with: each of its rows is a row of the target, or a dead letter, once. No
process may crash, hang or fill its log, or lose its position for no reason. `make model-mutate` shows that the test finds faults.

**{rounds} rounds, seeds {first} to {last}, {verdict}.**
"""


def parts(counts):
    """[(what, n)] of operations, and of all else, the most frequent first."""
    by_number = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    done = [(what[3:], n) for what, n in by_number if what.startswith("op ")]
    return done, [(what, n) for what, n in by_number if not what.startswith("op ") and n]


def in_short(counts):
    done, met = parts(counts)
    return f"{sum(n for _, n in done)} operations; " + ", ".join(f"{n} {what}" for what, n in met)


def lines(what, items):
    text = f"{what}:"
    for item in (f"{n} {name}" for name, n in items):
        text += ("\n  " if len(text) - text.rfind("\n") + len(item) > WIDTH else " ") + item + ","
    return text.rstrip(",")


def totals(counts):
    done, met = parts(counts)
    return lines("operations", done) + "\n" + lines("what came of them", met)


def table(what, items):
    return [f"| {what} | |", "| --- | ---: |", *(f"| {name.replace('_', ' ')} | {n:,} |" for name, n in items), ""]


def write(path, seconds, first, rounds, anomaly, counts):
    done, met = parts(counts)
    head = HEAD.format(head=os.environ.get("HEAD", ""), seconds=seconds, first=first, rounds=rounds, last=first + max(rounds - 1, 0),
                       verdict=f"then: {anomaly}" if anomaly else "no anomaly")
    with open(path, "w", encoding="utf-8") as file:
        print(head, *table("operations", done), *table("what came of them", met)[:-1], sep="\n", file=file)
    print("written:", path)
