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

bool known_has(const struct known *, int64_t start_s);
void known_add(struct known *, int64_t start_s);
void known_clear(struct known *);               /* forgets and frees everything */
/* Before a pass. rows: of the last one. */
void known_begin(struct known *, int64_t rows);
/* In the data transaction before a pass: without a model, dest_table's types are one. */
int known_learn(struct known *, struct pq *dst, struct err *);
/* As those of struct sink_types. known_kinds trusts what it knew before the pass, or what other
 * partitions have: check that before the commit. */
int known_look(struct known *, struct pq *dst, int64_t start_s, const char *table, struct err *);
bool known_kinds(struct known *, int64_t start_s, const char *table, const struct shape *,
	enum binary_kind *);
/* The n partitions that are trusted in this pass to have those columns. The list is the caller's to
 * change, and valid until the next call. */
struct table_name *known_trusted(struct known *, const struct known_columns *, size_t *n);
/* What was trusted may be wrong: forgets all types, and trusts no model any more. false: nothing
 * was trusted. */
bool known_distrust(struct known *);
/* The same for a table with these columns. */
bool known_kinds_of(const struct table_columns *, const struct shape *, enum binary_kind *);

/* ---- action.c: what an event does to a table that keeps the latest row of each key */

#define ACTION_KEY_MAX 32               /* columns: no index of the target has more */

struct way;
struct action_keys;
void action_free(struct action_keys *);         /* takes NULL */
/* The indexes in shape, which is the route's last one, of the n columns of the event's key, in the
 * order of their names. Valid until the next call. ERR_DATA: there is no key, or one of its columns
 * is not written. */
int action_key(struct way *, const struct route *, const struct event *, const struct shape *,
	const size_t **at, size_t *n, struct err *);
/* Their values. ERR_DATA: one is NULL. */
int action_values(const struct shape *, const size_t *at, size_t n, const struct span *values,
	struct span *key, struct err *);

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
void dests_free(struct dests *);                /* and zeroes it; all but `parts` and the sink */
/* Where the event's table leads, without rules the only source. Adds the destination if a pattern
 * leads to it for the first time. Valid until the next call. */
struct source *dests_source(struct dests *, const struct conf *, const struct event *);

/* ---- staging.c: what waits in staging tables, with row_mode = keep_latest */

struct staging {                        /* of a destination */
	const struct place *place;
	bool used;                      /* in this pass */
	/* Inserts go straight to the partitions, where a unique key refuses those of keys that have
	 * a row, or a look at the end finds them: true until another event comes. pure: no other
	 * has come. */
	bool begun, direct, pure;
	bool directed;                  /* some have gone there */
	bool anywhere;                  /* spread_put was called */
	uint32_t skip;                  /* pure batches until that is tried again */
	struct shape *key;              /* the key's columns, and what a delete consists of */
	uint32_t key_id;                /* tells keys apart */
	struct staged_part { int64_t start_s; size_t lane; char *name; } *part; /* by number */
	size_t npart, part_cap;
	char **kind;                    /* column lists, by number - 1 */
	size_t nkind, kind_cap;
	struct stage stage[LANES_MAX];  /* of the lanes; without columns: not there */

	/* private */
	size_t *sorted, sorted_cap;     /* part, by start_s */
};

#define STAGING_NEVER UINT32_MAX        /* as skip */

struct stagings;                        /* of all destinations */

/* prefix: of the names of its tables. stagings_free takes NULL. */
struct stagings *stagings_new(const struct dests *, const char *prefix);
void stagings_free(struct stagings *);
void stagings_begin(struct stagings *);         /* a pass, in new transactions */
void stagings_forget(struct stagings *);        /* all but the keys; takes NULL */
/* A batch is committed. */
void stagings_committed(struct stagings *);
/* Inserts that went straight in did not stay. false: there were none. */
bool stagings_not_direct(struct stagings *);
/* The place's; added if it is not there. */
struct staging *stagings_at(struct stagings *, const struct place *);
/* The next one from *i on, NULL after the last. */
struct staging *stagings_next(const struct stagings *, size_t *i);
/* Appends the table's name for COPY. */
void stagings_name(const struct stagings *, const struct staging *, struct buf *name);
/* The number of a partition; of a column list. */
size_t staging_part(struct staging *, int64_t start_s, size_t lane, struct span name);
size_t staging_kind(struct staging *, const char *columns);
/* From now on the key has these columns, which are sorted. false: rows wait that have another. */
bool staging_key(struct staging *, const struct span *names, size_t n);
/* As those of struct sink_types. */
int stagings_make(struct stagings *, struct pq *dst, size_t lane, size_t of, const char *table,
	bool *made, struct err *);
