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

/* ---- missing.c: partitions that rows need and that are not known to exist */

void missing_open(struct place *);              /* if it was not done. missing_free ends it */
void missing_free(struct place *);
void missing_begin_batch(struct place *);       /* no value of a list is refused any more */
void missing_begin(struct place *);             /* a pass, in new transactions: none is requested */
void missing_forget(struct place *);            /* the same, and all that is known of the target */
/* Requests that the partition exist before a row for it is sent. ERR_DATA: the event lacks what the
 * template needs, so the partition is looked up, but not created. */
int missing_want(struct place *, const struct part_want *, int64_t event, struct err *);
bool missing_any(const struct place *);         /* is a partition requested, and not created? */
/* By a list, ERR_DATA: the value's partition cannot be, as was found out in this batch. */
int missing_refuses(const struct place *, int64_t start_s, struct err *);
/* Was such a value found since the last call? Rows may wait for its partition, and the error that
 * was returned is about it. */
bool missing_has_refused(struct place *);
/* Is the number of new ones limited, so that none is created before the batch is read? */
bool missing_counts(const struct place *);
/* Looks up those that are requested: what exists is requested no more. ERR_SHAPE: too many do
 * not. */
int missing_look(struct place *, struct job *, int64_t *event, struct err *);

/* ---- making.c: creating them in the transaction of one lane, without waiting for it */

bool making_left(const struct place *, size_t lane);    /* is one of the lane's requested? */
bool making_busy(const struct place *, size_t lane);    /* does the lane look or create? */
/* Begins to look for those that are requested of the lane, whose COPYs have ended. After an error
 * of this or of making_step the transactions are lost. */
int making_begin(struct place *, struct job *, size_t lane, struct err *);
/* Goes on, as far as that needs no waiting: PQ_WAIT; PQ_END when they are there; or an error. */
int making_step(struct place *, struct job *, size_t lane, struct err *);

/* ---- inside.c: creating them inside the transactions of the lanes that load them */

/* Is one requested, and may it be created so? finishes: inside_index will be called. */
bool inside_may(const struct place *, const struct job *, bool finishes);
/* Creates those that are requested; no COPY may be open. 0; 1: create them outside instead; or an
 * error, after which the transactions are lost. *event: the one that needs the partition at fault;
 * unchanged if there is none. */
int inside_create(struct place *, struct job *, bool finishes, int64_t *event, struct err *);
/* Were some created so, and may others be, without a further question? */
bool inside_goes_on(const struct place *);
bool inside_any(const struct dests *);          /* was any created so? */
/* The transactions are rolled back: what was created inside is missing again. */
void inside_rolled_back(struct dests *);
/* All rows are sent, of so many events. In all lanes at the same time, makes the indexes of
 * partitions that were created inside without them. ERR_DATA: rows are at fault, and nobody knows
 * which: in a pass that does not finish so, their COPY will tell. Before an error, sets the dests'
 * fails_last. */
int inside_index(struct job *, int64_t events, struct err *);
/* The same: attaches those of the lane that are not. Called before its commit. */
int inside_attach(struct job *, size_t lane, struct err *);
/* The lane has committed: reports what was created inside it. */
void inside_told(const struct job *, size_t lane);
void inside_committed(struct dests *);          /* all lanes have: what was created is there */

/* ---- outside.c: creating them before the rows */

/* Creates those that are requested, in short transactions on a separate connection. sent: our own
 * transactions may be in the way. 1: they are. ERR_CONFLICT: another process has been creating
 * partitions of the table for some seconds. *event as for inside_create. */
int outside_create(struct place *, struct job *, bool sent, int64_t *event, struct err *);

/* ---- fill.c: columns that rows get as NULL, and so share a COPY, in private.h */
/* ---- places.c: the destinations of a run, with all that a batch needs of them, in private.h */

/* ---- txn.c: the lanes' data transactions, and their positions */

/* The verdict that a run would give on the queue's next batch, or on an empty queue (the batch's
 * tick is 0). Neither opens the batch nor takes a lock; dst must be new, without a data
 * transaction. The caller calls qbatch_free, after an error too. */
int txn_look(struct job *, struct pq *dst, struct queue_batch *, struct verdict *, struct err *);

/* ---- row.c: the row in an event, and its period, in private.h */

/* ---- flow.c: what the rows of a pass over a batch's events flow through */

struct pass;
/* Makes sure that there is a table for the partition's rows, and appends its name for COPY. */
typedef int pass_place(struct pass *, struct place *, struct part_want *, const struct shape *,
	struct buf *table, struct err *);

struct row_reader {                     /* of a pass whose rows are as COPY has them */
	struct way *way;                /* of all rows, */
	const struct shape *shape;      /* and their columns, in the order of the row */
	bool binary;                    /* else they are lines of text */
	bool staged;                    /* with keep_latest: lines that merge_run puts in */
	/* Starts reading; sets the members above. */
	int (*begin)(struct row_reader *, struct pass *, struct err *);
	/* As events_next, but sets id, type, and data, which is the row. */
	int (*next)(struct row_reader *, struct event *, struct err *);
	/* As row_period, of the last row. */
	int (*period)(struct row_reader *, const struct event *, int64_t *start_s, struct err *);
};

