/*
 * The switches that inspect and set up: --check, --status, --register, --install and the like.
 */
#ifndef OPS_H
#define OPS_H

#include "../load/load.h"

enum feed_time {
	FEED_TEXT,                      /* any text, as far as is known */
	FEED_MOMENT,                    /* a server's timestamptz: with an offset */
	FEED_CLOCK                      /* a server's date or timestamp */
};

struct feed {                           /* what triggers say of events; zeroed: not known */
	struct tally tables;            /* only of the triggers of these; empty: of all */
	bool known;                     /* there are triggers that feed the queue */
	bool one_key;                   /* all name the same primary key: */
	struct buf key;                 /* its columns, separated by commas */
	struct tally columns;           /* those that all events have */
	bool no_key;                    /* some name none */
	bool several;                   /* of several tables */
	bool backup;                    /* all tell the row before an update */
	enum feed_time part;            /* what all write where a partition is picked by it */
};

/* ---- rights.c: the rights that a role needs, as the statements that give them */

enum right_use {                        /* these numbers stand in SQL, too */
	RIGHT_RUN,                      /* a run needs it */
	RIGHT_PERHAPS,                  /* for events that do not bring a column */
	RIGHT_REPLAY, RIGHT_VERIFY,     /* --replay, --verify */
	RIGHT_KEEP,                     /* part_keep, for partitions that another role made */
	RIGHT_TICK                      /* --tick */
};

struct right {
	char *give;                     /* "GRANT ... TO role;" */
	enum right_use use;
	char *column;                   /* of RIGHT_PERHAPS, or NULL */
};

struct rights {                         /* zeroed before use */
	struct right *at;
	size_t n, cap;
};

#define RIGHTS_OF_ANYBODY "ROLE"        /* of one that has no more than everybody */

/* Both add what the role (NULL: the session's own) lacks to run with the config, rights_target for
 * one of its destinations. An error leaves what was found before; call rights_free. */
int rights_source(struct rights *, struct pq *src, const struct conf *, const char *role,
	struct err *);
int rights_target(struct rights *, struct pq *dst, const struct conf *, const struct dest *,
	const struct feed *, const char *role, struct err *);
/* What the session's role lacks to create what --install creates: a queue, a schema. */
int rights_create_queue(struct rights *, struct pq *src, struct err *);
int rights_create_schema(struct rights *, struct pq *dst, struct err *);
void rights_free(struct rights *);

/* ---- finding.c: what --check finds, one line each on standard output */

struct findings {
	int things;                     /* missing or wrong: each would stop a run */
	bool lacking;                   /* rights are among them */
};