bool stagings_kinds(const struct stagings *, size_t lane, size_t of, const struct shape *,
	enum binary_kind *);

/* ---- newest.c: keys with an action of a newer event, with row_mode = keep_latest */

struct newest;                          /* of a pass, in bounded memory */

struct newest_key {
	size_t place;                   /* the destination's number */
	int64_t start_s;                /* of the partition's period */
	enum format format;             /* of the values, */
	const struct span *value;       /* which are as they are in the event */
	size_t n;
};

struct newest *newest_new(void);
void newest_free(struct newest *);              /* takes NULL */
void newest_begin(struct newest *);             /* forgets all */
/* Was the key added for an event after that one? false: no, or it is forgotten. */
bool newest_is_after(struct newest *, const struct newest_key *, int64_t id);
void newest_add(struct newest *, const struct newest_key *, int64_t id);

/* ---- age.c: which periods are too old, by the servers' clocks */

/* For each lock. Readers queue behind it. Where two wait for each other, we give way before
 * deadlock_timeout (1 s). */
#define UPKEEP_LOCK_TIMEOUT_MS 500

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
/* The same, if the time decides where rows go and is not known. Called before a batch. */
int age_ask(struct job *, struct err *);
int64_t age_kept(const struct job *, const struct dest *);      /* where part_keep begins */
/* Is all of the period older than part_keep? false before age_look. */
bool age_is_old(const struct job *, const struct dest *, int64_t start_s);
/* Is it the name of one of dest_table's partitions? Sets its period. */
bool age_of_name(const struct dest *, const char *name, int64_t *start_s);
/* May the partition be a table of its own? true if part_keep detaches and it is old. */
bool age_may_be_loose(const struct job *, const struct dest *, struct span partition);

/* ---- keep.c: removing partitions that are too old */

/* Is the child one that part_template and part_method would make? Sets its period. */
bool keep_is_partition(const struct dest *, const struct child *, int64_t *start_s);
/* For a child that is old by its name: what keep_run would find, without changing anything. Only
 * CHILD_OLD is removed; else why says what keeps it. */
int keep_foresee(struct job *, const struct dest *, const struct child_list *, struct child *,
	enum child_age *, struct buf *why, struct err *);
/* An error of keep_foresee: the child was dropped or detached meanwhile. */
bool keep_is_gone(const struct err *);
/* Removes what is old, with a warning for what cannot be removed. After age_look, with ddl open.
 * Partitions that sink has just written to are spared; NULL: none. */
int keep_run(struct job *, struct place *, const struct sink *, struct err *);

/* ---- upkeep.c: between two batches: partitions made ahead of time, and removed */

/* Does what part_keep and part_premake ask for, when it is due. What fails is a warning. sink:
 * knows what the last batch wrote to; NULL: there was none. true: partitions may be gone or be old
 * by now, so the caller must forget what it knows of them. */
bool upkeep_run(struct job *, const struct sink *);
/* After a batch, with src idle: warns of its rows in the place that part_keep will remove; returns
 * how many. */
int64_t upkeep_tell_late(struct job *, const struct place *, int64_t batch,
	const struct tally *rows);

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

/* Opens src and lane 0 unless both are open, and checks what a run needs; registers the consumer if
 * neither side knows it. ERR_POSITION: the target's position does not fit the queue's; ERR_CONF,
 * ERR_SHAPE: something is missing or wrong; or another error. */
