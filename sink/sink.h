/*
 * The rows that wait for their partitions, and the COPYs that take them to the target.
 */
#ifndef SINK_H
#define SINK_H

#include "../pg/pg.h"

/* ---- block.c: the blocks of memory in which rows wait, in private.h */
/* ---- level.c: which stream has the most waiting rows, in private.h */
/* ---- stream.c: the rows that wait for one partition */

struct sink;

struct stream {                         /* of one partition and column list */
	/* private to the sink; hot members first */
	struct hash_link link;
	int64_t start_s;
	uint64_t shape;
	struct block *first, *last;
	size_t bytes, nrows;            /* of rows that wait, */
	struct stream *before, *after;  /* and those of its lane with about as many */
	uint64_t settled;               /* last turn of the sink in which a long COPY ended */
	uint64_t looked;                /* last turn that looked up its column types */
	uint64_t asked;                 /* what was known when it last asked for them */
	size_t text_left;               /* bytes of text before a row is tried as binary again */
	bool typed;                     /* kinds are valid, if it asked in this turn */
	bool binary;                    /* format of its COPY, once begun or planned */
	bool suspect;                   /* it is another's suspects */
	unsigned char level;            /* about how many bytes wait; 0: none do */

	/* for others to read */
	unsigned char lane;
	bool staged;                    /* its rows go to a staging table, with these numbers: */
	uint32_t of;                    /* the number of its destination */
	int32_t part, kind;
	const char *table;              /* the partition, without schema */

	/* private again */
	const enum binary_kind *kinds;  /* of its columns; the list's */
	size_t text_run;                /* next value of text_left */
	struct stream *then;            /* in its lane's plan, */
	struct stream *next;            /* and of those whose types are to be looked up */
	struct sink_part *whole;        /* its partition */
	uint64_t probed;                /* last turn with a COPY without rows that succeeded */
	struct stream *into;            /* its rows wait there, but in a careful pass; or NULL */
	struct stream *suspects;        /* its rows that wait for the end; NULL: there were none */
	size_t joined;                  /* streams whose rows wait here, */
	struct stream *other;           /* and the next of those that others of the shape join */
	char *target;                   /* the table as COPY names it */
	struct shared_list *columns;    /* as COPY lists them */
};

/* Adds the event's row to the stream. A stream's rows go to the target in the order of the calls;
 * but unless the pass is ordered, suspect ones come later. ERR_DATA: the event cannot be decoded,
 * and nothing is added. */
int stream_put(struct sink *, struct stream *, const struct shape *, enum format,
	const struct span *values, const struct event *, struct err *);

/* The same for a row as COPY has it, a line of text with its end or binary. */
void stream_put_copy(struct sink *, struct stream *, const struct event *, bool binary);

/* ---- fault.c: finding the row that made a COPY fail */

struct sink_fault {                     /* where a COPY failed */
	int64_t event;                  /* -1: unknown; never so for ERR_DATA of a careful COPY */
	size_t line;                    /* of the COPY, from 1, by the message; 0: unknown */
	size_t lane;                    /* whose COPY it was; if there is a table */
	size_t of;                      /* the number of the table's destination */
	char table[NAME_BYTES_MAX + 1];
	char column[NAME_BYTES_MAX + 1];        /* or "" */
	char value[160];                /* shortened and printable, or "" */
};

/* ---- lane.c: the COPYs of one connection */

enum sink_until {
	SINK_FULL,                      /* send where enough rows wait; more will come */
	SINK_EMPTY,                     /* send all: no more will come */
	SINK_PLANNED,                   /* end COPYs that are begun with what waits; no other */
	SINK_FREE                       /* end these as soon as may be, begin no other */
};

/* Sends on a lane what can be sent without waiting. 1 while a COPY is open, else 0, or an error, of
 * which fault says more. After ERR_DATA of a careful COPY, which names an event, the next call
 * continues without that row. */
