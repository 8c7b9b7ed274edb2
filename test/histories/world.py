"""A world: some histories under one config, in one database, which is source and target.

The events of all go through one queue. After each run of the program the model judges all tables.
"""

import os
import random
import re
import signal
import subprocess
import time

import psycopg2

from history import ZONES, History

PROGRAM = os.environ.get("TDISPATCH", "./tdispatch")
SANITIZED = os.environ.get("SANITIZED") or PROGRAM
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
MODES = os.environ.get("MODES", "keep_latest keep_latest keep_latest keep_all log").split()
WITHOUT = os.environ.get("WITHOUT", "").split()
MOST_SECONDS = 60               # for one run


class Wrong(Exception):
    """What must not be."""


class World:
    def __init__(self, database, seed, folder):
        self.seed, self.database, self.folder = seed, database, folder
        self.chance = random.Random(seed)
        self.schema, self.queue, self.consumer = f"s{seed}", f"q{seed}", f"c{seed}"
        self.conn = psycopg2.connect(dbname=database)
        self.conn.autocommit = True
        self.counts = {}
        self.runs, self.without = 0, WITHOUT
        self.letters = set()        # all that are there
        self.invent()

    def count(self, what, n=1):
        self.counts[what] = self.counts.get(what, 0) + n

    def note(self, text):
        with open(self.folder / "journal", "a", encoding="utf-8") as file:
            file.write(text + "\n")

    def sql(self, text, args=None):
        cursor = self.conn.cursor()
        cursor.execute(text, args)
        return cursor.fetchall() if cursor.description else []

    def maybe(self, probability, what=None):
        """what: may be left out."""
        return self.chance.random() < probability and what not in WITHOUT

    # ---- making it

    def invent(self):
        pick = self.chance.choice
        self.lanes = pick([1, 2, 2, 3])
        self.utc = self.maybe(0.5)
        self.on_error = pick(["dead_letter", "dead_letter", "skip"])
        self.modes = MODES if self.maybe(0.5) else MODES[:1]
        self.program = SANITIZED if self.maybe(0.15) else PROGRAM
        self.shuffles = self.maybe(0.6)
        self.histories = [History(self, f"h{n:02}") for n in range(self.chance.randint(4, 12))]

    def config(self):
        values = {
            "src_db": f"dbname={self.database}", "dst_db": f"dbname={self.database}", "queue_name": self.queue,
            "consumer_name": self.consumer, "part_timezone": "UTC" if self.utc else "text", "lanes": self.lanes,
            "on_error": self.on_error, "max_errors": 100000, "batch_min_events": self.chance.choice([0, 200000]),
            "event_order": self.chance.choice(["none", "none", "id"]), "retry_limit": 20, "exception_sleep": 0.2,
        }
        lines = "".join(f"{k} = {v}\n" for k, v in values.items())
        return "[tdispatch]\n" + lines + "".join(h.section() for h in self.histories)

    def create(self):
        (self.folder / "job.ini").write_text(self.config(), encoding="utf-8")
        self.run("--install")
        self.sequence = self.sql("select queue_event_seq from pgq.queue where queue_name = %s", (self.queue,))[0][0]
        self.sql(f"""
            truncate model.history, model.truth;
            create schema {self.schema}; create schema {self.schema}_to; create schema {self.schema}_model;
            create sequence {self.schema}_to.numbers;
            create table {self.schema}_to.numbered (n int4 primary key);
            insert into {self.schema}_to.numbered select * from generate_series(0, 12);
            drop trigger if exists hold on pgq_ext.completed_tick;
            create constraint trigger hold after insert or update on pgq_ext.completed_tick
                deferrable initially deferred for each row execute function model.hold();""")
        for history in self.histories:
            self.execute(history.create())

    def drop(self):
        self.sql(f"""
            set client_min_messages = warning;
            drop schema {self.schema}_to, {self.schema}_model, {self.schema} cascade;
            select pgq.unregister_consumer('{self.queue}', '{self.consumer}');
            select pgq.drop_queue('{self.queue}');
            delete from pgq_ext.completed_tick where consumer_id = '{self.consumer}';""")
        if self.on_error != "skip":
            self.sql("delete from tdispatch.dead_letter where consumer = %s", (self.consumer,))
        self.conn.close()

    # ---- the source

    def execute(self, text):
        self.note(text + ";")
        self.sql(text)

    def transaction(self):
        """Of several tables; a part of it may be rolled back."""
        zone = self.chance.choice(ZONES) if self.utc else "UTC"
        statements = []
        some = self.chance.sample(self.histories, self.chance.randint(1, len(self.histories)))
        for _ in range(self.chance.randint(1, 5) * len(some)):
            operation = self.chance.choice(some).operation()
            if self.maybe(0.05) and "alter table" not in operation:
                operation = f"savepoint s; {operation}; rollback to s"
            statements.append(operation)
        self.execute(f"begin; set local timezone = '{zone}';\n" + ";\n".join(statements) + "; commit")

    def tick(self):
        if self.shuffles:
            self.sql(f"select setseed({self.chance.random()}); select model.shuffle('{self.queue}')")
        self.sql(f"select pgq.force_tick('{self.queue}'); select pgq.ticker('{self.queue}')")

    def produce(self, ticks):
        for _ in range(ticks):
            for _ in range(self.chance.randint(1, 3)):
                self.transaction()
            self.tick()

    # ---- the program

    def command(self, *args):
        return [self.program, *args, str(self.folder / "job.ini")]

    def output(self):
        return self.folder / f"run.{self.runs}"

    def start(self, *args):
        self.runs += 1
        self.note(f"-- {self.output().name}: {' '.join(args)}")
        with open(self.output(), "w", encoding="utf-8") as file:
            return subprocess.Popen(self.command(*args), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=ENVIRONMENT)

    def finish(self, process, *args, code=0):
        """It ends by itself, with this code."""
        try:
            ended = process.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            ended = f"no end in {MOST_SECONDS} s"
        text = self.output().read_text(encoding="utf-8", errors="replace")
        if ended != code or re.search("Sanitizer|runtime error", text):
            errors = [line for line in text.splitlines() if re.search("ERROR|tdispatch:|Sanitizer|runtime error", line)]
            raise Wrong(f"{' '.join(args)} ended with {ended}, not {code}: {(errors or [text])[-1][:500]}")
        return text

    def run(self, *args):
        return self.finish(self.start(*args), *args)

    def kill_some(self):
        """Runs that end in the middle, wherever that is."""
        for _ in range(self.chance.randint(1, 3)):
            process = self.start("--once")
            time.sleep(self.chance.random() * self.chance.choice([0.03, 0.1]))
            process.send_signal(signal.SIGKILL)
            if process.wait() == -signal.SIGKILL:
                self.count("kills")

    def commit_half(self):
        """All lanes but the last one that commits have a batch: the run ends there."""
        self.sql("insert into model.held values (true)")
        process = self.start("--once", "--set", f"lanes={self.chance.choice([2, 3])}")
        held = "select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
        while process.poll() is None and not self.sql(held):
            time.sleep(0.005)
        process.kill()
        process.wait()
        ended = self.sql(held.replace("pid", "pg_terminate_backend(pid)", 1))
        self.sql("delete from model.held")
        self.count("batches that one lane lacked", len(ended))

    def load(self):
        """All that is pending; returns the events that were left out, and only now."""
        if self.on_error != "skip" and self.maybe(0.3, "kill"):
            self.kill_some()
        if self.on_error != "skip" and self.maybe(0.3, "half"):
            self.commit_half()
        args = ["--once"] + ["--verify"] * self.maybe(0.15, "verify")
        if self.maybe(0.2):
            args += ["--set", f"lanes={self.chance.choice([1, 2, 4])}"]
        text = self.run(*args)
        if self.on_error == "skip":
            rows = re.findall(r"WARNING \S+ event (\d+) of batch \d+ skipped(.*)", text)
        else:
            rows = self.sql("select ev_id, message from tdispatch.dead_letter where consumer = %s", (self.consumer,))
        new = {int(id): message for id, message in rows if int(id) not in self.letters}
        for id, message in new.items():
            self.note(f"-- left out: {id} {message}")
        self.letters.update(new)
        return set(new)

    def judge(self, letters, when):
        self.expect_none(self.sql("select * from model.judge(%s::bigint[])", (list(letters),)), when)

    @staticmethod
    def expect_none(faults, when):
        if faults:
            raise Wrong(f"{when}: " + "; ".join(row[0] for row in faults[:4]))

    # ---- what is done

    def step(self):
        ticks = self.chance.choice([1, 1, 1, 2, 3])
        position = self.sql("select last_tick from pgq.get_consumer_info(%s, %s)", (self.queue, self.consumer))[0][0]
        self.produce(ticks)
        letters = self.load()
        self.count("runs")
        self.count("letters", len(letters))
        self.judge(letters, "after a batch")
        if self.modes == ["keep_latest"] and self.maybe(0.4, "twice") and (ticks == 1 or not letters):
            self.twice(position, letters)

    def twice(self, position, letters):
        self.note(f"-- twice: from tick {position}")
        self.sql("select pgq.register_consumer_at(%s, %s, %s)", (self.queue, self.consumer, position))
        self.sql("delete from pgq_ext.completed_tick where consumer_id = %s", (self.consumer,))
        if self.on_error != "skip":
            self.sql("delete from tdispatch.dead_letter where consumer = %s and ev_id = any(%s)", (self.consumer, list(letters)))
        self.letters -= letters
        self.judge(self.load(), "after the same batch again")
        self.count("batches that came twice")

    def meddle(self):
        """What only the target has returns to its default with the next version of a row. A row that is
        not there does not matter."""
        for history in self.histories:
            if self.maybe(0.3):
                self.execute(f"update {history.target} set note = 'touched'; update {history.rows} set note = 'touched'")
            if self.maybe(0.1):
                self.execute(history.lose())

    def mend(self):
        """The target accepts what its constraints refused."""
        self.execute(f"""
            insert into {self.schema}_to.numbered values (13);
            do $$ declare c record; begin
                for c in select conrelid::regclass t, conname from pg_constraint where contype = 'c' and conislocal
                    and connamespace::regnamespace::text like '{self.schema}\\_%' and pg_get_constraintdef(oid) like '%<> 13%' loop
                    execute format('alter table %s drop constraint if exists %I', c.t, c.conname);
                end loop;
            end $$;""" + "".join(h.mend() for h in self.histories))

    def spoil(self):
        """What --replay may write: nothing newer comes."""
        for statement in filter(None, [h.spoil() for h in self.histories]):
            self.execute(statement)
        self.tick()
        self.judge(self.load(), "after a batch that is spoiled")

    def replay(self):
        self.mend()
        process = self.start("--replay")
        process.wait(MOST_SECONDS)
        stayed = {row[0] for row in self.sql("select ev_id from tdispatch.dead_letter where consumer = %s", (self.consumer,))}
        self.finish(process, "--replay", code=1 if stayed else 0)
        went = self.letters - stayed
        self.note(f"-- replayed: {sorted(went)}, not {sorted(stayed)}")
        self.expect_none(self.sql("select * from model.replay(%s::bigint[], %s::bigint[])", (list(went), list(stayed))), "after --replay")
        self.count("letters replayed", len(went))
        self.count("letters that stayed", len(stayed))

    def play(self):
        self.create()
        if "check" not in WITHOUT and not any("p" in h.skipped for h in self.histories):
            self.run("--check")
        for _ in range(self.chance.randint(3, 6)):
            self.step()
            self.meddle()
        if self.on_error != "skip" and self.maybe(0.7, "replay"):
            if self.maybe(0.6):
                self.spoil()
            self.replay()
        for what, n in self.sql("select * from model.counts()"):
            self.count(what, n)
        self.count("histories", len(self.histories))
        self.drop()
