/*
 * tdispatch: moves row events from a PgQ queue into partitioned tables, exactly once.
 *
 * One header for all: the limits, the structs, and each file's public face under its name, from
 * the lowest level to the highest. A file calls only files of a lower level (make check-layers).
 *
 * What can fail takes a struct err last and returns a negative ERR_ code; the first error stays.
 * Bytes that came from an event or a config are spans: they have a length and may hold anything.
 */
#ifndef TDISPATCH_H
#define TDISPATCH_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TDISPATCH_VERSION "0.1.0"

/* Limits. Reaching one is an error that says where, or a flush; never a silent cut. */
#define NAME_BYTES_MAX 63               /* an identifier of the server, NAMEDATALEN - 1 */
#define COLUMNS_MAX 1600                /* columns of one row: the server's own limit */
#define LANES_MAX 16                    /* destination connections that load one batch */
#define SHAPES_MAX 64                   /* column lists remembered at a time with fields = * */
#define STREAMS_MAX 4096                /* partitions remembered at a time */
#define BLOCK_BYTES (16 * 1024)         /* one block of waiting rows */
#define POOL_BYTES (8 * 1024 * 1024)    /* all blocks of waiting rows together */
#define SWITCH_BYTES (128 * 1024)       /* rows that must wait for a partition before COPY moves to it */
#define DDL_LOCK_TIMEOUT_MS 1000        /* while a partition's creation waits, readers queue behind it */
#define DDL_TRIES 30                    /* attempts to get that lock before the batch is given up */
#define DATA_LOCK_TIMEOUT_MS 60000      /* a COPY that waits for somebody's lock on a table */
#define TICK_IS_OLD_MS 60000            /* the queue's newest tick: is its ticker gone? */
#define DEAD_MAX 100000                 /* bad events of one batch; each takes up to 1 kB of memory */
#define INTERPOLATION_DEPTH_MAX 10      /* %(name)s inside %(name)s, as Python's configparser */

struct span {                           /* borrowed bytes; p == NULL is SQL NULL */
	const char *p;
	size_t n;
};

enum err_code {
	ERR_CONN = -1,                  /* connection lost or refused: reconnect, again */
	ERR_RESOURCE = -2,              /* the server lacks disk, memory, connections: wait, again */
	ERR_RIGHTS = -3,                /* rights, roles, missing database */
	ERR_READONLY = -4,              /* the server became a standby: reconnect, again */
	ERR_TIMEOUT = -5,               /* statement or lock timeout: again */
	ERR_CONFLICT = -6,              /* serialization, deadlock, creation race: again at once */
	ERR_DATA = -7,                  /* an event that cannot be written */
	ERR_SHAPE = -8,                 /* a table or column that is not there */
	ERR_POSITION = -9,              /* queue and target disagree about what was loaded */
	ERR_CONF = -10,                 /* wrong usage or config: nothing was touched */
	ERR_STOP = -11,                 /* a signal asks to end now */
	ERR_OTHER = -12                 /* any other error of a server: wait, again */
};

struct err {                            /* caller's; zeroed before use */
	int code;                       /* 0 or an enum err_code */
	char sqlstate[6];               /* of the server's error, or "" */
	char msg[1024];                 /* one line for a person */
};

/* ---- relro.c: addresses that nobody may change after the start */

void relro_protect(void);               /* first of all in main */

/* ---- file.c: opening the files that others must not lead us astray with */

/* Opens path with flags, creating it with mode 0640; never through a symbolic link, and only a
 * regular file of ours or root's that has no other name. A descriptor, or -1 with the reason. */
int file_open(const char *path, int flags, const char **why);

/* ---- text.c: bytes that may be anything, as text that a program reads */

#define TEXT_GROWTH 6                   /* a byte becomes so many at most */

/* Text without its quotes, for a string of JSON and a label's value in Prometheus' format. What is
 * no UTF-8 becomes U+FFFD. Returns the bytes written: as many whole characters as fit. */
size_t text_json(char *out, size_t size, struct span);
size_t text_label(char *out, size_t size, struct span);
size_t text_line(char *out, size_t size, struct span);         /* a blank for each control byte */

const char *text_s(int64_t n);          /* what a noun ends with after that number: "s" or "" */

/* ---- syslog.c: the machine's system log */

enum log_level { LVL_ERROR, LVL_WARN, LVL_INFO, LVL_DEBUG, LVL_TRACE };

/* Sends a line with facility daemon. NULL, or why /dev/log did not take it. */
const char *syslog_send(enum log_level, struct span text);

/* ---- log.c: where log lines go; keeps errno */

/* job: name in each line, copied. Until log_open lines go to standard error. */
void log_setup(const char *job, enum log_level level);

/* Appends to path, opened by file_open; rotates it before it grows over max_bytes, keeping `keep`
 * old files as path.1 ... 0, or -1 with the reason in why. */
int log_open(const char *path, int64_t max_bytes, int keep, char *why, size_t why_size);

/* Lines go to the system log, and to standard error as well when that is a terminal or the system
 * log does not take them. */
void log_to_syslog(void);

void log_close(void);                   /* lines go to standard error again */

/* Draws line at the foot of the terminal at standard error, over the last one; NULL ends that.
 * As long as it lasts, only warnings and errors go to standard error. */
void log_status(const char *line);

/* false: lines go to the log file alone (a daemon has nobody at standard error). */
void log_to_stderr(bool on);

void log_json(bool on);                 /* each line an object: time, level, job, pid, msg */

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- buf.c: the growing byte buffer, what quotes into it, and struct err */

/* len <= cap; p is malloc'ed or NULL. Growing succeeds or the process ends: that is safe, since
 * progress is recorded by the target's commit alone. */
struct buf {
	char *p;
	size_t len, cap;
};

void *mem_alloc(size_t n);                      /* malloc or the end of the process */
char *mem_str(const char *p, size_t n);         /* NUL-terminated copy; caller frees */
char *mem_lower(const char *p, size_t n);       /* the same with ASCII letters in lower case */
/* Room for one element more behind n of them, each of size bytes: at, or a larger copy of it after
 * which at is freed. *cap is how many there is room for. */
