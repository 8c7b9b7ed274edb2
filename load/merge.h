/*
 * What narrow.c, script.c, direct.c and merge.c share: merging at the end of a batch. No other file
 * includes it.
 */
#ifndef MERGE_H
#define MERGE_H

#include "private.h"

/* ---- narrow.c */

struct narrow {                         /* a statement for many rows */
	struct pass *pass;
	struct pq *dst;
	size_t lane, of;                /* of: the destination's number */
	const struct stage *stage;
	struct stage_part part;
	size_t kind;                    /* of the rows that it inserts; 0: it deletes */
	const char *columns;            /* of the kind */
	int64_t stored;                 /* rows */
};

/* Appends it, for a range, or for all rows. */
void narrow_add(struct buf *sql, const struct narrow *, const struct stage_range *);
/* Runs it in ranges; rows that are refused become dead letters. ERR_DATA: the pass keeps none. */
int narrow_run(struct narrow *, struct err *);
/* It has failed with e: the pass's fault says where. Returns e's code. */
int narrow_blame(const struct narrow *, const struct err *);

/* ---- script.c */

struct script {                         /* of a lane; zeroed before use */
	struct buf sql;                 /* what it is to run; empty afterwards */
	size_t done;                    /* statements that are, and the rows of each */
	int64_t *rows;
	struct err e;                   /* its own error; stays until the caller resets it */

	/* private */
	size_t cap;
	bool open;                      /* it is not over */
};

/* Sends the scripts of all lanes, and waits for all answers. An error is the lane's own, but for
 * one of waiting. */
int script_run(const struct pass *, struct script *lane, struct err *);
/* Returns the first error of a lane; rows_too: ERR_DATA as well. */
int script_error(const struct script *lane, size_t lanes, bool rows_too, struct err *);
/* Both: any error of a lane is an error. */
int script_run_all(const struct pass *, struct script *lane, struct err *);
void script_free(struct script *);              /* what is in it */

/* ---- direct.c */

/* ERR_DATA: a key may have two rows. */
int direct_check(struct pass *, struct err *);

#endif
