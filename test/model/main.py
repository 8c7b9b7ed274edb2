"""Random operations against an oracle.

usage: main.py SECONDS [SEED]

A round is a world of its own: two databases, a config, processes of the program, and some dozens of
operations, all of which follow from the round's seed; only the servers' and processes' timing does
not. Rounds of seed, seed + 1, ... follow each other until SECONDS are over, or one has an anomaly.
"""

import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

import rest
from cluster import Cluster
from ops import Ops
from runs import Runs
from world import Anomaly, World


def prepare(world, runs):
    run = runs.finish("--install")
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
    counts = ", ".join(f"{n} {what}" for what, n in sorted(world.counts.items()))
    if not anomaly:
        print(f"ok round {seed}: {counts}", flush=True)
        return
    print(f"not ok round {seed}: {anomaly}\n  {counts}\n  again: test/model.sh 600 {seed}\n"
          f"  what happened: {world.folder}/journal, run.*; databases {world.src} and {world.dst}, left under {world.folder.parent}",
          flush=True)


def main():
    seconds, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time()) % 1000000
    end, rounds, anomaly = time.monotonic() + seconds, 0, None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tdispatch-model."))
    cluster = Cluster(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {seed}, for {seconds} s, in {folder}", flush=True)
    try:
        cluster.start(seed)
        while not anomaly and time.monotonic() < end:
            anomaly, world = round_of(cluster, seed, folder / f"round.{seed}")
            tell(seed, world, anomaly)
            rounds += not anomaly
            seed += 1
    finally:
        cluster.stop()
    if not anomaly:
        shutil.rmtree(folder)
    print(f"{rounds} passed, {int(bool(anomaly))} failed")
    sys.exit(bool(anomaly))


main()
