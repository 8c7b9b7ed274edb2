/*
 * Moving batches from the queue to the target, and what others see of it.
 */
#ifndef LOAD_H
#define LOAD_H

#include "../pg/pg.h"

/* ---- sink.c: the destination: rows waiting for each partition, and the COPY that takes them */

struct sink;
struct stream;                          /* one partition and column list */

struct sink *sink_new(void);
void sink_free(struct sink *);
/* Stream of the period and shape, or NULL. */
struct stream *sink_find(struct sink *, int64_t start_s, uint32_t shape);
struct stream *sink_add(struct sink *, int64_t start_s, uint32_t shape, size_t lane, struct span table,
	const char *copy_sql);
/* Its COPY is to take values of these kinds, an array that the sink will free. The stream is
 * forgotten by the next sink_begin. */
void sink_set_binary(struct sink *, struct stream *, enum binary_kind *);
const enum binary_kind *sink_kinds(const struct stream *);      /* NULL: its COPY takes text */
/* True once since sink_begin, when a COPY to it is over: from then on nobody can change the table's
 * columns before the transaction ends. Not while so many streams have rows that a second one for each
 * would use up the blocks. */
bool sink_take_settled(const struct sink *, struct stream *);
size_t sink_lane(const struct stream *);
const char *sink_table(const struct stream *);
void sink_forget(struct sink *);        /* drops all streams and rows: nothing is known any more */
void sink_discard(struct sink *);       /* drops all rows, keeps the streams */
/* Room for a row of at most n bytes; sink_put says how many it took, if the row is put at all. */
char *sink_room(struct sink *, struct stream *, size_t n);
void sink_put(struct sink *, struct stream *, size_t n, int64_t event_id);
bool sink_full(const struct sink *);    /* take no more rows until sink_pump made room */
bool sink_idle(const struct sink *);    /* nothing waits, no COPY is open */
/* Did rows go to the period's partition since sink_begin? true also when that was forgotten. */
bool sink_wrote(const struct sink *, int64_t start_s);
bool sink_sent_any(const struct sink *);        /* a COPY was begun since sink_begin */
int64_t sink_sent_bytes(const struct sink *);   /* since sink_begin */
/* careful: each COPY takes one block, under a savepoint, so that an error can be put to a row. */
void sink_begin(struct sink *, bool careful);
/* Rows by partition since sink_begin, as the target counted them; valid until the next one. */
const struct tally *sink_tally(const struct sink *);
void sink_swallow(struct sink *);       /* drops all rows, as if the target had taken them */

struct sink_fault {                     /* where a COPY failed */
	int64_t event;                  /* -1: not known, which a careful COPY's error of data never is */
	size_t line;                    /* of the COPY, from 1, as the server's words have it; 0: not told */
	char table[NAME_BYTES_MAX + 1];
	char column[NAME_BYTES_MAX + 1];        /* or "" */
	char value[160];                /* shortened and printable, or "" */
};

/* Sends what can be sent on a lane without waiting; drain: no more rows will come. */
int sink_pump(struct sink *, size_t lane, struct pq *dst, bool drain, struct sink_fault *, struct err *);
/* After ERR_DATA in a careful pass: go on without that row. */
int sink_leave_out(struct sink *, size_t lane, struct pq *dst, struct err *);

/* ---- metrics.c: what a process has counted, as the text of a metrics file */

#define METRICS_BUCKETS 11
#define METRICS_CLASSES 40              /* of SQLSTATE; any more are not counted */

struct load {                           /* a batch that was loaded */
	int64_t events, rows, bytes, partitions, dead, skipped, late;
	int64_t took_ms, lag_ms;        /* lag_ms: from its tick to its commit */
};

struct metrics {                        /* zeroed before use */
	int64_t events, rows, bytes, batches, partitions, dead, skipped, late;
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
	int64_t now_events, now_parts;  /* of the batch at hand */
	bool verifying;                 /* its events are being read a second time */
	bool stopping;                  /* it will be the last */
	struct tally rows;
};

