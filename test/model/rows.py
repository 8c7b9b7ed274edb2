"""Rows as texts, the events that bring them, and the partition that is theirs.

A row is a dict from column to text, None for NULL. Its kind is what must become of it: "good" a row
of the target, "bad" a dead letter, "maybe" one or the other.
"""

import datetime
import zoneinfo

COLUMNS = ["id", "day", "at", "n", "v", "t", "u", "b"]
TYPES = {"id": "int8", "day": "date", "at": "timestamptz", "n": "int4", "v": "varchar(12)", "w": "text", "t": "text",
         "u": "uuid", "b": "bool"}
PIECES = ["a", "B", " ", "\t", "\n", "\r", "\\", "\\N", "\\.", "%", "&", "=", "+", "ü", "漢", "\x01", "\x7f", '"', "'", "%41",
          "\v", "\f", "\b", "xyz" * 5]
OFFSETS = ["+00", "+02", "-03:30", "+05:30", "+14", "-11"]
BAD_ESCAPES = ["%zz", "%00", "%ff", "%", "%4", "%c3"]


def is_extra(column):
    return column[0] == "x"


def days(chance):
    """The days of a round: a few, around the ends of weeks, months and years."""
    ends = ["2026-03-29", "2026-10-25", "2026-01-30", "2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01", "2026-12-31", "2027-01-01"]
    return chance.sample(ends, chance.randint(2, len(ends)))


def a_day(chance):
    return str(datetime.date(2026, 1, 1) + datetime.timedelta(chance.randint(0, 364)))


def text(chance):
    if chance.random() < 0.15:
        return chance.choice([None, ""])
    return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 14)))


def number(chance):
    if chance.random() < 0.7:
        return str(chance.randint(-(2**31), 2**31 - 1))
    return chance.choice(["0", "-0", "007", " 5", "+5", "5 ", "-2147483648", "2147483647", "0" * 25 + "12", None])


def uuid(chance):
    digits = "%032x" % chance.getrandbits(128)
    plain = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return chance.choice([plain, plain, plain, plain.upper(), "{" + plain + "}", digits, None])


def moment(chance, day):
    clock = "%02d:%02d:%02d" % (chance.randint(0, 23), chance.randint(0, 59), chance.randint(0, 59))
    fraction = chance.choice(["", "", ".5", ".123456", ".000001", ".999999"])
    return f"{day} {clock}{fraction}{chance.choice(OFFSETS)}"


def good(chance, id, of_days):
    day = chance.choice(of_days)
    return {
        "id": str(id), "day": chance.choice([day, day, day + " 00:00:00"]), "at": moment(chance, day), "n": number(chance),
        "v": chance.choice(["", "abc", " x ", "abcdefghijkl", "漢字", None]), "t": text(chance), "u": uuid(chance),
        "b": chance.choice(["t", "f", "true", "no", "1", "on", None]),
    }


def spoil(chance, row, part_field):
    """Makes something in it wrong; returns its kind. `maybe` where it depends on the config."""
    what = chance.choice(["n", "n", "u", "v", "range", "part"])
    if what == "n":
        row["n"] = "abc"
        return "bad"
    if what == "range":
        row["n"] = "99999999999"
    elif what == "v":
        row["v"] = "far too long for it"
    elif what == "u":
        row["u"] = "zz"
        return "bad"
    elif what == "part":
        row[part_field or "day"] = chance.choice(["2026-02-30", None, "soon", "0000-01-01", ""])
    return "maybe"


def encode(value):
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
    return "".join("+" if c == 32 else chr(c) if c in plain else "%%%02x" % c for c in value.encode())


def event(row, bad_escape=None):
    """As pgq.logutriga writes a row."""
    fields = [name if value is None else f"{name}={encode(value)}" for name, value in row.items()]
    if bad_escape:
        fields = [f"t=x{bad_escape}" if field.split("=")[0] == "t" else field for field in fields]
    return "&".join(fields)


def seconds_of(zone):
    sign = -1 if zone[0] == "-" else 1
    hours, _, minutes = zone[1:].partition(":")
    return sign * (int(hours) * 3600 + int(minutes or 0) * 60)


def east_of(zone, at):
    """How far the zone is ahead of UTC, at a moment of that."""
    if "/" not in zone:
        return datetime.timedelta(seconds=0 if zone == "UTC" else seconds_of(zone))
    return at.replace(tzinfo=datetime.timezone.utc).astimezone(zoneinfo.ZoneInfo(zone)).utcoffset()


def partition(row, conf):
    """The name of its partition by a config; None when its value picks none."""
    if not conf["part_field"]:
        return conf["dest_table"]
    value = row[conf["part_field"]]
    try:
        at = datetime.datetime.fromisoformat(value[:19])
    except (TypeError, ValueError):
        return None
    zone = conf["part_timezone"]
    if conf["part_field"] == "at" and zone != "text":
        offset = max(value.rfind("+"), value.rfind("-"))
        at -= datetime.timedelta(seconds=seconds_of(value[offset:]))
        at += east_of(zone, at)
    year, week, _ = at.isocalendar()
    suffix = {"hourly": at.strftime("%Y_%m_%d_%H"), "daily": at.strftime("%Y_%m_%d"), "monthly": at.strftime("%Y_%m"),
              "weekly": f"{year:04d}_w{week:02d}", "yearly": at.strftime("%Y")}[conf["part_method"]]
    return f"{conf['dest_table']}_{suffix}"
