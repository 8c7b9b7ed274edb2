/*
 * The two servers: connections, and every line of SQL about queue, position, partitions and dead
 * letters. Only conninfo.c, connect.c, pq.c and copy.c call libpq. What the files of this folder
 * share and nobody above may call is in pq.h.
 *
 * Unless a contract says otherwise, a function that takes a struct err returns 0 or its code: any
 * error of pq_query. Functions that append SQL to a struct buf send nothing.
 */
#ifndef PG_H
#define PG_H

#include "../conf/conf.h"

/* ---- sqlstate.c: from a server's error to what we do about it */

enum sqlstate_name {
	SQLSTATE_DENIED,                /* a privilege is missing */
	SQLSTATE_NO_COLUMN,
	SQLSTATE_NO_TABLE,
	SQLSTATE_TAKEN,                 /* the name of a new object is taken */
	SQLSTATE_LOCKED,                /* lock_timeout expired */
	SQLSTATE_DUPLICATE,             /* a unique key is violated */
	SQLSTATE_RAISED,                /* PL/pgSQL's plain RAISE EXCEPTION */
	SQLSTATE_TOO_MUCH,              /* locks or memory: a smaller batch may fit */
	SQLSTATE_BAD_VALUE,             /* any error of a value, the two below too */
	SQLSTATE_BAD_DATE,
	SQLSTATE_BAD_TEXT,              /* not the text form of its type */
	SQLSTATE_BAD_BINARY,            /* not the binary form of a column's type */
	SQLSTATE_BAD_ROW                /* by a value, NOT NULL or CHECK: whatever others hold */
};

/* Does a server's SQLSTATE, five characters or "", have that meaning? */
bool sqlstate_is(const char *state, enum sqlstate_name);
/* Is the connection of no more use, or are we to stop? Then no statement is to blame. */
bool sqlstate_is_lost(const struct err *);
/* The setting of the role or database that is probably too short if the error recurs; or NULL. */
const char *sqlstate_setting(const char *state);

/* ---- conninfo.c: connection strings */

/* Checks the connection string, called what in messages. 0, or ERR_CONF with a message that shows
 * no secret. */
int conninfo_check(const char *what, const char *conninfo, struct err *);
char *conninfo_mask(const char *conninfo);      /* malloc'ed copy with secrets hidden */
const char *conninfo_lacks(void);       /* what this libpq is too old to support, or NULL */

/* ---- pq.c: a connection at work */

struct pq;
enum { PQ_WAIT = 0, PQ_READY = 1, PQ_END = 2 };

/* For all connections: how long a server may be silent while we wait for it; 0: no limit. */
void pq_setup(int64_t server_timeout_ms);

/* Begins a statement in which unqualified names mean PostgreSQL's own objects: others may have put
 * functions and operators on the role's search_path. */
#define PQ_OWN_PATH "SET LOCAL search_path = pg_catalog, pg_temp;"
/* Of the processes that create something of ours or of PgQ's, each waits for those before it, and
 * then finds what they made: a session hears of new names when it locks a table. In a
 * transaction. */
#define INSTALL_LOCK \
	"SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tdispatch install'));" \
	"SELECT FROM pg_catalog.pg_namespace LIMIT 0;"
/* An operator, in a statement that must find tables through the role's search_path. */
#define PQ_OWN(operator) " OPERATOR(pg_catalog." operator ") "

/* Appends the settings that begin each of our transactions: no timeout of the role or the database
 * ends it, and the server soon notices when we are gone and releases our locks. Also those that
 * style_open chose for the connection. */
void pq_add_settings(struct buf *sql, const struct pq *, int lock_timeout_ms);

/* Runs sql, one or more statements, and waits for the end. 0, or any ERR_ code. The rows of the
 * last statement that returned some stay readable until the next call. */
int pq_query(struct pq *, const char *sql, struct err *);
int pq_rows(const struct pq *);                 /* how many rows the last pq_query returned */
/* A value of them, valid until the next pq_query; NULL is SQL NULL. */
const char *pq_value(const struct pq *, int row, int col);
int64_t pq_int(const struct pq *, int row, int col, int64_t if_null);
/* Waits for the remaining results, so that the next statement can be sent. Returns e's code: the
 * first error of them, unless e has an earlier one. */
int pq_drain(struct pq *, struct err *);

/* Waits until one of those of n connections that wait can proceed, or for timeout_ms; NULLs among
 * them are skipped. timeout_ms: 0 only polls, -1 is no limit. 0, ERR_STOP, or ERR_CONN if a server
 * that we wait for was silent for too long. */
int pq_wait(struct pq *const *, size_t n, int64_t timeout_ms, struct err *);
/* For sleeping until a notification comes: the socket, and whether one has come since the last call
 * (or the connection is lost). No statement may be under way. */
int pq_socket(const struct pq *);
bool pq_woken(struct pq *);
bool pq_notified(const struct pq *);            /* has pq_woken ever seen one? */
bool pq_blocked(const struct pq *);             /* its socket was full at the last try */

/* ---- snapshot.c: a query for the events between two ticks; pure: in pq.h */

/* ---- kept.c: rows that were read ahead: in pq.h */

/* ---- form.c: PgQ's query as it is kept on a connection from batch to batch: in pq.h */

/* ---- connect.c: opening and closing a connection */

bool connect_failed(const struct err *);        /* an error of pq_open: not connected */
/* Connects, with signals unblocked and within connect_timeout; pq_close frees it. NULL on error.
 * what ("src_db") names the connection in messages and must outlive it. encoding: the
 * client_encoding; NULL: the server's. */
struct pq *pq_open(const char *what, const char *conninfo, const char *encoding, struct err *);
void pq_close(struct pq *);                     /* takes NULL */

struct pq_server {                      /* of an open connection; it does not change */
	int version;                    /* 150018 */
	char encoding[32];              /* of the database */
	bool encrypted;                 /* the connection uses TLS */
	bool exposed;                   /* unencrypted, and the server is another machine */
	int64_t opened_ms;              /* clock_ms() at the end of pq_open; 0 before */
};

const struct pq_server *pq_server(const struct pq *);   /* lives as long as the connection */

/* ---- copy.c: COPY, in both directions; reading is in pq.h */

/* COPY ... FROM STDIN, non-blocking: pq_copy_in sends sql, which may hold several COPYs, `copies`
 * of them, which saves round trips. For each, pq_copy_step returns PQ_READY when a block can be
 * put, and PQ_END after pq_copy_end once the server has accepted all rows; PQ_WAIT if the socket
 * is not ready. *stopped: the server has sent a message; end the COPY to read it. Errors of the
 * rows come from pq_copy_step. */
int pq_copy_in(struct pq *, const char *sql, int copies, struct err *);
int pq_copy_step(struct pq *, bool *stopped, struct err *);
int pq_copy_put(struct pq *, const char *p, size_t n, struct err *);
int pq_copy_end(struct pq *, struct err *);
/* Runs a COPY without rows: would the table accept any? 0, or the error. */
int pq_copy_nothing(struct pq *, const char *sql, struct err *);
int64_t pq_copied(const struct pq *);           /* rows of the last COPY, by its command tag */