int job_connect(struct job *, struct err *);
/* Opens src, which must be closed, and asks for its style. ERR_CONF: its encoding does not fit. */
int job_source(struct job *, struct err *);
/* Drops the events that pass_ask has asked for, if any: src is free for a query. 0, or an error:
 * ERR_CONFLICT while a batch is unsure. */
int job_unask(struct job *, struct err *);
/* Connects those of lanes 0 to n - 1 that are not connected. */
int job_open_lanes(struct job *, size_t n, struct err *);
void job_close_lanes(struct job *);
void job_disconnect(struct job *);              /* all connections */
/* Frees the connections and what is known of the target, not the config. */
void job_free(struct job *);
size_t job_lane_of(const struct job *, struct span partition);  /* which lane loads it */

/* 0, or ERR_CONF if the consumer's name is a default and a server knows the other name that the
 * default may mean, conf's base_consumer. src or dst may be NULL: not asked. */
int job_check_name(const struct conf *, struct pq *src, struct pq *dst, struct err *);
/* Lets the zone that part_timezone names ask the target, on ddl. */
void job_open_zone(struct job *);
/* That, job_ask_references, and with fields = *: asks which columns each dest_table generates, so
 * that rows leave them out. */
int job_leave_out(struct job *, struct pq *dst, struct err *);
/* With row_mode = keep_latest: ERR_SHAPE if a foreign key points to the place's table. */
int job_ask_references(struct place *, struct pq *dst, struct err *);
/* Asks which columns it generates. */
int job_ask_generated(struct place *, struct pq *dst, struct err *);
/* judge_position, after asking src for the times of ticks if these are needed. position: the
 * case's, which get the times. */
int job_judge(struct job *, struct judge_case *, struct position *, struct verdict *, struct err *);

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

/* ---- inside.c: creating them inside the transactions of the lanes that load them */

/* Is one requested, and may it be created so? finishes: inside_index will be called. */
bool inside_may(const struct place *, const struct job *, bool finishes);
/* Creates those that are requested; no COPY may be open. 0; 1: create them outside instead; or an
 * error, after which the transactions are lost. *event: the one that needs the partition at fault;
 * unchanged if there is none. */
int inside_create(struct place *, struct job *, bool finishes, int64_t *event, struct err *);
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

/* ---- fill.c: columns that rows get as NULL, so that those of several column sets share a COPY */

/* In the data transaction before a pass: asks which columns of the destinations these may be. all:
 * also of those that have had one column set. */
int fill_ask(struct dests *, struct pq *dst, bool all, struct err *);
void fill_begin_batch(struct place *);
/* Called before a pass, after known_begin. yes: rows may get them in it. true: the streams of some
 * shapes are gone. */
bool fill_begin(struct dests *, bool yes);
/* Called after the pass: sets the places' used, which is to be checked before the commit. */
void fill_end(struct dests *);
/* Called before another pass over the same events: no row gets any in it. */
void fill_stop(struct dests *);
/* After an error that those of the pass may have caused: no rows of the place get any in the rest
 * of the batch and, when that is committed, in no other. false: none did. */
bool fill_doubt(struct place *);
/* A careful pass follows: if it finds no bad event, no rows of the place get any any more. */
void fill_suspect(struct place *);
void fill_committed(struct dests *, bool bad);  /* bad: some events are */
void fill_forget(struct place *);               /* forgets which columns they may be */

/* ---- places.c: the destinations of a run, with all that a batch needs of them */

/* Called before a batch: allocates what is not allocated yet, and forgets which values of lists
 * were refused. */
void places_open(struct job *);
/* The same for rows as COPY has them: no table's types are looked at. */
void places_open_rows(struct job *);
void places_forget(struct dests *);             /* drops all rows and what is known of the target */
void places_free(struct dests *);               /* dests_free, and the rest */

/* Called before a pass, in new transactions. fills: as fill_begin's yes. */
void places_begin(struct dests *, bool fills);
/* As dests_source. A new destination is only named: see places_ready. */
struct source *places_source(struct job *, const struct event *);
/* Called before the way's first row: if it is a new destination, asks which columns are generated,
 * on ddl. */
