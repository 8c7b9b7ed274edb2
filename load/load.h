/*
 * Moving batches from the queue to the target, and what others see of it.
 */
#ifndef LOAD_H
#define LOAD_H

#include "../pg/pg.h"

/* ---- block.c: the blocks of memory in which rows wait, in sink.h */
/* ---- stream.c: the rows of one partition, in sink.h */
/* ---- fault.c: the row that a COPY failed for, in sink.h */
/* ---- lane.c: the COPYs of one connection, in sink.h */

/* ---- sink.c: rows waiting for each partition, and the COPY that takes them */

struct sink;
struct stream;                          /* one partition and column list */

struct sink_types {                     /* from whom the sink learns of column types; arg is theirs */
	void *arg;
	/* A COPY to the table is over, which keeps its columns as they are; dst is free for a query. */
	int (*look)(void *arg, struct pq *dst, int64_t start_s, const char *table, struct err *);
	/* Are the types of all columns of the shape known since? Sets their kinds. */
	bool (*kinds)(void *arg, int64_t start_s, const struct shape *, enum binary_kind *);
};

struct sink *sink_new(const struct sink_types *);       /* NULL: all rows go as text */
void sink_free(struct sink *);
/* Stream of the period and shape, or NULL. */
struct stream *sink_find(struct sink *, int64_t start_s, uint32_t shape);
/* into: "COPY table (columns) FROM STDIN". The stream may be forgotten once no rows wait in it. */
struct stream *sink_add(struct sink *, int64_t start_s, uint32_t shape, size_t lane, struct span table,
	const char *into);
size_t sink_lane(const struct stream *);
const char *sink_table(const struct stream *);
void sink_forget(struct sink *);        /* drops all streams and rows: nothing is known any more */
/* Drops all rows, keeps the streams. careful: each COPY takes one block, under a savepoint, so that
 * an error can be put to a row. */
void sink_begin(struct sink *, bool careful);
/* A row of the event for the stream. The rows of a stream go to the target in the order of the
 * calls. ERR_DATA when the event cannot be decoded. */
int sink_row(struct sink *, struct stream *, const struct shape *, const struct span *values, const struct event *,
	struct err *);
bool sink_full(const struct sink *);    /* take no more rows until sink_pump made room */
bool sink_idle(const struct sink *);    /* nothing waits, no COPY is open */

struct sink_done {                      /* since sink_begin; rows by partition */
	struct tally rows;              /* that the target stored, by its own count, */
	struct tally unstored;          /* and that it took and a trigger left out */
	int64_t bytes;                  /* sent */
	bool begun;                     /* a COPY was */
};

const struct sink_done *sink_done(const struct sink *);
/* Did rows go to the period's partition since sink_begin? true also when that was forgotten. */
bool sink_wrote(const struct sink *, int64_t start_s);

struct sink_fault {                     /* where a COPY failed */
	int64_t event;                  /* -1: not known, which a careful COPY's error of data never is */
	size_t line;                    /* of the COPY, from 1, as the server's words have it; 0: not told */
	char table[NAME_BYTES_MAX + 1];
	char column[NAME_BYTES_MAX + 1];        /* or "" */
	char value[160];                /* shortened and printable, or "" */
};

enum sink_until {
	SINK_FULL,                      /* rows are sent where enough wait; more will come */
	SINK_EMPTY,                     /* all are sent: no more will come */
	SINK_FREE                       /* the open COPY is ended, and no other begins */
};

/* Sends what can be sent on a lane without waiting. 1 while a COPY is open, else 0, or an error.
 * Called again after ERR_DATA in a careful pass it goes on without that row. */
int sink_pump(struct sink *, size_t lane, struct pq *dst, enum sink_until, struct sink_fault *, struct err *);
void sink_swallow(struct sink *);       /* drops all rows, as if the target had taken them */

/* ---- metrics.c: what a process has counted, as the text of a metrics file */

#define METRICS_BUCKETS 11
#define METRICS_CLASSES 40              /* of SQLSTATE; any more are not counted */

