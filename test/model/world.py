"""One round's world: a source and a target database, the config, and what an operator has in mind.

Table truth of the source says what was put into the queue, written in the transaction of the events:
whatever a restart, a rollback or a backup does to these, it does to both.
"""

import json
import os
import time
from collections import Counter

from psycopg2.extras import execute_values

import rows

ATTACH = """create table _DEST_TABLE (like _PARENT including defaults);
    alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to (_PART_END);"""
TEMPLATES = {
    "attach": ATTACH,
    "of": "create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to (_PART_END);",
    "inherits": "create table _DEST_TABLE () inherits (_PARENT);",
}
NEEDS_KEY = " create index on _DEST_TABLE (_PKEY);"
FIELDS = {          # a row's columns in the target by `fields`
    "star": "*",
    "list": "id, day, at, n, v, t, u, b",
    "less": "id, day, at, n, v, u, b",
    "renamed": "id, day, at, n, v:w, t, u, b",
}
PARENTS = ["orders", "orders2"]
HELPERS = """
    create table archived (part text, id int8, doc jsonb);
    create table moved (name text, was text);
    create table letters_put_aside (ev_data text, message text);
    create table fault (lane text, chance float8, how text);
"""
# Fails or delays the commit of a position: of lane 0, of another one, or of any.
FAULT = r"""
    create function fault() returns trigger language plpgsql as $$
    declare f record; lane text = case when tg_table_name = 'slice' then coalesce(nullif(to_jsonb(new)->>'lane', '0'), '')
        else regexp_replace(to_jsonb(new)->>'subconsumer_id', '^(lane \d+).*', '\1') end;
    begin
        select * into f from public.fault;
        if not found or random() > f.chance or (f.lane = 'first' and lane <> '') or (f.lane = 'other' and lane !~ '^(lane )?\d+$') then
            return new;
        end if;
        if f.how = 'slow' then perform pg_sleep(random() * 0.2); return new; end if;
        raise exception using errcode = '53100', message = 'refused by the model test';
    end $$;
    create constraint trigger fault after insert or update on pgq_ext.completed_tick deferrable initially deferred
        for each row execute function public.fault();
    create constraint trigger fault after insert or update on tdispatch.slice deferrable initially deferred
        for each row execute function public.fault();
"""


WITHOUT = os.environ.get("WITHOUT", "").split()


class Anomaly(Exception):
    """What must never be."""


