/*
 * The two servers: connections, and every line of SQL about queue, position, partitions and dead
 * letters. Only pq.c, connect.c and copy.c see libpq; what they share is in pq.h.
 */
#ifndef PG_H
#define PG_H

#include "../conf/conf.h"

/* ---- sqlstate.c: from a server's error to what we do about it */

enum sqlstate_answers {                 /* what the server was answering */
	SQLSTATE_CONNECT,
	SQLSTATE_STATEMENT,             /* anything not below; a COMMIT too */
	SQLSTATE_CREATE,                /* creating a partition */
	SQLSTATE_COPY,                  /* the COPY statement itself, before any row */
	SQLSTATE_ROWS                   /* the rows of a COPY */
};

struct sqlstate_error {                 /* as the server sent it; "" where it sent none */
	const char *state, *message, *schema, *routine;
};

/* The ERR_ code. ERR_DATA only in answer to rows: a value may be the cause. */
int sqlstate_judge(const struct sqlstate_error *, enum sqlstate_answers);

bool sqlstate_is_denied(const char *state);             /* a privilege is missing */
bool sqlstate_is_missing_table(const char *state);
bool sqlstate_is_taken(const char *state);              /* the name of a new object is taken */
bool sqlstate_is_locked(const char *state);             /* lock_timeout expired */
bool sqlstate_is_duplicate(const char *state);          /* a unique key is violated */
bool sqlstate_is_raised(const char *state);             /* PL/pgSQL's plain RAISE EXCEPTION */
bool sqlstate_is_too_much(const char *state);           /* locks or memory: less may fit */
/* No statement is to blame: the connection is of no more use, or we are to stop. */
bool sqlstate_is_lost(const struct err *);
/* The setting of the role or database that is probably too short if the error recurs; or NULL. */
const char *sqlstate_setting(const char *state);

/* ---- pq.c: a connection at work */

#define DATA_LOCK_TIMEOUT_MS 60000      /* how long a COPY waits for a table lock */

struct pq;
enum { PQ_WAIT = 0, PQ_READY = 1, PQ_END = 2 };

/* For all connections: how long a server may be silent while we wait for it; 0: no limit. */
void pq_setup(int64_t server_timeout_ms);

/* Starts a statement in which unqualified names mean PostgreSQL's own objects alone: others may
 * have put functions and operators on the role's search_path. */
#define PQ_OWN_PATH "SET LOCAL search_path = pg_catalog, pg_temp;"
/* An operator, in a statement that must find tables through the role's search_path. */
#define PQ_OWN(operator) " OPERATOR(pg_catalog." operator ") "

/* Appends the settings that begin each of our transactions: no timeout of the role or the database
 * ends it, and the server soon notices when we are gone and releases our locks. Also what
 * pq_keep_settings was given. */
void pq_add_settings(struct buf *sql, const struct pq *, int lock_timeout_ms);

/* Runs sql, one or more statements, and waits for the end. 0, or any ERR_ code. The rows of the
 * last statement that returned some stay readable until the next call. */
int pq_query(struct pq *, const char *sql, struct err *);
int pq_rows(const struct pq *);
const char *pq_value(const struct pq *, int row, int col);      /* NULL is SQL NULL */
int64_t pq_int(const struct pq *, int row, int col, int64_t if_null);
/* Judges the last server error, which is in err, again: the caller knows what the server was
 * answering. */
void pq_judge(const struct pq *, enum sqlstate_answers, struct err *);
const char *pq_tag(const struct pq *);          /* command tag of the last statement, "COMMIT" */

/* The server's clock in seconds since 1970: of UTC, and as a clock in the session's zone shows it. */
int pq_clock(struct pq *, int64_t *now_s, int64_t *local_s, struct err *);

/* Waits until one of those of n connections that wait can proceed, or for timeout_ms; NULLs among
 * them are skipped. timeout_ms: 0 only polls, -1 is no limit. 0, ERR_STOP, or ERR_CONN if a server
 * that we wait for was silent for too long. */
int pq_wait(struct pq *const *, size_t n, int64_t timeout_ms, struct err *);
bool pq_in_transaction(const struct pq *);      /* and it has not failed */
bool pq_blocked(const struct pq *);             /* its socket was full at the last try */

/* ---- connect.c: connection strings; opening and closing a connection */