struct load {                           /* a batch that was loaded */
	int64_t events, rows, unstored, bytes, partitions, dead, skipped;
	int64_t late, late_rows;        /* left out; loaded, and to be removed by part_keep */
	int64_t took_ms, lag_ms;        /* lag_ms: from its tick to its commit */
};

struct metrics {                        /* zeroed before use */
	int64_t events, rows, unstored, bytes, batches, partitions, dead, skipped, late, late_rows;
	struct { char class[3]; int64_t n; } error[METRICS_CLASSES];
	size_t nerror;
	int64_t bucket[METRICS_BUCKETS], took_ms;
	int64_t lag_ms, lag_at_ms;      /* as it was at a clock_ms(); 0: not known */
	int64_t success_s;              /* since 1970, 0: never */
};

void metrics_batch(struct metrics *, const struct load *);
void metrics_error(struct metrics *, const char *sqlstate);     /* "": none */
void metrics_text(const struct metrics *, const struct conf *, struct buf *);

/* ---- progress.c: what is done of a run that ends, for the one who waits */

enum progress_kind {
	PROGRESS_LOG,                   /* a log line now and then */
	PROGRESS_LINE,                  /* one line on a terminal at standard error, drawn again and again */
	PROGRESS_JSON                   /* an object a line, to standard output */
};

struct progress {
	enum progress_kind kind;
	int64_t total;                  /* events to come at the start, an estimate; -1: not known */
	int64_t start_ms, shown_ms;
	int64_t events, batches, parts; /* that are committed */
	int64_t bad, errors;            /* events that were not written; errors of the run */
	int64_t now_events;             /* of the batch at hand */
	bool verifying;                 /* its events are being read a second time */
	bool stopping;                  /* it will be the last */
	struct tally rows;
};

void progress_begin(struct progress *, enum progress_kind);
/* Of the batch at hand: shows where the run is, if it is time to. Milliseconds until it wants to be
 * called again. */
int64_t progress_show(struct progress *, int64_t events);
/* A batch is in. */
void progress_batch(struct progress *, const struct load *, const struct tally *rows);
/* The summary. how: a word, "done". */
void progress_end(struct progress *, const char *how);

/* ---- report.c: what the outside sees of the running process: state file, metrics file, systemd */

struct report_state {                   /* as the state file has it */
	int pid;
	int64_t began;                  /* when its process did, in the system's ticks since boot; 0: not known */
	char doing[16];                 /* starting, loading, idle, failing or ended */
	int64_t progress_ms;            /* clock_ms() when it last went on or was idle */
	int64_t events;                 /* since the start */
	int64_t error_at_s;             /* since 1970, of the last error; 0: there was none */
	char error[1024];               /* one line */
};

struct report {
	const struct conf *conf;        /* may change behind the pointer */
	struct report_state state;
	struct metrics metrics;
	int64_t state_due_ms, metrics_due_ms, watchdog_due_ms;
	int64_t watchdog_ms;            /* 0: no watchdog waits for us */
	int64_t events, bytes;          /* of report_progress */
	bool ready, notified, state_failed, metrics_failed;
	bool silent;                    /* the files are those of another process that runs */
	char status[256];               /* as sent last */
};

void report_start(struct report *, const struct conf *);
void report_ready(struct report *);             /* it works, or waits for a server; once */
void report_reloading(struct report *);         /* report_ready ends it */
void report_moves(struct report *, const struct conf *to);      /* before conf becomes what `to` is */
/* Within a batch, of which so many events were read and bytes of rows sent: it goes on when one of
 * them has changed. Cheap. Returns after how many ms it wants to be called again at the latest, -1:
 * it need not. */
int64_t report_progress(struct report *, int64_t events, int64_t bytes);
void report_alive(struct report *);             /* it goes on with something else */
void report_partition(struct report *);         /* the same: one was created */
void report_batch(struct report *, const struct load *, const struct dead_list *);
void report_success(struct report *, bool idle);        /* a batch is in, or there was none */
void report_error(struct report *, const struct err *);
void report_sleep(struct report *, int64_t ms); /* as process_sleep */
void report_end(struct report *, bool failed);

/* The other side, of another process: reads a state file. 0, or -1 with errno; EINVAL: it is none. */
int report_read(const char *path, struct report_state *);
bool report_is_live(const struct report_state *);       /* does its process run? */
/* Does the process of that file run, with progress in the last limit_ms? *line tells. */
bool report_healthy(const char *path, int64_t limit_ms, struct buf *line);

