/*
 * What others see of a run: its log, files, metrics and verdict; and the ticker beside it.
 */
#ifndef REPORT_H
#define REPORT_H

#include "../sink/sink.h"

/* ---- health.c: is all well, and if not, what is wrong? */

struct health {                         /* what is known; -1 where it is not, also in queue */
	int64_t pid;                    /* of the running process; 0: none runs */
	const char *doing;              /* see struct state */
	int64_t still_ms;               /* without progress */
	int64_t failing_ms;             /* since the first of its errors in a row; -1: none */
	const char *error;              /* of the last one; "" */
	int64_t from_tick, to_tick;     /* the batch at hand */
	int64_t batch_ms;               /* since it began; -1: there is none */
	bool stopping;                  /* after it */
	struct queue_backlog queue;     /* after what the target has */
	int64_t rate;                   /* events a second */
	/* rate: by which the backlog shrinks, 0: it does not; else that are loaded */
	bool gains;
};

#define HEALTH_STALL_S 1200             /* default of --max-stall: longer than server_timeout */

/* Appends the verdict. true: the process runs, with progress in the last stall_ms and no more lag
 * than lag_limit_ms; 0: any. */
bool health_line(const struct health *, int64_t stall_ms, int64_t lag_limit_ms, struct buf *);
/* Has the ticker stopped? Then appends `before`, for how long, and what to do. */
bool health_no_ticks(const struct queue_backlog *, const char *before, struct buf *);
/* When to tell for the n-th time, from 0, of what lasts: milliseconds since it began. */
int64_t health_remind_ms(int n);

/* ---- metrics.c: the process's counters, and their text in the metrics file */

#define METRICS_BUCKETS 11
#define METRICS_CLASSES 40              /* SQLSTATE classes; further ones are not counted */
#define METRICS_KINDS (1 - ERR_OTHER)

struct load {                           /* the figures of one loaded batch */
	int64_t events, rows, unstored, bytes, partitions, dead, skipped;
	int64_t late, late_rows;        /* left out; loaded, and to be removed by part_keep */
	int64_t passed;                 /* events that filters left out */
	const struct tally *dests;      /* rows by dest_table; NULL: there is one */
	int64_t tick, took_ms, lag_ms;  /* lag_ms: from its tick to its commit */
};

struct metrics {                        /* zeroed before use */
	int64_t events, rows, unstored, bytes, batches, partitions, dead, skipped, late, late_rows;
	int64_t passed;
	struct { char class[3]; int64_t n; } error[METRICS_CLASSES];
	size_t nerror;
	int64_t bucket[METRICS_BUCKETS], took_ms;
	int64_t retries[METRICS_KINDS]; /* by error code, negated */
	int64_t dead_waiting;           /* letters in the table; -1: unknown */
	int64_t success_s;              /* since 1970, 0: never */
	struct tally dests;             /* rows by dest_table, with sections */
};

/* ---- state.c: the state file, what others know of the running process */

struct state {                          /* times are clock_ms() or since 1970 */
	int64_t pid;
	int64_t began;                  /* its start, in clock ticks since boot; 0: unknown */
	char doing[16];                 /* starting, loading, idle, failing or ended */
	int64_t progress_ms;            /* of the last progress, or when last idle */
	int64_t events;                 /* since the start */
	int64_t error_at_s;             /* of the last error; 0: none */
	char error[1024];               /* its message, one line */
	int64_t failing_ms;             /* of the first error in a row; 0: it does not fail */
	/* when the last error was over; 0: it is not, or there was none */
	int64_t error_over_s;
	int64_t error_lasted_ms;
	struct queue_backlog queue;     /* but what is loaded since; its lag is of: */
	int64_t lag_at_ms;
	int64_t looked_ms;              /* the rest of it is of then; 0: unknown */
	int64_t looked_events;          /* `events` then */
	/* events a second by which the backlog shrank before; -1: unknown */
	int64_t gain;
	int64_t batch_ms;               /* when the batch at hand began; 0: there is none */
	int64_t from_tick, to_tick;     /* of that batch */
	int64_t stopping;               /* 1: after that batch */
	char version[24];               /* of the process's program; "": unknown */
	/* whose it is; "": unknown */
	char config[512], consumer_name[128], queue_name[128];
};

/* Is process pid, which holds the config's pidfile, one of another file, for another consumer or
 * queue? Then why says so. false in doubt. */
bool state_is_anothers(const struct conf *, int pid, char *why, size_t why_size);
/* 0, or -1 with errno; EINVAL: not a state file. */
int state_read(const char *path, struct state *);
bool state_is_live(const struct state *);       /* is its process running? */
/* What it tells now. The answer borrows strings from it. */
struct health state_health(const struct state *);
/* Appends the verdict on the process of that file; see health_line. */
bool state_healthy(const char *path, int64_t stall_ms, int64_t lag_limit_ms, struct buf *line);

/* ---- progress.c: progress of a finite run, for whoever is watching */

enum progress_kind {
	PROGRESS_LOG,                   /* a log line from time to time */
	PROGRESS_LINE,                  /* one redrawn line on the terminal at standard error */
	PROGRESS_JSON                   /* one object per line, to standard output */
};

struct progress {
	enum progress_kind kind;
	int64_t total;                  /* pending events at the start, an estimate; -1: unknown */
	int64_t start_ms, shown_ms;
	int64_t events, batches, parts; /* committed */
	int64_t passed;                 /* events that filters left out */
	int64_t bad, errors;            /* dead letters and skipped events; errors of the run */
	int64_t now_events;             /* of the current batch */
	int64_t now_verified;           /* of these, read a second time */
	bool verify;                    /* each batch is read a second time, */
	bool verifying;                 /* and that is going on */
	bool stopping;                  /* the current batch is the last */
	bool lost;                      /* the position: the same command would fail again */
	bool of_table;                  /* events are rows of a table; then, unless 0: */
	int64_t bytes, bytes_total;     /* of the table: copied before the slice at hand; all */
	int64_t bytes_start;            /* copied before this run */
	int64_t slice_bytes, slice_rows;        /* of that slice, an estimate */
	struct tally rows;
};