/* Checks the connection string, called what in messages. 0, or ERR_CONF without the secrets in
 * it. */
int connect_check(const char *what, const char *conninfo, struct err *);
bool connect_failed(const struct err *);        /* an error of pq_open: not connected */
char *connect_mask(const char *conninfo);       /* malloc'ed copy with secrets hidden */
const char *connect_lacks(void);                /* what this libpq is too old to support, or NULL */

/* Connects, with signals unblocked and within connect_timeout; pq_close frees it. NULL on error.
 * what ("src_db") names the connection in messages. encoding: the client_encoding; NULL: the
 * server's. */
struct pq *pq_open(const char *what, const char *conninfo, const char *encoding, struct err *);
void pq_close(struct pq *);                     /* takes NULL */
bool pq_was_ours(int64_t pid);                  /* that server process served one we have closed */
/* settings: SET LOCAL statements, each with its semicolon, that begin each of our transactions on
 * this connection too. */
void pq_keep_settings(struct pq *, const char *settings);
int64_t pq_opened_ms(const struct pq *);        /* clock_ms() at the end of pq_open */
const char *pq_server_encoding(const struct pq *);
int pq_server_version(const struct pq *);       /* 150018 */
bool pq_encrypted(const struct pq *);
bool pq_exposed(const struct pq *);             /* to another machine, unencrypted */

/* ---- copy.c: COPY, in both directions */

/* COPY ... TO STDOUT, text or binary. pq_copy_out starts it and waits for that. pq_copy_row:
 * PQ_READY with a row in *row (valid until the next call, a NUL after it), PQ_WAIT if none has
 * arrived yet, PQ_END after the last, or an error. */
int pq_copy_out(struct pq *, const char *sql, struct err *);
int pq_copy_row(struct pq *, struct span *row, struct err *);

/* COPY ... FROM STDIN, non-blocking. sql may hold several, `copies` of them, which saves round
 * trips. pq_copy_step: PQ_READY if a block can be put, PQ_WAIT if the socket is not ready, PQ_END
 * after pq_copy_end once the server has accepted everything. *stopped: the server has sent a
 * message; end the COPY to read it. */
int pq_copy_in(struct pq *, const char *sql, int copies, struct err *);
int pq_copy_step(struct pq *, bool *stopped, struct err *);
int pq_copy_put(struct pq *, const char *p, size_t n, struct err *);
int pq_copy_end(struct pq *, struct err *);
/* As pq_copy_step, but waits: PQ_READY, PQ_END (errors of the rows come with it), or an error. */
int pq_copy_await(struct pq *, struct err *);
/* Runs a COPY without rows: would the table accept any? 0, or the error. */
int pq_copy_nothing(struct pq *, const char *sql, struct err *);
int64_t pq_copied(const struct pq *);           /* rows of the last COPY, by its tag */
/* About the failed COPY into table: line from 1 (0: unknown); value, as the server truncated it, or
 * the NULL span; column name or NULL. */
int64_t pq_error_line(const struct pq *, struct span table);
struct span pq_error_value(const struct pq *, struct span table);
const char *pq_error_column(struct pq *, struct span table);

/* ---- trust.c: objects that other roles own */

/* 0, or ERR_RIGHTS if an object that we use in the schema (pgq_ext or tdispatch) is owned neither
 * by us nor by a superuser or the database's owner, and is not part of the extension pgq_ext. */
int trust_require(struct pq *dst, const char *schema, struct err *);

/* ---- style.c: what the text of a value means: the source's settings, and the target's to match */

struct style {                          /* of the source's session; zeroed: not known */
	char encoding[32];              /* of the events; "" */
	char date[64], interval[32];    /* DateStyle, IntervalStyle */
	char zone[64], money[64];       /* TimeZone, or part_timezone; lc_monetary */
};

/* Asks the source. Where PgQ's triggers write UTF8 in a database of another encoding, so does the
 * connection from then on. */
int style_ask(struct pq *src, const struct conf *, struct style *, struct err *);
/* pq_open of the target for what comes from a source of that style: the server checks that text is
 * valid, and reads times without an offset by the style's zone, and money by its locale. */
struct pq *style_open(const char *conninfo, const struct style *, struct err *);
/* Does the target know the source's time zone, and have the locale for its money? */
int style_takes(struct pq *dst, const struct style *, bool *zone, bool *money, struct err *);
/* Appends what the data transaction sets: a date, interval, array or XML text is read in one way,
 * whatever the target's settings are. */