/* ---- watch.c: who is told what a run does: report and progress */

struct watch {                          /* zeroed before use */
	struct report report;
	struct progress progress;
	bool shown;                     /* somebody looks at progress */
	int64_t parts;                  /* created since the last batch, and not ahead of time */
};

void watch_start(struct watch *, const struct conf *);  /* which may change behind the pointer */
void watch_show(struct watch *, enum progress_kind);    /* somebody waits for the end */
/* Those that the moving of rows calls take NULL: nobody is told. */
/* Within a batch, of which so many events were read and bytes of rows sent. Milliseconds until it
 * wants to be called again, -1: it need not. */
int64_t watch_pass(struct watch *, int64_t events, int64_t bytes);
void watch_verify(struct watch *, bool on);     /* the events are being read a second time */
void watch_alive(struct watch *);               /* it goes on with something else */
/* A partition is there for all to see; ahead of its rows? */
void watch_partition(struct watch *, struct span name, bool ahead);
int64_t watch_partitions(const struct watch *); /* created for this batch, by failed attempts too */
void watch_batch(struct watch *, const struct load *, const struct tally *rows,
	const struct dead_list *);
void watch_error(struct watch *, const struct err *);
void watch_end(struct watch *, const char *how, bool failed);   /* how: a word, "done" */

/* ---- age.c: which periods are too old, by the servers' clocks */

#define RETAIN_LOCK_TIMEOUT_MS 500      /* of each lock: readers queue behind it, and where two wait for each
                                         * other it is us who give way, before deadlock_timeout (1 s) */

struct retain {                         /* of age.c, premake.c, keep.c and retain.c; one in each job */
	bool known;                     /* the clocks were asked, and what follows is set: */
	bool apart;                     /* the source's and the target's differ: nothing is old */
	int64_t now_s, kept_s;          /* by the rule's clock on the target: then, and where part_keep begins */
	int64_t keep_at_ms, premake_at_ms;      /* clock_ms() at which to look again */
	char *ev_type;                  /* of an event that names its primary key, or NULL */
	struct tally stay;              /* old by their names, and not removed in the last look */
};

struct job;

/* Asks both servers for the time; src must be idle, or NULL: then the clocks are not compared. What
 * is old changes here alone, so that one batch is judged by one clock. */
int age_look(struct job *, struct err *);
/* Is all of the period older than part_keep? Not before age_look. */
bool age_is_old(const struct job *, int64_t start_s);
/* Is it the name of one of dest_table's partitions? */
bool age_of_name(const struct dest *, const char *name, int64_t *start_s);

/* ---- premake.c: partitions made ahead of time */

/* Remembers an event's type for the primary key in it, which part_premake may need. */
void premake_key(struct job *, struct span ev_type);
bool premake_is_due(const struct job *);
/* After age_look, with ddl open. What fails for one period is a warning, what fails for all an error. */
int premake_run(struct job *, const struct route *, struct err *);

/* ---- keep.c: partitions that are too old, and their removal */

/* Is the child one that part_template and part_method would make? */
bool keep_is_partition(const struct dest *, const struct child *, int64_t *start_s);
/* Of one that is old by its name, and changes nothing: only CHILD_OLD is removed; why else not. */
int keep_foresee(struct job *, const struct child_list *, struct child *, enum child_age *,
	struct buf *why, struct err *);
/* After age_look, with ddl open. loaded: the sink still knows what the last batch wrote to. */
int keep_run(struct job *, const struct sink *, bool loaded, struct err *);
const char *keep_done(const struct dest *);     /* "dropped" or "detached" */

/* ---- retain.c: the age of partitions, as others see it */

/* Before a batch, while src is idle: asks for the time where part_late needs it. */
int retain_begin(struct job *, struct err *);
/* Is all of the period older than part_keep? The answer changes only in retain_begin and retain_run. */
bool retain_is_late(const struct job *, int64_t start_s);
/* Between two batches: does what part_keep and part_premake ask for, when it is time to. What
 * cannot be done is a warning. loaded: the sink still knows what the last batch wrote to. true:
 * partitions may be gone, or be late by now, which the sink must forget. */