int places_ready(struct job *, struct way *, struct err *);

/* ---- txn.c: the lanes' data transactions, and their positions */

enum txn_verdict {
	TXN_IS_IN,                      /* the target has the batch: finish it */
	TXN_TO_LOAD,                    /* the data transactions are open */
	TXN_MOVED                       /* the queue is at another tick: get the next batch */
};
/* A batch is likely to come: asks for lane 0's transaction without waiting, so that it is open when
 * txn_begin needs it. Until then nothing else is done with that connection. Other lanes'
 * transactions at the same time would only keep the cores from the source. */
int txn_ask(struct job *, struct err *);
/* There is no batch after all: rolls that back, if it was asked for. */
int txn_unask(struct job *, struct err *);
/* Opens the lanes' transactions and judges their positions. Returns an enum txn_verdict, or
 * ERR_POSITION, or ERR_CONFLICT while another process loads, or another error. Sets the job's lanes
 * and loads. */
int txn_begin(struct job *, const struct queue_batch *, struct err *);
/* On an empty queue: changes the number of lanes to the config's, if all are at its tick. */
int txn_idle(struct job *, struct err *);
/* The verdict that a run would give on the queue's next batch, or on an empty queue (the batch's
 * tick is 0). Neither opens the batch nor takes a lock; dst must be new, without a data
 * transaction. The caller calls qbatch_free, after an error too. */
int txn_look(struct job *, struct pq *dst, struct queue_batch *, struct verdict *, struct err *);
/* Commits rows and tick in the lanes that load, lane 0 last. sink: what was sent. Batch NULL: the
 * positions stay. A lane that has committed has its `loads` cleared. ERR_SHAPE, ERR_RIGHTS: a
 * table that got rows is not a partition of its dest_table; ERR_CONFLICT: a table changed
 * meanwhile. If its types did, mistyped is set: they are not trusted any more. */
int txn_commit(struct job *, const struct queue_batch *, const struct sink *, struct err *);

/* ---- row.c: the row in an event, and its period */

/* What is read of each event, for all destinations: enum event_part. */
unsigned row_parts(const struct conf *);
/* Finds the format of the event's data, and what its type says: ev->op. */
void row_tell(struct job *, struct event *, enum format *);
/* In all four ERR_DATA is the only error, but those of asking the target about a named zone. */
/* Does the destination's row_mode take events of the type? */
int row_check_mode(const struct dest *, const struct event *, struct err *);
/* Is there a row in the event? The error names the event's type. */
int row_check(const struct event *, enum format, struct err *);
/* Can the target's encoding express the names of its columns, and its type? */
int row_check_names(const struct job *, const struct event *, const struct shape *, struct err *);
/* Sets the start of the period. raw: part_field's value, encoded. */
int row_period(struct row_dates *, const struct event *, enum format, struct span raw,
	int64_t *start_s, struct err *);

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

/* ---- spread.c: deletes whose row picks no partition */

/* *yes: they can be taken, since all partitions are children of dest_table. */
int spread_reaches(struct pass *, struct place *, bool *yes, struct err *);
/* Stages one in each lane, to go from wherever its key is. key: its values. */
int spread_put(struct pass *, struct way *, const struct event *, enum format,
	const struct span *key, struct err *);
/* After pass_run: what was staged so becomes a delete in each partition of its lane. */
int spread_run(struct pass *, struct err *);

/* ---- latest.c: events for a table that keeps the latest row of each key */

/* Stages what the event does. *stream: where its row goes; stays NULL if an error comes before that
 * is known. */
int latest_take(struct pass *, struct way *, const struct event *, enum format, struct stream **,
	struct err *);

/* Prepares for staging rows of the shape, which is the last one of the way's route. Sets the
 * indexes of the key's columns in it. */
int latest_stage(struct pass *, struct way *, const struct event *, const struct shape *,
	size_t *key, size_t *n, struct err *);

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

