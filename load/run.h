/*
 * What retry.c, service.c, reload.c and run.c share: a run. No other file includes it.
 */
#ifndef RUN_H
#define RUN_H

#include "from.h"

/* ---- retry.c */

struct retry {                          /* zeroed but once, attended */
	bool once;                      /* a finite run: gives up after retry_limit */
	bool attended;                  /* somebody waits for the start: missing rights end it */
	int code;                       /* of the last error; 0 after a success */
	int tries;                      /* in a row with that code */
	/* clock_ms() of the first error after a success; since then: */
	int64_t since_ms;
	int attempts;                   /* that failed */
	int reminders;                  /* logged of what lasts */
	char said[256];                 /* the beginning of the last error, without numbers */
};

/* Logs the error, or at debug level if it is no news. lost: a connection that had worked is lost,
 * which always is. Returns the milliseconds to wait before the next try; -1: give up. */
int64_t retry_after(struct retry *, const struct conf *, const struct err *, bool lost);
void retry_success(struct retry *);             /* logs that an error is over */

/* ---- run.c */

struct run {
	const struct switches *asked;
	struct conf *conf;
	struct job job;
	struct loader loader;
	struct from from;
	struct watch watch;
	struct listen listen;
	struct ticker ticker;
	struct retry retry;
	bool connected_once;
	bool copied;                    /* from_table is */
	int64_t until_tick;             /* --once: the queue's last tick at the start, 0: unknown */
	int64_t busy_ms;                /* clock_ms() after the last batch that had events */
};

/* Is copying a table all that it does? Else a queue follows. */
static inline bool run_is_copy(const struct run *r)
{
	return r->conf->from_table && (r->asked->from || !*r->conf->queue_name);
}

/* Does it end when what was there at its start is loaded? */
static inline bool run_is_finite(const struct run *r)
{
	return r->asked->once || run_is_copy(r);
}

/* Does the run end by itself? Then being stopped early is a failure. */
static inline bool run_is_one_off(const struct run *r)
{
	return run_is_finite(r) || r->conf->loop_delay == 0;
}

/* ---- service.c */

/* Listens where the config says. An address that cannot be used is logged: 0 with --once, else
 * ERR_CONF. */
int service_listen(struct run *);
/* Listens on another address, or after an error on the old one again. NULL: on none. */
int service_move(struct run *, const char *to, struct err *);
void service_tick(struct run *);        /* starts the ticker, if the config wants one */
void service_end(struct run *);

/* ---- reload.c */

/* Reads the config again, and opens its log file and its listener. false: an error, which is
 * logged; nothing has changed, but the log file is reopened all the same. */
bool reload_read(struct run *, struct conf *);
/* After that, between two batches: drops what was derived from the old config, and takes over the
 * new one. */
void reload_take(struct run *, struct conf *);

#endif
