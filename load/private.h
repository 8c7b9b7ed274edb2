/*
 * What the files of this folder share; no other folder includes it.
 */
#ifndef LOAD_PRIVATE_H
#define LOAD_PRIVATE_H

#include "load.h"

/* ---- known.c */

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

/* ---- action.c */

#define ACTION_KEY_MAX 32               /* columns: no index of the target has more */

void action_free(struct action_keys *);         /* takes NULL */
/* The indexes in shape, which is the route's last one, of the n columns of the event's key, in the
 * order of their names. Valid until the next call. ERR_DATA: there is no key, or one of its columns
 * is not written. */
int action_key(struct way *, const struct route *, const struct event *, const struct shape *,
	const size_t **at, size_t *n, struct err *);
/* Their values. ERR_DATA: one is NULL. */
int action_values(const struct shape *, const size_t *at, size_t n, const struct span *values,
	struct span *key, struct err *);

/* ---- dests.c */

void dests_free(struct dests *);                /* and zeroes it; all but `parts` and the sink */

/* ---- staging.c */

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

/* struct stagings: of all destinations. */
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

/* ---- newest.c: of a pass, in bounded memory */

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

/* ---- age.c */

/* For each lock. Readers queue behind it. Where two wait for each other, we give way before
 * deadlock_timeout (1 s). */
#define UPKEEP_LOCK_TIMEOUT_MS 500

/* As age_look, if the time decides where rows go and is not known. Called before a batch. */
int age_ask(struct job *, struct err *);
int64_t age_kept(const struct job *, const struct dest *);      /* where part_keep begins */
/* Is all of the period older than part_keep? false before age_look. */
bool age_is_old(const struct job *, const struct dest *, int64_t start_s);
/* Is it the name of one of dest_table's partitions? Sets its period. */
bool age_of_name(const struct dest *, const char *name, int64_t *start_s);

/* ---- keep.c */

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

/* ---- upkeep.c */

/* Does what part_keep and part_premake ask for, when it is due. What fails is a warning. sink:
 * knows what the last batch wrote to; NULL: there was none. true: partitions may be gone or be old
 * by now, so the caller must forget what it knows of them. */
bool upkeep_run(struct job *, const struct sink *);
/* After a batch, with src idle: warns of its rows in the place that part_keep will remove; returns
 * how many. */
int64_t upkeep_tell_late(struct job *, const struct place *, int64_t batch,
	const struct tally *rows);

/* ---- job.c */

/* Opens src and lane 0 unless both are open, and checks what a run needs; registers the consumer if
 * neither side knows it. ERR_POSITION: the target's position does not fit the queue's; ERR_CONF,
 * ERR_SHAPE: something is missing or wrong; or another error. */
int job_connect(struct job *, struct err *);
/* Drops the events that pass_ask has asked for, if any: src is free for a query. 0, or an error:
 * ERR_CONFLICT while a batch is unsure. */
int job_unask(struct job *, struct err *);
/* Connects those of lanes 0 to n - 1 that are not connected. */
int job_open_lanes(struct job *, size_t n, struct err *);
void job_close_lanes(struct job *);
size_t job_lane_of(const struct job *, struct span partition);  /* which lane loads it */

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

/* ---- missing.c */

void missing_open(struct place *);              /* if it was not done. missing_free ends it */
void missing_free(struct place *);
void missing_begin_batch(struct place *);       /* no value of a list is refused any more */
void missing_begin(struct place *);             /* a pass, in new transactions: none is requested */
void missing_forget(struct place *);            /* the same, and all that is known of the target */
/* Requests that the partition exist before a row for it is sent. ERR_DATA: the event lacks what the
 * template needs, so the partition is looked up, but not created. */
int missing_want(struct place *, const struct part_want *, int64_t event, struct err *);
/* Is a partition requested, and neither created nor in a lane's list? */
bool missing_any(const struct place *);
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

/* ---- making.c */

bool making_left(const struct place *, size_t lane);    /* is one of the lane's requested? */
bool making_busy(const struct place *, size_t lane);    /* does the lane look or create? */
/* Begins to look for those that are requested of the lane, whose COPYs have ended. After an error
 * of this or of making_step the transactions are lost. */
int making_begin(struct place *, struct job *, size_t lane, struct err *);
/* Goes on, as far as that needs no waiting but for a look at those that are there: PQ_WAIT; PQ_END
 * when all are; or an error. */
