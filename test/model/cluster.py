"""Two throw-away PostgreSQL servers, source and target, with their sockets in one folder.

A second socket of each, in folder/proxy, leads through proxy.py, which cuts connections.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import psycopg2

PGBIN = os.environ.get("PGBIN", "")
PORTS = {"source": 5501, "target": 5502}

SETTINGS = """
port = {port}
listen_addresses = ''
unix_socket_directories = '{folder}'
fsync = off
full_page_writes = off
max_connections = 80
shared_buffers = 64MB
max_locks_per_transaction = 256
wal_writer_delay = 10s
log_min_messages = fatal
timezone = 'UTC'
"""


def as_owner(*command):
    """Runs a command as the servers' owner: postgres when we are root, who may own none."""
    if os.getuid() == 0:
        command = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/")
    return done.returncode == 0


class Server:
    """One server. sql() starts it when it is down, and tries again when the connection is lost."""

    def __init__(self, folder, name):
        self.folder, self.name, self.port = folder, name, PORTS[name]
        self.data = folder / name

    def pg_ctl(self, *args):
        log = self.folder / f"{self.name}.log"
        return as_owner(f"{PGBIN}/pg_ctl", "-D", str(self.data), "-l", str(log), "-w", "-t", "60", *args)

    def configure(self):
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(SETTINGS.format(port=self.port, folder=self.folder))

    def is_up(self):
        ready = [f"{PGBIN}/pg_isready", "-q", "-h", str(self.folder), "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def start(self):
        if not self.is_up():
            self.pg_ctl("start")

    def restart(self, mode):
        self.pg_ctl("restart", "-m", mode)
        self.start()

    def stop(self):
        self.pg_ctl("stop", "-m", "immediate")

    def conninfo(self, database, proxied=False):
        host = self.folder / "proxy" if proxied else self.folder
        return f"host={host} port={self.port} user=postgres dbname={database}"

    def connect(self, database):
        for attempt in range(20):
            try:
                return psycopg2.connect(self.conninfo(database), connect_timeout=5)
            except psycopg2.OperationalError:
                if attempt == 19:
                    raise
                time.sleep(0.2)
                self.start()

    def sql(self, database, text, args=None):
        """The rows of the last statement. Each statement alone where `text` is one."""
        for attempt in range(5):
            try:
                connection = self.connect(database)
                connection.autocommit = True
                try:
                    cursor = connection.cursor()
                    cursor.execute(text, args)
                    return cursor.fetchall() if cursor.description else []
                finally:
                    connection.close()
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                if attempt == 4:
                    raise
                time.sleep(0.2)

    def value(self, database, text, args=None):
        return self.sql(database, text, args)[0][0]

    def drop(self, database):
        self.sql("postgres", f'drop database if exists "{database}" with (force)')

    def copy(self, database, new):
        """A database as another one is now, whose sessions end."""
        self.sql("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (database,))
        for _ in range(50):
            if not self.value("postgres", "select count(*) from pg_stat_activity where datname = %s", (database,)):
                break
            time.sleep(0.02)
        self.sql("postgres", f'create database "{new}" template "{database}"')

    def rename(self, database, new):
        self.sql("postgres", f'alter database "{database}" rename to "{new}"')


class Cluster:
    """Both servers and their proxies."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.source, self.target = Server(self.folder, "source"), Server(self.folder, "target")
        self.proxies = []

    def start(self, seed):
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.folder.chmod(0o755)
        if not as_owner(f"{PGBIN}/initdb", "-D", str(self.source.data), "-A", "trust", "-U", "postgres", "-E", "UTF8",
                        "--locale=C.UTF-8", "--no-sync"):
            sys.exit("initdb failed")
        as_owner("cp", "-a", str(self.source.data), str(self.target.data))
        for server in (self.source, self.target):
            server.configure()
            server.start()
        self.source.sql("template1", "create extension pgq")
        self.start_proxies(seed)

    def start_proxies(self, seed):
        (self.folder / "proxy").mkdir()
        script = pathlib.Path(__file__).with_name("proxy.py")
        for server in (self.source, self.target):
            name = f".s.PGSQL.{server.port}"
            command = [sys.executable, str(script), str(self.folder / "proxy" / name), str(self.folder / name),
                       str(self.folder / "proxy" / "cuts"), str(seed)]
            self.proxies.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))

    def cuts(self):
        """How many connections the proxies have cut."""
        return (self.folder / "proxy" / "cuts").stat().st_size

    def stop(self):
        for proxy in self.proxies:
            proxy.kill()
            proxy.wait()
        for server in (self.source, self.target):
            server.stop()
