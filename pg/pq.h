/*
 * What pg's own files share and nobody above may call. conninfo.c, connect.c, pq.c and
 * copy.c alone include libpq-fe.h, so no other file can use libpq: to them its types are names.
 */
#ifndef PQ_H
#define PQ_H

#include "pg.h"

/* ---- snapshot.c */

struct snapshot_ticks {
	int64_t queue, from, to;        /* PgQ's numbers */
	const char *before, *after;     /* both ticks' txid_snapshot as text, or NULL */
};

/* PgQ's query for the batch's events, written so that it takes the same ones at less cost.
 * malloc'ed; NULL: a snapshot is unknown, or that is no query as PgQ writes it for these ticks. */
char *snapshot_query(const char *pgq, const struct snapshot_ticks *);

struct snapshot_form {                  /* PgQ's query but for the ticks; zeroed: none */
	char *head, *tail;
	int64_t xmin;                   /* of the first tick for which PgQ has written it */
};

/* Makes a form of PgQ's query, if that reads the queue's current table alone, which is the one by
 * that name. false: there is none. */
bool snapshot_learn(struct snapshot_form *, const char *pgq, const struct snapshot_ticks *,
	struct span table);
/* As snapshot_query, for ticks with these snapshots, while the queue's tables and the subscription
 * are those of snapshot_learn. NULL: PgQ must be asked. */
char *snapshot_fill(const struct snapshot_form *, const char *before, const char *after);
void snapshot_forget(struct snapshot_form *);

/* ---- a connection */

struct pg_conn;                         /* PGconn */
struct pg_result;                       /* PGresult */

enum copy_state { NO_COPY, COPY_OUT_ASKED, COPY_OUT, COPY_IN_ASKED, COPY_IN_OPEN, COPY_IN_ENDED };

struct form {                           /* form.c's, for the next query for events; zeroed: none */
	struct snapshot_form query;
	char *same;                     /* while this condition about the queue's row holds, */
	int64_t queue, consumer;        /* and these are PgQ's numbers */
	int64_t subscription;
	int64_t learned_ms;
	int64_t tick;                   /* the last batch's, and its snapshot */
	char *snapshot;
	int64_t next, next_us;          /* the tick after it, or 0; its time, */
	char *next_snapshot;            /* and its snapshot */
	bool asks;                      /* qbatch_ask has used the form */
};

enum kept_state { KEPT_NONE, KEPT_SOME, KEPT_ALL, KEPT_TAKEN };

struct kept {                           /* kept.c's: rows read ahead; zeroed: none */
	enum kept_state state;
	struct buf sql;                 /* the statement that they answer */
	struct buf rows;                /* of each its length, itself, and a NUL */
	size_t n, at;                   /* how many; where the next begins */
};

struct pq {
	struct pg_conn *conn;
	const char *what;               /* "src_db" or "dst_db", for messages */
	struct pq_server server;
	struct pg_result *rows;         /* of the last query, or NULL */
	struct pg_result *failed;       /* the last error's result, or NULL */
	struct buf row;                 /* COPY OUT's last message */
	bool binary;                    /* COPY OUT is in binary format */
	size_t header;                  /* bytes before the row in the next message of COPY OUT */
	char tag[64];                   /* command tag of the last statement, "COMMIT" */
	enum copy_state state;
	int copies;                     /* COPYs of the sent statement that are not over */
	int64_t copied;                 /* rows of the last COPY */
	short want;                     /* poll events to wait for; 0: none */
	bool readable;                  /* the last wait saw input */
	bool notified;                  /* pq_woken has seen a notification */
	bool begins;                    /* position_ask was called, and not position_begin */
	const char *schema;             /* of PgQ, on the source; */
	int64_t queue_id, consumer_id;  /* its numbers for them, or 0, */
	int64_t numbered_ms;            /* and when they were asked for by name */
	int64_t tick_sequence;          /* oid of the queue's; 0: not asked; less: not for us */
	struct form form;
	struct kept kept;
	char *settings;                 /* of its own, for pq_add_settings: malloc'ed, or NULL */
	int64_t silent_since_ms;        /* since when we wait for the server; 0: we do not */
};

/* ---- sqlstate.c */

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

/* Returns the ERR_ code. ERR_DATA only in answer to rows: a value may be the cause. */
int sqlstate_judge(const struct sqlstate_error *, enum sqlstate_answers);

/* ---- conninfo.c */

/* Does libpq's error blame a value in the connection string? */
bool conninfo_is_blamed(const char *text);

/* ---- pq.c */

#define DATA_LOCK_TIMEOUT_MS 60000      /* how long a COPY waits for a table lock */

/* Copies text with lines joined, without the source location of verbose messages. */
void pq_join_lines(const char *text, char *out, size_t size);
/* Sets the error of a failed connection; returns its code. */
int pq_lost(struct pq *, struct err *);
/* Sets the error that the server sent, unless e has one already; returns e's code. Frees res, or
 * keeps it until the next error. */
