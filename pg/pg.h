/*
 * The two servers: connections, and every line of SQL about queue, position, partitions and dead
 * letters. Only pq.c, connect.c and copy.c see libpq; what they share is in pq.h.
 */
#ifndef PG_H
#define PG_H

#include "../conf/conf.h"

/* ---- sqlstate.c: what a server's error is followed by */

enum sqlstate_answers {                 /* what an error answers */
	SQLSTATE_CONNECT,
	SQLSTATE_STATEMENT,             /* what is none of the others, a COMMIT too */
	SQLSTATE_CREATE,                /* what creates a partition */
	SQLSTATE_COPY,                  /* the COPY statement itself: the server asked for no row */
	SQLSTATE_ROWS                   /* the rows of a COPY */
};

struct sqlstate_error {                 /* the server's words; "" where it has none */
	const char *state, *message, *schema, *routine;
};

/* The ERR_ code. ERR_DATA in answer to rows: a value can be the cause. */
int sqlstate_judge(const struct sqlstate_error *, enum sqlstate_answers);

bool sqlstate_is_denied(const char *state);             /* a right is missing */
bool sqlstate_is_missing_table(const char *state);
bool sqlstate_is_taken(const char *state);              /* the name of what was to be created */
bool sqlstate_is_locked(const char *state);             /* no lock within lock_timeout */
bool sqlstate_is_duplicate(const char *state);          /* a row of a unique key */
bool sqlstate_is_raised(const char *state);             /* PL/pgSQL's plain RAISE EXCEPTION */
bool sqlstate_is_too_much(const char *state);           /* locks or memory: less at a time may do */
/* What may be too short when it comes again and again: of the role or the database; or NULL. */
const char *sqlstate_setting(const char *state);

/* ---- pq.c: a connection at work */

#define DATA_LOCK_TIMEOUT_MS 60000      /* a COPY that waits for somebody's lock on a table */

struct pq;
enum { PQ_WAIT = 0, PQ_READY = 1, PQ_END = 2 };

/* For all connections: how long a server may be silent while we wait for it; 0: for ever. */
void pq_setup(int64_t server_timeout_ms);

/* Begins a statement in which nothing is found but what is named with its schema or PostgreSQL's
 * own: others may have put functions and operators on the role's search_path. */
#define PQ_OWN_PATH "SET LOCAL search_path = pg_catalog, pg_temp;"
/* For a statement that must find tables by the role's own path: its operators. */
#define PQ_OWN(operator) " OPERATOR(pg_catalog." operator ") "

/* Appends what each of our transactions sets first, so that no timeout of the role or the database
 * ends it, and that the server notices soon when we are gone and lets go of our locks. */
void pq_add_settings(struct buf *sql, const struct pq *, int lock_timeout_ms);

/* Runs sql, which may be several statements, and waits for its end. The rows of the last
 * statement that gave any stay readable until the next call. */
int pq_query(struct pq *, const char *sql, struct err *);
int pq_rows(const struct pq *);
const char *pq_value(const struct pq *, int row, int col);      /* NULL is SQL NULL */
int64_t pq_int(const struct pq *, int row, int col, int64_t if_null);
/* Judges the server's last error anew, which is in err: it answers what the caller knows of. */
void pq_judge(const struct pq *, enum sqlstate_answers, struct err *);
const char *pq_tag(const struct pq *);          /* command tag of the last statement, "COMMIT" */

/* The server's clock in seconds since 1970: of UTC, and as a clock in the session's zone shows it. */
int pq_clock(struct pq *, int64_t *now_s, int64_t *local_s, struct err *);

/* Waits until one of n connections that is waiting can go on, or for a while; NULLs among them are
 * passed over. timeout_ms: 0 looks only, -1 sets no end. 0, ERR_STOP, or ERR_CONN when a server
 * that is waited for was silent for too long. */
int pq_wait(struct pq *const *, size_t n, int64_t timeout_ms, struct err *);
bool pq_in_transaction(const struct pq *);      /* that has not failed */
bool pq_blocked(const struct pq *);             /* its socket took no more bytes when last tried */

/* ---- connect.c: connection strings; opening and closing a connection */

