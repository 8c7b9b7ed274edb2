/*
 * Bytes and the machine. The lowest folder: it knows nothing of databases or the config.
 *
 * A folder's header declares what its files export, one section per file, lowest level first: a
 * file calls only what is declared above its own section, or in a lower folder. It includes its own
 * folder's header and no other of ours, so that calling upward does not compile.
 *
 * A function that can fail takes a struct err last and returns a negative ERR_ code; the first
 * error stays. Bytes from an event or the config are spans: they have a length and may hold
 * anything. Assertions state what our own code keeps true, never what comes from outside; the
 * static binary is built without them.
 */
#ifndef BASE_H
#define BASE_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

#define TDISPATCH_VERSION "0.1.0"

#define NAME_BYTES_MAX 63               /* an identifier of the server, NAMEDATALEN - 1 */

struct span {                           /* borrowed bytes; p == NULL is SQL NULL */
	const char *p;
	size_t n;
};

enum err_code {
	ERR_CONN = -1,                  /* connection lost or refused: reconnect, retry */
	ERR_RESOURCE = -2,              /* the server lacks disk, memory, slots: wait, retry */
	ERR_RIGHTS = -3,                /* privileges, roles, missing database */
	ERR_READONLY = -4,              /* the server became a standby: reconnect, retry */
	ERR_TIMEOUT = -5,               /* statement or lock timeout: retry */
	ERR_CONFLICT = -6,              /* serialization, deadlock, creation race: retry at once */
	ERR_DATA = -7,                  /* an event that cannot be written */
	ERR_SHAPE = -8,                 /* a table or column is missing */
	ERR_POSITION = -9,              /* queue and target disagree about what was loaded */
	ERR_CONF = -10,                 /* wrong usage or config: nothing was touched */
	ERR_STOP = -11,                 /* a signal asks to end now */
	ERR_OTHER = -12                 /* any other server error: wait, retry */
};

struct err {                            /* the caller zeroes it before use */
	int code;                       /* 0 or an enum err_code */
	char sqlstate[6];               /* of the server's error; else "" */
	char msg[1024];                 /* one readable line */
};

/* ---- words: eight bytes at a time, for the parsers; the first byte is the lowest */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as little endian");

#define WORD_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t word_load(const char *p)
{
	uint64_t x;

	__builtin_memcpy(&x, p, sizeof x);
	return x;
}

/* 0x80 in each byte of x that is zero, and nothing else. */
static inline uint64_t word_zeros(uint64_t x)
{
	return ~(((x & WORD_EACH(0x7f)) + WORD_EACH(0x7f)) | x | WORD_EACH(0x7f));
}

/* Index of the lowest byte that is not zero. */
static inline size_t word_first(uint64_t mask)
{
	return (size_t)__builtin_ctzll(mask) >> 3;
}

/* memcmp is slow for the few bytes of a name. */
static inline bool same_bytes(const char *a, const char *b, size_t n)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8)
		if (word_load(a + i) != word_load(b + i))
			return false;
	if (n >= 8)
		return word_load(a + n - 8) == word_load(b + n - 8);
	while (i < n && a[i] == b[i])
		i++;
	return i == n;
}

/* A hash for tables in memory. */
static inline uint64_t word_hash(const char *p, size_t n)
{
	uint64_t h = n;

	for (; n >= 8; n -= 8, p += 8) {
		h = (h ^ word_load(p)) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 32;
	}
	for (; n; n--, p++)
		h = (h << 8 ^ h >> 56) ^ (unsigned char)*p;
	h *= UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 32;
}

/* ---- text.c: arbitrary bytes as text that programs can read */

#define TEXT_GROWTH 6                   /* one byte becomes at most this many */

/* Escapes for a JSON string and for a Prometheus label value, without the quotes around it. Invalid
 * UTF-8 becomes U+FFFD. Returns the bytes written: as many whole characters as fit. */
size_t text_json(char *out, size_t size, struct span);
size_t text_label(char *out, size_t size, struct span);
/* For a terminal: a control character becomes \xHH, a newline or tab a blank. */
size_t text_line(char *out, size_t size, struct span);
size_t text_page(char *out, size_t size, struct span);         /* the same, but keeps them */

bool text_is_utf8(struct span);
bool text_matches(struct span pattern, struct span);    /* `*`: any bytes, also none */

#define TEXT_GROUPED 32

const char *text_grouped(int64_t n, char out[TEXT_GROUPED]);    /* 1,234,567; returns out */
const char *text_s(int64_t n);          /* the plural ending after that number: "s" or "" */

/* ---- file.c: open and replace files safely: no symlinks, nothing planted by others */

/* Opens path with flags, creating it with mode 0640. Refuses symbolic links and anything but a
 * regular file that we or root own and that has no second link. A descriptor, or -1 with the reason
 * in *why. */
int file_open(const char *path, int flags, const char **why);

