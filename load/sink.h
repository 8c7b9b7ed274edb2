/*
 * What block.c, stream.c, fault.c, lane.c and sink.c share. No other file of load/ includes it.
 */
#ifndef SINK_H
#define SINK_H

#include "load.h"

#define STREAMS_MAX 4096                /* most streams at a time */
#define BLOCK_BYTES (16 * 1024)         /* one block of waiting rows */
#define POOL_BYTES (4 * 1024 * 1024)    /* all blocks together */
#define SWITCH_BYTES (128 * 1024)       /* waiting bytes that make COPY move to a stream */
#define BUCKETS (2 * STREAMS_MAX)

/* len + 8 * nrows <= cap. Rows grow from the front of data, and in a careful pass the ids of their
 * events from its end. */
struct block {
	struct block *next;
	size_t len, nrows, cap;
	bool binary;                    /* rows in binary format; else lines of text */
	_Alignas(int64_t) char data[];
};

struct pool {                           /* zeroed before use */
	struct block *spare, *small;    /* unused blocks of the two usual sizes */
	size_t used;                    /* bytes of the others, in use */
};

/* The column list of all streams of one shape: for 1,000 partitions, a copy for each takes more
 * memory than the rows. */
struct shared_list {
	size_t users;
	char text[];
};

struct lane {                           /* the COPY of one connection */
	struct stream *current;         /* its COPY is open; or NULL */
	struct stream *plan;            /* the streams whose COPYs follow in the same statement */
	struct block *out;              /* the block being sent; if careful, the last one sent */
	size_t out_at;                  /* bytes of out passed to libpq */
	size_t sent;                    /* bytes of the COPY's rows passed to libpq, */
	size_t nrows;                   /* and rows of its blocks */
	uint64_t saved;                 /* turn of its savepoint */
	bool faulty;                    /* out is a row reported as faulty: leave it out */
};

struct sink {
	struct stream *bucket[BUCKETS];
	struct stream *stream[STREAMS_MAX];
	size_t nstream;
	struct stream *found;           /* by the last sink_find */
	struct pool pool;
	struct lane lane[LANES_MAX];
	struct sink_types types;
	bool careful;
	bool beside;                    /* some partition has had two streams */
	size_t put;                     /* bytes of the row put last */
	uint64_t turn, swept;           /* counts sink_begin; last turn that forgot streams */
	struct sink_done *done;         /* by destination */
	size_t ndone, done_cap;
	int64_t bytes;                  /* sent since sink_begin */
	bool begun;                     /* and a COPY has begun */
};

/* ---- block.c */

/* A block of the usual size, or small, or larger if a row of n bytes needs it. */
struct block *block_take(struct pool *, size_t n, bool small);
void block_drop(struct pool *, struct block *);         /* returns it to the pool; takes NULL */
void block_free_pool(struct pool *);                    /* frees the unused blocks */

/* The id of the row's event, in a careful pass. */
static inline int64_t *block_id(struct block *b, size_t row)
{
	return (int64_t *)(void *)(b->data + b->cap) - 1 - row;
}

/* Does one more row of n bytes fit? NULL: no. */
static inline bool block_fits(const struct block *b, size_t n)
{
	return b && b->len + n + sizeof(int64_t) * (b->nrows + 1) <= b->cap;
}

/* ---- stream.c */

void stream_add_copy(struct buf *, const struct stream *);      /* its COPY statement, for text */
/* The table that its COPY names, as messages about it do. */
struct span stream_copied(const struct stream *);
struct block *stream_take(struct stream *);             /* its first block, which must exist */
void stream_put_back(struct stream *, struct block *);  /* as its first */

/* ---- fault.c */

/* After the lane's open COPY failed with e: fills fault. 0: in a careful pass, the block was rolled
 * back and divided; continue. ERR_DATA, careful: fault names the event, and fault_leave_out comes
 * next. Else the error. */
int fault_judge(struct sink *, struct lane *, struct pq *dst, struct sink_fault *, struct err *);
/* Rolls back to the savepoint and drops the row that failed alone. */
int fault_leave_out(struct sink *, struct lane *, struct pq *dst, struct err *);

/* ---- lane.c */

void lane_drop(struct sink *, struct lane *);           /* the open COPY, its block and its plan */

#endif