/* Each prints one line; the last two count it. */
void finding_ok(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void finding_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void finding_missing(struct findings *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void finding_wrong(struct findings *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Missing or wrong by its code. Only a warning if the thing cannot be looked at because of rights
 * that were reported. */
void finding_error(struct findings *, const struct err *, const char *thing);
/* Reports the rights that are lacking on a server, and frees them. */
void finding_rights(struct findings *, const char *what, struct rights *);
/* Runs sql and frees it. Returns the number of rows; an error is a finding and counts as none. */
int finding_ask(struct findings *, struct pq *, struct buf *sql);
/* Prints the last line. Returns the exit code. */
int finding_conclude(const struct findings *);
/* Appends who can run --install on that database. rights: those that this role lacks to do it. */
void finding_installer(struct buf *, const char *what, const struct rights *);

/* ---- checkfiles.c: --check's part about files and metrics_listen */

void checkfiles_run(struct findings *, const struct conf *);

/* ---- checkserver.c: --check's part about a server */

/* encoding: of the client; NULL: the server's own. NULL: not connected, which is a finding. */
struct pq *checkserver_open(struct findings *, const char *what, const char *conninfo,
	const char *encoding);
/* May a run have all its connections? NULL: a server that is not connected. */
void checkserver_connections(struct findings *, const struct conf *, struct pq *src,
	struct pq *dst);

/* ---- checkfrom.c: --check's part about a table as the source */

/* Is a table the source, and no queue? */
bool checkfrom_alone(const struct conf *);
/* As checksource_meet and checksource_feed, of the table. One that is not there has nothing to
 * say. */
int checkfrom_meet(struct job *, struct findings *, struct err *);
int checkfrom_feed(struct job *, struct feed *, struct err *);
/* Is it there, and can its rows be divided? */
void checkfrom_run(struct findings *, struct pq *src, const struct conf *);

/* ---- checksource.c: --check's part about who writes events */

/* Adds the job's destinations: those that the config names, and with sections also those to which
 * these lead the tables whose triggers feed the queue. found, or NULL: gets tables that no section
 * is for. src NULL: not connected. */
int checksource_meet(struct job *, struct findings *, struct err *);
/* Which triggers feed the queue, with events that go that way? Fills feed; call
 * checksource_free. */
int checksource_feed(struct job *, const struct way *, struct feed *, struct err *);
/* The triggers, and the style, which is filled, and what is to be said of them. */
void checksource_run(struct findings *, struct pq *src, const struct conf *, struct style *);
void checksource_free(struct feed *);

/* ---- checktemplate.c: --check's part about part_template */

struct look {                           /* at one destination */
	struct findings *found;
	const struct job *job;          /* knows what is older than part_keep */
	struct pq *dst;
	const struct dest *dest;
	const struct style *style;      /* of the source; zeroed when it could not be asked */
	const struct feed *feed;
	struct table table;             /* dest_table */
	struct buf words;               /* of part_template, see table_words */
};

/* Reports what is wrong with part_template, and what does not fit dest_table if that exists. */
void checktemplate_run(struct look *);

/* ---- checkparts.c: --check's part about the tables that get rows */

/* Reports what is wrong with existing partitions, or with dest_table if it takes the rows itself.
 * Errors are findings. */
void checkparts_run(struct look *);

/* ---- checklatest.c: --check's part about row_mode = keep_latest */

/* Reports what is in the way of replacing rows by their key. Errors are findings. */
void checklatest_run(struct look *);

/* ---- checkdest.c: --check's part about dest_table; calls the three above */

/* job: age_look was called. dst: an open connection. Errors are findings. */
void checkdest_run(struct findings *, const struct job *, struct pq *dst, const struct dest *,
	const struct style *, const struct feed *);

/* ---- check.c: --check */

/* Prints to standard output. 0: a run would work; 1: something is missing or wrong. */
int check_run(struct job *);

/* ---- grant.c: --install's part about the role that is to run */

/* With src and dst[0] open. ERR_SHAPE if a server has no such role. */
int grant_require(struct job *, const char *role, struct err *);
/* Gives the role what it lacks, and prints that. ERR_RIGHTS: the session may not. */
int grant_give(struct job *, const char *role, struct err *);
/* Prints what a role without any right needs. */
int grant_say(struct job *, struct err *);

/* ---- admin.c: the switches that do one thing and exit */

/* Each connects by itself, prints what it did, and returns 0 or an error. */
int admin_register(struct job *, struct err *);
int admin_unregister(struct job *, struct err *);
int admin_rewind(struct job *, struct err *);
int admin_tick(struct job *, struct err *);
/* yes: does not ask whoever is at a terminal, nor whether the consumer is registered on another
 * queue. */
int admin_reset(struct job *, bool yes, struct err *);
/* role: who is to run it and gets the rights for that; NULL: they are printed. */
int admin_install(struct job *, const char *role, struct err *);

/* show_partitions, with the destinations of the tables whose triggers feed the queue. */
int admin_partitions(struct job *, struct err *);

/* ---- status.c: --status */

/* Prints to standard output; again: each second, until a signal. 0; 1: something could not be
 * determined. */
int status_run(struct job *, bool json, bool again);

#endif
