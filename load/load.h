/*
 * Loading batches from the queue, or slices of a table, into the target.
 */
#ifndef LOAD_H
#define LOAD_H

#include "../report/report.h"

/* ---- known.c: partitions known to exist, and their column types */

struct known_columns {                  /* as one or more partitions have them */
	struct known_columns *next;
	struct table_columns *list;
};

struct known {                          /* zeroed but dest */
	const struct dest *dest;
	struct known_columns *columns;
	bool large;                     /* the last pass had many rows, or there was none */

	/* private to known.c */
	uint64_t pass, looked;          /* looked: the last one in which types were looked up */
	struct hash parts;              /* by start_s, which identifies a partition */
	struct hash trusted;            /* in this pass, the same */
	const struct known_columns *model;      /* what was looked up last; or NULL */
	bool learned;                   /* dest_table was asked */
	bool deceived;                  /* a partition had other types than the model */
	struct table_name *names;       /* known_trusted's */
	size_t names_cap;
};

/* ---- action.c: what an event does to a table of the latest rows, in private.h */

/* ---- dests.c: a job's destinations, and which of them an event's row goes to */

struct row_dates {                      /* how rows get their periods; zeroed before use */
	const struct dest *dest;
	const struct style *style;      /* of the events, for messages */
	struct period_memo memo;        /* of part_field's dates */
};

struct place {                          /* a dest_table, as far as it is known */
	const struct dest *dest;        /* of the first way that leads here; part_* are all ways' */
	struct route *route;            /* the same way's */
	size_t number;                  /* its index among the job's */
	struct known known;             /* its partitions */
	struct parts *parts;            /* private: parts.h */
	struct tally generated;         /* with fields = *: columns that no row brings */
	bool asked;                     /* which these are */
	struct fill {                   /* with fields = *: columns that are NULL in rows */
		struct tally used;              /* of the last pass, whose events lacked them */
		/* private to fill.c: */
		struct tally columns;           /* that may be so */
		bool asked;                     /* which these are */
		bool many;                      /* many column sets were known at a time */
		bool doubted, refused;          /* none are, in this batch or for good */
		bool suspected;                 /* the batch's pass was refused, perhaps for them */
	} fill;
	bool children;                  /* the last batch went to children of dest_table alone */

	int64_t keep_at_ms, premake_at_ms;      /* clock_ms() at which upkeep looks again */
	/* By numbers: the highest range that got rows, and the one after which ranges were made
	 * ahead; none of the process, before the first. */
	bool has_newest, premade;
	int64_t newest, premade_from;
	char *ev_type;                  /* of an event that names its primary key, or NULL */
	char *source;                   /* keep_latest: the one source table, or NULL */
	bool spread_asked, spread_reaches;      /* private to spread.c */
	struct admit tables;            /* private to txn.c: of a lane, with these names */
	struct table_name *names;
	size_t names_cap;
	struct tally stay;              /* old by their names, and not removed in the last look */
};

struct way {                            /* to a place, from the source tables of one rule */
	const struct rule *rule;        /* NULL: the config has none */
	struct place *place;
	const struct dest *dest;        /* which columns its rows have */
	struct dest own;                /* dest, of a rule by_name */
	size_t number;
	bool ready;                     /* private to places.c */
	struct route *route;
	struct row_dates dates;

	/* keep_latest: */
	struct route *old;              /* of rows that are to go */
	struct row_dates old_dates;
	struct action_keys *keys;       /* private to action.c */
};

struct source {                         /* a source table, or a type of events that name none */
	struct source *next;            /* in its bucket */
	struct span name;               /* a NUL byte follows */
	bool by_type;
	struct way *way;                /* or NULL: */
	char *why;                      /* why its events have no destination; NULL: ignored */
	bool told;                      /* a warning said why */
};

#define DESTS_BUCKETS 1024

