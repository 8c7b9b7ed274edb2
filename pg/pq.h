/*
 * What connect.c, pq.c and copy.c share. No other file sees libpq.
 */
#ifndef PQ_H
#define PQ_H

#include <libpq-fe.h>

#include "pg.h"

enum copy_state { NO_COPY, COPY_OUT, COPY_IN_ASKED, COPY_IN_OPEN, COPY_IN_ENDED };

struct pq {
	PGconn *conn;
	const char *what;
	int64_t opened_ms;
	PGresult *rows;                 /* of the last query, or NULL */
	PGresult *failed;               /* the last error's result, or NULL */
	struct buf row;                 /* COPY OUT's last message */
	bool binary;                    /* COPY OUT is in binary format */
	size_t header;                  /* bytes before the row in the next message of COPY OUT */
	char column[NAME_BYTES_MAX + 1];
	char tag[64];
	enum copy_state state;
	int copies;                     /* COPYs of the sent statement that are not over */
	int64_t copied;                 /* rows of the last COPY */
	short want;                     /* poll events to wait for; 0: none */
	bool readable;                  /* the last wait saw input */
	char *settings;                 /* of pq_keep_settings, or NULL */
	int64_t silent_since_ms;        /* since when we wait for the server; 0: we do not */
};

/* Copies text with lines joined, without the source location of verbose messages. */
void pq_join_lines(const char *text, char *out, size_t size);
/* Sets the error of a failed connection; returns its code. */
int pq_lost(struct pq *, struct err *);
/* Sets the error that the server sent; returns its code. Takes over res. */
int pq_failed(struct pq *, PGresult *res, enum sqlstate_answers, struct err *);
const char *pq_diag(const PGresult *, int field);       /* "" if there is none */

/* Reads what has arrived, without waiting. */
int pq_consume(struct pq *, struct err *);
/* Sends pending output: PQ_READY if all is sent, PQ_WAIT if the socket is full, or an error. */
int pq_flush(struct pq *, struct err *);
/* Waits until PQgetResult would not block. */
int pq_await(struct pq *, struct err *);

/* Sends the statement and does not wait. */
int pq_send(struct pq *, const char *sql, struct err *);
/* Waits for the remaining results, so that the next statement can be sent; the first error. */
int pq_drain(struct pq *, struct err *);

#endif
