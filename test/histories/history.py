"""One history: a source table, what the config says of its events, its target and its operations.

All follow from the chance that the history is given. A `wild` one has no source table: its events are
written one by one, and say anything of any row.
"""

import json
import re

DAYS = ["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-28", "2025-12-31", "2026-01-01"]
TEXTS = ["", "a", " b ", "tab\there", "new\nline", "back\\slash", "\\N", "\\.", "%41&x=y+z", "ünï 漢字", "'quoted\"", "\r", "\x01", "NULL"]
KEYS = {             # of the key's columns
    "int8": ["1", "2", "3", "4", "5", "120", "333", "-9223372036854775808"],
    "text": ["a", "", " ", "A", "a b&c=%41", "\\N", "ключ"],
    "uuid": ["00000000-0000-0000-0000-00000000000%d" % n for n in range(5)],
    "date": DAYS[:5],
    "numeric": ["1", "1.00", "2.5", "-0.1", "2.50"],
    "loose": ["1", "2", "3", "4", "120"],
    "timestamptz": ["2026-03-29 01:30:00+00", "2026-03-29 03:30:00+02", "2026-03-29 02:30:00.5+00", "1999-12-31 23:59:59.999999+00"],
}
LOOSE = ("text", "int8", ["abc", "99999999999999999999"])       # at the source, in the target, which refuses these
# Values that are equal, and written in another way.
EQUAL = {"1": "1.00", "2.5": "2.50", "-0.1": "-0.100", "2026-03-29 01:30:00+00": "2026-03-29 03:30:00+02"}
# name: type at the source, type in the target, good values, bad ones. Constraints are added to some.
COLUMNS = {
    "v": ("text", "text", TEXTS, []),
    "n": ("text", "int4", ["1", "-5", "007", " 8 ", "2147483647"], ["abc", "99999999999", ""]),
    "c": ("int4", "int4", ["1", "2", "3", "4", "0"], ["13"]),
    "w": ("text", "varchar(4)", ["", "ab", "abcd", "漢字漢字"], ["abcde"]),
    "b": ("bool", "bool", ["t", "f"], []),
    "x": ("numeric", "numeric(12,3)", ["1", "1.5", "-0.001", "123456789.123"], ["1234567890.1"]),
    "t": ("timestamptz", "timestamptz", ["2026-03-29 01:30:00.000001+00", "0044-03-15 00:00:00+00"], []),
    "j": ("jsonb", "jsonb", ['{"a": [1, null]}', '"x"', "7"], []),
    "f": ("float8", "float8", ["0.1", "1e300", "-0"], []),
    "a": ("bytea", "bytea", ["\\x00ff", "\\x"], []),
    "r": ("text", "text not null", TEXTS[:4], [None]),
}
PART_TYPES = {      # of part_field: at the source, in the target, what may follow the day
    "date": ("date", "date", [""]),
    "timestamp": ("timestamp", "timestamp", [" 00:00:00", " 23:59:59.999999", " 12:34:56"]),
    "timestamptz": ("timestamptz", "timestamptz", [" 00:00:00+00", " 23:59:59.999999+00", " 00:30:00+02", " 23:00:00-03:30"]),
    "text": ("text", "date", [""]),
}
ALONE = {"late": "int4", "made": "text"}     # columns that only some sources have
BAD_DAYS = [None, "soon", "2026-02-30"]
# word: type, and its column in the target
WORDS = {"_OP": ("text", "op"), "_EVID": ("int8", "ev_id"), "_EVTIME": ("timestamptz", "changed_at"), "_TXID": ("int8", "ev_txid"),
         "_TABLE": ("text", "of_table")}
ZONES = ["UTC", "Asia/Kolkata", "America/St_Johns"]


def quoted(value):
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def hstore(row):
    if row is None:
        return "null"
    flat = [quoted(x) for pair in row.items() for x in pair]
    return f"hstore(array[{', '.join(flat)}]::text[])"