struct pass {
	/* set by the caller */
	struct job *job;                /* its lanes take the rows */
	struct pq *from;                /* where the events are read, */
	const struct queue_batch *batch;        /* with this batch's query, */
	struct row_reader *reader;      /* or by this; else NULL */
	struct sink *sink;              /* takes the rows, of the job's destinations */
	bool careful;                   /* an error of COPY names its event; slower */
	bool direct;                    /* with keep_latest, tries to write inserts at once */
	bool ordered;                   /* reads events by ev_id, whatever event_order is */
	bool finishes;                  /* unless careful: inside_index is called after it */
	bool newest;                    /* of a key's actions, need not stage older ones */
	/* Merges what is staged, as merge_run; NULL: a batch has one key. */
	int (*merge)(struct pass *, struct err *);
	bool keep;                      /* dead letters are listed, and the pass continues */
	/* Tells those of the list, in the lanes' transactions; no COPY is open. NULL: they are told
	 * after the pass. */
	int (*tell)(struct pass *, struct err *);
	int64_t max_dead;               /* at most this many */
	struct letters_log *logged;     /* events that need not be logged again, or NULL */
	struct stagings *stagings;      /* NULL: the job's */
	bool dry;                       /* rows are made and counted, not sent */
	pass_place *place;              /* NULL: the partition itself, created if missing */
	void *place_for;                /* for place */

	/* results */
	int64_t events, rows;           /* rows: sent */
	int64_t truncates, own;         /* events without a row; own: PgQ's */
	int64_t passed;                 /* events that filters left out */
	int64_t late;                   /* rows skipped by part_late */
	int64_t left_out;               /* actions that a newer one of their key replaces */
	int64_t event;                  /* the event at fault, or -1 */
	struct sink_fault fault;        /* of the COPY that failed */
	struct letters dead;            /* letters_clear frees it */

	/* private to flow.c, latest.c, pass.c */
	bool scan;                      /* reads the remaining events only for their partitions */
	bool outside;                   /* creates partitions outside our transaction */
	bool read;                      /* all events were read */
	int64_t committed_ms;           /* clock_ms() then */
	bool judged;                    /* the error is not about the current event */
	bool mixed;                     /* inserts were written at once, and others came */
	bool rekeyed;                   /* events have two keys, and are not ordered */
	bool incomplete;                /* a row is refused, and older ones were left out */
	bool all_load;                  /* each lane does */
	struct events_want want;
};

/* After an error of the event, in that lane: lists it as a dead letter, if it is at fault and the
 * list has room. Then returns 0 and clears e; else the error, and the pass's event is this one. */
int flow_bury(struct pass *, int64_t event, size_t lane, const char *partition, struct err *e);
/* Makes sure that the partitions of all waiting rows exist. When the batch is rolled back for one
 * place, those that were created inside for the others are wanted again. */
int flow_settle(struct pass *, struct err *);
/* The same, but a reader's partitions may be created while it is read: flow_pump leaves out the
 * lanes that wait for theirs. */
int flow_settle_some(struct pass *, struct err *);
bool flow_makes(const struct pass *);           /* does a lane wait for partitions? */
/* What is staged in the pass. */
struct stagings *flow_stagings(const struct pass *);
/* Is the lane's part of a staged event read? A lane that has the batch already reads it again where
 * it may find bad events: what another lane has of these must be left out, too. */
bool flow_reads_lane(const struct pass *, size_t lane);
/* Adds a stream into the place's staging table in the lane. name: the partition's; columns: of its
 * rows, without those of the staging table. The caller calls sink_stage. */
struct stream *flow_add_stage(struct pass *, struct place *, int64_t start_s, uint64_t id,
	size_t lane, struct span name, const char *columns);
/* The same for rows of the partition, in the lane of its name. kind: 0 for deletes. */
struct stream *flow_add_staged(struct pass *, struct place *, const struct part_want *, uint64_t id,
	size_t kind, const char *columns);
/* A number of the shape's streams. staged: of those that go to a staging table. */
uint64_t flow_id(const struct way *, const struct shape *, bool staged);
/* Adds the stream for the period and shape. NULL: an error. */
struct stream *flow_open(struct pass *, const struct way *, const struct event *, int64_t start_s,
	const struct shape *, bool staged, struct err *);
/* Sends what can be sent without waiting. done: no more rows will come. */
int flow_pump(struct pass *, bool done, struct err *);
/* Waits for the lanes, and for the source while the sink has room for its events. As pq_wait. */
int flow_wait(struct pass *, bool source, int64_t timeout_ms, struct err *);
/* Sends all waiting rows, and ends the COPYs. What fails is not the current event's fault. */
int flow_drain(struct pass *, struct err *);
/* Deals with a row that is older than part_keep, as part_late says. true: the row goes nowhere, or
 * an error is set. */
bool flow_is_late(struct pass *, const struct dest *, const struct event *, int64_t start_s,
	struct err *);
/* There is no stream for the event's row. If the event is at fault, its letter belongs to the lane
 * of its partition; a lane that has the batch already has stored it. */
int flow_no_stream(struct pass *, const struct dest *, const struct event *, int64_t start_s,
	struct err *);

/* ---- spread.c: deletes whose row picks no partition, in private.h */
/* ---- latest.c: events for a table that keeps the latest row of each key, in private.h */

/* ---- pass.c: one pass over a batch's events, into the lanes' open transactions */

/* Asks src for the events, and does not wait: pass_run, the next use of src, takes them. Or see
 * job_unask. pass_run calls it if nobody has. */
int pass_ask(struct pass *, struct err *);
/* After a pass, which will not run again: asks ahead for the events of a batch that may be next, as
 * a pass like this one would. events_keep must follow. */
int pass_ask_ahead(const struct pass *, const struct queue_batch *next, struct err *);
/* Reads all events. 0: the rows are sent, not committed. 1: only partitions were created, and the
 * lanes are closed: open their transactions and call it again. Or an error. */
int pass_run(struct pass *, struct err *);

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