void style_add_settings(struct buf *sql);
/* Names the source's settings in the error of a date, time or interval that was refused: by the
 * server, or, where there is no SQLSTATE, by us. */
void style_explain(const struct style *, struct err *);

/* ---- position.c: the target's side of exactly-once, schema pgq_ext */

struct position {
	bool known;                     /* pgq_ext has a tick */
	int64_t tick;
	int64_t time_us;                /* its tick_time since 1970; 0: set by another program */
	int64_t source_us;              /* the queue's time for that number: queue_times */
	int64_t lanes;                  /* lane 0: how many load a batch; 1 if not stored */
	/* other lanes: about the batch that ends at tick */
	int64_t from;                   /* its first tick */
	int64_t rule;                   /* judge_rule when it was loaded; 0: unknown */
};

/* Which pgq_ext exists: none, one without subconsumers (before Skytools 3), the full one. */
enum position_kind { POSITION_NONE, POSITION_SIMPLE, POSITION_LANES };
int position_kind(struct pq *, enum position_kind *, struct err *);     /* ERR_RIGHTS: see trust_require */
/* Queries the GRANT statements that this role lacks to store positions: the rows. */
int position_grants(struct pq *, struct err *);
int position_install_grants(struct pq *, struct err *); /* the same for --install */
int position_require(enum position_kind, struct err *);  /* ERR_SHAPE if none */
int position_install(struct pq *, bool *created, struct err *);

/* Opens the data transaction of one of `lanes` lanes, locks its position and reads it; only lane 0
 * reads the number of lanes. ERR_CONFLICT if another process holds the lock. */
int position_begin(struct pq *, const char *consumer, size_t lane, size_t lanes, enum position_kind,
	struct position *, struct err *);
/* Commits the rows of a batch with a new position: tick, time_us, from and rule. before: statements
 * to run first, or "". */
int position_commit(struct pq *, const char *before, const char *consumer, size_t lane, size_t lanes,
	enum position_kind, const struct position *, struct err *);
int position_keep(struct pq *, const char *before, struct err *);        /* commits rows, not a new position */
int position_rollback(struct pq *, struct err *);
/* Sets the number of lanes, all at that position, in lane 0's open transaction, and commits it. */
int position_set_lanes(struct pq *, const char *consumer, size_t lanes, const struct position *,
	struct err *);
/* Stores source_us as the time of a tick that another program has set, if that is still the
 * position. Takes the lock: ERR_CONFLICT while a process loads. */
int position_complete(struct pq *, const char *consumer, size_t lane, size_t lanes,
	const struct position *, struct err *);
/* Reads all lanes' positions without a lock. *n: how many; 1 if the stored number is invalid. */
int position_look(struct pq *, const char *consumer, enum position_kind,
	struct position pos[LANES_MAX], size_t *n, struct err *);
/* Outside of a transaction: */
int position_get(struct pq *, const char *consumer, bool *known, int64_t *tick, struct err *);
/* Returns ERR_POSITION: the target has a tick of a consumer that is not registered with the
 * queue. */
int position_unregistered(const struct conf *, int64_t tick, struct err *);
/* Deletes all of the consumer's positions. ERR_CONFLICT while a process loads. */
int position_forget(struct pq *, const char *consumer, enum position_kind, struct err *);

/* ---- queue.c: the source's side, schema pgq: every line of PgQ's SQL */

#define TICK_IS_OLD_MS 60000            /* newest tick: the ticker may be gone */

struct queue_batch {
	int64_t id, tick, prev_tick;
	int64_t tick_us, prev_us;       /* tick_time, in microseconds since 1970 */
	int64_t lag_ms;                 /* age of the batch's tick by the source's clock */
	char *event_sql;                /* PgQ's query for its events; queue_batch_free frees it */
};

struct queue_state {
	bool pgq, queue, consumer;      /* do they exist */
	int64_t last_tick;              /* newest tick of the queue, or 0 */
	int64_t consumer_tick;          /* the consumer's position; 0: not registered */
	int64_t last_tick_age_ms;
};

int queue_state(struct pq *, const char *queue, const char *consumer, struct queue_state *, struct err *);

