"""A table of the source that --from copies, beside the events: killed at random, and gone on with.

It lies still, so each of its rows is one of the target's, or a dead letter, whatever happens to
servers and processes. Its consumer is not that of the events.
"""

import json
import time

from psycopg2.extras import execute_values

from world import TEMPLATES, Anomaly

TRIES = 10
LAYOUTS = {                     # of the source
    "plain": "create table old ({columns});",
    "children": "create table old ({columns}); create table old_a () inherits (old); create table old_b () inherits (old);",
    "partitioned": """create table old ({columns}) partition by list (at_leaf);
        create table old_a partition of old for values in (0, 1); create table old_b partition of old default""",
    "small": "create table old ({columns});" + "".join(f"create table old_{i} () inherits (old);" for i in range(20)),
    "view": "create table old_rows ({columns}); create view old as select * from old_rows;",
}
COLUMNS = "id int8, day date, at timestamptz, at_leaf int, note text"


class Copying:
    """One table, from its first slice to the comparison."""

    def __init__(self, world, runs):
        self.world, self.runs, self.chance = world, runs, world.chance
        pick = self.chance.choice
        self.layout = pick(["plain", "plain", "children", "partitioned", "small", "view"])
        self.rewritten = False          # since a slice was copied, perhaps
        self.note_type = pick(["text", "text", "varchar(200)"])         # as lines, where types differ
        self.poison = pick([0, 0, 0.003])
        self.config = world.folder / "copy.ini"
        self.create_source()
        self.write_config(pick(["daily", "daily", "monthly"]))
        self.create_target()
        world.make_durable()
        world.note("copying", self.layout, self.note_type, "poison", self.poison, "rows", len(self.rows))

    # ---- what there is to copy

    def a_row(self, id):
        day = self.chance.choice(self.world.days)
        note = "n" * self.chance.choice([1, 100, 150]) + self.chance.choice(["", "\\N", "\t\n", "ü"])
        if self.chance.random() < self.poison:
            return (id, *self.chance.choice([(None, day, 0, note), (day, day, 1, "bad")]))
        return id, day, day, self.chance.randint(0, 5), note

    def create_source(self):
        self.rows = [self.a_row(id) for id in range(1, self.chance.choice([0, 300, 1500, 4000, 4000]) + 1)]
        if self.world.src_sql("select 1 from pg_views where viewname = 'old'"):
            self.world.src_sql("drop view old; drop table old_rows")
        self.world.src_sql("drop table if exists old cascade")
        self.world.src_sql(LAYOUTS[self.layout].format(columns=COLUMNS))
        into = {"view": ["old_rows"], "children": ["old", "old_a", "old_b"], "small": ["old"] + [f"old_{i}" for i in range(20)]}.get(self.layout, ["old"])
        with self.world.source.connect(self.world.src) as connection:
            for i, table in enumerate(into):
                execute_values(connection.cursor(), f"insert into {table} values %s", self.rows[i::len(into)], page_size=1000)
        connection.close()

    def write_config(self, method):
        world = self.world
        lines = {
            "job_name": "copier", "from_table": "old", "dest_table": "copied", "part_field": "day", "part_method": method,
            "part_template": TEMPLATES[world.kind].replace("defaults", "defaults including constraints"), "on_error": "dead_letter", "max_errors": "100000", "retry_limit": "6",
            "src_db": world.source.conninfo(world.src), "dst_db": world.target.conninfo(world.dst), "exception_sleep": "0.3",
            "server_timeout": "20", **({"from_key": "id"} if self.layout == "view" else {}),
        }
        with open(self.config, "w", encoding="utf-8") as file:
            print("[tdispatch]", *(f"{key} = {value}" for key, value in lines.items()), sep="\n", file=file)

    def create_target(self):
        """From nothing. A session of a process that was killed may commit until its table is dropped."""
        self.world.dst_sql("drop table if exists copied cascade")
        tail = "" if self.world.kind == "inherits" else " partition by range (day)"
        columns = COLUMNS.replace("note text", f"note {self.note_type} check (note <> 'bad')")
        self.world.dst_sql(f"create table copied ({columns}){tail}")
        for mode in ("--install", "--reset"):
            run = self.run(mode)
            if not run.wait(60) or run.code:
                raise Anomaly(f"{mode} of the copy fails: {run.path}: {run.last_error()}")
        self.world.dst_sql("delete from tdispatch.dead_letter where consumer = 'copier'")
        self.rewritten = False

    # ---- runs

    def is_live(self):
        return any("--from" in run.args for run in self.runs.live)

    def run(self, *args, proxied=False):
        pick = self.chance.choice
        args = [*args, "-v", "--set", f"lanes={pick([1, 1, 2, 3])}", "--set", f"from_slice={pick([8192, 8192, 8192, 40960, 10000000])}",
                "--set", f"from_snapshot={pick(['table', 'slice'])}"]
        return self.runs.start_with(self.config, args, proxied)

    def copy(self, proxied=False):
        verify = ["--verify"] if self.chance.random() < 0.1 else []
        return self.run("--from", "old", *verify, proxied=proxied)

    def rewrite(self):
        """Its rows go to other places. What is copied in a part is told then, and begins anew."""
        if self.layout == "view":
            return False
        self.world.src_sql("set lock_timeout = '2s'; " + self.chance.choice(
            ["vacuum full old" if self.layout != "partitioned" else "vacuum full old_b",
             "alter table old alter at_leaf type int8; alter table old alter at_leaf type int4"
             if self.layout != "partitioned" else "vacuum full old_a"]))
        self.world.src_sql("checkpoint")
        self.rewritten = True
        return True

    # ---- at rest

    def finish(self):
        for _ in range(TRIES):
            run = self.copy()
            if not run.wait(300):
                raise Anomaly(f"HANGS: {' '.join(run.args)}, {run.path}: {run.last_error()}")
            self.runs.reap()
            if run.code == 0:
                return
            if "was rewritten" in run.output and not self.rewritten:
                raise Anomaly(f"REWRITTEN for no reason: {run.path}: {run.last_error()}")
            if "lost position" in run.output and self.rewritten:
                self.create_target()
                self.world.count("copies begun anew")
            time.sleep(0.3)
        raise Anomaly(f"the copy does not come to rest: {run.path}: {run.last_error()}")

    def judge(self):
        self.finish()
        wanted = sorted((id, str(day), note) for id, day, _, _, note in self.rows if day and note != "bad")
        found = sorted(self.world.dst_sql("select id, day::text, note from copied"))
        letters = sorted(json.loads(data)["id"] for data, in self.world.dst_sql(
            "select ev_data from tdispatch.dead_letter where consumer = 'copier'"))
        bad = sorted(id for id, day, _, _, note in self.rows if not day or note == "bad")
        misplaced = self.world.dst_sql("""select id from copied where tableoid::regclass::text <>
            'copied_' || to_char(day, case when length(tableoid::regclass::text) > 14 then 'YYYY_MM_DD' else 'YYYY_MM' end)""")
        for what, one, other in (("ROWS", wanted, found), ("LETTERS", bad, letters), ("PARTITIONS", [], misplaced)):
            if one != other:
                raise Anomaly(f"COPIED {what}: {len(other)}, not {len(one)}; lacks {sorted(set(one) - set(other))[:5]},"
                              f" has {sorted(set(other) - set(one))[:5]} more or twice")
        self.world.count("copies compared")
        self.world.count("copied rows compared", len(found) + len(letters))