struct pq_fault {                       /* what the server said of the row at fault */
	int64_t line;                   /* of the COPY, from 1; 0: unknown */
	bool certain;                   /* the line: no value or trigger can have written it */
	struct span value;              /* as the server cut it, until the next error; or NULL */
	char column[NAME_BYTES_MAX + 1];        /* or "" */
};

/* About the last COPY into table, which failed. */
void pq_copy_fault(const struct pq *, struct span table, struct pq_fault *);

/* ---- trust.c: objects that other roles own: in pq.h */

/* ---- style.c: what the text of a value means: the source's settings, and the target's to match */

struct style {                          /* of the source's session; zeroed: not known */
	char encoding[32];              /* of the events; "" */
	char date[64], interval[32];    /* DateStyle, IntervalStyle */
	char zone[64], money[64];       /* TimeZone, or part_timezone; lc_monetary */
};

/* Asks the source. If PgQ's triggers write UTF8 in a database of another encoding, it also sets the
 * connection's client_encoding to UTF8. */
int style_ask(struct pq *src, const struct conf *, struct style *, struct err *);
/* The target's client_encoding for text from a source in that encoding; NULL: its own. */
const char *style_client_encoding(const char *source);
/* Opens *dst, a connection to the target, unless it is open. The server then checks that text is
 * valid in the style's encoding, and reads times without an offset by its zone, and money by its
 * locale. Errors of pq_open. */
int style_open(struct pq **dst, const struct conf *, const struct style *, struct err *);
/* 0, or ERR_CONF if the target knows no zone of that name. Asks once. */
int style_check_zone(struct pq *dst, struct zone *, struct err *);
/* Asks the target for n midnights of the zone, as struct zone's ask. */
int style_ask_midnights(struct pq *dst, struct zone *, struct zone_bound *, size_t n, struct err *);
/* Appends a statement that makes the transaction's time zone that of the rule, if it is named. */
void style_add_zone(struct buf *sql, const struct period_rule *);
/* *zone, *money: does the target know the source's time zone, and the locale of its money? */
int style_takes(struct pq *dst, const struct style *, bool *zone, bool *money, struct err *);
/* Appends the source's settings to the error of a date, time or interval that the server refused,
 * or, where it has no SQLSTATE, that we did. */
void style_explain(const struct style *, struct err *);

/* ---- position.c: the target's side of exactly-once, schema pgq_ext */

struct position {
	bool known;                     /* pgq_ext has a tick */
	int64_t tick;
	int64_t time_us;                /* its tick_time since 1970; 0: set by another program */
	int64_t source_us;              /* the queue's time for that number: queue_times */
	int64_t lanes;                  /* of lane 0: how many load a batch; 1 if not stored */
	/* of the other lanes, about the batch that ends at tick: */
	int64_t from;                   /* its first tick */
	int64_t rule;                   /* judge_rule when it was loaded; 0: unknown */
};

/* Which pgq_ext exists: none, one without subconsumers (before Skytools 3), the full one. */
enum position_kind { POSITION_NONE, POSITION_SIMPLE, POSITION_LANES };
/* Looks for pgq_ext. Errors of trust_require. */
int position_kind(struct pq *, enum position_kind *, struct err *);
int position_require(enum position_kind, struct err *);         /* 0, or ERR_SHAPE if none */
/* Creates what pgq_ext lacks. *created: there was none. */
int position_install(struct pq *, bool *created, struct err *);

/* Opens the data transaction of one of `lanes` lanes, locks its position and reads it; only lane 0
 * reads the number of lanes. ERR_CONFLICT if another process holds the lock, ERR_READONLY if the
 * target is read-only: the caller rolls back. */
int position_begin(struct pq *, const char *consumer, size_t lane, size_t lanes,
	enum position_kind, struct position *, struct err *);
/* Sends what position_begin does, unless that was sent, and does not wait: position_begin takes the
 * answer. Nothing else may be done with the connection before, but position_unask, or to close
 * it. */
int position_ask(struct pq *, const char *consumer, size_t lane, size_t lanes, enum position_kind,
	struct err *);
/* Rolls that back; no-op if it was not asked. */
int position_unask(struct pq *, struct err *);
/* Commits the rows of a batch, and its position: tick, time_us, from and rule. NULL: the position
 * stays as it is. before: statements to run first, or "". */
int position_commit(struct pq *, const char *before, const char *consumer, size_t lane,
	size_t lanes, enum position_kind, const struct position *, struct err *);
/* Sets the number of lanes, all at that position, in lane 0's open transaction, and commits it. */
int position_set_lanes(struct pq *, const char *consumer, size_t lanes,
	const struct position *, struct err *);
/* Stores source_us as the time of a tick that another program has set, if that is still the
 * position. Takes the lock: ERR_CONFLICT while a process loads. */
int position_complete(struct pq *, const char *consumer, size_t lane, size_t lanes,
	const struct position *, struct err *);
/* Reads all lanes' positions without a lock. *n: how many; 1 if the stored number is invalid. */
int position_look(struct pq *, const char *consumer, enum position_kind,
	struct position pos[LANES_MAX], size_t *n, struct err *);
/* Reads the consumer's tick without a lock, from any pgq_ext. *tick: 0 if it is not known. */
int position_get(struct pq *, const char *consumer, bool *known, int64_t *tick, struct err *);
/* Deletes all of the consumer's positions. *tick: that of lane 0; 0 if there was none. ERR_CONFLICT
 * while a process loads. */
int position_forget(struct pq *, const char *consumer, enum position_kind, int64_t *tick,
	struct err *);

/* ---- queue.c: the source's side: PgQ's schema, and a queue's state */

/* Opens src_db as pq_open, and finds the schema of PgQ: pgq, or pgque, which has the same tables
 * and functions. */
struct pq *queue_open(const struct conf *, const char *encoding, struct err *);
int queue_find(struct pq *src, const struct conf *, struct err *);      /* that schema alone */
const char *queue_schema(const struct pq *);    /* what was found */
/* In SQL about PgQ the byte 1 stands for its schema: replaces it. */
#define PGQ "\1"
void queue_expand(struct buf *sql, const struct pq *);
/* From now on a tick wakes pq_woken, if this PgQ notifies of ticks. */
int queue_listen(struct pq *, const char *queue, struct err *);

struct queue_state {
	bool pgq, queue, consumer;      /* do they exist */
	bool pgque;                     /* PgQ is to be in that schema */
	int64_t last_tick;              /* newest tick of the queue, or 0 */
	int64_t consumer_tick;          /* the consumer's position; 0: not registered */
	int64_t last_tick_age_ms;
};

/* Looks for PgQ, the queue and the consumer; what does not exist is no error. */
int queue_state(struct pq *, const char *queue, const char *consumer, struct queue_state *,
	struct err *);