int making_step(struct place *, struct job *, size_t lane, struct err *);

/* ---- inside.c */

/* Is one requested, and may it be created so? finishes: inside_index will be called. */
bool inside_may(const struct place *, const struct job *, bool finishes);
/* Creates those that are requested; no COPY may be open. 0; 1: create them outside instead; or an
 * error, after which the transactions are lost. *event: the one that needs the partition at fault;
 * unchanged if there is none. */
int inside_create(struct place *, struct job *, bool finishes, int64_t *event, struct err *);
/* Were some created so, and may others be, without a further question? */
bool inside_goes_on(const struct place *);
bool inside_any(const struct dests *);          /* was any created so? */
/* Before the lanes are closed: waits until none of them creates any more. A server that still works
 * for a connection that is closed keeps its locks. */
void inside_await(struct job *);
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

/* ---- outside.c */

/* Creates those that are requested, in short transactions on a separate connection. sent: our own
 * transactions may be in the way. 1: they are. ERR_CONFLICT: another process has been creating
 * partitions of the table for some seconds. *event as for inside_create. */
int outside_create(struct place *, struct job *, bool sent, int64_t *event, struct err *);

/* ---- fill.c: so that rows of several column sets share a COPY */

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

/* ---- places.c */

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

/* ---- txn.c */

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
/* Commits rows and tick in the lanes that load, lane 0 last. sink: what was sent. Batch NULL: the
 * positions stay. A lane that has committed has its `loads` cleared. ERR_SHAPE, ERR_RIGHTS: a
 * table that got rows is not a partition of its dest_table; ERR_CONFLICT: a table changed
 * meanwhile. If its types did, mistyped is set: they are not trusted any more. */
int txn_commit(struct job *, const struct queue_batch *, const struct sink *, struct err *);

/* ---- row.c */

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

/* ---- a pass over a batch or slice */

struct pass;
/* Makes sure that there is a table for the partition's rows, and appends its name for COPY. */
typedef int pass_place(struct pass *, struct place *, struct part_want *, const struct shape *,
	struct buf *table, struct err *);

struct row_reader {                     /* of a pass whose rows are as COPY has them */
	struct way *way;                /* of all rows, */
	const struct shape *shape;      /* and their columns, in the order of the row */
	bool binary;                    /* else they are lines of text */
	bool staged;                    /* with keep_latest: lines that merge_run puts in */
	struct pq *from;                /* for which PQ_WAIT of next waits */
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

