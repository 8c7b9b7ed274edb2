/*
 * What the files of a connection share: connect.c, pq.c and copy.c. Nobody else sees libpq.
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
	bool binary;                    /* COPY OUT is */
	size_t header;                  /* bytes before the row in COPY OUT's next message */
	char column[NAME_BYTES_MAX + 1];
	char tag[64];
	enum copy_state state;
	int copies;                     /* COPYs of the statement sent that are not over yet */
	int64_t copied;                 /* rows of the COPY that ended last */
	short want;                     /* poll events that the last call waits for, 0 for none */
	bool readable;                  /* the last wait saw input */
	char *settings;                 /* of pq_keep_settings, or NULL */
	int64_t silent_since_ms;        /* we wait for the server since then, 0 while we do not */
};

/* text with its lines joined and the source location of verbose messages left out. */
void pq_join_lines(const char *text, char *out, size_t size);
/* Sets the error of a connection that failed; returns its code. */
int pq_lost(struct pq *, struct err *);
/* Sets the error that the server sent and takes over res. */
int pq_failed(struct pq *, PGresult *res, enum sqlstate_answers, struct err *);
const char *pq_diag(const PGresult *, int field);       /* "" where there is none */

/* Reads what is here. */
int pq_consume(struct pq *, struct err *);
/* Sends what waits to be sent; PQ_READY when all is gone, PQ_WAIT when the socket is full. */
int pq_flush(struct pq *, struct err *);
/* Waits until PQgetResult would not block. */
int pq_await(struct pq *, struct err *);

int pq_send(struct pq *, const char *sql, struct err *);
/* Takes the results that are left, so that the next statement can be sent. */
int pq_drain(struct pq *, struct err *);

#endif