/* Is it well formed, with values that libpq takes? Else the reason, without its secrets, in err. */
int connect_check(const char *what, const char *conninfo, struct err *);
bool connect_failed(const struct err *);        /* of pq_open: there was no connection */
char *connect_mask(const char *conninfo);       /* malloc'ed, without its secrets */
const char *connect_lacks(void);                /* what this libpq is too old for, or NULL */

/* Connects; what ("src_db") names the connection in messages. encoding: client_encoding to set,
 * NULL for the server's own. Waits with signals let in, at most connect_timeout_ms. */
struct pq *pq_open(const char *what, const char *conninfo, const char *encoding, struct err *);
void pq_close(struct pq *);                     /* takes NULL */
bool pq_was_ours(int64_t pid);                  /* that server process served a connection closed since */
int64_t pq_opened_ms(const struct pq *);        /* clock_ms() at the end of pq_open */
const char *pq_server_encoding(const struct pq *);
const char *pq_time_zone(const struct pq *);    /* of the session */
int pq_server_version(const struct pq *);       /* 150018 */
bool pq_encrypted(const struct pq *);
bool pq_exposed(const struct pq *);             /* unencrypted, and to another machine */

/* ---- copy.c: COPY, in both directions */

/* COPY ... TO STDOUT, text or binary: begin waits; then PQ_READY with a row in *row (valid until the
 * next call, a NUL behind it), PQ_WAIT when none is here yet, PQ_END after the last. */
int pq_copy_out(struct pq *, const char *sql, struct err *);
int pq_copy_row(struct pq *, struct span *row, struct err *);

/* COPY ... FROM STDIN without waiting; sql may be several of them, which spares a round trip each.
 * pq_copy_step says PQ_READY when a block can be put,
 * PQ_WAIT when the socket is not ready, PQ_END after pq_copy_end when the server has taken all.
 * *stopped is set when the server wants to say something: end the COPY to hear it. */
int pq_copy_in(struct pq *, const char *sql, int copies, struct err *);
int pq_copy_step(struct pq *, bool *stopped, struct err *);
int pq_copy_put(struct pq *, const char *p, size_t n, struct err *);
int pq_copy_end(struct pq *, struct err *);
/* Waits until a block can be put, PQ_READY, or all is taken, PQ_END, which objections come with. */
int pq_copy_await(struct pq *, struct err *);
/* A COPY without rows, from its beginning to its end: would the table take any? */
int pq_copy_nothing(struct pq *, const char *sql, struct err *);
int64_t pq_copied(const struct pq *);           /* rows of the COPY that ended last, by the server's count */
/* Of the COPY into table that failed: line from 1 (0: not told), column name or NULL. */
int64_t pq_error_line(const struct pq *, struct span table);
struct span pq_error_value(const struct pq *, struct span table);       /* as the server cut it, or NULL */
const char *pq_error_column(struct pq *, struct span table);

/* ---- trust.c: objects that others made */

/* ERR_RIGHTS where one that we use of the schema, pgq_ext or tdispatch, is neither ours nor that of a
 * superuser, the database's owner or the extension pgq_ext. */
int trust_require(struct pq *dst, const char *schema, struct err *);

/* ---- position.c: the target's side of exactly-once, schema pgq_ext */

struct position {
	bool known;                     /* pgq_ext has a tick */
	int64_t tick;
	int64_t time_us;                /* its tick_time since 1970; 0: another program set it */
	int64_t source_us;              /* the queue's tick by that number, see queue_times */
	int64_t lanes;                  /* lane 0: how many load a batch; 1 when not told */
	/* other lanes: of the batch up to tick */
	int64_t from;                   /* where it began */
	int64_t rule;                   /* judge_rule when it was loaded; 0: not known */
};

/* What pgq_ext there is: none, one without subconsumers (before Skytools 3), the full one. */
enum position_kind { POSITION_NONE, POSITION_SIMPLE, POSITION_LANES };
int position_kind(struct pq *, enum position_kind *, struct err *);     /* ERR_RIGHTS: others made it */
/* The rows are the GRANT statements that this role lacks to keep positions. */
int position_grants(struct pq *, struct err *);
int position_install_grants(struct pq *, struct err *); /* the same to create schemas, as --install does */
int position_require(enum position_kind, struct err *);  /* ERR_SHAPE when there is none */
int position_install(struct pq *, bool *created, struct err *);