	/* private to send.c, settle.c, flow.c, latest.c, pass.c */
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

/* ---- send.c */

/* After an error of the event, in that lane: lists it as a dead letter, if it is at fault and the
 * list has room. Then returns 0 and clears e; else the error, and the pass's event is this one. */
int send_bury(struct pass *, int64_t event, size_t lane, const char *partition, struct err *e);
/* As lane_pump; rows that the target refuses become dead letters. */
int send_lane(struct pass *, size_t lane, enum sink_until, struct err *);
int send_free(struct pass *, struct err *);     /* ends the open COPYs of all lanes */
/* Waits for the lanes, and for the source while the sink has room for its events. As pq_wait. */
int send_wait(struct pass *, bool source, int64_t timeout_ms, struct err *);

/* ---- settle.c */

/* Makes sure that the partitions of all waiting rows exist. When the batch is rolled back for one
 * place, those that were created inside for the others are wanted again. */
int settle_all(struct pass *, struct err *);
/* The same, but a reader's partitions may be created while it is read: nothing is sent in the lanes
 * that wait for theirs. */
int settle_some(struct pass *, struct err *);
bool settle_waits(const struct pass *, size_t lane);    /* does the lane wait so? */
bool settle_makes(const struct pass *);                 /* does one? */

/* ---- flow.c */

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

/* ---- spread.c */

/* *yes: they can be taken, since all partitions are children of dest_table. */
int spread_reaches(struct pass *, struct place *, bool *yes, struct err *);
/* Stages one in each lane, to go from wherever its key is. key: its values. */
int spread_put(struct pass *, struct way *, const struct event *, enum format,
	const struct span *key, struct err *);
/* After pass_run: what was staged so becomes a delete in each partition of its lane. */
int spread_run(struct pass *, struct err *);

/* ---- latest.c */

/* Stages what the event does. *stream: where its row goes; stays NULL if an error comes before that
 * is known. */
int latest_take(struct pass *, struct way *, const struct event *, enum format, struct stream **,
	struct err *);

/* Prepares for staging rows of the shape, which is the last one of the way's route. Sets the
 * indexes of the key's columns in it. */
int latest_stage(struct pass *, struct way *, const struct event *, const struct shape *,
	size_t *key, size_t *n, struct err *);

/* ---- pass.c */

/* Asks src for the events, and does not wait: pass_run, the next use of src, takes them. Or see
 * job_unask. pass_run calls it if nobody has. */
int pass_ask(struct pass *, struct err *);
/* After a pass, which will not run again: asks ahead for the events of a batch that may be next, as
 * a pass like this one would. events_keep must follow. */
int pass_ask_ahead(const struct pass *, const struct queue_batch *next, struct err *);
/* Reads all events. 0: the rows are sent, not committed. 1: only partitions were created, and the
 * lanes are closed: open their transactions and call it again. Or an error. */
int pass_run(struct pass *, struct err *);

/* ---- merge.c */

/* Called after pass_run, in the open transactions: the last rows of the keys replace the target's.
 * Events that the target refuses become dead letters. */
int merge_run(struct pass *, struct err *);

/* ---- verify.c */

/* Called after pass_run, in the open transactions: reads the events again into temporary tables on
 * the target, and compares count and checksum of the rows by partition. ERR_DATA: they differ; each
 * partition is logged. */
int verify_run(const struct pass *, struct err *);

/* ---- blame.c */

/* Names table or partition, event and source table in the error. Afterwards the connections are of
 * no more use. */
void blame_batch(const struct pass *, struct err *);
/* Puts the row's name, and where the pass was to bring it, before the message. row: the name, which
 * grows. */
void blame_row(const struct pass *, struct buf *row, struct err *);

/* ---- follow.c */

/* Leaves them out of the batch. ERR_OTHER while the copy is not complete. */
int follow_copy(struct job *, struct queue_batch *, struct err *);
bool follow_asks(const struct job *);           /* may that ask the target? */

/* ---- from batch to batch */

struct loader {                         /* zeroed but job, verify */
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

/* ---- outcome.c */

/* All of the batch is committed. */
void outcome_tell(struct loader *, const struct pass *, int64_t took_ms);
/* Some lanes may have committed before one failed: the batch will come again without their rows,
 * which are told of now, and counted then. */
void outcome_keep_half(struct loader *, const struct pass *);

/* ---- ahead.c */

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

/* ---- again.c */

/* Should the failed pass be repeated: carefully, which this sets, or after asking the target anew?
 * forgot: false before the batch's first pass. */
bool again_helps(struct pass *, bool *forgot, const struct err *);
/* Does the batch need more locks or memory than a server has, and can it be split into ticks? */
bool again_is_too_large(const struct pass *, const struct err *);
/* Makes the batch come again as single ticks, even if the queue has opened it already. TXN_MOVED,
 * or an error. */
int again_split(struct pass *, struct err *);

/* ---- batch.c */

/* 1: a batch was loaded; 0: the queue is empty; else an error, which names batch, event and
 * partition as far as they are known. Call job_connect first. The next call finishes the batch on
 * the queue, which saves a round trip; or batch_finish does. */
int batch_run(struct loader *, struct err *);
int batch_finish(struct loader *, struct err *);        /* no-op if there is nothing to finish */
void batch_free(struct loader *);               /* resets all but job and verify */

/* ---- plan.c */

struct plan {                           /* zeroed before use */
	struct plan_place *place;       /* by the place's number */
	size_t n, cap;
	struct buf ddl, faults;         /* faults: a line each */
	int64_t nfaults;
};

/* A pass_place: called once for each partition and shape. The pass's place_for is the plan. */
int plan_partition(struct pass *, struct place *, struct part_want *, const struct shape *,
	struct buf *table, struct err *);
/* Without sections there is one dest_table, and what is wrong with it is told without events. */
int plan_look(struct pass *, struct err *);
void plan_print(const struct pass *, struct plan *);    /* after the pass */
bool plan_fails(const struct plan *);           /* would a run fail, or is a table missing? */
void plan_free(struct plan *);                  /* what is in it */

/* ---- settings.c */

int settings_open_log(const struct conf *, struct err *);       /* the log file; 0, or ERR_CONF */

#endif