void *mem_grow(void *at, size_t n, size_t *cap, size_t size);
void buf_free(struct buf *);
char *buf_reserve(struct buf *, size_t n);      /* room for n more bytes; returns their place */
void buf_add(struct buf *, const char *p, size_t n);
void buf_str(struct buf *, const char *s);
void buf_fmt(struct buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *buf_cstr(struct buf *);             /* NUL-terminated, valid until the next change */

/* Identifier, in double quotes where SQL needs them. */
void buf_ident(struct buf *, struct span name);
/* schema and name with a dot between; an empty schema is left out. */
void buf_qualified(struct buf *, struct span schema, struct span name);
/* SQL that gives the oid of the table that a name means, by the search_path where it has no
 * schema; NULL when there is none. */
void buf_regclass(struct buf *, struct span schema, struct span table);
/* String literal that means the same whatever standard_conforming_strings says. */
void buf_literal(struct buf *, struct span value);
void buf_json(struct buf *, const char *text);  /* as a JSON string */
/* Printable form for a message: at most max bytes, control and non-ASCII bytes as \xHH. */
void buf_printable(struct buf *, struct span value, size_t max);

struct span span_of(const char *s);             /* NULL gives the NULL span */
bool span_is(struct span, const char *s);
bool span_eq(struct span, struct span);
/* FNV-1a of kind and s: for advisory locks, so its values must stay as they are. */
uint64_t span_hash(const char *kind, struct span s);

/* Keeps the first error; returns its code. */
int err_set(struct err *, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Appends to the message, as far as there is room: what to do, or who is to blame. */
void err_add(struct err *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- tally.c: how many rows each partition got */

struct tally_part {
	char name[NAME_BYTES_MAX + 1];
	int64_t rows;
};

struct tally {                          /* zeroed before use; sorted by name */
	struct tally_part *at;
	size_t n, cap;
};

/* true when the name is new in it. */
bool tally_add(struct tally *, const char *name, int64_t rows);
const struct tally_part *tally_find(const struct tally *, const char *name);    /* or NULL */
void tally_merge(struct tally *, const struct tally *more);
int64_t tally_rows(const struct tally *);
void tally_clear(struct tally *);

/* ---- ini.c: the ini grammar of Python's configparser; knows no key, prints nothing */

struct ini_entry {
	struct span section;            /* into the text given */
	char *key;                      /* lower case; owned by the ini */
	char *value;                    /* lines joined by '\n', not interpolated; owned by the ini */
	size_t line;                    /* of the key, from 1 */
};

struct ini {
	struct ini_entry *entry;        /* in the order of the file */
	size_t n, cap;
};

/* text must outlive the ini. 0, or ERR_CONF with "line N: ..." in the error. A section that
 * holds no key is an entry with an empty key. ini_free takes a zeroed or half-read ini too. */
int ini_parse(struct ini *, struct span text, struct err *);
void ini_free(struct ini *);

/* Value of key in section, else in [DEFAULT]; NULL when neither has it. */
struct ini_entry *ini_find(const struct ini *, const char *section, const char *key);

/* Replaces %(name)s and %% in raw. lookup gives a name's raw value or NULL; name is lower case.
 * Returns a malloc'ed string, or NULL with the reason set. */
typedef const char *ini_lookup(void *ctx, const char *name);
char *ini_interpolate(const char *raw, ini_lookup *lookup, void *ctx, struct err *);

/* ---- urlenc.c: the row grammar of pgq.logutriga: name=value&name&name= */

/* Takes the next field off *rest, still encoded; value.p is NULL where there is no '='.
 * false when the row is at its end. Empty fields are passed over. */
bool urlenc_next(struct span *rest, struct span *name, struct span *value);
/* Takes a value off *rest, which begins behind its field's '='. */
struct span urlenc_value(struct span *rest);

/* The byte that two hexadecimal digits mean; -1 when they are none. */
int urlenc_hex(const char *two);

/* Decodes raw into out, which has room for raw.n bytes. Returns the length; -1 for a bad
 * escape or %00, with its offset in raw in *bad. */
ssize_t urlenc_decode(char *out, struct span raw, size_t *bad);

/* The same, and escapes for COPY's text format; out has room for 2 * raw.n bytes. */
ssize_t urlenc_copy(char *out, struct span raw, size_t *bad);

/* ---- daemon.c: signals, the pid file, going to the background, signalling the process there */

/* Signals are blocked but while daemon_ppoll waits; their handlers set flags. */
void daemon_signals(int code);          /* of a process that daemon_may_end ends */
bool daemon_stop_now(void);             /* SIGTERM came */
bool daemon_stop_after_batch(void);     /* SIGINT came */
bool daemon_take_reload(void);          /* SIGHUP came since the last call */

struct pollfd;
/* ppoll that lets signals in; timeout_ms < 0 waits for ever. As ppoll; -1 with EINTR on a signal. */
int daemon_ppoll(struct pollfd *, unsigned n, int64_t timeout_ms);
/* From here on SIGTERM ends the process a second later, or no longer: for calls that wait without
 * letting signals in, while nothing is at stake. */
void daemon_may_end(bool yes);
/* Sleeps; false: it ended early, on a signal that asks to stop or to reload. */
bool daemon_sleep(int64_t ms);
int64_t clock_ms(void);                 /* CLOCK_MONOTONIC */

/* Locks path and writes our pid. 0, or -1 with the reason (another process has it) in why.
 * The lock is the truth, the number in the file a courtesy. */
int daemon_pidfile(const char *path, char *why, size_t why_size);
void daemon_pidfile_remove(void);
/* Sends sig to the process that holds the lock on path. 0, or -1 with the reason in why. */
int daemon_signal(const char *path, int sig, char *why, size_t why_size);
/* Forks; the parent waits and exits with what daemon_ready is told, or with the child's exit code. */
int daemon_fork(char *why, size_t why_size);
void daemon_ready(void);                /* the child is up: the parent exits 0. Once; else nothing. */

/* ---- progress.c: what is done of a run that ends, for the one who waits */

enum progress_kind {
	PROGRESS_LOG,                   /* a log line now and then */
	PROGRESS_LINE,                  /* one line on a terminal at standard error, drawn again and again */
	PROGRESS_JSON                   /* an object a line, to standard output */
};

struct progress {
	enum progress_kind kind;
	int64_t total;                  /* events to come at the start, an estimate; -1: not known */
	int64_t start_ms, shown_ms;
	int64_t events, batches, parts; /* that are committed */
	int64_t bad, errors;            /* events that were not written; errors of the run */
	int64_t now_events, now_parts;  /* of the batch at hand */
	bool verifying;                 /* its events are being read a second time */
	bool stopping;                  /* it will be the last */
	struct tally rows;
};

void progress_begin(struct progress *, enum progress_kind);
/* Of the batch at hand: shows where the run is, if it is time to. Milliseconds until it wants to be
 * called again; -1 with NULL, for never. */
int64_t progress_show(struct progress *, int64_t events, int64_t parts);
void progress_partition(struct progress *);     /* one was created ahead of time; NULL is nobody */
/* A batch is in. NULL is nobody. */
void progress_batch(struct progress *, int64_t events, int64_t bad, int64_t parts, const struct tally *);
/* The summary. how: a word, "done". */
void progress_end(struct progress *, const char *how);

/* ---- whole.c: small files that are replaced whole */

/* By path.new and a rename. 0, or -1 with errno; ELOOP and EINVAL for what is no regular file. */
int whole_write(const char *path, struct span text, mode_t mode);
/* The first size - 1 bytes of path and a NUL. 0, or -1 with errno. */
int whole_read(const char *path, char *text, size_t size);

/* ---- period.c: from a date's text to the period whose partition takes the row */

struct moment {                         /* what an ISO date's text says */
	int64_t days;                   /* since 1970-01-01 */
	int64_t second_of_day;
	int us;                         /* of the second, whose later digits are dropped */
	int offset_s;                   /* east of UTC */
	bool has_time, has_offset;
	bool exact;                     /* false: 24:00, a leap second, more than six digits of a fraction; T and Z,
					 * which a server may take for time zones */
};

/* false for what is no ISO date with a time and an offset, or without. */
bool period_moment(struct span text, struct moment *);

enum period_method { PERIOD_NONE, PERIOD_YEARLY, PERIOD_MONTHLY, PERIOD_WEEKLY, PERIOD_DAILY, PERIOD_HOURLY };

struct period_rule {
	enum period_method method;
	bool zoned;                     /* false: the date as written decides */
	int zone_s;                     /* the zone's offset in seconds east of UTC */
};

#define PERIOD_SUFFIX_MAX 16            /* bytes of "_YYYY_MM_DD_HH" and its end */
#define PERIOD_LITERAL_MAX 48

/* Value of part_timezone: text, UTC, +HH, +HH:MM. false when it is none of these. */
bool period_zone(struct period_rule *, const char *text);
/* Start of the period in seconds since 1970 of the rule's own clock. 0, or -1 with a reason
 * (a string constant) in *why for what is no ISO date or outside years 1 to 9999. */
int period_of_text(const struct period_rule *, struct span text, int64_t *start_s, const char **why);
/* The same for a moment in microseconds since 2000-01-01, the server's binary timestamp. */
int period_of_usecs(const struct period_rule *, int64_t usecs, int64_t *start_s, const char **why);
/* The same for seconds since 1970 of the rule's own clock. */
int period_of_clock(const struct period_rule *, int64_t at_s, int64_t *start_s, const char **why);

#define PERIOD_MEMO_BITS 6

/* Dates as they stood in events, still encoded, and what period_of_text made of them by one rule:
 * a day comes again and again. One of zeros is empty. */
struct period_memo {
	struct { uint64_t first, last; size_t n; int64_t start_s; } at[1 << PERIOD_MEMO_BITS];
};

/* Only of 8 to 16 bytes: what is longer has a time of day, and seldom comes again. */
void period_remember(struct period_memo *, struct span raw, int64_t start_s);
bool period_recall(const struct period_memo *, struct span raw, int64_t *start_s);

int64_t period_end(const struct period_rule *, int64_t start_s);
void period_suffix(const struct period_rule *, int64_t start_s, char out[PERIOD_SUFFIX_MAX]);
/* Date or timestamp text as SQL reads it, with the offset when the rule is zoned; no quotes. */
void period_literal(const struct period_rule *, int64_t at_s, char out[PERIOD_LITERAL_MAX]);
size_t period_suffix_len(enum period_method);
/* false for what period_suffix never gives. */
bool period_of_suffix(const struct period_rule *, struct span suffix, int64_t *start_s);

struct period_age {                     /* a length of time by the calendar: 12 months */
	enum period_method unit;        /* PERIOD_NONE: there is none */
	int64_t n;
};

/* "90 days", "1 year"; n is from 1 to 99999. false when it is something else. */
bool period_age(struct period_age *, const char *text);
/* The moment so long before at_s, both in seconds of the rule's own clock. */
int64_t period_before(struct period_age, int64_t at_s);

/* ---- template.c: the words of part_template */

struct template_words {                 /* all unquoted */
	struct span schema;             /* of dest_table, or empty */
	struct span parent;             /* dest_table without schema */
	struct span part;               /* the partition without schema */
	const struct span *pkey;        /* target names of the primary key's columns */
	size_t npkey;
	struct span part_field;         /* target name, or empty */
	struct span start, end;         /* literals' text, or empty */
};

/* Appends the template with its words replaced, each quoted for the place where it stands.
 * ERR_DATA when an event's part does not fit (no primary key), ERR_CONF for a name too long. */
int template_expand(struct buf *, struct span text, const struct template_words *, struct err *);

/* ---- completion.c: completion for shells */

/* Prints bash's, zsh's or fish's completion of the switches that help names; false: another shell. */
bool completion_print(const char *shell, const char *help);

/* ---- binary.c: values as the server's binary COPY takes them */

#define BINARY_HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"       /* with the literal's own NUL: 19 bytes */
#define BINARY_WORD 4                   /* bytes of a value's length */

enum binary_kind {
	BINARY_NONE, BINARY_BOOL, BINARY_INT2, BINARY_INT4, BINARY_INT8, BINARY_TEXT, BINARY_DATE, BINARY_TIMESTAMP,
	BINARY_TIMESTAMPTZ, BINARY_UUID
};

/* Of pg_attribute.atttypid; BINARY_NONE for all types whose values are left to the server. */
enum binary_kind binary_kind(const char *type_oid);
/* Bytes that binary_put needs at most. */
static inline size_t binary_room(struct span raw)
{
	return BINARY_WORD + (raw.n > 16 ? raw.n : 16);
}
/* Both return the bytes that they wrote at out. binary_put's raw is encoded; -1 when the value's
 * text is for the server to judge. */
size_t binary_begin_row(char *out, size_t columns);
ssize_t binary_put(char *out, enum binary_kind, struct span raw);

/* ---- route.c: which columns a row has, and where in the event they stand */

struct field {                          /* one item of the fields list */
	struct span source, target;     /* decoded names */
};

struct shape {                          /* one column list */
	struct span *source;            /* names as they stand in the event, encoded */
	struct span *target;            /* decoded, renamed */
	size_t n;
	size_t part_at;                 /* index of the partition column, or n */
	char *columns;                  /* quoted, comma separated: for COPY */
};

struct route;

/* fields: NULL for `*`; n at most COLUMNS_MAX. part_field: NULL when no column picks the partition. Names are borrowed
 * and must outlive the route. */
struct route *route_new(const struct field *fields, size_t n, const char *part_field);
void route_free(struct route *);
/* Finds the row's columns in data, which is not empty. values[i] belongs to shape->target[i],
 * encoded; *part is the partition column's encoded value: both are slices of data. *shape and
 * *values are valid until the next call. */
int route_row(struct route *, struct span data, const struct shape **, const struct span **values,
	struct span *part, struct err *);
/* Number that names a shape for the life of the route, below 2^31. */
uint32_t route_shape_id(const struct route *, const struct shape *);
/* Target name of a source column, through the fields list. */
struct span route_target(const struct route *, struct span source);

/* ---- values.c: what keys were given in the file, the environment and by --set */

enum value_from { VALUE_BUILTIN, VALUE_FILE, VALUE_ENV, VALUE_SET };    /* the later counts more */

struct value {
	char *key;                      /* lower case */
	char *raw;                      /* as the file would have it, not interpolated */
	char *where;                    /* how messages about it begin */
	enum value_from from;
	bool used;                      /* found by the reader, or not to be warned of */
};

struct values {
	struct value *at;
	size_t n, cap;
	const char *file;               /* borrowed, or NULL */
};

#define VALUES_CONFIG_FILE "TDISPATCH_CONFIG_FILE"      /* names the config file itself, is no key */

/* file: NULL for none. sets: "key=value". is_key tells TDISPATCH_<KEY> from TDISPATCH_<KEY>_FILE.
 * 0 or ERR_CONF; values_free takes a half-read list too. */
int values_load(struct values *, const char *file, char *const *sets, size_t nsets, bool (*is_key)(const char *),
	struct err *);
void values_free(struct values *);
bool values_in_environment(void);               /* is there any TDISPATCH_ variable? */
struct value *values_find(const struct values *, const char *key);     /* NULL: not given */
/* How a message about the key begins, also when it was not given. */
void values_where(const struct values *, const char *key, struct buf *);

/* ---- conf.c: which keys there are */

enum on_error { ON_ERROR_STOP, ON_ERROR_DEAD_LETTER, ON_ERROR_SKIP };
enum part_late { PART_LATE_CREATE, PART_LATE_SKIP, PART_LATE_ERROR };

struct conf {
	char *file;                     /* as given, or "the environment" */
	char *job_name, *pidfile, *state_file, *metrics_file, *logfile;
	int64_t log_size;               /* bytes */
	int64_t log_count;
	char *log_format;
	bool use_skylog;
	int64_t loop_delay;             /* milliseconds, as all times here */
	int64_t exception_sleep;
	int64_t connection_lifetime;
	char *queue_name, *consumer_name, *src_db, *dst_db, *dest_table;
	char *fields, *part_field, *part_method, *part_timezone, *part_template;
	char *part_keep, *part_keep_action, *part_late;
	int64_t part_premake;           /* periods */
	int64_t batch_min_events;
	int64_t lanes;
	int64_t retry_limit;
	int64_t server_timeout;
	char *on_error;
	int64_t max_errors;

	/* worked out from the above */
	struct span schema, table;      /* dest_table's parts; schema may be empty */
	struct field *field;            /* NULL for `*` */
	size_t nfield;
	struct period_rule period;
	enum on_error error;            /* on_error's meaning */
	struct period_age keep;         /* part_keep */
	bool detach;                    /* part_keep_action */
	enum part_late late;            /* part_late's meaning */
	bool log_json;                  /* log_format's */
	struct buf warnings;            /* a line each, every one ended by '\n' */
};

/* Reads and checks what values_load gives. ERR_CONF with file and line, or where else it is from. */
int conf_load(struct conf *, const char *file, char *const *sets, size_t nsets, struct err *);
/* Events and the config meet in one SQL text, which has one encoding, the source's: where that is
 * not UTF8 the config must be ASCII. 0, or ERR_SHAPE with the key. */
int conf_fits(const struct conf *, const char *encoding, struct err *);
void conf_free(struct conf *);          /* takes a zeroed or half-read conf too */
/* The effective config, secrets masked by mask, which returns a malloc'ed string. */
void conf_show(const struct conf *, struct buf *, char *(*mask)(const char *conninfo));
extern const char conf_sample[];        /* what --ini prints, NUL-terminated */
extern const char conf_licenses[];
extern const char conf_versions[];      /* of the libraries: name, version, SHA-256 of the source */

/* ---- state.c: the state file, by which others see the running process */

struct state {
	int pid;
	int64_t began;                  /* when its process did, in the system's ticks since boot; 0: not known */
	char doing[16];                 /* starting, loading, idle, failing or ended */
	int64_t progress_ms;            /* clock_ms() when it last went on or was idle */
	int64_t events;                 /* since the start */
	int64_t error_at_s;             /* since 1970, of the last error; 0: there was none */
	char error[1024];               /* one line */
};

void state_of_this_process(struct state *);
int state_write(const char *path, const struct state *);        /* 0, or -1 with errno */
int state_read(const char *path, struct state *);               /* the same; EINVAL: it is none */
bool state_is_live(const struct state *);       /* does its process run? */
/* Does the process of that file run, with progress in the last limit_ms? *line tells. */
bool state_healthy(const char *path, int64_t limit_ms, struct buf *line);

/* ---- notify.c: what systemd is told; nothing is done where NOTIFY_SOCKET is not set */

bool notify_wanted(void);
void notify_send(const char *text);             /* "READY=1"; newlines between more than one */
int64_t notify_watchdog_ms(void);               /* pause between two "WATCHDOG=1", 0: none is wanted */

/* ---- metrics.c: what a process has counted, as the text of a metrics file */

#define METRICS_BUCKETS 11
#define METRICS_CLASSES 40              /* of SQLSTATE; any more are not counted */

struct load {                           /* a batch that was loaded */
	int64_t events, rows, bytes, partitions, dead, skipped, late;
	int64_t took_ms, lag_ms;        /* lag_ms: from its tick to its commit */
};

struct metrics {                        /* zeroed before use */
	int64_t events, rows, bytes, batches, partitions, dead, skipped, late;
	struct { char class[3]; int64_t n; } error[METRICS_CLASSES];
	size_t nerror;
	int64_t bucket[METRICS_BUCKETS], took_ms;
	int64_t lag_ms, lag_at_ms;      /* as it was at a clock_ms(); 0: not known */
	int64_t success_s;              /* since 1970, 0: never */
};

void metrics_batch(struct metrics *, const struct load *);
void metrics_error(struct metrics *, const char *sqlstate);     /* "": none */
void metrics_text(const struct metrics *, const struct conf *, struct buf *);

/* ---- conninfo.c: connection strings */

/* Is it well formed, with values that libpq takes? Else the reason, without its secrets, in err. */
int conninfo_check(const char *what, const char *conninfo, struct err *);
char *conninfo_mask(const char *conninfo);      /* malloc'ed, without its secrets */
const char *conninfo_lacks(void);               /* what this libpq is too old for, or NULL */
bool conninfo_refused(const char *text);        /* is libpq's error one of a value in it? */

/* ---- switches.c: the command line */

#define SETS_MAX 64                     /* --set on one command line */

enum mode {
	RUN,                            /* none of the others was asked for */
	HELP, VERSION, SAMPLE, LICENSES, RELOAD, STOP, KILL, SHOW_CONFIG, CHECK,
	REGISTER, UNREGISTER, REWIND, RESET, INSTALL, REPLAY, DRY_RUN,
	SHOW_PARTITIONS, HEALTH, STATUS,
};

struct switches {
	enum mode mode;
	int verbosity;                  /* added to LVL_INFO */
	bool daemon, once, verify, json, progress_json;
	int64_t max_lag;                /* seconds, 0: not given */
	char *sets[SETS_MAX];           /* borrowed from argv, as is file */
	size_t nsets;
	const char *file;               /* NULL: all is in the environment */
};

extern const char switches_help[];
/* Fills a struct that is all 0. 0, or the exit code for what is wrong, which was told. */
int switches_parse(struct switches *, int argc, char **argv);

/* ---- pq.c: a connection at work; with connect.c, copy.c and conninfo.c all that knows libpq */

struct pq;
enum { PQ_WAIT = 0, PQ_READY = 1, PQ_END = 2 };

/* For all connections: how long a server may be silent while we wait for it; 0: for ever. */
void pq_setup(int64_t server_timeout_ms);

/* Begins a statement in which nothing is found but what is named with its schema or PostgreSQL's
 * own: others may have put functions and operators on the role's search_path. */
#define PQ_OWN_PATH "SET LOCAL search_path = pg_catalog, pg_temp;"
/* For a statement that must find tables by the role's own path: its operators. */
#define PQ_OWN(operator) " OPERATOR(pg_catalog." operator ") "

/* Appends what each of our transactions sets first, so that no timeout of the role or the database
 * ends it, and that the server notices soon when we are gone and lets go of our locks. */
void pq_add_settings(struct buf *sql, const struct pq *, int lock_timeout_ms);

/* Runs sql, which may be several statements, and waits for its end. The rows of the last
 * statement that gave any stay readable until the next call. */
int pq_query(struct pq *, const char *sql, struct err *);
int pq_rows(const struct pq *);
const char *pq_value(const struct pq *, int row, int col);      /* NULL is SQL NULL */
int64_t pq_int(const struct pq *, int row, int col, int64_t if_null);
const char *pq_tag(const struct pq *);          /* command tag of the last statement, "COMMIT" */

/* Waits until one of n connections that is waiting can go on, or for a while; NULLs among them are
 * passed over. timeout_ms: 0 looks only, -1 sets no end. 0, ERR_STOP, or ERR_CONN when a server
 * that is waited for was silent for too long. */
int pq_wait(struct pq *const *, size_t n, int64_t timeout_ms, struct err *);
bool pq_in_transaction(const struct pq *);      /* that has not failed */
bool pq_blocked(const struct pq *);             /* its socket took no more bytes when last tried */

/* ---- connect.c */

/* Connects; what ("src_db") names the connection in messages. encoding: client_encoding to set,
 * NULL for the server's own. Waits with signals let in, at most connect_timeout_ms. */
struct pq *pq_open(const char *what, const char *conninfo, const char *encoding, struct err *);
void pq_close(struct pq *);                     /* takes NULL */
int64_t pq_opened_ms(const struct pq *);        /* clock_ms() at the end of pq_open */
const char *pq_server_encoding(const struct pq *);
const char *pq_time_zone(const struct pq *);    /* of the session */
int pq_server_version(const struct pq *);       /* 150018 */
bool pq_encrypted(const struct pq *);
bool pq_exposed(const struct pq *);             /* unencrypted, and to another machine */

/* ---- copy.c */

/* COPY ... TO STDOUT, text or binary: begin waits; then PQ_READY with a row in *row (valid until the
 * next call, a NUL behind it), PQ_WAIT when none is here yet, PQ_END after the last. */
int pq_copy_out(struct pq *, const char *sql, struct err *);
int pq_copy_row(struct pq *, struct span *row, struct err *);

/* COPY ... FROM STDIN without waiting; sql may be several of them, which spares a round trip each.
 * pq_copy_step says PQ_READY when a block can be put,
 * PQ_WAIT when the socket is not ready, PQ_END after pq_copy_end when the server has taken all.
 * *stopped is set when the server wants to say something: end the COPY to hear it. */
int pq_copy_in(struct pq *, const char *sql, int copies, struct err *);
int pq_copy_step(struct pq *, bool *stopped, struct err *);
int pq_copy_put(struct pq *, const char *p, size_t n, struct err *);
int pq_copy_end(struct pq *, struct err *);
int64_t pq_copied(const struct pq *);           /* rows of the COPY that ended last, by the server's count */
/* Of the COPY into table that failed: line from 1 (0: not told), column name or NULL. */
int64_t pq_error_line(const struct pq *, struct span table);
struct span pq_error_value(const struct pq *, struct span table);       /* as the server cut it, or NULL */
const char *pq_error_column(struct pq *, struct span table);

/* ---- position.c: the target's side of exactly-once, schema pgq_ext */

struct position {
	bool known;                     /* pgq_ext has a tick */
	int64_t tick;
	int64_t lanes;                  /* lane 0: how many load a batch; 1 when not told */
	int64_t from;                   /* other lanes: the tick at which the batch up to tick began */
};

/* What pgq_ext there is: none, one without subconsumers (before Skytools 3), the full one. */
enum position_kind { POSITION_NONE, POSITION_SIMPLE, POSITION_LANES };
int position_kind(struct pq *, enum position_kind *, struct err *);
/* The rows are the GRANT statements that this role lacks to keep positions. */
int position_grants(struct pq *, struct err *);
int position_install_grants(struct pq *, struct err *); /* the same to create schemas, as --install does */
int position_require(enum position_kind, struct err *);  /* ERR_SHAPE when there is none */
int position_install(struct pq *, bool *created, struct err *);

/* Opens the data transaction of a lane out of so many, takes the lock on its position and reads
 * it; the number of lanes is read by lane 0 alone. ERR_CONFLICT when another process has the lock. */
int position_begin(struct pq *, const char *consumer, size_t lane, size_t lanes, enum position_kind,
	struct position *, struct err *);
/* Commits the rows of a batch from one tick to another. */
int position_commit(struct pq *, const char *consumer, size_t lane, size_t lanes, int64_t from, int64_t tick,
	struct err *);
int position_keep(struct pq *, struct err *);            /* commits rows without a new position */
int position_rollback(struct pq *, struct err *);
/* In lane 0's open transaction, and commits it: from now on so many lanes, all at tick. */
int position_set_lanes(struct pq *, const char *consumer, size_t lanes, int64_t tick, struct err *);
/* Outside of a transaction: */
int position_get(struct pq *, const char *consumer, bool *known, int64_t *tick, struct err *);
/* ERR_POSITION: the target knows a tick of a consumer that the queue does not know. */
int position_unregistered(const struct conf *, int64_t tick, struct err *);
/* ERR_CONFLICT while a process loads. */
int position_forget(struct pq *, const char *consumer, enum position_kind, struct err *);

/* ---- queue.c: the source's side, schema pgq: every line of PgQ's SQL */

struct queue_batch {
	int64_t id, tick, prev_tick;
	int64_t lag_ms;                 /* from the batch's tick to now, by the source's clock */
	char *event_sql;                /* PgQ's query for its events; queue_batch_free frees it */
};

struct queue_state {
	bool pgq, queue, consumer;      /* is it there */
	int64_t last_tick;              /* newest tick of the queue, or 0 */
	int64_t last_tick_age_ms;
};

int queue_state(struct pq *, const char *queue, const char *consumer, struct queue_state *, struct err *);

struct queue_backlog {                  /* what is behind a tick; -1 is not known */
	int64_t consumer_tick;
	int64_t lag_ms;                 /* the tick's age by the source's clock */
	int64_t events;                 /* in ticks after it, an estimate */
};

/* tick: the target's; -1: the consumer's own. */
int queue_backlog(struct pq *, const char *queue, const char *consumer, int64_t tick, struct queue_backlog *,
	struct err *);
/* The rows are the GRANT statements that this role lacks to consume the queue. */
int queue_grants(struct pq *, const char *queue, struct err *);
int queue_create_grants(struct pq *, struct err *);     /* the same for queue_create */
/* ERR_SHAPE, with what to do, when PgQ or the queue is not there. */
int queue_require_pgq(const struct queue_state *, struct err *);
int queue_require(const struct queue_state *, const char *queue, struct err *);
int queue_create(struct pq *, const char *queue, struct err *);
int queue_register(struct pq *, const char *queue, const char *consumer, struct err *);
int queue_unregister(struct pq *, const char *queue, const char *consumer, struct err *);
int queue_rewind(struct pq *, const char *queue, const char *consumer, int64_t tick, struct err *);
/* 1 with the next batch, 0 when there is none. min_events: ticks are merged until the batch has
 * about so many events, or all that are pending if those are fewer; 0: one tick a batch. finish:
 * a batch to finish in the same transaction, or 0. */
int queue_next(struct pq *, const char *queue, const char *consumer, int64_t min_events,
	int64_t finish, struct queue_batch *, struct err *);
/* The same batch, without taking it: nothing is changed, but that PgQ's sequence of batch numbers
 * goes on by one. */
int queue_peek(struct pq *, const char *queue, const char *consumer, int64_t min_events,
	struct queue_batch *, struct err *);
void queue_batch_free(struct queue_batch *);
/* Events up to the newest tick, by PgQ's counters: an estimate, mostly too high; -1: not known. */
int queue_pending(struct pq *, const char *queue, const char *consumer, int64_t *events, struct err *);
int queue_finish(struct pq *, int64_t batch, struct err *);
/* Is it still the consumer's open batch? Another process may have finished it. */
int queue_batch_active(struct pq *, int64_t batch, bool *yes, struct err *);

struct event {                          /* spans into the row last read */
	int64_t id;
	struct span type, data;
	int64_t time;                   /* usecs since 2000-01-01; only where it was asked for */
};

/* Starts reading a batch's events, in no order. time: which clock ev_time is read by. */
enum queue_time { QUEUE_TIME_NONE, QUEUE_TIME_SESSION, QUEUE_TIME_UTC };
int queue_read(struct pq *, const struct queue_batch *, enum queue_time, struct err *);
/* PQ_READY, PQ_WAIT, PQ_END or an error. */
int queue_event(struct pq *, enum queue_time, struct event *, struct err *);
/* Starts a COPY in text format: ev_id, ev_time, ev_type, ev_data, ev_extra1 of some of a batch's
 * events. ids: separated by commas. pq_copy_row gives the lines. */
int queue_read_some(struct pq *, const struct queue_batch *, const char *ids, struct err *);
/* ev_extra1 of one event of a batch, for a message; malloc'ed, NULL when it cannot be told. */
char *queue_event_table(struct pq *, const struct queue_batch *, int64_t id);

/* ---- dest.c: tables of the target as they are */

struct dest {
	char oid[24];                   /* "": it is not there */
	bool partitioned;               /* PARTITION BY */
};

int dest_find(struct pq *, const struct conf *, struct span table, struct dest *, struct err *);
/* *which: the first of n columns that the table does not have; n when it has all. */
int dest_lacks(struct pq *, const struct dest *, const struct span *column, size_t n, size_t *which, struct err *);
bool dest_template_says(const struct conf *, const char *words);        /* whatever their case */
bool dest_makes_partitions(const struct conf *);        /* does part_template make them of a partitioned table? */
/* Would a partition lack the column that dest_table lacks? false: that cannot be told. */
bool dest_is_model(const struct conf *, const struct dest *, struct span column);

/* ---- part.c: a partition's life */

/* Opens *ddl when it is NULL. encoding: of the names that will be sent on it. */
int part_open(struct pq **ddl, const struct conf *, const char *encoding, struct err *);
/* Appends the name of the partition of the period, without schema. */
void part_name(struct buf *, const struct conf *, int64_t start_s);

/* Appends what opens a short transaction for DDL. */
void part_begin(struct buf *sql, const struct pq *ddl, int lock_timeout_ms);
/* Adds to e who has the table open: its lock could not be had. */
void part_say_who(struct pq *ddl, const struct conf *, struct span table, struct err *);

struct part_want {
	const struct conf *conf;
	struct span name;               /* the partition, without schema */
	int64_t start_s, end_s;
	struct span ev_type;            /* of the event that needs it: holds the primary key */
	int lock_timeout_ms;
	const struct route *route;
};

/* Makes sure that the partition is there; *created says whether it was made now. open is NULL: in
 * a transaction of its own. Else in the one that is open on ddl, with the *open partitions that were
 * created before; 0: a new one. When *open is 0 after that, they are committed, or with an error
 * rolled back. ERR_TIMEOUT when somebody's lock was in the way for lock_timeout_ms; who, is in err then. */
int part_ensure(struct pq *ddl, const struct part_want *, size_t *open, bool *created, struct err *);
/* Commits them and sets *open to 0, whatever comes of it. */
int part_commit(struct pq *ddl, size_t *open, struct err *);

/* The kinds of the shape's columns in a partition; kinds has room for shape->n. *known: of all of them. */
int part_kinds(struct pq *ddl, const struct conf *, struct span table, const struct shape *, enum binary_kind *kinds,
	bool *known, struct err *);
/* SQL for the bytes of table c.oid, with its own partitions and all that belongs to them. */
void part_add_size(struct buf *sql, const struct pq *dst);
/* Changes nothing: is the partition there, and if not, the SQL that would create it. */
int part_foresee(struct pq *, const struct part_want *, bool *there, struct buf *sql, struct err *);

/* ---- sink.c: the destination: rows waiting for each partition, and the COPY that takes them */

struct sink;
struct stream;                          /* one partition and column list */

struct sink *sink_new(void);
void sink_free(struct sink *);
/* Stream of the period and shape, or NULL. */
struct stream *sink_find(struct sink *, int64_t start_s, uint32_t shape);
struct stream *sink_add(struct sink *, int64_t start_s, uint32_t shape, size_t lane, struct span table,
	const char *copy_sql);
/* Its COPY is to take values of these kinds, an array that the sink will free. The stream is
 * forgotten by the next sink_begin. */
void sink_set_binary(struct sink *, struct stream *, enum binary_kind *);
const enum binary_kind *sink_kinds(const struct stream *);      /* NULL: its COPY takes text */
/* True once since sink_begin, when a COPY to it is over: from then on nobody can change the table's
 * columns before the transaction ends. Not while so many streams have rows that a second one for each
 * would use up the blocks. */
bool sink_take_settled(const struct sink *, struct stream *);
size_t sink_lane(const struct stream *);
const char *sink_table(const struct stream *);
void sink_forget(struct sink *);        /* drops all streams and rows: nothing is known any more */
void sink_discard(struct sink *);       /* drops all rows, keeps the streams */
/* Room for a row of at most n bytes; sink_put says how many it took, if the row is put at all. */
char *sink_room(struct sink *, struct stream *, size_t n);
void sink_put(struct sink *, struct stream *, size_t n, int64_t event_id);
bool sink_full(const struct sink *);    /* take no more rows until sink_pump made room */
bool sink_idle(const struct sink *);    /* nothing waits, no COPY is open */
/* Did rows go to the period's partition since sink_begin? true also when that was forgotten. */
bool sink_wrote(const struct sink *, int64_t start_s);
bool sink_sent_any(const struct sink *);        /* a COPY was begun since sink_begin */
int64_t sink_sent_bytes(const struct sink *);   /* since sink_begin */
/* careful: each COPY takes one block, under a savepoint, so that an error can be put to a row. */
void sink_begin(struct sink *, bool careful);
/* Rows by partition since sink_begin, as the target counted them; valid until the next one. */
const struct tally *sink_tally(const struct sink *);
void sink_swallow(struct sink *);       /* drops all rows, as if the target had taken them */

struct sink_fault {                     /* where a COPY failed */
	int64_t event;                  /* -1: not known, which a careful COPY's error of data never is */
	size_t line;                    /* of the COPY, from 1, as the server's words have it; 0: not told */
	char table[NAME_BYTES_MAX + 1];
	char column[NAME_BYTES_MAX + 1];        /* or "" */
	char value[160];                /* shortened and printable, or "" */
};

/* Sends what can be sent on a lane without waiting; drain: no more rows will come. */
int sink_pump(struct sink *, size_t lane, struct pq *dst, bool drain, struct sink_fault *, struct err *);
/* After ERR_DATA in a careful pass: go on without that row. */
int sink_leave_out(struct sink *, size_t lane, struct pq *dst, struct err *);

/* ---- dead.c: events that could not be written, and schema tdispatch, where they are kept */

struct dead {
	int64_t event;
	size_t lane;                    /* whose transaction keeps it */
	char sqlstate[6];               /* "" where the server was not asked */
	char *partition, *message;
};

struct dead_list {                      /* zeroed before use */
	struct dead *at;
	size_t n, cap;
};

void dead_add(struct dead_list *, int64_t event, size_t lane, const char *partition, const struct err *);
void dead_clear(struct dead_list *);
/* Copies the events of a lane's list from src to the dead letters, in dst's open transaction. */
int dead_write(struct dead_list *, size_t lane, struct pq *src, struct pq *dst, const struct conf *,
	const struct queue_batch *, struct err *);
/* In dst's open transaction: all letters of the batch but those in the list go. */
int dead_remove(const struct dead_list *, struct pq *dst, const struct conf *, int64_t batch, struct err *);
/* The first batch after `after` that has letters of this consumer, and their number, 0: none. */
int dead_next(struct pq *dst, const struct conf *, int64_t after, int64_t *batch, int64_t *letters, struct err *);
/* A query that gives a batch's letters as PgQ's gives its events; caller frees. */
char *dead_event_sql(const struct conf *, int64_t batch);
int dead_count(struct pq *dst, const struct conf *, int64_t *letters, struct err *);
/* The rows are the GRANT statements that this role lacks to write letters. */
int dead_grants(struct pq *dst, struct err *);
int dead_require(struct pq *dst, struct err *);         /* ERR_SHAPE when the table is not there */
int dead_install(struct pq *dst, bool *created, struct err *);

/* ---- report.c: what the outside sees of the running process: state file, metrics file, systemd */

struct report {
	const struct conf *conf;        /* may change behind the pointer */
	struct state state;
	struct metrics metrics;
	int64_t state_due_ms, metrics_due_ms, watchdog_due_ms;
	int64_t watchdog_ms;            /* 0: no watchdog waits for us */
	int64_t events, bytes;          /* of report_progress */
	bool ready, notified, state_failed, metrics_failed;
	bool silent;                    /* the files are those of another process that runs */
	char status[256];               /* as sent last */
};

void report_start(struct report *, const struct conf *);
void report_ready(struct report *);             /* it works, or waits for a server; once */
void report_reloading(struct report *);         /* report_ready ends it */
void report_moves(struct report *, const struct conf *to);      /* before conf becomes what `to` is */
/* Within a batch, of which so many events were read and bytes of rows sent: it goes on when one of
 * them has changed. Cheap. Returns after how many ms it wants to be called again at the latest, -1:
 * it need not. NULL: nobody is told. */
int64_t report_progress(struct report *, int64_t events, int64_t bytes);
void report_alive(struct report *);             /* it goes on with something else; NULL: nobody is told */
void report_partition(struct report *);         /* the same: one was created ahead of time */
void report_batch(struct report *, const struct load *, const struct dead_list *);      /* the same */
void report_success(struct report *, bool idle);        /* a batch is in, or there was none */
void report_error(struct report *, const struct err *);
void report_sleep(struct report *, int64_t ms); /* as daemon_sleep */
void report_end(struct report *, bool failed);

/* ---- lanes.c: the connections that load a batch, their transactions and positions */

struct retain {                         /* retain.c's own */
	bool known;                     /* kept_s was asked for */
	int64_t kept_s;                 /* part_keep begins here, by the rule's clock on the target */
	int64_t keep_at_ms, premake_at_ms;      /* clock_ms() at which to look again */
	char *ev_type;                  /* of an event that names its primary key, or NULL */
};

struct job {
	struct conf *conf;
	struct report *report;          /* NULL: nobody is told */
	char *encoding;                 /* of the events, and so of what is sent to the target */
	struct pq *src, *ddl;           /* NULL while not connected */
	struct pq *dst[LANES_MAX];
	size_t lanes;                   /* in use for this batch, 1 or more */
	bool loads[LANES_MAX];          /* false: the lane has the batch already */
	enum position_kind kind;
	struct route *route;
	struct sink *sink;
	int64_t last_tick;              /* of the last batch loaded, 0 before */
	int64_t to_finish;              /* that batch's id, as long as the queue was not told */
	int64_t events;                 /* of all batches loaded */
	int64_t single_until;           /* no merging of ticks before this one */
	bool parts_alone;               /* each partition is created in a transaction of its own */
	struct retain retain;
	struct progress *progress;      /* NULL: nobody looks */
	bool verify;                    /* a batch is compared with its events before it is committed */
};

/* Connects lane 0 and up to lane n - 1, as far as they are not connected. */
int lanes_open(struct job *, size_t n, struct err *);
void lanes_close(struct job *);
size_t lanes_of(const struct job *, struct span partition);     /* the lane that a partition belongs to */

enum lanes_verdict {
	LANES_IS_IN,                    /* the target has the batch: finish it */
	LANES_TO_LOAD,                  /* the data transactions are open */
	LANES_MOVED                     /* the queue was set to another tick: ask for the next batch */
};
/* Opens the lanes' transactions and judges by their positions. A verdict, or ERR_POSITION. */
int lanes_begin(struct job *, const struct queue_batch *, struct err *);
/* Commits rows and tick, lane 0 last. */
int lanes_commit(struct job *, const struct queue_batch *, struct err *);

/* ---- retain.c: the age of partitions: those to come, and those that are too old */

/* Is all of the period older than part_keep? The answer changes only in retain_run. */
int retain_is_late(struct job *, int64_t start_s, bool *late, struct err *);
/* Remembers an event's type for the primary key in it, which part_premake may need. */
void retain_key(struct job *, struct span ev_type);
/* Between two batches: does what part_keep and part_premake ask for, when it is time to. What
 * cannot be done is a warning. loaded: the sink still knows what the last batch wrote to. */
void retain_run(struct job *, bool loaded);
/* Prints the children of dest_table and what is to become of them. */
int retain_show(struct job *, struct err *);
void retain_free(struct retain *);

/* ---- job.c: the connections to both servers */

/* Opens what is not open; registers the consumer when neither side knows it. */
int job_connect(struct job *, struct err *);
int job_source(struct job *, struct err *);     /* only src, and what depends on its encoding */
void job_disconnect(struct job *);
/* The job's connections, its routes and what it knows of the target; not the config. */
void job_free(struct job *);

/* ---- pass.c: one reading of a batch's events, into the lanes' open transactions */

struct pass;
/* Sees to it that there is a table for the partition's rows, and appends its name for COPY. */
typedef int pass_place(struct pass *, struct part_want *, const struct shape *, struct buf *table, struct err *);

struct pass {
	struct job *job;
	const struct queue_batch *batch;
	bool careful;                   /* an error of a COPY names its event, at some cost */
	bool keep;                      /* bad events go to the list, and the pass goes on */
	int64_t max_dead;               /* so many of them */
	bool dry;                       /* rows are made and counted, and not sent */
	pass_place *place;              /* NULL: the partition itself, created where it is missing */
	void *place_for;                /* whatever place needs */

	bool scan;                      /* only the partitions were created: begin the transactions anew */
	size_t open;                    /* partitions that are created and not committed, */
	struct buf open_names;          /* their names, each with a NUL, */
	int64_t open_ms;                /* and when the first was begun */
	int64_t events, rows, truncates, parts;
	int64_t late;                   /* rows left out by part_late */
	int64_t event;                  /* the one at fault, or -1 */
	struct sink_fault fault;        /* of the COPY that failed */
	struct dead_list dead;          /* dead_clear frees it */
	enum queue_time time;
	struct period_memo memo;        /* of part_field's dates */
};

/* Reads all events; when it returns 0 and scan is not set, the rows are sent and not committed. */
int pass_run(struct pass *, struct err *);

/* ---- verify.c: a batch beside its events */

/* After pass_run, in the open transactions: reads the events again, into temporary tables on the
 * target, and compares number and checksum of the rows by partition. ERR_DATA when they differ,
 * after an error line for each partition. */
int verify_run(const struct pass *, struct err *);

/* ---- batch.c: one batch, from next_batch to finish_batch */

/* 1: a batch was loaded; 0: the queue is empty; else an error. Needs job_connect. The queue is
 * told with the next call, which spares a round trip, or by batch_finish. */
int batch_run(struct job *, struct err *);
int batch_finish(struct job *, struct err *);

/* ---- replay.c: --replay, the dead letters once more */

/* Prints a line for each batch. 0 when all letters went in, 1 when some are left, or an error. */
int replay_run(struct job *, struct err *);

/* ---- dryrun.c: --dry-run, what the next batch would do */

/* Prints to standard output and changes nothing. 0, 1 when an event has no place or
 * a table or column is not there, or an error. */
int dryrun_run(struct job *, struct err *);

/* ---- finding.c: what --check finds, a line each on standard output */

struct findings {
	int missing, wrong;             /* each keeps a run from working */
};

void finding_ok(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void finding_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void finding_missing(struct findings *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void finding_wrong(struct findings *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Each row of the last query is a GRANT that is missing. false: there was one, or rc is an error. */
bool finding_grants(struct findings *, const char *what, struct pq *, int rc, const struct err *);

/* Appends who may run --install on that database. rc: of the query whose rows are the GRANTs that
 * this role lacks to do so itself. */
void finding_admin(struct buf *, const char *what, const struct pq *, int rc);

/* ---- checkdest.c: --check's part about dest_table */

void checkdest_run(struct findings *, struct pq *dst, const struct conf *);

/* ---- admin.c: the switches that do one thing and exit; check.c: --check */

int admin_register(struct job *, struct err *);
int admin_unregister(struct job *, struct err *);
int admin_rewind(struct job *, struct err *);
int admin_reset(struct job *, struct err *);
int admin_install(struct job *, struct err *);
/* Prints to standard output. 0 when it could run, 1 when something is missing or wrong. */
int check_run(struct job *);

/* ---- status.c: --status */

/* Prints to standard output. 0, or 1 when something could not be told. */
int status_run(struct job *, bool json);

#endif
