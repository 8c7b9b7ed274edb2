/*
 * Bytes and the machine: what knows no database and no config. The lowest folder.
 *
 * A folder's header is the public face of its files, a section each, from the lowest level to the
 * highest: a file calls only what stands above its own section, or in a lower folder. It includes
 * its own folder's header and nothing else of ours, so that what is higher cannot be called.
 *
 * What can fail takes a struct err last and returns a negative ERR_ code; the first error stays.
 * Bytes that came from an event or a config are spans: they have a length and may hold anything.
 */
#ifndef BASE_H
#define BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define TDISPATCH_VERSION "0.1.0"

#define NAME_BYTES_MAX 63               /* an identifier of the server, NAMEDATALEN - 1 */

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

/* ---- text.c: bytes that may be anything, as text that a program reads */

#define TEXT_GROWTH 6                   /* a byte becomes so many at most */

/* Text without its quotes, for a string of JSON and a label's value in Prometheus' format. What is
 * no UTF-8 becomes U+FFFD. Returns the bytes written: as many whole characters as fit. */
size_t text_json(char *out, size_t size, struct span);
size_t text_label(char *out, size_t size, struct span);
/* For a person's terminal: a control character is shown as \xHH, a newline or tab as a blank. */
size_t text_line(char *out, size_t size, struct span);
size_t text_page(char *out, size_t size, struct span);         /* the same, with newlines and tabs */

bool text_is_utf8(struct span);

const char *text_s(int64_t n);          /* what a noun ends with after that number: "s" or "" */

/* ---- file.c: open and replace files safely: no symlinks, nothing planted by others */

/* Opens path with flags, creating it with mode 0640; never through a symbolic link, and only a
 * regular file of ours or root's that has no other name. A descriptor, or -1 with the reason. */
int file_open(const char *path, int flags, const char **why);

/* Small files, replaced whole: by path.new and a rename. 0, or -1 with errno; ELOOP and EINVAL for
 * what is no regular file. */
int file_replace(const char *path, struct span text, mode_t mode);
/* The first size - 1 bytes of path and a NUL. 0, or -1 with errno. */
int file_read(const char *path, char *text, size_t size);

/* ---- log.c: where log lines go; keeps errno */

enum log_level { LVL_ERROR, LVL_WARN, LVL_INFO, LVL_DEBUG, LVL_TRACE };

/* job: name in each line, copied. Until log_open lines go to standard error. */
void log_setup(const char *job, enum log_level level);

/* Appends to path, opened by file_open; rotates it before it grows over max_bytes, keeping `keep`
 * old files as path.1 ...; never where one of the two is 0. 0, or -1 with the reason in why. */
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
void buf_line(struct buf *, const char *text);  /* as a part of a line that a person reads */
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

/* ---- print.c: what a person reads who started a switch; no control characters come through */

/* A line, or a part of one: only a newline at the end of fmt is one. */
void print_line(FILE *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void print_page(FILE *, const char *text);      /* with its newlines and tabs */

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

/* ---- process.c: signals, the pid file, going to the background, signalling the process there */

/* First of all in main: opens descriptors 0 to 2 where they are closed, undoes what signals the
 * caller ignored, makes the loaded addresses read-only. */
void process_begin(void);

/* Signals are blocked but while process_ppoll waits; their handlers set flags. */
void process_signals(int code);         /* exit status if a signal ends us in process_may_end */
bool process_stop_now(void);            /* SIGTERM came */
bool process_stop_after_batch(void);    /* SIGINT came */
bool process_take_reload(void);         /* SIGHUP came since the last call */

struct pollfd;
/* ppoll that lets signals in; timeout_ms < 0 waits for ever. As ppoll; -1 with EINTR on a signal. */
int process_ppoll(struct pollfd *, unsigned n, int64_t timeout_ms);
/* From here on SIGTERM ends the process a second later, or no longer: for calls that wait without
 * letting signals in, while nothing is at stake. */
void process_may_end(bool yes);
/* Sleeps; false: it ended early, on a signal that asks to stop or to reload. */
bool process_sleep(int64_t ms);
int64_t clock_ms(void);                 /* CLOCK_MONOTONIC */

#define PIDFILE_HELD -2                 /* another process has it */

/* Locks path and writes our pid. 0, or -1 or PIDFILE_HELD with the reason in why.
 * The lock is the truth, the number in the file a courtesy; but table_dispatcher's number, where
 * that runs, is refused too. */
int process_pidfile(const char *path, char *why, size_t why_size);
void process_pidfile_remove(void);       /* if it is ours and names us */
/* Makes the file anew if somebody took it away. As process_pidfile; after a failure there is none. */
int process_pidfile_keep(char *why, size_t why_size);
/* The process whose number stands in path, where that runs table_dispatcher, which takes no lock;
 * else 0. */
int process_old_program(const char *path);
/* Sends sig to the process that holds the lock on path. 0, or -1 with the reason in why. */
int process_signal(const char *path, int sig, char *why, size_t why_size);
/* Forks; the parent waits and exits with what process_ready is told, or with the child's exit code. */
int process_fork(char *why, size_t why_size);
void process_ready(void);               /* the child is up: the parent exits 0. Once; else nothing. */

#endif
