/*
 * What extract.c, pieces.c, lines.c, ends.c, next.c and from.c share: the copy of a table. Besides
 * them dryrun.c includes it, which reads one, and run.h.
 */
#ifndef FROM_H
#define FROM_H

#include "private.h"

struct from {                           /* zeroed but job, verify, dry */
	struct job *job;
	bool verify;                    /* compare each slice with its rows before the commit */
	bool dry;                       /* nothing is copied: neither queue nor target is told */
	struct origin origin;

	/* private */
	struct pq *holder;              /* its transaction keeps the snapshot; or NULL */
	char snapshot[64];              /* "": one for each slice */
	struct marks done;              /* all, as the target had them after connecting */
	struct marks marks;             /* of the table at hand, under the lock */
	size_t at;                      /* the table at hand, */
	size_t more;                    /* and so many behind it that are in its slice */
	size_t alone;                   /* a table before this one has slices of its own */
	size_t lanes;                   /* that the job's streams are valid for */
	bool reading;                   /* src's transaction is open */
	bool text;                      /* binary rows did not fit */
	bool single;                    /* a second connection that reads was not to be had */
	bool follows, complete;         /* a queue follows; its batches may begin */
	bool again;                     /* some is copied that an earlier snapshot saw */
	bool within;                    /* source and target are one database */
};

/* ---- extract.c */

struct extract {                        /* zeroed before use; extract_free frees what is in it */
	struct buf list;                /* what is read, as SQL, NUL-terminated */
	int64_t *type;                  /* of the target's columns, for binary rows; 0: any */
	int64_t part_type;              /* of the partition column in binary rows */
	bool has_part, cut;             /* cut: the partition column is no column of the row, */
	size_t part_at;                 /* and stands before it; else its index in the row */
	size_t key[ACTION_KEY_MAX], nkey;       /* indexes in a staged row */
	bool any_order;                 /* rows may come in any, */
	struct span order;              /* and cheaply in that of this column; or NULL */
};

/* Chooses for the destination of p's reader, and sets its shape, and whether rows are binary.
 * numbered: before each stands its number; text: never binary. */
int extract_choose(struct extract *, struct pass *p, const struct slice_query *, bool numbered,
	bool text, struct err *);
/* After a pass, in the open transactions: *yes: have all tables that got rows the types by which
 * binary rows were sent? */
int extract_fit(const struct extract *, const struct pass *, bool *yes, struct err *);
void extract_free(struct extract *);

/* ---- pieces.c */

#define PIECES_SEEN 64

struct pieces {                         /* zeroed: there are none */
	bool single;                    /* no second connection; set by the caller, or found out */

	/* private; these are borrowed: */
	const struct pass *pass;
	const struct slice_query *query;
	const struct extract *extract;
	bool looks;                     /* the first is read, whose periods are noted */
	struct span order;              /* the column by which further ones are sorted, or NULL, */
	int64_t sort_bytes;             /* and how large these are */
	uint64_t seen[PIECES_SEEN];     /* a bit for each partition of the first, by a hash, */
	size_t nseen;                   /* and how many these are */
	int64_t rows, bytes;            /* of all that were read */
	struct scan_at at;              /* how far the slice is asked for */
	struct pieces_side {            /* a connection, with the piece that it was asked for */
		struct pq *q;           /* the job's src, and a second one or NULL */
		bool asked, begun;      /* begun: a row of it has come */
		struct scan_at at;      /* where it begins */
		struct buf sql;         /* what is asked before it */
	} side[2];
	int turn;                       /* whose rows are read, */
	int64_t turn_ms;                /* and since when, by clock_ms() */
	bool returned;                  /* the piece that begins at `back` is to be asked for */
	struct scan_at back;
};

/* Asks for the first. pieces_end comes after it. */
int pieces_begin(struct pieces *, const struct pass *, const struct slice_query *,
	const struct extract *, struct err *);
/* The next row of all, as scan_row. */
int pieces_row(struct pieces *, struct span *row, struct err *);
struct pq *pieces_from(const struct pieces *);  /* for which PQ_WAIT waits */
/* While `looks`: a row has that period. */
void pieces_note(struct pieces *, int64_t start_s);
void pieces_end(struct pieces *);               /* frees all; zeroed but single */

/* ---- lines.c */

struct lines {
	struct row_reader reader;       /* first: its functions take it for the whole */
	/* set by the caller before a pass: */
	struct slice_query query;
	const struct letters *without;        /* rows to leave out, or NULL */
	bool text;                      /* never binary */
	bool merges;                    /* a row replaces the one of its key: merge_run is next */

	struct extract extract;         /* of the pass */

	struct pieces pieces;

	/* private */
	bool ids;                       /* each line begins with the row's number */
	int64_t n;                      /* rows read */
	struct span part;               /* the partition column's value in the last row */
	char kept[8];                   /* and its bytes, where the row is written over them */
	struct { int64_t us, start_s; bool known; } last;       /* period of a binary row */
};

void lines_begin(struct lines *);               /* before a pass of another query */
void lines_free(struct lines *);                /* what is in it */

/* ---- ends.c */

/* Opens src, lane 0 and the snapshot unless they are open, and looks at the table. ERR_SHAPE,
 * ERR_POSITION: it cannot be copied, or not go on. */
int ends_open(struct from *, struct err *);
/* Opens a lane's data transaction, with the lock on the consumer's position. */
int ends_begin_lane(struct job *, size_t lane, size_t lanes, struct err *);
/* All is copied: the queue's batches may begin. */
int ends_complete(struct from *, struct err *);

/* ---- next.c */

struct next {                           /* zeroed before use; next_free frees what is in it */
	struct resume_verdict verdict;
	char *to;                       /* where it ends */
};

/* Opens the transactions for the table at hand, in the lanes that lack the slice, and fills the
 * query, which borrows. 1; 0: the table has none any more; or an error. */
int next_begin(struct from *, struct next *, struct slice_query *, struct err *);
int next_mark(const struct from *, const struct next *, struct err *);  /* before the commits */
int next_end(struct from *, const struct next *, struct err *);         /* after them */
void next_free(struct next *);
/* Opens the transaction in which rows are read, unless it is open. */
int next_read(struct from *, struct err *);

/* ---- from.c */

/* 1: a slice was loaded; 0: all is copied; else an error, which names table and row as far as they
 * are known. Connects by itself. */
int from_run(struct from *, struct err *);
/* Opens both sides and the transaction in which rows are read: source is set, and the job's
 * destinations. */
int from_open(struct from *, struct err *);
void from_free(struct from *);                  /* resets all but job and verify */

#endif