/* Opens the data transaction of a lane out of so many, takes the lock on its position and reads
 * it; the number of lanes is read by lane 0 alone. ERR_CONFLICT when another process has the lock. */
int position_begin(struct pq *, const char *consumer, size_t lane, size_t lanes, enum position_kind,
	struct position *, struct err *);
/* Commits the rows of a batch, with a position: tick, time_us, from and rule. */
int position_commit(struct pq *, const char *consumer, size_t lane, size_t lanes,
	enum position_kind, const struct position *, struct err *);
int position_keep(struct pq *, struct err *);            /* commits rows without a new position */
int position_rollback(struct pq *, struct err *);
/* In lane 0's open transaction, and commits it: from now on so many lanes, all at that position. */
int position_set_lanes(struct pq *, const char *consumer, size_t lanes, const struct position *,
	struct err *);
/* Writes source_us as the time of a tick that another program has set, if it is still there. Takes
 * the lock: ERR_CONFLICT while a process loads. */
int position_complete(struct pq *, const char *consumer, size_t lane, size_t lanes,
	const struct position *, struct err *);
/* Without a lock: all lanes' positions; *n: how many, 1 when the lanes' number makes no sense. */
int position_look(struct pq *, const char *consumer, enum position_kind,
	struct position pos[LANES_MAX], size_t *n, struct err *);
/* Outside of a transaction: */
int position_get(struct pq *, const char *consumer, bool *known, int64_t *tick, struct err *);
/* ERR_POSITION: the target knows a tick of a consumer that the queue does not know. */
int position_unregistered(const struct conf *, int64_t tick, struct err *);
/* ERR_CONFLICT while a process loads. */
int position_forget(struct pq *, const char *consumer, enum position_kind, struct err *);

/* ---- queue.c: the source's side, schema pgq: every line of PgQ's SQL */

#define TICK_IS_OLD_MS 60000            /* the queue's newest tick: is its ticker gone? */

struct queue_batch {
	int64_t id, tick, prev_tick;
	int64_t tick_us, prev_us;       /* tick_time, in microseconds since 1970 */
	int64_t lag_ms;                 /* from the batch's tick to now, by the source's clock */
	char *event_sql;                /* PgQ's query for its events; queue_batch_free frees it */
};

struct queue_state {
	bool pgq, queue, consumer;      /* is it there */
	int64_t last_tick;              /* newest tick of the queue, or 0 */
	int64_t consumer_tick;          /* where the consumer is; 0: it is not registered */
	int64_t last_tick_age_ms;
};

int queue_state(struct pq *, const char *queue, const char *consumer, struct queue_state *, struct err *);

struct queue_backlog {                  /* what is behind a tick; -1 is not known */
	int64_t consumer_tick;
	int64_t lag_ms;                 /* the tick's age by the source's clock */
	int64_t events;                 /* in ticks after it, an estimate */
};

/* tick: the target's; -1: the consumer's own. */
int queue_backlog(struct pq *, const char *queue, const char *consumer, int64_t tick, struct queue_backlog *,
	struct err *);
/* The rows are the GRANT statements that this role lacks to consume the queue. */
int queue_grants(struct pq *, const char *queue, struct err *);
int queue_create_grants(struct pq *, struct err *);     /* the same for queue_create */
/* ERR_SHAPE, with what to do, when PgQ or the queue is not there. */
int queue_require_pgq(const struct queue_state *, struct err *);
int queue_require(const struct queue_state *, const char *queue, struct err *);
int queue_create(struct pq *, const char *queue, struct err *);
int queue_register(struct pq *, const char *queue, const char *consumer, struct err *);
int queue_unregister(struct pq *, const char *queue, const char *consumer, struct err *);
int queue_rewind(struct pq *, const char *queue, const char *consumer, int64_t tick, struct err *);
/* 1 with the next batch, 0 when there is none. min_events: ticks are merged until the batch has
 * about so many events, or all that are pending if those are fewer; 0: one tick a batch. finish:
 * a batch to finish in the same transaction, or 0. */