/* ---- merge.c: the end of a batch with row_mode = keep_latest */

/* Called after pass_run, in the open transactions: the last rows of the keys replace the target's.
 * Events that the target refuses become dead letters. */
int merge_run(struct pass *, struct err *);

/* ---- verify.c: comparing a batch with its events */

/* Called after pass_run, in the open transactions: reads the events again into temporary tables on
 * the target, and compares count and checksum of the rows by partition. ERR_DATA: they differ; each
 * partition is logged. */
int verify_run(const struct pass *, struct err *);

/* ---- blame.c: what the error of a batch is about, and what may be done */

/* Names table or partition, event and source table in the error. Afterwards the connections are of
 * no more use. */
void blame_batch(const struct pass *, struct err *);
/* Puts the row's name, and where the pass was to bring it, before the message. row: the name, which
 * grows. */
void blame_row(const struct pass *, struct buf *row, struct err *);

/* ---- follow.c: after a copy, the events of rows that it saw */

/* Leaves them out of the batch. ERR_OTHER while the copy is not complete. */
int follow_copy(struct job *, struct queue_batch *, struct err *);
bool follow_asks(const struct job *);           /* may that ask the target? */

/* ---- from batch to batch */

struct loader {                         /* from batch to batch; zeroed but job, verify */
	struct job *job;
	size_t lanes;                   /* that the job's streams are valid for */
	bool verify;                    /* compare each batch with its events before the commit */
	int64_t last_tick;              /* of the last batch loaded; 0: none yet */
	bool idle;                      /* the last call found the queue empty */
	int64_t in_a_row;               /* calls since then that found a batch */
	bool in_vain;                   /* a tick was seen since the last batch that gave none */
	int64_t to_finish;              /* that batch's id until the queue is told */
	int64_t events;                 /* of all batches loaded */
	struct queue_batch batch;       /* at hand */
	struct queue_batch ahead;       /* may be next: its events are kept; or without a query */
	int64_t not_ahead;              /* so many batches whose events are not read ahead */
	struct letters_log skipped;     /* of the batch at hand */
	struct tally half, half_dests;  /* rows that lanes have committed of batch half_of, */
	int64_t half_of, half_late;     /* in which lane 0 has failed; some of them are late */
};

/* ---- outcome.c: what a batch has come to, in the log and for others */

/* All of the batch is committed. */
void outcome_tell(struct loader *, const struct pass *, int64_t took_ms);
/* Some lanes may have committed before one failed: the batch will come again without their rows,
 * which are told of now, and counted then. */
void outcome_keep_half(struct loader *, const struct pass *);

/* ---- ahead.c: the queue's next batch, asked for or foreseen */

/* An enum ticks_after, or an error. While there is no batch, asking for ticks is enough. */
int ahead_look(const struct loader *, struct err *);
bool ahead_is_likely(const struct loader *, int ticks);         /* will there be a batch? */
/* Asks for the next batch. 1: the loader's is it, or unsure; 0: there is none; or an error. */
int ahead_take(struct loader *, int ticks, struct err *);
/* While the target commits a small batch, the source may read the events of the next one, if that
 * can be told, and nobody else needs it. false: it has not been asked. */
bool ahead_ask(struct loader *, const struct pass *);
/* After that and the commit: the events wait for the next batch. If they cannot be had, src is
 * closed. */
void ahead_keep(struct loader *, const struct pass *);
/* After a pass over a batch that is unsure: has the queue given that one? Nothing is committed
 * before. An error leaves it unsure. */
int ahead_make_sure(struct loader *, const struct pass *, struct err *);
/* Nothing is known of a batch that is unsure, whatever went wrong with it: it is taken anew.
 * TXN_MOVED; a lost connection is an error as always. */
int ahead_give_up(struct loader *, struct err *);

/* ---- again.c: a batch whose loading failed: whether it is loaded again, and how */

/* Should the failed pass be repeated: carefully, which this sets, or after asking the target anew?
 * forgot: false before the batch's first pass. */