void progress_begin(struct progress *, enum progress_kind);
/* Of the batch at hand: shows where the run is, if it is time to. Milliseconds until it wants to be
 * called again; -1 with NULL, for never. */
int64_t progress_show(struct progress *, int64_t events, int64_t parts);
void progress_partition(struct progress *);     /* one was created ahead of time; NULL is nobody */
/* A batch is in. NULL is nobody. */
void progress_batch(struct progress *, int64_t events, int64_t bad, int64_t parts, const struct tally *);
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
 * it need not. NULL: nobody is told. */
int64_t report_progress(struct report *, int64_t events, int64_t bytes);
void report_alive(struct report *);             /* it goes on with something else; NULL: nobody is told */
void report_partition(struct report *);         /* the same: one was created ahead of time */
void report_batch(struct report *, const struct load *, const struct dead_list *);      /* the same */
void report_success(struct report *, bool idle);        /* a batch is in, or there was none */
void report_error(struct report *, const struct err *);
void report_sleep(struct report *, int64_t ms); /* as process_sleep */
void report_end(struct report *, bool failed);

/* The other side, of another process: reads a state file. 0, or -1 with errno; EINVAL: it is none. */
int report_read(const char *path, struct report_state *);
bool report_is_live(const struct report_state *);       /* does its process run? */
/* Does the process of that file run, with progress in the last limit_ms? *line tells. */
bool report_healthy(const char *path, int64_t limit_ms, struct buf *line);

/* ---- retain.c: the age of partitions: those to come, and those that are too old */

struct retain {                         /* retain.c's own, one in each job */
	bool known;                     /* kept_s was asked for */
	int64_t kept_s;                 /* part_keep begins here, by the rule's clock on the target */
	int64_t keep_at_ms, premake_at_ms;      /* clock_ms() at which to look again */
	char *ev_type;                  /* of an event that names its primary key, or NULL */
};

struct job;

/* Is all of the period older than part_keep? The answer changes only in retain_run. */
int retain_is_late(struct job *, int64_t start_s, bool *late, struct err *);
/* May its partition be a table of its own? *yes: part_keep is to detach it, and may have done so. */
int retain_may_be_loose(struct job *, struct span partition, bool *yes, struct err *);
/* Remembers an event's type for the primary key in it, which part_premake may need. */
void retain_key(struct job *, struct span ev_type);
/* Between two batches: does what part_keep and part_premake ask for, when it is time to. What
 * cannot be done is a warning. loaded: the sink still knows what the last batch wrote to. */
void retain_run(struct job *, bool loaded);
/* Prints the children of dest_table and what is to become of them. */
int retain_show(struct job *, struct err *);
void retain_free(struct retain *);

/* ---- job.c: the connections to both servers; lanes, their transactions and positions */

struct job {
	struct conf *conf;
	struct report *report;          /* NULL: nobody is told */
	struct style style;             /* of the events, and so of what is sent to the target */
	struct pq *src, *ddl;           /* NULL while not connected */
	struct pq *dst[LANES_MAX];
	size_t lanes;                   /* in use for this batch, 1 or more */
	bool loads[LANES_MAX];          /* false: the lane has the batch already */
	enum position_kind kind;
	struct route *route;
	struct sink *sink;
	int64_t last_tick;              /* of the last batch loaded, 0 before */
	int64_t to_finish;              /* that batch's id, as long as the queue was not told */
	int64_t events;                 /* of all batches loaded */
	int64_t single_until;           /* no merging of ticks before this one */
	struct tally generated;         /* columns that no row brings, with fields = * */
	bool children;                  /* the last batch went to children of dest_table alone */
	bool parts_alone;               /* each partition is created in a transaction of its own */
	struct retain retain;
	struct progress *progress;      /* NULL: nobody looks */
	bool verify;                    /* a batch is compared with its events before it is committed */
};