struct queue_backlog {                  /* what comes after a tick; -1: unknown */
	int64_t consumer_tick;
	int64_t lag_ms;                 /* the tick's age by the source's clock */
	int64_t events;                 /* after it, an estimate */
};

/* tick: the target's; -1: the consumer's own. */
int queue_backlog(struct pq *, const char *queue, const char *consumer, int64_t tick, struct queue_backlog *,
	struct err *);
/* Queries the GRANT statements that this role lacks to consume the queue: the rows. */
int queue_grants(struct pq *, const char *queue, struct err *);
int queue_create_grants(struct pq *, struct err *);     /* the same for queue_create */
/* 0, or ERR_SHAPE with what to do if PgQ or the queue is missing. */
int queue_require_pgq(const struct queue_state *, struct err *);
int queue_require(const struct queue_state *, const char *queue, struct err *);
int queue_create(struct pq *, const char *queue, struct err *);
int queue_register(struct pq *, const char *queue, const char *consumer, struct err *);
int queue_unregister(struct pq *, const char *queue, const char *consumer, struct err *);
int queue_rewind(struct pq *, const char *queue, const char *consumer, int64_t tick, struct err *);
/* 1 with the next batch, 0 if there is none, or an error. min_events: ticks are merged until the
 * batch has about that many events, or all pending ones; 0: one tick per batch. finish: a batch to
 * finish in the same transaction, or 0. The caller calls queue_batch_free. */
int queue_next(struct pq *, const char *queue, const char *consumer, int64_t min_events,
	int64_t finish, struct queue_batch *, struct err *);
/* The same batch, without opening it: changes nothing, except that PgQ's batch sequence
 * advances. */
int queue_peek(struct pq *, const char *queue, const char *consumer, int64_t min_events,
	struct queue_batch *, struct err *);
void queue_batch_free(struct queue_batch *);
/* Events up to the newest tick: PgQ's estimate, usually too high; -1: unknown. */
int queue_pending(struct pq *, const char *queue, const char *consumer, int64_t *events, struct err *);
int queue_finish(struct pq *, int64_t batch, struct err *);
/* Is it still the consumer's open batch? Another process may have finished it. */
int queue_batch_active(struct pq *, int64_t batch, bool *yes, struct err *);

struct event {                          /* spans are valid until the next row is read */
	int64_t id;
	struct span type, data;
	int64_t time;                   /* usecs since 2000-01-01; only if requested */
};

/* Fills source_us of n positions with the time of the queue's tick by that number: 0 if it is
 * older than all that PgQ still has, QUEUE_NO_TICK if it does not exist. *newest: 0 if there is
 * no tick. */
#define QUEUE_NO_TICK (-1)
int queue_times(struct pq *, const char *queue, struct position *, size_t n, int64_t *newest,
	struct err *);

/* Starts reading a batch's events, in no particular order. time: the zone for ev_time. */
enum queue_time { QUEUE_TIME_NONE, QUEUE_TIME_SESSION, QUEUE_TIME_UTC };
int queue_read(struct pq *, const struct queue_batch *, enum queue_time, struct err *);
/* PQ_READY, PQ_WAIT, PQ_END or an error. */
int queue_event(struct pq *, enum queue_time, struct event *, struct err *);
/* Starts a COPY in text format of ev_id, ev_time, ev_type, ev_data, ev_extra1 for the batch's
 * events in ids, which commas separate. pq_copy_row returns the lines. */
int queue_read_some(struct pq *, const struct queue_batch *, const char *ids, struct err *);
/* ev_extra1 of one event of a batch, for a message; malloc'ed, NULL if unknown. */
char *queue_event_table(struct pq *, const struct queue_batch *, int64_t id);

/* ---- judge.c: what the queue's batch and the target's positions mean together; pure */

enum verdict_kind {
	VERDICT_LOAD,                   /* load the batch, in the lanes that do not have it */
	VERDICT_IS_IN,                  /* the target has all of it: finish it */
	VERDICT_MOVE,                   /* the target has it up to a tick inside: move there */
	VERDICT_SINGLE,                 /* a lane has it up to a tick inside: single ticks */
	VERDICT_LOST,                   /* lost position: write nothing */
	VERDICT_OTHER,                  /* the same: the queue reused the tick's number */
	VERDICT_CHANGED                 /* lanes loaded it with another config: write nothing */
};