/* Replaces a small file atomically: writes path.new and renames it. 0, or -1 with errno; ELOOP or
 * EINVAL where path is not a regular file. */
int file_replace(const char *path, struct span text, mode_t mode);
/* Reads up to size - 1 bytes of path and adds a NUL. 0, or -1 with errno. */
int file_read(const char *path, char *text, size_t size);

/* ---- log.c: where log lines go; errno is preserved */

enum log_level { LVL_ERROR, LVL_WARN, LVL_INFO, LVL_DEBUG, LVL_TRACE };

/* job: the name in each line; it is copied. json: each line is an object: time, level, job, pid,
 * msg. Until log_open, lines go to standard error alone. */
void log_setup(const char *job, enum log_level level, bool json);

/* From now on lines go to standard error, and to the file at `where`, opened by file_open: it is
 * rotated before it exceeds max_bytes, and `keep` old files stay as path.1 ...; no rotation if
 * either is 0. "syslog": to the system log, and to standard error only if that is a terminal or the
 * system log does not accept them. NULL: to standard error alone. 0, or -1 with the reason in why;
 * then lines go where they went before. */
int log_open(const char *where, int64_t max_bytes, int keep, char *why, size_t why_size);

/* Draws a status line at the bottom of the terminal at standard error, over the previous one; NULL
 * removes it. While it is shown, only warnings and errors go to standard error. */
void log_status(const char *line);

/* In a child: from now on each line is a packet on the socket. */
void log_forward(int fd);
/* In its parent: logs what has arrived there, with `before` in front; does not wait. */
void log_relay(int fd, const char *before);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- buf.c: the growing byte buffer, quoting into it, and struct err */

/* len <= cap; p is malloc'ed or NULL. If memory runs out the process ends: that is safe, since only
 * the target's commit records progress. */
struct buf {
	char *p;
	size_t len, cap;
};

void *mem_alloc(size_t n);                      /* malloc; ends the process on failure */
char *mem_str(const char *p, size_t n);         /* NUL-terminated copy; caller frees */
char *mem_text(const char *text);               /* the same of all of it; NULL of NULL */
char *mem_lower(const char *p, size_t n);       /* the same with ASCII letters in lower case */
/* Makes room for one more element after n of size bytes each. Returns at, or a larger copy of it,
 * and then frees at. *cap: the number of elements that fit. */
