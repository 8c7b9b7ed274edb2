"""Coming to rest: what an operator does until --once has loaded everything, and what it may cost.

A run may fail for a reason that the round has made: each has its remedy, and no other failure is
right. A lost position is right only after the source was set back or the target has lost commits.
"""

import re
import time

import oracle
from world import Anomaly

TRIES = 10
OTHER_SOURCE = r"lost position|another tick|has no tick|other events"
NOT_REGISTERED = r"is not registered on queue"
CONFIG_CHANGED = r"Put the old values back|Let that version finish"


def calm(world, runs):
    """No process runs, no commit is refused, both servers are up."""
    runs.end_all()
    for server in (world.source, world.target):
        server.start()
    world.dst_sql("delete from fault")


def tidy(world):
    """What a run may rightly refuse: loose tables under a partition's name, columns that lack."""
    for name in world.loose():
        world.move(name)
    add_columns(world)


def add_columns(world):
    for i in range(1, world.extra_ever + 1):
        for parent in ("orders", "orders2"):
            world.dst_sql(f"alter table {parent} add column if not exists x{i} text")


def put_letters_aside(world):
    """Letters of events whose numbers come again."""
    world.dst_sql("""with old as (delete from tdispatch.dead_letter where consumer = 'job' returning ev_data, message)
        insert into letters_put_aside select * from old""")


def reset(world, runs):
    """The last remedy: what the target has by now may come once more."""
    world.again_ok.update(oracle.loaded(world))
    put_letters_aside(world)
    run = runs.finish("--reset")
    if run.code:
        raise Anomaly(f"--reset fails: {run.path}: {run.last_error()}")
    world.note("reset")
    world.count("resets")


def rewind(world, runs, why):
    run = runs.finish("--rewind")
    world.note("rewind", why, run.code)
    return run.code == 0


def lost_position(world, runs, run):
    if world.other_source:
        reset(world, runs)
    elif world.target_loses:
        if not rewind(world, runs, "after a loss"):
            raise Anomaly(f"LOST POSITION that --rewind does not mend: {run.path}: {run.last_error()}")
    else:
        raise Anomaly(f"LOST POSITION for no reason: {run.path}: {run.last_error()}")


def not_registered(world, runs, run):
    """--rewind registers at the target's tick. A queue that was set back may have none of that number,
    or another one: then all that it still has comes again."""
    if not world.unregistered:
        raise Anomaly(f"NOT REGISTERED for no reason: {run.path}: {run.last_error()}")
    if rewind(world, runs, "not registered"):
        return
    if not world.other_source:
        raise Anomaly(f"NOT REGISTERED, and --rewind does not mend it: {run.path}: {run.last_error()}")
    world.src_sql("select pgq.register_consumer_at('q', 'job', (select min(tick_id) from pgq.tick))")
    reset(world, runs)


def old_config(world, runs):
    """A config that must not change now: one of those before ends what was begun."""
    tidy(world)
    now = world.conf
    for before in reversed(world.confs[:-1]):
        world.change_config(**before)
        done = runs.finish("--once").code == 0
        world.note("with that config", done)
        if done:
            break
    world.change_config(**now)


def mend(world, runs, run):
    text = run.output
    if re.search(CONFIG_CHANGED, text) and len(world.confs) > 1:
        old_config(world, runs)
    elif re.search(NOT_REGISTERED, text):
        not_registered(world, runs, run)
    elif re.search(OTHER_SOURCE, text):
        lost_position(world, runs, run)
    else:
        tidy(world)
        time.sleep(0.3)


def come_to_rest(world, runs):
    calm(world, runs)
    for _ in range(TRIES):
        world.tick()
        run = runs.finish("--once")
        if run.code == 0:
            world.other_source = False
            return
        mend(world, runs, run)
    raise Anomaly(f"does not come to rest: {run.path}: {run.last_error()}")


def check(world, runs):
    come_to_rest(world, runs)
    oracle.Oracle(world).judge()
    if world.copying:
        world.copying.judge()
        world.copying = None
    world.note("all is well")