/* 0, or ERR_SHAPE with what to do if PgQ or the queue is missing. queue NULL: PgQ is enough. */
int queue_require(const struct queue_state *, const char *queue, struct err *);

struct queue_backlog {                  /* what comes after a tick; -1: unknown */
	int64_t consumer_tick;
	/* the tick's age by the source's clock, as all times here */
	int64_t lag_ms;
	/* up to the newest tick, by PgQ's estimate, usually too high */
	int64_t events;
	int64_t waiting_ms;             /* age of the first tick after it; 0: there is none */
	int64_t newest_tick, newest_ms; /* of the queue, and its age */
	int64_t overdue_ms;             /* if it is older than that, the ticker has stopped */
	int64_t unticked;               /* events after it, which nobody gets yet, an estimate */
	bool paused;                    /* somebody has paused the queue's ticker */
};

#define QUEUE_UNKNOWN { -1, -1, -1, -1, -1, -1, -1, -1, false }

/* tick: the target's; -1: the consumer's own. */
int queue_backlog(struct pq *, const char *queue, const char *consumer, int64_t tick,
	struct queue_backlog *, struct err *);
/* Creates the queue. ERR_RIGHTS without a right of PgQ's administrator. */
int queue_create(struct pq *, const char *queue, struct err *);
/* Sets source_us of n positions to the time of the queue's tick by that number: 0 if it is older
 * than all that PgQ still has, QUEUE_NO_TICK if it does not exist. *newest: the queue's newest
 * tick, or 0. */
#define QUEUE_NO_TICK (-1)
int queue_times(struct pq *, const char *queue, struct position *, size_t n, int64_t *newest,
	struct err *);

/* ---- ticks.c: the look for new ticks */

enum ticks_after {
	TICKS_NONE, TICKS_ONE, TICKS_MORE,
	TICKS_UNKNOWN                   /* that cannot be told without qbatch_ask */
};
/* How many ticks has the queue of the last qbatch_ask after that one? An enum ticks_after, or an
 * error. A tenth of qbatch_ask's cost. */
int ticks_after(struct pq *, int64_t tick, struct err *);

/* ---- qbatch.c: a queue's batches */

struct queue_batch {
	int64_t id, tick, prev_tick;
	int64_t tick_us, prev_us;       /* tick_time, in microseconds since 1970 */
	int64_t lag_ms;                 /* age of the batch's tick by the source's clock */
	char *event_sql;                /* for its events; qbatch_free frees it */
	bool of_table;                  /* or a table's: slice_event_sql */
};

/* Asks for the next batch, and does not wait: qbatch_answer, the next use of the connection, takes
 * the answer. min_events: ticks are merged until the batch has about that many events, or all
 * pending ones; 0: one tick per batch. finish: a batch to finish in the same transaction, or 0. */
int qbatch_ask(struct pq *, const char *queue, const char *consumer, int64_t min_events,
	int64_t finish, struct err *);
/* 1 with the next batch, 0 if there is none, or an error. The caller calls qbatch_free.
 * ERR_CONFLICT: another process has finished the batch; ERR_POSITION: the consumer is not
 * registered. */
int qbatch_answer(struct pq *, const char *queue, const char *consumer, struct queue_batch *,
	struct err *);
/* After qbatch_answer has given that batch: the next one, of one tick, if that was there already,
 * with the query that it will come with, but without id and lag_ms. false: that cannot be told. The
 * caller calls qbatch_free. */
bool qbatch_foresee(const struct pq *, const struct queue_batch *, struct queue_batch *next);
/* As qbatch_answer, without opening the batch: changes nothing, except that PgQ's batch sequence
 * advances. */
int qbatch_peek(struct pq *, const char *queue, const char *consumer, int64_t min_events,
	struct queue_batch *, struct err *);
void qbatch_free(struct queue_batch *);         /* frees what is in it; may be called again */
/* Tells PgQ that the batch is done: the consumer's next one comes after it. */
int qbatch_finish(struct pq *, int64_t batch, struct err *);
/* Is it still the consumer's open batch? Another process may have finished it. */
int qbatch_active(struct pq *, int64_t batch, bool *yes, struct err *);

/* ---- consumer.c: a consumer's registration with its queue */

/* Registers the consumer at the newest tick, unless it is registered. */
int consumer_register(struct pq *, const char *queue, const char *consumer, struct err *);
/* Removes the consumer from the queue, with its position and its open batch. */
int consumer_unregister(struct pq *, const char *queue, const char *consumer, struct err *);
/* Appends the names of other queues on which the consumer is registered. */
int consumer_elsewhere(struct pq *, const char *queue, const char *consumer, struct buf *queues,
	struct err *);
/* Appends the queue's other consumers, for a message. */
int consumer_others(struct pq *, const char *queue, const char *consumer, struct buf *names,
	struct err *);
/* The target has a tick of a consumer that was not registered with the queue. Looks again: 0 if it
 * is registered now, by a process that has just started; else ERR_POSITION with what to do. */
int consumer_unregistered(struct pq *, const struct conf *, int64_t tick, struct err *);
/* Moves the consumer to the tick, or registers it there; an open batch is given up. ERR_POSITION if
 * PgQ no longer has the tick. */
int consumer_rewind(struct pq *, const char *queue, const char *consumer, int64_t tick,
	struct err *);

/* ---- events.c: the events of a batch */

struct events_want {                     /* what is read of a batch */
	unsigned parts;                 /* of each event: enum event_part */
	bool by_id;                     /* in the order of ev_id; else in no particular order, */
	bool newest_first;              /* but about this one: backwards by PgQ's index */
	const char *tables, *types;     /* filters: keys tables and event_types, or NULL */
};

/* Does the query filter? Then the type of an event that it leaves out is NULL, as is the data, and
 * no
 * other event's is. It leaves no event in that the tables leave out. */
bool events_filters(const struct events_want *);
/* Appends the condition that a name schema.table is one of the key tables' list. */
void events_add_tables(struct buf *sql, const char *column, const char *list);
/* Asks for a batch's events, and does not wait. A batch without a tick has dead letters, which know
 * their own. events_open or events_drop must follow before any other use of the connection. */
int events_ask(struct pq *, const struct queue_batch *, const struct events_want *, struct err *);
/* Asks for the events of a batch that may come, and does not wait. events_keep must follow. */
int events_ask_ahead(struct pq *, const struct queue_batch *, const struct events_want *,
	struct err *);
/* Waits for them, and keeps them for an events_ask of the same: nothing is sent then. 1; 0: there
 * are none, or too many; or an error, after which the connection is of no more use. */
int events_keep(struct pq *, struct err *);
bool events_are_kept(const struct pq *);        /* and have not been taken */
/* Waits until the events may come: then events_next takes them. 0, or an error. */
int events_open(struct pq *, struct err *);
/* Reads them to their end, and drops them. 0, or an error. */
int events_drop(struct pq *, struct err *);
/* The next of them, with the same parts: PQ_READY, PQ_WAIT if none has arrived yet, PQ_END after
 * the last, or an error. */