struct dests {                          /* zeroed before use */
	struct place **place;
	size_t nplace, place_cap;
	struct way **way;
	size_t nway, way_cap;
	struct source *bucket[DESTS_BUCKETS];
	size_t nsource;
	struct source *last;            /* of the last event */
	struct type_memo types;         /* of events */
	const struct style *style;      /* of the events */
	int64_t events;                 /* of the pass at hand, all of which are read */
	bool fails_last;                /* inside_index or inside_attach has, since a commit */
	struct sink *sink;              /* their rows; NULL before places_open */
	struct stagings *stagings;      /* the same */
	struct newest *newest;          /* the same */
};

/* Adds the destinations whose names the config says, unless it was done. style: of the events, and
 * lives as long. */
void dests_open(struct dests *, const struct conf *, const struct style *);
/* Where the event's table leads, without rules the only source. Adds the destination if a pattern
 * leads to it for the first time. Valid until the next call. */
struct source *dests_source(struct dests *, const struct conf *, const struct event *);

/* ---- staging.c: what waits in staging tables, with row_mode = keep_latest, in private.h */
/* ---- newest.c: keys with an action of a newer event, with row_mode = keep_latest, in private.h */

/* ---- age.c: which periods are too old, by the servers' clocks */

struct clocks {                         /* the servers' */
	bool known;                     /* they were asked, and what follows is set: */
	bool apart;                     /* they differ: nothing is old */
	int64_t now_s;                  /* target's time by part_timezone */
};

struct job;

/* Asks both servers for the time, and opens ddl if it is not. src must be idle, or NULL: then the
 * clocks are not compared. Only this call changes what is old, so one batch is judged by one
 * clock. */
int age_look(struct job *, struct err *);
/* May the partition be a table of its own? true if part_keep detaches and it is old. */
bool age_may_be_loose(const struct job *, const struct dest *, struct span partition);

/* ---- keep.c: removing partitions that are too old, in private.h */
/* ---- upkeep.c: between two batches: partitions made ahead of time, and removed, in private.h */

/* ---- job.c: the connections to both servers, and what is checked when they are new */

struct job {
	struct conf *conf;
	struct watch *watch;            /* NULL: nothing is reported */
	struct style style;             /* of the events, and so of all sent to the target */
	struct pq *src, *ddl;           /* NULL while not connected */
	struct pq *dst[LANES_MAX];
	size_t lanes;                   /* in use for this batch, 1 or more */
	size_t stored_lanes;            /* the target's number; 0: it knows no position */
	bool loads[LANES_MAX];          /* false: the lane has the batch already */
	enum position_kind kind;
	int64_t single_until;           /* ticks up to this one are not merged */
	struct dests dests;
	struct clocks clocks;
	struct mark_seen seen;          /* by a copy, and in the queue as well */
	bool looked;                    /* seen is as the target has it */
	bool asked;                     /* src sends the events of a pass to come: job_unask */
	bool unsure;                    /* src has yet to tell whether the batch at hand is next */
	bool of_table;                  /* the events are letters of a table's rows: JSON */
	bool mistyped;                  /* a commit found other types than were trusted */
};

/* Opens src, which must be closed, and asks for its style. ERR_CONF: its encoding does not fit. */
int job_source(struct job *, struct err *);
void job_disconnect(struct job *);              /* all connections */
/* Frees the connections and what is known of the target, not the config. */
void job_free(struct job *);

/* 0, or ERR_CONF if the consumer's name is a default and a server knows the other name that the
 * default may mean, conf's base_consumer. src or dst may be NULL: not asked. */
int job_check_name(const struct conf *, struct pq *src, struct pq *dst, struct err *);

/* ---- show.c: --show-partitions */

/* Prints the children of each dest_table and what is to become of them. ERR_CONF: the config has no
 * partitions; ERR_SHAPE: a dest_table does not exist. */
int show_partitions(struct job *, struct err *);