int lane_pump(struct sink *, size_t lane, struct pq *dst, enum sink_until, struct sink_fault *,
	struct err *);

/* ---- sink.c: the streams, and what was sent of them */

struct sink_types {                     /* where the sink learns column types; arg is passed on */
	void *arg;
	/* A COPY to the table has ended, and our lock freezes its columns; dst is free for a
	 * query. */
	int (*look)(void *arg, struct pq *dst, size_t of, int64_t start_s, const char *table,
		struct err *);
	/* Are the types of all columns of the shape known? If so, sets their kinds, which are those
	 * of the table unless the pass fails in the end. */
	bool (*kinds)(void *arg, size_t of, int64_t start_s, const char *table,
		const struct shape *, enum binary_kind *);
	/* Rows for the table will go to the destination's staging table: makes that, unless the
	 * lane's transaction has it: *made. */
	int (*stage)(void *arg, struct pq *dst, size_t lane, size_t of, const char *table,
		bool *made, struct err *);
	/* As kinds, of the columns of that staging table. */
	bool (*stage_kinds)(void *arg, size_t lane, size_t of, const struct shape *,
		enum binary_kind *);
};

struct sink *sink_new(const struct sink_types *);       /* NULL: all rows go as text */
void sink_free(struct sink *);                  /* takes NULL */
/* The stream of the period and shape, or NULL. A shape's number belongs to one destination. */
struct stream *sink_find(struct sink *, int64_t start_s, uint64_t shape);
/* Adds a stream. of: the destination's number, in which rows are counted; table: the partition,
 * without schema; target: the table as COPY names it; columns: of the shape, as COPY lists them.
 * All are copied. The sink may forget a stream in which no rows wait, when another is added. */
struct stream *sink_add(struct sink *, size_t of, int64_t start_s, uint64_t shape, size_t lane,
	struct span table, const char *target, const char *columns);
/* The stream, just added, is for a staging table, whose rows are counted by sink_count. part, kind:
 * what its rows say besides. */
void sink_stage(struct stream *, int32_t part, size_t kind);
/* From now on its rows wait with those of the shape's other partitions in the lane, so that one
 * COPY takes them; not with sink_swallow. A careful pass has a COPY for each. */
void sink_join(struct stream *);
/* The destination's staging tables are gone, merged: no rollback to a savepoint undoes that. */
void sink_unstage(struct sink *, size_t of);
void sink_count(struct sink *, size_t of, const char *table, int64_t stored, int64_t unstored);
void sink_forget(struct sink *);                /* drops all streams and rows */
/* Begins a pass: drops all rows, not the streams. careful: each COPY takes one block, under a
 * savepoint, so that an error can be traced to a row. ordered: no row waits apart from the others
 * of its stream. */
void sink_begin(struct sink *, bool careful, bool ordered);
bool sink_full(const struct sink *);    /* add no row until lane_pump has made room */
/* Do rows of the stream's partition wait in another stream? */
bool sink_has_beside(const struct sink *, const struct stream *);
bool sink_idle(const struct sink *);    /* no row waits, and no COPY is open */
void sink_swallow(struct sink *);       /* drops all rows, and counts them as if they were sent */

/* Since sink_begin: */
int64_t sink_bytes(const struct sink *);        /* sent */
bool sink_begun(const struct sink *);           /* a COPY has begun */

struct sink_done {                      /* rows of one destination by partition, since then */
	struct tally rows;              /* stored, as the target counted them */
	struct tally unstored;          /* accepted, but left out by a trigger */
	/* private to the sink: */
	bool behind;                    /* not all are in it yet */
	uint32_t trust;                 /* that suspect rows are few, or bad; see stream.c */
};

const struct sink_done *sink_done(const struct sink *, size_t of);
/* Were rows sent to the period's partition since sink_begin? true too if its stream may have been
 * forgotten. */
bool sink_wrote(const struct sink *, size_t of, int64_t start_s);

#endif