int pq_failed(struct pq *, struct pg_result *res, enum sqlstate_answers, struct err *);
/* Judges the last server error, which is in err, again: the caller knows what the server was
 * answering. */
void pq_judge(const struct pq *, enum sqlstate_answers, struct err *);
/* A field of a server's error, PG_DIAG_...; "" if there is none. It lives as long as res. */
const char *pq_diag(const struct pg_result *res, int field);

/* Reads what has arrived, without waiting. 0, or the error of a lost connection. */
int pq_consume(struct pq *, struct err *);
/* Sends pending output: PQ_READY if all is sent, PQ_WAIT if the socket is full, or an error. */
int pq_flush(struct pq *, struct err *);
/* Waits until PQgetResult would not block. 0, or an error of pq_wait or of the connection. */
int pq_await(struct pq *, struct err *);

/* Sends the statement and does not wait. 0, or the error of a lost connection. */
int pq_send(struct pq *, const char *sql, struct err *);
/* Waits for what pq_query returns, after pq_send. */
int pq_answer(struct pq *, struct err *);
/* The next result of what was sent: PQ_READY for a statement that is done, whose tag and rows are
 * kept; PQ_WAIT; PQ_END; or an error, after which nothing more comes. */
int pq_step(struct pq *, struct err *);
/* Is a transaction open that has not failed? */
bool pq_in_transaction(const struct pq *);

/* ---- connect.c */

/* Did that server process serve one of the last 64 connections that we have closed? */
bool pq_was_ours(int64_t pid);

/* ---- copy.c */

/* As pq_copy_step, but waits: PQ_READY, PQ_END (errors of the rows come with it), or an error. */
int pq_copy_await(struct pq *, struct err *);
/* The next row of a COPY TO STDOUT that pq_copy_out has begun. PQ_READY with a row in *row (valid
 * until the next call, a NUL after it), PQ_WAIT if none has arrived yet, PQ_END after the last one
 * of all COPYs of the statement, or an error. */
int pq_copy_row(struct pq *, struct span *row, struct err *);
/* Starts COPY ... TO STDOUT, text or binary, and waits until rows may come. 0, or an error. */
int pq_copy_out(struct pq *, const char *sql, struct err *);
/* The same of one COPY or several, but does not wait: pq_copy_row takes the answer. */
int pq_copy_out_ask(struct pq *, const char *sql, struct err *);
/* The same after pq_send of that statement. */
int pq_copy_out_open(struct pq *, struct err *);

/* ---- trust.c */

/* 0, or ERR_RIGHTS if an object that we use in the schema (pgq_ext or tdispatch) is owned neither
 * by us nor by a superuser or the database's owner, and is not part of the extension pgq_ext. */
int trust_require(struct pq *dst, const char *schema, struct err *);

/* ---- style.c */

/* Appends what the data transaction sets: a date, interval, array or XML text is read in one way,
 * whatever the target's settings are. */
void style_add_settings(struct buf *sql);

/* ---- queue.c */

/* Begins a transaction of a statement about the queue. */
void queue_begin(struct buf *sql, const struct pq *src);
/* Runs sql, with PGQ in it, in a transaction of its own, and frees it. */
int queue_run(struct pq *src, struct buf *sql, struct err *);
/* The same, but does not wait: pq_answer follows. */
int queue_send(struct pq *src, struct buf *sql, struct err *);
/* The same as queue_run, but rolls back. */
int queue_try(struct pq *src, struct buf *sql, struct err *);
/* Appends both as literals, separated by a comma. */
void queue_add_names(struct buf *sql, const char *queue, const char *consumer);
/* SQL of a tick's time in microseconds since 1970, and of its age in milliseconds. */
#define TIME_US(time) "(extract(epoch FROM " time ") * 1000000)::bigint"
#define AGE_MS(time) "(extract(epoch FROM clock_timestamp() - " time ") * 1000)::bigint"

/* ---- ticks.c */

struct numbers {                        /* PgQ's, as SQL: both are used in one statement */
	struct buf queue, consumer;
};

/* The numbers, or, if they are not kept, queries that find them. ticks_free_numbers frees them. */
struct numbers ticks_numbers(struct pq *src, const char *queue, const char *consumer);
/* Those kept last, however long ago. */
struct numbers ticks_kept_numbers(const struct pq *src);
void ticks_free_numbers(struct numbers *);
void ticks_keep_numbers(struct pq *src, int64_t queue, int64_t consumer);

/* ---- kept.c: rows that were read ahead */

#define KEPT_ROWS_MAX 2000              /* so many are too many */