int events_next(struct pq *, unsigned parts, struct event *, struct err *);
/* ev_extra1 of one event of a batch, for a message; malloc'ed, NULL if unknown. */
char *events_table(struct pq *, const struct queue_batch *, int64_t id);

/* ---- ticker.c: ticks and maintenance, which pgqd makes otherwise */

struct ticker_look {                    /* times are by the source's clock */
	int64_t tick, age_ms;           /* the newest; 0: there is none */
	bool only;                      /* there is no other tick */
	int64_t unticked;               /* events after it, an estimate */
	int64_t lag_ms, idle_ms, rotation_ms;   /* of the queue: ticker_max_lag and so on */
	bool paused;                    /* no tick may be made: paused, or ticked from outside */
	bool pgqd;                      /* it is connected to the database, as far as can be seen */
	bool may_tick, may_lock;        /* our role's rights */
};

/* ERR_SHAPE if the queue is not there. */
int ticker_look(struct pq *, const char *queue, struct ticker_look *, struct err *);
/* Makes a tick, if PgQ thinks that one is due and the newest one still is l's. *tick: its number,
 * or 0. ERR_TIMEOUT: another process held a lock. No tick's snapshot is older than that of the one
 * before: while we may lock the ticks no other ticker can be between its snapshot and its tick, and
 * otherwise the new one is rolled back if it is older. */
int ticker_tick(struct pq *, const char *queue, const struct ticker_look *l, int64_t *tick,
	struct err *);
/* What PgQ asks for: rotates tables that are due, of all queues, and puts events to be tried again
 * back into their queues. */
int ticker_maintain(struct pq *, const char *queue, struct err *);
/* Makes the queue's ticker think that a tick is due, whoever is the ticker. *txid: a transaction
 * that the tick will see, and all that was committed before. */
int ticker_force(struct pq *, const char *queue, int64_t *txid, struct err *);
/* *tick: the newest one if it sees that transaction, else 0. */
int ticker_sees(struct pq *, const char *queue, int64_t txid, int64_t *tick, struct err *);
/* Sets ERR_RIGHTS, with the GRANT that lets our role tick. */
int ticker_denied(struct pq *, struct err *);

/* ---- judge.c: what the queue's batch and the target's positions mean together; pure */

enum verdict_kind {
	VERDICT_LOAD,                   /* load the batch, in the lanes that do not have it */
	VERDICT_IS_IN,                  /* the target has all of it: finish it */
	VERDICT_MOVE,                   /* the target has it up to a tick inside: move there */
	VERDICT_SINGLE,                 /* a lane has it up to a tick inside: single ticks */
	VERDICT_LOST,                   /* lost position: write nothing */
	VERDICT_LEFT,                   /* the same: another program moved lane 0's alone */
	VERDICT_OTHER,                  /* the same: the queue reused the tick's number */
	VERDICT_CHANGED                 /* lanes loaded it by another judge_rule: write nothing */
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
	bool stops;                     /* a run fails with ERR_POSITION and the words */
	int64_t tick;                   /* for MOVE and SINGLE */
	bool loads[LANES_MAX];          /* false: the lane has the batch already */
	bool ahead;                     /* some lane has it */
	char words[800];                /* readable; "": the target has none of the batch */
};

/* source_us of the positions must be set if judge_needs_times. */
struct verdict judge_position(const struct judge_case *);
/* The number of lanes that have a position, as lane 0's says. */
size_t judge_lanes(const struct position *);
/* A hash of everything that decides which lane a row belongs to. */
int64_t judge_rule(const struct conf *, size_t lanes);
/* Is a position's tick at neither end of the batch? Then call queue_times before judge_position. */
bool judge_needs_times(const struct judge_case *);

/* ---- table.c: tables of the target as they are, and what part_template makes */

struct table {
	char oid[24];                   /* "": it does not exist */
	bool partitioned;               /* PARTITION BY */
};

/* Looks for the table by name, in dest_table's schema or on the role's search_path. */
int table_find(struct pq *, const struct dest *, struct span name, struct table *, struct err *);
/* *which: the first of n columns that the table does not have; n when it has all, or was
 * dropped. */
int table_lacks(struct pq *, const struct table *, const struct span *column, size_t n,
	size_t *which, struct err *);

struct table_name {
	struct span name;               /* a partition, without schema */
	bool old;                       /* it is older than part_keep, which may have detached it */
};

struct table_columns {
	size_t n;
	struct table_column {
		char name[NAME_BYTES_MAX + 1];
		uint32_t type;          /* its oid, */
		enum binary_kind kind;  /* and the form of its values */
	} at[];
};

/* The columns of a table; the caller frees them. Changes no setting of an open transaction. */
int table_columns(struct pq *, const struct dest *, struct span table, struct table_columns **,
	struct err *);
/* Adds to columns those of dest_table that are generated, in its partitions too. */
int table_generated(struct pq *, const struct dest *, struct tally *columns, struct err *);
/* Adds those of dest_table which a COPY may name with NULL, and the rows are the same as if it did
 * not name them; only if their values have a binary form. */
int table_fills(struct pq *, const struct dest *, struct tally *columns, struct err *);
/* A condition on a and t, rows of pg_attribute and pg_type: where no COPY names it, it is NULL. */
extern const char table_no_default[];
/* *which: the first column in fields that is generated; nfield if none is. */
int table_lists_generated(struct pq *, const struct dest *, size_t *which, struct err *);
/* Would a partition lack the column that dest_table lacks? false also where nobody can tell. */
bool table_is_model(const struct dest *, const struct table *, struct span column);
/* Appends a condition of relname, on PostgreSQL's own search_path: may it be the name of one of
 * dest_table's partitions? oid: the table's. By a list only children of some table are meant: its
 * values may be anything. */
void table_add_named(struct buf *sql, const struct dest *, const char *oid);

/* Appends the words of part_template, in lower case, with a blank for everything that is neither a
 * name nor a key word. */
void table_words(struct buf *, const struct dest *);
/* Does part_template make children of a table, by partition of, attach partition or inherits? */
bool table_makes_children(const struct dest *);

/* ---- constraint.c: foreign and unique keys of tables where rows are replaced */

/* 0, or ERR_SHAPE: a foreign key points to one of the tables or their children. */
int constraint_referenced(struct pq *, const struct dest *, const struct table_name *, size_t n,
	struct err *);
/* *yes: each of the tables has a unique key of some of the columns of `key`; the column that picks
 * the partition may be among them where all rows of a partition have one value there. */
int constraint_unique(struct pq *, const struct dest *, const struct table_name *, size_t n,
	const struct span *key, size_t nkey, bool *yes, struct err *);
/* Appends a query with a row if no key occurs twice in the table, which has no more rows than
 * `most`. */
void constraint_add_distinct(struct buf *sql, const struct dest *, struct span table,
	const struct span *key, size_t nkey, int64_t most);

/* ---- stage.c: rows of a batch that wait for its end, where only a key's last row counts */