struct judge_case {
	const struct conf *conf;
	const struct queue_batch *batch;        /* tick 0: none, and prev_tick is the consumer's */
	int64_t newest;                 /* newest tick of the queue; 0: queue_times not called */
	bool single;                    /* batches are single ticks already */
	const struct position *pos;     /* of n lanes */
	size_t n;
};

struct verdict {
	enum verdict_kind kind;
	int64_t tick;                   /* for MOVE and SINGLE */
	bool loads[LANES_MAX];          /* false: the lane has the batch already */
	bool ahead;                     /* some lane has it */
	char words[800];                /* readable; "": the target has none of the batch */
};

struct verdict judge_position(const struct judge_case *);
bool judge_stops(const struct verdict *);       /* a run would fail with the verdict's words */
/* The number of lanes that have a position, as lane 0's says. */
size_t judge_lanes(const struct position *);
/* A hash of everything that decides which lane a row belongs to. */
int64_t judge_rule(const struct dest *, size_t lanes);
/* true: a position's tick is not at an end of the batch, so queue_times must be called. */
bool judge_needs_times(const struct judge_case *);

/* ---- table.c: tables of the target as they are */

struct table {
	char oid[24];                   /* "": it is not there */
	bool partitioned;               /* PARTITION BY */
};

int table_find(struct pq *, const struct dest *, struct span name, struct table *, struct err *);
/* *which: the first of n columns that the table does not have; n when it has all. */
int table_lacks(struct pq *, const struct table *, const struct span *column, size_t n, size_t *which,
	struct err *);
/* Adds the columns of dest_table that are generated, in its partitions too. */
int table_generated(struct pq *, const struct dest *, struct tally *columns, struct err *);
/* *which: the first column in fields that is so; nfield when none is. */
int table_lists_generated(struct pq *, const struct dest *, size_t *which, struct err *);
/* Would a partition lack the column that dest_table lacks? false: that cannot be told. */
bool table_is_model(const struct dest *, const struct table *, struct span column);

/* What part_template says, in lower case, with a blank for all that is no name or key word. */
void table_words(struct buf *, const struct dest *);
/* Does part_template make children of a table, by partition of, attach partition or inherits? */
bool table_makes_children(const struct dest *);

struct table_name {
	struct span name;               /* a partition, without schema */
	bool old;                       /* it is older than part_keep, which may have detached it */
};

/* Rows may go to a table under a partition's name if it is a child of dest_table or, at some levels,
 * of a child; or of a table that part_template names. One that is nobody's child may get rows where
 * part_template makes none, or where it is old; its owner must be dest_table's, a superuser or we.
 * 0, ERR_SHAPE or ERR_RIGHTS for the first that is not so, ERR_CONFLICT when it is gone; *which (or
 * NULL) is its index. *children: all are children of dest_table itself. */
int table_right(struct pq *, const struct dest *, const struct table_name *, size_t n,
	bool *children, size_t *which, struct err *);
/* Statements that fail if they are no children, or if one does not generate those columns, which no
 * row brought: to be sent with the COMMIT in one message. */
void table_add_children(struct buf *sql, const struct pq *, const struct dest *,
	const struct table_name *, size_t n);
void table_add_generated(struct buf *sql, const struct dest *, const struct table_name *, size_t n,
	const struct tally *columns);
/* Was it one of these statements that failed? Then rolls back, and e becomes what table_right says,
 * or ERR_SHAPE, or ERR_CONFLICT. */
int table_refused(struct pq *, const struct dest *, const struct table_name *, size_t n,
	const struct tally *columns, struct err *e);
/* All that are not right: the rows of a query, and what is to be said of one; *loose: it is nobody's
 * child. */
int table_look(struct pq *, const struct dest *, const struct table_name *, size_t n, struct err *);
int table_wrong(struct pq *, const struct dest *, int row, bool *loose, struct err *);

/* ---- part.c: partitions: their names, looking for them, creating them */

/* Opens *ddl when it is NULL. */
int part_open(struct pq **ddl, const struct conf *, const struct style *, struct err *);
/* Appends the name of the partition of the period, without schema. */
void part_name(struct buf *, const struct dest *, int64_t start_s);

/* Appends a statement that keeps a table's oid, "0" when it is not there, in setting
 * tdispatch.<setting>: tables are found by the role's search_path, and questions about them leave it. */
