/*
 * The two servers: connections, and every line of SQL about queue, position, partitions and dead
 * letters. Only pq.c, connect.c and copy.c see libpq; what they share is in pq.h.
 */
#ifndef PG_H
#define PG_H

#include "../conf/conf.h"

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
 * ends it, and that the server notices soon when we are gone and lets go of our locks; and what
 * pq_keep_settings was given. */
void pq_add_settings(struct buf *sql, const struct pq *, int lock_timeout_ms);

/* Runs sql, which may be several statements, and waits for its end. The rows of the last
 * statement that gave any stay readable until the next call. */
int pq_query(struct pq *, const char *sql, struct err *);
int pq_rows(const struct pq *);
const char *pq_value(const struct pq *, int row, int col);      /* NULL is SQL NULL */
int64_t pq_int(const struct pq *, int row, int col, int64_t if_null);
const char *pq_tag(const struct pq *);          /* command tag of the last statement, "COMMIT" */

/* Waits until one of n connections that is waiting can go on, or for a while; NULLs among them are
 * passed over. timeout_ms: 0 looks only, -1 sets no end. 0, ERR_STOP, or ERR_CONN when a server
 * that is waited for was silent for too long. */
int pq_wait(struct pq *const *, size_t n, int64_t timeout_ms, struct err *);
bool pq_in_transaction(const struct pq *);      /* that has not failed */
bool pq_blocked(const struct pq *);             /* its socket took no more bytes when last tried */

/* ---- connect.c: connection strings; opening and closing a connection */

/* Is it well formed, with values that libpq takes? Else the reason, without its secrets, in err. */
int connect_check(const char *what, const char *conninfo, struct err *);
char *connect_mask(const char *conninfo);       /* malloc'ed, without its secrets */
const char *connect_lacks(void);                /* what this libpq is too old for, or NULL */

/* Connects; what ("src_db") names the connection in messages. encoding: client_encoding to set,
 * NULL for the server's own. Waits with signals let in, at most connect_timeout_ms. */
struct pq *pq_open(const char *what, const char *conninfo, const char *encoding, struct err *);
void pq_close(struct pq *);                     /* takes NULL */
/* settings: SET LOCAL statements, each with its semicolon, that all our transactions on it begin with. */
void pq_keep_settings(struct pq *, const char *settings);
int64_t pq_opened_ms(const struct pq *);        /* clock_ms() at the end of pq_open */
const char *pq_server_encoding(const struct pq *);
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
int64_t pq_copied(const struct pq *);           /* rows of the COPY that ended last, by the server's count */
/* Of the COPY into table that failed: line from 1 (0: not told), column name or NULL. */
int64_t pq_error_line(const struct pq *, struct span table);
struct span pq_error_value(const struct pq *, struct span table);       /* as the server cut it, or NULL */
const char *pq_error_column(struct pq *, struct span table);

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
	int64_t lanes;                  /* lane 0: how many load a batch; 1 when not told */
	int64_t from;                   /* other lanes: the tick at which the batch up to tick began */
};

/* What pgq_ext there is: none, one without subconsumers (before Skytools 3), the full one. */
enum position_kind { POSITION_NONE, POSITION_SIMPLE, POSITION_LANES };
int position_kind(struct pq *, enum position_kind *, struct err *);
/* The rows are the GRANT statements that this role lacks to keep positions. */
int position_grants(struct pq *, struct err *);
int position_install_grants(struct pq *, struct err *); /* the same to create schemas, as --install does */
int position_require(enum position_kind, struct err *);  /* ERR_SHAPE when there is none */
int position_install(struct pq *, bool *created, struct err *);

/* Opens the data transaction of a lane out of so many, takes the lock on its position and reads
 * it; the number of lanes is read by lane 0 alone. ERR_CONFLICT when another process has the lock. */
int position_begin(struct pq *, const char *consumer, size_t lane, size_t lanes, enum position_kind,
	struct position *, struct err *);
/* Commits the rows of a batch from one tick to another. before: statements to be run first, or "". */
int position_commit(struct pq *, const char *before, const char *consumer, size_t lane, size_t lanes, int64_t from,
	int64_t tick, struct err *);
int position_keep(struct pq *, const char *before, struct err *);        /* commits rows without a new position */
int position_rollback(struct pq *, struct err *);
/* In lane 0's open transaction, and commits it: from now on so many lanes, all at tick. */
int position_set_lanes(struct pq *, const char *consumer, size_t lanes, int64_t tick, struct err *);
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
	int64_t lag_ms;                 /* from the batch's tick to now, by the source's clock */
	char *event_sql;                /* PgQ's query for its events; queue_batch_free frees it */
};