struct stage {                          /* a temporary table of one data transaction */
	char name[40];                  /* without schema */
	struct stage_key { struct span name; char *equals; } *key;      /* names are borrowed */
	size_t nkey;
	struct table_columns *columns;  /* the target's; NULL before stage_create */
};

/* Creates it, with the columns of table model and those of stage_add_columns. */
int stage_create(struct pq *, struct stage *, const struct dest *, struct span model,
	struct err *);
void stage_free(struct stage *);                /* what is in it but the name */
/* Drops the table. */
int stage_drop(struct pq *, struct stage *, struct err *);
/* Appends what follows the target's columns in the list of a COPY: id, the event's; part, a
 * partition's number; kind, that of the column list, 0 for a delete, which has the key alone. */
#define STAGE_COLUMNS 3
#define STAGE_ANYWHERE (-1)             /* as part, of a delete: any partition of the lane */
void stage_add_columns(struct buf *columns);

struct stage_part {                     /* a partition, and its number in the staging table */
	struct span schema, table;
	size_t number;
	bool ordered;                   /* its rows are inserted in the order of ev_id */
};

struct stage_range { int64_t first, last; };    /* of ev_id */

/* All append statements. First what goes from anywhere is made to go from each of these partitions,
 * numbers separated by commas. */
void stage_add_spread(struct buf *sql, const struct stage *, const char *parts);
/* The last rows of each partition and key are collected first; many: there
 * are many partitions, or ranges. */
void stage_add_last(struct buf *sql, const struct stage *, bool many);
/* Appends a query for what there is: part, kind, number of rows. */
void stage_add_count(struct buf *sql, const struct stage *);
/* From now on the events in ids, which commas separate, count as not having been. */
void stage_add_forget(struct buf *sql, const struct stage *, const char *ids);
/* Deletes the keys' rows from the partition, and inserts their last ones of one kind. range: only
 * those; NULL: all. */
void stage_add_delete(struct buf *sql, const struct stage *, const struct stage_part *,
	const struct stage_range *);
void stage_add_insert(struct buf *sql, const struct stage *, const struct stage_part *,
	size_t kind, const char *columns, const struct stage_range *);
/* An index by which ranges of ev_id are found; the least and the greatest of a partition's. */
void stage_add_index(struct buf *sql, const struct stage *);
void stage_add_ids(struct buf *sql, const struct stage *, const struct stage_part *);
/* Appends a query for staged events that may be older than what the target has of their keys, with
 * the key and the newest event that its rows are of, NULL where there is none. parts: the n tables
 * that may have them; evid: their column with an event's id, the NULL span if there is none. */
void stage_add_unsure(struct buf *sql, const struct stage *, const struct stage_part *parts,
	size_t n, struct span evid);
void stage_add_parts(struct buf *sql, const struct stage *);    /* a query: staged partitions */
/* For comparing: appends a FROM item, the last rows of the partition's keys; a condition on its row
 * t, that its key is staged; a condition that l, a staged row, is none of a delete. */
void stage_add_analyze(struct buf *sql, const struct stage *);
void stage_add_latest(struct buf *sql, const struct stage *, size_t part);
void stage_add_touched(struct buf *sql, const struct stage *, size_t part);
void stage_add_comes(struct buf *sql);
/* Sends statements that change the target. */
int stage_send(struct pq *, const char *sql, struct err *);
/* PQ_READY for each that is done: *rows, and those of a query stay readable; PQ_WAIT; PQ_END after
 * the last; or its error. ERR_DATA: a row is at fault. */
int stage_step(struct pq *, int64_t *rows, struct err *);
/* Does both and waits. *rows: of the at-th one, from 0. */
int stage_run(struct pq *, const char *sql, size_t at, int64_t *rows, struct err *);

/* ---- admit.c: may rows go to a table? */

/* Rows may go to a table that is a child, at any level, of dest_table, or of a table that
 * part_template names. A table that is nobody's child is admitted if part_template makes no
 * children or if it is old, and its owner is dest_table's, a superuser or our role. 0; for the
 * first table that is not admitted ERR_SHAPE, ERR_RIGHTS, or ERR_CONFLICT if it is gone, and
 * *which (or NULL) is its index. *children: all are children of dest_table itself. */
int admit_check(struct pq *, const struct dest *, const struct table_name *, size_t n,
	bool *children, size_t *which, struct err *);

struct admit {                          /* tables of one destination that got rows */
	const struct dest *dest;
	size_t number;                  /* differs from that of any other in the transaction */
	const struct table_name *names;
	size_t n;
	const struct tally *columns;    /* that dest_table generates, and no row brought */
	const struct tally *filled;     /* that are NULL in rows whose events lacked them */
	bool children;                  /* all are expected to be children of dest_table */
};

/* Appends statements, to be sent with the COMMIT in one message, that fail if one of the tables
 * does not generate the columns, would not have NULL in those that are filled if no COPY named them
 * or, if that is expected, is not a child of dest_table. */
void admit_add_checks(struct buf *sql, const struct pq *, const struct admit *);
/* Appends a statement that fails if one of the tables has not all of these columns, with these
 * types; number: as in struct admit. */
void admit_add_types(struct buf *sql, const struct dest *, size_t number, const struct table_name *,
	size_t n, const struct table_columns *);
/* Is e its error, or that about columns that are filled? */
bool admit_other_types(const struct err *, size_t number);
bool admit_not_filled(const struct err *, size_t number);
/* If e is the error of one of those statements: rolls back and replaces e by what admit_check says,
 * ERR_SHAPE, or ERR_CONFLICT. Returns e's code. */
int admit_explain(struct pq *, const struct admit *, struct err *e);
/* Queries all that are not admitted: the rows of pq_query, a name first. */
int admit_list(struct pq *, const struct dest *, const struct table_name *, size_t n,
	struct err *);
/* Returns the error that admit_check would return for that row. *loose: it is nobody's child. */
int admit_fault(struct pq *, const struct dest *, int row, bool *loose, struct err *);

/* ---- ddl.c: a short transaction for DDL, and who is in its way */

/* Appends the SQL that opens the transaction. */
void ddl_begin(struct buf *sql, const struct pq *ddl, int lock_timeout_ms);
/* After a lock timeout, appends to e which session holds the table, a partition of dest_table, or a
 * table that is locked with it. Needs a connection without an open transaction. */
void ddl_say_who(struct pq *ddl, const struct dest *, struct span table, struct err *e);
/* Appends ", tablespace " and the name of the table's, if the table is there. */
void ddl_add_tablespace(struct pq *dst, const struct dest *, struct span table, struct buf *);

/* ---- indexes.c: what makes on a partition the indexes that dest_table has */

struct indexes {                        /* zeroed before use */
	const struct dest *dest;
	struct index_sql { char *before, *after; } *at;         /* the partition's name */
	size_t n;
};

/* *yes: statements can make them as LIKE would copy them. Needs a lock on dest_table that keeps
 * them as they are. */
int indexes_look(struct pq *lane, const struct dest *, struct indexes *, bool *yes, struct err *);
void indexes_clear(struct indexes *);