void part_add_oid(struct buf *sql, const char *setting, const struct dest *, struct span table);
/* Appends the SQL that opens a short transaction for DDL. */
void part_begin(struct buf *sql, const struct pq *ddl, int lock_timeout_ms);
/* After a lock timeout, appends to e which session holds the table. */
void part_say_who(struct pq *ddl, const struct dest *, struct span table, struct err *);

struct part_want {
	const struct dest *dest;
	struct span name;               /* the partition, without schema */
	int64_t start_s, end_s;
	struct span ev_type;            /* of the event that needs it: it names the primary key */
	int lock_timeout_ms;
	bool old;                       /* as in struct table_name */
	const struct route *route;
};

/* Appends part_template with its words replaced. ERR_DATA: the event lacks what the template
 * needs. */
int part_sql(struct buf *, const struct part_want *, struct err *);
/* Makes sure that the partition exists. *created: this call made it, in a transaction of its own.
 * ERR_TIMEOUT: a lock was in the way for lock_timeout_ms; err says whose.
 * ERR_CONFLICT: another process was creating partitions of the table for as long. */
int part_ensure(struct pq *ddl, const struct part_want *, bool *created, struct err *);

struct part_new {                       /* a partition that is wanted */
	char *name;                     /* without schema */
	char *sql;                      /* creates it */
	int64_t start_s, event;         /* the caller's: its period, and the event that needs it */
	bool there;                     /* it exists */
	bool made;                      /* by this process, now */
	bool old;                       /* as in struct table_name */
};

/* Sets `there` in all. An error of table_right for one that exists: *at is which. */
int part_look(struct pq *, const struct dest *, struct part_new *, size_t n, size_t *at, struct err *);
/* Creates the missing ones in one transaction: on failure none exists, unless the template itself
 * commits. *at: the one at fault. ERR_TIMEOUT and ERR_CONFLICT as part_ensure. */
int part_make(struct pq *ddl, const struct dest *, struct part_new *, size_t n, int lock_timeout_ms, size_t *at,
	struct err *);
/* May partitions be created inside the lane's open transaction? *yes, until that ends: we hold the
 * lock for creating partitions of the table, and part_make_inside blocks no reader of it. */
int part_enter(struct pq *lane, const struct dest *, bool *yes, struct err *);
/* Only for a template that attaches (attach_is_all), all in one message. After an error, which is not
 * put to any of them, the transaction is lost. */
int part_make_inside(struct pq *lane, const struct dest *, struct part_new *, size_t n, int lock_timeout_ms, struct err *);

struct part_columns {
	size_t n;
	struct part_column { char name[NAME_BYTES_MAX + 1]; enum binary_kind kind; } at[];
};

/* The columns of a table; the caller frees them. In an open transaction it changes no setting. */
int part_columns(struct pq *, const struct dest *, struct span table, struct part_columns **, struct err *);
/* Appends SQL for the size in bytes of table c.oid, with its own partitions, indexes and TOAST. */
void part_add_size(struct buf *sql, const struct pq *dst);
/* Does the partition exist, and if not, which SQL would create it? Changes nothing. */
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

/* ---- dead.c: dead letters, and schema tdispatch, where they are stored */

struct dead {
	int64_t event;
	size_t lane;                    /* whose transaction stores it */
	char sqlstate[6];               /* "": not an error of the server */
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
/* Deletes all letters of the batch except those in the list, in dst's open transaction. */
int dead_remove(const struct dead_list *, struct pq *dst, const struct conf *, int64_t batch, struct err *);
/* Finds the consumer's first batch after `after` with letters. *letters: how many; 0: no batch. */
int dead_next(struct pq *dst, const struct conf *, int64_t after, int64_t *batch, int64_t *letters, struct err *);
/* A query that returns a batch's letters in the form of PgQ's query for events; caller frees. */
char *dead_event_sql(const struct conf *, int64_t batch);
int dead_count(struct pq *dst, const struct conf *, int64_t *letters, struct err *);
/* Queries the GRANT statements that this role lacks to write letters: the rows. */
int dead_grants(struct pq *dst, struct err *);
int dead_require(struct pq *dst, struct err *);         /* ERR_SHAPE if the table is missing */
int dead_install(struct pq *dst, bool *created, struct err *);

#endif