void *mem_grow(void *at, size_t n, size_t *cap, size_t size);
void buf_free(struct buf *);
char *buf_reserve(struct buf *, size_t n);      /* room for n more bytes; where they go */
void buf_add(struct buf *, const char *p, size_t n);
void buf_str(struct buf *, const char *s);
void buf_fmt(struct buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *buf_cstr(struct buf *);             /* NUL-terminated, valid until the next change */

/* An identifier, in double quotes where SQL needs them. */
void buf_ident(struct buf *, struct span name);
/* schema.name; an empty schema is left out, with the dot. */
void buf_qualified(struct buf *, struct span schema, struct span name);
/* SQL for the oid of the table, found through search_path if schema is empty; it yields NULL if
 * there is none. */
void buf_regclass(struct buf *, struct span schema, struct span table);
/* A string literal that means the same whatever standard_conforming_strings is. */
void buf_literal(struct buf *, struct span value);
void buf_json(struct buf *, const char *text);  /* as a JSON string */
void buf_line(struct buf *, const char *text);  /* as part of a readable line, see text_line */
/* For a message: at most max bytes, with control and non-ASCII bytes as \xHH. */
void buf_printable(struct buf *, struct span value, size_t max);

struct span span_of(const char *s);             /* NULL gives the NULL span */
bool span_is(struct span, const char *s);
bool span_eq(struct span, struct span);
/* FNV-1a of kind and s. It makes advisory lock keys, so its values must never change. */
uint64_t span_hash(const char *kind, struct span s);

/* Sets the error unless one is set already; returns the code of the first. */
int err_set(struct err *, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Appends to the message as far as there is room: what to do, or who is to blame. */
void err_add(struct err *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- hash.c: a hash table of links */

struct hash_link {                      /* stands in what the table finds */
	struct hash_link *next;
	uint64_t key;
};

struct hash {                           /* zeroed before use */
	struct hash_link **bucket;
	size_t n, size;
};

/* Several links may have one key. The link is borrowed until it is removed. */
void hash_add(struct hash *, struct hash_link *, uint64_t key);
struct hash_link *hash_find(const struct hash *, uint64_t key);         /* the first, or NULL */
struct hash_link *hash_next(const struct hash_link *);  /* the next with its key, or NULL */
void hash_remove(struct hash *, const struct hash_link *);      /* which is in it */
void hash_clear(struct hash *);         /* forgets all links and frees the table */

/* ---- print.c: output of the switches for a person; control characters are escaped */

/* A line, or part of one: only a newline at the end of fmt is printed as a newline. */
void print_line(FILE *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void print_page(FILE *, const char *text);      /* keeps newlines and tabs */

/* ---- tally.c: rows per partition */

struct tally_part {
	char name[2 * NAME_BYTES_MAX + 2];  /* a table, with its schema where that counts */
	int64_t rows;
};

struct tally {                          /* zeroed before use; sorted by name */
	struct tally_part *at;
	size_t n, cap;
};

/* true if the name was not in it yet. */
bool tally_add(struct tally *, const char *name, int64_t rows);
const struct tally_part *tally_find(const struct tally *, const char *name);    /* or NULL */
void tally_merge(struct tally *, const struct tally *more);      /* adds all of more */
bool tally_same_names(const struct tally *, const struct tally *);
int64_t tally_rows(const struct tally *);       /* of all partitions */
void tally_clear(struct tally *);               /* frees what it holds; may be used again */

/* ---- pidfile.c: the pid file: one process a file, and a way to signal it */

#define PIDFILE_HELD -2                 /* another process holds the lock */

/* Locks path and writes our pid. 0, or -1 or PIDFILE_HELD with the reason in why. The lock decides;
 * the number in the file is informational, except that a running table_dispatcher, which takes no
 * lock, counts as a holder too. */
int pidfile_take(const char *path, char *why, size_t why_size);
/* Recreates the file if somebody removed it. Returns as pidfile_take; after a failure we hold
 * none. */
int pidfile_keep(char *why, size_t why_size);
/* Both remove the file if we hold it and it names us. pidfile_unlink keeps the lock, and is
 * async-signal-safe. */
void pidfile_unlink(void);
void pidfile_remove(void);
/* The pid in path if that process is table_dispatcher, which takes no lock; else 0. */
int pidfile_old_program(const char *path);
/* The process that holds the lock on path. 0: none, or -1, with the reason in why. */
int pidfile_holder(const char *path, char *why, size_t why_size);
/* 0, or -1 with the reason in why. */
int pidfile_signal(int pid, int sig, char *why, size_t why_size);

/* ---- process.c: signals, waiting, going to the background */

/* main calls it first: opens descriptors 0 to 2 if they are closed, restores signals that the
 * parent ignored, makes relocated data read-only. */
void process_begin(void);

/* Blocks signals except while process_ppoll waits; their handlers set flags. */
void process_signals(int code);         /* exit status if a signal ends us in process_may_end */
bool process_stop_now(void);            /* SIGTERM came */
bool process_stop_after_batch(void);    /* SIGINT came */
bool process_take_reload(void);         /* SIGHUP came since the last call */

struct pollfd;
/* ppoll with signals unblocked; timeout_ms < 0: no limit. Returns as ppoll; -1 with EINTR on a
 * signal. */
int process_ppoll(struct pollfd *, unsigned n, int64_t timeout_ms);
/* true: from now on SIGTERM ends the process after a second, for calls that wait with signals
 * blocked while nothing is at stake. false: no longer. */
void process_may_end(bool yes);
/* Sleeps. false: a signal to stop or reload ended it early. */
bool process_sleep(int64_t ms);
#define PROCESS_WAKERS 2                /* most descriptors that end a sleep */
/* The same; false also when one of n descriptors, -1 for none, can be read. */
bool process_sleep_on(const int *fd, unsigned n, int64_t ms);
int64_t clock_ms(void);                 /* CLOCK_MONOTONIC */

void process_detach(void);              /* descriptors 0 to 2 become /dev/null */
/* Forks and returns in the child. The parent waits and exits: with 0 on process_ready, or with the
 * child's exit code. 0, or -1 with the reason in why. */
int process_fork(char *why, size_t why_size);
/* In a child that was forked to work beside us: signals end it, and so does the parent's end. Of
 * the descriptors only fd stays open; 0 to 2 are /dev/null. */
void process_child(pid_t parent, int fd);
/* The child is up: the parent exits with 0, and descriptors 0 to 2 are /dev/null. A no-op without
 * process_fork, and when called again. */
void process_ready(void);

/* ---- socket.c: addresses to listen on */

struct socket_address {
	struct sockaddr_storage to;
	socklen_t n;
};

/* Parses 127.0.0.1:9187, [::1]:9187, or the path of a Unix socket. false: none of these. */
bool socket_address(const char *text, struct socket_address *);
/* A listening socket, non-blocking, or -1 with errno. A Unix socket has mode 0666, and replaces one
 * on which nobody listens any more. */
int socket_listen(const struct socket_address *);

/* ---- http.c: a minimal HTTP/1.1 server of a few small pages, in a process of its own */

struct http_page {
	const char *path, *type;        /* "/metrics", its content type; path NULL ends a list */
	int (*write)(void *arg, struct buf *body);      /* returns the status: 200 or 503 */
};

/* Serves the pages as long as `parent` is our parent. */
void http_serve(int listener, const struct http_page *pages, void *arg, pid_t parent);

#endif