/* ---- partsql.c: the SQL that creates a partition; pure */

struct part_want {
	const struct dest *dest;
	struct span name;               /* the partition, without schema */
	int64_t start_s, end_s;
	struct span ev_type;            /* of the event that needs it: it names the primary key */
	size_t lane;                    /* as in struct part_new */
	bool old;                       /* as in struct table_name */
	const struct route *route;
};

/* Appends part_template with its words replaced. ERR_DATA: the event lacks what the template
 * needs; ERR_SHAPE: the template cannot be used. */
int partsql_add(struct buf *, const struct part_want *, struct err *);
/* The same. The split, of the template, becomes that of the SQL; the buf must be empty. */
int partsql_add_split(struct buf *, const struct part_want *, struct attach_split *, struct err *);

/* ---- part.c: partitions: their names, and looking for them */

/* Appends the name of the partition of the period, without schema. */
void part_name(struct buf *, const struct dest *, int64_t start_s);

struct part_new {                       /* a partition that is wanted */
	char *name;                     /* without schema */
	char *sql;                      /* creates it */
	struct attach_split split;      /* of sql */
	size_t first;                   /* bytes of sql that run before its rows; 0: all */
	const struct indexes *indexes;  /* with first: those made after the rows, or NULL */
	uint64_t model;                 /* build_model: it inherits from dest_table last; or 0 */
	size_t lane;                    /* the caller's: whose transaction creates it */
	int64_t start_s, event;         /* the caller's: its period, and the event that needs it */
	bool there;                     /* it exists */
	bool made;                      /* by this process, now */
	bool old;                       /* as in struct table_name */
};

/* Sets `there` in all. An error of admit_check for one that exists: *at is which. By a list that is
 * ERR_DATA, its value's fault. */
int part_look(struct pq *, const struct dest *, struct part_new *, size_t n, size_t *at,
	struct err *);
/* The same, of partitions from which rows are to go. By a list, one whose name something else has
 * is not there. */
int part_find(struct pq *, const struct dest *, struct part_new *, size_t n, struct err *);

/* ---- creation.c: creating partitions in a transaction of their own */

/* Creates the missing ones in one transaction, all of their SQL: on failure none exists, unless the
 * template itself commits. *at: the one at fault. ERR_TIMEOUT: a lock was in the way for
 * lock_timeout_ms, and err says whose. ERR_CONFLICT: another process was creating partitions of the
 * table for as long. ERR_DATA: as part_look, or a list's value makes a name that is taken. */
int creation_run(struct pq *ddl, const struct dest *, struct part_new *, size_t n,
	int lock_timeout_ms, size_t *at, struct err *);

/* ---- entry.c: may partitions be created in the transaction that loads them? */

enum entry_way { ENTRY_INHERITS, ENTRY_ATTACHED, ENTRY_ATTACHED_LAST };

/* May partitions be created so inside the lane's open transaction? *yes, until that ends: we hold
 * the lock for creating partitions of the table, and build_begin blocks no reader of it. They may
 * be attached after their rows unless these would meet a row trigger, an identity column or a
 * publication of dest_table's. */
int entry_try(struct pq *lane, const struct dest *, enum entry_way, bool *yes, struct err *);
/* After that: may they be attached last? Locks dest_table, so that *yes remains so until the lane's
 * transaction ends; alone: it creates them all. After an error the transaction has failed. */
int entry_last(struct pq *lane, const struct dest *, bool alone, int lock_timeout_ms, bool *yes,
	struct err *);

/* ---- build.c: building partitions in that transaction, before and after their rows */

/* The number of a table like dest_table, which only exists in our transaction: partitions of this
 * list can inherit from it until build_add_attach's statement makes them inherit from
 * dest_table. */
uint64_t build_model(const struct part_new *list);
/* The partitions of a list are created in two messages, which are sent and not waited for. An error
 * blames none of them, and the transaction has failed.
 * build_look asks which are there, and build_looked takes the answer and sets it; those that are
 * there it checks at once: an error of part_look's. */
int build_look(struct pq *lane, const struct dest *, const struct part_new *, size_t n,
	struct err *);
int build_looked(struct pq *lane, const struct dest *, struct part_new *, size_t n, struct err *);
/* Then creates those of a list of which none is there, if part_template does no more
 * (attach_is_all), and before them the model, unless it is 0: all have the same, which may be there
 * already. build_made takes the answer. */
int build_begin(struct pq *lane, const struct dest *, struct part_new *, size_t n,
	uint64_t new_model, int lock_timeout_ms, struct err *);
int build_made(const struct pq *lane, struct part_new *, size_t n, struct err *);
/* PQ_WAIT; PQ_END when the answer is there; or an error. */
int build_step(struct pq *lane, struct err *);
/* Append what is to run after the rows of a partition that build_begin has created. */
void build_add_indexes(struct buf *, const struct part_new *);
void build_add_attach(struct buf *, const struct dest *, const struct part_new *);
/* The same, once for each model, when all of its partitions inherit from dest_table. */
void build_add_drop(struct buf *, const struct dest *, uint64_t model);
/* Sends such statements, and does not wait. A lock is waited for that long: where two lanes make
 * indexes, they may choose one name, and the second waits until the first has committed. */
int build_finish(struct pq *lane, const char *sql, int lock_timeout_ms, struct err *);
/* After that, as build_step. ERR_DATA: rows are at fault, as in answer to a COPY. ERR_TIMEOUT: a
 * lock was in the way. */
int build_step_last(struct pq *lane, struct err *);

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
	bool found;                     /* a COPY into its name would write to it */
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

/* Appends to the list the children in the order of their names, or only the one of that name.
 * sizes: also rows and size, which locks each child. Needs an open transaction, whose search_path
 * it changes. */
int child_list(struct pq *, const struct dest *, const char *only, bool sizes, struct child_list *,
	struct err *);
/* Asks for the names of all. */
int child_names(struct pq *, const struct dest *, struct err *);
void child_clear(struct child_list *);          /* frees what is in it, and zeroes it */

struct child_question {
	struct pq *q;                   /* in a transaction */
	const struct period_rule *rule;
	struct span column;             /* part_field's name in the target; "": there is none */
	int64_t kept_s;                 /* what is before it is old, by the rule's own clock */
};

enum child_age { CHILD_OLD, CHILD_YOUNG, CHILD_UNCLEAR };
/* *age by bounds and CHECKs: only old rows fit, younger ones too (why says so), or they do not
 * tell. ERR_CONFLICT: it is no child any more. */
int child_bounds(const struct child_question *, const struct child_list *, struct child *,
	enum child_age *, struct buf *why, struct err *);
/* After child_bounds, by the rows themselves; an empty child is old. Reads all rows where there is
 * no index, for some seconds at most: ERR_TIMEOUT. */
int child_rows(const struct child_question *, const struct child *, enum child_age *,
	struct buf *why, struct err *);