/* What follows are rows of that statement. */
void kept_begin(struct kept *, struct span sql);
/* Copies a row. Too many or too large: forgets all, and those to come. */
void kept_add(struct kept *, struct span row);
bool kept_end(struct kept *);                   /* that was the last. false: forgotten */
/* Are all rows of that statement kept? Then kept_next takes them, else all are forgotten. */
bool kept_take(struct kept *, struct span sql);
bool kept_taken(const struct kept *);           /* has it said so, and are they not forgotten? */
/* The next row, with a NUL after it, valid until kept_begin. false: there is none. */
bool kept_next(struct kept *, struct span *row);
void kept_forget(struct kept *);
void kept_free(struct kept *);                  /* what is in it, and zeroes it */

/* ---- form.c: the SQL is for a select list with batch_id, cur_tick_id, prev_tick_id in scope */

/* Appends PgQ's query for the batch, the snapshots of its ticks, and what a form is made with: the
 * queue's current table, the condition that its row is the same, the subscription's number. */
void form_add_query(struct buf *sql, const struct pq *src, const struct numbers *);
/* Takes that from column col on: sets event_sql, and keeps a form if there is one. */
void form_take_query(struct pq *src, struct queue_batch *, int col);
bool form_is_kept(const struct pq *src);        /* and may be used for the next batch */
/* Without PgQ's query. Appends whether the kept form is as PgQ would write it, and the batch's last
 * tick; with next, a further row has the tick after it, if there is one, and form_add_join must
 * follow what gives the batch. */
void form_add_ticks(struct buf *sql, const struct pq *src, const struct numbers *, bool next);
void form_add_join(struct buf *sql, const struct numbers *);
/* Takes that from column col on and sets event_sql. false: PgQ must be asked. */
bool form_fill(struct pq *src, struct queue_batch *, int col);
/* As qbatch_foresee. */
bool form_foresee(const struct pq *src, const struct queue_batch *, struct queue_batch *next);
void form_free(struct form *);                  /* what is in it, and zeroes it */

/* ---- events.c */

/* Starts a COPY in text format of ev_id, ev_time, ev_type, ev_data, ev_extra1 and more
 * (", ev_txid", or "") for the batch's events in ids, which commas separate; pq_copy_row returns
 * the lines. 0, or an error. */
int events_read_some(struct pq *src, const struct queue_batch *, const char *more, const char *ids,
	struct err *);

/* ---- slice.c */

/* Append FROM, WHERE and LIMIT, where a row is tdispatch_row, which no column is named; and the
 * expression of a row's number. */
void slice_add_from(struct buf *sql, const struct slice_query *);
void slice_add_id(struct buf *sql, const struct slice_query *);
bool slice_is_bound(const char *at);            /* neither SLICE_START nor SLICE_END; or NULL */
/* The same of a query by slice_event_sql, in src's open transaction. */
int slice_read_some(struct pq *src, const char *event_sql, const char *more, const char *ids,
	struct err *);

/* ---- table.c */

/* Appends an expression: the size in bytes of table c.oid, with its partitions, indexes and
 * TOAST. */
void table_add_size(struct buf *sql, const struct pq *);

/* ---- indexes.c */

/* Appends the statements for the partition, whose name has no schema. */
void indexes_add(struct buf *, const struct indexes *, const char *partition);

/* ---- resume.c */

int64_t resume_where(const struct conf *);      /* a hash of the keys that choose rows */

/* ---- ddl.c */

/* Appends a statement that keeps a table's oid, "0" when it is not there, in setting
 * tdispatch.<setting>: tables are found by the role's search_path, which questions about them
 * leave. */
void ddl_add_oid(struct buf *sql, const char *setting, const struct dest *, struct span table);

/* ---- part.c */

/* Appends the query for which of these exist. */
void part_add_look(struct buf *sql, const struct dest *, const struct part_new *, size_t n);
/* Its answer is there: sets `there` in all. */
void part_take(const struct pq *, struct part_new *, size_t n);
/* Runs sql, and after it that query, in one message: sets `there` in all. Frees sql. 0, or an
 * error. */
int part_ask(struct pq *, const struct dest *, struct buf *sql, struct part_new *, size_t n,
	struct err *);
/* Checks those that are there and that we did not create. An error: as part_look's. */
int part_refuse(struct pq *, const struct dest *, const struct part_new *, size_t n, size_t *at,
	struct err *);
/* Appends the two numbers of the advisory lock for creating partitions of the table. The second is
 * its oid, since two configs may write its name differently; 0 if it does not exist. */
void part_add_lock_key(struct buf *sql, const struct dest *);
/* Runs sql, which creates those that are not there, and looks for them, as part_ask. 0: all
 * exist. */
int part_run(struct pq *, const struct dest *, struct buf *sql, struct part_new *, size_t n,
	struct err *);
/* What created them ran. ERR_SHAPE: one is not there. */
int part_check_made(const struct part_new *, size_t n, struct err *);

#endif