int queue_next(struct pq *, const char *queue, const char *consumer, int64_t min_events,
	int64_t finish, struct queue_batch *, struct err *);
/* The same batch, without taking it: nothing is changed, but that PgQ's sequence of batch numbers
 * goes on by one. */
int queue_peek(struct pq *, const char *queue, const char *consumer, int64_t min_events,
	struct queue_batch *, struct err *);
void queue_batch_free(struct queue_batch *);
/* Events up to the newest tick, by PgQ's counters: an estimate, mostly too high; -1: not known. */
int queue_pending(struct pq *, const char *queue, const char *consumer, int64_t *events, struct err *);
int queue_finish(struct pq *, int64_t batch, struct err *);
/* Is it still the consumer's open batch? Another process may have finished it. */
int queue_batch_active(struct pq *, int64_t batch, bool *yes, struct err *);

struct event {                          /* spans into the row last read */
	int64_t id;
	struct span type, data;
	int64_t time;                   /* usecs since 2000-01-01; only where it was asked for */
};

/* Fills source_us of n positions: the time of the queue's tick by that number, 0 when that is
 * older than all that PgQ still has, or QUEUE_NO_TICK. *newest: 0 when there is no tick. */
#define QUEUE_NO_TICK (-1)
int queue_times(struct pq *, const char *queue, struct position *, size_t n, int64_t *newest,
	struct err *);

/* Starts reading a batch's events, in no order. time: which clock ev_time is read by. */
enum queue_time { QUEUE_TIME_NONE, QUEUE_TIME_SESSION, QUEUE_TIME_UTC };
int queue_read(struct pq *, const struct queue_batch *, enum queue_time, struct err *);
/* PQ_READY, PQ_WAIT, PQ_END or an error. */
int queue_event(struct pq *, enum queue_time, struct event *, struct err *);
/* Starts a COPY in text format: ev_id, ev_time, ev_type, ev_data, ev_extra1 of some of a batch's
 * events. ids: separated by commas. pq_copy_row gives the lines. */
int queue_read_some(struct pq *, const struct queue_batch *, const char *ids, struct err *);
/* ev_extra1 of one event of a batch, for a message; malloc'ed, NULL when it cannot be told. */
char *queue_event_table(struct pq *, const struct queue_batch *, int64_t id);

/* ---- judge.c: the queue's batch beside the target's positions: what they mean together; pure */

enum verdict_kind {
	VERDICT_LOAD,                   /* load the batch, in the lanes that do not have it */
	VERDICT_IS_IN,                  /* the target has all of it: finish it */
	VERDICT_MOVE,                   /* the target has it up to a tick inside: set the queue there */
	VERDICT_SINGLE,                 /* a lane has it up to a tick inside: tick by tick up to there */
	VERDICT_LOST,                   /* lost position: write nothing */
	VERDICT_OTHER,                  /* the same: the queue's tick by that number is another one */
	VERDICT_CHANGED                 /* lanes have the batch by another config: write nothing */
};

struct judge_case {
	const struct conf *conf;
	const struct queue_batch *batch;        /* tick 0: none, and prev_tick is the consumer's */
	int64_t newest;                 /* tick of the queue; 0: queue_times was not asked */
	bool single;                    /* the queue goes tick by tick already */
	const struct position *pos;     /* of n lanes */
	size_t n;
};

struct verdict {
	enum verdict_kind kind;
	int64_t tick;                   /* of MOVE and SINGLE */
	bool loads[LANES_MAX];          /* false: the lane has the batch already */
	bool ahead;                     /* one has */
	char words[800];                /* for a person; "": nothing is in the target already */
};

struct verdict judge_position(const struct judge_case *);
bool judge_stops(const struct verdict *);       /* a run would end with the verdict's words */
/* How many lanes have a position, by lane 0's. */
size_t judge_lanes(const struct position *);
/* A number for all that says which lane a row belongs to; differs when that does. */
int64_t judge_rule(const struct dest *, size_t lanes);
/* Has a position a tick that is no end of the batch? Then queue_times must be asked for. */
bool judge_needs_times(const struct judge_case *);