/* Locks a table (only: without its children) in a mode of LOCK TABLE, "SHARE". ERR_TIMEOUT. */
int child_lock(struct pq *, const char *table, bool only, const char *mode, struct err *);
/* Drops or detaches the child, and commits. */
int child_remove(struct pq *, const struct child_list *, const struct child *, bool detach,
	struct err *);

/* ---- origin.c: a table as the source: its columns, and the tables that hold its rows */

struct origin_table {                   /* a table that holds rows, or what is read by a key */
	int64_t oid, filenode;          /* filenode 0: it has none, as a view */
	char *name;                     /* schema.table, as text */
	char *sql;                      /* the same, quoted */
	int64_t blocks, bytes;          /* when origin_find looked */
	double rows;                    /* the server's estimate; below 0: it has none */
	int64_t columns;                /* a hash of the names of those that are read */
};

struct origin {                         /* zeroed before use; origin_free frees what is in it */
	int64_t oid;
	char *name, *sql;               /* schema.table, as text and quoted */
	struct origin_table *table;     /* the leaves of a partitioned table, and of inheritance */
	size_t n;
	struct span *column;            /* their names, NUL-terminated, in the table's order */
	size_t ncolumn;
	bool *nested;                   /* of each: an array or a composite value */
	char *ev_type;                  /* I:id,day: the primary key as PgQ's trigger writes it */
	char *key, *key_type;           /* from_key, quoted; NULL: rows are read by ctid */
	int64_t block_bytes;            /* of one block */
};

/* Looks for from_table, whose name may need the role's search_path. ERR_SHAPE: it is not there, or
 * its rows cannot be divided so. */
int origin_find(struct pq *src, const struct conf *, struct origin *, struct err *);
void origin_free(struct origin *);
/* Before there is a transaction: may its rows be read, is from_where a condition, has each row
 * a key? Warns of columns of children, which are not read. */
int origin_check(struct pq *src, const struct conf *, const struct origin *, struct err *);
/* *yes: is a table, or one below it, that table or one below that? */
int origin_meets(struct pq *, int64_t oid, int64_t other, bool *yes, struct err *);
/* An event of the table, without data: its rows go where that would. Borrows its strings. */
struct event origin_event(const struct origin *);

struct origin_file {
	int64_t oid, filenode;          /* as they are */
	int64_t seen;                   /* the filenode that the transaction's snapshot sees */
};

/* Locks n tables against changes, until the transaction ends. now: of each. */
int origin_lock(struct pq *src, const struct origin_table *, size_t n, struct origin_file *now,
	struct err *);
/* Of what is read by a key: locks all tables that hold rows, also those of a view. rewritten: NULL,
 * or the name of one whose file is not the one that the snapshot sees; malloc'ed. */
int origin_lock_all(struct pq *src, const struct origin *, const char *where, char **rewritten,
	struct err *);

/* ---- types.c: columns' types: may values go from one side to the other in binary form? */

enum { TYPES_DATE = 1082, TYPES_TIMESTAMP = 1114, TYPES_TIMESTAMPTZ = 1184 };   /* oids */

/* Sets the oid of the type of each of n columns of a table, which may be the target's; 0: it has no
 * such column. */
int types_find(struct pq *, int64_t table, const struct span *column, size_t n, int64_t *type,
	struct err *);
/* Has a value of that type the same binary form in all databases? */
bool types_is_portable(int64_t type);
/* *yes: have all tables these columns, of these types? A type of 0 is not compared. */
int types_fit(struct pq *dst, const struct dest *, const struct tally *tables,
	const struct span *column, size_t n, const int64_t *type, bool *yes, struct err *);

/* ---- slice.c: a slice of a table: its transaction, where it begins and ends */

/* Opens the transaction in which rows are read, with our settings. snapshot: one that is exported;
 * or "": one of its own. */
int slice_begin(struct pq *src, const char *snapshot, struct err *);
/* Appends what lets another session read as src's open transaction does: by its snapshot, and with
 * its settings. There a lock that is not to be had at once is ERR_TIMEOUT after a second. */
int slice_twin(struct pq *src, struct buf *sql, struct err *);
/* Exports the snapshot of src's open transaction. */
int slice_export(struct pq *src, char *snapshot, size_t size, struct err *);
/* The same snapshot as txid_snapshot; malloc'ed, NULL on error. */
char *slice_txids(struct pq *src, struct err *);

/* Where a slice ends, or the one before it: SLICE_START; SLICE_END, all rows; a number of blocks;
 * or '=' and a value of the key. */
#define SLICE_START ""
#define SLICE_END "end"

struct slice_query {
	const struct origin *origin;
	const struct origin_table *table;
	size_t more;                    /* tables behind it, all of whose rows come too */
	const char *where;              /* from_where, or NULL */
	const char *from, *to;          /* where it begins and ends: see above */
	double sample;                  /* instead: this percentage of all tables' blocks; or 0 */
	int64_t most;                   /* and at most so many rows */
};

/* Finds where a slice of about that many bytes ends; malloc'ed, NULL on error. */
char *slice_end(struct pq *src, const struct slice_query *, int64_t bytes, struct err *);
/* A query for the rows as PgQ's query for events has them: ev_data is the row as JSON. Caller
 * frees. */
char *slice_event_sql(const struct slice_query *);

/* ---- scan.c: reading the rows of a slice, at once or in pieces */

/* Starts a COPY of the expressions, separated by commas. without: NULL; or each line begins with a
 * number that identifies the row in the slice (of a ctid: block * 65536 + item), and those listed
 * there, with commas between, are left out; not of several tables. */
int scan_read(struct pq *src, const struct slice_query *, const char *columns,
	const char *without, bool binary, struct err *);

struct scan_at { size_t table; int64_t block; };        /* what is read of a slice; begins zeroed */

/* Appends the COPY of the next piece of about that many bytes, of rows without numbers. With `by`,
 * the server sorts it in memory by that column. */
void scan_add_piece(struct buf *sql, const struct slice_query *, struct scan_at *, int64_t bytes,
	struct span by, const char *columns, bool binary);
/* Sends statements with a COPY of rows at their end, and does not wait: scan_row takes the answer,
 * of which PQ_END is the end. */
int scan_ask(struct pq *src, const char *sql, struct err *);
bool scan_at_end(const struct slice_query *, const struct scan_at *);   /* all is asked for? */
/* The next row, a line with its end or a row of binary COPY; else as events_next. */
int scan_row(struct pq *src, struct span *row, struct err *);

/* ---- resume.c: where the copy of a table goes on, by the marks of its lanes; pure */

struct mark {                           /* of one lane of one table */
	char *source;                   /* the table's name when it was begun */
	int64_t oid, filenode, lanes, rule, where;
	int64_t columns;                /* as its origin_table's; 0: unknown */
	int64_t lane;
	char *upto;                     /* as in struct slice_query */
};

struct marks {                          /* zeroed before use */
	struct mark *at;
	size_t n, cap;
};

enum resume_kind {
	RESUME_LOAD,                    /* the next slice, in the lanes that do not have it */
	RESUME_LANES,                   /* the number of lanes must be stored first */
	RESUME_DONE,
	RESUME_LOST                     /* words say why: write nothing */
};

