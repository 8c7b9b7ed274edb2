"""Random operations against an oracle.

usage: main.py SECONDS [SEED [REPORT]]

A round is a world of its own: two databases, a config, processes of the program, and some dozens of
operations, all of which follow from the round's seed; only the servers' and processes' timing does
not. Rounds of seed, seed + 1, ... follow each other until SECONDS are over, or there were ROUNDS of
the environment, however long they take, or one has an anomaly.
What was done is counted at the end, and written to REPORT. In a long run each operation must happen.
"""

import collections
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

import report
import rest
from cluster import Cluster
from ops import Ops
from runs import Runs
from world import WITHOUT, Anomaly, World

LONG = 1200                     # seconds in which all operations are to be expected


def prepare(world, runs):
    run = runs.finish("--install", "--from", "feed")       # with the table of marks
    if run.code:
        raise Anomaly(f"--install fails: {run.path}: {run.last_error()}")
    world.add_fault_trigger()
    world.make_durable()


def play(world, runs):
    prepare(world, runs)
    ops = Ops(world, runs)
    for _ in range(world.chance.randint(2, 3)):
        for _ in range(world.chance.randint(10, 25)):
            ops.one()
        rest.check(world, runs)


def round_of(cluster, seed, folder):
    """The anomaly, or None; what was counted."""
    folder.mkdir()
    world = World(cluster, seed, random.Random(seed), folder)
    runs = Runs(world)
    try:
        play(world, runs)
    except Anomaly as anomaly:
        return str(anomaly), world
    except Exception:
        return "the test itself failed: " + traceback.format_exc(), world
    finally:
        for run in runs.live:
            run.end()
    world.drop()
    shutil.rmtree(folder)
    return None, world


def tell(seed, world, anomaly):
    if not anomaly:
        print(f"ok round {seed}: {report.in_short(world.counts)}", flush=True)
        return
    print(f"not ok round {seed}: {anomaly}\n  {report.in_short(world.counts)}\n  again: test/model.sh 1 {seed}\n"
          f"  what happened: {world.folder}/journal, run.*; databases {world.src} and {world.dst}, left under {world.folder.parent}",
          flush=True)


def never(totals, seconds):
    """An operation that a long run did not have: its weight or what it needs is wrong."""
    lacking = [name for name in Ops.WEIGHTS if name not in WITHOUT and not totals["op " + name]]
    return "never done: " + ", ".join(lacking) if lacking and seconds >= LONG else None


def over(rounds, end):
    if "ROUNDS" in os.environ:
        return rounds >= int(os.environ["ROUNDS"])
    return rounds and time.monotonic() >= end


def main():
    seconds, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time()) % 1000000
    rounds, anomaly, totals, first = 0, None, collections.Counter(), seed
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tdispatch-model."))
    cluster = Cluster(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {seed}, for {seconds} s, in {folder}", flush=True)
    try:
        cluster.start(seed)
        end = time.monotonic() + seconds
        while not anomaly and not over(rounds, end):
            anomaly, world = round_of(cluster, seed, folder / f"round.{seed}")
            tell(seed, world, anomaly)
            totals.update(world.counts)
            rounds += not anomaly
            seed += 1
        totals["connections cut by the proxies"] = cluster.cuts()
    finally:
        cluster.stop()
        if not anomaly:
            shutil.rmtree(folder)
    anomaly = anomaly or never(totals, seconds)
    print(report.totals(totals))
    if anomaly:
        print("not ok:", anomaly)
    if len(sys.argv) > 3:
        report.write(sys.argv[3], seconds, first, rounds, anomaly, totals)
    print(f"{rounds} passed, {int(bool(anomaly))} failed")
    sys.exit(bool(anomaly))


main()