bool again_helps(struct pass *, bool *forgot, const struct err *);
/* Does the batch need more locks or memory than a server has, and can it be split into ticks? */
bool again_is_too_large(const struct pass *, const struct err *);
/* Makes the batch come again as single ticks, even if the queue has opened it already. TXN_MOVED,
 * or an error. */
int again_split(struct pass *, struct err *);

/* ---- batch.c: one batch, from next_batch to finish_batch */

/* 1: a batch was loaded; 0: the queue is empty; else an error, which names batch, event and
 * partition as far as they are known. Call job_connect first. The next call finishes the batch on
 * the queue, which saves a round trip; or batch_finish does. */
int batch_run(struct loader *, struct err *);
int batch_finish(struct loader *, struct err *);        /* no-op if there is nothing to finish */
void batch_free(struct loader *);               /* resets all but job and verify */

/* ---- extract.c: which columns of a table are read, and in which form, in from.h */
/* ---- pieces.c: the pieces in which a slice is read, and their order, in from.h */
/* ---- lines.c: a slice of a table as the rows of a pass, in from.h */
/* ---- ends.c: the two ends of a table's copy: connections, snapshot, queue; in from.h */
/* ---- next.c: the slice of a table's copy that is next, in from.h */

/* ---- from.c: a table as the source, copied slice by slice */

struct from {                           /* zeroed but job, verify, dry */
	struct job *job;
	bool verify;                    /* compare each slice with its rows before the commit */
	bool dry;                       /* nothing is copied: neither queue nor target is told */
	struct origin origin;

	/* private */
	struct pq *holder;              /* its transaction keeps the snapshot; or NULL */
	char snapshot[64];              /* "": one for each slice */
	struct marks done;              /* all, as the target had them after connecting */
	struct marks marks;             /* of the table at hand, under the lock */
	size_t at;                      /* the table at hand, */
	size_t more;                    /* and so many behind it that are in its slice */
	size_t alone;                   /* a table before this one has slices of its own */
	size_t lanes;                   /* that the job's streams are valid for */
	bool reading;                   /* src's transaction is open */
	bool text;                      /* binary rows did not fit */
	bool follows, complete;         /* a queue follows; its batches may begin */
	bool again;                     /* some is copied that an earlier snapshot saw */
	bool within;                    /* source and target are one database */
};

/* 1: a slice was loaded; 0: all is copied; else an error, which names table and row as far as they
 * are known. Connects by itself. */
int from_run(struct from *, struct err *);
/* Opens both sides and the transaction in which rows are read: source is set, and the job's
 * destinations. */
int from_open(struct from *, struct err *);
void from_free(struct from *);                  /* resets all but job and verify */

/* ---- replay.c: --replay, loading the dead letters again */

/* Prints a line for each batch. 0: all letters are loaded; 1: some are left; or an error. */
int replay_run(struct job *, struct err *);

/* ---- dryrun.c: --dry-run, what the next batch would do */

/* Prints to standard output; changes nothing. 0; 1: an event picks no partition, or a table or
 * column is missing; or an error. */
int dryrun_run(struct job *, struct err *);

/* ---- retry.c: after an error: whether to try again, how soon, and what to say */

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

/* ---- settings.c: the config as a mode needs it */

/* conf_load, and whether the connection strings can be parsed. Call conf_free after an error
 * too. */
int settings_read(const struct switches *, struct conf *, struct err *);
/* Applies the settings that other files keep themselves. */
void settings_apply(const struct switches *, const struct conf *);
/* Logs the config's warnings, unless those of the config before it, or NULL, are the same. */
void settings_warn(const struct conf *, const struct conf *before);
int settings_open_log(const struct conf *, struct err *);       /* the log file; 0, or ERR_CONF */

/* ---- service.c: a run's listener and its ticker, in run.h */
/* ---- reload.c: reading the config again, in run.h */

/* ---- run.c: a run: connecting, loading, sleeping */

/* Loads until a signal or the end of a finite run. A reload replaces *conf. Returns the exit
 * code. */
int run_all(const struct switches *, struct conf *);

#endif