struct resume_verdict {
	enum resume_kind kind;
	size_t lanes;
	bool loads[LANES_MAX];
	const char *source;             /* for struct mark_whose; this and the next are borrowed */
	const char *from, *to;          /* to: a lane has the slice, up to there; or NULL */
	bool rewritten;                 /* of RESUME_DONE: it is another table's file since */
	bool altered;                   /* a part is copied, and its columns have changed since */
	char words[800];
};

/* by_key: its rows are read by from_key. */
struct resume_verdict resume_judge(const struct conf *, const struct marks *,
	const struct origin_table *, bool by_key);

/* ---- mark.c: the target's side of a table as the source: how far each lane is, tdispatch.slice */

struct mark_whose {
	const struct conf *conf;
	const struct origin_table *table;
	size_t more;                    /* tables behind it, which are marked alike */
	const char *source;             /* struct mark's, or the table's name; the latter if more */
	size_t lanes;
};

/* ERR_SHAPE if the target has no table tdispatch.slice. */
int mark_require(struct pq *dst, struct err *);
/* Reads the consumer's of one table, and of others of that name; NULL: all. mark_clear frees
 * them. */
int mark_look(struct pq *dst, const char *consumer, const struct origin_table *, struct marks *,
	struct err *);
void mark_clear(struct marks *);
/* Stores a lane's in its open transaction. */
int mark_store(struct pq *dst, const struct mark_whose *, size_t lane, const char *upto,
	struct err *);
/* In lane 0's open transaction: from now on the table has that many lanes, all at upto. Commits. */
int mark_set_lanes(struct pq *dst, const struct mark_whose *, const char *upto, struct err *);
/* Forgets all of the consumer's. *n: how many; 0 too where there is no tdispatch.slice. */
int mark_forget(struct pq *dst, const char *consumer, int64_t *n, struct err *);

/* ---- of a copy that goes on with a queue */

enum mark_state {
	MARK_NONE, MARK_COPYING, MARK_COPIED,
	MARK_BEHIND                     /* and no batch has events any more that it saw */
};

struct mark_seen {                      /* zeroed before use; mark_seen_clear frees it */
	enum mark_state state;
	char *snapshot;                 /* as txid_snapshot: what the copy's first run saw */
	char *tables;                   /* ev_extra1 of its events, a line each */
};

/* Reads what the queue's consumer has copied; none where there is no tdispatch.slice. */
int mark_see(struct pq *dst, const struct conf *, struct mark_seen *, struct err *);
void mark_seen_clear(struct mark_seen *);
/* Stores it, with state and all, and commits. */
int mark_tell(struct pq *dst, const struct conf *, const struct mark_seen *, struct err *);
/* Leaves the events that the copy saw out of the batch's query. *past: there can be none in it, nor
 * in any after it. */
int mark_pass_over(struct pq *src, const struct conf *, const struct mark_seen *,
	struct queue_batch *, bool *past, struct err *);

/* ---- letters.c: events that cannot be written, listed while a batch is read */

struct letter {
	int64_t event;
	unsigned char lane;             /* whose transaction stores it */
	char sqlstate[6];               /* "": not an error of the server */
};

enum letter_text { LETTER_MESSAGE, LETTER_PARTITION, LETTER_COLUMN, LETTER_VALUE };

struct letters {                        /* zeroed before use */
	struct letter *at;
	size_t n, cap;
	int64_t first;                  /* the lowest event, and its message; NULL: none */
	char *first_message;
	int64_t *left;                  /* events of letters_leave, */
	size_t nleft, left_cap;         /* how many */

	/* private: the texts of the last of them; those before are told */
	char **text;
	size_t ntext, text_cap, bytes;
};

struct letter_place {                   /* borrowed */
	const char *partition;          /* where it was to go, or "" */
	const char *column, *value;     /* what the target refused, or "" */
};

/* Adds an event and its error; all text is copied. */
void letters_add(struct letters *, int64_t event, size_t lane, const struct letter_place *,
	const struct err *);
/* How many are told: their texts are dropped. */
size_t letters_told(const struct letters *);
/* Of letter i, which is not told. */
const char *letters_text(const struct letters *, size_t i, enum letter_text);
bool letters_are_large(const struct letters *); /* do the texts take much memory? */
void letters_drop_texts(struct letters *);      /* all are told now */
/* Drops the lane's, which it has stored, but for their events' ids. */
void letters_leave(struct letters *, size_t lane);
/* Of an event that several lanes refuse, the letter of the one that commits last stays: the lowest.
 * Sorts the list, of which none is told; returns how many letters were dropped. */
size_t letters_unique(struct letters *);
/* Has it so many events besides this one? */
bool letters_are_full(const struct letters *, int64_t event, int64_t max);
void letters_clear(struct letters *);

struct letters_log {                    /* events of a batch that were logged; zeroed before use */
	int64_t batch;
	int64_t *event;                 /* sorted */
	size_t n, cap;
};

/* Forgets those of another batch. */
void letters_log_begin(struct letters_log *, int64_t batch);
/* Was the event logged, in whichever pass over the batch? */
bool letters_log_has(const struct letters_log *, int64_t event);
/* The letters that are not told are logged now. */
void letters_log_add(struct letters_log *, const struct letters *);
void letters_log_free(struct letters_log *);    /* what is in it, and zeroes it */

/* ---- dead.c: dead letters, and schema tdispatch, where they are stored */

/* Copies the events of the letters that are not told from src to the dead letters, each in the open
 * transaction of its lane, an index of dst. Then they are told. */
int dead_write(struct letters *, struct pq *src, struct pq *const *dst, const struct conf *,
	const struct queue_batch *, struct err *);
/* Deletes all letters of the batch except those in the list, in dst's open transaction. */
int dead_remove(const struct letters *, struct pq *dst, const struct conf *, int64_t batch,
	struct err *);
/* Finds the consumer's first batch after `after` with letters. *letters: how many; 0: no batch. */
int dead_next(struct pq *dst, const struct conf *, int64_t after, int64_t *batch,
	int64_t *letters, struct err *);
/* 0, or ERR_CONF if the letters' table lacks one of these parts of events. */
int dead_has_parts(struct pq *dst, unsigned parts, struct err *);
/* A query that returns a batch's letters in the form of PgQ's query for events, with their ticks;
 * caller frees. NULL on error. */
char *dead_event_sql(struct pq *dst, const struct conf *, int64_t batch, struct err *);
int dead_count(struct pq *dst, const struct conf *, int64_t *letters, struct err *);
int dead_require(struct pq *dst, struct err *);         /* ERR_SHAPE if the table is missing */
/* Appends the columns that the table lacks, which --install adds, separated by commas. */
int dead_lacks(struct pq *dst, struct buf *columns, struct err *);
/* Creates the table, or adds the columns that it lacks: *added. */
int dead_install(struct pq *dst, bool *created, struct buf *added, struct err *);
int dead_install_slice(struct pq *dst, bool *created, struct err *);

#endif