/* ---- part.c: a partition's life, and what its parent is like */

/* A table of the target as it is: dest_table or a partition. */
struct part_table {
	char oid[24];                   /* "": it is not there */
	bool partitioned;               /* PARTITION BY */
};

int part_find(struct pq *, const struct dest *, struct span table, struct part_table *,
	struct err *);
/* *which: the first of n columns that the table does not have; n when it has all. */
int part_lacks(struct pq *, const struct part_table *, const struct span *column, size_t n, size_t *which, struct err *);
/* Would a partition lack the column that dest_table lacks? false: that cannot be told. */
bool part_is_model(const struct dest *, const struct part_table *, struct span column);

/* Opens *ddl when it is NULL. encoding: of the names that will be sent on it. */
int part_open(struct pq **ddl, const struct conf *, const char *encoding, struct err *);
/* Appends the name of the partition of the period, without schema. */
void part_name(struct buf *, const struct dest *, int64_t start_s);

/* Appends a statement that keeps a table's oid, "0" when it is not there, in setting
 * tdispatch.<setting>: tables are found by the role's search_path, and questions about them leave it. */
void part_add_oid(struct buf *sql, const char *setting, const struct dest *, struct span table);
/* Appends what opens a short transaction for DDL. */
void part_begin(struct buf *sql, const struct pq *ddl, int lock_timeout_ms);
/* After a lock timeout: appends to e which session holds the table, a partition or dest_table, or
 * what is locked with it: the default partition, the tables that foreign keys name. */
void part_say_who(struct pq *ddl, const struct dest *, struct span table, struct err *);

struct part_want {
	const struct dest *dest;
	struct span name;               /* the partition, without schema */
	int64_t start_s, end_s;
	struct span ev_type;            /* of the event that needs it: holds the primary key */
	int lock_timeout_ms;
	const struct route *route;
};

/* Appends part_template with its words replaced. ERR_DATA: the event does not name what the template
 * needs. */
int part_sql(struct buf *, const struct part_want *, struct err *);
/* Makes sure that the partition is there; *created says whether it was made now, in a transaction of
 * its own. ERR_TIMEOUT when somebody's lock was in the way for lock_timeout_ms; who, is in err then. */
int part_ensure(struct pq *ddl, const struct part_want *, bool *created, struct err *);

struct part_new {                       /* a partition that is wanted */
	char *name;                     /* without schema */
	char *sql;                      /* that creates it */
	int64_t start_s, event;         /* for the caller: of its period; which wants it */
	bool there;
	bool made;                      /* now */
};

/* Sets there, in one query. ERR_RIGHTS for a table of another's: *at is which. */
int part_look(struct pq *, const struct dest *, struct part_new *, size_t n, size_t *at, struct err *);
/* Creates those that are not there, in one transaction: when it fails, none of them is, but those of
 * a template that commits. *at: the one at fault. ERR_TIMEOUT as part_ensure. */
int part_make(struct pq *ddl, const struct dest *, struct part_new *, size_t n, int lock_timeout_ms, size_t *at,
	struct err *);
/* In the open transaction of a lane, until whose end *yes holds: no other process creates partitions
 * of the table, and part_make_inside keeps no reader of it waiting. */
int part_enter(struct pq *lane, const struct dest *, bool *yes, struct err *);
/* Only for a template that attaches (attach_is_all). After an error the transaction is lost. */
int part_make_inside(struct pq *lane, const struct dest *, struct part_new *, size_t n, int lock_timeout_ms, struct err *);

struct part_columns {
	size_t n;
	struct part_column { char name[NAME_BYTES_MAX + 1]; enum binary_kind kind; } at[];
};

/* The columns of a table, which the caller frees. Sets nothing in an open transaction. */
int part_columns(struct pq *, const struct dest *, struct span table, struct part_columns **, struct err *);
/* SQL for the bytes of table c.oid, with its own partitions and all that belongs to them. */
void part_add_size(struct buf *sql, const struct pq *dst);
/* Changes nothing: is the partition there, and if not, the SQL that would create it. */
int part_foresee(struct pq *, const struct part_want *, bool *there, struct buf *sql, struct err *);