bool retain_run(struct job *, const struct route *, const struct sink *, bool loaded);
/* After a batch, with src idle: warns of its rows that part_keep will remove; returns how many. */
int64_t retain_tell_late(struct job *, int64_t batch, const struct tally *rows);
/* Prints the children of dest_table and what is to become of them. */
int retain_show(struct job *, struct err *);
void retain_free(struct retain *);

/* ---- job.c: the connections to both servers; lanes, their transactions and positions */

struct job {
	struct conf *conf;
	struct watch *watch;            /* NULL: nobody is told */
	char *encoding;                 /* of the events, and so of what is sent to the target */
	struct pq *src, *ddl;           /* NULL while not connected */
	struct pq *dst[LANES_MAX];
	size_t lanes;                   /* in use for this batch, 1 or more */
	bool loads[LANES_MAX];          /* false: the lane has the batch already */
	enum position_kind kind;
	int64_t single_until;           /* no merging of ticks before this one */
	struct retain retain;
};

/* Opens what is not open; registers the consumer when neither side knows it. */
int job_connect(struct job *, struct err *);
int job_source(struct job *, struct err *);     /* only src, and what depends on its encoding */
void job_disconnect(struct job *);
/* The job's connections and what it knows of the target; not the config. */
void job_free(struct job *);

/* ERR_CONF where the config leaves the consumer's name to its default and a server knows the other
 * name that the default may mean, conf's base_consumer. src or dst may be NULL: it is not asked. */
int job_check_name(const struct conf *, struct pq *src, struct pq *dst, struct err *);

/* Connects lane 0 and up to lane n - 1, as far as they are not connected. */
int job_open_lanes(struct job *, size_t n, struct err *);
void job_close_lanes(struct job *);
size_t job_lane_of(const struct job *, struct span partition);  /* the lane that a partition belongs to */

enum job_verdict {
	JOB_IS_IN,                      /* the target has the batch: finish it */
	JOB_TO_LOAD,                    /* the data transactions are open */
	JOB_MOVED                       /* the queue was set to another tick: ask for the next batch */
};
/* Opens the lanes' transactions and judges by their positions. A verdict, or ERR_POSITION. */
int job_begin(struct job *, const struct queue_batch *, struct err *);
/* The verdict of a run about the queue's next batch, or about a queue that is empty (batch's tick
 * is 0), by a connection to the target that has seen no data transaction. Takes neither the batch
 * nor a lock. queue_batch_free the batch, also after an error. */
int job_look(struct job *, struct pq *dst, struct queue_batch *, struct verdict *, struct err *);
/* Commits rows and tick, lane 0 last. */
int job_commit(struct job *, const struct queue_batch *, struct err *);

/* ---- known.c: the partitions that are known to be there, and their column types */

struct known;                           /* a partition is named by the start of its period */

struct known *known_new(const struct dest *);
void known_free(struct known *);
void known_clear(struct known *);               /* nothing is known any more */
void known_begin(struct known *);               /* a pass: types are looked at anew, since they may have changed */
bool known_has(const struct known *, int64_t start_s);
void known_add(struct known *, int64_t start_s);
/* As struct sink_types has them, with a struct known *. */
int known_look(void *known, struct pq *dst, int64_t start_s, const char *table, struct err *);
bool known_kinds(void *known, int64_t start_s, const struct shape *, enum binary_kind *);

/* ---- places.c: where rows go */

struct places {                         /* zeroed before use */
	struct route *route;            /* which columns, */
	struct sink *sink;              /* which partition, */
	struct parts *parts;            /* and is it there: places.c's own */
};

/* Makes what is not there yet. */
void places_open(struct places *, const struct dest *);
void places_forget(struct places *);            /* drops all rows; nothing is known of the target */
void places_free(struct places *);

/* Before a pass, in new transactions. */
void places_begin(struct places *);
/* The partition is to be there before a row of it is sent. ERR_DATA: the event does not name what the
 * template needs, so it is looked for and not created. */