/* ---- listen.c: metrics_listen: GET /metrics and /health, answered by a child process */

struct listen {                         /* zeroed before use */
	char *address;
	int fd, pages_fd;               /* 0: not open */
	struct listen_pages *pages;     /* shared with the child; NULL: nobody listens */
	pid_t child;                    /* 0: none */
	int64_t started_ms;             /* clock_ms() of its start; 0: none was started */
};

/* Begins to listen. NULL: a no-op. 0, or ERR_CONF. */
int listen_open(struct listen *, const char *address, struct err *);
void listen_close(struct listen *);
/* Was this program executed as the child? Then listen_child serves, and returns the exit code. */
bool listen_is_child(int argc, char **argv);
int listen_child(void);

/* ---- ticker.c: the ticker inside, in a child process, and ticks on request */

struct ticker {                         /* zeroed before use */
	const struct conf *conf;        /* borrowed */
	struct ticker_mind *mind;       /* private; shared with the child; NULL: there is none */
	pid_t child;                    /* 0: none */
	int fd;                         /* from which its log lines come; not over 0: none */
	int64_t started_ms;
};

/* Starts the child, if the config wants one, in place of the one that runs. What cannot be had is a
 * warning. */
void ticker_start(struct ticker *, const struct conf *);
void ticker_stop(struct ticker *);
/* --tick: makes a tick that sees all that is committed now, or forces it and waits for the one who
 * makes it: ERR_RIGHTS if nobody does in a minute. */
int ticker_run(const struct conf *, struct pq *src, int64_t *tick, struct err *);

/* ---- report.c: reports of the running process: state file, metrics file, systemd */

struct report {
	const struct conf *conf;        /* borrowed; its contents may change */
	struct listen *listen;          /* NULL: nobody can ask */
	struct state state;
	struct metrics metrics;
	int64_t state_due_ms, metrics_due_ms, watchdog_due_ms;
	int64_t watchdog_ms;            /* 0: no watchdog */
	int64_t events, bytes;          /* report_progress's last arguments */
	bool ready, notified, state_failed, metrics_failed;
	bool silent;                    /* another live process owns the files */
	bool over;                      /* the process ends */
	char status[256];               /* last sent */
};

/* From now on what is reported can be asked there, too. NULL: no longer. */
void report_listen(struct report *, struct listen *);
void report_ready(struct report *);             /* works, or waits for a server; once */
void report_reloading(struct report *);         /* until report_ready */
void report_success(struct report *, bool idle);        /* committed; idle: no batch */

/* ---- watch.c: one face for report and progress */

struct watch {                          /* zeroed before use */
	struct report report;
	struct progress progress;
	bool shown;                     /* progress is shown */
	bool stopping;                  /* it was told that this batch is the last */
	int64_t parts;                  /* created since the last batch, without premade ones */
	int64_t look_due_ms, dead_due_ms;
	int64_t no_ticks_ms;            /* since when the ticker has stopped; 0: it has not */
	int reminders;                  /* of that */
	bool hinted;                    /* that the events of the first minute wait for a tick */
	struct ticker *ticker;          /* NULL: none */
	struct load sum;                /* of the batches since sum_ms, for log_interval */
	int64_t batches, sum_ms;
};

void watch_start(struct watch *, const struct conf *);  /* borrowed; its contents may change */
/* Call it before conf becomes `to`. What is known of the queue is forgotten. */
void watch_moves(struct watch *, const struct conf *to);
/* From now on shows progress. verify: each batch is read twice. */
void watch_show(struct watch *, enum progress_kind, bool verify);
/* From here to watch_batch: NULL is a no-op. */
/* Called within a batch with the events read and the bytes sent so far. Returns the milliseconds
 * until it must be called again; -1: no limit. */
int64_t watch_pass(struct watch *, int64_t events, int64_t bytes);
void watch_begin(struct watch *, const struct queue_batch *);  /* before it is loaded */
/* A slice of a table is at hand: of its bytes so many are copied, and so many are in the slice with
 * about slice_rows rows. */
void watch_slice(struct watch *, int64_t bytes, int64_t bytes_total, int64_t slice_bytes,
	int64_t slice_rows);
void watch_verify(struct watch *, bool on);     /* the events are being read a second time */
void watch_alive(struct watch *);               /* progress of any other kind */
/* A new partition is committed. ahead: by premake. */
void watch_partition(struct watch *, struct span name, bool ahead);
int64_t watch_partitions(const struct watch *); /* for this batch, with failed tries */
void watch_batch(struct watch *, const struct load *, const struct tally *rows,
	const struct letters *);
/* Between two batches, with src and dst idle, at most every 10 seconds: looks where the queue is,
 * and warns when its ticker has stopped. tick: that the target has, -1: the consumer's. An error is
 * of the connection alone. */
int watch_look(struct watch *, struct pq *src, struct pq *dst, int64_t tick, struct err *);
/* again: what failed will be tried again */
void watch_error(struct watch *, const struct err *, bool again);
void watch_sleep(struct watch *, int64_t ms);   /* as process_sleep */
/* The same, but a tick ends it of which we are told: of our own ticker, or by a notification. */
void watch_idle(struct watch *, struct pq *src, int64_t ms);
/* how: a word; all but "done" says that not all is in. */
void watch_end(struct watch *, const char *how, bool failed);

#endif
