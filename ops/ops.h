/*
 * The switches that inspect and set up: --check, --status, --register, --install and the like.
 */
#ifndef OPS_H
#define OPS_H

#include "../load/load.h"

/* ---- finding.c: what --check finds, one line each on standard output */

struct findings {
	int missing, wrong;             /* each would stop a run */
};

void finding_ok(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void finding_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void finding_missing(struct findings *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void finding_wrong(struct findings *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void finding_error(struct findings *, const struct err *);      /* missing or wrong by its code */
/* Each row of the last query, which returned rc, is a missing GRANT. false: there is one, or rc is
 * an error. */
bool finding_grants(struct findings *, const char *what, struct pq *, int rc, const struct err *);

/* Appends who can run --install on that database. rc: of the last query, whose rows are the GRANTs
 * that this role lacks to do it. */
void finding_admin(struct buf *, const char *what, const struct pq *, int rc);

/* ---- checksource.c: --check's part about who writes events */

enum feed_time {
	FEED_TEXT,                      /* any text, as far as is known */
	FEED_MOMENT,                    /* a server's timestamptz: with an offset */
	FEED_CLOCK                      /* a server's date or timestamp */
};

struct feed {                           /* what its triggers say of the events; zeroed before use */
	bool known;                     /* there are triggers that feed the queue */
	bool one_key;                   /* all name the same primary key: */
	struct buf key;                 /* its columns, separated by commas */
	struct tally columns;           /* those that all events have */
	enum feed_time part;            /* what all write where a partition is picked by it */
};

void checksource_run(struct findings *, struct pq *src, const struct conf *, struct style *, struct feed *);
void checksource_free(struct feed *);

/* ---- checkparts.c: --check's part about the tables that get rows */

/* style: zeroed when the source could not be asked. */
void checkparts_run(struct findings *, struct pq *dst, const struct dest *, const struct style *, const struct feed *);

/* ---- checkdest.c: --check's part about dest_table */

/* dst: an open connection. Errors are findings. false: what is in its schema cannot be looked at. */
bool checkdest_run(struct findings *, struct pq *dst, const struct dest *, const struct feed *);

/* ---- check.c: --check */

/* Prints to standard output. 0: a run would work; 1: something is missing or wrong. */
int check_run(struct job *);

/* ---- admin.c: the switches that do one thing and exit */

/* Each connects by itself, prints what it did, and returns 0 or an error. */
int admin_register(struct job *, struct err *);
int admin_unregister(struct job *, struct err *);
int admin_rewind(struct job *, struct err *);
int admin_reset(struct job *, bool yes, struct err *);  /* yes: does not ask, as where nobody is at a terminal */
int admin_install(struct job *, struct err *);

/* ---- status.c: --status */

/* Prints to standard output; again: each second, until a signal. 0; 1: something could not be
 * determined. */
int status_run(struct job *, bool json, bool again);

#endif