struct queue_state {
	bool pgq, queue, consumer;      /* is it there */
	int64_t last_tick;              /* newest tick of the queue, or 0 */
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

/* ---- part.c: a partition's life, and what its parent is like */

/* A table of the target as it is: dest_table or a partition. */
struct part_table {
	char oid[24];                   /* "": it is not there */
	bool partitioned;               /* PARTITION BY */
};

int part_find(struct pq *, const struct conf *, struct span table, struct part_table *, struct err *);
/* *which: the first of n columns that the table does not have; n when it has all. */
int part_lacks(struct pq *, const struct part_table *, const struct span *column, size_t n, size_t *which, struct err *);
/* Adds the columns of dest_table that are generated, in its partitions too. */
int part_generated(struct pq *, const struct conf *, struct tally *columns, struct err *);
/* *which: the first column in fields that is so; nfield when none is. */
int part_lists_generated(struct pq *, const struct conf *, size_t *which, struct err *);
/* Would a partition lack the column that dest_table lacks? false: that cannot be told. */
bool part_is_model(const struct conf *, const struct part_table *, struct span column);

/* What part_template says, in lower case, with a blank for all that is no name or key word. */
void part_words(struct buf *, const struct conf *);
/* Does part_template make children of a table, by partition of, attach partition or inherits? */
bool part_makes_children(const struct conf *);

struct part_name {
	struct span name;               /* a partition, without schema */
	bool old;                       /* it is older than part_keep, which may have detached it */
};

/* Rows may go to a table under a partition's name if it is a child of dest_table or, at some levels,
 * of a child; or of a table that part_template names. One that is nobody's child may get rows where
 * part_template makes none, or where it is old; its owner must be dest_table's, a superuser or we.
 * 0, ERR_SHAPE or ERR_RIGHTS with the first that is not so; ERR_CONFLICT when it is gone.
 * *children: all are children of dest_table itself. */
int part_right(struct pq *, const struct conf *, const struct part_name *, size_t n, bool *children, struct err *);
/* Statements that fail if they are no children, or if one does not generate those columns, which no
 * row brought: to be sent with the COMMIT in one message. */
void part_add_children(struct buf *sql, const struct pq *, const struct conf *, const struct part_name *, size_t n);
void part_add_generated(struct buf *sql, const struct conf *, const struct part_name *, size_t n, const struct tally *columns);
/* Was it one of these statements that failed? Then rolls back, and e becomes what part_right says, or
 * ERR_SHAPE, or ERR_CONFLICT. */
int part_refused(struct pq *, const struct conf *, const struct part_name *, size_t n, const struct tally *columns, struct err *e);
/* All that are not right: the rows of a query, and what is to be said of one; *loose: it is nobody's child. */
int part_look(struct pq *, const struct conf *, const struct part_name *, size_t n, struct err *);
int part_wrong(struct pq *, const struct conf *, int row, bool *loose, struct err *);

/* Opens *ddl when it is NULL. */
int part_open(struct pq **ddl, const struct conf *, const struct style *, struct err *);
/* Appends the name of the partition of the period, without schema. */
void part_name(struct buf *, const struct conf *, int64_t start_s);

/* Appends what opens a short transaction for DDL. */
void part_begin(struct buf *sql, const struct pq *ddl, int lock_timeout_ms);
/* Adds to e who has the table open: its lock could not be had. */
void part_say_who(struct pq *ddl, const struct conf *, struct span table, struct err *);

struct part_want {
	const struct conf *conf;
	struct span name;               /* the partition, without schema */
	int64_t start_s, end_s;
	struct span ev_type;            /* of the event that needs it: holds the primary key */
	int lock_timeout_ms;
	bool old;                       /* as in struct part_name */
	const struct route *route;
};

/* Makes sure that the partition is there; *created says whether it was made now. open is NULL: in
 * a transaction of its own. Else in the one that is open on ddl, with the *open partitions that were
 * created before; 0: a new one. When *open is 0 after that, they are committed, or with an error
 * rolled back. ERR_TIMEOUT when somebody's lock was in the way for lock_timeout_ms; who, is in err then. */
int part_ensure(struct pq *ddl, const struct part_want *, size_t *open, bool *created, struct err *);
/* Commits them and sets *open to 0, whatever comes of it. */
int part_commit(struct pq *ddl, size_t *open, struct err *);

/* The kinds of the shape's columns in a partition; kinds has room for shape->n. *known: of all of them. */
int part_kinds(struct pq *ddl, const struct conf *, struct span table, const struct shape *, enum binary_kind *kinds,
	bool *known, struct err *);
/* SQL for the bytes of table c.oid, with its own partitions and all that belongs to them. */
void part_add_size(struct buf *sql, const struct pq *dst);
/* Changes nothing: is the partition there, and if not, the SQL that would create it. */
int part_foresee(struct pq *, const struct part_want *, bool *there, struct buf *sql, struct err *);

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