/* ---- child.c: the children of dest_table, and how young their rows can be */

enum child_kind {                       /* of the column that dates a child's rows */
	CHILD_UNDATED,                  /* there is none */
	CHILD_DATE, CHILD_TIMESTAMP, CHILD_TIMESTAMPTZ,
	CHILD_TEXT, CHILD_OTHER
};

struct child {
	char *name;                     /* without schema */
	char *table;                    /* as SQL, with its schema */
	int64_t oid;
	bool ordinary;                  /* no foreign table */
	bool found;                     /* it is the table that its name means to whoever writes rows */
	bool owned;                     /* we may drop it */
	char *rows, *size;              /* for a person; NULL: not known */
	/* set by child_bounds: */
	bool is_default;
	bool referenced;                /* by a foreign key */
	enum child_kind kind;
	char *column, *type;            /* that date its rows, or NULL */
};

struct child_list {                     /* zeroed before use */
	struct child *at;
	size_t n, cap;
	char *parent;                   /* as SQL, with its schema; NULL without children */
	bool declarative;
};

/* The children by name, or the one of that name. sizes: rows and size too, which locks each child.
 * Leaves a transaction with another search_path. */
int child_list(struct pq *, const struct dest *, const char *only, bool sizes, struct child_list *,
	struct err *);
void child_clear(struct child_list *);

struct child_question {
	struct pq *q;                   /* in a transaction */
	const struct period_rule *rule;
	struct span column;             /* part_field's name in the target; "": there is none */
	int64_t kept_s;                 /* what is before it is old, by the rule's own clock */
};

enum child_age { CHILD_OLD, CHILD_YOUNG, CHILD_UNCLEAR };
/* By bounds and CHECKs: only old rows, also younger ones (why says so), or they do not tell. */
int child_bounds(const struct child_question *, const struct child_list *, struct child *,
	enum child_age *, struct buf *why, struct err *);
/* After child_bounds, by the rows themselves; an empty child is old. Reads all rows where there is
 * no index, for some seconds at most: ERR_TIMEOUT. */
int child_rows(const struct child_question *, const struct child *, enum child_age *, struct buf *why,
	struct err *);
int child_lock(struct pq *, const char *table, bool only, const char *mode, struct err *);
/* Drops or detaches it, and commits. */
int child_remove(struct pq *, const struct child_list *, const struct child *, bool detach,
	struct err *);

/* ---- dead.c: events that could not be written, and schema tdispatch, where they are kept */

struct dead {
	int64_t event;
	size_t lane;                    /* whose transaction keeps it */
	char sqlstate[6];               /* "" where the server was not asked */
	char *partition, *message;
};

struct dead_list {                      /* zeroed before use */
	struct dead *at;
	size_t n, cap;
};

void dead_add(struct dead_list *, int64_t event, size_t lane, const char *partition, const struct err *);
void dead_clear(struct dead_list *);
/* Copies the events of a lane's list from src to the dead letters, in dst's open transaction. */
int dead_write(struct dead_list *, size_t lane, struct pq *src, struct pq *dst, const struct conf *,
	const struct queue_batch *, struct err *);
/* In dst's open transaction: all letters of the batch but those in the list go. */
int dead_remove(const struct dead_list *, struct pq *dst, const struct conf *, int64_t batch, struct err *);
/* The first batch after `after` that has letters of this consumer, and their number, 0: none. */
int dead_next(struct pq *dst, const struct conf *, int64_t after, int64_t *batch, int64_t *letters, struct err *);
/* A query that gives a batch's letters as PgQ's gives its events; caller frees. */
char *dead_event_sql(const struct conf *, int64_t batch);
int dead_count(struct pq *dst, const struct conf *, int64_t *letters, struct err *);
/* The rows are the GRANT statements that this role lacks to write letters. */
int dead_grants(struct pq *dst, struct err *);
int dead_require(struct pq *dst, struct err *);         /* ERR_SHAPE when the table is not there */
int dead_install(struct pq *dst, bool *created, struct err *);

#endif
