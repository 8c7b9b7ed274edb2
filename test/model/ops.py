"""What happens in a round: one method each, and how often. It returns False when there is nothing to do."""

import signal
import time

import psycopg2

import rest
import rows
from copying import Copying
from world import PARENTS, WITHOUT


class Ops:
    WEIGHTS = {
        "insert": 10, "new_day": 1, "tick": 8, "small_ticks": 3, "once": 6, "once_cut": 6, "run_and_kill": 6, "daemon": 3, "daemon_cut": 2,
        "kill": 5, "freeze": 1.5, "reload": 1, "restart_source": 0.6, "restart_target": 0.6, "cut_backend": 3, "fault": 3, "no_fault": 2,
        "rewind": 1, "replay": 1, "look": 1, "unregister": 0.5, "rotate": 2, "drop_partition": 1.5, "detach": 1,
        "rename_partition": 1, "add_column": 1, "drop_column": 0.4, "widen": 0.6, "reconfigure": 2, "half": 3, "make_backup": 1, "set_back": 1, "fall_behind": 1, "anew": 0.4,
        "copy": 4, "copy_cut": 2, "copy_and_kill": 5, "rewrite": 0.4, "look_at_copy": 0.5,
    }

    def __init__(self, world, runs):
        """A round has more of some operations and less of others than the next one."""
        self.world, self.runs, self.chance = world, runs, world.chance
        self.weights = {name: 0 if name in WITHOUT else weight * self.chance.choice([0.3, 1, 1, 3])
                        for name, weight in self.WEIGHTS.items()}

    def one(self):
        """One operation. A server that is just being restarted may refuse it."""
        name = self.chance.choices(list(self.weights), list(self.weights.values()))[0]
        self.world.note(name)
        try:
            if getattr(self, name)() is not False:
                self.world.count("op " + name)
        except (psycopg2.Error, ConnectionError) as error:
            self.world.note(name, "failed:", str(error).splitlines()[0])
        self.runs.reap()

    # ---- the source's life

    def insert(self):
        n = self.chance.choices([self.chance.randint(1, 30), self.chance.randint(30, 400), 6000], [70, 27, 3])[0]
        connection = self.world.source.connect(self.world.src)
        try:
            self.world.put(connection.cursor(), n)
            if self.chance.random() < 0.1:
                self.world.tick()               # the transaction is one of several ticks
            if self.chance.random() < 0.05:
                connection.rollback()
            else:
                connection.commit()
        finally:
            connection.close()

    def tick(self):
        self.world.tick()

    def new_day(self):
        """Rows of a day that had none, in a batch of its own and in later ones."""
        self.world.days.append(rows.a_day(self.chance))
        self.insert()

    def small_ticks(self, n=None):
        connection = self.world.source.connect(self.world.src)
        try:
            cursor = connection.cursor()
            for _ in range(n or self.chance.randint(2, 12)):
                if self.chance.random() < 0.7:
                    self.world.put(cursor, self.chance.randint(1, 5))
                connection.commit()
                cursor.execute("select pgq.force_tick('q')")
                connection.commit()
                cursor.execute("select pgq.ticker('q')")
                connection.commit()
        finally:
            connection.close()

    def rotate(self):
        if self.world.loss == "target" or not self.world.registered():
            return False                        # --rewind is to find the tick
        for step in ("maint_rotate_tables_step1('q')", "maint_rotate_tables_step2()"):
            self.world.src_sql(f"select pgq.{step}")

    # ---- the program

    def once(self):
        if self.runs.full():
            return False
        args = ["--verify"] if self.chance.random() < 0.1 else []
        self.runs.start("--once", *args).wait(self.chance.choice([0.01, 0.1, 1, 10]))

    def once_cut(self):
        if self.runs.full():
            return False
        self.runs.start("--once", proxied=True).wait(self.chance.choice([0.1, 1, 10]))

    def run_and_kill(self):
        if self.runs.full():
            return False
        run = self.runs.start("--once")
        run.wait(2 ** self.chance.uniform(-7, 0.5))
        run.end()

    def daemon(self, **how):
        if self.runs.full():
            return False
        self.runs.start(**how)

    def daemon_cut(self):
        return self.daemon(proxied=True)

    def kill(self):
        if not self.runs.live:
            return False
        time.sleep(self.chance.choice([0, 0.02, 0.2]))
        run = self.chance.choice(self.runs.live)
        run.send(self.chance.choice([signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT]))
        run.wait(self.chance.choice([0.05, 2]))

    def freeze(self):
        """It stands still while the others go on, and then knows nothing of that."""
        if not self.runs.live:
            return False
        run = self.chance.choice(self.runs.live)
        run.send(signal.SIGCONT if run.frozen else signal.SIGSTOP)
        run.frozen = not run.frozen

    def reload(self):
        daemons = [run for run in self.runs.live if not {"--once", "--from"} & set(run.args)]
        for run in daemons:
            run.send(signal.SIGHUP)
        return bool(daemons)

    def rewind(self):
        self.runs.finish("--rewind")

    def replay(self):
        self.runs.finish("--replay")

    def look(self):
        self.runs.finish(self.chance.choice(["--status", "--check", "--dry-run", "--show-partitions"]))

    def unregister(self):
        """Somebody does, and somebody sees it: the target knows the position, and means this queue."""
        if not self.world.position() or self.world.other_source:
            return False
        self.world.unregistered = True
        self.runs.finish("--unregister")
        if self.chance.random() < 0.5:
            self.runs.finish("--rewind")

    # ---- a table that is copied

    def copying(self):
        """The table at hand, or a new one. A process of the one before may still run."""
        if not self.world.copying and not self.runs.full():
            self.world.copying = Copying(self.world, self.runs)
        return self.world.copying

    def copy(self, proxied=False):
        if not self.copying() or self.runs.full():
            return False
        self.world.copying.copy(proxied).wait(self.chance.choice([0.1, 1, 10]))

    def copy_cut(self):
        return self.copy(proxied=True)

    def copy_and_kill(self):
        if not self.copying() or self.runs.full():
            return False
        for _ in range(self.chance.randint(1, 3)):
            run = self.world.copying.copy()
            run.wait(2 ** self.chance.uniform(-6, 0.5))
            run.end()

    def look_at_copy(self):
        return bool(self.world.copying) and self.world.copying.run(
            self.chance.choice(["--status", "--check", "--dry-run", "--show-partitions"])).wait(100)

    def rewrite(self):
        return bool(self.world.copying) and self.world.copying.rewrite()

    # ---- what servers and networks do

    def restart_source(self):
        self.restart(self.world.source)

    def restart_target(self):
        self.restart(self.world.target)

    def restart(self, server):
        mode = self.chance.choice(["immediate", "immediate", "fast"])
        server.restart(mode)
        if mode == "immediate" and self.world.loss == "source" and server is self.world.source:
            self.world.is_set_back()
        if mode == "immediate" and self.world.loss == "target" and server is self.world.target:
            self.world.target_loses = True
        self.world.count(f"restart -m {mode}")

    def cut_backend(self):
        server, name = self.chance.choice([(self.world.source, self.world.src), (self.world.target, self.world.dst)])
        return bool(server.sql("postgres", """select pg_terminate_backend(pid) from pg_stat_activity
            where application_name = 'tdispatch' and datname = %s order by random() limit 1""", (name,)))

    def fault(self):
        lane, how = self.chance.choice(["first", "first", "other", "any"]), self.chance.choice(["fail", "fail", "slow"])
        self.world.dst_sql("delete from fault; insert into fault values (%s, %s, %s)", (lane, self.chance.choice([0.5, 1]), how))
        self.world.note("fault", lane, how)

    def no_fault(self):
        self.world.dst_sql("delete from fault")

    def half(self):
        """Lane 0 does not commit what the others have; and then something else happens."""
        world = self.world
        if self.runs.full():
            return False
        world.dst_sql("delete from fault; insert into fault values ('first', 1, 'fail')")
        self.chance.choice([self.insert, self.new_day])()
        world.tick()
        self.runs.start("--once").wait(5)
        world.dst_sql("delete from fault")
        if world.is_half():
            world.count("half committed batches")
        then = self.chance.choice([self.reconfigure] * 3 + [self.restart_source, self.restart_target, self.set_back,
                                   self.rewind, self.tick])
        world.note("half, and then", then.__name__)
        if then.__name__ not in WITHOUT:
            then()

    # ---- the target's tables

    def a_partition(self):
        found = self.world.dst_sql("""select relname, inhparent::regclass::text from pg_inherits
            join pg_class on pg_class.oid = inhrelid where relname like 'orders%' order by 1""")
        return self.chance.choice(found) if found else (None, None)

    def drop_partition(self):
        name, _ = self.a_partition()
        if not name:
            return False
        self.world.dst_sql(f"""set lock_timeout = '2s'; lock table "{name}";
            insert into archived select '{name}', id, jsonb_strip_nulls(to_jsonb(o)) from "{name}" o; drop table "{name}" """)

    def leave(self, name, parent):
        inherits = self.world.kind == "inherits"
        return f'alter table "{name}" no inherit {parent};' if inherits else f'alter table {parent} detach partition "{name}";'

    def detach(self):
        name, parent = self.a_partition()
        if not name:
            return False
        self.world.dst_sql(f"set lock_timeout = '2s'; {self.leave(name, parent)}")

    def rename_partition(self):
        name, parent = self.a_partition()
        if not name:
            return False
        stays = self.world.kind == "inherits" and self.chance.random() < 0.5
        self.world.move(name, "" if stays else self.leave(name, parent))

    def add_column(self):
        """On the source first: what comes before the target has it must wait."""
        if self.world.extra >= 3:
            return False
        number = self.world.extra + 1
        self.world.src_sql(f"set lock_timeout = '2s'; alter table feed add column x{number} text")
        self.world.extra = number
        self.world.extra_ever = max(self.world.extra_ever, number)
        if self.chance.random() < 0.6:
            rest.add_columns(self.world)

    def drop_column(self):
        """The last one of the source's, which may come again; the target keeps it."""
        if not self.world.extra:
            return False
        self.world.src_sql(f"set lock_timeout = '2s'; alter table feed drop column x{self.world.extra}")
        self.world.extra -= 1

    def widen(self):
        column, kind = self.chance.choice([("n", "int8"), ("v", "text"), ("v", "varchar(40)")])
        for parent in PARENTS:
            self.world.dst_sql(f"set lock_timeout = '2s'; alter table {parent} alter column {column} type {kind}")

    # ---- what an operator does between two runs

    def reconfigure(self):
        """Some keys change while nothing runs, whatever state the last run has left."""
        self.runs.end_all()
        change = {"lanes": self.chance.choice([1, 2, 3, 5])}
        if self.world.kind == "inherits":       # nothing excludes one period from another
            change["part_method"] = self.chance.choice(["daily", "monthly", "weekly", "hourly", "yearly"])
            change["dest_table"] = self.chance.choice(PARENTS)
            change["part_timezone"] = self.chance.choice(["text", "UTC", "+05:30", "-03:00"])
        change["fields"] = self.chance.choice(["star", "list", "less", "renamed"])
        keys = self.chance.sample(list(change), self.chance.randint(1, 2))
        self.world.change_config(**{key: change[key] for key in keys})

    def make_backup(self):
        """The source as it is now, in whatever state its consumer is."""
        self.runs.end_all()
        self.world.source.drop(self.world.backup_name)
        self.world.source.copy(self.world.src, self.world.backup_name)
        self.world.backup = True

    def go_on(self):
        """A source that was set back goes on, mostly until its ticks have the target's numbers."""
        newest = self.world.src_sql("select max(tick_id)::int from pgq.tick")[0][0]
        if self.chance.random() < 0.8:
            self.small_ticks(max(0, self.world.position() - newest) + self.chance.randint(0, 5))

    def fall_behind(self):
        """What comes after a backup is loaded, and then the source is set back to it."""
        self.make_backup()
        self.small_ticks()
        self.runs.start("--once").wait(10)
        self.set_back()

    def set_back(self):
        """The source is restored, and goes on: its ticks have other events."""
        world = self.world
        if not world.backup:
            return False
        self.runs.end_all()
        self.runs.sessions_are_gone()
        world.source.drop(world.src)
        world.source.rename(world.backup_name, world.src)
        world.lossy()
        world.backup = False
        world.copying = None
        world.is_set_back()
        world.extra = world.source.value(world.src, """select count(*)::int from pg_attribute
            where attrelid = 'feed'::regclass and attname ~ '^x[0-9]+$' and not attisdropped""")
        self.go_on()

    def anew(self):
        """The queue is dropped and made again, when all of it is loaded."""
        world = self.world
        rest.check(world, self.runs)
        self.runs.finish("--unregister")
        world.src_sql("select pgq.drop_queue('q')")
        world.src_sql("select pgq.create_queue('q')")
        world.src_sql("select pgq.register_consumer('q', 'job')")
        world.make_durable()
        world.is_set_back()
        world.backup = False
        self.go_on()