class History:
    """`world` gives chance, queue, schema, utc, which modes there are, and what is to be left out."""

    def __init__(self, world, name):
        self.world, self.chance, self.name = world, world.chance, name
        self.source, self.target = f"{world.schema}.{name}", f"{world.schema}_to.{name}"
        self.rows, self.probe = f"{world.schema}_model.{name}", f"{world.schema}_model.{name}_probe"
        self.newest = {}        # of a wild one, by key
        self.invent()
        self.invent_target()

    def maybe(self, probability):
        return self.chance.random() < probability

    # ---- what it is

    def invent(self):
        pick = self.chance.choice
        self.mode = pick(self.world.modes)
        self.wild = self.maybe(0.25)
        self.format = pick(["urlencoded", "json"])
        self.backup = self.maybe(0.7)
        self.keys = {"id": pick(list(KEYS))}
        if self.maybe(0.4):
            self.keys["k2"] = pick(["int8", "text", "date"])
        names = [c for c in COLUMNS if c != "r" or "constraints" not in self.world.without]
        self.columns = sorted({*self.chance.sample(names, self.chance.randint(1, 5)), *["c"] * self.maybe(0.4)})
        self.poison = pick([0, 0, 0.05, 0.2]) if "poison" not in self.world.without else 0
        self.invent_parts()
        self.truncates = self.maybe(0.2)
        self.skips_truncates = self.maybe(0.7)
        self.late, self.added = not self.wild and self.maybe(0.3), False     # the source gets a column
        self.invent_fields()
        self.ops = pick([None] * 5 + ["IUD", "IU", "I", "ID"])

    def invent_parts(self):
        pick = self.chance.choice
        self.template = pick(["attach", "attach", "of", "inherits", "inherits", None])
        self.part_type = pick(["date", "timestamp", "text"] + ["timestamptz"] * (2 * self.world.utc))
        self.part_method = pick(["daily", "daily", "weekly", "monthly", "yearly"])
        if self.part_type == "text" and self.world.utc:
            self.part_type = "date"
        self.part_in_key = self.maybe(0.3)
        self.p_bad = self.poison if self.part_type == "text" or not self.part_in_key else 0

    def invent_fields(self):
        """Source columns that the target has, by its names."""
        self.all_columns = self.maybe(0.4)
        self.skipped = []
        self.renamed = {}
        all_of_it = [*self.keys, "p", *self.columns]
        if not self.all_columns:
            self.renamed = {c: c + self.chance.choice(["_to", "_To"]) for c in all_of_it if self.maybe(0.4)}
            if self.maybe(0.2):
                self.renamed |= {"id": self.columns[0], self.columns[0]: "id"}
        if self.maybe(0.2):
            self.skipped = [self.chance.choice(self.columns)]
        if self.template in ("inherits", None) and not self.part_in_key and self.maybe(0.2):
            self.skipped.append("p")
        self.words = self.chance.sample(list(WORDS), self.chance.choice([0, 0, 1, 2]))
        self.on_missing = self.chance.choice(["error", "null", "default"])
        self.lacking = not self.all_columns and self.on_missing != "error" and self.maybe(0.5)

    def invent_target(self):
        self.check = self.chance.choice([None, "parent", "partition", "reference"]) if "constraints" not in self.world.without else None
        self.identity_key = self.template is None and self.keys["id"] == "int8" and self.maybe(0.5)
        self.generated = self.maybe(0.4)
        self.beside = ["made"] if self.generated and self.all_columns and self.maybe(0.4) else []    # which the target generates
        self.numbered = self.maybe(0.3)     # a column of the target alone that a sequence fills
        if self.check and "_EVID" not in self.words and self.maybe(0.5):
            self.words.append("_EVID")
        self.primary = self.mode == "keep_latest" and self.maybe(0.6)

    # ---- names and types

    def to(self, column):
        return self.renamed.get(column, column)

    def name_of(self, column):
        """The same, as SQL has it."""
        return f'"{self.to(column)}"'

    def source_type(self, column):
        if column in self.keys:
            return LOOSE[0] if self.keys[column] == "loose" else self.keys[column]
        if column == "p":
            return PART_TYPES[self.part_type][0]
        return ALONE[column] if column in ALONE else COLUMNS[column][0]

    def target_type(self, column):
        if column in self.keys:
            return LOOSE[1] if self.keys[column] == "loose" else self.keys[column]
        return PART_TYPES[self.part_type][1] if column == "p" else "int4" if column == "late" else COLUMNS[column][1]

    def key_columns(self):
        return [*self.keys] + ["p"] * self.part_in_key

    def written(self):
        """Source columns that go to the target."""
        late = ["late"] * (self.late and self.all_columns)
        return [c for c in [*self.keys, "p", *self.columns] if c not in self.skipped] + late

    def mapped(self):
        """What model.history holds of each column that is written."""
        plain = [{"src": c, "dst": self.to(c), "type": re.split("[ (]", self.target_type(c))[0]} for c in self.written()]
        words = [{"src": w, "dst": WORDS[w][1], "type": WORDS[w][0], "table": self.source} for w in self.words]
        lacking = [{"src": "lacking", "dst": "lacking", "type": "int4"}] * self.lacking
        return plain + words + lacking

    # ---- SQL

    def bounded(self):
        return self.template in ("attach", "of")

    def target_columns(self):
        lines = []
        for c in self.mapped():
            kind = c["type"] if c["src"] not in COLUMNS else COLUMNS[c["src"]][1]
            if c["src"] == "id" and self.identity_key:
                kind += " generated always as identity"
            if c["src"] in ("lacking", "late"):
                kind += " default 7"
            lines.append(f'"{c["dst"]}" {kind}')
        lines.append("note text default 'untouched'")
        if self.generated:
            key = self.name_of("id")
            lines.append(f"made text generated always as (({key} is null)::text || 'x') stored")
        if self.numbered:
            lines.append(f"number int8 not null default nextval('{self.world.schema}_to.numbers')")
        return lines

    def check_sql(self):
        if self.check and "c" in self.columns and "c" not in self.skipped:
            column = self.name_of("c")
            if self.check == "reference":
                return f"foreign key ({column}) references {self.world.schema}_to.numbered (n)"
            return f"check ({column} <> 13)"
        return None

    def primary_sql(self):
        return f"primary key ({', '.join(self.name_of(c) for c in self.key_columns())})" if self.primary else None

    def primary_in_parent(self):
        return self.primary and (self.template is None or self.bounded() and self.part_in_key)

    def part_template(self):
        if not self.template:
            return ""
        bounds = "for values from (_PART_START) to (_PART_END)"
        check = "" if "p" in self.skipped or self.part_type == "text" else "check (_PART_FIELD >= _PART_START and _PART_FIELD < _PART_END)"
        sql = {
            "attach": "create table _DEST_TABLE (like _PARENT including all excluding identity);",
            "of": f"create table _DEST_TABLE partition of _PARENT {bounds};",
            "inherits": f"create table _DEST_TABLE ({check}) inherits (_PARENT);",
        }[self.template]
        if self.primary and not self.primary_in_parent():
            sql += f" alter table only _DEST_TABLE add {self.primary_sql()};"
        if self.check_sql() and (self.check == "partition" or self.check == "reference" and self.template == "inherits"):
            sql += f" alter table only _DEST_TABLE add {self.check_sql()};"
        if self.template == "attach":
            sql += f" alter table _PARENT attach partition _DEST_TABLE {bounds};"
        return sql

    def create_target(self):
        lines = self.target_columns()
        if self.primary_in_parent():
            lines.append(self.primary_sql())
        if self.check_sql() and (self.check == "parent" or not self.template or self.check == "reference" and self.template != "inherits"):
            lines.append(self.check_sql())
        by = f" partition by range ({self.name_of('p')})" if self.bounded() else ""
        probe = f"alter table {self.probe} add {self.check_sql()};" if self.check_sql() else ""
        including = "including defaults including generated including identity"
        free = "".join(f"alter table {self.rows} alter {self.name_of(c)} drop not null;" for c in self.columns
                       if c == "r" and c not in self.skipped)
        return f"""
            create table {self.target} ({', '.join(lines)}){by};
            create table {self.probe} (like {self.target} {including});
            create table {self.rows} (part text, like {self.target} {including});
            {probe} {free}"""

    def describe(self):
        """Its row of model.history."""
        told = [c["dst"] for c in self.mapped()] + ["note"] + ["made"] * self.generated
        stays = self.template and not self.part_in_key and not self.backup
        values = {
            "name": self.name, "source": None if self.wild else self.source, "mode": self.mode, "target": self.target, "rows": self.rows,
            "probe": self.probe, "columns": json.dumps(self.mapped()), "all_columns": self.all_columns,
            "on_missing": self.on_missing, "ops": "{" + ",".join(self.ops) + "}" if self.ops else None,
            "truncates": self.skips_truncates, "part_field": "p" if self.template else None,
            "part_method": self.part_method, "utc": self.world.utc, "backup": self.backup, "current": not stays,
        }
        listed = [None if v is None else str(v) for v in values.values()]
        arrays = [[self.to(c) for c in self.key_columns()], told]
        arrays = [f"array[{', '.join(map(quoted, a))}]" for a in arrays]
        return (f"insert into model.history ({', '.join(values)}, keys, told) values"
                f" ({', '.join(map(quoted, listed))}, {', '.join(arrays)});")

    def create_source(self):
        columns = [f"{c} {self.source_type(c)}" for c in [*self.keys, "p", *self.columns, *self.beside]]
        function = "pgq.logutriga" if self.format == "urlencoded" else "pgq.jsontriga"
        args = f"'{self.world.queue}'" + ", 'backup'" * self.backup
        sequence = self.world.sequence
        return f"""
            create table {self.source} ({', '.join(columns)}, primary key ({', '.join(self.key_columns())}));
            create trigger a_queue after insert or update or delete on {self.source}
                for each row execute function {function}({args});
            create trigger b_truth after insert or update or delete on {self.source}
                for each row execute function model.note('{sequence}', '{self.name}');
            create trigger a_truncate after truncate on {self.source} execute function {function}('{self.world.queue}');
            create trigger b_truncate after truncate on {self.source} execute function model.truncated('{sequence}', '{self.name}');"""

    def create(self):
        return self.create_target() + self.describe() + ("" if self.wild else self.create_source())

    # ---- the config

    def fields(self):
        items = ["*"] if self.all_columns else [c + (f":{self.to(c)}" if c in self.renamed else "") for c in [*self.keys, "p", *self.columns]]
        items += [f"{w}:{WORDS[w][1]}" for w in self.words] + ["lacking"] * self.lacking
        return ", ".join(items)

    def section(self):
        values = {
            "dest_table": self.target if self.maybe(0.7) else f"{self.world.schema}_to.%(table)s", "fields": self.fields(),
            "on_missing": self.on_missing, "skip_fields": ", ".join(self.skipped),
            "part_field": "p" if self.template else "", "part_method": self.part_method, "part_template": self.part_template(),
        }
        if not self.template:
            del values["part_method"], values["part_template"]
        if self.ops:
            values["event_types"] = ", ".join(self.ops)
        if self.mode != "log":
            values["row_mode"] = self.mode
            values["on_truncate"] = "skip" if self.skips_truncates else "error"
            if self.mode == "keep_latest" and (self.wild and self.format == "json" or self.maybe(0.1)):
                values["row_key"] = ", ".join(self.key_columns())
        name = self.source if self.maybe(0.7) else self.source + "*"
        return f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items())

    # ---- operations

    def value(self, column):
        """A value of the source's column, NULL at times; a bad one as often as the history is poisoned."""
        pick = self.chance.choice
        if column in self.keys:
            bad = self.keys[column] == "loose" and self.maybe(self.poison)
            return pick(LOOSE[2] if bad else KEYS[self.keys[column]])
        if column == "p":
            bad = BAD_DAYS if self.part_type == "text" and not self.part_in_key else BAD_DAYS[:1]
            if not self.part_in_key and self.maybe(self.p_bad):
                return pick(bad)
            return pick(DAYS) + pick(PART_TYPES[self.part_type][2])
        if column == "v" and self.maybe(0.01):
            return pick("xyz") * pick([5000, 70000])
        good, bad = COLUMNS[column][2:] if column not in ALONE else (["1", "2"], [])
        if bad and self.maybe(self.poison):
            return pick(bad)
        return None if column != "r" and self.maybe(0.2) else pick(good)

    def row(self):
        return {c: self.value(c) for c in [*self.keys, "p", *self.columns, *self.beside] + ["late"] * self.added}

    def is_key(self, row):
        return " and ".join(f"{c} = {quoted(row[c])}::{self.source_type(c)}" for c in self.key_columns())

    def insert(self):
        row = self.row()
        values = ", ".join(f"{quoted(v)}::{self.source_type(c)}" for c, v in row.items())
        return f"insert into {self.source} ({', '.join(row)}) values ({values}) on conflict do nothing"

    def update(self):
        row = self.row()
        free = [c for c in ["p"] * (not self.part_in_key) + self.columns + ["late"] * self.added if self.maybe(0.5)] or self.columns[:1]
        values = ", ".join(f"{c} = {quoted(row[c])}::{self.source_type(c)}" for c in free)
        if self.keys["id"] == "numeric" and self.maybe(0.2):
            values += ", id = round(id, 2)"
        where = "true" if self.maybe(0.1) else self.is_key(row)
        return f"update {self.source} set {values} where {where}"

    def delete(self):
        where = "true" if self.maybe(0.1) else self.is_key(self.row())
        return f"delete from {self.source} where {where}"

    def anew(self):
        row = self.row()
        values = ", ".join(f"{quoted(v)}::{self.source_type(c)}" for c, v in row.items())
        return f"delete from {self.source} where {self.is_key(row)}; insert into {self.source} ({', '.join(row)}) values ({values})"

    def many(self):
        """Rows that a later statement of this kind moves."""
        poison, self.poison = self.poison, 0
        row = {c: quoted(v) + "::" + self.source_type(c) for c, v in self.row().items()}
        self.poison = poison
        row["id"] = "100 + i"
        after = self.chance.choice(PART_TYPES[self.part_type][2])
        days = ", ".join(quoted(day + after) for day in DAYS)
        row["p"] = f"(array[{days}])[1 + (i + {self.chance.randint(0, 5)}) % 6]::{self.source_type('p')}"
        free = ["p"] * (not self.part_in_key) + self.columns
        again = ", ".join(f"{c} = excluded.{c}" for c in free)
        return (f"insert into {self.source} ({', '.join(row)}) select {', '.join(row.values())} from generate_series(1, 300) i"
                f" on conflict ({', '.join(self.key_columns())}) do update set {again}")

    def wild_rows(self, op):
        """The event's row, and the one before it, which mostly is the newest one of the key."""
        new = self.row()
        key = tuple(new[c] for c in self.key_columns())
        old = self.newest.get(key, {}) if self.maybe(0.8) else {}
        if op == "D":
            self.newest.pop(key, None)
            return new | old, None
        for column in self.columns:
            if (self.all_columns or self.on_missing != "error") and column != "r" and self.maybe(0.1):
                del new[column]
        self.newest[key] = dict(new)
        if op != "U" or not self.backup:
            return new, None
        old = self.row() | old | {c: new[c] for c in self.key_columns()}
        if self.keys["id"] in ("numeric", "timestamptz"):
            old["id"] = EQUAL.get(old["id"], old["id"])
        return new, old

    def wild_event(self):
        op = self.chance.choice("IUUUD") if self.maybe(0.95) or self.mode == "log" else self.chance.choice(["X", "UPDATE", "i"])
        new, old = self.wild_rows(op)
        broken = None
        if op != "D" and self.maybe(self.poison):
            broken = self.chance.choice([c for c in self.columns if c in self.written() and new.get(c)] or [None])
        if self.mode != "log" and self.maybe(self.poison / 4):
            new[self.chance.choice(list(self.keys))] = None
        pkey = None if self.format == "json" else ",".join(self.key_columns())
        return (f"select model.event('{self.world.queue}', '{self.name}', '{op}', {hstore(new)}, {hstore(old)}, '{self.source}',"
                f" {quoted(pkey)}, {quoted(broken)})")

    def spoil(self):
        """All its rows, which may move; None where nothing can be."""
        if self.wild or "c" not in self.columns:
            return None
        moves = "" if self.part_in_key or self.maybe(0.4) else f", p = {quoted(self.chance.choice(DAYS))}"
        return f"update {self.source} set c = 13{moves} where true"

    def mend(self):
        """The target takes what it has refused."""
        if "r" not in self.columns or "r" in self.skipped:
            return ""
        return "".join(f"alter table {t} alter {self.name_of('r')} drop not null;" for t in (self.target, self.probe))

    def lose(self):
        """The target loses rows, behind the program's back."""
        key = self.name_of("id")
        gone = f"{key} = {quoted(self.chance.choice(KEYS[self.keys['id']]))}::{self.target_type('id')}"
        return (f"delete from {self.target} where {gone}; delete from {self.rows} where {gone};"
                f" update model.history set current = false where name = '{self.name}'")

    def operation(self):
        if self.wild:
            return self.wild_event()
        if self.late and not self.added and self.maybe(0.1):
            self.added = True
            return f"alter table {self.source} add late int4"
        if self.truncates and self.maybe(0.03):
            return f"truncate {self.source}"
        if self.keys["id"] in ("int8", "numeric") and self.maybe(0.01):
            return self.many()
        return self.chance.choice([self.insert, self.insert, self.update, self.update, self.update, self.delete, self.anew])()