/* Opens what is not open; registers the consumer when neither side knows it. */
int job_connect(struct job *, struct err *);
int job_source(struct job *, struct err *);     /* only src, and what depends on its style */
void job_disconnect(struct job *);
/* The job's connections, its routes and what it knows of the target; not the config. */
void job_free(struct job *);

/* Connects lane 0 and up to lane n - 1, as far as they are not connected. */
int job_open_lanes(struct job *, size_t n, struct err *);
void job_close_lanes(struct job *);
size_t job_lane_of(const struct job *, struct span partition);  /* the lane that a partition belongs to */

/* With fields = *: leaves the columns that dest_table generates out of rows. */
int job_leave_out(struct job *, struct pq *dst, struct err *);

enum job_verdict {
	JOB_IS_IN,                      /* the target has the batch: finish it */
	JOB_TO_LOAD,                    /* the data transactions are open */
	JOB_MOVED                       /* the queue was set to another tick: ask for the next batch */
};
/* Opens the lanes' transactions and judges by their positions. A verdict, or ERR_POSITION. */
int job_begin(struct job *, const struct queue_batch *, struct err *);
/* Commits rows and tick, lane 0 last. */
int job_commit(struct job *, const struct queue_batch *, struct err *);
int job_keep(struct job *, struct err *);       /* commits lane 0's rows without a new tick */

/* ---- pass.c: one reading of a batch's events, into the lanes' open transactions */

struct pass;
/* Sees to it that there is a table for the partition's rows, and appends its name for COPY. */
typedef int pass_place(struct pass *, struct part_want *, const struct shape *, struct buf *table, struct err *);

struct pass {
	struct job *job;
	const struct queue_batch *batch;
	bool careful;                   /* an error of a COPY names its event, at some cost */
	bool keep;                      /* bad events go to the list, and the pass goes on */
	int64_t max_dead;               /* so many of them */
	bool dry;                       /* rows are made and counted, and not sent */
	pass_place *place;              /* NULL: the partition itself, created where it is missing */
	void *place_for;                /* whatever place needs */

	bool scan;                      /* only the partitions were created: begin the transactions anew */
	size_t open;                    /* partitions that are created and not committed, */
	struct buf open_names;          /* their names, each with a NUL, */
	int64_t open_ms;                /* and when the first was begun */
	int64_t events, rows, truncates, parts;
	int64_t late;                   /* rows left out by part_late */
	int64_t event;                  /* the one at fault, or -1 */
	struct sink_fault fault;        /* of the COPY that failed */
	struct dead_list dead;          /* dead_clear frees it */
	enum queue_time time;
	struct period_memo memo;        /* of part_field's dates */
};

/* Reads all events; when it returns 0 and scan is not set, the rows are sent and not committed. */
int pass_run(struct pass *, struct err *);

/* ---- verify.c: a batch beside its events */

/* After pass_run, in the open transactions: reads the events again, into temporary tables on the
 * target, and compares number and checksum of the rows by partition. ERR_DATA when they differ,
 * after an error line for each partition. */
int verify_run(const struct pass *, struct err *);

/* ---- batch.c: one batch, from next_batch to finish_batch */

/* 1: a batch was loaded; 0: the queue is empty; else an error. Needs job_connect. The queue is
 * told with the next call, which spares a round trip, or by batch_finish. */
int batch_run(struct job *, struct err *);
int batch_finish(struct job *, struct err *);

/* ---- replay.c: --replay, the dead letters once more */

/* Prints a line for each batch. 0 when all letters went in, 1 when some are left, or an error. */
int replay_run(struct job *, struct err *);

/* ---- dryrun.c: --dry-run, what the next batch would do */

/* Prints to standard output and changes nothing. 0, 1 when an event has no place or
 * a table or column is not there, or an error. */
int dryrun_run(struct job *, struct err *);

#endif