/* ---- missing.c: partitions that rows need and that are not known to exist, in private.h */
/* ---- making.c: creating them in one lane, without waiting for it, in private.h */
/* ---- inside.c: creating them inside the transactions of the lanes that load them, in private.h */
/* ---- outside.c: creating them before the rows, in private.h */
/* ---- fill.c: columns that rows get as NULL, and so share a COPY, in private.h */
/* ---- places.c: the destinations of a run, with all that a batch needs of them, in private.h */

/* ---- txn.c: the lanes' data transactions, and their positions */

/* The verdict that a run would give on the queue's next batch, or on an empty queue (the batch's
 * tick is 0). Neither opens the batch nor takes a lock; dst must be new, without a data
 * transaction. The caller calls qbatch_free, after an error too. */
int txn_look(struct job *, struct pq *dst, struct queue_batch *, struct verdict *, struct err *);

/* ---- row.c: the row in an event, and its period, in private.h */

/* ---- send.c: what streams hold, sent to the lanes' servers, in private.h */
/* ---- settle.c: the partitions that a pass's rows wait for, in private.h */
/* ---- flow.c: the streams that a pass's rows go into, in private.h */
/* ---- spread.c: deletes whose row picks no partition, in private.h */
/* ---- latest.c: events for a table that keeps the latest row of each key, in private.h */

/* ---- pass.c: one pass over a batch's events, into the lanes' open transactions, in private.h */
/* ---- narrow.c: finding the event whose row a table refuses at the end of a batch, in merge.h */
/* ---- script.c: statements that the lanes run at the same time, in merge.h */
/* ---- direct.c: inserts that went straight to their partitions, in merge.h */
/* ---- merge.c: the end of a batch with row_mode = keep_latest, in private.h */
/* ---- verify.c: comparing a batch with its events, in private.h */
/* ---- blame.c: what the error of a batch is about, and what may be done, in private.h */
/* ---- follow.c: after a copy, the events of rows that it saw, in private.h */
/* ---- outcome.c: what a batch has come to, in the log and for others, in private.h */
/* ---- ahead.c: the queue's next batch, asked for or foreseen, in private.h */
/* ---- again.c: a batch whose loading failed: whether it is loaded again, and how, in private.h */
/* ---- batch.c: one batch, from next_batch to finish_batch, in private.h */
/* ---- extract.c: which columns of a table are read, and in which form, in from.h */
/* ---- pieces.c: the pieces in which a slice is read, and their order, in from.h */
/* ---- lines.c: a slice of a table as the rows of a pass, in from.h */
/* ---- ends.c: the two ends of a table's copy: connections, snapshot, queue; in from.h */
/* ---- next.c: the slice of a table's copy that is next, in from.h */
/* ---- from.c: a table as the source, copied slice by slice, in from.h */
/* ---- plan.c: what a run would do with the rows of a batch, in private.h */

/* ---- replay.c: --replay, loading the dead letters again */

/* Prints a line for each batch. 0: all letters are loaded; 1: some are left; or an error. */
int replay_run(struct job *, struct err *);

/* ---- dryrun.c: --dry-run, what the next batch would do */

/* Prints to standard output; changes nothing. 0; 1: an event picks no partition, or a table or
 * column is missing; or an error. */
int dryrun_run(struct job *, struct err *);

/* ---- retry.c: after an error: whether to try again, how soon, and what to say, in run.h */

/* ---- settings.c: the config as a mode needs it */

/* conf_load, and whether the connection strings can be parsed. Call conf_free after an error
 * too. */
int settings_read(const struct switches *, struct conf *, struct err *);
/* Applies the settings that other files keep themselves. */
void settings_apply(const struct switches *, const struct conf *);
/* Logs the config's warnings, unless those of the config before it, or NULL, are the same. */
void settings_warn(const struct conf *, const struct conf *before);

/* ---- service.c: a run's listener and its ticker, in run.h */
/* ---- reload.c: reading the config again, in run.h */

/* ---- run.c: a run: connecting, loading, sleeping */

/* Loads until a signal or the end of a finite run. A reload replaces *conf. Returns the exit
 * code. */
int run_all(const struct switches *, struct conf *);

#endif
