"""Random histories of rows, applied by the program and by a model.

usage: main.py HISTORIES SEED

Worlds of seed, seed + 1, ... follow each other, until they had so many histories or one is wrong;
each of two workers has a database of its own. All but the timing of kills follows from the seed.
"""

import collections
import concurrent.futures
import os
import pathlib
import shutil
import sys
import tempfile
import traceback

import psycopg2

from world import World, Wrong

WORKERS = int(os.environ.get("JOBS", "2"))
TEMPLATE = "histories"


def prepare():
    """The template of the workers' databases."""
    conn = psycopg2.connect(dbname="postgres")
    conn.autocommit = True
    conn.cursor().execute(f"create database {TEMPLATE} template pgq_template")
    conn.close()
    conn = psycopg2.connect(dbname=TEMPLATE)
    conn.cursor().execute("set client_min_messages = warning; " + pathlib.Path(__file__).with_name("model.sql").read_text(encoding="utf-8"))
    conn.commit()
    conn.close()
    conn = psycopg2.connect(dbname="postgres")
    conn.autocommit = True
    for n in range(WORKERS):
        conn.cursor().execute(f"create database {TEMPLATE}_{n} template {TEMPLATE}")
    conn.close()


def world_of(database, seed, top):
    """What is wrong, or None; what was counted."""
    folder = top / str(seed)
    folder.mkdir()
    world = World(database, seed, folder)
    try:
        world.play()
    except Wrong as wrong:
        return str(wrong), world.counts
    except Exception:
        return "the test itself failed: " + traceback.format_exc(), world.counts
    shutil.rmtree(folder)
    return None, world.counts


def worker(n, seeds, wanted, top, totals, faults):
    """Takes seeds until the histories are enough."""
    for seed in seeds:
        if faults or totals["histories"] >= wanted:
            return
        fault, counts = world_of(f"{TEMPLATE}_{n}", seed, top)
        totals.update(counts)
        if fault:
            faults.append(seed)
            kept = shutil.move(top / str(seed), tempfile.mkdtemp(prefix="tdispatch-histories."))
            print(f"not ok world {seed}: {fault}\n  again: N=1 SEED={seed} test/histories.sh\n  what happened: {kept}", flush=True)


def main():
    wanted, seed = int(sys.argv[1]), int(sys.argv[2])
    totals, faults = collections.Counter(), []
    top = pathlib.Path(os.environ["CLUSTER"], "histories")      # which goes with the cluster
    top.mkdir()
    print(f"seed {seed}, {wanted} histories", flush=True)
    prepare()
    seeds = iter(range(seed, sys.maxsize))
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(worker, n, seeds, wanted, top, totals, faults) for n in range(WORKERS)]:
            done.result()
    print(", ".join(f"{n} {what}" for what, n in sorted(totals.items())))
    print(f"{totals['histories']} passed, {len(faults)} failed")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
