"""What must be: every event is a row of its partition or a dead letter, once, with its values."""

import collections
import json
import re

from psycopg2.extras import execute_values

import rows
from world import Anomaly

SHOWN = 5                       # of what is wrong


def truth(world):
    """id -> (kind, version of the config when it was put, row), as the source has it now."""
    return {id: found for id, *found in world.src_sql("select id, kind, version, row from truth")}


def copies(world):
    """id -> [(name of its table when it came, row as jsonb)] of the target's rows."""
    tables = world.tables()
    parts = [f"""select '{was}', id, jsonb_strip_nulls(to_jsonb(o)) from only "{name}" o"""
             for name, was in sorted(tables.items())]
    found = collections.defaultdict(list)
    for table, id, doc in world.dst_sql(" union all ".join([*parts, "select part, id, doc from archived"])):
        found[id].append((table, doc))
    return found


def letters(world):
    """id -> [message], also of those that were put aside."""
    found = collections.defaultdict(list)
    for data, message in world.dst_sql("select ev_data, message from tdispatch.dead_letter where consumer = 'job' union all"
                                       " select ev_data, message from letters_put_aside"):
        found[int(re.match(r"id=(\d+)", data).group(1))].append(message)
    return found


def loaded(world):
    """The ids that the target has in one way or another."""
    return set(copies(world)) | set(letters(world))


def as_stored(world, wanted):
    """id -> the row as the target's types store it, with column w for what fields may rename v to."""
    extra = sorted({name for row in wanted.values() for name in row if rows.is_extra(name)})
    kinds = dict(world.dst_sql("""select attname::text, format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = 'orders'::regclass and attnum > 0 and not attisdropped"""))
    casts = [f"(row->>'{name}')::{kinds.get(name, 'text')} as {name}" for name in rows.COLUMNS + extra]
    casts.append("row->>'v' as w")
    with world.target.connect(world.dst) as connection:
        cursor = connection.cursor()
        cursor.execute("create temp table wanted (id int8, row jsonb)")
        execute_values(cursor, "insert into wanted values %s", [(id, json.dumps(row)) for id, row in wanted.items()],
                       page_size=2000)
        cursor.execute(f"select id, to_jsonb(x) from (select {', '.join(casts)} from wanted) x")
        stored = {id: {key: value for key, value in doc.items() if value is not None} for id, doc in cursor.fetchall()}
    connection.close()
    return stored


def under(fields, stored):
    """The row as a config with these fields writes it."""
    lacks = {"star": {"w"}, "list": {"w"}, "less": {"w", "t"}, "renamed": {"v"}}[fields]
    return {key: value for key, value in stored.items()
            if key not in lacks and (fields == "star" or not rows.is_extra(key))}


class Oracle:
    """Gathers what is wrong: findings is a list of (what, [example])."""

    def __init__(self, world):
        self.world = world
        self.truth, self.copies, self.letters = truth(world), copies(world), letters(world)
        self.findings = []

    def find(self, what, examples):
        examples = list(examples)
        if examples:
            self.findings.append(f"{what}: {len(examples)}: {examples[:SHOWN]}")

    def times(self, id):
        return len(self.copies.get(id, ())) + len(self.letters.get(id, ()))

    def judge_numbers(self):
        world = self.world
        self.find("LOST", (id for id in self.truth if not self.times(id)))
        self.find("TWICE", ((id, self.copies.get(id), self.letters.get(id)) for id in self.truth
                            if self.times(id) > 1 + world.again_ok[id]))
        strange = (set(self.copies) | set(self.letters)) - set(self.truth)
        forgotten = {id for id in strange if world.set_backs and id and id < world.next_id}
        self.find("STRANGE", ((id, self.copies.get(id)) for id in strange - forgotten))
        self.find("FORGOTTEN AND TWICE", (id for id in forgotten if self.times(id) > 1 + world.again_ok[id]))

    def judge_kinds(self):
        kinds = {id: kind for id, (kind, _, _) in self.truth.items()}
        self.find("GOOD, BUT A LETTER", ((id, self.letters[id]) for id in self.letters if kinds.get(id) == "good"))
        self.find("BAD, BUT A ROW", ((id, self.copies[id]) for id in self.copies if kinds.get(id) == "bad"))

    def configs_since(self, version):
        return self.world.confs[version:]

    def judge_places(self):
        wrong = []
        for id, (_, version, row) in self.truth.items():
            right = {rows.partition(row, conf) for conf in self.configs_since(version)}
            wrong += [(id, table, right) for table, _ in self.copies.get(id, ()) if table not in right]
        self.find("WRONG PARTITION", wrong)

    def judge_values(self):
        good = {id: row for id, (kind, _, row) in self.truth.items() if kind == "good" and id in self.copies}
        stored, differ = as_stored(self.world, good), []
        for id in good:
            since = {conf["fields"] for conf in self.configs_since(self.truth[id][1])}
            right = [under(fields, stored[id]) for fields in since]
            differ += [(id, doc, right) for _, doc in self.copies[id] if doc not in right]
        self.find("VALUES DIFFER", differ)

    def judge(self):
        self.judge_numbers()
        self.judge_kinds()
        self.judge_places()
        self.judge_values()
        self.world.count("times the tables were compared")
        self.world.count("rows compared", sum(map(len, self.copies.values())))
        self.world.count("letters compared", sum(map(len, self.letters.values())))
        if self.findings:
            raise Anomaly("; ".join(self.findings))