int places_want(struct places *, const struct part_want *, int64_t event, struct err *);
bool places_known(const struct places *, int64_t start_s);
bool places_unsettled(const struct places *);   /* some that are wanted are not known */
/* May it be done inside the transaction of the only lane? */
bool places_may_enter(const struct places *, const struct job *);

/* Creates what is wanted inside the transaction, whose lane is free. 0; 1: it must be done outside,
 * in place of that; or an error, after which the transaction is lost. *event: that wanted the
 * partition at fault, unchanged where none did. */
int places_enter(struct places *, struct job *, int64_t *event, struct err *);
/* The same in short transactions on a connection of its own. 1: rows that were sent are in the way. */
int places_settle(struct places *, struct job *, bool sent, int64_t *event, struct err *);
/* The transactions are rolled back. What was created inside is wanted again. */
void places_rolled_back(struct places *);
void places_committed(struct places *, struct watch *);        /* tells what was created inside */

/* ---- pass.c: one reading of a batch's events, into the lanes' open transactions */

struct pass;
/* Sees to it that there is a table for the partition's rows, and appends its name for COPY. */
typedef int pass_place(struct pass *, struct part_want *, const struct shape *, struct buf *table, struct err *);

struct pass {
	/* what the caller sets */
	struct job *job;                /* whose lanes take the rows */
	struct pq *from;                /* the events are read from there, */
	const struct queue_batch *batch;        /* by this batch's query */
	struct places *places;
	bool careful;                   /* an error of a COPY names its event, at some cost */
	bool keep;                      /* bad events go to the list, and the pass goes on */
	int64_t max_dead;               /* at most this many */
	bool dry;                       /* rows are made and counted, and not sent */
	pass_place *place;              /* NULL: the partition itself, created where it is missing */
	void *place_for;                /* whatever place needs */

	/* what comes of it */
	int64_t events, rows;           /* rows: that were sent */
	int64_t truncates, own;         /* events without a row: own are PgQ's */
	int64_t late;                   /* rows left out by part_late */
	int64_t event;                  /* the one at fault, or -1 */
	struct sink_fault fault;        /* of the COPY that failed */
	struct dead_list dead;          /* dead_clear frees it */

	/* pass.c's own */
	bool scan;                      /* the rest of the events is read for its partitions alone */
	bool outside;                   /* partitions are not created in our own transaction */
	bool judged;                    /* the error at hand is none of the event that is being taken */
	enum queue_time time;
	struct period_memo memo;        /* of part_field's dates */
};

/* Reads all events. 0: the rows are sent and not committed. 1: only partitions were created, the
 * lanes are closed: open their transactions and call it again. */
int pass_run(struct pass *, struct err *);

/* ---- verify.c: a batch beside its events */

/* After pass_run, in the open transactions: reads the events again, into temporary tables on the
 * target, and compares number and checksum of the rows by partition. ERR_DATA when they differ,
 * after an error line for each partition. */
int verify_run(const struct pass *, struct err *);

/* ---- batch.c: one batch, from next_batch to finish_batch */

struct loader {                         /* what one batch leaves to the next; zeroed but for job and verify */
	struct job *job;
	struct places places;
	size_t lanes;                   /* by which these were found */
	bool verify;                    /* a batch is compared with its events before it is committed */
	int64_t last_tick;              /* of the last batch loaded, 0 before */
	int64_t to_finish;              /* that batch's id, as long as the queue was not told */
	int64_t events;                 /* of all batches loaded */
};

/* 1: a batch was loaded; 0: the queue is empty; else an error. Needs job_connect. The queue is
 * told with the next call, which spares a round trip, or by batch_finish. */
int batch_run(struct loader *, struct err *);
int batch_finish(struct loader *, struct err *);
void batch_free(struct loader *);               /* as after a new start, but for job and verify */

/* ---- replay.c: --replay, the dead letters once more */

/* Prints a line for each batch. 0 when all letters went in, 1 when some are left, or an error. */
int replay_run(struct job *, struct err *);

/* ---- dryrun.c: --dry-run, what the next batch would do */

/* Prints to standard output and changes nothing. 0, 1 when an event has no place or
 * a table or column is not there, or an error. */
int dryrun_run(struct job *, struct err *);

#endif