class World:
    def __init__(self, cluster, seed, chance, folder):
        self.source, self.target = cluster.source, cluster.target
        self.seed, self.chance, self.folder = seed, chance, folder
        self.src, self.dst, self.backup_name = f"r{seed}_source", f"r{seed}_target", f"r{seed}_backup"
        self.began = time.monotonic()
        self.journal = open(folder / "journal", "w", encoding="utf-8", buffering=1)
        self.days = rows.days(chance)
        self.next_id = 1
        self.extra = self.extra_ever = 0        # columns x1, x2, ... of the source
        self.backup = False             # there is one
        self.set_backs = 0              # so often the source became another than the target has loaded
        self.other_source = False       # it may be so now
        self.target_loses = self.source_loses = False   # its last commits, when it is restarted
        self.unregistered = False       # once: a backup may be of that moment
        self.again_ok = Counter()       # by id: so often --reset may bring it once more
        self.copying = None             # a table that --from copies, or none at the moment
        self.counts = {}
        self.invent()
        self.create()

    def note(self, *words):
        print(f"{time.monotonic() - self.began:8.3f}", *words, file=self.journal)

    def count(self, what, n=1):
        self.counts[what] = self.counts.get(what, 0) + n

    # ---- the config

    def invent(self):
        pick = self.chance.choice
        self.kind = pick(["attach", "of", "inherits", "inherits"])
        part_field = pick(["day", "day", "at"])
        bounded = self.kind != "inherits"
        exact = part_field == "at" and bounded          # bounds of moments want a zone
        methods = ["daily", "daily", "monthly", "weekly"] + ["hourly"] * (not bounded or exact)
        self.confs = [{
            "dest_table": "orders", "fields": pick(["star", "list", "list", "less", "renamed"]), "part_field": part_field,
            "part_method": pick(methods),
            "part_timezone": pick(["UTC", "+05:30"] if exact else ["text", "UTC", "+05:30"]), "lanes": pick([1, 2, 2, 3, 4]),
        }]
        if exact and self.conf["part_method"] != "hourly":
            self.conf["part_timezone"] = pick(["UTC", "+05:30", "Europe/Berlin"])
        self.template = TEMPLATES[self.kind] + pick(["", NEEDS_KEY])
        self.least = pick([[200000], [200000], [0], [50, 200000], [0, 200000]])
        self.poison = pick([0, 0.01, 0.05])
        self.keyless = pick([0, 0.2, 0.5]) if NEEDS_KEY in self.template and "keyless" not in WITHOUT else 0
        self.loss = pick([None, None, None, "source", "target"]) if "loss" not in WITHOUT else None

    @property
    def conf(self):
        return self.confs[-1]

    def write_config(self):
        conf = self.conf
        lines = {
            "job_name": "job", "queue_name": "q", "on_error": "dead_letter", "max_errors": "100000", "loop_delay": "0.1",
            "src_db": self.source.conninfo(self.src), "dst_db": self.target.conninfo(self.dst), "exception_sleep": "0.3",
            "retry_limit": "6", "server_timeout": "20", "lanes": conf["lanes"], "dest_table": conf["dest_table"],
            "fields": FIELDS[conf["fields"]], "part_field": conf["part_field"], "part_method": conf["part_method"],
            "part_timezone": conf["part_timezone"], "part_template": self.template,
        }
        if not conf["part_field"]:
            del lines["part_field"], lines["part_template"]
        with open(self.folder / "job.ini", "w", encoding="utf-8") as file:
            print("[tdispatch]", *(f"{key} = {value}" for key, value in lines.items()), sep="\n", file=file)

    def change_config(self, **keys):
        self.confs.append({**self.conf, **keys})
        self.note("config", keys)
        self.write_config()

    # ---- the databases

    def create(self):
        for server, name in ((self.source, self.src), (self.target, self.dst)):
            server.sql("postgres", f'create database "{name}"')
        columns = ", ".join(f"{name} {kind}" for name, kind in rows.TYPES.items())
        tail = "" if self.kind == "inherits" else f" partition by range ({self.conf['part_field']})"
        self.target.sql(self.dst, HELPERS + "".join(f"create table {name} ({columns}){tail};" for name in PARENTS))
        self.source.sql(self.src, f"""
            select pgq.create_queue('q');
            select pgq.set_queue_config('q', 'rotation_period', '2 seconds');
            create table truth (id int8 primary key, kind text, version int, row jsonb);
            create table feed ({', '.join(name + ' text' for name in rows.COLUMNS)});
            create trigger to_queue before insert on feed for each row execute function pgq.logutriga('q', 'pkey=id', 'SKIP')""")
        self.write_config()
        self.lossy()
        self.note(f"round {self.seed}: {self.kind} {self.conf} least={self.least} poison={self.poison}"
                  f" keyless={self.keyless} loss={self.loss} days={self.days}")

    def add_fault_trigger(self):
        self.target.sql(self.dst, FAULT)

    def lossy(self):
        """Where commits are not waited for, a restart takes the last of them away."""
        for side, server, name in (("source", self.source, self.src), ("target", self.target, self.dst)):
            if self.loss == side:
                server.sql("postgres", f'alter database "{name}" set synchronous_commit = off')

    def make_durable(self):
        """No restart takes away what was installed: a consumer registers at the newest tick."""
        self.src_sql("checkpoint")
        self.dst_sql("checkpoint")

    def drop(self):
        self.journal.close()
        for server, name in ((self.source, self.src), (self.source, self.backup_name), (self.target, self.dst)):
            server.drop(name)

    def src_sql(self, text, args=None):
        return self.source.sql(self.src, text, args)

    def dst_sql(self, text, args=None):
        return self.target.sql(self.dst, text, args)

    # ---- events

    def tick(self):
        self.src_sql("select pgq.force_tick('q')")
        self.src_sql("select pgq.ticker('q')")

    def new_row(self):
        """A row, its kind, and the event's data where no trigger is to write it."""
        row = rows.good(self.chance, self.next_id, self.days)
        row.update({f"x{i}": self.chance.choice([None, "e1", "e 2"]) for i in range(1, self.extra + 1)})
        self.next_id += 1
        if self.chance.random() >= self.poison:
            return row, "good", None
        if self.chance.random() < 0.3:
            return row, "maybe", rows.event(row, self.chance.choice(rows.BAD_ESCAPES))
        return row, rows.spoil(self.chance, row, self.conf["part_field"]), None

    def put(self, cursor, n):
        """n events, and what they are, in the cursor's transaction."""
        truth, feed, events = [], [], []
        for _ in range(n):
            row, kind, data = self.new_row()
            if data:
                events.append(("I:id", data))
            elif self.chance.random() < self.keyless:
                events.append(("I:", rows.event(row)))
                kind = "maybe" if kind == "good" else kind
            else:
                feed.append(tuple(row.values()))
            truth.append((row["id"], kind, len(self.confs) - 1, json.dumps(row)))
        columns = rows.COLUMNS + [f"x{i}" for i in range(1, self.extra + 1)]
        execute_values(cursor, "insert into truth values %s", truth, page_size=1000)
        for kind, data in events:
            cursor.execute("select pgq.insert_event('q', %s, %s)", (kind, data))
        if feed:
            execute_values(cursor, f"insert into feed ({', '.join(columns)}) values %s", feed, page_size=1000)
        self.count("events", n)

    def registered(self):
        return bool(self.src_sql("select 1 from pgq.consumer join pgq.subscription on sub_consumer = co_id"))

    def is_set_back(self):
        self.set_backs += 1
        self.other_source = True

    # ---- the target's tables

    def position(self):
        """The tick of lane 0, 0 when there is none."""
        found = self.dst_sql("select last_tick_id::int from pgq_ext.completed_tick where consumer_id = 'job' and subconsumer_id = ''")
        return found[0][0] if found else 0

    def is_half(self):
        """Another lane is ahead of lane 0."""
        return bool(self.dst_sql("""select 1 from pgq_ext.completed_tick a join pgq_ext.completed_tick b using (consumer_id)
            where consumer_id = 'job' and a.subconsumer_id ~ '^lane [0-9]+ of [0-9]+$' and b.subconsumer_id = ''
            and a.last_tick_id > b.last_tick_id"""))

    def tables(self):
        """name -> the name under which rows came to it, of all tables that have rows of ours."""
        names = self.dst_sql("select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace")
        moved = dict(self.dst_sql("select name, was from moved"))
        return {name: moved.get(name, name) for (name,) in names if name.startswith(("orders", "gone_"))}

    def loose(self):
        """Tables under a partition's name that are partitions of nothing."""
        names = self.dst_sql("""select relname from pg_class c where relkind = 'r' and relname ~ '^orders2?_'
            and not exists (select 1 from pg_inherits where inhrelid = c.oid) and relnamespace = 'public'::regnamespace""")
        return [name for (name,) in names]

    def move(self, name, also=""):
        """Renames a table out of the way."""
        new = f"gone_{self.next_id}_{name}"[:60]
        self.next_id += 1
        self.dst_sql(f"""set lock_timeout = '2s'; {also} alter table "{name}" rename to "{new}";
            insert into moved values ('{new}', '{name}')""")
        self.note("moved", name, "to", new)
